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
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from bdc_agents.config import explain
from bdc_agents.disk import put_back, replacing_folder
from bdc_agents.errors import ModelError, unknown
from bdc_agents.experts.atomic import explained, replacing
from bdc_agents.experts.tensors import read_adapter
from bdc_agents.types import Frozen, Given
from bdc_agents.untrusted import is_inside, plain, read_object, read_whole


class AdapterConfig(Given):
    """The shape of every LoRA adapter of a library.

    Args:
        rank: Rows of A and columns of B.
        alpha: The update is scaled by alpha / rank.
        rslora: Scale by alpha / sqrt(rank) instead.
        dropout: Chance that an input of A is set to zero, in training.
        targets: Names of linear layers or ends of names; or `all-linear`, every one but the output
            layer; or `default`, those that peft takes for the architecture.
        layers: Numbers of the decoder layers to adapt; None for all.
    """

    rank: int = Field(default=8, ge=1, le=512)  # 512 is the largest rank that vLLM serves.
    alpha: float = Field(default=16.0, gt=0)
    rslora: bool = False
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: Literal["all-linear", "default"] | tuple[str, ...] = "all-linear"
    layers: tuple[int, ...] | None = None

    @property
    def scale(self) -> float:
        """The factor of B A x."""
        return self.alpha / (self.rank**0.5 if self.rslora else self.rank)


MANIFEST = "library.json"
ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"


_LONGEST = 4096
"""Characters of a text that says something of the base, such as a path: Linux takes no longer one."""
_HASHED_ANYWAY = 64 * 2**20
"""Up to this size a file that has grown is still hashed, so that the message names both hashes; hashing a
larger one would only take time."""
LARGEST_MANIFEST = 64 * 2**20
"""Most bytes of a manifest; that of a thousand experts has a hundredth of it."""
# The name becomes a folder and the name of a served model, so it must be safe in a path and in a URL.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")
# JSON readers that use float64 are exact below 2**53.
_Count = Annotated[int, Field(ge=0, lt=2**53)]


class FileRecord(Frozen):
    """A file's SHA-256 and its size in bytes."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: _Count


class ExpertRecord(Frozen):
    """One expert.

    Args:
        name: Its folder's, and what it is asked for by when the library is served.
        cluster: The number of its cluster; -1 for the one trained on all rows.
        rows, tokens: It was trained on.
        loss: On the held-out rows of its cluster; None where there were none.
    """

    name: str
    cluster: Annotated[int, Field(ge=-1, lt=2**31)]
    rows: _Count = 0
    tokens: _Count = 0
    loss: float | None = Field(default=None, allow_inf_nan=False)

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("an expert's name has up to 100 letters, digits and any of _.+- after the first")
        return name


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
    # Far more experts than anybody trains; a file with more is hostile.
    experts: tuple[ExpertRecord, ...] = Field(min_length=1, max_length=10_000, fail_fast=True)
    lineage: dict[str, Any] = {}
    files: dict[str, FileRecord] = {}

    @field_validator("base")
    @classmethod
    def _plain_facts(cls, base: dict[str, Any]) -> dict[str, Any]:
        if odd := [key for key, value in base.items() if not isinstance(value, str | int | None)]:
            raise ValueError(f"base.{odd[0]} is a text or a number")
        texts = {key: value for key, value in base.items() if isinstance(value, str)}
        if odd := [key for key, text in texts.items() if len(text) > _LONGEST or not text.isprintable()]:
            raise ValueError(f"base.{odd[0]} is a text of {_LONGEST:,} printable characters at most")
        return base

    @field_validator("adapters")
    @classmethod
    def _one_shape(cls, shape: dict[str, Any]) -> dict[str, Any]:
        AdapterConfig.model_validate(shape)
        return shape

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        counts = Counter(expert.name for expert in self.experts)
        if twice := [name for name, count in counts.items() if count > 1]:
            raise ValueError(f"the expert {twice[0]!r} comes twice")
        return self


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
        return read_adapter(file, AdapterConfig.model_validate(self.manifest.adapters).rank)

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


def read_manifest(folder: Path) -> Manifest:
    """Reads and verifies `library.json`.

    Raises:
        ModelError: If it is missing, damaged, or names a file outside of the library.
    """
    file = folder / MANIFEST
    try:
        data = read_object(_bytes(file))
        claimed = data.pop("sha256", None)
        manifest = Manifest.model_validate(data)
        whole = claimed == _own_hash(manifest)  # It also refuses what is nested too deeply to be hashed.
    except FileNotFoundError:
        raise ModelError(f"no library at {str(folder)!r}: there is no file {MANIFEST}") from None
    except NotADirectoryError:
        raise ModelError(
            f"no library at {str(folder)!r}: it is a file, and a library a folder that bdc distill makes"
        ) from None
    except OSError as error:
        raise ModelError(f"{file}: {error.strerror}") from None
    except ValidationError as error:
        raise ModelError(explain(error, str(file), Manifest)) from None
    except ValueError as error:
        raise ModelError(f"{file} is damaged: {error}; restore it, or make the library again") from None
    for path in manifest.files:
        inside(path)
    if not whole:
        raise ModelError(f"{file} is damaged: it does not have the hash that it names; restore it")
    for expert in manifest.experts:
        for part in (ADAPTER, ADAPTER_CONFIG):
            if (path := f"experts/{expert.name}/{part}") not in manifest.files:
                raise ModelError(
                    f"{file} names the expert {expert.name!r}, but not its file {path}; restore it"
                )
    return manifest


def _bytes(file: Path) -> bytes:
    """The file, of this library or of the one that a killed writer had put aside."""
    try:
        return read_whole(file, LARGEST_MANIFEST)
    except FileNotFoundError:
        if not put_back(file.parent):
            raise
        return read_whole(file, LARGEST_MANIFEST)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replaces `library.json`, which carries a hash of itself."""
    data = manifest.model_dump(mode="json") | {"sha256": _own_hash(manifest)}
    with replacing(folder / MANIFEST) as file:
        file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def record(file: Path) -> FileRecord:
    """A file's hash and size."""
    with plain(file) as opened:
        return FileRecord(sha256=file_digest(opened, "sha256").hexdigest(), size=file.stat().st_size)


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


def _own_hash(manifest: Manifest) -> str:
    canonical = json.dumps(manifest.model_dump(mode="json"), sort_keys=True)
    return sha256(canonical.encode()).hexdigest()


def inside(path: str) -> str:
    """The path, which is that of a file of the library.

    Raises:
        ModelError: If it would lead out of it.
    """
    if os.sep != "/" or not is_inside(path):
        raise ModelError(f"library file {path!r:.200} would lie outside of the library")
    return path


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
