"""Every method's reply to every problem, written in batches; each is kept as soon as it is there."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bdc_agents.evaluate.library.bench import Bench
from bdc_agents.evaluate.library.config import COMBINED, PEERS
from bdc_agents.evaluate.library.journal import Journal
from bdc_agents.evaluate.library.losses import WORK
from bdc_agents.evaluate.library.peers import XLoraBackend, arrow, train_xlora, xlora
from bdc_agents.experts.merging import added, combine
from bdc_agents.experts.router import Router, ownership
from bdc_agents.prompts import write_program
from bdc_agents.serve.backends.protocol import ChatReply, ChatRequest, ExpertWeights, PromptTooLong
from bdc_agents.serve.backends.transformers.backend import TransformersBackend
from bdc_agents.serve.routed_model import RoutedModel
from bdc_agents.types import Frozen, Problem, Task

REPLIES_FILE = "replies.jsonl"
_ROLES = {"system": "system", "human": "user", "ai": "assistant"}
Weighed = ExpertWeights | str | None
"""A mixture, one expert, or the base alone."""


class ReplyLine(Frozen):
    """One method's reply to one problem.

    Args:
        finish: `stop` at the end of the turn, `length` at the token limit, `prompt` where the prompt
            leaves no room for a reply.
        began, ended: In seconds since 1970; replies of one batch overlap.
    """

    method: str
    problem: str
    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish: str = "stop"
    began: float = 0.0
    ended: float = 0.0


OnReply = Callable[[ReplyLine], None]


def open_replies(out: Path) -> Journal[ReplyLine]:
    """The replies of a comparison."""
    return Journal(out / REPLIES_FILE, ReplyLine, "method", "problem")


def tokens_per_second(lines: Sequence[ReplyLine]) -> float | None:
    """Tokens written in a second of the time in which some reply was being written; None without any."""
    busy, until = 0.0, float("-inf")
    for line in sorted(lines, key=lambda line: line.began):
        busy += max(0.0, line.ended - max(line.began, until))
        until = max(until, line.ended)
    return sum(line.completion_tokens for line in lines) / busy if busy else None


async def write_replies(
    bench: Bench,
    names: Sequence[str],
    tasks: Sequence[Task],
    routers: Mapping[str, Router],
    out: Path,
    journal: Journal[ReplyLine],
    on_reply: OnReply = lambda _: None,
) -> None:
    """Writes the replies that are missing, one method after another.

    Args:
        names: Of the methods.
        routers: By method.
        out: The folder of the comparison, with what was trained for it.
        journal: Of `open_replies`.
        on_reply: Told of each reply.

    Raises:
        ModelError: If a method cannot be had.
    """
    left = {
        name: problems
        for name in names
        if (problems := [task.problem for task in tasks if (name, task.problem.id) not in journal.lines])
    }
    own = [name for name in left if name not in (*COMBINED, *PEERS)]
    if not left:
        return
    # In a thread, since what loads them waits for coroutines itself; and before experts are attached,
    # which an encoder that is the base would meet.
    await asyncio.to_thread(lambda: (bench.base, own and bench.embed([task.problem for task in tasks])))
    for group in [own, *([name] for name in left if name not in own)]:
        if not group:
            continue
        async with _backend(bench, group[0], out) as backend:
            for name in group:
                bench.say(f"writing programs with {name}")
                weighed = _weigh(bench, name, left[name], routers)
                await _write(bench, name, left[name], weighed, backend, journal, on_reply)


async def _write(
    bench: Bench,
    name: str,
    problems: Sequence[Problem],
    weighed: Sequence[Weighed],
    backend: Any,
    journal: Journal[ReplyLine],
    on_reply: OnReply,
) -> None:
    """The replies of one method; the engine takes in the next problem as soon as a reply is done."""
    size = bench.config.batch if isinstance(backend, XLoraBackend) else 1
    pairs = [*zip(problems, weighed, strict=True)]
    groups = [pairs[start : start + size] for start in range(0, len(pairs), size)]

    async def one(group: Sequence[tuple[Problem, Weighed]]) -> None:
        requests = [_request(problem, experts, bench.config.max_tokens) for problem, experts in group]
        began = time.time()
        replies = await _generate(backend, requests)
        for (problem, _), reply in zip(group, replies, strict=True):
            line = _line(name, problem, reply, began)
            journal.add(line)
            on_reply(line)

    work = [asyncio.ensure_future(one(group)) for group in groups]
    try:
        await asyncio.gather(*work)
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


async def _generate(backend: Any, requests: Sequence[ChatRequest]) -> Sequence[ChatReply | None]:
    """The replies; None for a prompt that leaves no room for one."""
    try:
        return await backend.generate(requests)
    except PromptTooLong:
        if len(requests) == 1:
            return [None]
        return [reply for request in requests for reply in await _generate(backend, [request])]


def _line(name: str, problem: Problem, reply: ChatReply | None, began: float) -> ReplyLine:
    facts: dict[str, Any] = {"method": name, "problem": problem.id, "began": began, "ended": time.time()}
    if reply is None:
        return ReplyLine(text="", finish="prompt", **facts)
    return ReplyLine(
        text=reply.text,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        finish=reply.finish,
        **facts,
    )


def _request(problem: Problem, experts: Weighed, max_tokens: int) -> ChatRequest:
    """The prompt as it was in training, answered greedily."""
    messages = [
        {"role": _ROLES[message.type], "content": str(message.content)}
        for message in write_program(problem, ())
    ]
    return ChatRequest(messages, experts, max_tokens=max_tokens)


# --- how each method answers --------------------------------------------------------------------


def _weigh(
    bench: Bench, name: str, problems: Sequence[Problem], routers: Mapping[str, Router]
) -> Sequence[Weighed]:
    """What each problem meets, for the methods that share the library's backend."""
    if name in (*COMBINED, *PEERS, "base"):
        return [None] * len(problems)
    if name in bench.library.names:
        return [name] * len(problems)
    vectors = bench.embed(problems)
    if name in routers:
        return _routed(routers[name], vectors)
    experts, shares = ownership(bench.library, bench.clustered.count)
    if name == "uniform":
        return [ExpertWeights(dict.fromkeys(experts, 1 / len(experts)), by="clusters")] * len(problems)
    member = torch.from_numpy(bench.clustered.place(vectors.numpy())) @ shares
    if name == "nearest":
        return [experts[number] for number in member.argmax(1).tolist()]
    return [ExpertWeights(dict(zip(experts, row, strict=True)), by="clusters") for row in member.tolist()]


def _routed(router: Router, vectors: torch.Tensor) -> list[Weighed]:
    layers = router.cpu().eval().weights(vectors)
    found: list[Weighed] = []
    for number in range(len(vectors)):
        own = {layer: weights[number] for layer, weights in layers.items()}
        means = torch.stack([own[layer].mean(-1) for layer in router.routed]).mean(0)
        found.append(ExpertWeights(dict(zip(router.experts, means.tolist(), strict=True)), own))
    return found


@asynccontextmanager
async def _backend(bench: Bench, name: str, out: Path) -> AsyncIterator[Any]:
    """What answers for a method, freed at the end."""
    with ExitStack() as stack:
        if name == "xlora":
            yield XLoraBackend(stack.enter_context(_xlora(bench, out)), bench.base.tokenizer)
            return
        if name == "arrow":
            experts, _ = ownership(bench.library, bench.clustered.count)
            backend = _engine(bench, stack.enter_context(arrow(bench.base.model, bench.library, experts)))
        else:
            make = partial(_combined, bench, name) if name in COMBINED else partial(_library, bench)
            backend = await asyncio.to_thread(make)
        try:
            yield backend
        finally:
            await backend.aclose()


@contextmanager
def _xlora(bench: Bench, out: Path) -> Iterator[Any]:
    """peft's X-LoRA as it was trained when its loss was measured; here its checkpoint is read."""
    experts, _ = ownership(bench.library, bench.clustered.count)
    with xlora(bench.base.model, bench.library, experts) as adapted:
        training, config = bench.encode(bench.rows), bench.router_config("router-default")
        train_xlora(adapted, training, config, out / WORK / "xlora")
        yield adapted


def _library(bench: Bench) -> Any:
    """All experts at once, as the library is served."""
    encoder = bench.encoder if bench.clusters else None  # One expert takes every problem.
    served = RoutedModel.from_library(
        bench.library.folder, base=bench.base, encoder=encoder, slots=bench.config.batch
    )
    return served.backend


def _combined(bench: Bench, name: str) -> TransformersBackend:
    """The base with what TIES or DARE makes of all experts in its weights."""
    library, base, stack = bench.library, bench.base, ExitStack()
    experts, _ = ownership(library, bench.clustered.count)
    parts = [library.weights(expert) for expert in experts]
    how = "ties" if name == "ties" else "dare"
    deltas = combine(parts, library.shape.scale, how, density=bench.config.density, seed=bench.routing.seed)
    # In use until the backend is closed, which holds on to the stack.
    stack.enter_context(added(base.model, deltas))
    return _engine(bench, base.model, detach=stack.close)


def _engine(bench: Bench, model: Any, detach: Callable[[], object] = lambda: None) -> TransformersBackend:
    return TransformersBackend(
        model,
        bench.base.tokenizer,
        (),
        lambda _: nullcontext(),
        identity="",
        slots=bench.config.batch,
        detach=detach,
    )
