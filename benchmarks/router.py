"""Whether a router beats one adapter of equal size: the plan is router.md.

    python benchmarks/router.py run --data DATA --state FOLDER [--seeds 42 43 44] [--base local:smollm2-135m]
    python benchmarks/router.py report

Each training goes on where it was cut off; a method that is measured is not measured again. Rows: for each
seed and method the loss of every held-out problem, in benchmarks/results/router/.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from quality import append, rows

from bdc_agents import load_tasks
from bdc_agents.distill.items import embed_items
from bdc_agents.distill.lessons import KnownSolution, Lessons, lessons_of
from bdc_agents.distill.recipe import TrainConfig
from bdc_agents.distill.training.crossfit import Folds, cross_fit
from bdc_agents.distill.training.experts import Trained, train_experts
from bdc_agents.distill.training.loss import BASE, RoutedLoss, RowLoss, row_sums
from bdc_agents.distill.training.router import RouterConfig, row_vectors, train_router
from bdc_agents.distill.training.rows import EncodedRow, encode_rows, position
from bdc_agents.embed.encoder import Encoder, EncoderConfig
from bdc_agents.embed.load import load_encoder
from bdc_agents.evaluate.library.held_out import known_solutions
from bdc_agents.experts.base import Base, load_base
from bdc_agents.experts.clusters import CLUSTERS, Clusters, ClusterSettings
from bdc_agents.experts.devices import use_idle_cores
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.lora import StackedAdapters, attach_experts
from bdc_agents.sync import run_sync

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "router"
SPLIT = HERE / "system1_split.json"
DRAW = 2028
"""Seed of the choice of problems."""
TRAINING, CONTESTS = 130, 60
"""Training problems of each kind, and held-out contests."""
LONGEST = 512
BASELINES = ("shared", "long", "wide")
TRAIN = TrainConfig(
    learning_rate=5e-4,
    epochs=1,
    patience=None,
    rank=8,
    alpha=16,
    targets="all-linear",
    batch=16,
    tokens_per_pass=2048,
    max_length=LONGEST,
    min_rows=8,
    small="shared",
    validation=0.1,
    checkpoint_steps=4,
)
ROUTERS: dict[str, dict[str, Any]] = {
    "softmax": {},
    "softmax, folds": {"folds": 2},
    "residual, folds": {"folds": 2, "scaling": "residual", "scope": "embedded"},
}

Known = list[KnownSolution]


def problems(data: Path, base: Base) -> tuple[Known, Known]:
    """The known solutions to train on, and the held-out ones."""
    held_ids = {one for ids in json.loads(SPLIT.read_text(encoding="utf-8")).values() for one in ids}
    easy = set(json.loads(SPLIT.read_text(encoding="utf-8"))["development, easy"])

    def short(known: Sequence[KnownSolution]) -> Known:
        found = lessons_of((), None, known).rows
        kept = encode_rows(found, [-1] * len(found), base.tokenizer, max_length=10_000, validation=0)
        ids = {row.problem_id for row in kept.train if len(row.ids) <= LONGEST}
        return sorted((one for one in known if one.problem.id in ids), key=lambda one: one.problem.id)

    def load(name: str, split: str | None, take: Callable[[Any], bool] = lambda _: True) -> Known:
        return short(known_solutions(t for t in load_tasks(name, data=data, split=split) if take(t)))

    draw = random.Random(DRAW).sample
    classes = load(
        "leetcode",
        "train",
        lambda task: task.problem.difficulty in ("Easy", "Medium") and task.problem.id not in held_ids,
    )
    contests = load("codecontests", None)
    contests = draw(contests, len(contests))
    training = [
        *draw(load("mbpp", "train"), TRAINING),
        *draw(classes, TRAINING),
        *contests[CONTESTS : CONTESTS + TRAINING],
    ]
    held = [
        *load("mbpp", "validation"),
        *load("leetcode", "train", lambda task: task.problem.id in easy),
        *contests[:CONTESTS],
    ]
    return training, held


class Experiment:
    """One seed: what is trained, and the losses of the held-out problems."""

    def __init__(
        self, training: Known, held: Known, base: Base, encoder: Encoder, seed: int, state: Path
    ) -> None:
        self.base, self.encoder, self.seed = base, encoder, seed
        self.work, self.out = state / f"seed-{seed}", RESULTS / f"seed-{seed}"
        self.config = TRAIN.model_copy(update={"seed": seed})
        self.lessons = lessons_of((), None, training)
        self.held = lessons_of((), None, held)
        kept = encode_rows(
            self.held.rows, [-1] * len(self.held.rows), base.tokenizer, max_length=LONGEST, validation=0
        )
        self.rows: tuple[EncodedRow, ...] = kept.train
        self.vectors = row_vectors(self.held.rows, self.rows, encoder, self.held.texts)
        self.clusters = self._clusters(self.lessons)
        self.labels = self.clusters.label_of()
        RESULTS.mkdir(parents=True, exist_ok=True)

    def _clusters(self, lessons: Lessons) -> Clusters:
        from bdc_agents.distill.clustering.cluster import cluster_items

        def count(text: str) -> int:
            return len(self.base.tokenizer(text, add_special_tokens=False).input_ids)

        settings = ClusterSettings(method="kmeans", clusters=3, seed=self.seed)
        return cluster_items(embed_items(lessons.items(count), self.encoder), settings)

    def run(self) -> None:
        """Trains and measures every method that has no rows yet."""
        done = {row["method"] for row in rows(self.out)}
        experts = self._train("experts", self.labels, self.config)
        library = self._library(experts)
        if "oracle" not in done:
            self._measure_experts(experts)
        twice = self.config.model_copy(update={"epochs": 2})
        wide = twice.model_copy(
            update={"rank": 8 * len(experts.clusters), "alpha": 16 * len(experts.clusters)}
        )
        for name, config in (("long", twice), ("wide", wide)):
            if name not in done:
                self._measure_one(name, self._train(name, {}, config), config)
        folds = None
        for name, changes in ROUTERS.items():
            if name in done:
                continue
            config = RouterConfig.like(self.config, **changes)
            if config.folds and folds is None:
                folds = cross_fit(
                    self.lessons.rows,
                    self.labels,
                    experts.clusters,
                    self.base,
                    self.work,
                    self.config,
                    config.folds,
                    say=print,
                )
            self._measure_router(name, library, config, folds if config.folds else None)

    def _train(self, name: str, labels: Mapping[str, int], config: TrainConfig) -> Trained:
        print(f"seed {self.seed}: {name}", flush=True)
        return train_experts(self.lessons.rows, labels, self.base, self.work / name, config)

    def _library(self, experts: Trained) -> ExpertLibrary:
        from bdc_agents.distill.save import save_library

        files = {CLUSTERS: self.clusters.to_json().encode()}
        return save_library(self.work / "library", experts, files=files)

    # --- measuring -----------------------------------------------------------------------------

    def _keep(self, method: str, sums: torch.Tensor) -> None:
        for row, loss in zip(self.rows, sums.tolist(), strict=True):
            kept = {"method": method, "problem": row.problem_id, "tokens": row.target_tokens}
            append(self.out, kept | {"loss": loss / row.target_tokens})
        tokens = sum(row.target_tokens for row in self.rows)
        print(f"seed {self.seed}: {method}: {float(sums.sum()) / tokens:.4f} a token", flush=True)

    def _sums(self, adapters: StackedAdapters, expert: int) -> torch.Tensor:
        pairs = [(n, expert) for n in range(len(self.rows))]
        return row_sums(RowLoss(adapters, self.rows), pairs, self.config.tokens_per_pass)

    def _measure_experts(self, experts: Trained) -> None:
        adapters = attach_experts(self.base.model, self.config, [experts.adapters])
        try:
            own = {name: self._sums(adapters, n) for n, name in enumerate(adapters.names)}
            near = torch.from_numpy(self.clusters.place(self.vectors.numpy())).argmax(1).tolist()
            of_cluster = {cluster: name for name, cluster in experts.clusters.items()}
            picked = [own[of_cluster.get(cluster, "shared")][n] for n, cluster in enumerate(near)]
            mine = [n for n, name in enumerate(adapters.names) if experts.clusters[name] >= 0]
            equal = torch.zeros(len(self.rows), len(adapters.names), self.config.rank)
            equal[:, mine] = 1 / max(1, len(mine))
            self._keep("base", self._sums(adapters, BASE))
            self._keep("shared", own["shared"])
            self._keep("nearest", torch.stack(picked))
            self._keep("uniform", self._mixed(adapters, dict.fromkeys(adapters.layers, equal)))
            self._keep("oracle", torch.stack([*own.values()]).min(0).values)
        finally:
            adapters.detach()

    def _mixed(self, adapters: StackedAdapters, weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        loss = RoutedLoss(
            adapters, self.rows, lambda some: {k: own[list(some)] for k, own in weights.items()}
        )
        return row_sums(loss, [(n, 0) for n in range(len(self.rows))], self.config.tokens_per_pass)

    def _measure_one(self, name: str, trained: Trained, config: TrainConfig) -> None:
        adapters = attach_experts(self.base.model, config, [trained.adapters])
        try:
            self._keep(name, self._sums(adapters, 0))
        finally:
            adapters.detach()

    def _measure_router(
        self, name: str, library: ExpertLibrary, config: RouterConfig, folds: Folds | None
    ) -> None:
        print(f"seed {self.seed}: router {name}", flush=True)
        trained = train_router(
            library,
            self.lessons.rows,
            self.base,
            self.encoder,
            config,
            problems=self.lessons.texts,
            folds=folds,
            work=self.work / f"router {name}",
        )
        router = trained.router
        states = {one: library.weights(one) for one in router.experts}
        adapters = attach_experts(self.base.model, library.shape, [states])
        try:
            self._keep(name, self._mixed(adapters, router.weights(self.vectors)))
        finally:
            adapters.detach()


def report() -> None:
    """Prints every method's loss, and the routers against the best baseline, chosen on validation."""
    losses: dict[str, dict[str, list[float]]] = {}
    tokens: dict[str, int] = {}
    for file in sorted(RESULTS.glob("seed-*.jsonl")):
        for row in rows(file.with_suffix("")):
            losses.setdefault(row["method"], {}).setdefault(row["problem"], []).append(row["loss"])
            tokens[row["problem"]] = row["tokens"]
    ordered = sorted(tokens, key=lambda one: position(one, DRAW))
    parts = {"validation": ordered[::3], "test": [one for n, one in enumerate(ordered) if n % 3]}
    means = {name: {one: fmean(own) for one, own in of.items()} for name, of in losses.items()}
    for part, ids in parts.items():
        print(f"{part}: {len(ids)} problems")
        for name, of in means.items():
            print(f"  {name}: {fmean(of[one] for one in ids):.4f} a problem")
    best = min(
        (name for name in BASELINES if name in means),
        key=lambda name: fmean(means[name][one] for one in parts["validation"]),
    )
    print(f"best baseline on validation: {best}")
    for name in (*ROUTERS, "oracle"):
        if name in means:
            gains = [means[best][one] - means[name][one] for one in parts["test"]]
            print(f"  {best} minus {name}: {_interval(gains)}")
    for kind in sorted({one.partition(":")[0] for one in tokens}):
        mine = [one for one in parts["test"] if one.startswith(f"{kind}:")]
        told = ", ".join(f"{name} {fmean(of[one] for one in mine):.4f}" for name, of in means.items())
        print(f"{kind}, {len(mine)}: {told}")


def _interval(differences: Sequence[float]) -> str:
    """Mean with Student's interval at 95 %."""
    from scipy.stats import t  # pyright: ignore[reportMissingTypeStubs]

    n, mean = len(differences), fmean(differences)
    spread = (sum((one - mean) ** 2 for one in differences) / (n - 1) / n) ** 0.5
    half = float(t.ppf(0.975, n - 1)) * spread
    return f"{mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}]"


def experiments(options: argparse.Namespace) -> Iterator[Experiment]:
    """One for each seed."""
    base = load_base(options.base)
    encoder = run_sync(load_encoder(EncoderConfig()))
    training, held = problems(options.data, base)
    for seed in options.seeds:
        yield Experiment(training, held, base, encoder, seed, options.state)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["run", "report"])
    parser.add_argument("--data", type=Path, help="folder of the problem sets")
    parser.add_argument("--state", type=Path, help="folder of checkpoints and libraries")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--base", default="local:smollm2-135m")
    options = parser.parse_args()
    if options.command == "report":
        report()
        return
    use_idle_cores()
    for experiment in experiments(options):
        experiment.run()


if __name__ == "__main__":
    main()
