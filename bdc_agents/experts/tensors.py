"""Adapters as tensors: their names in peft's files, and files from elsewhere, read with care.

The header of such a file is checked before anything is loaded.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bdc_agents.errors import ModelError
from bdc_agents.extras import need
from bdc_agents.untrusted import plain, read_object

_PREFIX, _SUFFIX = "base_model.model.", ".lora_{part}.weight"
"""What peft puts around a layer's name in `adapter_model.safetensors`."""
LARGEST_HEADER = 8 * 2**20
"""Most bytes of a safetensors header; a file of sixty thousand tensors has one of that size."""
_DTYPES = ("F64", "F32", "F16", "BF16")


def peft_name(layer: str, part: str) -> str:
    """Peft's name of a matrix.

    Args:
        layer: The adapted layer, as the model names it.
        part: `A` or `B`.
    """
    return f"{_PREFIX}{layer}{_SUFFIX.format(part=part)}"


def layer_of(name: str) -> str | None:
    """The layer whose A has this name in peft's file; None for any other tensor."""
    end = _SUFFIX.format(part="A")
    return name.removeprefix(_PREFIX).removesuffix(end) if name.endswith(end) else None


def adapted_layers(state: Mapping[str, Any]) -> tuple[str, ...]:
    """The layers that a peft adapter adapts, layer 2 before layer 10."""
    return tuple(sorted((layer for name in state if (layer := layer_of(name)) is not None), key=_natural))


def _natural(layer: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in layer.split(".")]


def not_plain(state: Mapping[str, Any], layers: Iterable[str]) -> set[str]:
    """Tensors that plain LoRA of these layers does not have, or has and this adapter lacks.

    DoRA, biases and trained embeddings bring tensors of their own.
    """
    return {peft_name(layer, part) for layer in layers for part in "AB"} ^ state.keys()


def layer_number(layer: str) -> int | None:
    """The number of the decoder layer that a module belongs to, by its name; None for none."""
    found = re.search(r"\.(\d+)\.", layer)
    return int(found[1]) if found else None


def header_of(data: bytes) -> dict[str, Any]:
    """What the header of a safetensors file says, of which this is the beginning.

    Raises:
        ValueError: If it is no header, or a larger one than any of ours.
    """
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= LARGEST_HEADER:
        raise ValueError(f"its header would be of {length:,} bytes, and at most {LARGEST_HEADER:,} are read")
    if len(data) < 8 + length:
        raise ValueError("it is cut off in its header")
    return read_object(data[8 : 8 + length])


def shapes_of(header: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor.

    Raises:
        ValueError: If an entry is none, or of numbers that nothing here computes with.
    """
    found: dict[str, tuple[int, ...]] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"its tensor {name!r:.80} has no shape")
        if entry.get("dtype") not in _DTYPES:
            raise ValueError(f"its tensor {name!r:.80} is of {entry.get('dtype')!r:.20}; floats are expected")
        found[name] = tuple(shape)
    return found


def read_adapter(file: Path, rank: int) -> dict[str, Any]:
    """The tensors of an adapter in peft's format.

    Args:
        rank: That the library names.

    Raises:
        ModelError: If it is damaged, of another rank, or holds what is no number.
    """
    try:
        with plain(file) as stream:
            shapes = shapes_of(header_of(stream.read(8 + LARGEST_HEADER)))
        _check_ranks(shapes, rank)
        loaded = need("safetensors.torch").load_file(file)
    except (OSError, ValueError, need("safetensors").SafetensorError) as error:
        if isinstance(error, ModelError):
            raise
        raise _unusable(str(file), error) from None
    _check_numbers(loaded, str(file))
    return loaded


def read_tensors(data: bytes, source: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The tensors of a safetensors file that is in memory.

    Args:
        source: Where it comes from; named in errors.
        shapes: Those that it has to have.

    Raises:
        ModelError: If it is damaged, has others, or holds what is no number.
    """
    try:
        found = shapes_of(header_of(data))
        if different := sorted(found.items() ^ shapes.items(), key=str):
            name = different[0][0]
            raise ValueError(f"its tensor {name!r:.80} is {found.get(name)}, expected {shapes.get(name)}")
        loaded = need("safetensors.torch").load(data)
    except (ValueError, need("safetensors").SafetensorError) as error:
        if isinstance(error, ModelError):
            raise
        raise _unusable(source, error) from None
    _check_numbers(loaded, source)
    return loaded


def _check_ranks(shapes: Mapping[str, tuple[int, ...]], rank: int) -> None:
    for name, shape in shapes.items():
        side = 0 if ".lora_A." in name else 1 if ".lora_B." in name else None
        if side is not None and (len(shape) != 2 or shape[side] != rank):
            raise ValueError(f"its tensor {name!r:.120} is {shape}, and the library's rank is {rank}")


def _check_numbers(tensors: Mapping[str, Any], source: str) -> None:
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise ModelError(
                f"{source} cannot be used: its tensor {name!r:.120} holds numbers that are infinite or none; "
                "make the library again"
            )


def _unusable(source: str, error: Exception) -> ModelError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ModelError(f"{source} cannot be used: {reason:.300}; restore it, or make the library again")
