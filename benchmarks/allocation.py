"""Whether a search gives its calls to the moves that help, whatever its agents are good at.

    python benchmarks/allocation.py --policy graph --peer FOLDER --out benchmarks/results/allocation.json

The agents are simulated (benchmarks/simulated.py), so it is known what each kind of move gives. FOLDER holds
treequest 0.3.3 (pip install --target FOLDER treequest==0.3.3); without --peer it is left out.

Players: a search (--policy), fixed policies, and AB-MCTS-A. Policies: `graph` is the search graph with its
default settings; `walk` is its choice of moves alone, played without a graph; `arms` is a yardstick without a
tree or pooling.

The plan, which is fixed before any figure of the reporting seed is known
-------------------------------------------------------------------------
Seeds: `dev` to develop on, as often as one likes; `report` for the figures that are told, run once for a
version. Families: all twelve. Of each 10 settings (sets of agents) are drawn, of each setting 60 problems
that are counted, 150 others on which its best fixed policy is chosen, and 50 others that beliefs come from.
Calls: 16 decide; 8 and 32 are told.

Fixed policies make one kind of move by one agent all the way: answers; repairs of the latest program, and
fresh programs from its facts, after an answer by the same agent; thoughts, and a program for the best one or
for each. Best-of-N (all agents in turn) is one of them. `pair` also knows those of two agents: one answers
or thinks, the other repairs or writes. The best is chosen for each setting, on problems that are not counted.

All players have one rule for the end and for what is handed over, that of the search's default: they end when
two programs that pass the public tests do the same (--confirm 1: at the first that passes), and hand over the
behaviour that most passing programs have. The figure is the share of problems whose public tests a program
passes; that for hidden tests stands beside it.

Targets, in each family, at 16 calls
- warm, with beliefs from 50 problems: at least 95 % of the best fixed policy, and never more than 2 points
  below best-of-N;
- cold: at least 70 % of the gap between best-of-N and the best fixed policy closed, where policies that do
  more than answer are 5 points or more ahead of best-of-N; elsewhere at most 12 points below best-of-N;
- both: never more than 2 points behind AB-MCTS-A (actions: an agent's answer at the root, its repair below;
  reward: share of public tests), and ahead of it in most families.
"""

import argparse
import inspect
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from hashlib import sha256
from itertools import permutations
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from tempfile import gettempdir
from typing import Any, NamedTuple

import players
import simulated
from players import Played
from simulated import FAMILIES, Program, Setting, World, setting_of, world_of

CALLS = (8, 16, 32)
DECIDES = 16
LITTLE = 0.05
SEARCHES = ("cold", "warm")
CACHE = Path(gettempdir()) / "bdc-allocation"
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
    numpy.random.seed(world.seed % 2**32)  # treequest draws from the global source
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
    known: int
    confirm: int
    at_once: int
    peer: str
    cache: Path


Rows = dict[str, dict[int, list[Played]]]
"""What became of each problem, by player and number of calls."""


class Group(NamedTuple):
    """A setting, and its problems by use.

    Args:
        family, seed, draw: Of the setting.
    """

    family: str
    seed: str
    draw: int

    @property
    def setting(self) -> Setting:
        return setting_of(self.family, self.seed, self.draw)

    def worlds(self, use: str, count: int) -> list[World]:
        """Problems in their first state."""
        setting = self.setting
        return [
            world_of(setting, self.family, self.seed, self.draw, f"{use}/{number}") for number in range(count)
        ]


def compared(options: Options, group: Group) -> tuple[Rows, dict[str, str]]:
    """The players that a search is compared with, which are kept from run to run.

    Returns:
        What became of each problem, and which policies were the best.
    """
    sources = (
        inspect.getsource(simulated),
        *map(inspect.getsource, _PLAYERS),
        str(
            (
                group,
                options._replace(
                    policy="", settings=0, known=0, at_once=0, peer=bool(options.peer), cache=Path()
                ),
            )
        ),
    )
    file = options.cache / f"{sha256(repr(sources).encode()).hexdigest()[:24]}.json"
    if file.exists():
        stored, chosen = json.loads(file.read_text(encoding="utf-8"))
        return {
            name: {int(calls): [Played(*one) for one in played] for calls, played in by_calls.items()}
            for name, by_calls in stored.items()
        }, chosen
    found = _compare(options, group)
    file.parent.mkdir(parents=True, exist_ok=True)
    own = file.with_suffix(f".{os.getpid()}")
    own.write_text(json.dumps(found), encoding="utf-8")
    own.replace(file)
    return found


def _compare(options: Options, group: Group) -> tuple[Rows, dict[str, str]]:
    def results(player: Player, use: str, count: int, calls: Sequence[int]) -> dict[int, list[Played]]:
        made = [play(player(world), max(calls), options.confirm) for world in group.worlds(use, count)]
        return {number: [judged(one, number) for one in made] for number in calls}

    policies = fixed([*group.setting.agents])
    tried = {name: results(player, "choice", CHOICE, options.calls) for name, player in policies.items()}
    tested = {
        name: results(player, "test", options.problems, options.calls) for name, player in policies.items()
    }

    def best(among: Sequence[str], calls: int) -> str:
        return max(among, key=lambda name: (sum(one.public for one in tried[name][calls]), name))

    alone = [name for name in policies if not name.startswith("pair")]
    rows, chosen = {"best-of-N": tested["best-of-N"]}, dict[str, str]()
    more = [name for name in alone if name.split()[0] in ("repair", "rethink", "plan", "plans")]
    for role, among in (("best fixed", alone), ("best pair", [*policies]), ("more than answers", more)):
        rows[role] = {}
        for calls in options.calls:
            chosen[f"{role}, {calls} calls"] = name = best(among, calls)
            rows[role][calls] = tested[name][calls]
    for kind in dict.fromkeys(name.split()[0] for name in policies if name != "best-of-N"):
        # Each kind of move by the agents that are best at it: what the family is.
        rows[f"({kind})"] = tested[best([name for name in policies if name.split()[0] == kind], DECIDES)]
    if options.peer:
        shorter = [calls for calls in options.calls if calls <= DECIDES]
        rows["AB-MCTS-A"] = results(ab_mcts, "test", options.problems, shorter) if shorter else {}
    return rows, chosen


_PLAYERS = (answers, mends, _go_on_from, plans, fixed, ab_mcts, play, judged, _compare)


class Found(NamedTuple):
    """All players on the problems of a setting.

    Args:
        best: Which fixed policies were chosen, by role and calls.
        mixes: What the search spent its calls on.
        seconds: CPU time, by what took it.
    """

    family: str
    rows: Rows
    best: dict[str, str]
    mixes: players.Mixes
    seconds: dict[str, float]


def of_setting(options: Options, group: Group) -> Found:
    """All players on the problems of one setting."""
    started = time.process_time()
    rows, best = compared(options, group)
    between, own, mixes = time.process_time(), Rows(), players.Mixes()
    if options.policy == "graph":
        own, mixes = players.graph(group, options)
    elif options.policy != "none":
        own, mixes = _searched(options, group)
    seconds = {"compared": between - started, "searched": time.process_time() - between}
    return Found(group.family, rows | own, best, mixes, seconds)


def _searched(options: Options, group: Group) -> tuple[Rows, players.Mixes]:
    """A policy that plays moves in a tree, with beliefs from other problems and without."""
    policy = players.POLICIES[options.policy]()
    rows: Rows = {"cold": {}, "warm": {}}
    mixes: players.Mixes = {}
    for calls in options.calls:
        for role in rows:
            known = policy.start()
            for number, world in enumerate(group.worlds("known", options.known) if role == "warm" else ()):
                told: list[players.Told] = []
                play(
                    players.searched(world, policy, known, number, calls, options.at_once, told),
                    calls,
                    options.confirm,
                )
                known = policy.tell(known, told)
            test = group.worlds("test", options.problems)
            made = [
                play(
                    players.searched(world, policy, known, number, calls, options.at_once, []),
                    calls,
                    options.confirm,
                )
                for number, world in enumerate(test)
            ]
            rows[role][calls] = [judged(one, calls) for one in made]
            mixes[role, calls] = players.mix(test)
    return rows, mixes


# --- tables and targets -------------------------------------------------------------------------------


def share(rows: Sequence[Played], what: str = "public") -> float:
    return fmean(getattr(row, what) for row in rows)


def table(by_family: dict[str, Rows], calls: int, what: str, among: Sequence[str] = ()) -> str:
    every = dict.fromkeys(name for rows in by_family.values() for name in rows)
    players = [name for name in every if not among or name in among]
    lines = ["| family | " + " | ".join(players) + " |", "|---" * (1 + len(players)) + "|"]
    for family, rows in by_family.items():
        cells = [
            f"{share(rows[name][calls], what):.2f}" if calls in rows.get(name, {}) else "" for name in players
        ]
        lines.append(f"| {family} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mixed(mixes: dict[str, players.Mixes], calls: int) -> str:
    """The share of each kind of move among the calls of a search."""
    lines = ["| family | search | moves |", "|---|---|---|"]
    for family, own in mixes.items():
        for (role, number), counts in own.items():
            parts = [f"{kind} {count / counts.total():.0%}" for kind, count in counts.most_common()]
            lines += [f"| {family} | {role} | {', '.join(parts)} |"] if number == calls else []
    return "\n".join(lines)


class Target(NamedTuple):
    """A target of a search in a family.

    Args:
        figure: What was reached.
        wanted: The least that passes.
        error: Standard error of the figure, over settings.
    """

    family: str
    search: str
    name: str
    figure: float
    wanted: float
    error: float

    def __str__(self) -> str:
        verdict = "PASS" if self.figure >= self.wanted else "FAIL"
        figures = f"{self.figure:.3f} (wanted {self.wanted:.2f}, standard error {self.error:.3f})"
        return f"{verdict} {self.family}, {self.search}: {self.name} {figures}"


def targets(by_family: dict[str, Rows], settings: int) -> Iterator[Target]:
    """The plan's targets of each search that was run."""
    for family, rows in by_family.items():
        at = {name: by_calls[DECIDES] for name, by_calls in rows.items() if DECIDES in by_calls}
        best, plain, more = (share(at[name]) for name in ("best fixed", "best-of-N", "more than answers"))
        for search in [name for name in SEARCHES if name in at]:
            beyond = partial(_apart, settings, at[search])
            difference, error = beyond(at["best-of-N"])
            told = partial(Target, family, search)
            if search == "warm":
                _, loose = beyond(at["best fixed"], 0.95)
                yield told("of the best fixed policy", share(at[search]) / max(best, 1e-9), 0.95, loose)
                yield told("beyond best-of-N", difference, -0.02, error)
            elif more - plain >= LITTLE:
                gap = best - plain
                yield told("of the gap closed", difference / gap, 0.7, error / gap)
            else:
                yield told("beyond best-of-N", difference, -0.12, error)
            if "AB-MCTS-A" in at:
                difference, error = beyond(at["AB-MCTS-A"])
                yield told("beyond AB-MCTS-A", difference, -0.02, error)


def _apart(
    settings: int, one: Sequence[Played], other: Sequence[Played], times: float = 1.0
) -> tuple[float, float]:
    """One share less another, and the standard error of that, over settings."""
    size = len(one) // settings
    parts = [slice(start, start + size) for start in range(0, len(one), size)]
    each = [share(one[part]) - times * share(other[part]) for part in parts]
    return fmean(each), stdev(each) / sqrt(len(each)) if len(each) > 1 else 0.0


def _command(options: Options, families: Sequence[str]) -> str:
    """The command that gives the same, with a folder's place left out."""
    words = ["python benchmarks/allocation.py"]
    for name in ("seed", "policy", "settings", "problems", "known", "confirm", "at_once"):
        words += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    words += ["--calls", *map(str, options.calls)]
    if len(families) < len(FAMILIES):
        words += ["--families", *(f"'{family}'" for family in families)]
    return " ".join([*words, "--peer FOLDER"] if options.peer else words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", choices=("dev", "report"), default="dev")
    parser.add_argument("--policy", choices=("none", "graph", *players.POLICIES), default="graph")
    parser.add_argument("--calls", type=int, nargs="+", default=[DECIDES])
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=[*FAMILIES])
    parser.add_argument("--settings", type=int, default=SETTINGS)
    parser.add_argument("--problems", type=int, default=PROBLEMS)
    parser.add_argument("--known", type=int, default=KNOWN, help="problems that beliefs come from")
    parser.add_argument("--at-once", type=int, default=1, help="moves of a round of `walk` and `arms`")
    parser.add_argument(
        "--confirm", type=int, default=2, help="how many programs that do the same end a search"
    )
    parser.add_argument("--procs", type=int, default=1)
    parser.add_argument("--peer", default="", help="folder with treequest 0.3.3")
    parser.add_argument("--cache", type=Path, default=CACHE, help="of the players compared with")
    parser.add_argument("--out", type=Path)
    asked: dict[str, Any] = vars(parser.parse_args())
    given: dict[str, Any] = {name: asked[name] for name in Options._fields}
    given["calls"] = tuple(asked["calls"])
    options = Options(**given)
    if options.peer:
        sys.path.append(options.peer)
    started = time.monotonic()
    groups = [
        Group(family, options.seed, draw) for family in asked["families"] for draw in range(options.settings)
    ]
    by_family: dict[str, Rows] = {}
    best: dict[str, Counter[str]] = {}
    mixes: dict[str, players.Mixes] = {}
    spent: Counter[str] = Counter()
    with ProcessPoolExecutor(asked["procs"]) as pool:
        for found in pool.map(partial(of_setting, options), groups):
            spent.update(found.seconds)
            for role, name in found.best.items():
                best.setdefault(f"{found.family}: {role}", Counter())[name.split()[0]] += 1
            for key, counts in found.mixes.items():
                mixes.setdefault(found.family, {}).setdefault(key, Counter()).update(counts)
            for name, by_calls in found.rows.items():
                for calls, played in by_calls.items():
                    rows = by_family.setdefault(found.family, {}).setdefault(name, {})
                    rows.setdefault(calls, []).extend(played)
    for calls in options.calls:
        print(f"\n{calls} calls, public tests\n\n{table(by_family, calls, 'public')}")
        print(f"\n{calls} calls, hidden tests\n\n{table(by_family, calls, 'hidden')}")
        print(f"\n{calls} calls, calls made\n\n{table(by_family, calls, 'calls')}")
        print(f"\n{calls} calls, what they were\n\n{mixed(mixes, calls)}")
        if options.policy == "graph":
            print(f"\n{calls} calls, depth of trees\n\n{table(by_family, calls, 'depth', SEARCHES)}")
            shared = table(by_family, calls, "shared", SEARCHES)
            print(f"\n{calls} calls, handed over and by several\n\n{shared}")
    checked = [*targets(by_family, options.settings)] if DECIDES in options.calls else []
    print("", *checked, sep="\n")
    for search in dict.fromkeys(target.search for target in checked):
        peer = [one.figure for one in checked if one.search == search and "AB-MCTS" in one.name]
        if peer:
            ahead = sum(figure > 0 for figure in peer)
            verdict = "PASS" if 2 * ahead > len(peer) else "FAIL"
            print(f"{verdict} {search}: ahead of AB-MCTS-A in {ahead} of {len(peer)} families")
    print(f"\n{time.monotonic() - started:.0f} s, CPU seconds {dict(spent)}")
    if asked["out"]:
        result = {
            "command": _command(options, asked["families"]),
            "targets": [target._asdict() | {"passes": target.figure >= target.wanted} for target in checked],
            "mixes": {
                family: {f"{role}, {calls} calls": dict(counts) for (role, calls), counts in own.items()}
                for family, own in mixes.items()
            },
            "best": {role: dict(names) for role, names in best.items()},
            "shares": {
                family: {
                    name: {
                        calls: {what: round(share(played, what), 4) for what in Played._fields}
                        for calls, played in by_calls.items()
                    }
                    for name, by_calls in rows.items()
                }
                for family, rows in by_family.items()
            },
        }
        asked["out"].write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
