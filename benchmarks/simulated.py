"""A simulated world: agents whose chance of each move is known, and problems that differ in difficulty.

A *family* says how a set of agents behaves; a *setting* is one such set, drawn from the family by a seed;
a *world* is one problem of it, likewise. A program has an outcome that tests show (error, wrong, part, pass)
and a state that they do not: how many repairs it is away from passing, and, where it passes, whether it is
right.

All chance comes from the seed and from what is asked for how often, not from the order of calls. So two
searches of a problem that ask an agent for the same get the same, and they differ by what they ask for.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from math import exp, log, pi, sqrt
from random import Random
from statistics import NormalDist
from typing import Literal, NamedTuple

Outcome = Literal["error", "wrong", "part", "pass"]
WIDTH = 5
"""Thoughts of one call."""
NAMES = ("ann", "bob", "cid", "dee", "eva", "fay", "gus", "hal")
_NORMAL = NormalDist()
_MASK = 2**64 - 1


class Traits(NamedTuple):
    """How an agent does on the problems of a setting. Chances are means over problems.

    Args:
        answer: That a direct answer passes.
        spread: How far problems differ in that, as a standard deviation of logits: at 3 most are easy or
            hopeless.
        error: Share of failing programs that fail with an error.
        part: Share of the others that pass some tests.
        ideas: That an idea is good.
        alike: That the thoughts of a call are one idea in several wordings.
        plan: That a program for a good idea passes.
        astray: What of `answer` is left in a program for a bad idea.
        mend: That a repair gets a program one step on, by its outcome (error, wrong, part), where facts
            tell it something.
        reach: Share of problems where facts tell it something.
        own: What is left of `mend` for its own programs.
        worse: That a repair without success makes a program worse.
        rethink: That a fresh program from the facts passes, where they tell it something.
        sound: That a program that passes is right.
    """

    answer: float = 0.08
    spread: float = 1.5
    error: float = 0.15
    part: float = 0.25
    ideas: float = 0.2
    alike: float = 0.5
    plan: float = 0.0
    astray: float = 0.9
    mend: tuple[float, float, float] = (0.04, 0.015, 0.015)
    reach: float = 0.8
    own: float = 1.0
    worse: float = 0.15
    rethink: float = 0.0
    sound: float = 0.92


class Setting(NamedTuple):
    """A set of agents, and what its problems have in common.

    Args:
        agents: By name.
        two: Share of failing programs that need two repairs in a row.
        shared: How far agents find the same problems hard, as a correlation; below 0 two of them fail on
            different ones.
        tests: Public tests of a problem; with one, no program passes some.
    """

    agents: dict[str, Traits]
    two: float = 0.15
    shared: float = 0.5
    tests: int = 3


class Program(NamedTuple):
    """A program.

    Args:
        number: Of its text; equal programs have one.
        author: Who wrote it.
        reward: Share of the public tests that it passes.
        steps: Repairs that it is away from passing.
        behaviour: Of those that pass, what else they do: 0 is right, equal numbers do the same.
    """

    number: int
    author: str
    outcome: Outcome
    reward: float
    steps: int = 0
    behaviour: int = 0

    @property
    def passes(self) -> bool:
        return self.outcome == "pass"

    @property
    def right(self) -> bool:
        """Whether it passes the hidden tests, too."""
        return self.passes and self.behaviour == 0


class Idea(NamedTuple):
    """What a thought says.

    Args:
        number: Of what it says, in whatever wording.
        good: Whether following it helps.
        mends: Number of the program that it is a diagnosis of; -1 for none.
        rating: The author's own.
    """

    number: int
    good: bool
    mends: int = -1
    rating: float = 0.5


class World:
    """One problem and the agents that are asked about it.

    Args:
        setting: The agents.
        seed: Of the problem.

    `calls` counts what was asked for, by kind of move.
    """

    def __init__(self, setting: Setting, seed: int) -> None:
        self.setting, self.seed = setting, seed
        self.programs: dict[int, Program] = {}
        self.ideas: dict[int, Idea] = {}
        self.calls: Counter[str] = Counter()
        self._names = {name: place for place, name in enumerate(setting.agents)}
        self._asked: Counter[tuple[int, ...]] = Counter()
        self._latent: dict[tuple[int, int], float] = {}

    # --- moves --------------------------------------------------------------------------------

    def answer(self, agent: str) -> Program:
        """A program for the problem alone."""
        draw = self._call(_ANSWER, agent)
        return self._written(draw, agent, self._answers(agent))

    def think(self, agent: str, path: Sequence[Idea] = ()) -> list[Idea]:
        """Thoughts that continue a path."""
        last = path[-1].number if path else -1
        draw, traits = self._call(_THINK, agent, last), self.setting.agents[agent]
        chance = 0.9 if path and path[-1].good else self._chance(_PLANS, agent, traits.ideas)
        if next(draw) < traits.alike:
            return [self._idea(draw, next(draw) < chance)] * WIDTH
        return [self._idea(draw, next(draw) < chance) for _ in range(WIDTH)]

    def write(self, agent: str, path: Sequence[Idea]) -> Program:
        """A program for a path of thoughts."""
        if not path:
            return self.answer(agent)
        idea, traits = path[-1], self.setting.agents[agent]
        draw = self._call(_WRITE, agent, idea.number)
        if idea.mends >= 0:
            return self._after(draw, agent, self.programs[idea.mends], _FOLLOWS if idea.good else 0.0)
        plain = traits.astray * self._answers(agent)
        chance = max(plain, self._chance(_PLANS, agent, traits.plan)) if idea.good else plain
        return self._written(draw, agent, chance)

    def repair(self, agent: str, failed: Program) -> tuple[Idea, Program]:
        """A diagnosis of a failing program, and a program that follows it."""
        traits = self.setting.agents[agent]
        draw = self._call(_REPAIR, agent, failed.number)
        chance = traits.mend[_OUTCOMES.index(failed.outcome)]
        chance *= (traits.own if agent == failed.author else 1.0) * self._reached(agent)
        made = self._after(draw, agent, failed, chance)
        return self._idea(draw, made.steps < failed.steps, failed.number), made

    def rethink(self, agent: str, failed: Program) -> tuple[Idea, Program]:
        """A diagnosis and a fresh program, from the facts of failing tests alone."""
        traits = self.setting.agents[agent]
        draw = self._call(_RETHINK, agent, failed.number)
        chance = traits.rethink * self._reached(agent)
        # An error's facts say where a program stopped, not what its problem asks for.
        chance *= 0.5 if failed.outcome == "error" else 1.0
        made = self._written(draw, agent, max(chance, 0.7 * self._answers(agent)))
        return self._idea(draw, made.passes, failed.number), made

    # --- chances at this problem --------------------------------------------------------------

    def _answers(self, agent: str) -> float:
        traits = self.setting.agents[agent]
        return self._chance(_ANSWERS, agent, traits.answer, traits.spread)

    def _chance(self, what: int, agent: str, mean: float, spread: float = 1.0) -> float:
        """The chance at this problem of what has this mean over problems."""
        if mean <= 0:
            return 0.0
        # E expit(m + s z) is about expit(m / sqrt(1 + pi s^2 / 8)).
        middle = log(mean / (1 - mean)) * sqrt(1 + pi * spread * spread / 8)
        return 1 / (1 + exp(-middle - spread * self._ease(what, agent)))

    def _reached(self, agent: str) -> float:
        """1 where facts tell the agent something, else little."""
        return 1.0 if _NORMAL.cdf(self._ease(_FACTS, agent)) < self.setting.agents[agent].reach else 0.05

    def _ease(self, what: int, agent: str) -> float:
        """How easy this problem is for the agent, in what a move needs: a standard normal."""
        key = (what, self._names[agent])
        if key not in self._latent:
            shared = self.setting.shared
            sign = -1.0 if shared < 0 and key[1] % 2 else 1.0
            common = sign * self._normal(_EASE, what) * sqrt(abs(shared))
            ease = common + self._normal(_EASE, what, key[1] + 1) * sqrt(1 - abs(shared))
            if what in (_PLANS, _FACTS):  # What is hard to answer is often hard to plan and to mend, too.
                ease = _ALSO * self._ease(_ANSWERS, agent) + sqrt(1 - _ALSO**2) * ease
            self._latent[key] = ease
        return self._latent[key]

    def _normal(self, *key: int) -> float:
        return _NORMAL.inv_cdf(min(max(_uniform(self.seed, *key), 1e-9), 1 - 1e-9))

    # --- programs and ideas -------------------------------------------------------------------

    def _call(self, kind: int, agent: str, *at: int) -> "_Draw":
        """The chance of one call: of the how manieth time that this agent is asked for this."""
        self.calls[_MOVES[kind]] += 1
        key = (kind, self._names[agent], *at)
        self._asked[key] += 1
        return _Draw(self.seed, *key, self._asked[key])

    def _written(self, draw: "_Draw", agent: str, chance: float) -> Program:
        """A fresh program, which passes with a chance."""
        if next(draw) < chance:
            return self._passing(draw, agent)
        # Agents that are asked again often write the same again.
        return self._failing(agent, int(_TEXTS * next(draw) ** 2))

    def _passing(self, draw: "_Draw", agent: str) -> Program:
        sound = self._chance(_SOUND, agent, self.setting.agents[agent].sound, 2.0)
        behaviour = 0 if next(draw) < sound else 1 + int(2 * next(draw))
        key = (_PASS, behaviour, int(_TEXTS * next(draw)))
        return self._program(key, agent, "pass", 1.0, 0, behaviour)

    def _failing(self, agent: str, text: int) -> Program:
        traits, key = self.setting.agents[agent], (_FAIL, self._names[agent], text)
        draw = _Draw(self.seed, *key)
        steps = 2 if next(draw) < self.setting.two else 1
        if next(draw) < traits.error:
            return self._program(key, agent, "error", 0.0, steps)
        return self._program(key, agent, *self._told(draw, traits), steps)

    def _told(self, draw: "_Draw", traits: Traits) -> tuple[Outcome, float]:
        """What the tests tell of a program that runs and is wrong."""
        tests = self.setting.tests
        if tests > 1 and next(draw) < traits.part:
            return "part", (1 + int(next(draw) * (tests - 1))) / tests
        return "wrong", 0.0

    def _after(self, draw: "_Draw", agent: str, failed: Program, chance: float) -> Program:
        """What becomes of a failed program."""
        traits, key = self.setting.agents[agent], (_MADE, draw.seed)
        if next(draw) < chance:
            # What raised is in the way of what is wrong: half of these repairs only make the program run.
            steps = failed.steps - (failed.outcome != "error" or next(draw) < 0.5)
            if steps == 0:
                return self._passing(draw, agent)
            outcome, reward = self._told(draw, traits)
            return self._program(key, agent, outcome, reward, steps)
        if next(draw) < traits.worse:
            outcome = "error" if next(draw) < 0.5 else "wrong"
            return self._program(key, agent, outcome, 0.0, min(failed.steps + 1, 3))
        if next(draw) < 0.5:
            return failed
        return self._program(key, agent, failed.outcome, failed.reward, failed.steps)

    def _program(
        self,
        key: tuple[int, ...],
        agent: str,
        outcome: Outcome,
        reward: float,
        steps: int,
        behaviour: int = 0,
    ) -> Program:
        number = _mix(self.seed, *key) >> 24
        made = Program(number, agent, outcome, reward, steps, behaviour)
        return self.programs.setdefault(number, made)

    def _idea(self, draw: "_Draw", good: bool, mends: int = -1) -> Idea:
        # Ratings of one's own say a little.
        rating = round(min(max(0.35 + 0.5 * next(draw) + 0.1 * good, 0.0), 1.0), 2)
        made = Idea(draw.seed >> 24, good, mends, rating)
        return self.ideas.setdefault(made.number, made)


_OUTCOMES: tuple[Outcome, ...] = ("error", "wrong", "part", "pass")
_ANSWER, _THINK, _WRITE, _REPAIR, _RETHINK, _PASS, _FAIL, _MADE, _EASE = range(9)
_MOVES = ("answer", "think", "write", "repair", "rethink")
_ANSWERS, _PLANS, _FACTS, _SOUND = range(4)
_ALSO = 0.4
"""How far what is easy to answer is easy to plan and to mend, as a correlation."""
_FOLLOWS = 0.7
"""That a second program for a good diagnosis follows it."""
_TEXTS = 12
"""Different failing programs that an agent has for a problem."""


class _Draw:
    """Uniform numbers that depend on a key alone."""

    __slots__ = ("seed",)

    def __init__(self, *key: int) -> None:
        self.seed = _mix(*key)

    def __next__(self) -> float:
        self.seed = _mix(self.seed, 1)
        return self.seed / 2**64


def _uniform(*key: int) -> float:
    return _mix(*key) / 2**64


def _mix(*key: int) -> int:
    """A hash of whole numbers (the steps of splitmix64), since Python's own is weak on small ones."""
    mixed = 0
    for part in key:
        mixed = (mixed + part + 0x9E3779B97F4A7C15) & _MASK
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB & _MASK
        mixed ^= mixed >> 31
    return mixed


# --- families: how sets of agents are drawn -----------------------------------------------------------


def _setting(random: Random, *agents: Traits, **more: float) -> Setting:
    """The agents under names, and in an order, that tell nothing."""
    order = random.sample(agents, len(agents))
    return Setting(dict(zip(random.sample(NAMES, len(agents)), order, strict=True)), **more)  # pyright: ignore


def _dull(random: Random, low: float = 0.04, high: float = 0.12) -> Traits:
    """Nothing that this agent does helps more than a further answer."""
    return Traits(
        answer=random.uniform(low, high),
        error=random.uniform(0.05, 0.3),
        part=random.uniform(0.1, 0.4),
        alike=random.uniform(0.3, 0.8),
        worse=random.uniform(0.05, 0.3),
    )


def _mends(random: Random, traits: Traits) -> Traits:
    """The agent with a gift for repair; a quarter need a program that is partly right."""
    strength = random.uniform(0.2, 0.45)
    wrong = 0.03 if random.random() < 0.25 else strength
    part = random.uniform(0.4, 0.6) if wrong < strength else traits.part
    mend = (random.uniform(0.15, 0.6), wrong, min(1.3 * strength, 0.6))
    return traits._replace(
        mend=mend, part=part, reach=random.uniform(0.75, 0.95), own=random.choice((1.0, 1.0, 0.6))
    )


def _repair(random: Random) -> Setting:
    one, other = _dull(random), _dull(random)
    other = _mends(random, other) if random.random() < 0.5 else other
    return _setting(random, _mends(random, one), other, tests=random.randint(2, 4))


def _two_repairs(random: Random) -> Setting:
    return _repair(random)._replace(two=random.uniform(0.8, 1.0))


def _plans(random: Random) -> Setting:
    def planner(traits: Traits) -> Traits:
        return traits._replace(ideas=random.uniform(0.2, 0.4), plan=random.uniform(0.35, 0.6))

    one, other = _dull(random, 0.02, 0.06), _dull(random, 0.02, 0.06)
    other = planner(other) if random.random() < 0.5 else other
    return _setting(random, planner(one), other, tests=random.randint(1, 4))


def _sampling(random: Random) -> Setting:
    agents = [_dull(random, 0.06, 0.2)._replace(spread=1.0, mend=(0.02, 0.01, 0.01)) for _ in "ab"]
    return _setting(random, *agents, tests=random.randint(1, 4))


def _small_models(random: Random) -> Setting:
    """The 1.5B and the 0.5B, roughly as the recorded searches show them: names and syntax are repaired."""

    def near(value: float) -> float:
        return value * random.uniform(0.85, 1.15)

    large = Traits(
        answer=near(0.45),
        spread=4.5,
        error=near(0.25),
        ideas=near(0.3),
        alike=0.8,
        astray=0.5,
        plan=near(0.5),
        mend=(near(0.3), near(0.06), near(0.06)),
        reach=0.7,
        worse=0.3,
        rethink=near(0.06),
        sound=near(0.85),
    )
    small = large._replace(
        answer=near(0.28), plan=near(0.06), mend=(near(0.15), near(0.02), near(0.02)), rethink=near(0.02)
    )
    return _setting(random, large, small, shared=0.6, tests=random.choice((1, 1, 1, 3)))


def _strong(random: Random) -> Traits:
    wrong = random.uniform(0.15, 0.4)
    return Traits(
        answer=random.uniform(0.35, 0.6),
        spread=3.0,
        ideas=random.uniform(0.3, 0.6),
        plan=random.uniform(0.2, 0.5),
        mend=(0.5, wrong, wrong),
        reach=random.uniform(0.4, 0.8),
        worse=0.1,
        rethink=random.uniform(0.05, 0.3),
    )


def _one_strong(random: Random) -> Setting:
    return _setting(random, _strong(random), tests=random.randint(1, 4))


def _different_problems(random: Random) -> Setting:
    answer, mend = random.uniform(0.2, 0.4), random.uniform(0.02, 0.12)
    agents = [_dull(random)._replace(answer=answer, spread=3.5, mend=(mend, mend, mend)) for _ in "ab"]
    return _setting(random, *agents, shared=-0.8, tests=random.randint(1, 4))


def _repairer(random: Random) -> Setting:
    answers = _dull(random, 0.1, 0.2)._replace(mend=(0.03, 0.01, 0.01))
    repairs = _mends(random, _dull(random, 0.01, 0.03))._replace(error=random.uniform(0.4, 0.7))
    return _setting(random, answers, repairs, tests=random.randint(2, 4))


def _always_wrong(random: Random) -> Setting:
    good = _mends(random, _dull(random)) if random.random() < 0.5 else _dull(random, 0.1, 0.2)
    hopeless = Traits(answer=0, mend=(0, 0, 0), ideas=0.02, error=random.uniform(0.1, 0.9))
    return _setting(random, good, hopeless, tests=random.randint(1, 4))


def _feedback_hurts(random: Random) -> Setting:
    agents = [
        _dull(random, 0.05, 0.15)._replace(mend=(0.01, 0.005, 0.005), worse=random.uniform(0.4, 0.8))
        for _ in "ab"
    ]
    return _setting(random, *agents, tests=random.randint(1, 4))


def _rethink(random: Random) -> Setting:
    def rethinks(traits: Traits) -> Traits:
        return traits._replace(rethink=random.uniform(0.15, 0.35), reach=random.uniform(0.6, 0.95), worse=0.4)

    one, other = _dull(random, 0.02, 0.08), _dull(random, 0.02, 0.08)
    other = rethinks(other) if random.random() < 0.5 else other
    return _setting(random, rethinks(one), other, tests=random.randint(1, 4))


def _three_mixed(random: Random) -> Setting:
    kinds: list[Callable[[], Traits]] = [
        lambda: _dull(random, 0.1, 0.2),
        lambda: _mends(random, _dull(random, 0.02, 0.08)),
        lambda: _dull(random, 0.02, 0.06)._replace(
            ideas=random.uniform(0.2, 0.4), plan=random.uniform(0.3, 0.5)
        ),
        lambda: _dull(random, 0.02, 0.06)._replace(rethink=random.uniform(0.15, 0.3)),
        lambda: _strong(random)._replace(answer=random.uniform(0.1, 0.3)),
        lambda: Traits(answer=0, mend=(0, 0, 0), ideas=0.02),
    ]
    agents = [kind() for kind in random.sample(kinds, 3)]
    return _setting(random, *agents, shared=random.uniform(0.2, 0.6), tests=random.randint(1, 4))


FAMILIES: dict[str, Callable[[Random], Setting]] = {
    "repair": _repair,
    "two repairs": _two_repairs,
    "plans": _plans,
    "sampling": _sampling,
    "small models": _small_models,
    "one strong": _one_strong,
    "different problems": _different_problems,
    "repairer": _repairer,
    "always wrong": _always_wrong,
    "feedback hurts": _feedback_hurts,
    "rethink": _rethink,
    "three mixed": _three_mixed,
}


def setting_of(family: str, seed: str, draw: int) -> Setting:
    """A set of agents of a family; the same arguments give the same."""
    return FAMILIES[family](Random(f"{seed}/{family}/{draw}"))


def world_of(setting: Setting, family: str, seed: str, draw: int, problem: str) -> World:
    """A problem of a setting, in its first state; likewise."""
    return World(setting, Random(f"{seed}/{family}/{draw}/{problem}").getrandbits(63))
