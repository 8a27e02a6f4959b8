"""Writes a library: experts in peft's format, model card, losses, hashes.

`save_library` writes a new one, `write_renewed` one of which an update has changed some experts.
"""

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files as package_files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from bdc_agents.distill.card import model_card
from bdc_agents.distill.training.checkpoint import read_losses
from bdc_agents.distill.training.curves import draw_losses
from bdc_agents.distill.training.experts import Trained
from bdc_agents.distill.training.router import METRICS
from bdc_agents.experts.library import ExpertLibrary, all_files, copy_files, save_folder, write_files
from bdc_agents.experts.manifest import (
    ADAPTER,
    ADAPTER_CONFIG,
    AdapterConfig,
    ExpertRecord,
    Manifest,
    write_manifest,
)
from bdc_agents.experts.router import ROUTER
from bdc_agents.extras import need
from bdc_agents.locks import one_process


@contextmanager
def making(folder: Path) -> Iterator[Path]:
    """The work folder beside a library, for the one process that makes it.

    Raises:
        UsageError: If another process makes it.
    """
    work = folder.with_name(folder.name + ".work")
    work.mkdir(0o700, parents=True, exist_ok=True)
    refusal = f"another process makes this library, in {str(work)!r}: wait for it, or name another folder"
    with one_process(work / "lock", refusal):
        yield work


def save_library(
    folder: Path | str,
    trained: Trained,
    *,
    files: Mapping[str, bytes] | None = None,
    lineage: Mapping[str, Any] | None = None,
) -> ExpertLibrary:
    """Writes what a training gave as a library, which appears whole or not at all.

    Args:
        folder: The library's folder; an older library there is replaced.
        trained: The result of `train_experts`.
        files: Further files by path, such as `clusters.json`.
        lineage: The source of the rows by name, such as hashes of trace files.

    Raises:
        ModelError: If the folder holds something that is not a library.
    """
    folder = Path(folder)
    records = tuple(_record(trained, name) for name in trained.adapters)
    shape = trained.config.model_dump(mode="json", include=set(AdapterConfig.model_fields))
    manifest = Manifest(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        base=trained.base.model_dump(mode="json"),
        adapters=shape,
        experts=records,
        lineage=trained.lineage | _code() | dict(lineage or {}),
    )

    def fill(place: Path) -> None:
        write_experts(place, trained)
        trained.tokenizer.save_pretrained(place / "tokenizer")
        _write_losses(place, trained)
        write_files(place, files or {})
        card = model_card(folder.name, manifest, trained.metrics, trained.config)
        (place / "README.md").write_text(card, encoding="utf-8")
        write_manifest(place, manifest.model_copy(update={"files": all_files(place)}))

    save_folder(folder, fill)
    return ExpertLibrary(folder)


def _code() -> dict[str, str]:
    """The package's version, and the hash of the source that makes experts."""
    rooms = [package_files("bdc_agents") / name for name in ("distill", "embed", "experts")]
    texts = [file.read_bytes() for room in rooms for file in _modules(room)]
    return {"code": sha256(b"\0".join(texts)).hexdigest()[:16], "package": version("bdc-agents")}


def _modules(room: Traversable) -> Iterator[Traversable]:
    for entry in sorted(room.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _modules(entry)
        elif entry.name.endswith(".py"):
            yield entry


def _record(trained: Trained, name: str) -> ExpertRecord:
    facts = trained.metrics["experts"][name]
    cluster = trained.clusters[name]
    own = trained.metrics["losses"].get(name, {})
    loss = own.get("all" if cluster < 0 else f"cluster-{cluster}")
    return ExpertRecord(name=name, cluster=cluster, rows=facts["rows"], tokens=facts["tokens"], loss=loss)


def write_experts(place: Path, trained: Trained) -> None:
    """Writes every expert as peft reads it, to `place/experts/NAME`."""
    save_file = need("safetensors.torch").save_file
    for name, tensors in trained.adapters.items():
        home = place / "experts" / name
        home.mkdir(parents=True)
        save_file(tensors, home / ADAPTER, metadata={"format": "pt"})
        config = trained.peft_config | {
            "base_model_name_or_path": trained.base.name,
            "revision": trained.base.revision,
        }
        (home / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _write_losses(place: Path, trained: Trained) -> None:
    (place / "metrics.json").write_text(json.dumps(trained.metrics, indent=2) + "\n", encoding="utf-8")
    lines = read_losses(trained.losses)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (place / trained.losses.name).write_text(text, encoding="utf-8")
    with warnings.catch_warnings():  # matplotlib's, of fonts and layouts.
        warnings.simplefilter("ignore")
        drawing = draw_losses(lines)
    if drawing:
        (place / "losses.svg").write_text(drawing, encoding="utf-8")


# --- after an update ----------------------------------------------------------------------


@dataclass(frozen=True)
class Renewal:
    """What is new in a library.

    Args:
        trained: The result of `train_experts`, with all experts of the library.
        learn: The experts that were trained.
        changed: Those whose weights have changed.
        files: Further files by path.
        lineage: The new library's lineage.
        rows: How many rows were new.
    """

    trained: Trained
    learn: tuple[str, ...]
    changed: tuple[str, ...]
    files: Mapping[str, bytes]
    lineage: Mapping[str, Any]
    rows: int


def write_renewed(folder: Path, library: ExpertLibrary, renewal: Renewal) -> ExpertLibrary:
    """Writes the new library to a folder of its own, without a router. What did not change is copied.

    A library that an interrupted update left there is replaced.
    """
    metrics = _renewed_metrics(library, renewal)
    before = library.manifest
    manifest = before.model_copy(
        update={
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "experts": tuple(_renewed_record(one, renewal, metrics) for one in before.experts),
            "lineage": dict(renewal.lineage),
        }
    )

    def fill(place: Path) -> None:
        copy_files(library, place)
        for name in (ROUTER, METRICS):
            (place / name).unlink(missing_ok=True)
        _write_renewed(place, library, renewal, manifest, metrics)

    save_folder(folder, fill)
    return ExpertLibrary(folder)


def _write_renewed(
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


def _renewed_metrics(library: ExpertLibrary, renewal: Renewal) -> dict[str, Any]:
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


def _renewed_record(expert: ExpertRecord, renewal: Renewal, metrics: Mapping[str, Any]) -> ExpertRecord:
    """What is known of an expert now."""
    own = metrics["losses"].get(expert.name, {})
    loss = own.get("all" if expert.cluster < 0 else f"cluster-{expert.cluster}")
    update: dict[str, Any] = {} if loss is None else {"loss": loss}
    if expert.name in renewal.learn:
        facts = metrics["experts"][expert.name]
        update |= {"rows": facts["rows"], "tokens": facts["tokens"]}
    return expert.model_copy(update=update)
