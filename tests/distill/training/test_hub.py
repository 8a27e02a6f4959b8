"""Libraries on the hub: what was uploaded comes back, at the commit that is named; what is damaged does not.

The hub's own client talks to a stand-in on loopback (tests/hub_server.py).
"""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from bdc_agents.distill.recipe import TrainConfig
from bdc_agents.distill.save import save_library
from bdc_agents.distill.training.experts import train_experts
from bdc_agents.errors import ModelError, UsageError
from bdc_agents.experts.base import Base
from bdc_agents.experts.hub import library_folder, push_to_hub
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.search.traces import Row

from ...hub_server import Hub, serving

NAME = "acme/coders"
# The hub's client uploads in a way that httpx no longer likes.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(monkeypatch) as hub:
        yield hub


@pytest.fixture
def library(
    base: Base, rows: list[Row], clusters: list[int], quick: TrainConfig, tmp_path: Path
) -> ExpertLibrary:
    trained = train_experts(
        rows, clusters, base, tmp_path / "work", quick.model_copy(update={"max_steps": 1})
    )
    return save_library(tmp_path / "library", trained, files={"clusters.json": b'{"clusters": 2}'})


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_what_was_uploaded_comes_back(hub: Hub, library: ExpertLibrary, tmp_path: Path) -> None:
    (library.folder / "notes.txt").write_text("beside it")
    commit = push_to_hub(library, NAME)
    assert hub.private[NAME]
    assert hub.repos[NAME][-1][0] == commit
    place = library_folder(NAME, folder=tmp_path / "cache")
    assert place.name == "coders"
    assert ExpertLibrary(place).check() == ()
    assert files_of(place) == {
        key: data for key, data in files_of(library.folder).items() if key != "notes.txt"
    }
    asked = len(hub.asked)
    assert library_folder(NAME, commit, tmp_path / "cache") == place
    assert library_folder(f"{NAME}@{commit}", folder=tmp_path / "cache") == place
    assert len(hub.asked) == asked, "a commit that is here needs no network"
    library_folder(NAME, folder=tmp_path / "cache")
    assert not any("resolve" in one for one in hub.asked[asked:]), (
        "main is looked up, and not downloaded again"
    )


def test_a_revision_is_opened_as_it_was(hub: Hub, library: ExpertLibrary, tmp_path: Path) -> None:
    first = push_to_hub(library, NAME)
    library.put("clusters.json", b'{"clusters": 3}')
    second = push_to_hub(library, NAME)
    cache = tmp_path / "cache"
    read = {
        one: ExpertLibrary(library_folder(NAME, one, cache)).read("clusters.json") for one in (first, second)
    }
    assert read == {first: b'{"clusters": 2}', second: b'{"clusters": 3}'}
    assert library_folder(NAME, folder=cache) == library_folder(NAME, second, cache)


def test_what_an_older_library_left_is_taken_away(hub: Hub, library: ExpertLibrary) -> None:
    hub.commit(NAME, {"experts/old/adapter_model.safetensors": b"x", "LICENSE": b"free"})
    push_to_hub(library, NAME)
    files = hub.repos[NAME][-1][1]
    assert "experts/old/adapter_model.safetensors" not in files
    assert files["LICENSE"] == b"free"


def test_only_what_the_library_names_is_downloaded(hub: Hub, library: ExpertLibrary, tmp_path: Path) -> None:
    push_to_hub(library, NAME)
    files = hub.repos[NAME][-1][1] | {"evil.py": b"import os", "experts/shared/extra.bin": b"x"}
    hub.commit(NAME, files)
    place = library_folder(NAME, folder=tmp_path / "cache")
    assert files_of(place).keys() == {*library.manifest.files, "library.json"}
    assert not any("evil" in one or "extra" in one for one in hub.asked)


Change = Callable[[dict[str, bytes], Hub], None]


def other_bytes(files: dict[str, bytes], hub: Hub) -> None:
    data = files["experts/shared/adapter_model.safetensors"]
    files["experts/shared/adapter_model.safetensors"] = data[:-1] + bytes([data[-1] ^ 1])


def larger(files: dict[str, bytes], hub: Hub) -> None:
    files["clusters.json"] += b" "


def gone(files: dict[str, bytes], hub: Hub) -> None:
    del files["clusters.json"]


def no_manifest(files: dict[str, bytes], hub: Hub) -> None:
    del files["library.json"]


def huge_manifest(files: dict[str, bytes], hub: Hub) -> None:
    hub.sizes["library.json"] = 2**40


def broken_manifest(files: dict[str, bytes], hub: Hub) -> None:
    files["library.json"] = b"{"


def outside(files: dict[str, bytes], hub: Hub) -> None:
    data = json.loads(files["library.json"])
    data["files"]["../../evil"] = {"sha256": "0" * 64, "size": 1}
    files["library.json"] = json.dumps(data).encode()
    files["../../evil"] = b"x"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_bytes, "experts/shared/adapter_model.safetensors: damaged"),
        (larger, "clusters.json: 16 bytes on the hub, 15 in library.json"),
        (gone, "names 'clusters.json', which the hub does not have"),
        (no_manifest, "no file library.json"),
        (huge_manifest, "too large"),
        (broken_manifest, "damaged"),
        (outside, "outside of the library"),
    ],
)
def test_a_damaged_library_is_refused_and_leaves_nothing(
    change: Change, words: str, hub: Hub, library: ExpertLibrary, tmp_path: Path
) -> None:
    push_to_hub(library, NAME)
    files = dict(hub.repos[NAME][-1][1])
    change(files, hub)
    hub.commit(NAME, files)
    with pytest.raises(ModelError) as caught:
        library_folder(NAME, folder=tmp_path / "cache")
    assert words in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert not files_of(tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "revision", "words"),
    [
        ("acme/nothing", None, "neither a folder here nor a repository"),
        (NAME, "v9", "no revision 'v9'"),
        (f"{NAME}@v8", "v9", "two revisions"),
    ],
)
def test_what_the_hub_does_not_have_is_said(
    name: str, revision: str | None, words: str, hub: Hub, library: ExpertLibrary, tmp_path: Path
) -> None:
    push_to_hub(library, NAME)
    with pytest.raises((ModelError, UsageError), match=words):
        library_folder(name, revision, tmp_path / "cache")


def test_a_folder_wins_and_has_no_revision(
    hub: Hub, library: ExpertLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme").mkdir()
    library.folder.rename(tmp_path / NAME)
    monkeypatch.chdir(tmp_path)
    assert library_folder(NAME) == Path(NAME)
    with pytest.raises(UsageError, match="leave it out"):
        library_folder(NAME, "main")
    assert library_folder("three/parts/of/a/path") == Path("three/parts/of/a/path")
    assert hub.asked == []


def test_without_a_network_a_path_that_is_wrong_is_said_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="'experts/mine': the hub did not answer"):
        library_folder("experts/mine", folder=tmp_path)


def test_a_damaged_library_is_not_uploaded_and_a_base_of_this_machine_is_told(
    hub: Hub, library: ExpertLibrary, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UsageError, match="org/name"):
        push_to_hub(library, "no-org")
    identity: dict[str, Any] = {**library.manifest.base, "name": "local:tiny"}
    library.manifest = library.manifest.model_copy(update={"base": identity})
    with caplog.at_level(logging.WARNING):
        push_to_hub(library, NAME)
    assert "'local:tiny' is not on the hub" in caplog.text
    (library.folder / "clusters.json").write_bytes(b"{}")
    with pytest.raises(ModelError, match=r"is not uploaded: clusters\.json"):
        push_to_hub(library.folder, NAME)
