"""Beliefs: what a move by an agent leads to, as counts that a search starts from and adds to.

A move is made from a program of some outcome (or from none), and gives a program of some outcome. What is
believed of it is pooled in levels, so that a few calls are enough: all agents' moves of the kind first, then
the agent's own, then those in this search, whose problem may be harder or easier than others. Each level is a
Dirichlet distribution around the one above it.

Nothing is drawn. The first success ends a search, so the move that is most likely to succeed now is the best
next one; and as each failure makes its kind less likely here, every kind has its turn at a hard problem,
which is where the next search learns of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from math import inf, log, log2
from operator import add, mul
from typing import NamedTuple, get_args

from pydantic import ValidationError

from bdc_agents.config import explain
from bdc_agents.errors import ConfigError
from bdc_agents.types import Frozen, Kind, ProgramOutcome

OUTCOMES = get_args(ProgramOutcome)
"""Of a program, the worst first."""
MENDS: tuple[Kind, ...] = ("repair", "rethink")
"""Moves that begin from the facts of a failed program, and give a child with a diagnosis and a program."""
_KINDS = get_args(Kind)
PASSED = OUTCOMES[-1]
"""What a move starts from where a program passes, to see whether another one agrees with it. That is learnt
apart: where one program has passed, the next one is likely to."""
NOTHING = ""
"""What a move starts from where there is no program yet."""
MENDED = "+"
"""Behind the outcome of a program that itself mends another: what a second repair gives is learnt apart."""

Chances = tuple[float, float, float, float]
"""How likely each of `OUTCOMES` is."""

# Published of repairs, by models from 8B to Gemini 2.5 Pro: within four rounds 45 % of programs with a wrong
# result come to pass, and 77 % of those with a wrong name (arXiv 2604.10508, April 2026). The rows of
# `repair` come to 43 and 65 %, as most errors are harder than a name. To some models repair is worth little
# (2306.09896). The other rows are chosen, on the development families of benchmarks/allocation.py.
START: Mapping[str, Chances] = {
    "answer/": (0.10, 0.25, 0.15, 0.50),
    "answer/pass": (0.05, 0.15, 0.10, 0.70),
    "write/pass": (0.05, 0.15, 0.10, 0.70),
    "repair/pass": (0.05, 0.15, 0.10, 0.70),
    "rethink/pass": (0.05, 0.15, 0.10, 0.70),
    "write/": (0.15, 0.35, 0.15, 0.35),
    "write/error": (0.40, 0.40, 0.12, 0.08),
    "write/wrong": (0.10, 0.70, 0.15, 0.05),
    "write/part": (0.05, 0.20, 0.65, 0.10),
    "repair/error": (0.26, 0.29, 0.15, 0.30),
    "repair/wrong": (0.10, 0.58, 0.15, 0.17),
    "repair/part": (0.05, 0.18, 0.57, 0.20),
    "rethink/error": (0.15, 0.45, 0.25, 0.15),
    "rethink/wrong": (0.10, 0.50, 0.20, 0.20),
    "rethink/part": (0.05, 0.30, 0.50, 0.15),
    # Of an answer: none could be read, no program gives it, one does. Nothing is known of an agent before.
    "split/": (0.05, 0.45, 0.00, 0.50),
}
START_COUNTS = 4.0
"""How many observations the table is worth: a run overrules it within a few problems."""
AGENT_COUNTS = 8.0
"""How many observations the mean of all agents is worth for one of them. Of 6 to 10 none was better on
simulated agents."""
SPREADS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""How far problems differ, as the number of observations that what is known of an agent is worth at one: 1
where most problems are easy or hopeless, so that one failure says nearly all; 32 where they are alike."""
SPREAD = 4.0
"""What is thought before anything is known: where a move fails twice, it is half as likely to pass."""
SPREAD_COUNTS = 1.0
"""How much that is worth against what is seen, in units of log likelihood for each doubling. Chosen."""
TRIES = 8
"""Further tries of a move at one problem than this are counted as the last of them: a search of 16 calls
seldom makes one move more often."""
OTHERS = 0.5
"""What a failure of another agent at the same problem counts: a hard problem is hard for both, but not alike.
With 0.2 and 1.0 simulated searches solved as much or less."""
MOST_SKILLED = 4.0
"""How many times as likely `skills` may make a move: they count programs of all kinds together."""


class Told(NamedTuple):
    """What a move gave.

    Args:
        before: Outcome of the program that it started from, with `MENDED` behind it where that one is a
            repair; `NOTHING` where there was none.
        after: Outcome of the program that it gave.
        tries: How often the agent had made this move from such a program at this problem before.
    """

    kind: Kind
    agent: str
    before: str
    after: str
    tries: int = 0


class Beliefs(Frozen):
    """How often moves gave what.

    Args:
        counts: By `KIND/BEFORE/AGENT`, how often each of `OUTCOMES` came out.
        tries: By the same, how often the move was made as the first of its kind at a problem and how
            often it passed, as the second, and so on.
    """

    counts: dict[str, Chances] = {}
    tries: dict[str, tuple[float, ...]] = {}

    def tell(self, told: Iterable[Told]) -> "Beliefs":
        """The beliefs after some more moves."""
        counts, tries = dict(self.counts), dict(self.tries)
        for kind, agent, before, after, tried in told:
            key = f"{kind}/{before}/{agent}"
            row = [*counts.get(key, _NONE)]
            row[OUTCOMES.index(after)] += 1
            counts[key] = (row[0], row[1], row[2], row[3])
            made = [*tries.get(key, (0.0,) * 2 * TRIES)]
            place = 2 * min(tried, TRIES - 1)
            made[place] += 1
            made[place + 1] += after == OUTCOMES[-1]
            tries[key] = tuple(made)
        return Beliefs(counts=counts, tries=tries)

    def times(self, kind: str, before: str, agent: str) -> int:
        """How often an agent has made a move."""
        return int(sum(self.counts.get(f"{kind}/{before}/{agent}", _NONE)))

    def plus(self, other: "Beliefs") -> "Beliefs":
        """Both together."""
        counts, tries = dict(self.counts), dict(self.tries)
        for key, row in other.counts.items():
            counts[key] = _sum(counts.get(key), row)
        for key, made in other.tries.items():
            tries[key] = tuple(map(add, tries.get(key, (0.0,) * len(made)), made))
        return Beliefs(counts=counts, tries=tries)

    @cached_property
    def seen(self) -> Mapping[str, Chances]:
        """The counts, in which a further try counts less: it is made at problems where others failed.

        Answers that were to confirm another are answers, too, and tell of their agent. Simulated searches
        solve as much without them, to within the noise of 0.006.

        In the order of the keys: sums of fractions differ in their last digit by order, and a tree must not
        depend on which problem ended first.
        """
        found: dict[str, Chances] = {}
        for key, row in sorted(self.counts.items()):
            made, spread = self.tries.get(key, ()), self.spread(key.partition("/")[0])
            passed, failed = row[-1], sum(row[:-1])
            worth = sum(
                spread / (spread + turn) * (made[2 * turn] - made[2 * turn + 1])
                for turn in range(len(made) // 2)
            )
            scale = worth / failed if failed and made else 1.0
            own = (row[0] * scale, row[1] * scale, row[2] * scale, passed)
            for name in dict.fromkeys((key, key.replace(f"answer/{PASSED}/", f"answer/{NOTHING}/"))):
                found[name] = _sum(found.get(name), own)
        return found

    @cached_property
    def by_move(self) -> Mapping[str, Chances]:
        """What all agents have seen together, by kind and what it started from."""
        found: dict[str, Chances] = {}
        for key, row in self.seen.items():
            move = "/".join(key.split("/", 2)[:2])
            found[move] = _sum(found.get(move), row)
        return found

    @cached_property
    def _held(self) -> dict[str, float]:
        passed, thought = dict[str, float](), dict[str, float]()
        for move, row in self.by_move.items():
            kind, before = move.split("/")
            if before == PASSED:
                continue
            passed[kind] = passed.get(kind, START_COUNTS) + row[-1]
            chance = START.get(f"{kind}/{before.rstrip(MENDED)}", START["answer/"])[-1]
            thought[kind] = thought.get(kind, START_COUNTS) + chance * sum(row)
        return {kind: min(passed[kind] / thought[kind], 1.0) for kind in passed}

    def holds(self, kind: str) -> float:
        """How often a move passes, as a share of what the table says; 1 before anything is known."""
        return self._held.get(kind, 1.0)

    @cached_property
    def _spreads(self) -> dict[str, float]:
        kinds: dict[str, list[tuple[float, ...]]] = {}
        for key, made in sorted(self.tries.items()):
            kind, before, _ = key.split("/", 2)
            if before != PASSED:
                kinds.setdefault(kind, []).append(made)
        return {
            kind: max(SPREADS, key=partial(_likely, made=rows, before=SPREAD)) for kind, rows in kinds.items()
        }

    def spread(self, kind: str) -> float:
        """How far problems differ in what a move gives: of `SPREADS`, the one that is most likely."""
        return self._spreads.get(kind, SPREAD)


def read_beliefs(fields: Mapping[str, object]) -> Beliefs:
    """Beliefs as settings and files hold them.

    Raises:
        ConfigError: If they are none; its message names the key.
    """
    try:
        beliefs = Beliefs.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(explain(error, "beliefs", Beliefs)) from None
    for key, row in (*beliefs.counts.items(), *beliefs.tries.items()):
        kind, _, rest = key.partition("/")
        before, slash, agent = rest.partition("/")
        if kind not in _KINDS or before.rstrip(MENDED) not in ("", *OUTCOMES) or not (slash and agent):
            raise ConfigError(f"beliefs: {key!r:.80} is no KIND/BEFORE/AGENT, such as repair/wrong/small")
        if not all(0 <= count < inf for count in row):
            raise ConfigError(f"beliefs: {key!r:.80}: counts are 0 or more, not {min(row)!r}")
    return beliefs


def _likely(spread: float, made: Iterable[tuple[float, ...]], before: float) -> float:
    """Log likelihood of tries if problems differ so far.

    Where the chance to pass is Beta distributed over problems, with mean m and strength s, it is
    m s / (s + t) after t failures.
    """
    found = -SPREAD_COUNTS * abs(log2(spread / before))
    for row in made:
        tries, passes = row[::2], row[1::2]
        shares = [spread / (spread + turn) for turn in range(len(tries))]
        mean = (sum(passes) + 0.1) / (sum(map(mul, tries, shares)) + 0.5)
        for count, passed, share in zip(tries, passes, shares, strict=True):
            chance = min(max(mean * share, 1e-6), 1 - 1e-6)
            found += passed * log(chance) + (count - passed) * log(1 - chance)
    return found


class Outlook:
    """What each move is likely to give in one search: by beliefs, and by what it gave here.

    Args:
        beliefs: From problems before this one.
        here: From this search.
        skills: What is known of agents: how likely their direct answers pass.
    """

    def __init__(
        self, beliefs: Beliefs, here: Beliefs | None = None, skills: Mapping[str, float] | None = None
    ) -> None:
        self._beliefs, self._skills = beliefs, skills or {}
        self._agents: dict[tuple[str, str, str], tuple[Chances, float]] = {}
        self._moves: dict[tuple[str, str], tuple[Chances, float]] = {}
        self._now: dict[tuple[str, str, str], Chances] = {}
        self._here: dict[tuple[str, str], dict[str, Chances]] = {}
        for key, row in (here.counts if here else {}).items():
            kind, before, agent = key.split("/", 2)
            self._here.setdefault((kind, before), {})[agent] = row

    def spread(self, kind: str) -> float:
        """How far problems differ in what a move gives; see `SPREADS`."""
        return self._beliefs.spread(kind)

    def see(self, told: Told) -> None:
        """Adds what a move gave; one that is planned is seen as one that fails."""
        rows = self._here.setdefault((told.kind, told.before), {})
        row = [*rows.get(told.agent, _NONE)]
        row[OUTCOMES.index(told.after)] += 1
        rows[told.agent] = (row[0], row[1], row[2], row[3])
        for key in [key for key in self._now if key[0] == told.kind and key[2] == told.before]:
            del self._now[key]

    def failed(self, agent: str, before: str) -> int:
        """How many moves of an agent from there have failed in this search, with those that are planned."""
        rows = (rows.get(agent, _NONE) for (_, start), rows in self._here.items() if start == before)
        return int(sum(sum(row[:-1]) for row in rows))

    def chances(self, kind: str, agent: str, before: str) -> Chances:
        """How likely each outcome is at this problem now."""
        key = (kind, agent, before)
        if key not in self._now:
            self._now[key] = self._reckoned(*key)
        return self._now[key]

    def _reckoned(self, kind: str, agent: str, before: str) -> Chances:
        known, strength = self._of_agent(kind, agent, before)
        rows = self._here.get((kind, before))
        if not rows:
            return known
        seen = [strength * one for one in known]
        for other, row in rows.items():
            weight = 1.0 if other == agent else OTHERS
            for place, count in enumerate(row):
                seen[place] += weight * count
        return _share(seen)

    def _of_agent(self, kind: str, agent: str, before: str) -> tuple[Chances, float]:
        """What is known of an agent's move, and how many observations here that is worth.

        The less is known of the move and of the agent, the more does this problem say of them, too: the
        variances of all levels add up.
        """
        key = (kind, before, agent)
        if key not in self._agents:
            around, known = self._of_move(kind, before)
            around = _scaled(around, self._relative(agent))
            counts = self._beliefs.seen.get(f"{kind}/{before}/{agent}", _NONE)
            rows = [AGENT_COUNTS * one + own for one, own in zip(around, counts, strict=True)]
            strength = 1 / (1 / known + 1 / sum(rows) + 1 / self._beliefs.spread(kind))
            self._agents[key] = (_share(rows), strength)
        return self._agents[key]

    def _relative(self, agent: str) -> float:
        """How much more skilled an agent is than the others, where that is known."""
        if agent not in self._skills or not any(self._skills.values()):
            return 1.0
        mean = sum(self._skills.values()) / len(self._skills)
        return min(max(self._skills[agent] / mean, 1 / MOST_SKILLED), MOST_SKILLED)

    def _of_move(self, kind: str, before: str) -> tuple[Chances, float]:
        """What is known of a move from some outcome, whoever makes it."""
        key = (kind, before)
        if key not in self._moves:
            if before.endswith(MENDED):
                start, worth = self._of_move(kind, before.rstrip(MENDED))[0], AGENT_COUNTS
            else:
                start, worth = self._start(kind, before), START_COUNTS
            counts = self._beliefs.by_move.get(f"{kind}/{before}", _NONE)
            rows = [worth * one + own for one, own in zip(start, counts, strict=True)]
            self._moves[key] = (_share(rows), sum(rows))
        return self._moves[key]

    def _start(self, kind: str, before: str) -> Chances:
        """The table, in so far as it holds for what was seen of the move from other outcomes."""
        return _scaled(START.get(f"{kind}/{before}", START["answer/"]), self._beliefs.holds(kind))


_NONE: Chances = (0.0, 0.0, 0.0, 0.0)
_NEARLY = 0.95


def _scaled(chances: Chances, factor: float) -> Chances:
    """The chances with that to pass so many times as large, up to nearly 1."""
    if factor == 1 or chances[-1] >= _NEARLY:
        return chances
    passes = min(chances[-1] * factor, _NEARLY)
    rest = (1 - passes) / (1 - chances[-1])
    return (chances[0] * rest, chances[1] * rest, chances[2] * rest, passes)


def _share(parts: Sequence[float]) -> Chances:
    whole = sum(parts) or 1.0
    return (parts[0] / whole, parts[1] / whole, parts[2] / whole, parts[3] / whole)


def _sum(one: Chances | None, other: Chances) -> Chances:
    if one is None:
        return other
    return (one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3])
