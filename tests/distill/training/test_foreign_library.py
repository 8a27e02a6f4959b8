"""Libraries from elsewhere: each is refused in one line, in bounded time, and nothing is written outside."""

import hashlib
import json
import os
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file

from bdc_agents.errors import ModelError, UsageError
from bdc_agents.experts import library as library_module
from bdc_agents.experts.base import Base, load_base
from bdc_agents.experts.clusters import Clusters
from bdc_agents.experts.library import ExpertLibrary, all_files, copy_files, save_folder
from bdc_agents.experts.manifest import ADAPTER, ADAPTER_CONFIG, Manifest, write_manifest
from bdc_agents.experts.router import Router, RouterFacts, RouterShape, shapes_of
from bdc_agents.experts.tensors import read_adapter

RANK, SIZE = 4, 6
A, B = "base_model.model.x.lora_A.weight", "base_model.model.x.lora_B.weight"
SECONDS = 120.0
"""In which each attack has to be over, on a busy machine; on an idle one none needs a second."""


def tensors(**changed: Any) -> dict[str, Any]:
    return {A: torch.zeros(RANK, 8), B: torch.zeros(16, RANK)} | changed


def make(folder: Path) -> ExpertLibrary:
    """A small library, as `bdc distill` leaves it."""
    for name in ("cluster-0", "shared"):
        (folder / "experts" / name).mkdir(parents=True)
        save_file(tensors(), folder / "experts" / name / ADAPTER)
        (folder / "experts" / name / ADAPTER_CONFIG).write_text("{}")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "tokenizer_config.json").write_text("{}")
    (folder / "metrics.json").write_text("{}")
    experts: Any = [{"name": "cluster-0", "cluster": 0}, {"name": "shared", "cluster": -1}]
    shape = {"rank": RANK, "alpha": 8.0, "targets": ["x"]}
    manifest = Manifest(created="now", base={"name": "b"}, adapters=shape, experts=experts)
    write_manifest(folder, manifest.model_copy(update={"files": all_files(folder)}))
    return ExpertLibrary(folder)


@pytest.fixture
def library(tmp_path: Path) -> ExpertLibrary:
    return make(tmp_path / "place" / "library")


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path: Path) -> Any:
    """Whatever a test does, it writes into its library alone, and takes no more than its time."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SECONDS
    assert {path.name for path in tmp_path.iterdir()} <= {"place", "elsewhere"}


# --- the manifest ---------------------------------------------------------------------------------------


def rewritten(library: ExpertLibrary, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes `library.json` as an attacker would: with a hash that fits."""
    file = library.folder / "library.json"
    data = json.loads(file.read_text())
    change(data)
    data.pop("sha256")
    data["sha256"] = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    file.write_text(json.dumps(data))


def setting(*path: Any, to: Any) -> Callable[[dict[str, Any]], object]:
    def change(data: Any) -> None:
        for step in path[:-1]:
            data = data[step]
        data[path[-1]] = to

    return change


OUTSIDE = ("../x", "a/../../x", "/etc/passwd", "a//b", "./a", ".", "..", "", "a/", "a\\..\\b", "a\nb", "a\0b")
NAMES = ("../..", "..", ".", "a/b", "", "/etc", ".hidden", "a\\b", "a\nb", "\x1b[2J", "a" * 101, "é", "-rf")
BYTES = {
    "empty": (b"", "is damaged"),
    "no json": (b"{", "is damaged"),
    "no text": (b"\xff\xfe\xfd", "is damaged"),
    "a list": (b"[]", "a JSON object is expected, found a list"),
    "a text": (b'"x"', "a JSON object is expected"),
    "deep": (b"[" * 200_000, "nested too deeply"),
    "deep objects": (b'{"base":' * 200_000, "nested too deeply"),
    "a number without end": (b'{"version":' + b"1" * 300_000 + b"}", "too large for an integer"),
    "infinity": (b'{"version": Infinity}', "no number"),
    "nan": (b'{"version": NaN}', "no number"),
    "an endless float": (b'{"version": 1e999}', "too large for a number"),
    "many wrong experts": (json.dumps({"experts": [1] * 20_000}).encode(), "experts"),
}


@pytest.mark.parametrize("name", BYTES)
def test_a_file_that_is_no_manifest_is_refused_in_a_line(library: ExpertLibrary, name: str) -> None:
    data, says = BYTES[name]
    (library.folder / "library.json").write_bytes(data)
    with pytest.raises(ModelError, match=says) as refused:
        ExpertLibrary(library.folder)
    assert len(str(refused.value)) < 2000


MANIFESTS = {
    "another version": (setting("version", to=2), "version"),
    "a key of nobody's": (setting("run", to="rm"), "unknown key 'run'"),
    "no experts": (setting("experts", to=[]), "experts"),
    "a base of lists": (setting("base", to=["b"]), "base"),
    "a base's name without end": (
        setting("base", "name", to="x" * 100_000),
        r"base: base\.name is a text of 4,096",
    ),
    "a base's name with a NUL": (
        setting("base", "name", to="a\0b"),
        r"base\.name is a text of 4,096 printable",
    ),
    "a base's name that is a list": (setting("base", "name", to=["b"]), r"base\.name is a text"),
    "a rank without end": (setting("adapters", "rank", to=10**12), "rank"),
    "a rank of text": (setting("adapters", "rank", to="four"), "rank"),
    "an alpha of nothing": (setting("adapters", "alpha", to=0), "alpha"),
    "a size below zero": (setting("files", "metrics.json", "size", to=-1), "size"),
    "a hash that is none": (setting("files", "metrics.json", "sha256", to="../x"), "sha256"),
    "rows beyond counting": (setting("experts", 0, "rows", to=2**60), "rows"),
    "a cluster far below zero": (setting("experts", 0, "cluster", to=-5), "cluster"),
    "an expert twice": (
        setting("experts", 0, "name", to="shared"),
        "library.json: the expert 'shared' comes twice",
    ),
    "an expert without files": (
        setting("experts", 0, "name", to="cluster-7"),
        "not its file experts/cluster-7",
    ),
    **{
        f"an expert called {name!r}": (setting("experts", 0, "name", to=name), "an expert's name")
        for name in NAMES
    },
    **{
        f"a file called {path!r}": (setting("files", path, to={"sha256": "0" * 64, "size": 1}), "outside")
        for path in OUTSIDE
    },
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_is_strict(library: ExpertLibrary, name: str) -> None:
    change, says = MANIFESTS[name]
    rewritten(library, change)
    with pytest.raises(ModelError, match=says) as refused:
        ExpertLibrary(library.folder)
    assert len(str(refused.value)) < 2000


def test_a_manifest_that_only_its_attacker_changed_back_opens(library: ExpertLibrary) -> None:
    """The attacks above are refused for what they are, not for their hash."""
    rewritten(library, setting("created", to="then"))
    assert ExpertLibrary(library.folder).manifest.created == "then"


def endless(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def huge(file: Path) -> None:
    os.truncate(file, 2**40)  # It takes no room on the disk.


@pytest.mark.parametrize("harm", [endless, pipe, huge])
def test_files_without_end_are_not_read(library: ExpertLibrary, harm: Callable[[Path], None]) -> None:
    harm(library.folder / "metrics.json")
    assert [damage.file for damage in library.check()] == ["metrics.json"]
    with pytest.raises(ModelError, match=r"metrics\.json"):
        library.metrics()
    harm(library.folder / "library.json")
    with pytest.raises(ModelError, match=r"library\.json"):
        ExpertLibrary(library.folder)


# --- links, and files that are not named ---------------------------------------------------------------


def test_a_file_more_in_a_folder_that_others_read_whole_is_told(library: ExpertLibrary) -> None:
    for path in ("experts/shared/adapter_model.bin", "tokenizer/code.py", "tokenizer/deeper/x.py"):
        file = library.folder / path
        file.parent.mkdir(exist_ok=True)
        file.write_text("import os")
        assert [str(damage) for damage in library.check()] == [f"{path}: not named in library.json"]
        with pytest.raises(ModelError, match=r"not named in library\.json"):
            library.require_folder(str(Path(path).parent))
        file.unlink()
    (library.folder / "notes.txt").write_text("people may put their own beside it")
    assert library.check() == ()


def test_nothing_is_written_through_a_link(library: ExpertLibrary, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (library.folder / "more").symlink_to(elsewhere)
    with pytest.raises(ModelError, match="is a link"):
        library.put("more/file", b"x")
    (elsewhere / "kept").write_text("kept")
    (library.folder / "file").symlink_to(elsewhere / "kept")
    library.put("file", b"new")
    assert (elsewhere / "kept").read_text() == "kept"
    assert library.read("file") == b"new"


def test_a_copy_follows_no_link_but_those_of_named_files(library: ExpertLibrary, tmp_path: Path) -> None:
    """A cache of the hub keeps files as links to others; a link to a folder could lead to a whole disk."""
    elsewhere, place = tmp_path / "elsewhere", tmp_path / "place" / "copy"
    elsewhere.mkdir()
    metrics = library.folder / "metrics.json"
    shutil.move(metrics, elsewhere / "blob")
    metrics.symlink_to(elsewhere / "blob")
    (library.folder / "disk").symlink_to("/")
    (library.folder / "loop").symlink_to(library.folder)
    (library.folder / "secret").symlink_to("/etc/passwd")
    (library.folder / "notes.txt").write_text("mine")
    place.mkdir()
    copy_files(library, place)
    assert library.check() == ()
    assert {path.name for path in place.iterdir()} == {
        *("experts", "tokenizer", "metrics.json", "notes.txt", "library.json")
    }
    assert not any(path.is_symlink() for path in place.rglob("*"))


# --- weights --------------------------------------------------------------------------------------------


def header(text: bytes, length: int | None = None, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def claims(dtype: str, shape: list[Any], name: str = A, size: int = 128) -> bytes:
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}
    return header(json.dumps({name: entry}).encode(), data=bytes(size))


WHOLE = save(tensors())
WEIGHTS = {
    "empty": (b"", "header"),
    "no header": (b"\x05", "header"),
    "cut in its header": (WHOLE[:40], "cut off"),
    "cut in its numbers": (WHOLE[:-3], "cannot be used"),
    "more than it says": (WHOLE + b"x", "cannot be used"),
    "a header of exabytes": (header(b"{}", 2**63), "header would be of"),
    "a header of megabytes": (header(b" " * 9_000_000), "header would be of"),
    "a deep header": (header(b"[" * 100_000), "nested too deeply"),
    "a header that is a list": (header(b"[]"), "a JSON object is expected"),
    "a header of no sense": (header(b"\xff\xff"), "cannot be used"),
    "a pickle": (b"\x80\x04\x95" + bytes(60), "header"),
    "a tensor that is none": (header(json.dumps({A: 1}).encode()), "has no shape"),
    "a shape of text": (claims("F32", ["4", 8]), "has no shape"),
    "a shape below zero": (claims("F32", [-4, 8]), "has no shape"),
    "a shape without end": (claims("F32", [RANK, 2**60]), "cannot be used"),
    "many dimensions": (claims("F32", [RANK] + [1] * 50), "rank"),
    "integers": (claims("I32", [RANK, 8]), "I32"),
    "another kind": (claims("Q4", [RANK, 8]), "Q4"),
    "another rank": (save(tensors(**{A: torch.zeros(RANK + 1, 8)})), "the library's rank is 4"),
    "another rank of B": (save(tensors(**{B: torch.zeros(16, 1)})), "the library's rank is 4"),
    "no number": (save(tensors(**{A: torch.full((RANK, 8), float("nan"))})), "infinite or none"),
    "endless numbers": (save(tensors(**{B: torch.full((16, RANK), float("inf"))})), "infinite or none"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_damaged_weights_with_a_hash_that_fits_are_refused(library: ExpertLibrary, name: str) -> None:
    data, says = WEIGHTS[name]
    library.put(f"experts/shared/{ADAPTER}", data)
    with pytest.raises(ModelError, match=says) as refused:
        ExpertLibrary(library.folder).weights("shared")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_every_cut_of_a_weight_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "place"
    for length in range(0, len(WHOLE), 7):
        file.write_bytes(WHOLE[:length])
        with pytest.raises(ModelError):
            read_adapter(file, RANK)


def test_weights_in_half_precision_are_read(library: ExpertLibrary) -> None:
    library.put(f"experts/shared/{ADAPTER}", save({k: v.bfloat16() for k, v in tensors().items()}))
    assert library.weights("shared")[A].dtype == torch.bfloat16


# --- the router and the clusters ------------------------------------------------------------------------


def facts(library: ExpertLibrary, **changed: Any) -> RouterFacts:
    marks = {name: library.manifest.files[f"experts/{name}/{ADAPTER}"].sha256 for name in library.names}
    values: dict[str, Any] = {
        "shape": RouterShape(hidden=2),
        "layers": ("x",),
        "experts": marks,
        "rank": RANK,
        "scale": 2.0,
        "clusters": 2,
        "size": SIZE,
    }
    return RouterFacts(**values | changed)


def router_file(told: RouterFacts | str, held: RouterFacts, **changed: Any) -> bytes:
    state = {name: torch.zeros(shape) for name, shape in shapes_of(held).items()} | changed
    text = told if isinstance(told, str) else told.model_dump_json()
    return save(state, metadata={"router": text})


ROUTERS: dict[str, tuple[Callable[[RouterFacts], bytes], str]] = {
    "empty": (lambda _: b"", "not a router"),
    "no facts": (lambda _: save({"w1": torch.zeros(1)}), "not a router"),
    "deep facts": (lambda own: router_file("[" * 100_000, own), "nested too deeply"),
    "facts that are a list": (lambda own: router_file("[]", own), "a JSON object is expected"),
    "more clusters than memory": (
        lambda own: router_file(own.model_copy(update={"clusters": 10**9}), own),
        "expected",
    ),
    "longer vectors than memory": (
        lambda own: router_file(own.model_copy(update={"size": 10**10}), own),
        "expected",
    ),
    "a rank without end": (lambda own: router_file(own.model_copy(update={"rank": 10**9}), own), "rank"),
    "an endless scale": (
        lambda own: router_file(own.model_dump_json().replace('"scale":2.0', '"scale":1e999'), own),
        "too large",
    ),
    "sizes below zero": (lambda own: router_file(own.model_copy(update={"size": -1}), own), "size"),
    "no number": (lambda own: router_file(own, own, distance=torch.tensor(float("nan"))), "infinite or none"),
    "a tensor more": (lambda own: router_file(own, own, more=torch.zeros(1)), "expected None"),
    "integers": (lambda own: router_file(own, own, distance=torch.tensor(1)), "I64"),
    "experts of another library": (
        lambda own: router_file(own.model_copy(update={"experts": {"../x": "0"}}), own),
        "which the library has not",
    ),
}


@pytest.mark.parametrize("name", ROUTERS)
def test_a_router_that_is_none_is_refused_before_it_takes_memory(library: ExpertLibrary, name: str) -> None:
    data, says = ROUTERS[name]
    with pytest.raises(ModelError, match=says):
        Router.from_bytes(data(facts(library)), library)


def test_a_router_is_read_as_it_was_written(library: ExpertLibrary) -> None:
    own = Router(facts(library))
    again = Router.from_bytes(own.to_bytes(), library)
    assert all(torch.equal(one, again.state_dict()[name]) for name, one in own.state_dict().items())


def clusters_text(**changed: Any) -> str:
    import numpy as np

    whole = Clusters(
        ids=("a", "b"),
        labels=np.array([0, 1]),
        memberships=np.eye(2, dtype=np.float32),
        tokens=np.array([1, 1]),
        centroids=np.eye(2, dtype=np.float32),
        temperature=1.0,
    )
    return json.dumps(json.loads(whole.to_json()) | changed)


CLUSTERS = {
    "deep": "[" * 100_000,
    "a list": "[]",
    "an endless centroid": clusters_text().replace('"centroids": [[1.0', '"centroids": [[1e999'),
    "an endless temperature": clusters_text().replace('"temperature": 1.0', '"temperature": Infinity'),
    "no share": clusters_text().replace('"memberships": [[1.0', '"memberships": [[NaN'),
    "a label beyond": clusters_text(labels=[0, 5]),
    "labels without end": clusters_text(labels=[0, 10**30]),
    "ids that are none": clusters_text(ids=[["a"], "b"]),
    "an encoder that is none": clusters_text(encoder=["x"]),
    "ragged": clusters_text(centroids=[[1.0], [1.0, 2.0]]),
}


@pytest.mark.parametrize("name", CLUSTERS)
def test_clusters_that_are_none_are_refused(name: str) -> None:
    assert Clusters.from_json(clusters_text()).count == 2
    with pytest.raises(UsageError, match="not clusters of version 1") as refused:
        Clusters.from_json(CLUSTERS[name])
    assert "\n" not in str(refused.value)


# --- no code of others is run ---------------------------------------------------------------------------


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


def test_a_base_whose_weights_are_a_pickle_runs_nothing(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    base.model.save_pretrained(place)
    base.tokenizer.save_pretrained(place)
    (place / "model.safetensors").unlink()
    torch.save({"model.norm.weight": Bomb()}, place / "pytorch_model.bin")
    monkeypatch.chdir(place)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_base(str(place), dtype="float32", device="cpu", folder=place)
    assert not (place / "ran").exists()


def test_a_base_that_brings_code_is_not_run(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    base.model.save_pretrained(place)
    base.tokenizer.save_pretrained(place)
    for name in ("config.json", "tokenizer_config.json"):
        told = json.loads((place / name).read_text())
        auto = {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M", "AutoTokenizer": ["code.T", None]}
        (place / name).write_text(json.dumps(told | {"auto_map": auto, "model_type": "of-nobody"}))
    (place / "code.py").write_text("import os\nos.mkdir('ran')\n")
    monkeypatch.chdir(place)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_base(str(place), dtype="float32", device="cpu", folder=place)
    assert not (place / "ran").exists()


# --- a kill at any moment -------------------------------------------------------------------------------

KILLED = """
import os, sys
from pathlib import Path
from bdc_agents import disk
from bdc_agents.experts.library import ExpertLibrary, all_files, save_folder, write_files
from bdc_agents.experts.manifest import Manifest, write_manifest

os.fsync = lambda _: None  # It waits for the disk, which a kill of the process does not need.
COUNTED = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "open", "bdc.before", "bdc.after")
experts = [{"name": "shared", "cluster": -1}]

def fill(mark):
    def into(place):
        for part in ("adapter_model.safetensors", "adapter_config.json"):
            write_files(place, {f"experts/shared/{part}": mark * 10})
        manifest = Manifest(created=mark.decode(), base={}, adapters={}, experts=experts)
        write_manifest(place, manifest.model_copy(update={"files": all_files(place)}))
    return into

root, exchange = Path(sys.argv[1]), sys.argv[2] == "exchange"
if not exchange:
    disk._exchange = lambda one, other: False
left = 0
def hook(event, _):
    global left
    if event in COUNTED:
        left -= 1
        if left == 0:
            os._exit(9)
sys.addaudithook(hook)
real = disk._exchange
def audited(one, other):
    sys.audit("bdc.before"); found = real(one, other); sys.audit("bdc.after"); return found
disk._exchange = audited
seen, steps = set(), 0
while True:
    steps += 1
    folder = root / f"at-{steps}" / "library"
    folder.parent.mkdir()
    save_folder(folder, fill(b"old"))
    child = os.fork()
    if child == 0:
        left = steps
        save_folder(folder, fill(b"new"))
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    library = ExpertLibrary(folder)
    assert library.check() == (), (steps, library.check())
    seen.add(library.manifest.created)
    save_folder(folder, fill(b"next"))
    assert ExpertLibrary(folder).manifest.created == "next"
    assert [path.name for path in folder.parent.iterdir()] == ["library"], (steps, [*folder.parent.iterdir()])
    if code == 0:
        break
    assert code == 9
print(steps, sorted(seen))
"""


@pytest.mark.parametrize("how", ["exchange", "two steps"])
def test_a_kill_at_any_step_leaves_the_old_library_or_the_new(tmp_path: Path, how: str) -> None:
    import subprocess
    import sys

    (tmp_path / "place").mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "place"), how],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    steps, _, seen = ran.stdout.partition(" ")
    assert int(steps) > 15
    assert seen.strip() == "['new', 'old']"


def test_a_library_behind_a_link_is_replaced_where_it_is(library: ExpertLibrary, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere"
    link.symlink_to(library.folder)
    save_folder(link, lambda place: shutil.copytree(library.folder, place, dirs_exist_ok=True))
    assert link.is_symlink()
    assert ExpertLibrary(link).check() == ()
    assert [path.name for path in library.folder.parent.iterdir()] == ["library"]


def test_the_umask_decides_who_may_read_a_library(library: ExpertLibrary) -> None:
    before = os.umask(0o027)
    try:
        save_folder(library.folder, lambda place: write_manifest(place, library.manifest))
    finally:
        os.umask(before)
    assert library.folder.stat().st_mode & 0o777 == 0o750
    assert (library.folder / "library.json").stat().st_mode & 0o777 == 0o640


def test_a_writer_that_lives_keeps_what_it_writes(library: ExpertLibrary) -> None:
    def fill(place: Path) -> None:
        # Another process makes the same library in the meantime.
        save_folder(library.folder, lambda inner: write_manifest(inner, library.manifest))
        assert place.is_dir()
        write_manifest(place, library.manifest.model_copy(update={"created": "last"}))

    save_folder(library.folder, fill)
    assert ExpertLibrary(library.folder).manifest.created == "last"
    assert library_module.MANIFEST in {path.name for path in library.folder.iterdir()}
