"""A library's experts on a loaded model, as a weighted mixture of its own for every row of a batch.

    y_b = W x_b + B (w_b * (A x_b))

A holds the experts' A on top of each other, B their B side by side, w_b the row's weights times
alpha / r: two slim matrix products whatever the number of experts, and the sum of the experts, each
under its weights, up to rounding.

The layer here is leaner than the one that trains (`bdc_agents.experts.lora`): a mixture holds for a
whole generation, so its weights are scaled, cast and laid out once, where `use` is called, and not
once for each token and layer; experts that no row uses are left out; matrices have the base's
number format; and the forward pass has no branch that depends on data, as compilers want it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdc_agents.errors import ModelError, UsageError
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.lora import linear_size
from bdc_agents.experts.manifest import AdapterConfig
from bdc_agents.experts.tensors import adapted_layers, not_plain, peft_name

Weights = Mapping[str, Tensor] | Tensor
"""By layer name, shape (batch, experts, rank) or broadcastable to it; or for all layers (batch, experts)."""


class MixedLinear(nn.Module):
    """A linear layer with the experts of the mixture in use.

    Args:
        base: The layer itself.
        a: Every expert's A, shape (experts * rank, inputs).
        b: Every expert's B, transposed: shape (experts * rank, outputs).
    """

    def __init__(self, name: str, base: nn.Module, a: Tensor, b: Tensor) -> None:
        super().__init__()
        self.name = name
        self.base = base
        self.all_a, self.all_b = a, b
        self.a: Tensor = a
        self.b: Tensor = b
        self.w: Tensor | None = None
        self.merged: Tensor | None = None

    def use(self, weights: Tensor | None, kept: Tensor | None) -> None:
        """Sets the mixture.

        Args:
            weights: Shape (rows, 1, kept ranks), or (1, kept ranks) for all rows; None for the base.
            kept: Which rows of A and B are in use; None for all.
        """
        self.w, self.merged = weights, None
        self.a = self.all_a if kept is None else self.all_a[kept]
        self.b = self.all_b if kept is None else self.all_b[kept]

    def merge(self, weights: Tensor) -> None:
        """Sets one mixture for all rows, added to a copy of the layer's weights."""
        base: Any = self.base
        delta = (self.all_b.float().T * weights.float()) @ self.all_a.float()
        self.w, self.merged = None, (base.weight.float() + delta).to(base.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output under the mixture in use."""
        if self.merged is not None:
            return functional.linear(x, self.merged, self.base.bias)  # pyright: ignore[reportArgumentType]
        y = self.base(x)
        w = self.w
        if w is None:
            return y
        if w.dim() == 3 and (x.dim() != 3 or len(x) != len(w)):
            self._refuse(x, w)
        h = functional.linear(x, self.a) * w
        return torch.addmm(y.flatten(0, -2), h.flatten(0, -2), self.b).view(y.shape)

    def _refuse(self, x: Tensor, w: Tensor) -> None:
        if x.dim() != 3:
            raise ModelError(
                f"layer {self.name!r} sees a tensor of shape {tuple(x.shape)}, whose rows cannot be told "
                "apart (a mixture-of-experts layer?); give all rows one mixture"
            )
        raise UsageError(
            f"the mixture is for {len(w)} rows, and the batch has {len(x)}; for beams or several sequences "
            "of each row give their number as `copies`"
        )


class Mixture:
    """Experts attached to a model; `detach` leaves it as it was.

    The model stays on the device that it is on when they are attached. One thing at a time: the
    mixture in use is the model's, not a call's.

    Args:
        model: A causal language model of transformers.
        experts: Each expert's tensors by peft's names.
        config: The adapters' shape.
        compact: Leave experts out of the products that no row uses. Switch it off where shapes must not
            change from one mixture to the next, as for a compiled model.

    Raises:
        ModelError: If the experts do not fit each other or the model.
    """

    def __init__(
        self,
        model: Any,
        experts: Mapping[str, Mapping[str, Tensor]],
        config: AdapterConfig,
        *,
        compact: bool = True,
    ) -> None:
        self.model = model
        self.experts = tuple(experts)
        self.rank, self.scale, self.compact = config.rank, config.scale, compact
        self._layers = _build(model, experts, config.rank)
        for name, layer in self._layers.items():
            model.set_submodule(name, layer.train(layer.base.training))

    @classmethod
    def attach(
        cls, model: Any, library: ExpertLibrary, experts: Sequence[str] | None = None, *, compact: bool = True
    ) -> "Mixture":
        """Attaches a library's experts to its base.

        Args:
            experts: Their names, such as `Router.experts`; None for all.

        Raises:
            ModelError: If an expert is missing or damaged, or does not fit the model.
        """
        names = library.names if experts is None else experts
        states = {name: library.weights(name) for name in names}
        return cls(model, states, library.shape, compact=compact)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the adapted layers."""
        return tuple(self._layers)

    @contextmanager
    def use(self, weights: Weights, *, copies: int = 1) -> Iterator[Any]:
        """Within it, the model computes this mixture; after it, what it computed before.

        Args:
            weights: See `Weights`; 1 is an expert at its full strength. A batch of one holds for any
                number of rows.
            copies: Rows that each problem becomes in `generate`: its beams or returned sequences.

        Yields:
            The model.

        Raises:
            UsageError: If the weights have another shape.
        """
        before = {name: (layer.a, layer.b, layer.w, layer.merged) for name, layer in self._layers.items()}
        try:
            self._set(self._stack(weights), copies)
            yield self.model
        finally:
            for name, state in before.items():
                layer = self._layers[name]
                layer.a, layer.b, layer.w, layer.merged = state

    @contextmanager
    def merge(self, weights: Weights) -> Iterator[Any]:
        """As `use` for one mixture of all rows, added to a copy of the adapted layers' weights.

        The model is then as fast as the base. Worth it for long replies; the sum is rounded to the
        base's number format.

        Raises:
            UsageError: If the weights are of several rows.
            ModelError: If a layer is quantised or not an `nn.Linear`.
        """
        stacked = self._stack(weights)
        if stacked.shape[1] != 1:
            raise UsageError(f"one mixture can be merged, and these are {stacked.shape[1]}; use `use`")
        for name, layer in self._layers.items():
            if type(layer.base) is not nn.Linear:
                raise ModelError(
                    f"layer {name!r} is a {type(layer.base).__name__}, which cannot be merged; use `use`"
                )
        with self.use(weights), torch.no_grad():
            for layer, own in zip(self._layers.values(), stacked, strict=True):
                layer.merge(own.flatten())
            yield self.model

    def detach(self) -> Any:
        """Takes the experts off the model and gives its own layers back.

        Returns:
            The model.
        """
        for name, layer in self._layers.items():
            self.model.set_submodule(name, layer.base)
        self._layers.clear()
        return self.model

    def _stack(self, weights: Weights) -> Tensor:
        """All weights, scaled, shape (layers, batch, experts, rank)."""
        if isinstance(weights, Tensor):
            if weights.dim() == 1:
                weights = weights[None]
            parts = (
                [weights[..., None]] * len(self._layers)
                if weights.dim() == 2
                else [weights] * len(self._layers)
            )
        else:
            if missing := self._layers.keys() - weights.keys():
                raise UsageError(
                    f"no weights for the layer {min(missing)!r}: the router is of another library"
                )
            parts = [weights[name] for name in self._layers]
        shape = (len(self.experts), self.rank)
        wrong = next((p for p in parts if p.dim() != 3 or not _broadcasts(p.shape[1:], shape)), None)
        if wrong is not None:
            raise UsageError(
                f"weights of shape {tuple(wrong.shape)}; expected (batch, {shape[0]} experts, rank "
                f"{shape[1]})"
            )
        return torch.stack([part.expand(len(part), *shape) for part in parts]).detach() * self.scale

    def _set(self, stacked: Tensor, copies: int) -> None:
        rows = stacked.shape[1]
        if rows > 1:
            stacked = stacked.repeat_interleave(copies, 1)
        flat = stacked.flatten(2)
        used = flat.ne(0).any(1).cpu() if self.compact else torch.ones(1, 1, dtype=torch.bool)
        whole = bool(used.all())
        for number, layer in enumerate(self._layers.values()):
            own = flat[number]
            kept = None if whole or bool(used[number].all()) else used[number].nonzero()[:, 0].to(own.device)
            own = own if kept is None else own[:, kept]
            if own.shape[1] == 0:
                layer.use(None, None)
                continue
            own = own.to(layer.all_a.device, layer.all_a.dtype)
            layer.use(own[:, None] if rows > 1 else own, kept)


def _broadcasts(shape: Sequence[int], target: Sequence[int]) -> bool:
    return all(size in (1, wanted) for size, wanted in zip(shape, target, strict=True))


def _build(model: Any, experts: Mapping[str, Mapping[str, Tensor]], rank: int) -> dict[str, MixedLinear]:
    if not experts:
        raise ModelError("no expert to mix; name at least one")
    first = adapted_layers(next(iter(experts.values())))
    for name, state in experts.items():
        _check(name, state, first)
    known = dict(model.named_modules())
    if missing := [name for name in first if name not in known]:
        raise ModelError(
            f"the model has no layer {missing[0]!r}, which the experts adapt; load the base that the "
            "library names"
        )
    return {name: _layer(name, known[name], experts, rank) for name in first}


def _check(expert: str, state: Mapping[str, Tensor], layers: Sequence[str]) -> None:
    """Refuses an adapter that is more or other than plain LoRA of the same layers."""
    if different := not_plain(state, layers):
        raise ModelError(
            f"expert {expert!r} differs from the others in {min(different)!r}; only plain LoRA of the same "
            "layers can be mixed (no DoRA, biases or trained embeddings)"
        )


def _layer(name: str, base: nn.Module, experts: Mapping[str, Mapping[str, Tensor]], rank: int) -> MixedLinear:
    inputs, outputs = linear_size(name, base)
    parts: dict[str, list[Tensor]] = {"A": [], "B": []}
    for expert, state in experts.items():
        for part, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
            found = state[peft_name(name, part)]
            if found.shape != shape:
                raise ModelError(
                    f"expert {expert!r}: {name} lora_{part} is {tuple(found.shape)}, expected {shape}"
                )
            parts[part].append(found if part == "A" else found.T)
    place = _place(base)
    return MixedLinear(name, base, *(torch.cat(parts[part]).to(**place).contiguous() for part in "AB"))


def _place(base: nn.Module) -> dict[str, Any]:
    """Device and number format in which a layer computes; a quantised one says by its own attribute."""
    weight: Any = getattr(base, "weight", None)
    dtype = weight.dtype if weight is not None and weight.is_floating_point() else None
    compute = getattr(base, "compute_dtype", None)
    return {
        "device": weight.device if weight is not None else None,
        "dtype": dtype or compute or torch.float32,
    }
