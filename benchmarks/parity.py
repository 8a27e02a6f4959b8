"""Whether every backend says what transformers says, and what another mixture costs it.

Greedy replies to 50 prompts, each with a mixture of its own, by the library's experts on SmolLM2-135M
in float32: transformers, the reference; llama.cpp on the same weights as a float32 GGUF file, and on
the packaged 4-bit file, whose products are rounded otherwise; vLLM where a server is given. Weights are
by expert and multiples of 1/64, which is what vLLM's adapters are rounded to. Switching: the least time
of a reply of one token under the mixture before, and under one never seen.

    python benchmarks/parity.py --library LIBRARY --out benchmarks/results/parity.json
    python benchmarks/parity.py --library LIBRARY --vllm http://127.0.0.1:8000   # VLLM_API_KEY is its key
"""

import argparse
import asyncio
import json
import platform
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

VERBS = ("adds", "sorts", "reverses", "counts", "compares", "filters", "splits", "joins", "rounds", "finds")
NOUNS = ("two numbers", "a list of words", "the digits of n", "the rows of a matrix", "a dictionary by value")
PROMPTS = [f"Write a Python function that {verb} {noun}." for verb in VERBS for noun in NOUNS]
GRID = 64


def plain_library(source: Path, target: Path, base: dict[str, str]) -> Path:
    """A copy without router, since weights are given here, and with its base at another place."""
    from bdc_agents.experts.library import ExpertLibrary
    from bdc_agents.experts.manifest import write_manifest

    shutil.copytree(source, target)
    manifest = ExpertLibrary(target).manifest
    files = {k: v for k, v in manifest.files.items() if k not in ("router.safetensors", "clusters.json")}
    write_manifest(target, manifest.model_copy(update={"base": manifest.base | base, "files": files}))
    return target


def in_float32(source: Path, target: Path) -> Path:
    """A GGUF file with every tensor unpacked; what a quantised file stands for."""
    import gguf

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, str(reader.fields["general.architecture"].contents()))
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        value = gguf.LlamaFileType.ALL_F32 if name == "general.file_type" else field.contents()
        writer.add_key_value(name, value, kind, inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def mixtures(names: tuple[str, ...], count: int) -> list[Any]:
    from bdc_agents.serve import ExpertWeights

    draws = random.Random(0)
    return [ExpertWeights({name: draws.randrange(GRID) / GRID for name in names}) for _ in range(count)]


async def replies(model: Any, options: argparse.Namespace) -> tuple[list[Any], float]:
    from bdc_agents.serve import ChatRequest

    weights = mixtures(model.experts, len(PROMPTS))
    asked = [
        ChatRequest([{"role": "user", "content": text}], own, max_tokens=options.tokens)
        for text, own in zip(PROMPTS[: options.prompts], weights, strict=False)
    ]
    began = time.perf_counter()
    return await model.backend.generate(asked), time.perf_counter() - began


async def switching(model: Any, rounds: int) -> dict[str, float]:
    """Milliseconds of one token, under the mixture before and under a new one."""
    from bdc_agents.serve import ChatRequest

    weights = mixtures(model.experts, 100)[-rounds - 1 :]
    found: dict[str, list[float]] = {"same": [], "new": []}
    number = 0
    for own in weights:
        for way in ("new", "same"):
            number += 1
            asked = ChatRequest([{"role": "user", "content": f"{number} times?"}], own, max_tokens=1)
            began = time.perf_counter()
            await model.backend.generate([asked])
            found[way].append(1000 * (time.perf_counter() - began))
    same, new = (min(found[way][1:]) for way in ("same", "new"))
    return {
        "same_mixture_ms": round(same, 1),
        "new_mixture_ms": round(new, 1),
        "cost_ms": round(new - same, 1),
    }


async def measured(model: Any, reference: list[Any], options: argparse.Namespace) -> dict[str, Any]:
    try:
        found, seconds = await replies(model, options)
        told: dict[str, Any] = {"seconds": round(seconds, 1)}
        if reference:
            equal = [own.text == theirs.text for own, theirs in zip(found, reference, strict=True)]
            told["equal_texts"] = f"{sum(equal)} of {len(equal)}"
            gaps = [
                abs(own.probability - theirs.probability)
                for own, theirs, same in zip(found, reference, equal, strict=True)
                if same
            ]
            told["largest_gap_of_mean_probability"] = round(max(gaps, default=0.0), 5)
        else:
            reference += found
        told["switching"] = await switching(model, options.rounds)
    finally:
        await model.aclose()
    print(json.dumps(told), file=sys.stderr)
    return told


async def report(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from bdc_agents.agents.local import fetch, find
    from bdc_agents.serve import RoutedModel

    packaged = await fetch(find("smollm2-135m"))
    exact = in_float32(packaged, folder / "exact.gguf")
    library = plain_library(options.library, folder / "library", {})
    other = plain_library(options.library, folder / "other", {"name": str(exact), "sha256": ""})
    ways: dict[str, Any] = {
        "transformers, float32": (library, "transformers", {"dtype": "float32", "device": "cpu"}),
        "vllm, float32": (library, "vllm", {"url": options.vllm, "adapters": folder / "mixtures"}),
        "llama.cpp, float32": (other, "llama.cpp", {"dtype": "float32", "context": 1024}),
        "llama.cpp, packaged 4 bits": (library, "llama.cpp", {"context": 1024}),
    }
    reference: list[Any] = []
    told = {
        "command": "python benchmarks/parity.py " + " ".join(sys.argv[1:]),
        "machine": f"{platform.machine()}, shared with other work: times are upper bounds",
        "prompts": options.prompts,
        "tokens": options.tokens,
        "ways": {},
    }
    for name, (place, backend, given) in ways.items():
        if backend == "vllm" and not options.vllm:
            continue
        print(name, file=sys.stderr)
        model = await asyncio.to_thread(RoutedModel.from_library, place, backend, **given)
        told["ways"][name] = await measured(model, reference, options)
        told["different_replies_of_the_reference"] = len({reply.text for reply in reference})
        if options.out:
            options.out.write_text(json.dumps(told, indent=2) + "\n")
    return told


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--library", type=Path, required=True, help="of SmolLM2-135M (local:smollm2-135m)")
    parser.add_argument("--vllm", metavar="URL", help="of a server of the unpacked base, in float32")
    parser.add_argument("--prompts", type=int, default=len(PROMPTS))
    parser.add_argument("--tokens", type=int, default=24, help="of each reply")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(report(options, Path(folder))), indent=2))


if __name__ == "__main__":
    main()
