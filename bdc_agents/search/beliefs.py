"""Beliefs: what a move by an agent leads to, as counts that a search starts from and adds to.

A move is made from a program of some outcome (or from none), and gives a program of some outcome. What is
believed of it is pooled in levels, so that a few calls are enough: all agents' moves of the kind first, then
the agent's own, then those in this search, whose problem may be harder or easier than others. Each level is a
Dirichlet distribution around the one above it.

A search draws once what each move gives (Thompson sampling, so that over many problems every move has its
chance), and acts on the mean of that and of what it sees. Within one problem nothing more is to be
explored for its own sake: the first success ends the search, so the move that is most likely to succeed now
is the best next one.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from random import Random
from typing import NamedTuple

from bdc_agents.search.calls import derive_seed
from bdc_agents.types import Frozen, Kind

OUTCOMES = ("error", "wrong", "part", "pass")
"""Of a program: none of its tests gave a result; none the right one; some did; all."""
NOTHING = ""
"""What a move starts from where there is no program yet."""
MENDED = "+"
"""Behind the outcome of a program that itself mends another: what a second repair gives is learnt apart."""

Chances = tuple[float, float, float, float]
"""How likely each of `OUTCOMES` is."""

START: Mapping[str, Chances] = {
    "answer/": (0.10, 0.25, 0.15, 0.50),
    "write/": (0.10, 0.30, 0.15, 0.45),
    "write/error": (0.40, 0.25, 0.10, 0.25),
    "write/wrong": (0.10, 0.55, 0.15, 0.20),
    "write/part": (0.05, 0.20, 0.50, 0.25),
    "repair/error": (0.30, 0.30, 0.15, 0.25),
    "repair/wrong": (0.10, 0.55, 0.15, 0.20),
    "repair/part": (0.05, 0.15, 0.55, 0.25),
    "rethink/error": (0.15, 0.40, 0.20, 0.25),
    "rethink/wrong": (0.10, 0.50, 0.20, 0.20),
    "rethink/part": (0.05, 0.25, 0.50, 0.20),
}
START_COUNTS = 4.0
"""How many observations the table is worth: a run overrules it within a few problems."""
AGENT_COUNTS = 6.0
"""How many observations the mean of all agents is worth for one of them."""
PROBLEM_COUNTS = 2.0
"""How many observations what is known of an agent is worth at one problem: problems differ far more than the
calls for one of them, so two failures there say as much as all that was known before."""
OTHERS = 0.5
"""What a failure of another agent at the same problem counts."""


class Told(NamedTuple):
    """What a move gave.

    Args:
        before: Outcome of the program that it started from, with `MENDED` behind it where that one mends
            another; `NOTHING` where there was none.
        after: Outcome of the program that it gave.
    """

    kind: Kind
    agent: str
    before: str
    after: str


class Beliefs(Frozen):
    """How often moves gave what.

    Args:
        counts: By `KIND/BEFORE/AGENT`, how often each of `OUTCOMES` came out.
    """

    counts: dict[str, Chances] = {}

    def tell(self, told: Iterable[Told]) -> "Beliefs":
        """The beliefs after some more moves."""
        counts = dict(self.counts)
        for kind, agent, before, after in told:
            key = f"{kind}/{before}/{agent}"
            row = [*counts.get(key, (0.0, 0.0, 0.0, 0.0))]
            row[OUTCOMES.index(after)] += 1
            counts[key] = (row[0], row[1], row[2], row[3])
        return Beliefs(counts=counts)

    @cached_property
    def _by_move(self) -> dict[str, Chances]:
        """The counts of all agents together, by kind and what it started from."""
        found: dict[str, Chances] = {}
        for key, row in self.counts.items():
            move = "/".join(key.split("/", 2)[:2])
            found[move] = _sum(found.get(move), row)
        return found

    def of_all(self, move: str) -> Chances | None:
        """What all agents' moves of a kind gave together."""
        return self._by_move.get(move)


class Drawn:
    """What each move gives in one search: drawn once from beliefs, and corrected by what it gave here.

    Args:
        beliefs: From problems before this one.
        seed: Of the search and its problem.
        here: From this search.
        skills: What is known of agents: how likely their direct answers pass.
    """

    def __init__(
        self,
        beliefs: Beliefs,
        seed: int,
        here: Beliefs | None = None,
        skills: Mapping[str, float] | None = None,
    ) -> None:
        self._beliefs, self._seed, self._skills = beliefs, seed, skills or {}
        self._drawn: dict[tuple[str, str, str], Chances] = {}
        self._moves: dict[tuple[str, str], Chances] = {}
        self._here: dict[tuple[str, str], dict[str, Chances]] = {}
        for key, row in (here.counts if here else {}).items():
            kind, before, agent = key.split("/", 2)
            self._here.setdefault((kind, before), {})[agent] = row

    def see(self, told: Told) -> None:
        """Adds what a move gave; one that is planned is seen as one that fails."""
        rows = self._here.setdefault((told.kind, told.before), {})
        row = [*rows.get(told.agent, _NONE)]
        row[OUTCOMES.index(told.after)] += 1
        rows[told.agent] = (row[0], row[1], row[2], row[3])

    def chances(self, kind: str, agent: str, before: str) -> Chances:
        """How likely each outcome is at this problem now."""
        known = self._of_agent(kind, agent, before)
        rows = self._here.get((kind, before))
        if not rows:
            return known
        seen = [PROBLEM_COUNTS * one for one in known]
        for other, row in rows.items():
            weight = 1.0 if other == agent else OTHERS
            for place, count in enumerate(row):
                seen[place] += weight * count
        return _share(seen)

    def _of_agent(self, kind: str, agent: str, before: str) -> Chances:
        key = (kind, before, agent)
        if key not in self._drawn:
            around = self._of_move(kind, before)
            counts = self._beliefs.counts.get(f"{kind}/{before}/{agent}", _NONE)
            around = [AGENT_COUNTS * one + own for one, own in zip(around, counts, strict=True)]
            self._drawn[key] = _draw(around, Random(derive_seed(self._seed, *key)))
        return self._drawn[key]

    def _of_move(self, kind: str, before: str) -> Chances:
        key = (kind, before)
        if key not in self._moves:
            start = START.get(f"{kind}/{before.rstrip(MENDED)}", START["answer/"])
            counts = self._beliefs.of_all(f"{kind}/{before}") or _NONE
            around = [START_COUNTS * one + own for one, own in zip(start, counts, strict=True)]
            self._moves[key] = _draw(around, Random(derive_seed(self._seed, *key)))
        return self._moves[key]


_NONE: Chances = (0.0, 0.0, 0.0, 0.0)
_LEAST = 1e-3
"""A parameter of 0 has no draw."""


def _draw(around: Sequence[float], random: Random) -> Chances:
    """A draw of a Dirichlet distribution."""
    return _share([random.gammavariate(max(one, _LEAST), 1.0) for one in around])


def _share(parts: Sequence[float]) -> Chances:
    whole = sum(parts) or 1.0
    return (parts[0] / whole, parts[1] / whole, parts[2] / whole, parts[3] / whole)


def _sum(one: Chances | None, other: Chances) -> Chances:
    if one is None:
        return other
    return (one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3])
