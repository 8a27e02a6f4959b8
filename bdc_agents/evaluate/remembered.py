"""Verdicts that are remembered: no program runs twice where problems share a budget.

A row that goes on with more of a pool is made anew: replies come from the cache, verdicts from here. So a
program that ran close to its time limit also has the same verdict in every round.
"""

from collections import OrderedDict
from hashlib import sha256

from bdc_agents.config import Budget
from bdc_agents.sandbox.protocol import Executor, Job
from bdc_agents.search.round.budget import caps_on_calls
from bdc_agents.types import Verdict

MOST = 200_000
"""Results of tests that are remembered, of the last programs: some 500 bytes each. 164 problems with 16
programs and 50 tests each make 130,000."""


class Remembering:
    """An executor that runs each job once, as long as it remembers it.

    It keeps verdicts in memory alone: some are on hidden tests.

    Args:
        executor: Runs what is new.
        most: Results of tests that are remembered.
    """

    def __init__(self, executor: Executor, most: int = MOST) -> None:
        self._executor = executor
        self._most = most
        self._held = 0
        self._verdicts: OrderedDict[bytes, Verdict] = OrderedDict()

    @property
    def tier(self) -> str:
        """See `Executor`."""
        return self._executor.tier

    async def run(self, job: Job) -> Verdict:
        """See `Executor`."""
        key = sha256(repr(job).encode("utf-8", "surrogatepass")).digest()
        if key in self._verdicts:
            self._verdicts.move_to_end(key)
            return self._verdicts[key]
        verdict = await self._executor.run(job)
        if key not in self._verdicts:
            self._verdicts[key] = verdict
            self._held += len(verdict.results)
        while self._held > self._most:
            _, oldest = self._verdicts.popitem(last=False)
            self._held -= len(oldest.results)
        return verdict

    async def aclose(self) -> None:
        """See `Executor`."""
        await self._executor.aclose()


def remembering(executor: Executor, pool: Budget) -> Executor:
    """The executor of an evaluation: one that remembers verdicts, where problems share a budget."""
    return Remembering(executor) if caps_on_calls(pool) else executor
