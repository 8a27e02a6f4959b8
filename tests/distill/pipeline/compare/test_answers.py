"""What the compared methods answer, against the served library, weights made anew, and plain peft."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bdc_agents.data import load_tasks
from bdc_agents.distill.lessons import reference_rows
from bdc_agents.evaluate.library import CompareConfig
from bdc_agents.evaluate.library.bench import Bench
from bdc_agents.evaluate.library.held_out import known_solutions
from bdc_agents.evaluate.library.peers import TwoPasses, XLoraBackend, classifier, xlora
from bdc_agents.evaluate.library.replies import _backend, _weigh
from bdc_agents.experts.base import load_base
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.merging import added, combine
from bdc_agents.experts.mixture import Mixture
from bdc_agents.experts.router import Router
from bdc_agents.serve.backends.protocol import ChatReply, ChatRequest
from bdc_agents.serve.backends.transformers.decoding import cache_argument
from bdc_agents.serve.routed_model import RoutedModel

Config = Callable[..., CompareConfig]
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's use


def test_replies_are_those_of_the_served_library(place: Path, out: Path) -> None:
    """The library's router, an expert and the base, asked one problem at a time."""
    lines = [json.loads(line) for line in (out / "replies.jsonl").read_text().splitlines()]
    written = {(line["method"], line["problem"]): line["text"] for line in lines}
    tasks = list(load_tasks(str(place / "new.jsonl")))

    async def ask() -> None:
        served = RoutedModel.from_library(place / "library", dtype="float32")
        for task in tasks[:2]:
            (row,) = reference_rows(known_solutions([task]))
            for name, model in (("router-default", "bdc"), ("cluster-1", "cluster-1"), ("base", "base")):
                text = task.problem.statement
                request = await served.request(row.prompt, model=model, text=text, max_tokens=6)
                (reply,) = await served.backend.generate([request])
                assert reply.text == written[name, task.problem.id], (name, task.problem.id)
        await served.aclose()

    asyncio.run(ask())


def test_each_method_answers_with_its_own_mixture(config: Config, place: Path, base: str) -> None:
    """The probability of a first token is that under weights which are computed here anew."""
    bench = Bench(config(place, batch=1), print)
    task = next(load_tasks(str(place / "new.jsonl")))
    loaded, library = load_base(base, dtype="float32"), ExpertLibrary(place / "library")
    vector = bench.encoder.embed([task.problem.statement])
    (row,) = reference_rows(known_solutions([task]))
    text = loaded.tokenizer.apply_chat_template(list(row.prompt), add_generation_prompt=True, tokenize=False)
    ids = torch.tensor([loaded.tokenizer(text, add_special_tokens=False)["input_ids"]])
    member = torch.from_numpy(bench.clusters.place(vector))
    router = Router.load(library)
    names = ["cluster-0", "cluster-1"]
    states = [library.weights(name) for name in names]
    scale = library.manifest.adapters["alpha"] / library.manifest.adapters["rank"]
    everything = dict(zip(names, states, strict=True)) | {"shared": library.weights("shared")}
    loaded.model.eval()

    def first_token() -> float:
        with torch.no_grad():
            return float(loaded.model(input_ids=ids).logits[0, -1, : len(loaded.tokenizer)].softmax(-1).max())

    combined: dict[str, float] = {}
    for how in ("ties", "dare"):
        with added(loaded.model, combine(states, scale, how, density=0.5, seed=42)):
            combined[how] = first_token()
    mixture = Mixture(loaded.model, everything, library.shape)

    def expected(weights: Any) -> float:
        with mixture.use(weights):
            return first_token()

    def spread(weights: Any) -> torch.Tensor:
        return torch.cat([torch.as_tensor(weights).float(), torch.zeros(1, 1)], 1)

    routed = {
        layer: torch.cat([w, torch.zeros(1, 1, w.shape[2])], 1) for layer, w in router.weights(vector).items()
    }
    wanted = {
        "base": torch.zeros(1, 3),
        "shared": torch.eye(3)[2:3],
        "uniform": spread([[0.5, 0.5]]),
        "nearest": spread(torch.eye(2)[member.argmax(1)]),
        "membership": spread(member),
        "router-default": routed,
    }

    async def ask(name: str) -> float:
        async with _backend(bench, name, place) as backend:
            (experts,) = _weigh(bench, name, [task.problem], {"router-default": router})
            request = ChatRequest(row.prompt, experts, max_tokens=1)
            (reply,) = await backend.generate([request])
            return reply.probability

    bench.embed([task.problem])
    found = {name: asyncio.run(ask(name)) for name in (*wanted, *combined)}
    alone = {name: expected(weights) for name, weights in wanted.items()} | combined
    assert found == pytest.approx(alone, rel=2e-6)
    assert len({round(value, 9) for value in found.values()}) >= 6  # The check can tell them apart.


def test_xlora_writes_with_a_cache_what_peft_writes_without(place: Path, base: str) -> None:
    loaded, library = load_base(base, dtype="float32"), ExpertLibrary(place / "library")
    rows = reference_rows(known_solutions(list(load_tasks(str(place / "new.jsonl")))))
    requests = [ChatRequest(row.prompt, max_tokens=6 + 3 * n) for n, row in enumerate(rows)]

    async def written(model: Any) -> list[ChatReply]:
        return await XLoraBackend(model, loaded.tokenizer).generate(requests)

    with xlora(loaded.model, library, library.names) as model:
        with torch.no_grad():
            for parameter in classifier(model).values():  # So that tokens do differ in their weights.
                parameter.normal_(generator=torch.Generator().manual_seed(5))
        replies = asyncio.run(written(model))
        for request, reply in zip(requests, replies, strict=True):
            messages = [dict(message) for message in request.messages]
            ids = loaded.tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            own = model.generate(**ids, max_new_tokens=request.max_tokens, do_sample=False)
            new = own[0, ids["input_ids"].shape[1] :]
            assert reply.text == loaded.tokenizer.decode(new, skip_special_tokens=True)
            assert reply.completion_tokens == len(new)
            assert reply.finish == ("stop" if new[-1] == loaded.tokenizer.eos_token_id else "length")
            # Greedy tokens tell little on so small a base: step by step, the logits are those of one pass.
            with torch.no_grad():
                whole, cache = model(**ids, use_cache=False).logits, TwoPasses(model.config)
                steps = [
                    model(input_ids=part, use_cache=True, **{cache_argument(model): cache}).logits
                    for part in ids["input_ids"].split(7, dim=1)
                ]
            torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=0, atol=1e-5)
    assert len({reply.text for reply in replies}) > 1
