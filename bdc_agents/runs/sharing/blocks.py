"""Blocks: which problems of a run start from what moves gave on which others.

A search that starts from what moves gave before solves more. But were each to start from all that are done by
then, a tree would depend on which other search was done first. So the problems, in the order of the run, are
cut into blocks, and all of a block start from one snapshot: what moves gave on all problems before the block
before theirs. That one may still be at work, so nothing waits at the end of a block.
"""

from bisect import bisect_right

from bdc_agents.config import SearchConfig
from bdc_agents.search.policy.beliefs import Beliefs, read_beliefs

FIRST = 4
"""Problems of the first block. It and the next one start from nothing, so both are short: on simulated agents
a search solves 0.66 cold, 0.69 where 4 problems are known, 0.72 where 10 are (benchmarks/allocation.py)."""
LEAST = 6
"""Problems of any other block, at least: with the one before it, enough for the slots of a small endpoint."""
SHARE = 2
"""A block is as long as all problems before it, divided by this. The more is known, the less does one more
problem teach (24 problems: 0.74, 36 and 54: 0.76, 80: 0.77), and long blocks keep many slots busy: two are at
work at once. Blocks of ten would solve as much, and leave an endpoint of 32 slots half idle."""

_starts = [0, FIRST]


def start_of(block: int) -> int:
    """Where a block starts, as the position of its first problem in the run."""
    while len(_starts) <= block:
        _starts.append(_starts[-1] + max(LEAST, _starts[-1] // SHARE))
    return _starts[block]


def block_of(position: int) -> int:
    """The block of a problem."""
    while _starts[-1] <= position:
        start_of(len(_starts))
    return bisect_right(_starts, position) - 1


def known_to(block: int) -> int:
    """How many problems, from the first on, a block starts from: those before the block before it."""
    return start_of(block - 1) if block else 0


def open_until(unfinished: int) -> int:
    """The position before which all problems may start, where this one is the first that is not finished."""
    return start_of(block_of(unfinished) + 2)


def learns(search: SearchConfig) -> bool:
    """Whether searches make use of what moves gave before."""
    return search.policy == "default"


def starting_from(search: SearchConfig, known: Beliefs) -> SearchConfig:
    """The settings of a search that also starts from what moves gave on other problems of its run."""
    if not known.counts:
        return search
    return search.model_copy(update={"beliefs": read_beliefs(search.beliefs).plus(known).model_dump()})
