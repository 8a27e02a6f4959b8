"""Writing a library: the experts in peft's format, the model card, the losses, the hashes."""

import json
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files as package_files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from bdc_agents.distill.card import model_card
from bdc_agents.distill.checkpoint import read_losses
from bdc_agents.distill.curves import draw_losses
from bdc_agents.distill.train import Trained
from bdc_agents.experts.library import (
    ADAPTER,
    ADAPTER_CONFIG,
    ExpertLibrary,
    ExpertRecord,
    Manifest,
    all_files,
    save_folder,
    write_files,
    write_manifest,
)
from bdc_agents.extras import need


def save_library(
    folder: Path | str,
    trained: Trained,
    *,
    files: Mapping[str, bytes] | None = None,
    lineage: Mapping[str, Any] | None = None,
) -> ExpertLibrary:
    """Writes what a training gave as a library, which appears whole or not at all.

    Args:
        folder: Where it is to be; an older library there is replaced.
        trained: Of `train_experts`.
        files: Further files by path, such as `clusters.json`.
        lineage: Where the rows came from, such as hashes of trace files, by name.

    Raises:
        ModelError: If the folder holds something that is not a library.
    """
    folder = Path(folder)
    records = tuple(_record(trained, name) for name in trained.adapters)
    shape = trained.config.model_dump(mode="json", include=set(_SHAPE))
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


_SHAPE = ("rank", "alpha", "rslora", "dropout", "targets", "layers")


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawing = draw_losses(lines)
    if drawing:
        (place / "losses.svg").write_text(drawing, encoding="utf-8")
