"""Tokens a second of a mixture of experts, against one plain LoRA of peft and against X-LoRA.

All ways run in one process on one thread, by turns, on the same base with random adapters of the
same shape; CPU seconds, the least of all rounds. `generate` reads a prompt and writes new tokens
greedily with a cache (peft's X-LoRA uses none); `read` is one forward pass over a longer prompt.

    python benchmarks/mix.py --out benchmarks/results/mix.json
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

COUNTS = (4, 8, 16)
RANK, ALPHA = 8, 16.0
Way = Callable[[], Any]


class Bench:
    """A base, and the states of random experts for it."""

    def __init__(self, options: argparse.Namespace) -> None:
        import torch

        from bdc_agents.experts.base import load_base
        from bdc_agents.experts.lora import StackedAdapters
        from bdc_agents.experts.manifest import AdapterConfig

        self.options = options
        self.model = load_base(options.base, dtype=options.dtype).model.eval()
        self.config = AdapterConfig(rank=RANK, alpha=ALPHA)
        names = [f"e{n}" for n in range(max(COUNTS))]
        adapters = StackedAdapters(self.model, names, self.config)
        adapters.weights.normal_(0, 0.01, generator=torch.Generator().manual_seed(0))
        self.states = {name: adapters.state_dict(n) for n, name in enumerate(names)}
        self.peft_config = adapters.peft_config | {"base_model_name_or_path": options.base}
        adapters.detach()

    def some(self, count: int) -> dict[str, Any]:
        return dict(list(self.states.items())[:count])

    def prompt(self, rows: int, length: int) -> Any:
        import torch

        return torch.randint(100, 10_000, (rows, length), generator=torch.Generator().manual_seed(1))

    def generate(self, model: Any, rows: int, **more: Any) -> int:
        """Writes new tokens; gives how many."""
        import torch

        ids, new = self.prompt(rows, self.options.prompt), self.options.tokens
        with torch.inference_mode():
            fixed = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "pad_token_id": 0}
            model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **fixed, **more)
        return rows * new

    def read(self, model: Any) -> int:
        import torch

        ids = self.prompt(1, self.options.read)
        with torch.inference_mode():
            model(input_ids=ids, use_cache=False, logits_to_keep=1)
        return ids.numel()

    # --- the ways: each gives a model that is ready -------------------------------------------------

    @contextmanager
    def lora(self) -> Iterator[Any]:
        from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

        config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM")
        adapted = get_peft_model(self.model, config).eval()
        set_peft_model_state_dict(adapted, self.states["e0"])
        try:
            yield adapted
        finally:
            adapted.unload()

    @contextmanager
    def mixture(self, count: int, rows: int, *, top: int | None = None, merge: bool = False) -> Iterator[Any]:
        import torch

        from bdc_agents.experts.mixture import Mixture

        mixture = Mixture(self.model, self.some(count), self.config)
        generator = torch.Generator().manual_seed(2)
        scores = torch.randn(len(mixture.layers), rows, count, RANK, generator=generator)
        if top is not None:
            scores[:, :, top:] = float("-inf")
        weights = dict(zip(mixture.layers, scores.softmax(2), strict=True))
        try:
            with mixture.merge(weights) if merge else mixture.use(weights):
                yield self.model
        finally:
            mixture.detach()

    @contextmanager
    def xlora(self, count: int) -> Iterator[Any]:
        from safetensors.torch import save_file

        from bdc_agents.evaluate.library.peers import xlora

        with tempfile.TemporaryDirectory() as folder:
            for name, state in self.some(count).items():
                home = Path(folder) / name
                home.mkdir()
                save_file(state, home / "adapter_model.safetensors")
                (home / "adapter_config.json").write_text(json.dumps(self.peft_config))

            class Folder:
                def adapter_folder(self, name: str) -> Path:
                    return Path(folder) / name

            with xlora(self.model, Folder(), list(self.some(count))) as adapted:  # type: ignore[arg-type]
                yield adapted

    def ways(self) -> dict[str, tuple[Callable[[], Any], int]]:
        """By name: what makes the model ready, and how many rows it generates for."""
        rows = self.options.rows
        ways: dict[str, tuple[Callable[[], Any], int]] = {}
        for number in (1, rows):
            batch = f", batch {number}"
            ways |= {
                "base" + batch: (lambda: nullcontext(self.model), number),
                "peft LoRA" + batch: (self.lora, number),
            }
            for count in COUNTS:
                ways[f"mixture of {count}{batch}"] = (
                    lambda count=count, number=number: self.mixture(count, number),
                    number,
                )
            ways[f"mixture of 16, top 4{batch}"] = (
                lambda number=number: self.mixture(16, number, top=4),
                number,
            )
        ways["mixture of 16, merged, batch 1"] = (lambda: self.mixture(16, 1, merge=True), 1)
        return ways


def measure(bench: Bench) -> dict[str, dict[str, Any]]:
    """CPU seconds of every way in every round."""
    found: dict[str, dict[str, Any]] = {}
    ways = bench.ways()
    for number in range(bench.options.rounds):
        names = list(ways) if number % 2 == 0 else list(reversed(ways))
        for name in names:
            ready, rows = ways[name]
            with ready() as model:
                one(found, name, "generate", lambda model=model, rows=rows: bench.generate(model, rows))
                if rows == 1:
                    one(found, name, "read", lambda model=model: bench.read(model))
            print(f"round {number + 1} {name:32}", found[name], file=sys.stderr, flush=True)
    for count in COUNTS:  # Without a cache each token reads all before it: once is enough.
        with bench.xlora(count) as model:
            name = f"peft X-LoRA of {count}, batch 1"
            one(found, name, "generate", lambda model=model: bench.generate(model, 1))
            one(found, name, "read", lambda model=model: bench.read(model))
            print(name, found[name], file=sys.stderr, flush=True)
    return found


def one(found: dict[str, dict[str, Any]], name: str, what: str, run: Callable[[], int]) -> None:
    start = time.process_time()
    tokens = run()
    entry = found.setdefault(name, {}).setdefault(what, {"tokens": tokens, "cpu_seconds": []})
    entry["cpu_seconds"].append(round(time.process_time() - start, 4))


def routing(bench: Bench) -> dict[str, Any]:
    """CPU milliseconds of routing one problem, and of switching the model to its mixture."""
    import torch

    from bdc_agents.experts.mixture import Mixture
    from bdc_agents.experts.router import Router, RouterFacts, RouterShape
    from bdc_agents.experts.tensors import adapted_layers

    found = {}
    for count in COUNTS:
        states = bench.some(count)
        facts = RouterFacts(
            shape=RouterShape(start="random"),
            layers=adapted_layers(states["e0"]),
            experts=dict.fromkeys(states, ""),
            rank=RANK,
            scale=bench.config.scale,
            clusters=count,
            size=384,
        )
        router, vector = Router(facts), torch.randn(1, 384)
        mixture = Mixture(bench.model, states, bench.config)
        weights = router.weights(vector)

        def switch(mixture: Any = mixture, weights: Any = weights) -> None:
            with mixture.use(weights):
                pass

        def merge(mixture: Any = mixture, weights: Any = weights) -> None:
            with mixture.merge(weights):
                pass

        found[f"{count} experts"] = {
            "route_ms": least(lambda router=router, vector=vector: router.weights(vector)),
            "switch_ms": least(switch),
            "merge_ms": least(merge, 3),
            "layers": len(mixture.layers),
            "router_parameters": sum(p.numel() for p in router.parameters()),
        }
        mixture.detach()
    return found


def layers() -> dict[str, Any]:
    """How fast one layer of models of several sizes is with a mixture, as a share of one LoRA of peft."""
    import torch
    from peft import LoraConfig
    from peft.tuners.lora import Linear

    from bdc_agents.experts.mixture import MixedLinear

    found: dict[str, Any] = {}
    for inputs, outputs in ((576, 1536), (896, 4864), (3584, 18944)):
        base = torch.nn.Linear(inputs, outputs, bias=False)
        config = LoraConfig(r=RANK, lora_alpha=ALPHA, init_lora_weights=False)
        peft = Linear(base, "default", config, r=RANK, lora_alpha=ALPHA).eval()
        mixed = {}
        for count in COUNTS:
            a, b = torch.randn(count * RANK, inputs), torch.randn(count * RANK, outputs)
            mixed[count] = MixedLinear("", base, a, b)
        for tokens in (1, 64):
            x = torch.randn(1, tokens, inputs)
            ways: dict[str, Way] = {"peft": lambda x=x, peft=peft: peft(x)}
            for count, layer in mixed.items():
                layer.use(torch.rand(1, count * RANK), None)
                ways[f"{count}"] = lambda x=x, layer=layer: layer(x)
            times = {name: [] for name in ways}
            with torch.inference_mode():
                for _ in range(9):
                    for name, way in ways.items():
                        times[name].append(seconds(way))
            best = {name: min(own) for name, own in times.items()}
            entry = found.setdefault(f"{inputs} x {outputs}", {})
            entry[f"{tokens} tokens"] = {
                n: round(best["peft"] / v, 3) for n, v in best.items() if n != "peft"
            }
    return found


def seconds(run: Way, repeat: int = 3) -> float:
    start = time.process_time()
    for _ in range(repeat):
        run()
    return time.process_time() - start


def least(run: Callable[[], Any], rounds: int = 15) -> float:
    times = []
    for _ in range(rounds):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return round(min(times) * 1e3, 2)


def report(found: dict[str, dict[str, Any]], bench: Bench) -> dict[str, Any]:
    """Tokens a second, and their share of what one plain LoRA of peft reaches at the same batch."""
    table: dict[str, Any] = {}
    for name, kinds in found.items():
        reference = "peft LoRA, " + name.rpartition(", ")[2]
        for what, entry in kinds.items():
            own, theirs = entry["cpu_seconds"], found[reference][what]["cpu_seconds"]
            table.setdefault(name, {})[what] = {
                "tokens_per_second": round(entry["tokens"] / min(own), 2),
                "of_one_lora": round(min(theirs) / min(own), 3),
                "of_one_lora_median": round(median(theirs) / median(own), 3),
                "rounds": own,
            }
    shown = ("base", "dtype", "prompt", "tokens", "read", "rows", "rounds")
    return {
        "command": "python benchmarks/mix.py " + " ".join(sys.argv[1:]),
        "machine": f"{platform.machine()}, one thread, CPU seconds",
        "settings": {key: getattr(bench.options, key) for key in shown} | {"rank": RANK},
        "ways": table,
        "routing": routing(bench),
        "one_layer_of_one_lora": layers(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="local:smollm2-135m")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--prompt", type=int, default=32, help="tokens of a prompt that is continued")
    parser.add_argument("--tokens", type=int, default=16, help="new tokens of each row")
    parser.add_argument("--read", type=int, default=128, help="tokens of a prompt that is only read")
    parser.add_argument("--rows", type=int, default=4, help="rows of the larger batch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    bench = Bench(options)
    text = json.dumps(report(measure(bench), bench), indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
