"""Whether a search gives its calls to the moves that help, whatever its agents are good at.

    python benchmarks/allocation.py --policy graph --peer FOLDER --out benchmarks/results/allocation.json

The agents are simulated (benchmarks/simulated.py), so the best that one kind of move gives is known. FOLDER
holds treequest 0.3.3 (pip install --target FOLDER treequest==0.3.3); without --peer it is left out.

The plan, which is fixed before any figure of the reporting seed is known
------------------------------------------------------------------------
Seeds: `dev` to develop on, as often as one likes; `report` for the figures that are told, run once for a
version. Families: all twelve. Of each 10 settings (sets of agents) are drawn, of each setting 60 problems that
are counted, 150 others on which its best fixed policy is chosen, and 50 others that beliefs come from. Calls: 16
decide; 8 and 32 are told.

Fixed policies make one kind of move by one agent all the way: answers; repairs of the latest program, and fresh
programs from its facts, after an answer by the same agent; thoughts, and a program for the best one or for
each. Best-of-N (all agents in turn) is one of them. `pair` also knows those of two agents: one answers or
thinks, the other repairs or writes. The best is chosen for each setting, on problems that are not counted.

All players have one rule for the end and for what is handed over: they end at the first program that passes the
public tests (--confirm 2: at the second that does the same as another) and hand over the behaviour that most
passing programs have. The figure is the share of problems whose public tests a program passes; that for hidden
tests stands beside it.

Targets, in each family, at 16 calls
- warm, with beliefs from 50 problems: at least 95 % of the best fixed policy, and never more than 2 points below
  best-of-N;
- cold: at least 70 % of the gap between best-of-N and the best fixed policy closed, where that is 5 points or
  more; elsewhere at most 12 points below best-of-N;
- both: never more than 2 points behind AB-MCTS-A (actions: an agent's answer at the root, its repair below;
  reward: share of public tests), and ahead of it in most families.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import permutations
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from simulated import FAMILIES, Idea, Program, Setting, World, setting_of, world_of

CALLS = (8, 16, 32)
DECIDES = 16
SETTINGS, PROBLEMS, CHOICE, KNOWN = 10, 60, 150, 50
Player = Callable[[World], Iterator[Program | None]]
"""Plays a world: yields after each call what program it gave, None for thoughts."""


# --- fixed policies ---------------------------------------------------------------------------------


def answers(world: World, agents: Sequence[str]) -> Iterator[Program]:
    """Direct answers, by the agents in turn."""
    while True:
        for agent in agents:
            yield world.answer(agent)


def mends(world: World, first: str, then: str, move: str) -> Iterator[Program]:
    """An answer by one agent, which the other mends, and mends again."""
    failed: Program | None = None
    while True:
        made = world.answer(first) if failed is None else getattr(world, move)(then, failed)[1]
        yield made
        failed = None if made.passes else _go_on_from(failed, made)


def _go_on_from(before: Program | None, made: Program) -> Program:
    """The latest program, unless that is worse: a hidden step on leaves the outcome what it is."""
    order = ("error", "wrong", "part")
    worse = before is not None and order.index(made.outcome) < order.index(before.outcome)
    return before if worse and before else made


def plans(world: World, thinker: str, writer: str, tried: int) -> Iterator[Program | None]:
    """Thoughts by one agent, and programs by the other for those it rates best."""
    while True:
        ideas = {idea.number: idea for idea in world.think(thinker)}
        yield None
        for idea in sorted(ideas.values(), key=lambda idea: -idea.rating)[:tried]:
            yield world.write(writer, [idea])


def fixed(agents: Sequence[str]) -> dict[str, Player]:
    """The fixed policies by name; those of two agents begin with `pair`."""
    found: dict[str, Player] = {"best-of-N": partial(answers, agents=agents)}
    for one in agents if len(agents) > 1 else ():
        found[f"answer {one}"] = partial(answers, agents=[one])
    for one in agents:
        found[f"repair {one}"] = partial(mends, first=one, then=one, move="repair")
        found[f"rethink {one}"] = partial(mends, first=one, then=one, move="rethink")
        found[f"plan {one}"] = partial(plans, thinker=one, writer=one, tried=1)
        found[f"plans {one}"] = partial(plans, thinker=one, writer=one, tried=5)
    for one, other in permutations(agents, 2):
        found[f"pair {one} answers, {other} repairs"] = partial(mends, first=one, then=other, move="repair")
        found[f"pair {one} answers, {other} rethinks"] = partial(mends, first=one, then=other, move="rethink")
        found[f"pair {one} thinks, {other} writes"] = partial(plans, thinker=one, writer=other, tried=1)
    return found


# --- the peer -----------------------------------------------------------------------------------------


def ab_mcts(world: World) -> Iterator[Program]:
    """AB-MCTS-A of treequest: an agent's answer at the root, its repair of a program below."""
    import numpy  # pyright: ignore[reportMissingImports]
    import treequest  # pyright: ignore[reportMissingImports]

    random.seed(world.seed)
    numpy.random.seed(world.seed % 2**32)  # noqa: NPY002  treequest draws from the global source
    algorithm = treequest.ABMCTSA()
    state, made = algorithm.init_tree(), list[Program]()

    def play(before: Program | None, agent: str) -> tuple[Program, float]:
        program = world.answer(agent) if before is None or before.passes else world.repair(agent, before)[1]
        made.append(program)
        return program, program.reward

    actions = {agent: partial(play, agent=agent) for agent in world.setting.agents}
    while True:
        state = algorithm.step(state, actions, inplace=True)
        yield made[-1]


# --- what became of a search --------------------------------------------------------------------------


class Played(NamedTuple):
    """A search.

    Args:
        public: Whether a program passes the public tests.
        hidden: Whether the one that is handed over passes the hidden tests.
        calls: That it took.
    """

    public: bool
    hidden: bool
    calls: int


def play(player: Iterator[Program | None], calls: int, confirm: int) -> list[Program | None]:
    """The programs of a player until it ends."""
    made, passing = list[Program | None](), Counter[int]()
    for program in player:
        made.append(program)
        if program and program.passes:
            passing[program.behaviour] += 1
        if len(made) >= calls or max(passing.values(), default=0) >= confirm:
            break
    return made


def judged(made: Sequence[Program | None], calls: int) -> Played:
    """What the first calls of a search came to."""
    passing = [program for program in made[:calls] if program and program.passes]
    # Of equal counts the earliest is handed over, as `most_common` keeps the order.
    chosen = Counter(program.behaviour for program in passing).most_common(1)
    return Played(bool(passing), bool(chosen) and chosen[0][0] == 0, min(len(made), calls))


class Options(NamedTuple):
    """What is asked on the command line."""

    seed: str
    policy: str
    calls: tuple[int, ...]
    settings: int
    problems: int
    confirm: int
    peer: bool


Rows = dict[str, dict[int, list[Played]]]
"""What became of each problem, by player and number of calls."""


def of_setting(options: Options, family: str, draw: int) -> tuple[str, Rows, dict[str, str]]:
    """All players on the problems of one setting.

    Returns:
        The family, the results, and which fixed policies were chosen.
    """
    setting = setting_of(family, options.seed, draw)

    def worlds(use: str, count: int) -> list[World]:
        return [world_of(setting, family, options.seed, draw, f"{use}/{n}") for n in range(count)]

    def results(player: Player, use: str, count: int) -> dict[int, list[Played]]:
        longest = max(options.calls)
        made = [play(player(world), longest, options.confirm) for world in worlds(use, count)]
        return {calls: [judged(one, calls) for one in made] for calls in options.calls}

    policies = fixed([*setting.agents])
    chosen, rows = dict[str, str](), Rows()
    tried = {name: results(player, "choice", CHOICE) for name, player in policies.items()}
    for calls in options.calls:
        solved = {name: sum(one.public for one in by_calls[calls]) for name, by_calls in tried.items()}
        alone = {name: count for name, count in solved.items() if not name.startswith("pair")}
        for role, among in (("fixed", alone), ("pair", solved)):
            best = max(among, key=lambda name: (among[name], name))
            chosen[f"{role} {calls}"] = best
            rows.setdefault(role, {})[calls] = results(policies[best], "test", options.problems)[calls]
    rows["best-of-N"] = results(policies["best-of-N"], "test", options.problems)
    if options.peer:
        rows["AB-MCTS-A"] = results(ab_mcts, "test", options.problems)
    for name in fixed(["one"]):  # each kind of move by its best agent, to see what a family is
        kind = name.split()[0]
        same = [policy for policy in policies if policy.split()[0] == kind]
        best = max(same, key=lambda policy: sum(one.public for one in tried[policy][DECIDES]))
        rows[f"({kind})"] = results(policies[best], "test", options.problems)
    return family, rows, chosen


# --- tables -------------------------------------------------------------------------------------------


def share(rows: Sequence[Played], what: str) -> float:
    return fmean(getattr(row, what) for row in rows)


def table(by_family: dict[str, Rows], calls: int, what: str) -> str:
    players = [*dict.fromkeys(name for rows in by_family.values() for name in rows)]
    lines = ["| family | " + " | ".join(players) + " |", "|---" * (1 + len(players)) + "|"]
    for family, rows in by_family.items():
        cells = [f"{share(rows[name][calls], what):.2f}" if name in rows else "" for name in players]
        lines.append(f"| {family} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", choices=("dev", "report"), default="dev")
    parser.add_argument("--policy", default="none")
    parser.add_argument("--calls", type=int, nargs="+", default=CALLS)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=[*FAMILIES])
    parser.add_argument("--settings", type=int, default=SETTINGS)
    parser.add_argument("--problems", type=int, default=PROBLEMS)
    parser.add_argument("--confirm", type=int, default=1)
    parser.add_argument("--procs", type=int, default=1)
    parser.add_argument("--peer", type=Path, help="folder with treequest 0.3.3")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.peer:
        sys.path.append(str(asked.peer))
    options = Options(
        asked.seed,
        asked.policy,
        tuple(asked.calls),
        asked.settings,
        asked.problems,
        asked.confirm,
        bool(asked.peer),
    )
    started = time.monotonic()
    jobs = [(family, draw) for family in asked.families for draw in range(asked.settings)]
    by_family: dict[str, Rows] = {}
    with ProcessPoolExecutor(asked.procs) as pool:
        for family, rows, _chosen in pool.map(partial(of_setting, options), *zip(*jobs, strict=True)):
            own = by_family.setdefault(family, {})
            for name, by_calls in rows.items():
                for calls, played in by_calls.items():
                    own.setdefault(name, {}).setdefault(calls, []).extend(played)
    for calls in options.calls:
        print(f"\n{calls} calls, public tests\n\n{table(by_family, calls, 'public')}")
    print(f"\n{DECIDES} calls, hidden tests\n\n{table(by_family, DECIDES, 'hidden')}")
    print(f"\n{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
