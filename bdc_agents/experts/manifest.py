"""The manifest of a library, `library.json`: its base, its experts, and the hash of every file."""

import json
import os
import re
from collections import Counter
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from bdc_agents.config import explain
from bdc_agents.disk import put_back
from bdc_agents.errors import ModelError
from bdc_agents.experts.atomic_write import replacing
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


def record(file: Path) -> FileRecord:
    """A file's hash and size."""
    with plain(file) as opened:
        return FileRecord(sha256=file_digest(opened, "sha256").hexdigest(), size=file.stat().st_size)
