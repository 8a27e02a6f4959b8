"""A library's experts as LoRA files for llama.cpp, which has its own names and layout of tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from bdc_agents.errors import ModelError
from bdc_agents.experts.atomic_write import replacing
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.tensors import adapted_layers, not_plain, peft_name
from bdc_agents.extras import need
from bdc_agents.types import content_hash

ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""The architectures whose layout of parameters `_laid_out` knows."""
_FORMAT = 1
"""Version of the files written here; raise it to write them anew."""


@dataclass(frozen=True)
class GGUFBase:
    """What a GGUF file says of the model in it.

    Args:
        heads, kv_heads: Of attention: for queries, and for keys and values.
        context: Tokens that the model was made for.
        parameters: How many numbers it has.
    """

    path: Path
    architecture: str
    blocks: int
    heads: int
    kv_heads: int
    context: int
    parameters: int


def read_base(path: Path) -> GGUFBase:
    """Reads the facts of a GGUF file.

    Raises:
        ModelError: If it is damaged, or of an architecture that experts cannot be converted for.
    """
    gguf = need("gguf")
    try:
        reader = gguf.GGUFReader(path)
        kind = str(reader.fields["general.architecture"].contents())
        if kind not in ARCHITECTURES:
            raise ModelError(
                f"{path} is a model of the architecture {kind!r}; experts can be converted for "
                f"{', '.join(ARCHITECTURES)}; serve this library with the backend 'transformers' or 'vllm'"
            )
        blocks, heads, kv_heads, context = (
            int(reader.fields[f"{kind}.{name}"].contents())
            for name in ("block_count", "attention.head_count", "attention.head_count_kv", "context_length")
        )
    except ModelError:
        raise
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise ModelError(f"{path} cannot be read as a GGUF model: {error!r}") from None
    # Some files carry rotary frequencies, which are no parameters.
    weights = [tensor for tensor in reader.tensors if not tensor.name.startswith("rope_")]
    parameters = sum(int(tensor.n_elements) for tensor in weights)
    return GGUFBase(path, kind, blocks, heads, kv_heads, context, parameters)


def adapter_files(library: ExpertLibrary, base: GGUFBase, folder: Path) -> list[Path]:
    """The LoRA file of each expert, in the library's order; written where it is not there yet.

    Args:
        folder: Where they are kept. A file's name has a hash of all that its content depends on.

    Raises:
        ModelError: If an expert is missing or damaged, or adapts a layer that llama.cpp has not.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    shape = library.shape
    layout = (_FORMAT, base.architecture, base.blocks, base.heads, base.kv_heads, shape.scale, shape.rank)
    found = []
    for name, mark in library.hashes(library.names).items():
        target = folder / f"{content_hash(repr((mark, layout)))[:24]}.gguf"
        if not target.is_file():
            with replacing(target) as temporary:
                _write(temporary, library.weights(name), shape.scale * shape.rank, base, name)
        found.append(target)
    return found


def _write(path: Path, state: Mapping[str, Tensor], alpha: float, base: GGUFBase, expert: str) -> None:
    """Writes one adapter, in float32; llama.cpp scales it by alpha / rank."""
    gguf = need("gguf")
    writer = gguf.GGUFWriter(path, base.architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    layers = adapted_layers(state)
    if other := not_plain(state, layers):
        raise ModelError(f"expert {expert!r} holds {min(other)!r}; only plain LoRA can be converted to GGUF")
    for layer, own in zip(layers, _names(layers, base, expert), strict=True):
        a, b = (state[peft_name(layer, part)].float() for part in "AB")
        writer.add_tensor(f"{own}.weight.lora_a", a.contiguous().numpy())
        writer.add_tensor(f"{own}.weight.lora_b", _laid_out(layer, b, base).contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _names(layers: Sequence[str], base: GGUFBase, expert: str) -> list[str]:
    """Llama.cpp's names of the layers."""
    gguf = need("gguf")
    kinds: Any = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(kinds[base.architecture], base.blocks)
    found = [names.get_name(layer) for layer in layers]
    if None in found:
        raise ModelError(
            f"expert {expert!r} adapts the layer {layers[found.index(None)]!r}, which a model of "
            f"{base.blocks} blocks of the architecture {base.architecture!r} has not; give the base that "
            "the library names"
        )
    return found


def _laid_out(layer: str, b: Tensor, base: GGUFBase) -> Tensor:
    """B with its rows where llama.cpp expects them.

    For the architecture `llama` it turns neighbouring pairs of a head's dimensions, where
    transformers turns the first half against the second: the rows of queries and keys are reordered.
    """
    heads = {"q_proj": base.heads, "k_proj": base.kv_heads}.get(layer.rsplit(".", 1)[-1])
    if base.architecture != "llama" or heads is None:
        return b
    return b.view(heads, 2, -1, b.shape[1]).transpose(1, 2).reshape(b.shape)
