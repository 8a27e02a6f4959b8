"""How the next token is chosen."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from bdc_agents.serve import ChatRequest
from bdc_agents.serve.backends.transformers.decoding import Row, choose

logits = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=12)


def row(**sampling: Any) -> Row:
    text: Any = SimpleNamespace(stopped=False)
    return Row(ChatRequest([], **sampling), [1], 5, text)


@given(scores=logits, top_p=st.floats(0.05, 1), seed=st.integers(0, 1000))
def test_a_draw_is_from_the_likeliest_tokens_that_reach_top_p(
    scores: list[float], top_p: float, seed: int
) -> None:
    (token,), (logprob,) = choose(torch.tensor([scores]), [row(temperature=1.0, top_p=top_p, seed=seed)])
    probabilities = torch.tensor(scores).double().softmax(-1)
    before = probabilities[probabilities > probabilities[token] + 1e-9].sum()
    assert before < top_p + 1e-6
    assert abs(logprob - float(probabilities[token].log())) < 1e-4


@given(scores=st.lists(logits.map(lambda row: (row * 12)[:6]), min_size=1, max_size=5))
def test_rows_choose_for_themselves(scores: list[list[float]]) -> None:
    def rows() -> list[Row]:
        return [row(temperature=n % 2 * 0.8, seed=n) for n in range(len(scores))]

    together, _ = choose(torch.tensor(scores), rows())
    alone = [choose(torch.tensor([own]), [one])[0][0] for own, one in zip(scores, rows(), strict=True)]
    assert together == alone
    held = torch.tensor(scores)
    assert all(held[n][token] == held[n].max() for n, token in enumerate(together) if n % 2 == 0)


def test_draws_have_the_frequencies_of_their_probabilities() -> None:
    one = row(temperature=1.0, seed=3)
    scores = torch.tensor([[0.5, 0.3, 0.2]]).log()
    found = Counter(choose(scores, [one])[0][0] for _ in range(3000))
    assert [round(found[token] / 3000, 1) for token in range(3)] == [0.5, 0.3, 0.2]
