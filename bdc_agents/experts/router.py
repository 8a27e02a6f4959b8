"""The router: a hypernetwork that reads a problem once and weighs the experts for it.

For each adapted layer l, an MLP reads the problem's embedding x and its similarities to the K
centroids, and gives one weight per expert and rank (arXiv 2502.12492):

    z = [x, cos(x, c_1), ..., cos(x, c_K)]
    w_l = softmax((log p(x) + W2_l relu(W1_l z + b1_l) + b2_l) / temperature)
    delta W_l = s B_l diag(w_l) A_l

p is the problem's soft membership in the experts' clusters; W2 and b2 start at zero, so that an
untrained router places problems as the clusters do. The MLPs of all layers are one batched
network: two matrix products however many layers are adapted.

Beyond the paper, a router can be residual: the expert trained on all rows counts whole, and the others add
what they have learnt beyond it, each by a gate that starts at 0,

    delta W = delta W_shared + sum_k g_k (delta W_k - delta W_shared)

and small: one MLP for all layers, which knows each of them by a vector e_l of its own.
"""

from collections.abc import Sequence
from typing import Any, Literal, Self

import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from torch import Tensor, nn
from torch.nn import functional

from bdc_agents.config import explain
from bdc_agents.errors import ModelError
from bdc_agents.experts.clusters import CLUSTERS, library_clusters
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.tensors import adapted_layers, header_of, layer_number, read_tensors
from bdc_agents.extras import need
from bdc_agents.types import Frozen
from bdc_agents.untrusted import read_object


class RouterShape(Frozen):
    """What the router is made of.

    Args:
        hidden: Width of each layer's MLP; chosen, not measured.
        granularity: One weight for every rank of every expert, or one for an expert, which is all
            that llama.cpp can serve.
        scope: Weights for each adapted layer by an MLP for each (`layer`), or by one that knows the layers
            (`embedded`); or the same weights for the whole model (`model`).
        scaling: `default` is a softmax over experts for each rank, times alpha / r; `paper` one
            softmax over all experts and ranks without alpha / r, which makes an adapter about
            1 / (experts * rank) as strong; `residual` adds the experts to the one trained on all rows.
        temperature: Of the softmax; below 1 is sharper.
        top_k: Experts that keep a weight in a layer, at most; None for all. Up to four cost no more than
            one adapter of peft, sixteen a tenth more on a small model (benchmarks/results/mix_qwen.json).
        layers: Numbers of the decoder layers that are routed; the others are the base's. None for
            all that have adapters.
        start: Before it is trained, the router gives every expert the problem's membership in its
            cluster, or is a random network as in the paper.
        shared: Share with which the expert trained on all rows starts; 0 leaves it out, unless a
            cluster has no expert of its own.
        floor: Smallest share with which an expert starts; keeps its logarithm finite.
    """

    # Files bring these too: the bound on `hidden` limits what they allocate. A `floor` above 0.2 would
    # leave little of the clusters among five experts.
    hidden: int = Field(default=64, ge=1, le=4096)
    granularity: Literal["rank", "expert"] = "rank"
    scope: Literal["layer", "embedded", "model"] = "layer"
    scaling: Literal["default", "paper", "residual"] = "default"
    temperature: float = Field(default=1.0, gt=0)
    top_k: int | None = Field(default=4, ge=1)
    layers: tuple[int, ...] | None = None
    start: Literal["clusters", "random"] = "clusters"
    shared: float = Field(default=0.0, ge=0, lt=1)
    floor: float = Field(default=1e-5, gt=0, le=0.2)

    @property
    def with_shared(self) -> bool:
        """Whether the expert trained on all rows is mixed even where every cluster has its own."""
        return self.shared > 0 or self.scaling == "residual"


ROUTER = "router.safetensors"
_GATE = 2.0
"""Largest size of a residual gate. 1 is the expert as it was trained; twice that leaves room to lean on it,
and bounds what a problem unlike all others can do."""


class RouterFacts(Frozen):
    """What a router needs to be built again; kept in its file's header.

    Args:
        layers: The names of all adapted layers.
        experts: The SHA-256 of each expert's weights, by name, in order.
        scale: The factor of the adapters' B A x.
        clusters, size: How many centroids there are, and of how many numbers.
        encoder: The name of the encoder that made the embeddings.
    """

    version: int = 1
    shape: RouterShape
    layers: tuple[str, ...]
    experts: dict[str, str] = Field(min_length=1)
    rank: int = Field(ge=1)
    scale: float = Field(gt=0)
    clusters: int = Field(ge=1)
    size: int = Field(ge=1)
    encoder: str = ""
    seed: int = 0


class Router(nn.Module):
    """The hypernetwork.

    Args:
        facts: What it is made of.

    Raises:
        ModelError: If no adapted layer is among the layers to route.
    """

    w1: nn.Parameter
    b1: nn.Parameter
    w2: nn.Parameter
    b2: nn.Parameter
    layer: nn.Parameter
    centroids: Tensor
    distance: Tensor
    shares: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, facts: RouterFacts) -> None:
        super().__init__()
        self.facts = facts
        shape, count = facts.shape, len(facts.experts)
        self.routed = _routed(facts)
        self._kept = min(shape.top_k or count, count)
        self.groups, self._per = _groups(facts), _per_expert(facts)
        for name, size in shapes_of(facts).items():
            if name in _LEARNT:
                self.register_parameter(name, nn.Parameter(torch.zeros(size)))
            else:
                self.register_buffer(name, torch.ones(size))
        self._initialise()

    def _initialise(self) -> None:
        """As `nn.Linear` does; the last layer is zero where the clusters are the start."""
        generator = torch.Generator().manual_seed(self.facts.seed)
        self.mean.zero_()
        with torch.no_grad():
            for parameter in (self.w1, self.b1):
                bound = len(self.w1) ** -0.5
                parameter.uniform_(-bound, bound, generator=generator)
            if self.facts.shape.start == "random":
                bound = self.facts.shape.hidden**-0.5
                self.w2.uniform_(-bound, bound, generator=generator)
                self.b2.uniform_(-bound, bound, generator=generator)
            if self.facts.shape.scope == "embedded":
                # Small beside inputs of variance 1: layers are told apart, and no more.
                self.layer.normal_(std=0.1, generator=generator)

    @classmethod
    def start(cls, library: ExpertLibrary, shape: RouterShape | None = None, *, seed: int = 42) -> Self:
        """An untrained router for a library.

        Raises:
            ModelError: If the library has no clusters, or fewer than two experts to mix.
        """
        shape = shape or RouterShape()
        clusters = library_clusters(library)
        names, shares = ownership(library, clusters.count, shape.shared, shape.with_shared)
        config = library.shape
        facts = RouterFacts(
            shape=shape,
            layers=adapted_layers(library.weights(names[0])),
            experts=library.hashes(names),
            rank=config.rank,
            scale=config.scale,
            clusters=clusters.count,
            size=clusters.centroids.shape[1],
            encoder=clusters.encoder,
            seed=seed,
        )
        router = cls(facts)
        router.centroids.copy_(torch.from_numpy(clusters.centroids))
        router.distance.fill_(clusters.temperature)
        router.shares.copy_(shares)
        return router

    @property
    def experts(self) -> tuple[str, ...]:
        """The names of the experts, in the order of the weights."""
        return tuple(self.facts.experts)

    def fit_inputs(self, vectors: Tensor) -> None:
        """Takes the mean and spread of the inputs from some problems' embeddings, shape (n, d).

        All numbers of an embedding share one spread, and so do all similarities. With a spread of its own, a
        number that hardly varied among a few problems would be blown up for the next one; the least spread,
        0.001, guards the case that none varied.
        """
        inputs = self._raw_inputs(vectors)
        self.mean.copy_(inputs.mean(0))
        variances = inputs.var(0, unbiased=False).split([self.facts.size, self.facts.clusters])
        self.spread.copy_(torch.cat([v.mean().sqrt().clamp_min(1e-3).expand(len(v)) for v in variances]))

    def memberships(self, vectors: Tensor) -> Tensor:
        """The logarithm of each expert's share in an untrained router, shape (batch, experts)."""
        x, c = vectors.double(), self.centroids.double()
        near = ((2 * x @ c.T - (c**2).sum(1)) / self.distance.double()).softmax(1)
        shares = (near @ self.shares.double()).clamp_min(self.facts.shape.floor)
        return shares.log().float()

    def _raw_inputs(self, vectors: Tensor) -> Tensor:
        return torch.cat([vectors, vectors @ functional.normalize(self.centroids, dim=1).T], dim=1)

    def forward(self, vectors: Tensor) -> Tensor:
        """Weights of every expert and rank.

        Args:
            vectors: The problems' embeddings, shape (batch, d).

        Returns:
            Shape (routed layers, or 1 for the whole model; batch; experts; rank).
        """
        batch = len(vectors)
        inputs = (self._raw_inputs(vectors) - self.mean) / self.spread
        before = torch.addmm(self.b1, inputs, self.w1)
        if self.facts.shape.scope == "embedded":
            hidden = (before[None] + self.layer[:, None]).relu()
            scores = hidden @ self.w2 + self.b2
        else:
            hidden = before.relu().view(batch, self.groups, -1).transpose(0, 1)
            scores = torch.baddbmm(self.b2, hidden, self.w2)
        scores = scores.view(self.groups, batch, -1, self._per)
        if self.facts.shape.scaling == "residual":
            return self._residual(scores.expand(-1, -1, -1, self.facts.rank))
        if self.facts.shape.start == "clusters":
            scores = scores + self.memberships(vectors)[:, :, None]
        scores = (scores / self.facts.shape.temperature).expand(-1, -1, -1, self.facts.rank)
        return self._softmax(scores)

    def _residual(self, scores: Tensor) -> Tensor:
        """The gates of all experts but the last, the one trained on all rows, and what is left for it."""
        gates = _GATE * torch.tanh(scores / _GATE)
        if self._kept < gates.shape[2]:
            best = gates.abs().mean(3).topk(self._kept, dim=2).indices
            kept = torch.zeros_like(gates[..., 0]).scatter(2, best, 1.0)
            gates = gates * kept[..., None]
        return torch.cat([gates, 1 - gates.sum(2, keepdim=True)], 2)

    def _softmax(self, scores: Tensor) -> Tensor:
        weights = self._normalise(scores)
        if self._kept == len(self.facts.experts):
            return weights
        best = weights.mean(3).topk(self._kept, dim=2).indices
        dropped = torch.ones_like(scores[..., 0], dtype=torch.bool).scatter(2, best, False)
        return self._normalise(scores.masked_fill(dropped[..., None], float("-inf")))

    def _normalise(self, scores: Tensor) -> Tensor:
        if self.facts.shape.scaling == "default":
            return scores.softmax(2)
        # One softmax over all, without alpha / r: the adapters multiply by it, so divide here.
        return scores.flatten(2).softmax(2).view(scores.shape) / self.facts.scale

    def by_layer(self, weights: Tensor) -> dict[str, Tensor]:
        """What `forward` gave, by layer name; layers that are not routed have weight 0.

        Args:
            weights: Shape (layers or 1, batch, experts, rank).

        Returns:
            Of shape (batch, experts, rank) each.
        """
        parts = weights.unbind(0) if self.groups > 1 else [weights[0]] * len(self.routed)
        found = dict(zip(self.routed, parts, strict=True))
        if len(found) == len(self.facts.layers):
            return found
        nothing = torch.zeros_like(weights[0])
        return {name: found.get(name, nothing) for name in self.facts.layers}

    @torch.no_grad()
    def weights(self, vectors: Tensor | NDArray[Any]) -> dict[str, Tensor]:
        """The mixture of the experts for each problem, as `Mixture.use` takes it.

        Args:
            vectors: The problems' embeddings, shape (batch, d) or (d,).

        Returns:
            By layer name, of shape (batch, experts, rank): 1 is an expert at its full strength.

        Raises:
            ModelError: If the vectors are of another size.
        """
        found = torch.as_tensor(vectors, dtype=torch.float32, device=self.w1.device)
        found = found[None] if found.dim() == 1 else found
        if found.shape[1] != self.facts.size:
            raise ModelError(
                f"vectors of {found.shape[1]} numbers, and the router reads {self.facts.size}: it was "
                f"trained with the encoder {self.facts.encoder!r}; use it"
            )
        return self.by_layer(self(found))

    def to_bytes(self) -> bytes:
        """The router as a safetensors file."""
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        return need("safetensors.torch").save(state, metadata={"router": self.facts.model_dump_json()})

    def save(self, library: ExpertLibrary) -> None:
        """Puts the router into its library."""
        library.put(ROUTER, self.to_bytes())

    @classmethod
    def load(cls, library: ExpertLibrary) -> Self:
        """The router of a library, just as it was saved.

        Raises:
            ModelError: If there is none, it is damaged, or it was trained for other experts.
        """
        if ROUTER not in library.manifest.files:
            raise ModelError(f"library {library.folder} has no {ROUTER}; train a router for it")
        return cls.from_bytes(library.read(ROUTER), library, f"{library.folder}/{ROUTER}")

    @classmethod
    def from_bytes(cls, data: bytes, library: ExpertLibrary, source: str = ROUTER) -> Self:
        """What `to_bytes` made of a router for this library.

        Args:
            source: Where it comes from; named in errors.

        Raises:
            ModelError: If it is damaged, or it was trained for other experts.
        """
        facts = _facts(data, source)
        if missing := facts.experts.keys() - set(library.names):
            raise ModelError(
                f"{source} routes to {sorted(missing)[0]!r}, which the library has not; train it again"
            )
        now = library.hashes(tuple(facts.experts))
        if changed := [name for name in now if now[name] != facts.experts[name]]:
            raise ModelError(
                f"library {library.folder}: expert {changed[0]!r} is not the one that the router was trained "
                "for; train the router again"
            )
        config = library.shape
        if (facts.rank, facts.scale) != (config.rank, config.scale):
            raise ModelError(
                f"{source} is for adapters of rank {facts.rank} and scale {facts.scale:g}, and the library's "
                f"have rank {config.rank} and scale {config.scale:g}; train the router again"
            )
        # Before anything is made: what the file says of its sizes has to be what it holds.
        state = read_tensors(data, source, shapes_of(facts))
        router = cls(facts)
        router.load_state_dict(state)
        return router


_LEARNT = ("w1", "b1", "w2", "b2", "layer")


def shapes_of(facts: RouterFacts) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a router."""
    count, inputs, groups = len(facts.experts), facts.size + facts.clusters, _groups(facts)
    gated = count - 1 if facts.shape.scaling == "residual" else count
    hidden, outputs = facts.shape.hidden, gated * _per_expert(facts)
    embedded = facts.shape.scope == "embedded"
    networks = 1 if embedded else groups
    return ({"layer": (groups, hidden)} if embedded else {}) | {
        "w1": (inputs, networks * hidden),
        "b1": (networks * hidden,),
        "w2": (networks, hidden, outputs),
        "b2": (networks, 1, outputs),
        "centroids": (facts.clusters, facts.size),
        "distance": (),
        "shares": (facts.clusters, count),
        "mean": (inputs,),
        "spread": (inputs,),
    }


def _groups(facts: RouterFacts) -> int:
    """Layers with weights of their own: the routed ones, or one that stands for all."""
    return 1 if facts.shape.scope == "model" else len(_routed(facts))


def _per_expert(facts: RouterFacts) -> int:
    """Weights of one expert in one layer."""
    return facts.rank if facts.shape.granularity == "rank" else 1


def _routed(facts: RouterFacts) -> tuple[str, ...]:
    wanted = facts.shape.layers
    routed = [name for name in facts.layers if wanted is None or layer_number(name) in wanted]
    if not routed:
        known = _numbers(facts.layers)
        raise ModelError(f"layers = {list(wanted or ())}: none of them has adapters; these have: {known}")
    return tuple(routed)


def _numbers(names: Sequence[str]) -> str:
    found = sorted({number for name in names if (number := layer_number(name)) is not None})
    return ", ".join(map(str, found)) or "none with a number"


def _facts(data: bytes, source: str) -> RouterFacts:
    """From the file's header."""
    try:
        facts = read_object(header_of(data)["__metadata__"]["router"])
        return RouterFacts.model_validate(facts)
    except ValidationError as error:
        raise ModelError(explain(error, source, RouterFacts)) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{source} is not a router ({type(error).__name__}: {error}); train it again"
        ) from None


def routable(library: ExpertLibrary) -> bool:
    """Whether a library has clusters, and experts that differ to choose from."""
    return CLUSTERS in library.manifest.files and len(library.distinct) > 1


def ownership(
    library: ExpertLibrary, clusters: int, shared: float = 0.0, with_shared: bool = False
) -> tuple[tuple[str, ...], Tensor]:
    """The experts to mix, and the share of each cluster's problems that each of them takes.

    A cluster without an expert of its own falls to the expert trained on all rows.

    Args:
        clusters: How many there are.
        shared: Share of every cluster that the expert trained on all rows takes besides.
        with_shared: Whether that expert is there, the last, even if it takes no share.

    Returns:
        Their names, and the shares, shape (clusters, experts); rows sum to 1.

    Raises:
        ModelError: If a cluster has no expert and none was trained on all rows, or fewer than two
            experts are left.
    """
    own = {e.cluster: e.name for e in library.manifest.experts if 0 <= e.cluster < clusters}
    everyone = next((e.name for e in library.manifest.experts if e.cluster < 0), None)
    orphans = [cluster for cluster in range(clusters) if cluster not in own]
    with_shared = with_shared or shared > 0
    if everyone is None and (orphans or with_shared):
        what = f"cluster {orphans[0]} has no expert" if orphans else f"shared = {shared:g}"
        what = "scaling = 'residual'" if with_shared and not shared and not orphans else what
        raise ModelError(
            f"library {library.folder}: {what}, and no expert was trained on all rows; "
            "train with shared = true"
        )
    names = [own[cluster] for cluster in sorted(own)]
    if everyone is not None and (orphans or with_shared):
        names.append(everyone)
    if len(names) < 2:
        raise ModelError(
            f"library {library.folder} has {len(names)} expert to route to; a router needs two or more"
        )
    shares = torch.zeros(clusters, len(names))
    for cluster in range(clusters):
        shares[cluster, names.index(own.get(cluster, everyone or ""))] = 1.0 - shared
        if shared:
            shares[cluster, -1] += shared
    return tuple(names), shares
