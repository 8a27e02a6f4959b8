"""The library on disk: a folder of LoRA experts that peft loads, and all that belongs to them.

library.json                the base, the experts, where they came from, and every file's hash
experts/NAME/               adapter_model.safetensors and adapter_config.json, for plain peft
tokenizer/                  of the base
clusters.json               how new problems are placed
metrics.json, losses.jsonl  how training went
README.md                   the model card
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from hashlib import file_digest, sha256
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import ValidationError

from bdc_agents.config import explain
from bdc_agents.distill.atomic import replacing
from bdc_agents.distill.extras import need
from bdc_agents.errors import ModelError, unknown
from bdc_agents.types import Frozen

MANIFEST = "library.json"
ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"


class FileRecord(Frozen):
    """A file's SHA-256 and its size in bytes."""

    sha256: str
    size: int


class ExpertRecord(Frozen):
    """One expert.

    Args:
        cluster: The number of its cluster; -1 for the one trained on all rows.
        rows, tokens: It was trained on.
        loss: On the held-out rows of its cluster; None where there were none.
    """

    name: str
    cluster: int
    rows: int = 0
    tokens: int = 0
    loss: float | None = None


class Manifest(Frozen):
    """What `library.json` holds.

    Args:
        base: A `BaseIdentity` as plain data.
        adapters: The shape that all experts share.
        lineage: Hashes of the traces, the settings and the code that the experts came from.
        files: Every other file of the library, by its path.
    """

    version: Literal[1] = 1
    created: str
    base: dict[str, Any]
    adapters: dict[str, Any]
    experts: tuple[ExpertRecord, ...]
    lineage: dict[str, Any] = {}
    files: dict[str, FileRecord] = {}


class Damage(Frozen):
    """A file of a library that is not as it was written."""

    file: str
    problem: str

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}"


class ExpertLibrary:
    """A library of experts in a folder.

    Args:
        folder: Of a library that exists; `create_library` makes one.

    Raises:
        ModelError: If there is none, or its `library.json` is damaged.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)

    @property
    def names(self) -> tuple[str, ...]:
        """The experts' names."""
        return tuple(expert.name for expert in self.manifest.experts)

    def expert(self, name: str) -> ExpertRecord:
        """What is known of an expert.

        Raises:
            ModelError: If there is no expert of this name.
        """
        for expert in self.manifest.experts:
            if expert.name == name:
                return expert
        raise ModelError(unknown("expert", name, self.names))

    def adapter_folder(self, name: str) -> Path:
        """The folder that `PeftModel.from_pretrained(base, ...)` takes.

        Raises:
            ModelError: If there is no expert of this name.
        """
        return self.folder / "experts" / self.expert(name).name

    def weights(self, name: str) -> dict[str, Any]:
        """An expert's tensors under peft's names, checked by their hash.

        Raises:
            ModelError: If there is no such expert, or its file is missing or damaged.
        """
        file = self.adapter_folder(name) / ADAPTER
        self._require(f"experts/{name}/{ADAPTER}")
        return need("safetensors.torch").load_file(file)

    def read(self, path: str) -> bytes:
        """A file of the library, such as `clusters.json`, checked by its hash.

        Raises:
            ModelError: If it is not part of the library, missing or damaged.
        """
        if path not in self.manifest.files:
            raise ModelError(f"library {self.folder}: {unknown('file', path, self.manifest.files)}")
        self._require(path)
        return (self.folder / path).read_bytes()

    def metrics(self) -> dict[str, Any]:
        """How training went.

        Raises:
            ModelError: If the file is missing or damaged.
        """
        return json.loads(self.read("metrics.json"))

    def put(self, path: str, data: bytes) -> None:
        """Adds a file to the library, or replaces it.

        A kill leaves every file whole; one between file and hash leaves a damage that `check` reports.

        Args:
            path: In the library, such as `router.safetensors`.
        """
        target = self.folder / inside(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            temporary.write_bytes(data)
        files = self.manifest.files | {path: record(target)}
        self.manifest = self.manifest.model_copy(update={"files": dict(sorted(files.items()))})
        write_manifest(self.folder, self.manifest)

    def check(self) -> tuple[Damage, ...]:
        """Every file that is missing or differs from what was written; none if all is well."""
        found = (self._look(path) for path in self.manifest.files)
        return tuple(damage for damage in found if damage)

    def _require(self, path: str) -> None:
        damage = self._look(path)
        if damage:
            raise ModelError(f"library {self.folder}: {damage}; restore it, or make the library again")

    def _look(self, path: str) -> Damage | None:
        expected, file = self.manifest.files.get(path), self.folder / path
        if expected is None:
            return Damage(file=path, problem="not named in library.json")
        if not file.is_file():
            return Damage(file=path, problem="missing")
        found = record(file)
        if found == expected:
            return None
        return Damage(
            file=path,
            problem=f"damaged: sha256 {found.sha256} and {found.size} bytes, expected {expected.sha256} "
            f"and {expected.size}",
        )


def read_manifest(folder: Path) -> Manifest:
    """Reads and verifies `library.json`.

    Raises:
        ModelError: If it is missing, damaged, or names a file outside of the library.
    """
    file = folder / MANIFEST
    try:
        data = json.loads(file.read_bytes())
        claimed = data.pop("sha256", None)
        manifest = Manifest.model_validate(data)
    except FileNotFoundError:
        raise ModelError(f"no library at {str(folder)!r}: there is no file {MANIFEST}") from None
    except OSError as error:
        raise ModelError(f"{file}: {error.strerror}") from None
    except ValidationError as error:
        raise ModelError(explain(error, str(file), Manifest)) from None
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{file} is damaged: {error}; restore it, or make the library again") from None
    for path in manifest.files:
        inside(path)
    if claimed != _own_hash(manifest):
        raise ModelError(f"{file} is damaged: it does not have the hash that it names; restore it")
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replaces `library.json`, which carries a hash of itself."""
    data = manifest.model_dump(mode="json") | {"sha256": _own_hash(manifest)}
    with replacing(folder / MANIFEST) as file:
        file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def record(file: Path) -> FileRecord:
    """A file's hash and size."""
    with file.open("rb") as opened:
        return FileRecord(sha256=file_digest(opened, "sha256").hexdigest(), size=file.stat().st_size)


def save_folder(target: Path, fill: Any) -> None:
    """Makes a folder that appears whole or not at all, replacing an older library there.

    Args:
        fill: Called with the temporary folder to write into.

    Raises:
        ModelError: If something that is not a library is in the way.
    """
    if target.exists() and not (target / MANIFEST).is_file() and any(target.iterdir()):
        raise ModelError(f"{str(target)!r} is not empty and not a library; choose another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.new-"))
    old = temporary.with_name(temporary.name.replace(".new-", ".old-"))
    try:
        fill(temporary)
        temporary.chmod(0o755)
        if target.exists():
            target.rename(old)
        temporary.rename(target)
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def all_files(folder: Path) -> dict[str, FileRecord]:
    """The records of every file below a folder, by path, but for `library.json`."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: record(path) for name, path in named.items() if name != MANIFEST}


def _own_hash(manifest: Manifest) -> str:
    canonical = json.dumps(manifest.model_dump(mode="json"), sort_keys=True)
    return sha256(canonical.encode()).hexdigest()


def inside(path: str) -> str:
    """The path, which is that of a file of the library.

    Raises:
        ModelError: If it would lead out of it.
    """
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or os.sep != "/" or not pure.parts:
        raise ModelError(f"library file {path!r} would lie outside of the library")
    return path


def write_files(place: Path, files: Mapping[str, bytes]) -> None:
    """Writes files of a library, by path.

    Raises:
        ModelError: If one would lie outside of it.
    """
    for path, data in files.items():
        (place / inside(path)).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(data)
