"""How well each way to use a library's experts predicts held-out rows, by one yardstick.

The base, every expert, the adapter trained on all data, fixed mixtures, experts combined once and
for all, peft's ways to mix, and routers: the summed loss of every held-out row under each.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bdc_agents.distill.training.loop import Say
from bdc_agents.distill.training.loss import BASE, RoutedLoss, RowLoss, row_sums
from bdc_agents.distill.training.router import RouterConfig
from bdc_agents.distill.training.rows import Encoded, EncodedRow
from bdc_agents.errors import ModelError, UsageError, unknown
from bdc_agents.evaluate.library.config import COMBINED, FIXED, PEERS
from bdc_agents.evaluate.library.peers import arrow, classifier, plain_sums, train_xlora, xlora
from bdc_agents.experts.base import Base, check_base
from bdc_agents.experts.clusters import Clusters, library_clusters
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.lora import StackedAdapters, load_experts
from bdc_agents.experts.merging import added, combine
from bdc_agents.experts.router import Router, ownership, routable
from bdc_agents.experts.tensors import adapted_layers, peft_name
from bdc_agents.types import Frozen

SCORED = ("base", "experts", *FIXED, *COMBINED, "routers", *PEERS)
"""What `compare` runs unless it is told otherwise: `METHODS`, where `routers` are those that it is given."""


class MethodLoss(Frozen):
    """What one method scored.

    Args:
        loss: Mean loss of a completion token.
        rows: Summed loss of each held-out row, for paired intervals.
        parameters: Numbers in memory besides the base.
        cpu_seconds: Of scoring the rows; training is not in it.
    """

    name: str
    loss: float
    rows: tuple[float, ...]
    parameters: int
    cpu_seconds: float


Keep = Callable[[MethodLoss], None]


class Comparison(Frozen):
    """All methods on the same rows.

    Args:
        tokens: Completion tokens of each row.
        problems: The problem of each row.
        methods: Best first.
    """

    tokens: tuple[int, ...]
    problems: tuple[str, ...]
    methods: tuple[MethodLoss, ...]

    def method(self, name: str) -> MethodLoss:
        """The result of one method.

        Raises:
            UsageError: If it was not run.
        """
        for found in self.methods:
            if found.name == name:
                return found
        raise UsageError(unknown("method", name, [found.name for found in self.methods]))

    def table(self, reference: str = "base") -> list[dict[str, float | int | str]]:
        """One line for each method, with its difference of the mean loss to a reference."""
        base = self.method(reference).loss
        return [
            {
                "method": found.name,
                "loss": found.loss,
                "difference": found.loss - base,
                "parameters": found.parameters,
                "cpu_seconds": found.cpu_seconds,
            }
            for found in self.methods
        ]


def compare(
    library: ExpertLibrary,
    base: Base,
    encoded: Encoded,
    vectors: Tensor,
    routers: Mapping[str, Router] | None = None,
    *,
    methods: Sequence[str] = SCORED,
    config: RouterConfig | None = None,
    density: float = 0.5,
    training: Encoded | None = None,
    known: Mapping[str, MethodLoss] | None = None,
    keep: Keep = lambda _: None,
    work: Path | None = None,
    say: Say = lambda _: None,
) -> Comparison:
    """Scores held-out rows under every method.

    Args:
        base: The library's; it is given back as it was.
        encoded: The rows; `validation` is scored.
        vectors: The embedding of each validation row's problem, shape (rows, d).
        routers: By the name that they shall have in the table.
        methods: Those to run, of `SCORED`.
        config: How X-LoRA is trained, and `tokens_per_pass`; as the routers were.
        density: Share of entries that TIES and DARE keep.
        training: What X-LoRA is trained on, its own held-out rows among them; None for `encoded`.
        known: Methods that were scored before on the same rows; they are not run again.
        keep: Told of each result as soon as it is there.
        work: Where X-LoRA's training keeps its checkpoint; None for nowhere.
        say: Told what is being run.

    Raises:
        UsageError: If a method is unknown, or no row is held out.
        ModelError: If base and library do not fit.
    """
    if wrong := [name for name in methods if name not in SCORED]:
        raise UsageError(unknown("method", wrong[0], SCORED))
    single = ("base", "experts")
    if not routable(library) and (mixing := [name for name in methods if name not in single]):
        raise ModelError(
            f"library {library.folder} has one expert, so there is nothing to mix for {mixing[0]!r}; compare "
            "base and experts"
        )
    if not encoded.validation:
        raise UsageError("no row is held out; set `validation` above 0")
    check_base(library, base)
    was_training = base.model.training
    base.model.eval()
    try:
        run = _Run(
            library, base, encoded.validation, vectors, config or RouterConfig(), say, known or {}, keep
        )
        run.own_methods(methods, routers or {})
        run.combined(methods, density)
        run.peers(methods, training or encoded, work)
    finally:
        base.model.train(was_training)
    return Comparison(
        tokens=tuple(row.target_tokens for row in encoded.validation),
        problems=tuple(row.problem_id for row in encoded.validation),
        methods=tuple(sorted(run.found, key=lambda one: one.loss)),
    )


class _Run:
    """One comparison while it runs."""

    def __init__(
        self,
        library: ExpertLibrary,
        base: Base,
        rows: Sequence[EncodedRow],
        vectors: Tensor,
        config: RouterConfig,
        say: Say,
        known: Mapping[str, MethodLoss],
        keep: Keep,
    ) -> None:
        self.library, self.base, self.rows, self.config, self.say = library, base, rows, config, say
        self.known, self.keep = known, keep
        self.vectors = vectors.to(base.model.device)
        self.own = library.distinct
        self.experts, self.shares = self.own, torch.ones(1, 1)
        self.clusters: Clusters | None = None
        if routable(library):
            self.clusters = library_clusters(library)
            self.experts, self.shares = ownership(library, self.clusters.count)
        self.size = sum(tensor.numel() for tensor in library.weights(self.experts[0]).values())
        self.found: list[MethodLoss] = []

    def _add(self, name: str, parameters: int, score: Callable[[], Tensor]) -> None:
        if name in self.known:
            self.found.append(self.known[name])
            return
        self.say(f"scoring {name}")
        start = time.process_time()
        sums = score().tolist()
        found = MethodLoss(
            name=name,
            loss=sum(sums) / sum(row.target_tokens for row in self.rows),
            rows=tuple(sums),
            parameters=parameters,
            cpu_seconds=time.process_time() - start,
        )
        self.found.append(found)
        self.keep(found)

    def own_methods(self, methods: Sequence[str], routers: Mapping[str, Router]) -> None:
        """Everything that runs on stacked adapters."""
        if self._all_known(methods, routers):
            self.found += [self.known[name] for name in self._own_names(methods, routers)]
            return
        adapters = load_experts(self.library, self.base.model)
        try:
            singles = {"base": BASE} if "base" in methods else {}
            if "experts" in methods:
                singles |= {name: n for n, name in enumerate(adapters.names) if name in self.own}
            self._singles(adapters, singles)
            self._mixtures(adapters, methods)
            if "routers" in methods:
                for name, router in routers.items():
                    self._router(adapters, name, router)
        finally:
            adapters.detach()

    def _own_names(self, methods: Sequence[str], routers: Mapping[str, Router]) -> list[str]:
        """What the methods that run on stacked adapters are called in the table."""
        names: list[str] = []
        for method in methods:
            groups = {"experts": self.own, "routers": tuple(routers)}
            names += groups.get(method, () if method in (*PEERS, *COMBINED) else (method,))
        return names

    def _all_known(self, methods: Sequence[str], routers: Mapping[str, Router]) -> bool:
        return all(name in self.known for name in self._own_names(methods, routers))

    def _singles(self, adapters: StackedAdapters, singles: Mapping[str, int]) -> None:
        loss, tokens = RowLoss(adapters, self.rows), self.config.tokens_per_pass
        for name, expert in singles.items():
            pairs = [(n, expert) for n in range(len(self.rows))]
            size = 0 if expert == BASE else self.size
            self._add(name, size, lambda pairs=pairs: row_sums(loss, pairs, tokens))

    def _mixtures(self, adapters: StackedAdapters, methods: Sequence[str]) -> None:
        """Mixtures that need no training, of weights per expert."""
        if self.clusters is None:
            return
        member = torch.from_numpy(self.clusters.place(self.vectors.cpu().numpy())) @ self.shares
        fixed = {
            "uniform": torch.full_like(member, 1 / len(self.experts)),
            "nearest": torch.nn.functional.one_hot(member.argmax(1), len(self.experts)).float(),
            "membership": member,
        }
        for name, weights in fixed.items():
            if name in methods:
                own = self._spread(adapters, weights[..., None].to(self.vectors.device), self.experts)
                mixed = dict.fromkeys(adapters.layers, own)
                self._mixed(adapters, name, mixed, len(self.experts) * self.size)

    def _router(self, adapters: StackedAdapters, name: str, router: Router) -> None:
        weights = router.to(self.vectors.device).weights(self.vectors)
        mixed = {layer: self._spread(adapters, own, router.experts) for layer, own in weights.items()}
        own = sum(parameter.numel() for parameter in router.parameters())
        self._mixed(adapters, name, mixed, len(router.experts) * self.size + own)

    def _mixed(self, adapters: StackedAdapters, name: str, weights: Mapping[str, Tensor], size: int) -> None:
        loss = RoutedLoss(
            adapters, self.rows, lambda rows: {k: own[list(rows)] for k, own in weights.items()}
        )
        pairs = [(n, 0) for n in range(len(self.rows))]
        self._add(name, size, lambda: row_sums(loss, pairs, self.config.tokens_per_pass))

    def _spread(self, adapters: StackedAdapters, weights: Tensor, experts: Sequence[str]) -> Tensor:
        """Weights of some experts as weights of all that are attached."""
        places = torch.tensor([adapters.names.index(name) for name in experts], device=weights.device)
        whole = weights.new_zeros(len(weights), len(adapters.names), weights.shape[2])
        return whole.index_copy_(1, places, weights)

    def combined(self, methods: Sequence[str], density: float) -> None:
        """What is added to the base's own weights; beside the base it is another copy of these."""
        model, numbers, tokens = self.base.model, range(len(self.rows)), self.config.tokens_per_pass
        scale, state = self.library.shape.scale, self.library.weights(self.experts[0])
        pairs = [
            (state[peft_name(layer, "A")], state[peft_name(layer, "B")]) for layer in adapted_layers(state)
        ]
        size = sum(a.shape[1] * b.shape[0] for a, b in pairs)
        for how in COMBINED:
            if how in methods and how in self.known:
                self.found.append(self.known[how])
            elif how in methods:
                parts = [self.library.weights(name) for name in self.experts]
                with added(model, combine(parts, scale, how, density=density, seed=self.config.seed)):
                    self._add(how, size, lambda: plain_sums(model, self.rows, numbers, tokens))

    def peers(self, methods: Sequence[str], training: Encoded, work: Path | None) -> None:
        """peft's own methods, on peft's own layers."""
        numbers, model, tokens = list(range(len(self.rows))), self.base.model, self.config.tokens_per_pass
        for name in PEERS:
            if name in methods and name in self.known:
                self.found.append(self.known[name])
        wanted = [name for name in methods if name not in self.known]
        size = len(self.experts) * self.size
        if "arrow" in wanted:
            with arrow(model, self.library, self.experts) as adapted:
                self._add("arrow", size, lambda: plain_sums(adapted, self.rows, numbers, tokens))
        if "xlora" in wanted:
            with xlora(model, self.library, self.experts) as adapted:
                self.say("training X-LoRA")
                train_xlora(adapted, training, self.config, work)
                own = sum(p.numel() for p in classifier(adapted).values())
                self._add("xlora", size + own, lambda: plain_sums(adapted, self.rows, numbers, tokens))
