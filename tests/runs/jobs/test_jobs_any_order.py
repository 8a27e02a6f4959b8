"""A table of jobs holds together whatever happens to it, in any order."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bdc_agents.runs.jobs.table import Summary

from .jobs_world import JOBS, LEASE, World, ids


class AnyOrder(RuleBasedStateMachine):
    """Two owners, one clock, and every operation in any order, against a simple model."""

    owners = st.sampled_from(["ann", "bob"])
    jobs = st.sampled_from(ids(JOBS))

    @initialize()
    def begin(self) -> None:
        self.world = World()
        self.folder = TemporaryDirectory()
        self.table = self.world.open(Path(self.folder.name) / "jobs.sqlite")
        self.table.add(JOBS)
        self.holder: dict[str, tuple[str, float]] = {}
        self.done: set[str] = set()
        self.stored: list[str] = []

    @rule(owner=owners, count=st.integers(0, 4))
    def lease(self, owner: str, count: int) -> None:
        got = ids(self.table.lease(owner, count))
        assert len(got) <= count
        if count:  # whoever is gone or silent has lost all it held
            self.holder = {
                job_id: (holder, expires)
                for job_id, (holder, expires) in self.holder.items()
                if expires > self.world.now and holder not in self.world.gone
            }
        for job_id in got:
            assert job_id not in self.done
            assert job_id not in self.holder
            self.holder[job_id] = (owner, self.world.now + LEASE)

    @rule(owner=owners, job_id=jobs)
    def finish(self, owner: str, job_id: str) -> None:
        first = self.table.finish(owner, job_id, lambda: self.stored.append(job_id) or Summary(calls=1))
        assert first == (job_id not in self.done)
        self.done.add(job_id)
        self.holder.pop(job_id, None)

    @rule(owner=owners, job_id=jobs, final=st.booleans())
    def fail(self, owner: str, job_id: str, final: bool) -> None:
        self.table.fail(owner, job_id, "reason", final=final)
        self._let_go(owner, job_id)

    @rule(owner=owners, job_id=jobs)
    def release(self, owner: str, job_id: str) -> None:
        self.table.release(owner, [job_id])
        self._let_go(owner, job_id)

    @rule(owner=owners)
    def lose(self, owner: str) -> None:
        self.table.lose(owner)
        for job_id in list(self.holder):
            self._let_go(owner, job_id)

    @rule(owner=owners)
    def heartbeat(self, owner: str) -> None:
        held = self.table.heartbeat(owner, ids(JOBS))
        assert held <= {job_id for job_id, (holder, _) in self.holder.items() if holder == owner}
        for job_id in held:
            self.holder[job_id] = (owner, self.world.now + LEASE)

    @rule(seconds=st.floats(1, 150))
    def wait(self, seconds: float) -> None:
        self.world.now += seconds

    @rule(owner=owners)
    def vanish(self, owner: str) -> None:
        self.world.gone = {owner}

    @rule()
    def retry(self) -> None:
        self.table.retry()

    @rule(job_id=jobs)
    def reopen(self, job_id: str) -> None:
        self.table.reopen([job_id])
        self.done.discard(job_id)
        self.stored = [stored for stored in self.stored if stored != job_id]

    def _let_go(self, owner: str, job_id: str) -> None:
        if self.holder.get(job_id, ("",))[0] == owner:
            del self.holder[job_id]

    @invariant()
    def the_numbers_agree(self) -> None:
        totals = self.table.totals()
        assert totals.total == len(JOBS)
        assert totals.done == totals.calls == len(self.done)
        assert totals.leased == len(self.holder)
        assert self.table.done() == self.done
        assert sorted(self.stored) == sorted(self.done), "each done job was stored exactly once"

    def teardown(self) -> None:
        self.table.close()
        self.folder.cleanup()


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
