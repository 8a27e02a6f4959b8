"""LoRA adapters of many experts in one model: the layers they adapt, and each row with its own."""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdc_agents.errors import ModelError
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.manifest import AdapterConfig
from bdc_agents.experts.tensors import peft_name
from bdc_agents.extras import need


def match_targets(model: Any, config: AdapterConfig) -> tuple[list[str], dict[str, Any]]:
    """The layers that peft would adapt, found on a copy of the model that has no weights.

    Args:
        model: A causal language model of transformers.

    Returns:
        The layers' names, in the model's order, and peft's `adapter_config.json` for them.

    Raises:
        ModelError: If no layer matches, one of them is not linear, or peft does not know what to
            adapt in this architecture.
    """
    peft = need("peft")
    targets = config.targets if isinstance(config.targets, str) else list(config.targets)
    asked = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        use_rslora=config.rslora,
        target_modules=None if targets == "default" else targets,
        layers_to_transform=list(config.layers) if config.layers is not None else None,
    )
    with warnings.catch_warnings():  # Of a copy that nobody sees.
        warnings.simplefilter("ignore")
        with torch.device("meta"):
            copy = type(model)(model.config)
        try:
            adapted = peft.get_peft_model(copy, asked)
        except ValueError as error:
            raise ModelError(_explain(model, config, str(error))) from None
    matched = set(adapted.base_model.targeted_module_names)
    names = [name for name, _ in model.named_modules() if name in matched]
    for name in names:
        linear_size(name, model.get_submodule(name))
    return names, _plain(adapted.peft_config["default"].to_dict())


def linear_size(name: str, module: nn.Module) -> tuple[int, int]:
    """Inputs and outputs of a linear layer, also of a quantised one or a `Conv1D`.

    Raises:
        ModelError: If it is another kind of layer.
    """
    if hasattr(module, "nx") and hasattr(module, "nf"):
        return int(module.nx), int(module.nf)  # pyright: ignore[reportArgumentType]
    if hasattr(module, "in_features") and hasattr(module, "out_features"):
        return int(module.in_features), int(module.out_features)  # pyright: ignore[reportArgumentType]
    raise ModelError(
        f"target {name!r} is a {type(module).__name__}; only linear layers can have experts: "
        "leave it out of `targets`"
    )


def linear_names(model: nn.Module) -> dict[str, int]:
    """The last parts of the names of a model's linear layers, and how many layers have each."""
    found: Counter[str] = Counter()
    for name, module in model.named_modules():
        if hasattr(module, "in_features") or hasattr(module, "nf"):
            found[name.rsplit(".", 1)[-1]] += 1
    return dict(found)


def _explain(model: Any, config: AdapterConfig, reason: str) -> str:
    known = linear_names(model)
    choices = ", ".join(f"{name} ({count})" for name, count in sorted(known.items()))
    kind = getattr(model.config, "model_type", type(model).__name__)
    if not known:
        return f"a model of type {kind!r} has no linear layer that peft can adapt; choose another base"
    if config.targets == "default":
        return (
            f"peft has no default targets for a model of type {kind!r}; set `targets` to 'all-linear' or "
            f"to some of its linear layers: {choices}"
        )
    layers = "" if config.layers is None else f" in the layers {list(config.layers)}"
    depth = getattr(model.config, "num_hidden_layers", None)
    numbers = f"; layers are numbered 0 to {depth - 1}" if depth and config.layers is not None else ""
    return (
        f"targets {config.targets!r}{layers} match no linear layer of this model ({kind}); its linear "
        f"layers are: {choices}{numbers} (peft: {reason.splitlines()[0]:.120})"
    )


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """As JSON would have it: sets become sorted lists, enums their values."""
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    return {key: getattr(value, "value", value) for key, value in plain.items()} | {"inference_mode": True}


class Routing:
    """Which experts the rows of the batch at hand meet; all layers of a model share one.

    With neither set, every row meets the base alone.

    Args:
        rows: The expert's number for each row, shape (batch,).
        weights: Of a mixture: by layer name, shape (batch, experts, rank), or broadcastable to it.
    """

    def __init__(self) -> None:
        self.rows: Tensor | None = None
        self.weights: Mapping[str, Tensor] | None = None


class StackedLinear(nn.Module):
    """A frozen linear layer with the adapters of all experts.

    Args:
        base: The layer itself; any that maps (batch, length, inputs) to (batch, length, outputs).
        a: Every expert's A, shape (experts, rank, inputs).
        b: Every expert's B, transposed: shape (experts, rank, outputs).
        scale: The factor of B A x.
        dropout: Of the input of A, in training.
        routing: Shared with the other layers of the model.
    """

    def __init__(
        self,
        name: str,
        base: nn.Module,
        a: nn.Parameter,
        b: nn.Parameter,
        *,
        scale: float,
        dropout: float,
        routing: Routing,
    ) -> None:
        super().__init__()
        self.name = name
        self.base = base
        self.a = a
        self.b = b
        self.scale = scale
        self.dropout = dropout
        self.routing = routing

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output for each row under what `routing` says."""
        y = self.base(x)
        if self.routing.rows is not None:
            return self._one_each(x, y, self.routing.rows)
        if self.routing.weights is not None:
            return self._mixture(x, y, self.routing.weights[self.name])
        return y

    def _one_each(self, x: Tensor, y: Tensor, rows: Tensor) -> Tensor:
        if x.dim() != 3 or len(x) != len(rows):
            raise ModelError(
                f"layer {self.name!r} sees a tensor of shape {tuple(x.shape)} for {len(rows)} rows, so its "
                "rows cannot be told apart (a mixture-of-experts layer?); leave it out of `targets`"
            )
        a, b = self.a[rows].to(x.dtype), self.b[rows].to(x.dtype)
        x = functional.dropout(x, self.dropout, self.training)
        return torch.baddbmm(y, torch.bmm(x, a.mT), b, alpha=self.scale)

    def _mixture(self, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        experts, rank, _ = self.a.shape
        w = (weights * self.scale).to(x.dtype).expand(len(x), experts, rank).reshape(len(x), 1, -1)
        h = functional.linear(x, self.a.reshape(experts * rank, -1).to(x.dtype)) * w
        return y + h @ self.b.reshape(experts * rank, -1).to(x.dtype)


class StackedAdapters:
    """The adapters of several experts, attached to a model; `detach` leaves it as it was.

    Every expert's weights are one row of `weights`, and their gradients one row of `grads`, so that
    each expert has an optimiser, a norm and a checkpoint of its own.

    Args:
        model: A causal language model of transformers; its own weights are frozen.
        names: Of the experts.
        config: The adapters' shape.
        seed: Of the initial weights, which depend on it, the expert's name and the layer alone.

    Raises:
        ModelError: If the targets match no linear layer.
    """

    def __init__(self, model: Any, names: Sequence[str], config: AdapterConfig, *, seed: int = 0) -> None:
        self.model = model
        self.names = tuple(names)
        self.config = config
        targets, self.peft_config = match_targets(model, config)
        self._bases = {name: model.get_submodule(name) for name in targets}
        self._trainable = [p for p in model.parameters() if p.requires_grad]
        device = next(model.parameters()).device
        self.shapes = _shapes(self._bases, config.rank)
        size = sum(prod(a) + prod(b) for a, b in self.shapes.values())
        self.weights = torch.zeros(len(self.names), size, device=device)
        self.grads = torch.zeros_like(self.weights)
        self.routing = Routing()
        self.layers: dict[str, StackedLinear] = {}
        self._fill(seed)
        self._attach()

    def _fill(self, seed: int) -> None:
        """A uniform as in `nn.Linear` and in peft, B zero."""
        for row, name in enumerate(self.names):
            for layer, (a, _) in self._views(self.weights[row]).items():
                generator = torch.Generator().manual_seed(stable_seed(seed, name, layer))
                bound = a.shape[1] ** -0.5
                start = torch.empty(a.shape).uniform_(-bound, bound, generator=generator)
                a.copy_(start)

    def _attach(self) -> None:
        self.model.requires_grad_(False)
        weights, grads = self._views(self.weights), self._views(self.grads)
        for name, base in self._bases.items():
            a, b = (nn.Parameter(view) for view in weights[name])
            a.grad, b.grad = grads[name]
            layer = StackedLinear(
                name, base, a, b, scale=self.config.scale, dropout=self.config.dropout, routing=self.routing
            )
            self.layers[name] = layer.train(base.training)
            self.model.set_submodule(name, layer)

    def detach(self) -> Any:
        """Takes the adapters off the model and gives its own layers back.

        Returns:
            The model.
        """
        for name, base in self._bases.items():
            self.model.set_submodule(name, base)
        for parameter in self._trainable:
            parameter.requires_grad_(True)
        self.layers.clear()
        self._bases.clear()
        return self.model

    def _views(self, flat: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """A and B of each layer as views of a tensor whose last dimension holds an expert's weights."""
        views, start, lead = {}, 0, flat.shape[:-1]
        for name, (a, b) in self.shapes.items():
            middle, end = start + prod(a), start + prod(a) + prod(b)
            views[name] = flat[..., start:middle].view(*lead, *a), flat[..., middle:end].view(*lead, *b)
            start = end
        return views

    @contextmanager
    def route(
        self, rows: Tensor | None = None, weights: Mapping[str, Tensor] | None = None
    ) -> Iterator[None]:
        """Within it, the rows of a batch meet these experts, or this mixture of them.

        With gradient checkpointing the backward pass has to be within it too.

        Args:
            rows: The expert's number for each row; None with `weights` None means the base alone.
            weights: See `Routing`.
        """
        before = self.routing.rows, self.routing.weights
        self.routing.rows, self.routing.weights = rows, weights
        try:
            yield
        finally:
            self.routing.rows, self.routing.weights = before

    def state_dict(self, row: int, weights: Tensor | None = None) -> dict[str, Tensor]:
        """One expert's weights under the names that peft gives them in `adapter_model.safetensors`.

        Args:
            row: The expert's number.
            weights: To read instead of the current ones, shape as `self.weights`.
        """
        flat = (self.weights if weights is None else weights)[row].detach().cpu()
        state = {}
        for name, (a, b) in self._views(flat).items():
            state[peft_name(name, "A")] = a.clone()
            state[peft_name(name, "B")] = b.mT.contiguous()
        return state

    def load(self, row: int, state: Mapping[str, Tensor]) -> None:
        """Sets one expert's weights from those of a peft adapter.

        Raises:
            ModelError: If a layer is absent or has another shape.
        """
        for name, (a, b) in self._views(self.weights[row]).items():
            for part, view in (("A", a), ("B", b.mT)):
                key = peft_name(name, part)
                if key not in state or state[key].shape != view.shape:
                    found = tuple(state[key].shape) if key in state else "nothing"
                    raise ModelError(f"adapter weights: {key} is {found}, expected {tuple(view.shape)}")
                view.copy_(state[key])


def stable_seed(*parts: object) -> int:
    """A seed that depends on the parts alone."""
    return int.from_bytes(sha256("/".join(map(str, parts)).encode()).digest()[:7], "big")


def _shapes(bases: Mapping[str, nn.Module], rank: int) -> dict[str, tuple[tuple[int, int], tuple[int, int]]]:
    shapes = {}
    for name, module in bases.items():
        inputs, outputs = linear_size(name, module)
        shapes[name] = (rank, inputs), (rank, outputs)
    return shapes


def load_experts(
    library: ExpertLibrary,
    model: Any,
    names: Sequence[str] | None = None,
) -> StackedAdapters:
    """Attaches experts to a model, frozen, to route rows through them.

    Args:
        model: The library's base.
        names: Of the experts; None for all.

    Raises:
        ModelError: If an expert is missing or damaged, or does not fit the model.
    """
    names = library.names if names is None else tuple(names)
    return attach_experts(model, library.shape, [{name: library.weights(name) for name in names}])


def attach_experts(
    model: Any, shape: AdapterConfig, sets: Sequence[Mapping[str, Mapping[str, Tensor]]]
) -> StackedAdapters:
    """Attaches sets of experts to a model, frozen, one set after another.

    Args:
        shape: Of their adapters.
        sets: Weights by name, under peft's names; further sets have the names of the first.

    Raises:
        ModelError: If an expert does not fit the model.
    """
    states = [
        (name if number == 0 else f"{name}, {number}", state)
        for number, one in enumerate(sets)
        for name, state in one.items()
    ]
    config = shape.model_copy(update={"dropout": 0.0})
    adapters = StackedAdapters(model, tuple(name for name, _ in states), config)
    try:
        for row, (_, state) in enumerate(states):
            adapters.load(row, state)
    except ModelError:
        adapters.detach()
        raise
    for layer in adapters.layers.values():
        layer.a.requires_grad_(False)
        layer.b.requires_grad_(False)
    return adapters
