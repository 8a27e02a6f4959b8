"""On-policy rounds: a library answers training problems, and learns from those of its answers that are right.

Programs of another model say things that the student would not say; its own right ones it can learn without
becoming another (rejection sampling: arXiv 2203.14465, 2308.01825). A round is a run of searches and an
update, so nothing is new here but their order, and that a round which is done is kept.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bdc_agents.distill.lessons import KnownSolution
from bdc_agents.distill.recipe import Recipe
from bdc_agents.distill.training.loop import Say, Watch, silent
from bdc_agents.distill.update import update
from bdc_agents.experts.library import ExpertLibrary, save_folder
from bdc_agents.experts.manifest import MANIFEST
from bdc_agents.types import Trace

Answer = Callable[[Path, int], Sequence[Trace]]
"""Lets the library in a folder answer the problems of a round, which counts from 1. Its traces say which
programs passed the hidden tests."""


@dataclass(frozen=True)
class Round:
    """What became of a round.

    Args:
        number: From 1.
        problems: How many were answered.
        right: How many of them with a program that may be learnt from.
        library: As the round left it.
        changed: The experts whose weights are new.
    """

    number: int
    problems: int
    right: int
    library: Path
    changed: tuple[str, ...] = ()


def improve(
    folder: Path | str,
    out: Path | str,
    traces: Sequence[Trace],
    rounds: int,
    answer: Answer,
    recipe: Recipe,
    *,
    references: Sequence[KnownSolution] = (),
    say: Say = silent,
    watch: Watch = silent,
) -> list[Round]:
    """Lets a library learn from its own answers, round by round.

    Args:
        folder: The library, which stays as it is. Each round's is kept beside it under its number, so that a
            run that was cut off goes on with the round at hand, and rounds can be compared.
        out: Where the last round's library goes.
        traces, references: What it was made from, so that it does not forget.
        rounds: How many.
        answer: Answers the problems.
        recipe: How its experts are trained.

    Raises:
        UsageError: If the traces of a round teach nothing that can be trained on.
        ModelError: If the library is damaged.
        TrainingStopped: If a loss is not a number.
    """
    made, known = list[Round](), [*traces]
    before = ExpertLibrary(folder).folder
    for number in range(1, rounds + 1):
        place = Path(folder).with_name(str(number))
        answered = answer(before, number)
        known += answered
        right = sum(one.decision is None or one.decision.kept for one in answered)
        say(f"round {number} of {rounds}: {right} of {len(answered)} problems answered right")
        changed = tuple[str, ...]()
        if not (place / MANIFEST).is_file():
            changed = _learn(before, place, known, recipe, references, say, watch)
        made.append(Round(number, len(answered), right, place, changed))
        before = place
    save_folder(Path(out), lambda target: shutil.copytree(before, target, dirs_exist_ok=True))
    return made


def _learn(
    before: Path,
    place: Path,
    traces: Sequence[Trace],
    recipe: Recipe,
    references: Sequence[KnownSolution],
    say: Say,
    watch: Watch,
) -> tuple[str, ...]:
    """Makes the library of a round from that of the round before, which stays as it is."""
    work = place.with_name(f"{place.name}.next")
    if not (work / MANIFEST).is_file():
        save_folder(work, lambda target: shutil.copytree(before, target, dirs_exist_ok=True))
    done = update(work, traces, recipe=recipe, references=references, say=say, watch=watch)
    save_folder(place, lambda target: shutil.copytree(work, target, dirs_exist_ok=True))
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(work.with_name(f"{work.name}.work"), ignore_errors=True)
    return done.changed
