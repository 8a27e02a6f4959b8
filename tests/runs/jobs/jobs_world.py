"""Jobs, and tables of them whose clock and owners are in a test's hands."""

from pathlib import Path

from bdc_agents.runs.jobs.sqlite import SqliteJobs
from bdc_agents.runs.jobs.table import Job

LEASE = 100.0
JOBS = [Job(id=f"p:{number}", dataset="p") for number in range(6)]


class World:
    """The effects a table depends on, in a test's hands."""

    def __init__(self) -> None:
        self.now = 0.0
        self.gone: set[str] = set()

    def open(self, file: Path, limit: int | None = None, *, learns: bool = False) -> SqliteJobs:
        return SqliteJobs(
            file,
            limit=limit,
            learns=learns,
            lease_seconds=LEASE,
            is_gone=lambda owner: owner in self.gone,
            clock=lambda: self.now,
        )


def ids(jobs: list[Job]) -> list[str]:
    return [job.id for job in jobs]
