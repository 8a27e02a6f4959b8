"""Writing a library anew with some experts changed: what did not change is copied byte by byte."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bdc_agents.distill.card import model_card
from bdc_agents.distill.router_training import METRICS
from bdc_agents.distill.train import Trained
from bdc_agents.experts.library import (
    ADAPTER,
    ExpertLibrary,
    ExpertRecord,
    Manifest,
    all_files,
    copy_files,
    save_folder,
    write_manifest,
)
from bdc_agents.experts.router import ROUTER
from bdc_agents.extras import need


@dataclass(frozen=True)
class Renewal:
    """What is new in a library.

    Args:
        trained: Of `train_experts`, with all experts of the library.
        learn: The experts that were trained.
        changed: Those of them whose weights are others now.
        files: Further files by path.
        lineage: Of the new library.
        rows: How many rows were new.
    """

    trained: Trained
    learn: tuple[str, ...]
    changed: tuple[str, ...]
    files: Mapping[str, bytes]
    lineage: Mapping[str, Any]
    rows: int


def write_renewed(folder: Path, library: ExpertLibrary, renewal: Renewal) -> ExpertLibrary:
    """Writes the new library to a folder of its own, without a router where an expert changed.

    One that is there from an update which was cut off is replaced.
    """
    metrics = _metrics(library, renewal)
    before = library.manifest
    manifest = before.model_copy(
        update={
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "experts": tuple(_record(one, renewal, metrics) for one in before.experts),
            "lineage": dict(renewal.lineage),
        }
    )

    def fill(place: Path) -> None:
        copy_files(library, place)
        for name in (ROUTER, METRICS):
            (place / name).unlink(missing_ok=True)
        _write(place, library, renewal, manifest, metrics)

    save_folder(folder, fill)
    return ExpertLibrary(folder)


def _write(
    place: Path, library: ExpertLibrary, renewal: Renewal, manifest: Manifest, metrics: dict[str, Any]
) -> None:
    save_file = need("safetensors.torch").save_file
    for name in renewal.changed:
        file = place / "experts" / name / ADAPTER
        file.unlink()
        save_file(renewal.trained.adapters[name], file, metadata={"format": "pt"})
    for path, data in renewal.files.items():
        (place / path).write_bytes(data)
    (place / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    number = len(renewal.lineage["updates"])
    shutil.copyfile(renewal.trained.losses, place / f"losses-update-{number}.jsonl")
    card = model_card(library.folder.name, manifest, metrics, renewal.trained.config)
    (place / "README.md").write_text(card, encoding="utf-8")
    write_manifest(place, manifest.model_copy(update={"files": all_files(place)}))


def _metrics(library: ExpertLibrary, renewal: Renewal) -> dict[str, Any]:
    """The metrics before, with those of the experts that were trained, and what the update did."""
    before = library.metrics()
    now = renewal.trained.metrics
    experts = before["experts"] | {name: now["experts"][name] for name in renewal.learn}
    step = {
        "experts": list(renewal.learn),
        "changed": list(renewal.changed),
        "new_rows": renewal.rows,
        "losses_before": before["losses"],
        "steps": now["steps"],
        "tokens": now["tokens"],
    }
    return before | now | {"experts": experts, "updates": [*before.get("updates", ()), step]}


def _record(expert: ExpertRecord, renewal: Renewal, metrics: Mapping[str, Any]) -> ExpertRecord:
    """What is known of an expert now."""
    own = metrics["losses"].get(expert.name, {})
    loss = own.get("all" if expert.cluster < 0 else f"cluster-{expert.cluster}")
    update: dict[str, Any] = {} if loss is None else {"loss": loss}
    if expert.name in renewal.learn:
        facts = metrics["experts"][expert.name]
        update |= {"rows": facts["rows"], "tokens": facts["tokens"]}
    return expert.model_copy(update=update)
