"""Turns chat examples into training rows: token ids, with the loss on the completion only."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from bdc_agents.config import explain
from bdc_agents.errors import ModelError, ProblemError
from bdc_agents.search.traces import Row, all_rows, row_key
from bdc_agents.types import Frozen, Trace, content_hash
from bdc_agents.untrusted import read_lines

ROWS = "rows.json"
"""The file of a library that tells which rows each expert learnt from."""
MARKERS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|eot_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|user|>",
    "<|assistant|>",
    "<|begin_of_text|>",
    "<|endoftext|>",
    "[/INST]",
)
"""Control tokens of common chat templates. Rows with one in a message's text are left out."""

_LEAST_PROMPT = 8
"""A prompt that has to be cut keeps at least an eighth of the longest row, 128 tokens by default: with less,
nobody could tell the task. Chosen, not measured."""


class EncodedRow(Frozen):
    """A training row as token ids.

    Args:
        key: Hash of the row's text.
        ids: Prompt and completion.
        start: Where the completion begins in `ids`; the loss is on it alone.
        cluster: Number of its cluster; -1 for none.
        cut: Tokens taken out of the middle of the prompt.
    """

    key: str
    problem_id: str
    ids: tuple[int, ...]
    start: int = Field(ge=1)
    cluster: int = -1
    cut: int = 0

    @property
    def target_tokens(self) -> int:
        """The number of tokens with a loss: those of the completion."""
        return len(self.ids) - self.start


class Encoded(Frozen):
    """All rows, split by problem, and what was left out of them and why."""

    train: tuple[EncodedRow, ...]
    validation: tuple[EncodedRow, ...]
    dropped: dict[str, int] = {}
    cut: int = 0


def training_rows(traces: Iterable[Trace]) -> tuple[Row, ...]:
    """The rows to imitate of the traces that may be trained on, duplicates left out."""
    kept = (trace for trace in traces if trace.decision is None or trace.decision.kept)
    rows = (row for trace in kept for row in all_rows(trace) if row.rejected is None)
    return tuple({row_key(row): row for row in rows}.values())


def rows_of_experts(
    rows: Sequence[Row], labels: Mapping[str, int], experts: Mapping[str, int]
) -> dict[str, list[str]]:
    """The keys of the rows that each expert learns from: what `rows.json` holds.

    Args:
        labels: The cluster of each problem.
        experts: The cluster of each expert; -1 for the one on all rows.
    """
    return {
        name: sorted(row_key(row) for row in rows if cluster in (-1, labels.get(row.problem_id, -1)))
        for name, cluster in experts.items()
    }


def read_rows(path: Path | str) -> tuple[Row, ...]:
    """Reads supervised rows from JSON lines, as `bdc export` writes them.

    A line holds `prompt` (messages) and `completion` (text or messages), or `messages` of which the
    last is the assistant's; `problem_id` names its problem. A file that ends in .gz is unpacked.

    Raises:
        ProblemError: If the file or a line of it cannot be used.
    """
    path = Path(path)
    try:
        lines = [line.decode("utf-8") for line in read_lines(path)]
    except (OSError, ValueError) as error:
        raise ProblemError(f"training rows {str(path)!r} cannot be read: {error}") from None
    rows = [_parse(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    return tuple({row_key(row): row for row in rows if row.rejected is None}.values())


def _parse(line: str, place: str) -> Row:
    try:
        data = json.loads(line)
        if "text" in data and "prompt" not in data and "messages" not in data:
            raise ProblemError(
                f"{place}: holds text that was rendered with some chat template; give `prompt` and "
                "`completion` as messages, so that the template of the base model is used"
            )
        prompt = list(data["messages"] if "messages" in data else data["prompt"])
        reply = data.get("completion", data.get("chosen"))
        completion = prompt.pop() if "messages" in data else reply
        text = _said(completion)
        return Row(
            kind=data.get("kind", "pair" if "rejected" in data else "direct"),
            problem_id=str(data.get("problem_id", content_hash(json.dumps(prompt)))),
            prompt=tuple({"role": m["role"], "content": m["content"]} for m in prompt),
            completion=text,
            rejected=_said(data["rejected"]) if "rejected" in data else None,
        )
    except ProblemError:
        raise
    except ValidationError as error:
        raise ProblemError(explain(error, place, Row)) from None
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ProblemError(
            f"{place}: not a training row ({type(error).__name__}: {error}); expected `prompt` and "
            "`completion`"
        ) from None


def _said(reply: Any) -> Any:
    """The text of a reply that is given as such, as a message or as a list of one."""
    if isinstance(reply, list):
        (reply,) = reply
    return reply["content"] if isinstance(reply, dict) else reply


def encode_rows(
    rows: Sequence[Row],
    clusters: Sequence[int],
    tokenizer: Any,
    *,
    max_length: int,
    validation: float = 0.1,
    seed: int = 42,
) -> Encoded:
    """Turns rows into token ids with the base model's chat template, and splits them by problem.

    A row whose completion alone is too long is left out, since a program that is cut off teaches
    to cut off; a prompt that is too long loses its middle.

    Args:
        clusters: The cluster of each row; -1 for none.
        tokenizer: Of the base model.
        max_length: Tokens of one row.
        validation: Share of problems held out.
        seed: Of the split.

    Raises:
        ModelError: If the tokenizer has no chat template.
        ProblemError: If no row is left, or most hold the control tokens of a chat template.
    """
    if len(rows) != len(clusters):
        raise ProblemError(f"{len(rows)} rows but {len(clusters)} clusters; each row needs one (-1 for none)")
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError("the base model has no chat template; choose one tuned for chat (`-Instruct`)")
    dropped: Counter[str] = Counter()
    encoded = []
    for row, cluster in zip(rows, clusters, strict=True):
        found = _encode(row, cluster, tokenizer, max_length)
        if isinstance(found, str):
            dropped[found] += 1
        else:
            encoded.append(found)
    _check(len(rows), len(encoded), dropped, max_length)
    held = held_out(encoded, validation, seed)
    return Encoded(
        train=tuple(row for row in encoded if row.problem_id not in held),
        validation=tuple(row for row in encoded if row.problem_id in held),
        dropped=dict(dropped),
        cut=sum(row.cut > 0 for row in encoded),
    )


def _check(total: int, left: int, dropped: Mapping[str, int], max_length: int) -> None:
    if dropped.get("template", 0) * 2 > total:
        raise ProblemError(
            f"{dropped['template']} of {total} rows hold control tokens of a chat template, such as "
            f"{MARKERS[0]}: they were rendered for some model; give plain messages instead"
        )
    if not left:
        long = f"; {dropped['long']} are longer than max_length={max_length}" if dropped.get("long") else ""
        raise ProblemError(f"none of {total} rows can be trained on{long}; solve more problems first")


def _encode(row: Row, cluster: int, tokenizer: Any, max_length: int) -> EncodedRow | str:
    texts = [message["content"] for message in row.prompt] + [row.completion]
    if any(marker in text for text in texts for marker in MARKERS):
        return "template"
    if not row.completion.strip():
        return "empty"
    prompt, completion = _render(row, tokenizer)
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    after = tokenizer(completion, add_special_tokens=False)["input_ids"]
    room = max_length - len(after)
    if room < min(len(before), max_length // _LEAST_PROMPT):
        return "long"
    cut = max(0, len(before) - room)
    # The head holds the system message, the tail the question's end and the cue to answer.
    before = before[: room // 2] + before[len(before) - (room - room // 2) :] if cut else before
    return EncodedRow(
        key=row_key(row),
        problem_id=row.problem_id,
        ids=(*before, *after),
        start=len(before),
        cluster=cluster,
        cut=cut,
    )


def _render(row: Row, tokenizer: Any) -> tuple[str, str]:
    """The prompt as it is at inference, and what the model is to add up to its end-of-turn token."""
    messages = list(row.prompt)
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    answer = {"role": "assistant", "content": row.completion}
    whole = tokenizer.apply_chat_template([*messages, answer], tokenize=False)
    end = tokenizer.eos_token or ""
    if not whole.startswith(prompt):  # A template that treats the last turn differently.
        return prompt, row.completion + end
    completion = whole[len(prompt) :].rstrip()
    return prompt, completion if completion.endswith(end) else completion + end


def held_out(rows: Iterable[EncodedRow], share: float, seed: int) -> frozenset[str]:
    """The problems of the validation set: those whose hash is smallest.

    Every cluster of two problems or more has one in it and keeps one for training. A problem's
    hash depends on its id and the seed alone, so the split is stable as problems are added.

    Args:
        share: Of all problems.
    """
    problems: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        problems[row.problem_id].add(row.cluster)
    training = Counter(cluster for clusters in problems.values() for cluster in clusters)
    covered: set[int] = set()
    held: set[str] = set()
    if share == 0:
        return frozenset()
    for problem in sorted(problems, key=lambda key: position(key, seed)):
        clusters = problems[problem]
        wanted = position(problem, seed) < share or not clusters <= covered
        if wanted and all(training[cluster] > 1 for cluster in clusters):
            held.add(problem)
            covered |= clusters
            training.subtract(clusters)
    return frozenset(held)


def position(problem_id: str, seed: int) -> float:
    """A number in [0, 1) that depends on the problem's id and the seed alone."""
    # A float holds 48 bits exactly.
    return int.from_bytes(sha256(f"{seed}/{problem_id}".encode()).digest()[:6], "big") / 2**48
