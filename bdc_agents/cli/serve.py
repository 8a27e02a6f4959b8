"""`bdc serve`: a library behind an OpenAI-compatible endpoint."""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from bdc_agents.cli.outcome import SOLVED, guarded, note
from bdc_agents.errors import ConfigError, ModelError

KEY = "BDC_API_KEY"
EXAMPLES = (
    "bdc serve experts/library/mine",
    "BDC_API_KEY=... bdc serve experts/library/mine --host 0.0.0.0 --port 8000",
    "bdc serve experts/library/mine --base local:smollm2-135m --slots 4 --context 4096",
    "bdc serve experts/library/mine --backend llama.cpp",
    "VLLM_API_KEY=... bdc serve experts/library/mine --backend vllm --url http://127.0.0.1:8000",
)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


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
    key = _key(host, no_key)
    _need()
    from bdc_agents.serve.api import create_app
    from bdc_agents.serve.guard import ServerLimits
    from bdc_agents.serve.routed import RoutedModel
    from bdc_agents.serve.server import listen, serve_forever

    limits = ServerLimits(requests=requests, seconds=seconds)
    with listen(host, port) as place:
        model = RoutedModel.from_library(
            library,
            backend,
            base=base,
            device=device,
            slots=slots,
            context=context,
            url=url,
            adapters=adapters,
        )
        app = create_app(model, key=key, limits=limits)
        shown = place.getsockname()[1]
        serve_forever(app, place, limits, lambda: _announce(host, shown, model.names, key))
    note("stopped")
    return SOLVED


def _key(host: str, no_key: bool) -> str | None:
    """The key that callers need: the environment's, or a fresh one.

    Raises:
        ConfigError: If others could reach a server without a key, or the key is too short.
    """
    if no_key:
        if host not in _LOOPBACK:
            raise ConfigError(
                f"--no-key lets everyone who reaches {host} use the model; drop it, or serve on 127.0.0.1"
            )
        return None
    key = os.environ.get(KEY)
    if key is not None and len(key) < 16:
        raise ConfigError(
            f"the key in {KEY} has {len(key)} characters; take at least 16, or unset it for a fresh one"
        )
    return key or secrets.token_urlsafe(32)


def _need() -> None:
    for module in ("starlette", "uvicorn"):
        try:
            __import__(module)
        except ModuleNotFoundError:
            raise ModelError(f"{module} is not installed; run: pip install 'bdc-agents[serve]'") from None


def _announce(host: str, port: int, models: Sequence[str], key: str | None) -> None:
    address = f"[{host}]" if ":" in host else host
    note(f"listening at http://{address}:{port}/v1")
    note(f"models: {', '.join(models)}")
    if key is None:
        note("no API key is asked for")
    elif os.environ.get(KEY):
        note(f"API key: the one in {KEY}")
    else:
        note(f"API key, shown this once: {key}")
