"""Plans the steps of an epoch: which rows train which expert, in which forward passes.

Each expert has the batches that it would have if it were trained alone. The pass merges them: one
of its steps holds the next batch of some experts, so that all experts end an epoch together
whatever their sizes. The rows of a step are sorted by length and cut into forward passes, which
bounds memory and padding and changes no gradient.
"""

from collections.abc import Iterator, Mapping, Sequence
from random import Random

from bdc_agents.distill.training.rows import EncodedRow
from bdc_agents.experts.lora import stable_seed
from bdc_agents.types import Frozen


class Item(Frozen):
    """A row that one expert learns from.

    Args:
        row: Its number among the rows.
        expert: The expert's number.
        weight: Weight of each of its completion tokens: 1 / the completion tokens of the expert's batch.
    """

    row: int
    expert: int
    weight: float


class Step(Frozen):
    """One step of the pass: the next batch of some experts, cut into forward passes."""

    passes: tuple[tuple[Item, ...], ...]
    experts: tuple[int, ...]


def epoch_batches(members: Sequence[int], name: str, *, batch: int, epoch: int, seed: int) -> list[list[int]]:
    """An expert's batches in one epoch. They depend on the arguments alone.

    Args:
        members: Its rows.
        name: The expert's name.
        batch: Rows in a batch; the last one may have fewer.
    """
    order = list(members)
    Random(stable_seed(seed, name, epoch)).shuffle(order)
    return [order[start : start + batch] for start in range(0, len(order), batch)]


def merge(batches: Mapping[int, Sequence[list[int]]]) -> Iterator[dict[int, list[int]]]:
    """Spreads every expert's batches evenly over as many steps as the longest list has.

    Args:
        batches: By expert.
    """
    longest = max((len(own) for own in batches.values()), default=0)
    for step in range(longest):
        now = {}
        for expert, own in batches.items():
            index = step * len(own) // longest
            if index < (step + 1) * len(own) // longest:
                now[expert] = own[index]
        yield now


def plan_step(now: Mapping[int, Sequence[int]], rows: Sequence[EncodedRow], tokens: int) -> Step:
    """Cuts the batches of one step into forward passes.

    Args:
        now: The rows of each expert in this step.
        rows: All training rows.
        tokens: Padded tokens in one forward pass; a single longer row has one of its own.
    """
    items = []
    for expert, members in now.items():
        weight = 1 / sum(rows[member].target_tokens for member in members)
        items += [Item(row=member, expert=expert, weight=weight) for member in members]
    return Step(passes=cut_passes(items, rows, tokens), experts=tuple(sorted(now)))


def cut_passes(
    items: Sequence[Item], rows: Sequence[EncodedRow], tokens: int
) -> tuple[tuple[Item, ...], ...]:
    """Items in passes of rows of like length, each of at most `tokens` with its padding."""
    passes: list[tuple[Item, ...]] = []
    open_pass: list[Item] = []
    for item in sorted(items, key=lambda i: (-len(rows[i.row].ids), i.expert, i.row)):
        width = len(rows[open_pass[0].row].ids) if open_pass else 0
        if open_pass and width * (len(open_pass) + 1) > tokens:
            passes.append(tuple(open_pass))
            open_pass = []
        open_pass.append(item)
    return (*passes, tuple(open_pass)) if open_pass else tuple(passes)
