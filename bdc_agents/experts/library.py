"""The library on disk: a folder of LoRA experts that peft loads, and all that belongs to them.

library.json                the base, the experts, where they came from, and every file's hash
experts/NAME/               adapter_model.safetensors and adapter_config.json, for plain peft
tokenizer/                  of the base
clusters.json               how new problems are placed
metrics.json, losses.jsonl  how training went
README.md                   the model card
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bdc_agents.disk import put_back, replacing_folder
from bdc_agents.errors import ModelError, unknown
from bdc_agents.experts.atomic_write import explained, replacing
from bdc_agents.experts.manifest import (
    ADAPTER,
    MANIFEST,
    AdapterConfig,
    ExpertRecord,
    FileRecord,
    inside,
    read_manifest,
    record,
    write_manifest,
)
from bdc_agents.experts.tensors import read_adapter
from bdc_agents.types import Frozen
from bdc_agents.untrusted import read_object

_HASHED_ANYWAY = 64 * 2**20
"""Up to this size a file that has grown is still hashed, so that the message names both hashes; hashing a
larger one would only take time."""


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

    @property
    def shape(self) -> AdapterConfig:
        """The shape of its adapters."""
        return AdapterConfig.model_validate(self.manifest.adapters)

    @property
    def distinct(self) -> tuple[str, ...]:
        """The names of the experts, without duplicates of others."""
        same = self.duplicates()
        return tuple(name for name in self.names if name not in same)

    def duplicates(self) -> dict[str, str]:
        """Experts with the same weights as another, by name; the other is the shared one, or an earlier one.

        An expert that its cluster did not improve still has the weights that it started from.
        """
        experts = sorted(self.manifest.experts, key=lambda expert: expert.cluster >= 0)
        first: dict[str, str] = {}
        hashes = self.hashes([expert.name for expert in experts])
        return {name: kept for name, mark in hashes.items() if (kept := first.setdefault(mark, name)) != name}

    def hashes(self, names: Sequence[str]) -> dict[str, str]:
        """The SHA-256 of each expert's weights, as the library names it.

        Raises:
            ModelError: If there is no expert of a name.
        """
        files = self.manifest.files
        return {name: files[f"experts/{self.expert(name).name}/{ADAPTER}"].sha256 for name in names}

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
        return read_adapter(file, self.shape.rank)

    def read(self, path: str) -> bytes:
        """A file of the library, such as `clusters.json`, checked by its hash.

        Raises:
            ModelError: If it is not part of the library, missing or damaged.
        """
        if path not in self.manifest.files:
            raise ModelError(f"library {self.folder}: {unknown('file', path, self.manifest.files)}")
        self._require(path)
        return (self.folder / path).read_bytes()

    def facts(self, path: str) -> dict[str, Any]:
        """A file of the library that holds a JSON object, such as `rows.json`.

        Raises:
            ModelError: If it is not part of the library, missing or damaged, or holds something else.
        """
        try:
            return read_object(self.read(path), finite=False)
        except ModelError:
            raise
        except ValueError as error:
            raise ModelError(
                f"{self.folder / path} cannot be used: {error}; make the library again"
            ) from None

    def metrics(self) -> dict[str, Any]:
        """How training went.

        Raises:
            ModelError: If the file is missing or damaged.
        """
        return self.facts("metrics.json")

    def put(self, path: str, data: bytes) -> None:
        """Adds a file to the library, or replaces it.

        A kill leaves every file whole; one between file and hash leaves a damage that `check` reports.

        Args:
            path: In the library, such as `router.safetensors`.
        """
        target = self.folder / inside(path)
        _refuse_links(self.folder, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            temporary.write_bytes(data)
        files = self.manifest.files | {path: record(target)}
        self.manifest = self.manifest.model_copy(update={"files": dict(sorted(files.items()))})
        write_manifest(self.folder, self.manifest)

    def check(self) -> tuple[Damage, ...]:
        """Every file that is missing or has changed; empty if all is well.

        An extra file counts in the folders that other libraries read as a whole: an expert's and the
        tokenizer's.
        """
        found = [self._look(path) for path in self.manifest.files]
        found += [Damage(file=path, problem="not named in library.json") for path in self._further()]
        return tuple(damage for damage in found if damage)

    def require_folder(self, path: str) -> Path:
        """A folder of the library whose every file is as it was written, and that holds no other.

        Args:
            path: In the library, such as `tokenizer`.

        Raises:
            ModelError: If a file is missing, damaged, or not named in `library.json`.
        """
        for file in self.manifest.files:
            if file.startswith(f"{path}/"):
                self._require(file)
        if further := [file for file in self._further() if file.startswith(f"{path}/")]:
            self._require(further[0])
        return self.folder / path

    def _further(self) -> list[str]:
        """Files that are not named, in folders that are read as a whole."""
        places = [self.folder / "tokenizer", *(self.adapter_folder(name) for name in self.names)]
        there = [file for place in places if place.is_dir() for file in place.rglob("*")]
        paths = (file.relative_to(self.folder).as_posix() for file in there if not _is_folder(file))
        return sorted(path for path in paths if path not in self.manifest.files)

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
        if file.stat().st_size > max(expected.size, _HASHED_ANYWAY):
            return Damage(file=path, problem=f"damaged: larger than the {expected.size} bytes that it had")
        found = record(file)
        if found == expected:
            return None
        return Damage(
            file=path,
            problem=f"damaged: sha256 {found.sha256} and {found.size} bytes, expected {expected.sha256} "
            f"and {expected.size}",
        )


def save_folder(target: Path, fill: Callable[[Path], object]) -> None:
    """Makes a folder that appears whole or not at all, replacing an older library there.

    Unlike a run, whose folder is its owner's alone, a library is made to be served and handed on: it
    holds weights and figures and no prompt, and whoever the umask lets in may read it.

    Args:
        fill: Called with the temporary folder to write into.

    Raises:
        ModelError: If something that is not a library is in the way.
        BDCError: If the disk is full; what was there is kept.
    """
    put_back(target)
    if target.exists() and not _is_library(target):
        raise ModelError(f"{str(target)!r} is not empty and not a library; choose another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with explained(target), replacing_folder(target) as temporary:
        fill(temporary)


def _is_library(place: Path) -> bool:
    """Whether a library may be written there: over another one, or into an empty folder."""
    return place.is_dir() and ((place / MANIFEST).is_file() or not any(place.iterdir()))


def all_files(folder: Path) -> dict[str, FileRecord]:
    """The records of every file below a folder, by path, but for `library.json`."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: record(path) for name, path in named.items() if name != MANIFEST}


def _refuse_links(folder: Path, target: Path) -> None:
    """Makes sure that no folder between a library and a file of it leads elsewhere.

    Raises:
        ModelError: If one does.
    """
    for place in target.relative_to(folder).parents:
        if (folder / place).is_symlink() and place.parts:
            raise ModelError(f"{str(folder / place)!r} is a link, and may lead out of the library; remove it")


def _is_folder(file: Path) -> bool:
    return file.is_dir() and not file.is_symlink()


def copy_files(library: ExpertLibrary, place: Path) -> None:
    """Copies a library's files, and what people have put beside them, to an empty folder.

    A link is followed only where the library names it as a file: others could lead to anything.

    Raises:
        ModelError: If a file is missing or damaged.
    """
    for folder, _, names in os.walk(library.folder):
        for name in names:
            path = (Path(folder) / name).relative_to(library.folder).as_posix()
            file, target = library.folder / path, place / path
            named = path in library.manifest.files
            if not named and (file.is_symlink() or not file.is_file()):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if named:
                target.write_bytes(library.read(path))
            else:
                shutil.copyfile(file, target)


def write_files(place: Path, files: Mapping[str, bytes]) -> None:
    """Writes files of a library, by path.

    Raises:
        ModelError: If one would lie outside of it.
    """
    for path, data in files.items():
        (place / inside(path)).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(data)
