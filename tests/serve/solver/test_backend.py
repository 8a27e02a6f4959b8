"""The backend in process: what it says is a matter of the request alone."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
import torch

from bdc_agents.errors import BDCError, ModelError
from bdc_agents.serve import ChatReply, ChatRequest, ExpertWeights, RoutedModel
from bdc_agents.serve.backends.protocol import PromptTooLong


def ask(text: str, experts: Any = None, **sampling: Any) -> ChatRequest:
    return ChatRequest([{"role": "user", "content": text}], experts, **{"max_tokens": 12} | sampling)


def requests() -> list[ChatRequest]:
    half = ExpertWeights({"cluster-1": 0.5, "cluster-0": 0.5})
    return [
        ask("hi"),
        ask("a much longer question than the others " * 3, "cluster-0", max_tokens=5),
        ask("hi", "cluster-1", temperature=1.0, seed=4),
        ask("hello", half, temperature=1.0, top_p=0.8, seed=5, max_tokens=30),
        ask("x", half),
        ask("hi", "cluster-1", temperature=1.0, seed=5),
    ]


async def test_a_reply_is_the_same_alone_and_in_a_batch(tiny: RoutedModel) -> None:
    alone = [(await tiny.backend.generate([request]))[0] for request in requests()]
    together = await tiny.backend.generate(requests())
    assert [reply.text for reply in together] == [reply.text for reply in alone]
    assert [reply.completion_tokens for reply in together] == [reply.completion_tokens for reply in alone]


async def test_rows_that_join_and_leave_change_nothing_for_the_others(tiny: RoutedModel) -> None:
    long = ask("a long story", "cluster-0", max_tokens=60, temperature=0.9, seed=1)
    (expected,) = await tiny.backend.generate([long])
    pieces = []
    async with aclosing(tiny.backend.stream(long)) as stream:
        async for piece in stream:
            pieces.append(piece)
            if len(pieces) in (3, 9):
                await tiny.backend.generate([ask("in between " * len(pieces), "cluster-1")])
    assert "".join(piece.text for piece in pieces) == expected.text == pieces[-1].reply.text


async def test_greedy_text_is_that_of_transformers(tiny: RoutedModel, base: Any) -> None:
    prompt = base.tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True, tokenize=False
    )
    ids = base.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    with torch.inference_mode():
        out = base.model.generate(**ids, do_sample=False, max_new_tokens=12, pad_token_id=0)
    expected = base.tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
    (reply,) = await tiny.backend.generate([ask("hi")])
    assert reply.text == expected
    assert reply.prompt_tokens == ids["input_ids"].shape[1]


async def test_experts_and_mixtures_differ_and_none_is_the_base(tiny: RoutedModel) -> None:
    nothing = ExpertWeights({"cluster-0": 0.0, "shared": 0.0})
    whole = ExpertWeights({"cluster-0": 1.0, "cluster-1": 0.0})
    asked = [ask("hi", experts) for experts in (None, nothing, "cluster-0", whole, "cluster-1")]
    base, zero, expert, mixed, other = [r.text for r in await tiny.backend.generate(asked)]
    assert base == zero
    assert expert == mixed
    assert len({base, expert, other}) == 3


async def test_seeds_draw_differently_and_again_the_same(tiny: RoutedModel) -> None:
    texts = [
        (await tiny.backend.generate([ask("hi", temperature=1.5, seed=seed)]))[0].text
        for seed in (1, 2, 3, 1)
    ]
    assert texts[0] == texts[3]
    assert len(set(texts)) == 3


async def test_a_stop_text_ends_the_reply_before_it_and_is_never_shown(tiny: RoutedModel) -> None:
    request = ask("hi", "cluster-0", max_tokens=40)
    (whole,) = await tiny.backend.generate([request])
    stop = whole.text[9:12]
    stopped = ask("hi", "cluster-0", max_tokens=40, stop=(stop, "never"))
    shown = [piece async for piece in tiny.backend.stream(stopped)]
    assert "".join(piece.text for piece in shown) == whole.text[: whole.text.index(stop)]
    assert shown[-1].reply.finish == "stop"
    assert whole.finish == "length"


async def test_a_prompt_without_room_is_refused_with_the_numbers(tiny: RoutedModel) -> None:
    with pytest.raises(PromptTooLong, match=r"has (\d{4,}) tokens and the model's context holds 1024"):
        await tiny.backend.generate([ask("x" * 2000)])
    (reply,) = await tiny.backend.generate([ask("x" * 960, max_tokens=500)])
    assert reply.prompt_tokens + reply.completion_tokens <= 1024


async def test_a_batch_with_one_bad_request_fails_and_leaves_the_backend_well(tiny: RoutedModel) -> None:
    with pytest.raises(PromptTooLong):
        await tiny.backend.generate([ask("hi", max_tokens=200), ask("x" * 2000)])
    with pytest.raises(ModelError, match="unknown expert 'cluster-7'"):
        await tiny.backend.generate([ask("hi", "cluster-7")])
    assert await tiny.backend.generate([ask("hi")])


async def test_more_requests_than_slots_are_all_answered(tiny: RoutedModel) -> None:
    asked = [ask(f"question {n}", max_tokens=1 + n % 5) for n in range(20)]
    replies = await tiny.backend.generate(asked)
    assert [reply.completion_tokens for reply in replies] == [1 + n % 5 for n in range(20)]


async def test_a_caller_who_leaves_frees_the_row(tiny: RoutedModel) -> None:
    async with aclosing(tiny.backend.stream(ask("hi", max_tokens=900))) as stream:
        await anext(stream)
    engine = tiny.backend._engine  # pyright: ignore[reportAttributeAccessIssue]
    for _ in range(100):
        if not engine._running:
            break
        await asyncio.sleep(0.01)
    assert not engine._running


def test_replies_from_several_event_loops(tiny: RoutedModel) -> None:
    def text() -> str:
        return asyncio.run(tiny.backend.generate([ask("hi")]))[0].text

    assert text() == text()


async def test_a_model_that_fails_fails_its_callers_and_no_others(
    library_folder: Any, letters: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = RoutedModel.from_library(library_folder, encoder=letters, dtype="float32", device="cpu")
    engine: Any = model.backend._engine  # pyright: ignore[reportAttributeAccessIssue]
    step = engine._batch.step

    def broken() -> Any:
        monkeypatch.setattr(engine._batch, "step", step)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(engine._batch, "step", broken)
    with pytest.raises(BDCError, match="the model failed: RuntimeError: out of memory"):
        await model.backend.generate([ask("hi")])
    reply: ChatReply = (await model.backend.generate([ask("hi")]))[0]
    assert reply.completion_tokens == 12
    waiting = asyncio.create_task(model.backend.generate([ask("hi", max_tokens=900)]))
    await asyncio.sleep(0.05)
    await model.aclose()
    with pytest.raises(BDCError, match="closed"):
        await waiting
    with pytest.raises(BDCError, match="closed"):
        await model.backend.generate([ask("hi")])
