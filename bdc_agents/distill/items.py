"""Solved problems as clustering sees them: as texts and as vectors.

Each is embedded as `input + output` (its statement, then its thoughts and program), as in the
paper, without the prompt's wording, which is the same for all. Labels of the data are never
embedded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bdc_agents.embed.encoder import Encoder, Vectors
from bdc_agents.errors import UsageError
from bdc_agents.experts.clusters import PROBE, Floats
from bdc_agents.search import extract_traces
from bdc_agents.search.traces import Row
from bdc_agents.types import UNJUDGED, Frozen, Problem, Trace

CountTokens = Callable[[str], int]
# Clusters that came with the data are not the ones that are made here.
_NAMES = {"cluster": "given cluster"}


class Item(Frozen):
    """A solved problem as clustering sees it.

    Args:
        id: Of the problem.
        problem: Its text, as `problem_text` gives it.
        output: The thoughts and the program that experts learn.
        tokens: Tokens of the output.
        labels: Labels of the data, such as difficulty and tags; used for validation alone.
    """

    id: str
    problem: str
    output: str = ""
    tokens: int = 0
    labels: dict[str, tuple[str, ...]] = {}


@dataclass(frozen=True, eq=False)
class Embedded:
    """Items with the vectors of problem and output together, and of the problem alone."""

    items: tuple[Item, ...]
    vectors: Vectors
    queries: Vectors
    encoder: str = ""
    probe: Floats | None = None


def problem_text(problem: Problem) -> str:
    """What is embedded of a problem, in training and when it is placed."""
    if problem.starter_code.strip() in problem.statement:
        return problem.statement
    return f"{problem.statement}\n\n{problem.starter_code}"


def estimate_tokens(text: str) -> int:
    """Estimates the tokens of a text as a quarter of its characters, the usual rule for English and code."""
    return -(-len(text) // 4)


def items_of_traces(traces: Iterable[Trace], count: CountTokens = estimate_tokens) -> tuple[Item, ...]:
    """One item for each problem that has training rows, in order of first appearance.

    Args:
        count: Tokens of a text, by the base model's tokenizer.
    """
    rows: list[Row] = []
    problems: dict[str, Problem] = {}
    for trace in traces:
        problems[trace.problem.id] = trace.problem
        rows += extract_traces(trace)
    texts = {key: problem_text(problem) for key, problem in problems.items()}
    labels = {key: labels_of(problem) for key, problem in problems.items()}
    return tuple(
        item.model_copy(update={"labels": labels[item.id]}) for item in items_of_rows(rows, texts, count)
    )


def items_of_rows(
    rows: Iterable[Row], problems: Mapping[str, str] | None = None, count: CountTokens = estimate_tokens
) -> tuple[Item, ...]:
    """One item for each problem of some training rows.

    Args:
        problems: Texts of the problems by id. The last message of a row's prompt stands in for a
            missing one.
        count: Tokens of a text, by the base model's tokenizer.
    """
    texts: dict[str, str] = {}
    outputs: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.rejected is not None:
            continue
        given = (problems or {}).get(row.problem_id)
        texts.setdefault(row.problem_id, row.prompt[-1]["content"] if given is None else given)
        outputs.setdefault(row.problem_id, {})[row.completion] = None
    return tuple(
        Item(id=key, problem=texts[key], output="\n\n".join(parts), tokens=sum(map(count, parts)))
        for key, parts in outputs.items()
    )


def embed_items(items: Sequence[Item], encoder: Encoder) -> Embedded:
    """The vectors of some items. Blocks; in async code call it through `asyncio.to_thread`."""
    if not items:
        raise UsageError("no solved problem to cluster: collect traces whose programs pass every test")
    whole = [f"{item.problem}\n\n{item.output}".strip() for item in items]
    found = encoder.embed([*whole, *(item.problem for item in items), PROBE])
    n = len(items)
    return Embedded(tuple(items), found[:n], found[n : 2 * n], encoder.name, found[-1])


def labels_of(problem: Problem) -> dict[str, tuple[str, ...]]:
    """Difficulty and tags; a tag such as `rating:1500` is a label of its own."""
    found: dict[str, tuple[str, ...]] = {}
    for tag in problem.tags:
        if tag in UNJUDGED:  # It speaks of the tests, not of the problem.
            continue
        name, colon, value = tag.partition(":")
        key = _NAMES.get(name, name) if colon else "tags"
        found[key] = (*found.get(key, ()), value if colon else tag)
    return found | ({"difficulty": (problem.difficulty,)} if problem.difficulty else {})
