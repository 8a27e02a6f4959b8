"""`bdc serve`: a library behind an OpenAI-compatible endpoint."""

from pathlib import Path
from typing import Annotated

import typer

from bdc_agents.cli.exits import guarded

EXAMPLES = (
    "bdc serve experts/library/mine",
    "BDC_API_KEY=... bdc serve experts/library/mine --host 0.0.0.0 --port 8000",
    "bdc serve experts/library/mine --base local:smollm2-135m --slots 4 --context 4096",
    "bdc serve experts/library/mine --backend llama.cpp",
    "VLLM_API_KEY=... bdc serve experts/library/mine --backend vllm --url http://127.0.0.1:8000",
)


@guarded
def serve(
    library: Annotated[Path, typer.Argument(metavar="LIBRARY", help="A library of bdc distill.")],
    host: Annotated[
        str, typer.Option(help="Address to listen at; only this machine by default.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes one that is free.")] = 8765,
    backend: Annotated[
        str,
        typer.Option(help="transformers: in this process; llama.cpp: quantised, beside it; vllm: at --url."),
    ] = "transformers",
    url: Annotated[
        str | None, typer.Option(help="Of the vLLM server; its key comes from VLLM_API_KEY.")
    ] = None,
    adapters: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="For mixtures; the vLLM server must see it under the same path."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Where the base is, if not where the library says: local:NAME, a hub repository, a folder, "
            "a GGUF file; or its name at the vLLM server.",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Of transformers: cpu or cuda; a GPU where there is one.")
    ] = None,
    slots: Annotated[int, typer.Option(min=1, help="Replies written at once; more wait.")] = 8,
    context: Annotated[
        int | None, typer.Option(min=16, help="Tokens of prompt and reply together; less takes less memory.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Name by which clients may call the server, besides localhost; give it once for each. "
            "Behind a proxy: the proxy's. Where others can connect and none is given, any will do.",
        ),
    ] = None,
    requests: Annotated[int, typer.Option(min=1, help="Requests held at once; more get a 429.")] = 32,
    seconds: Annotated[float, typer.Option(min=1, help="Time limit of one request.")] = 300.0,
    no_key: Annotated[
        bool, typer.Option("--no-key", help="Ask for no API key; only where nobody else can connect.")
    ] = False,
) -> int:
    """Serve a library to every client that speaks OpenAI's chat protocol.

    Callers need the key in the environment variable BDC_API_KEY; without one, a key is made and
    shown once. The model `bdc` mixes the experts for each problem.
    """
    from bdc_agents.cli.serve import run

    return run(
        library,
        host,
        port,
        no_key=no_key,
        allow_host=allow_host or (),
        requests=requests,
        seconds=seconds,
        backend=backend,
        base=base,
        device=device,
        slots=slots,
        context=context,
        url=url,
        adapters=adapters,
    )
