"""Opening a library: what it is served as, and what is said where it cannot be."""

import asyncio
import gc
import shutil
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.embed.encoder import EncoderConfig, unit
from bdc_agents.errors import ConfigError, ModelError, NotInstalled
from bdc_agents.experts.base import Base
from bdc_agents.experts.hub import push_to_hub
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.router import Router
from bdc_agents.serve import BDCSolver, ChatBDC, ChatRequest, RoutedModel
from bdc_agents.serve.backends.transformers import backend as in_process
from bdc_agents.serve.routed_model import shared_model
from bdc_agents.serve.weighing import OneExpert, RouterWeigher, library_weigher

from ...hub_server import serving


@pytest.fixture
def copied(library_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(library_folder, tmp_path / "copy"))


def open_it(folder: Path, letters: Any, **options: Any) -> RoutedModel:
    return RoutedModel.from_library(
        folder, encoder=letters, **{"dtype": "float32", "device": "cpu"} | options
    )


def test_a_library_has_a_routed_model_a_base_and_its_experts(tiny: RoutedModel) -> None:
    assert tiny.names == ("bdc", "base", "cluster-0", "cluster-1", "shared")
    assert len({tiny.identity(name) for name in tiny.names}) == 5


async def test_problems_go_to_the_experts_of_their_clusters(tiny: RoutedModel) -> None:
    first, second = await tiny.place("aaa aaa aaa"), await tiny.place("ppp ppp ppp")
    assert first.by == "clusters"
    assert first.experts["cluster-0"] > 0.5 > first.experts["cluster-1"]
    assert second.experts["cluster-1"] > 0.5 > second.experts["cluster-0"]
    again = await tiny.place("aaa aaa aaa")
    assert again.experts == first.experts


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # The hub's client.
async def test_a_library_of_the_hub_is_opened_by_its_name(
    library_folder: Path, letters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with serving(monkeypatch) as hub:
        commit = push_to_hub(library_folder, "acme/tiny")
        model = open_it(Path("acme/tiny"), letters)
    assert model.name == "tiny"
    assert (await model.place("aaa aaa aaa")).by == "clusters"
    await model.aclose()
    asked = len(hub.asked)
    options = {"encoder": letters, "dtype": "float32", "device": "cpu", "revision": commit}
    chat, here = ChatBDC(library="acme/tiny", options=options, max_tokens=8), {**options}
    del here["revision"]
    same = ChatBDC(library=str(library_folder), options=here, max_tokens=8)
    assert (await chat.ainvoke("aaa")).content == (await same.ainvoke("aaa")).content
    assert chat.model_name == "tiny/bdc"
    assert len(hub.asked) == asked, "its commit is on this machine"
    for one in (chat, same):
        await one.opened().aclose()


async def test_a_trained_router_decides_where_there_is_one(copied: Path, letters: Any) -> None:
    library = ExpertLibrary(copied)
    router = Router.start(library)
    router.b2.data[:, :, :4] = 9.0  # The first expert, in all ranks.
    router.save(library)
    place = library_weigher(ExpertLibrary(copied), letters)
    assert isinstance(place, RouterWeigher)
    found = await place("ppp ppp")
    assert found.by == "router"
    assert found.experts["cluster-0"] > 0.9
    assert found.layers
    assert all(weights.shape == (2, 4) for weights in found.layers.values())


def test_a_library_of_one_expert_needs_no_encoder(one_expert: Path) -> None:
    assert isinstance(library_weigher(ExpertLibrary(one_expert)), OneExpert)


def test_another_encoder_is_refused(library: ExpertLibrary) -> None:
    class Other:
        name = "other"

        def embed(self, texts: Any) -> Any:
            return unit([[1.0] + [0.0] * 15 for _ in texts])

    with pytest.raises(ModelError, match="'other' gives other vectors than 'letters'"):
        library_weigher(library, Other())


def test_a_library_that_its_base_embedded_is_placed_where_the_base_is(library: ExpertLibrary) -> None:
    with pytest.raises(ModelError, match=r"its base is also its encoder.*backend 'transformers'"):
        library_weigher(library, EncoderConfig(model="base"))


def test_what_is_damaged_is_named_with_its_hash(copied: Path, letters: Any) -> None:
    file = copied / "experts" / "cluster-1" / "adapter_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(
        ModelError, match=r"experts/cluster-1/adapter_model.safetensors: damaged: sha256 \w{64}"
    ):
        open_it(copied, letters)
    file.unlink()
    with pytest.raises(ModelError, match=r"experts/cluster-1/adapter_model.safetensors: missing"):
        open_it(copied, letters)


def test_another_base_is_refused(library_folder: Path, base: Base, letters: Any) -> None:
    other = Base(base.model, base.tokenizer, base.identity.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(
        ModelError, match=r"adapts .*tiny-llama.* \(sha256 .*load the base that the library names"
    ):
        open_it(library_folder, letters, base=other)
    with pytest.raises(ModelError, match="the base that you named cannot be loaded: base model '/nowhere'"):
        open_it(library_folder, letters, base="/nowhere")


def test_what_this_machine_lacks_stays_apart_from_a_wrong_name(
    library_folder: Path, letters: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: Any, **__: Any) -> None:
        raise NotInstalled("bitsandbytes is not installed")

    monkeypatch.setattr(in_process, "load_base", lacking)
    with pytest.raises(NotInstalled, match="its base cannot be loaded: bitsandbytes is not installed"):
        open_it(library_folder, letters, base=None)


def test_other_mistakes_are_said(library_folder: Path, letters: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no library at"):
        open_it(tmp_path, letters)
    with pytest.raises(ConfigError, match="unknown backend 'vlm'"):
        BDCSolver.from_library(library_folder, "vlm")
    with pytest.raises(ModelError, match="4096 tokens was asked for, and the base was made for 1024"):
        open_it(library_folder, letters, context=4096)


async def test_the_same_library_is_loaded_once_and_a_new_one_anew(copied: Path, letters: Any) -> None:
    options = {"encoder": letters, "dtype": "float32", "device": "cpu"}
    first = shared_model(copied, **options)
    assert shared_model(str(copied), **options) is first
    ExpertLibrary(copied).put("note.txt", b"changed")
    second = shared_model(copied, **options)
    assert second is not first
    for model in (first, second):
        await model.aclose()


async def test_a_shared_model_that_somebody_closed_is_opened_again(copied: Path, letters: Any) -> None:
    options = {"encoder": letters, "dtype": "float32", "device": "cpu"}
    one, other = (ChatBDC(library=str(copied), options=options, max_tokens=2) for _ in range(2))
    assert one.opened() is other.opened()
    await one.opened().aclose()
    assert (await other.ainvoke("hi")).response_metadata["model_name"] == "copy/bdc"
    assert one.opened() is other.opened()
    await one.opened().aclose()


async def test_an_old_base_is_freed_when_the_library_is_made_anew(copied: Path, letters: Any) -> None:
    options = {"encoder": letters, "dtype": "float32", "device": "cpu"}
    first = shared_model(copied, **options)
    await first.backend.generate([ChatRequest([{"role": "user", "content": "hi"}], max_tokens=2)])
    engine: Any = first.backend._engine  # pyright: ignore[reportAttributeAccessIssue]
    ExpertLibrary(copied).put("note.txt", b"changed")
    second = shared_model(copied, **options)
    assert engine._thread.is_alive(), "somebody still holds it"
    del first
    gc.collect()
    for _ in range(100):
        if not engine._thread.is_alive():
            break
        await asyncio.sleep(0.05)
    assert not engine._thread.is_alive()
    await second.aclose()


async def test_a_closed_model_leaves_the_base_as_it_was(
    library_folder: Path, base: Base, letters: Any
) -> None:
    before = {name: type(module) for name, module in base.model.named_modules()}
    model = open_it(library_folder, letters, base=base)
    await model.backend.generate([ChatRequest([{"role": "user", "content": "hi"}], max_tokens=2)])
    await model.aclose()
    assert {name: type(module) for name, module in base.model.named_modules()} == before


async def test_the_base_itself_can_be_the_encoder_while_it_answers(
    one_expert: Path, base_folder: Path
) -> None:
    """An encoder that runs the model between two tokens sees the base, and changes no reply."""
    model = RoutedModel.from_library(one_expert, dtype="float32", device="cpu")
    mixtures: Any = model.backend._engine._batch._mix  # pyright: ignore[reportAttributeAccessIssue]
    request = ChatRequest([{"role": "user", "content": "hi"}], "shared", max_tokens=20)
    (expected,) = await model.backend.generate([request])
    shown = ""
    async for piece in model.backend.stream(request):
        shown += piece.text
        with mixtures.alone():
            layer = next(iter(mixtures._mixture._layers.values()))
            assert layer.w is None
    assert shown == expected.text
    await model.aclose()
