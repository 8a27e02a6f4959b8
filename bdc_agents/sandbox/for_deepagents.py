"""`WorkspaceBackend`: the sandbox as a backend of deepagents, without a cloud.

with WorkspaceBackend() as backend:
    agent = create_deep_agent(model="openai:gpt-4o-mini", backend=backend)
"""

import weakref
from typing import Self
from uuid import uuid4

from deepagents.backends.protocol import (  # pyright: ignore[reportMissingImports] - an extra
    ExecuteResponse,
    FileDownloadResponse,
    FileUploadResponse,
)
from deepagents.backends.sandbox import BaseSandbox  # pyright: ignore[reportMissingImports]

from bdc_agents.errors import SandboxError
from bdc_agents.sync import run_sync

from .workspace import Ran, Workspace, WorkspaceLimits


class WorkspaceBackend(BaseSandbox):
    """A `SandboxBackendProtocol` on a `Workspace` of this machine: no network, no file of yours, hard limits.

    Agents get deepagents' file tools and `execute`. Commands run one after the other in `/workspace`;
    `/workspace` and `/tmp` can be written, and what is there is lost at the end. SECURITY.md says what a
    command can and cannot do.

    Args:
        limits: What commands may use.

    Raises:
        SandboxRefused: If this machine offers no such isolation; with the reason.
        NotInstalled: If deepagents is not installed.
    """

    def __init__(self, limits: WorkspaceLimits | None = None) -> None:
        self._workspace = Workspace(limits)
        self._id = f"bdc-{uuid4().hex[:12]}"
        self._at_end = weakref.finalize(self, self._workspace.close_now)

    @property
    def id(self) -> str:
        """Names this sandbox among others."""
        return self._id

    @property
    def tier(self) -> str:
        """Name of the isolation in force."""
        return self._workspace.tier

    def execute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        """Runs a shell command; one that a limit ends has the exit code 124 (time) or 137 (memory).

        Args:
            command: What the shell is given.
            timeout: Seconds, at most those of the limits; None and 0 for these.
        """
        try:
            return _response(run_sync(self._workspace.run(command, timeout or None)))
        except SandboxError as error:
            return ExecuteResponse(output=str(error), exit_code=None)

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        """Writes files below `/workspace` or `/tmp`, and the folders above them."""
        return [FileUploadResponse(path=path, error=self._put(path, data)) for path, data in files]

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """Reads files that a command could read."""
        return [self._get(path) for path in paths]

    def close(self) -> None:
        """Ends every process, and the files."""
        self._at_end.detach()
        run_sync(self._workspace.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put(self, path: str, data: bytes) -> str | None:
        try:
            return run_sync(self._workspace.put(path, data)) or None
        except SandboxError as error:
            return str(error)

    def _get(self, path: str) -> FileDownloadResponse:
        try:
            data, wrong = run_sync(self._workspace.get(path))
        except SandboxError as error:
            data, wrong = None, str(error)
        return FileDownloadResponse(path=path, content=data, error=wrong or None)


def _response(ran: Ran) -> ExecuteResponse:
    text = ran.output.decode("utf-8", "replace")
    return ExecuteResponse(
        output=f"{text}\n[{ran.note}]" if ran.note else text, exit_code=ran.status, truncated=ran.truncated
    )
