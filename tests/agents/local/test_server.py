"""The shared server: one for all users, closed to others, gone with its last user. All of it is real."""

import asyncio
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from bdc_agents.agents.local.model import Connection, ServedModel, served_model
from bdc_agents.agents.local.server import Lease, ServerSettings, join, require_runtime, runtime_folder
from bdc_agents.errors import ModelError
from bdc_agents.locks import is_locked

USER = """
import asyncio, sys
from bdc_agents.agents.local.server import ServerSettings, join
lease = asyncio.run(join(ServerSettings.model_validate_json(sys.argv[1])))
print(lease.address.pid, lease.address.url, flush=True)
sys.stdin.read()
"""


def model_over(settings: ServerSettings) -> ServedModel:
    async def ready() -> ServerSettings:
        return settings

    return served_model(settings.name, Connection(ready, timeout=60))


def running(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition: Callable[[], object], seconds: float = 120.0) -> bool:
    """Waits for the condition; says whether it came true."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


def join_now(settings: ServerSettings) -> Lease:
    return asyncio.run(join(settings))


OWN_BUILD = """#!{python}
# What a llama-server does with the same arguments, by the llama.cpp of the installed package.
import argparse, os, signal, time, xllamacpp
from pathlib import Path
parser = argparse.ArgumentParser()
names = "model alias host port parallel ctx-size threads threads-batch cache-ram api-key-file cors-origins"
for name in [*names.split(), "log-verbosity"]:
    parser.add_argument("--" + name, required=True)
for name in ("kv-unified", "no-slots", "offline", "no-cors-credentials"):
    parser.add_argument("--" + name, action="store_true", required=True)
given = parser.parse_args()
params = xllamacpp.CommonParams()
params.model.path, params.model_alias, params.hostnames = given.model, {{given.alias}}, [given.host]
params.port, params.n_parallel, params.n_ctx = int(given.port), int(given.parallel), int(given.ctx_size)
params.api_keys = Path(given.api_key_file).read_text().split()
server = xllamacpp.Server(params)
# Told to end while somebody waits, it listens no more, and hangs.
signal.signal(signal.SIGTERM, lambda *_: globals().pop("server"))
Path({mark!r}).write_text(str(os.getpid()))
while True:
    time.sleep(600)
"""


@contextmanager
def user(settings: ServerSettings) -> Iterator[subprocess.Popen[str]]:
    """Another process with a share in the server, killed without warning at the end."""
    command = [sys.executable, "-c", USER, settings.model_dump_json()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def answer(process: subprocess.Popen[str]) -> tuple[int, str]:
    assert process.stdout
    pid, url = process.stdout.readline().split()
    return int(pid), url


@pytest.mark.model
@pytest.mark.usefixtures("free_loop")
async def test_a_real_reply_and_one_that_holds_to_a_schema(settings: ServerSettings) -> None:
    model = model_over(settings)
    try:
        reply = await model.ainvoke("Say hello.", max_tokens=12, temperature=0.0, seed=1)
        assert str(reply.content).strip()
        assert reply.usage_metadata
        assert 0 < reply.usage_metadata["output_tokens"] <= 12
        schema = {
            "type": "object",
            "properties": {"colour": {"enum": ["red", "blue"]}, "number": {"type": "integer"}},
            "required": ["colour", "number"],
            "additionalProperties": False,
        }
        wanted = {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": schema}}
        reply = await model.ainvoke("A colour and a number?", response_format=wanted, max_tokens=60, seed=1)
        value = json.loads(str(reply.content))
        assert set(value) == {"colour", "number"}
        assert value["colour"] in {"red", "blue"}
        assert isinstance(value["number"], int)
    finally:
        await model.connection.close()


@pytest.fixture
def own_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the user's own build of llama.cpp writes its process."""
    script, mark = tmp_path / "llama-server", tmp_path / "mark"
    script.write_text(OWN_BUILD.format(python=sys.executable, mark=str(mark)))
    script.chmod(0o700)
    monkeypatch.setenv("BDC_LLAMA_SERVER", str(script))
    return mark


@pytest.mark.model
def test_a_build_of_the_users_own_serves_and_ends_with_its_last_user(
    own_build: Path, settings: ServerSettings
) -> None:
    lease = join_now(settings)
    body = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4}
    right = f"Bearer {lease.address.key}"
    with httpx.Client(base_url=lease.address.url, trust_env=False, timeout=60) as client:
        for key, status in (("", 401), (right[:-1], 401), (right, 200)):
            asked = client.post("/v1/chat/completions", json=body, headers={"Authorization": key})
            assert asked.status_code == status
    serving = int(own_build.read_text())
    assert lease.address.key.encode() not in Path(f"/proc/{serving}/cmdline").read_bytes()
    lease.close()
    assert until(lambda: not running(serving))


@pytest.mark.model
def test_a_build_of_the_users_own_that_dies_or_is_orphaned_leaves_nothing(
    own_build: Path, settings: ServerSettings
) -> None:
    lease = join_now(settings)
    os.kill(int(own_build.read_text()), signal.SIGKILL)
    assert until(lambda: not lease.alive)
    lease.close()
    lease = join_now(settings)
    serving = int(own_build.read_text())
    os.kill(lease.address.pid, signal.SIGKILL)
    assert until(lambda: not running(serving))
    lease.close()


@pytest.mark.model
async def test_a_server_that_is_about_to_end_is_followed_by_another(settings: ServerSettings) -> None:
    folder = runtime_folder() / settings.key
    folder.mkdir(mode=0o700)
    alive = os.open(folder / "alive", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(alive, fcntl.LOCK_EX)  # It has withdrawn its address, and still lives.
    joining = asyncio.create_task(join(settings))
    assert not (await asyncio.wait([joining], timeout=0.5))[0]
    os.close(alive)
    lease = await joining
    assert lease.alive
    lease.close()


@pytest.mark.model
def test_a_build_of_the_users_own_that_hangs_at_its_end_has_no_next_user(
    own_build: Path, settings: ServerSettings
) -> None:
    lease = join_now(settings)
    serving = int(own_build.read_text())
    os.kill(serving, signal.SIGTERM)
    assert until(lambda: not lease.alive)
    assert until(lambda: not running(serving))
    lease.close()


@pytest.mark.parametrize("named", ["llama-server", "/", "/etc/passwd"])
def test_a_build_that_is_no_program_is_refused(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BDC_LLAMA_SERVER", named)
    with pytest.raises(ModelError, match=f"BDC_LLAMA_SERVER is '{named}'; it must be the full path"):
        require_runtime()


@pytest.mark.model
def test_nobody_else_gets_in(settings: ServerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a key of another service")
    lease = join_now(settings)
    address = lease.address
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    with httpx.Client(base_url=address.url, trust_env=False) as client:
        for key in ("", "Bearer wrong", f"Bearer {address.key[:-1]}"):
            for route in ("/v1/chat/completions", "/v1/completions", "/completion", "/v1/messages"):
                assert client.post(route, json=body, headers={"Authorization": key}).status_code == 401
            for route in ("/v1/models", "/props", "/slots", "/metrics"):
                assert client.get(route, headers={"Authorization": key}).status_code == 401
        right = {"Authorization": f"Bearer {address.key}"}
        assert client.post("/v1/chat/completions", json=body, headers=right).status_code == 200
        assert client.get("/slots", headers=right).status_code == 501
        assert client.get("/").status_code == 404
    files = [runtime_folder(), *runtime_folder().rglob("*")]
    assert [file for file in files if file.stat().st_mode & 0o077] == []
    process = Path(f"/proc/{address.pid}")
    assert address.key.encode() not in (process / "cmdline").read_bytes()
    assert address.key.encode() not in (process / "environ").read_bytes()
    assert b"a key of another service" not in (process / "environ").read_bytes()
    assert listens_on(int(address.url.rsplit(":", 1)[1])) == {"127.0.0.1"}
    lease.close()


def listens_on(port: int) -> set[str]:
    """The addresses on which this port is open, as the kernel has it."""
    found: set[str] = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        address, number = local.split(":")
        if int(number, 16) == port and state == "0A":
            found.add(socket.inet_ntoa(bytes.fromhex(address)[::-1]))
    return found


@pytest.mark.model
def test_two_processes_share_a_server_that_outlives_one_and_goes_with_the_last(
    settings: ServerSettings,
) -> None:
    with user(settings) as first, user(settings) as second:
        pid, url = answer(first)
        assert answer(second) == (pid, url)
        first.kill()
        first.wait()
        assert not until(lambda: not running(pid), seconds=1.0), "one user is left"
        third = join_now(settings)
        assert third.address.pid == pid
        second.kill()
        second.wait()
        assert not until(lambda: not running(pid), seconds=0.8), "this process is left"
        third.close()
        assert until(lambda: not running(pid), seconds=5)


@pytest.mark.model
def test_a_server_whose_starter_is_killed_meanwhile_ends_too(settings: ServerSettings) -> None:
    folder = runtime_folder() / settings.key
    with user(settings) as starter:
        assert until(lambda: is_locked(folder / "alive"))
        starter.kill()
        starter.wait()
    assert until(lambda: not is_locked(folder / "alive"))
    lease = join_now(settings)
    assert lease.alive
    lease.close()


@pytest.mark.model
def test_the_next_user_within_the_linger_time_finds_the_server(settings: ServerSettings) -> None:
    patient = settings.model_copy(update={"linger": 2.0, "slots": 1})
    first = join_now(patient)
    first.close()
    second = join_now(patient)
    assert second.address == first.address
    second.close()
    os.kill(second.address.pid, signal.SIGKILL)


@pytest.mark.model
async def test_a_server_killed_during_requests_is_started_anew(settings: ServerSettings) -> None:
    model = model_over(settings)
    try:
        before = (await model.connection.open())[0].address.pid
        copies = [model.model_copy(update={"seed": n}) for n in range(3)]
        asks = [asyncio.create_task(copy.ainvoke("Tell a long story.", max_tokens=60)) for copy in copies]
        await asyncio.sleep(0.2)
        os.kill(before, signal.SIGKILL)
        replies = await asyncio.gather(*asks)
        assert all(str(reply.content).strip() for reply in replies)
        after = (await model.connection.open())[0].address.pid
        assert after != before
        os.kill(after, signal.SIGKILL)
        reply = await model.ainvoke("Say hello.", max_tokens=8)
        assert str(reply.content).strip()
    finally:
        await model.connection.close()


@pytest.mark.model
def test_the_address_of_a_dead_server_is_not_believed(settings: ServerSettings) -> None:
    folder = runtime_folder() / settings.key
    folder.mkdir(mode=0o700)
    stale = {"url": "http://127.0.0.1:9", "key": "old", "pid": os.getpid()}
    (folder / "server.json").write_text(json.dumps(stale))
    lease = join_now(settings)
    assert lease.address.key != "old"
    assert lease.address.pid != os.getpid()
    lease.close()


def test_a_file_that_is_no_model_is_named_with_the_reason(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="local models need the extra `local`")
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF" + bytes(100))
    settings = ServerSettings(name="broken", path=file, sha256="1" * 64)
    with pytest.raises(ModelError, match=r"(?s)broken\.gguf.*failed to load model"):
        join_now(settings)
    assert not is_locked(runtime_folder() / settings.key / "alive")


def test_without_llama_cpp_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ModelError, match=r"pip install 'bdc-agents\[local\]'"):
        require_runtime()


def test_a_runtime_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runtime" / "bdc-agents").mkdir()
    (tmp_path / "runtime" / "bdc-agents").chmod(0o755)
    with pytest.raises(ModelError, match="only you can use"):
        runtime_folder()


def test_without_a_runtime_directory_a_private_temporary_one_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = runtime_folder()
    assert folder.is_relative_to(tmp_path / f"bdc-agents-{os.geteuid()}")
    assert folder.stat().st_mode & 0o777 == 0o700


def test_other_settings_mean_another_server(tmp_path: Path) -> None:
    base = ServerSettings(name="a", path=tmp_path, sha256="2" * 64)
    assert base.key == base.model_copy(update={"linger": 9.0, "name": "b", "path": tmp_path / "x"}).key
    changes = [{"slots": 1}, {"context": 512}, {"threads": 1}, {"sha256": "3" * 64}]
    assert len({base.key, *(base.model_copy(update=change).key for change in changes)}) == 5
