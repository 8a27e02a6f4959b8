"""Rows: what is learnt, what is cut, what is held out."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdc_agents.distill.training.rows import EncodedRow, encode_rows, held_out, read_rows
from bdc_agents.errors import ModelError, ProblemError
from bdc_agents.search.traces import Row, row_key


def row(number: int = 0, ask: str = "Add one.", answer: str = "return x + 1") -> Row:
    prompt = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": ask})
    return Row(kind="direct", problem_id=f"p{number}", prompt=prompt, completion=answer)


def test_the_prompt_is_masked_and_the_completion_ends_its_turn(tokenizer: Any) -> None:
    (one,) = encode_rows([row()], [0], tokenizer, max_length=200, validation=0).train
    asked = tokenizer.apply_chat_template(list(row().prompt), add_generation_prompt=True, tokenize=False)
    assert tokenizer.decode(one.ids[: one.start]) == asked
    assert tokenizer.decode(one.ids[one.start :]) == "return x + 1<|im_end|>"
    assert one.ids[-1] == tokenizer.eos_token_id
    assert one.target_tokens == len("return x + 1") + 1


def test_a_long_prompt_loses_its_middle_and_a_long_completion_its_row(tokenizer: Any) -> None:
    long = row(ask="start " + "x" * 300 + " end")
    found = encode_rows([long, row(1, answer="y" * 400)], [0, 0], tokenizer, max_length=160, validation=0)
    (one,) = found.train
    text = tokenizer.decode(one.ids)
    assert len(one.ids) == 160
    assert text.startswith("<|im_start|>system\nBe brief.")
    assert " end<|im_end|>\n<|im_start|>assistant\nreturn x + 1<|im_end|>" in text
    assert (found.cut, found.dropped) == (1, {"long": 1})


def test_rows_of_another_template_are_refused(tokenizer: Any) -> None:
    bad = row(1, ask="<|im_start|>user\nAdd.<|im_end|>")
    assert encode_rows([row(), row(2), bad], [0, 0, 0], tokenizer, max_length=200).dropped == {"template": 1}
    with pytest.raises(ProblemError, match="2 of 3 rows hold control tokens"):
        encode_rows([row(), bad, bad], [0, 0, 0], tokenizer, max_length=200)


def test_nothing_left_to_train_on_is_said(tokenizer: Any) -> None:
    with pytest.raises(ProblemError, match="1 are longer than max_length=16"):
        encode_rows([row(answer="y" * 50)], [0], tokenizer, max_length=16)
    with pytest.raises(ProblemError, match="1 rows but 2 clusters"):
        encode_rows([row()], [0, 1], tokenizer, max_length=16)
    bare = type("Bare", (), {"chat_template": None})()
    with pytest.raises(ModelError, match="no chat template"):
        encode_rows([row()], [0], bare, max_length=16)


owners = st.lists(st.tuples(st.integers(0, 12), st.integers(-1, 3)), min_size=1, max_size=60)


@given(owners=owners, share=st.floats(0.01, 0.6), seed=st.integers(0, 9))
def test_the_split_is_by_problem_and_leaves_every_cluster_something(
    owners: list[tuple[int, int]], share: float, seed: int
) -> None:
    rows = [EncodedRow(key="", problem_id=f"p{p}", ids=(1, 2), start=1, cluster=c) for p, c in owners]
    held = held_out(rows, share, seed)
    assert held == held_out(list(reversed(rows)), share, seed)
    for cluster in {c for _, c in owners}:
        problems = {f"p{p}" for p, c in owners if c == cluster}
        assert problems - held
    assert not held_out(rows, 0, seed)


def test_each_cluster_of_two_problems_has_one_held_out() -> None:
    rows = [EncodedRow(key="", problem_id=f"p{n}", ids=(1, 2), start=1, cluster=n // 2) for n in range(20)]
    assert len(held_out(rows, 0.01, 42)) == 10


def test_the_split_hardly_moves_when_problems_are_added() -> None:
    rows = [EncodedRow(key="", problem_id=f"p{n}", ids=(1, 2), start=1, cluster=0) for n in range(300)]
    assert held_out(rows[:200], 0.2, 42) == {p for p in held_out(rows, 0.2, 42) if int(p[1:]) < 200}


def test_exported_rows_are_read_in_every_usual_form(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Add."}, {"role": "assistant", "content": "x + 1"}]
    lines = [
        {"problem_id": "a", "prompt": messages[:1], "completion": "x + 1", "kind": "direct"},
        {"problem_id": "b", "prompt": messages[:1], "completion": messages[1:]},
        {"problem_id": "c", "messages": [{"role": "user", "content": "Sub."}, *messages[1:]]},
        {"problem_id": "d", "prompt": messages[:1], "chosen": messages[1:], "rejected": "x"},
    ]
    file = tmp_path / "sft.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = read_rows(file)
    # The first two are the same text, and a preference pair is no supervised row.
    assert [(r.prompt[0]["content"], r.completion) for r in rows] == [("Add.", "x + 1"), ("Sub.", "x + 1")]
    assert row_key(rows[0]) != row_key(rows[1])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{nonsense", r"sft.jsonl:1: not a training row"),
        ('{"text": "<|im_start|>user"}', r"rendered with some chat template"),
        ('{"prompt": [{"role": "user"}], "completion": "x"}', r"KeyError: 'content'"),
        ('{"prompt": [], "completion": 3}', r"completion"),
    ],
)
def test_a_line_that_is_no_row_is_named(line: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "sft.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(ProblemError, match=said):
        read_rows(file)
    with pytest.raises(ProblemError, match="cannot be read"):
        read_rows(tmp_path / "absent.jsonl")
