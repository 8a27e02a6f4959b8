"""The script that runs llama.cpp's server in a process of its own, for its parent alone.

It imports no package of ours. It reads its settings as a line of JSON, writes its address as another,
and ends when its standard input ends, so it never outlives its parent. The key comes with the settings,
because other users of the machine can read a command line.
"""

import json
import os
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any


def main() -> int:
    """Serves until standard input ends; returns the exit code."""
    settings = json.loads(sys.stdin.readline())
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # llama.cpp's own prints go to the log, not into the answer.
    try:
        server = _start(settings)
    except RuntimeError:  # llama.cpp has said why, in the log.
        return 1
    print(json.dumps({"url": server.listening_address}), file=out, flush=True)
    sys.stdin.read()
    os._exit(0)  # Nobody waits for an answer, so nothing needs to wind down.


def _start(settings: dict[str, Any]) -> Any:
    xllamacpp: Any = import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = settings["model"]
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["tokens"]
    params.kv_unified = params.cont_batching = params.cache_prompt = True
    # llama.cpp tells kept prompts apart by their tokens alone, so it would reuse one of another mixture.
    params.cache_ram_mib = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    params.verbosity = 1  # Errors only, so that no prompt enters the log.
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 0.0) for path in settings["adapters"]]
    if settings["float32"]:
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    _local_serve().close_to_others(params, settings["key"])
    return xllamacpp.Server(params)


def _local_serve() -> Any:
    """The script that serves local models; it has the same defence against other users of the machine."""
    path = Path(__file__).parents[3] / "agents" / "local" / "process.py"
    spec = spec_from_file_location("local_serve", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
