"""Four experts in one pass, against one plain peft run and four peft runs one after another.

    python benchmarks/train.py --data DATA --base local:smollm2-135m --out benchmarks/results/train.json

All ways train on the same rows of MBPP with the same LoRA, AdamW and clipping, in the same number of steps:

plain         peft and the usual loop: one adapter, every step the rows of all four experts, with the
              attention mask and `labels`
plain+head    the same, but with the output layer only where a completion token is predicted: what a
              careful user of peft can do
one-adapter   this package with one adapter, on the same rows
one-pass      this package: four experts, each row with its own
one-by-one    four peft runs: each expert alone on its own rows, a quarter of each step's rows
with-shared   one-pass and, in the same pass, an adapter trained on all rows: twice the tokens

Each way runs in a process of its own, which measures its peak memory; the ways take turns, and times are CPU
seconds of one thread on a CPU, so that other work on the machine counts little, and wall seconds on a GPU.
The least of the rounds is reported: what else runs on a machine only ever adds.
"""

import argparse
import gzip
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

WAYS = ("plain", "plain+head", "one-adapter", "one-pass", "one-by-one", "with-shared")
EXPERTS = 4
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


# --- the same work for all ------------------------------------------------------------------------


def read_rows(data: Path, count: int) -> list[Any]:
    from bdc_agents.search.traces import Row

    with gzip.open(data / "mbpp" / "mbpp.jsonl.gz", "rt") as file:
        problems = [json.loads(line) for line in file][:count]
    return [
        Row(
            kind="direct",
            problem_id=str(p["task_id"]),
            prompt=(
                {
                    "role": "user",
                    "content": f"{p['text']}\nYour code must pass:\n" + "\n".join(p["test_list"]),
                },
            ),
            completion=f"```python\n{p['code'].strip()}\n```",
        )
        for p in problems
    ]


def work(options: argparse.Namespace) -> tuple[Any, list[Any], list[list[list[int]]]]:
    """The base, the rows, and for each step the rows of each expert."""
    from bdc_agents.distill.training.rows import encode_rows
    from bdc_agents.experts.base import load_base

    base = load_base(options.base, dtype=options.dtype)
    count = options.steps * options.batch * EXPERTS
    rows = read_rows(options.data, count)
    clusters = [n % EXPERTS for n in range(count)]
    encoded = encode_rows(rows, clusters, base.tokenizer, max_length=options.length, validation=0)
    own = [[n for n, row in enumerate(encoded.train) if row.cluster == k] for k in range(EXPERTS)]
    steps = [
        [members[step * options.batch : (step + 1) * options.batch] for members in own]
        for step in range(options.steps)
    ]
    return base, list(encoded.train), steps


def plain_loop(model: Any, rows: list[Any], batches: list[list[int]], options: Any, *, head: bool) -> None:
    """Trains with peft as its documentation does, with the rows of a batch by length and in passes."""
    import torch

    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=5e-4, weight_decay=0.0)
    model.train()
    for batch in batches:
        learnt = sum(rows[n].target_tokens for n in batch)
        for part in cut(sorted(batch, key=lambda n: -len(rows[n].ids)), rows, options.tokens):
            ids, mask, labels = collate([rows[n] for n in part], model.device)
            if head:
                loss = completion_loss(model, ids, mask, labels)
            else:
                loss = model(
                    input_ids=ids, attention_mask=mask, labels=labels, num_items_in_batch=learnt
                ).loss
            (loss / learnt if head else loss).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()


def completion_loss(model: Any, ids: Any, mask: Any, labels: Any) -> Any:
    """The summed loss, with logits only from the first completion token of the pass on."""
    import torch

    width = ids.shape[1]
    first = int((labels != -100).any(0).nonzero()[0]) - 1
    logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=width - first).logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels[:, first + 1 :].flatten(), reduction="sum", ignore_index=-100
    )


def cut(order: list[int], rows: list[Any], tokens: int) -> Iterator[list[int]]:
    part: list[int] = []
    for n in order:
        if part and len(rows[part[0]].ids) * (len(part) + 1) > tokens:
            yield part
            part = []
        part.append(n)
    yield part


def collate(rows: list[Any], device: Any) -> tuple[Any, Any, Any]:
    import torch

    width = max(len(row.ids) for row in rows)
    pads = [width - len(row.ids) for row in rows]
    ids = [[*row.ids, *[0] * pad] for row, pad in zip(rows, pads, strict=True)]
    mask = [[1] * len(row.ids) + [0] * pad for row, pad in zip(rows, pads, strict=True)]
    labels = [
        [-100] * row.start + list(row.ids[row.start :]) + [-100] * pad
        for row, pad in zip(rows, pads, strict=True)
    ]
    return tuple(torch.tensor(part, device=device) for part in (ids, mask, labels))  # type: ignore[return-value]


# --- the ways -------------------------------------------------------------------------------------


def plain_way(
    base: Any, rows: list[Any], runs: list[list[list[int]]], options: Any, head: bool
) -> Callable[[], None]:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=8, lora_alpha=16, target_modules=list(TARGETS), task_type="CAUSAL_LM")

    def train() -> None:
        for batches in runs:
            model = get_peft_model(base.model, config)
            plain_loop(model, rows, batches, options, head=head)
            model.unload()

    return train


def own_way(
    base: Any, rows: list[Any], steps: list[dict[int, list[int]]], experts: int, options: Any
) -> Callable[[], None]:
    from bdc_agents.distill.recipe import TrainConfig
    from bdc_agents.distill.training.batches import plan_step
    from bdc_agents.distill.training.learner import Learner
    from bdc_agents.distill.training.loss import RowLoss
    from bdc_agents.experts.lora import StackedAdapters

    config = TrainConfig(targets=TARGETS, tokens_per_pass=options.tokens, batch=options.batch)
    base.model.train()

    def train() -> None:
        adapters = StackedAdapters(base.model, [f"e{n}" for n in range(experts)], config)
        learners = [
            Learner(name, n, list(range(len(rows))), [], adapters.weights[n], adapters.grads[n], config)
            for n, name in enumerate(adapters.names)
        ]
        loss = RowLoss(adapters, rows)
        for step in steps:
            adapters.grads.zero_()
            for items in plan_step(step, rows, options.tokens).passes:
                loss(items, learn=True)
            for n in step:
                learners[n].update(learners[n].norm())
        adapters.detach()

    return train


def prepare(way: str, options: argparse.Namespace) -> tuple[Callable[[], None], int, Any]:
    """What to run, and how many tokens it trains on."""
    base, rows, steps = work(options)
    merged = [[n for own in step for n in own] for step in steps]
    tokens = sum(len(rows[n].ids) for batch in merged for n in batch)
    if way in ("plain", "plain+head"):
        return plain_way(base, rows, [merged], options, way == "plain+head"), tokens, base
    if way == "one-by-one":
        runs = [[step[k] for step in steps] for k in range(EXPERTS)]
        return plain_way(base, rows, runs, options, head=False), tokens, base
    if way == "one-adapter":
        return own_way(base, rows, [{0: batch} for batch in merged], 1, options), tokens, base
    mixed = [dict(enumerate(step)) for step in steps]
    if way == "one-pass":
        return own_way(base, rows, mixed, EXPERTS, options), tokens, base
    shared = [step | {EXPERTS: batch} for step, batch in zip(mixed, merged, strict=True)]
    return own_way(base, rows, shared, EXPERTS + 1, options), 2 * tokens, base


def child(options: argparse.Namespace) -> None:
    """Runs one way, on a GPU after a run that only warms up."""
    import torch

    torch.set_num_threads(1)
    if options.way == "layouts":
        print(json.dumps(layouts()))
        return
    train, tokens, base = prepare(options.way, options)
    gpu = base.model.device.type == "cuda"
    if gpu:
        torch.cuda.reset_peak_memory_stats()
        train()
        torch.cuda.synchronize()
    cpu, wall = time.process_time(), time.perf_counter()
    train()
    if gpu:
        torch.cuda.synchronize()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = (
        torch.cuda.max_memory_allocated()
        if gpu
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    print(json.dumps({"cpu": cpu, "wall": wall, "tokens": tokens, "peak": peak, "gpu": gpu}))


# --- one layer ------------------------------------------------------------------------------------


def layouts(
    inputs: int = 576, outputs: int = 1536, rows: int = 20, length: int = 64, experts: int = 5
) -> Any:
    """Milliseconds of CPU, forward and backward, of one layer with a LoRA in each of several layouts."""
    import torch

    rank, experts = 8, 5
    order, base = (torch.arange(rows) % experts).sort().values, torch.randn(outputs, inputs)
    a = torch.randn(experts, rank, inputs, requires_grad=True)
    b = torch.randn(experts, rank, outputs, requires_grad=True)
    x, above = torch.randn(rows, length, inputs, requires_grad=True), torch.randn(rows, length, outputs)
    parts = [slice(int((order < e).sum()), int((order <= e).sum())) for e in range(experts)]
    mask = torch.nn.functional.one_hot(order, experts).float().repeat_interleave(rank, 1)[:, None]

    def frozen() -> Any:
        return torch.nn.functional.linear(x, base)

    def by_expert(y: Any) -> Any:
        return torch.cat([y[p] + ((x[p] @ a[e].T) @ b[e]) * 2.0 for e, p in enumerate(parts)])

    ways: dict[str, Callable[[], Any]] = {
        "base alone": frozen,
        "one adapter, as peft": lambda: frozen() + ((x @ a[0].T) @ b[0]) * 2.0,
        "rows by expert, a product each": lambda: by_expert(frozen()),
        "all experts for all rows, masked": lambda: (
            frozen() + 2.0 * ((x @ a.flatten(0, 1).T) * mask) @ b.flatten(0, 1)
        ),
        "each row its own, batched (used)": lambda: torch.baddbmm(
            frozen(), torch.bmm(x, a[order].mT), b[order], alpha=2.0
        ),
    }
    found = {}
    for name, way in ways.items():
        times = []
        for _ in range(9):
            start = time.process_time()
            way().backward(above)
            times.append(time.process_time() - start)
        found[name] = round(min(times) * 1e3, 2)
    return found


# --- the comparison -------------------------------------------------------------------------------


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All ways, after each round."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for number in range(options.rounds):
        for way in WAYS if number % 2 == 0 else reversed(WAYS):
            found[way].append(run(way))
            print(f"round {number + 1} {way:12}", found[way][-1], file=sys.stderr, flush=True)
        yield {way: summary(runs) for way, runs in found.items()}


def run(way: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--way", way, *sys.argv[1:]]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(out.splitlines()[-1])


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    clock = "wall" if runs[0]["gpu"] else "cpu"
    best = min(run[clock] for run in runs)
    return {
        "tokens": runs[0]["tokens"],
        f"{clock}_seconds": round(best, 2),
        "rounds": [round(run[clock], 2) for run in runs],
        "tokens_per_second": round(runs[0]["tokens"] / best, 1),
        "peak_mb": round(min(run["peak"] for run in runs) / 1e6),
    }


def report(ways: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    clock = next(key for key in ways["plain"] if key.endswith("_seconds"))
    plain, single = ways["plain"][clock], ways["plain"]["peak_mb"]
    shown = ("base", "dtype", "steps", "batch", "tokens")
    return {
        "command": "python benchmarks/train.py " + " ".join(sys.argv[1:]),
        "machine": f"{platform.machine()}, one thread",
        "settings": {key: getattr(options, key) for key in shown} | {"experts": EXPERTS, "targets": TARGETS},
        "ways": ways,
        "times_one_plain_run": {way: round(facts[clock] / plain, 3) for way, facts in ways.items()},
        "memory_of_one_plain_run": {way: round(facts["peak_mb"] / single, 3) for way, facts in ways.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--base", default="local:smollm2-135m")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4, help="rows of one expert in a step")
    parser.add_argument("--tokens", type=int, default=1024, help="padded tokens in one forward pass")
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--way", choices=(*WAYS, "layouts"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        child(options)
        return
    layers = run("layouts")
    for ways in measure(options):
        text = json.dumps(report(ways, options) | {"one_layer_cpu_ms": layers}, indent=2)
        print(text)
        if options.out:
            options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
