# ruff: noqa: ASYNC240, E501
"""A workspace: what commands can do, what they find, and what hostile ones cannot."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bdc_agents.errors import SandboxError, SandboxRefused
from bdc_agents.sandbox import Workspace, WorkspaceLimits

from .attacks import ATTACKS, standing

SMALL = WorkspaceLimits(seconds=10, memory_mb=128, folder_mb=8, files=100, processes=16, output_bytes=10_000)

ALLOWED = {
    # What a command is there for.
    *("fork", "spawn", "start by vfork", "start a shell", "replace itself"),
    # Process 1 is the one that watches over it, and the kernel lets no signal from inside through; see below.
    *("signal the parent", "signal the group of the parent"),
}


@pytest.fixture
async def workspace() -> AsyncIterator[Workspace]:
    try:
        made = Workspace(SMALL)
    except SandboxRefused as error:
        pytest.skip(str(error))
    yield made
    await made.aclose()


async def said(workspace: Workspace, command: str, seconds: float | None = None) -> str:
    return (await workspace.run(command, seconds)).output.decode()


async def test_no_attack_works(workspace: Workspace, tmp_path: Path) -> None:
    worked = set[str]()
    with standing(tmp_path) as targets:
        for attack in ATTACKS:
            code = f"{attack.code}\nprint(attack({targets!r}))"
            assert not await workspace.put("/tmp/attack.py", code.encode())
            # Alone, so that its parent is the process that watches, and no shell of its own.
            ran = await workspace.run("exec python3 -S /tmp/attack.py")
            if ran.output.strip().strip(b"'") == b"ESCAPED":  # a traceback quotes the word, too
                worked.add(attack.name)
            await workspace.run("rm -rf /tmp/* /workspace/*")
        assert Path(str(targets["prey"])).exists()
        assert not (Path(str(targets["folder"])) / "new").exists()
    assert worked == ALLOWED


async def test_nothing_inside_ends_the_process_that_watches(workspace: Workspace) -> None:
    ran = await workspace.run("for n in 1 2 9 15 18 19; do kill -$n 1; done; kill -9 -1; echo alive")
    assert ran.status in (0, 137)
    assert await said(workspace, "echo on") == "on\n"


async def test_what_a_command_writes_is_there_for_the_next(workspace: Workspace) -> None:
    assert await said(workspace, "pwd; id -u > who; echo data > a; echo more > /tmp/b") == "/workspace\n"
    assert (
        await said(workspace, "cat a /tmp/b; test $(cat who) != 0 && echo unprivileged")
        == "data\nmore\nunprivileged\n"
    )
    assert await workspace.get("/workspace/a") == (b"data\n", "")


async def test_two_workspaces_share_nothing(workspace: Workspace) -> None:
    other = Workspace(SMALL)
    await said(workspace, "echo data > a; echo data > /tmp/b; echo data > /dev/shm/c")
    assert await said(workspace, "ls /workspace /tmp") == "/tmp:\nb\n\n/workspace:\na\nc\n"
    assert await said(other, "ls /workspace /tmp") == "/tmp:\n\n/workspace:\n"
    await other.aclose()


async def test_processes_end_with_their_command(workspace: Workspace) -> None:
    await workspace.run(
        "(setsid sleep 60 &) ; setsid nohup sh -c 'sleep 1; echo late > /workspace/late' & exit"
    )
    assert await said(workspace, "sleep 1.5; ls /workspace; cat /proc/[0-9]*/comm | grep -c sleep") == "0\n"


@pytest.mark.parametrize(
    ("command", "status", "says"),
    [
        ("sleep 9", 124, "time limit"),
        ("while :; do :; done", 124, "time limit"),
        ('python3 -c "x = bytearray(400 << 20)"', 1, ""),
        (
            "for i in 1 2 3 4 5; do python3 -c \"x = b'x' * (60 << 20); import time; time.sleep(9)\" & done; wait",
            137,
            "128 MB",
        ),
        (":(){ :|:& };:; sleep 9", 124, "time limit"),
    ],
)
async def test_limits_end_a_command_and_not_the_workspace(
    workspace: Workspace, command: str, status: int, says: str
) -> None:
    await workspace.run("echo kept > kept")
    ran = await workspace.run(command, 3)
    if status != 1:  # Where one process asks for too much, it may be told so itself.
        assert (ran.status, says in ran.note) == (status, True)
    assert await said(workspace, "cat kept") == "kept\n"


async def test_the_folder_has_a_size(workspace: Workspace) -> None:
    assert "No space left" in await said(
        workspace, "head -c 20000000 /dev/urandom > big; head -c 9000000 /dev/urandom > /tmp/big"
    )
    assert "No space left" in await said(
        workspace, "rm -f big /tmp/big; for i in $(seq 200); do echo > f$i; done"
    )
    assert "larger than the workspace" in await workspace.put("/workspace/x", bytes(9 << 20))


async def test_output_is_cut(workspace: Workspace) -> None:
    ran = await workspace.run("head -c 50000 /usr/bin/bash | base64; exit 3")
    assert (len(ran.output), ran.truncated, ran.status) == (10_000, True, 3)
    ran = await workspace.run("yes", 1)
    assert (len(ran.output), ran.truncated, ran.status) == (10_000, True, 124)
    assert not (await workspace.run("head -c 10000 /usr/bin/bash")).truncated


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("relative", "invalid_path"),
        ("/etc/passwd", "permission_denied"),
        ("/usr/bin/new", "permission_denied"),
        ("/workspace/folder", "is_directory"),
        ("/workspace/file/below", "invalid_path"),
        ("/workspace/a\0b", "invalid_path"),
        ("/workspace/" + "x" * 300, "invalid_path"),
    ],
)
async def test_files_that_cannot_be_written(workspace: Workspace, path: str, says: str) -> None:
    await workspace.run("mkdir folder; echo > file")
    assert await workspace.put(path, b"x") == says


async def test_a_link_leads_nowhere_that_a_command_cannot_go(workspace: Workspace, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    await workspace.run(f"ln -s {secret} link; ln -s /proc/1/root/etc/passwd other")
    for name in ("link", "other"):
        data, wrong = await workspace.get(f"/workspace/{name}")
        assert (data, wrong in ("permission_denied", "file_not_found")) == (None, True)
    assert await workspace.put("/workspace/link", b"x")
    assert secret.read_text() == "secret"


async def test_what_can_be_written_cannot_be_run_itself(workspace: Workspace) -> None:
    ran = await workspace.run(
        "cp /bin/echo mine; chmod 711 mine; ./mine ran; /lib64/ld-linux-x86-64.so.2 ./mine ran"
    )
    assert b"\nran" not in b"\n" + ran.output
    assert await said(workspace, "echo 'echo ran' > script; sh script") == "ran\n"


async def test_commands_wait_for_one_another(workspace: Workspace) -> None:
    command = "test -e busy && echo together; touch busy; sleep 0.1; rm busy"
    assert await asyncio.gather(*(said(workspace, command) for _ in range(3))) == ["", "", ""]


async def test_a_cancelled_command_ends_the_workspace_and_says_so(workspace: Workspace) -> None:
    await workspace.run("true")
    running = asyncio.create_task(workspace.run("sleep 9"))
    await asyncio.sleep(0)  # It has its turn now.
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(SandboxError, match="this workspace has ended"):
        await workspace.run("echo")


async def test_a_closed_workspace_says_so(workspace: Workspace) -> None:
    await workspace.run("true")
    await workspace.aclose()
    with pytest.raises(SandboxError, match="it was closed"):
        await workspace.run("true")


def test_a_machine_without_namespaces_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from bdc_agents.sandbox import TierReport, workspace

    monkeypatch.setattr(workspace, "probe_tier", lambda name: TierReport(name, False, "not here"))
    with pytest.raises(SandboxRefused, match="'namespaces', which does not hold on this machine: not here"):
        Workspace()
