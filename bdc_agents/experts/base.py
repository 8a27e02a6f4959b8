"""The base model that experts adapt: from the hub, a folder, or the packaged GGUF weights."""

import copy
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from bdc_agents.agents.local import fetch as fetch_weights
from bdc_agents.agents.local import find, models_folder
from bdc_agents.agents.local.agent import PREFIX
from bdc_agents.errors import ModelError, NotInstalled
from bdc_agents.experts.devices import Processes, choose_dtype
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.extras import need
from bdc_agents.sync import run_sync
from bdc_agents.types import Frozen
from bdc_agents.weights.files import Announce, check_file, digest
from bdc_agents.weights.packages import Progress, silent

log = logging.getLogger(__name__)


class BaseIdentity(Frozen):
    """Which base a library belongs to.

    Args:
        name: As the user gave it: `local:NAME`, a hub repository, a folder or a GGUF file.
        revision: The hub's commit; None for others.
        sha256: Of the GGUF file, or of the hashes of all weight files.
        parameters: How many numbers the model has.
        dtype: They were computed with in training.
        template: Hash of the tokenizer's chat template.
    """

    name: str
    revision: str | None = None
    sha256: str = ""
    parameters: int = 0
    dtype: str = ""
    quantize: str | None = None
    template: str = ""


@dataclass(frozen=True)
class Base:
    """A causal language model with its tokenizer."""

    model: Any
    tokenizer: Any
    identity: BaseIdentity


def load_base(
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    quantize: str | None = None,
    device: str | torch.device | None = None,
    folder: Path | None = None,
    progress: Progress = silent,
    announce: Announce = log.warning,
) -> Base:
    """Loads a base model and its tokenizer.

    GGUF weights are unpacked once, which takes a minute, and kept in the cache folder.

    Args:
        name: `local:NAME` of the packaged models, a hub repository such as
            `Qwen/Qwen2.5-Coder-7B-Instruct`, a folder of `save_pretrained`, or a GGUF file.
        revision: Branch, tag or commit on the hub.
        dtype: `float32`, `bfloat16`, or `auto` for bfloat16 where the hardware computes it.
        quantize: `nf4` to keep the weights in 4 bits.
        device: None for the GPU of this process, or the CPU.
        folder: Where models are kept; None for the user's cache folder.
        progress, announce: Told about downloads.

    Raises:
        ModelError: If there is no such model or it cannot be loaded.
    """
    need("transformers")
    place = torch.device(device) if device is not None else Processes().device
    folder = folder or models_folder()
    if name.startswith(PREFIX):
        model = find(name.removeprefix(PREFIX))
        file = run_sync(fetch_weights(model, folder, progress=progress, announce=announce))
        source, digests = _unpacked(file, folder), digest(file, folder)
    elif name.lower().endswith(".gguf"):
        file = check_file(Path(name))
        source, digests = _unpacked(file, folder), digest(file, folder)
    else:
        source, digests = name, digest_folder(Path(name), folder) if Path(name).is_dir() else ""
    options = _options(quantize, place) | {"dtype": choose_dtype(dtype, place), "revision": revision}
    model, tokenizer = _load(str(source), name, options)
    if quantize is None:
        model.to(place)
    return Base(model, tokenizer, _identify(name, model, tokenizer, digests, quantize))


def _load(source: str, name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    transformers, main = need("transformers"), options["revision"] or "main"
    # Both said aloud: where the first is left out, transformers asks whether to run the code that a model
    # names; the second has weights that are a pickle read as numbers alone, so that none of it runs.
    safe = {"trust_remote_code": False, "weights_only": True}
    given = {key: value for key, value in options.items() if value is not None} | safe
    try:
        with _quietly():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                source, revision=main, trust_remote_code=False
            )
            model = transformers.AutoModelForCausalLM.from_pretrained(source, **given)
    except Exception as error:  # Whatever transformers and torch make of files that somebody else wrote.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"base model {name!r} cannot be loaded: {reason:.300}; give a hub repository that this machine "
            "can reach, a folder of save_pretrained, a .gguf file, or local:NAME"
        ) from None
    return model, tokenizer


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the progress bars and deprecation warnings of transformers."""
    bars = need("transformers").utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if shown:
            bars.enable_progress_bar()


def _options(quantize: str | None, device: torch.device) -> dict[str, Any]:
    if quantize is None:
        return {}
    try:
        import bitsandbytes  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise NotInstalled(
            "quantize = 'nf4' needs bitsandbytes, which is not installed; run: "
            "pip install 'bdc-agents[qlora]', or leave quantize out"
        ) from None
    if device.type == "cpu":
        raise NotInstalled("quantize = 'nf4' needs a GPU, and this machine has none; leave quantize out")
    config = need("transformers").BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantize,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": config, "device_map": {"": device}}


def _unpacked(file: Path, folder: Path) -> Path:
    """The folder with the unpacked weights of a GGUF file; makes it where it is not there yet.

    Two processes that unpack the same file both succeed: the second finds the first one's folder.
    """
    target = folder / "unpacked" / f"{file.stem}-{digest(file, folder)[:16]}"
    if target.is_dir():
        return target
    transformers, _ = need("transformers"), need("gguf")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_room(file, target.parent)
    log.warning("unpacking %s to %s; this takes a minute, once", file.name, target)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        options = {"gguf_file": file.name, "dtype": torch.float32, "trust_remote_code": False}
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
        with _quietly():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                file.parent, gguf_file=file.name, trust_remote_code=False
            )
            model = transformers.AutoModelForCausalLM.from_pretrained(file.parent, **options)
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
        if not target.is_dir():
            temporary.rename(target)
    except (ValueError, KeyError, NotImplementedError) as error:
        raise ModelError(f"{file.name} cannot be unpacked for training: {error}") from None
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _check_room(file: Path, folder: Path) -> None:
    """Refuses to unpack without room for 8 times the file, because 4 bits a weight become 32."""
    size, free = 8 * file.stat().st_size, shutil.disk_usage(folder).free
    if free < size:
        raise NotInstalled(
            f"unpacking {file.name} takes up to {size / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB "
            "free; make room, or set XDG_CACHE_HOME to a folder on another disk"
        )


def digest_folder(source: Path, folder: Path) -> str:
    """One hash for all weight files of a folder."""
    files = sorted(path for path in source.iterdir() if path.suffix in (".safetensors", ".bin"))
    found = {file.name: digest(file, folder) for file in files}
    return sha256(json.dumps(found).encode()).hexdigest()


def _identify(name: str, model: Any, tokenizer: Any, digests: str, quantize: str | None) -> BaseIdentity:
    template = json.dumps(getattr(tokenizer, "chat_template", None) or "")
    return BaseIdentity(
        name=name,
        revision=getattr(model.config, "_commit_hash", None),
        sha256=digests,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dtype=str(model.dtype).removeprefix("torch."),
        quantize=quantize,
        template=sha256(template.encode()).hexdigest()[:16],
    )


@contextmanager
def restored(model: Any) -> Iterator[None]:
    """Within the context, other libraries may change a model; after it, the model is as before.

    peft and TRL freeze it, set attributes, and leave some behind.
    """
    trainable = {name: p.requires_grad for name, p in model.named_parameters()}
    training, attributes = model.training, set(vars(model))
    configs = [one for one in (model.config, getattr(model, "generation_config", None)) if one is not None]
    before = [copy.deepcopy(vars(one)) for one in configs]
    try:
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(trainable.get(name, False))
        for name in vars(model).keys() - attributes:
            delattr(model, name)
        for one, values in zip(configs, before, strict=True):
            # In place, since the layers hold the same object.
            vars(one).clear()
            vars(one).update(values)
        model.train(training)


def check_base(library: ExpertLibrary, base: Base) -> None:
    """Makes sure that a library's experts were trained on this base.

    Raises:
        ModelError: If they were not; says what differs.
    """
    theirs, ours = library.manifest.base, base.identity.model_dump()
    different = [
        key
        for key in ("sha256", "parameters", "template")
        if theirs.get(key) and ours.get(key) and theirs[key] != ours[key]
    ]
    if different:
        key = different[0]
        raise ModelError(
            f"library {library.folder} adapts {theirs.get('name')!r} ({key} {theirs[key]!s:.16}), and this "
            f"base is {ours['name']!r} ({key} {ours[key]!s:.16}); load the base that the library names"
        )
