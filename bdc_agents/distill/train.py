"""Training: one LoRA expert for each cluster and one on all rows, all in one pass.

Every expert is trained as if it were alone: its own batches, loss, gradient norm, optimiser,
schedule and early stop. Only the frozen base is shared, which runs once over the rows of a step.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bdc_agents.distill.base import Base
from bdc_agents.distill.recipe import TrainConfig
from bdc_agents.distill.rows import Encoded, encode_rows
from bdc_agents.distill.trained import Trained
from bdc_agents.distill.training import Report, Training, TrainingStopped, Watch, silent
from bdc_agents.errors import ProblemError
from bdc_agents.search.traces import Row

SHARED = "shared"
"""The name of the expert that is trained on all rows."""


def train_experts(
    rows: Sequence[Row],
    clusters: Sequence[int] | Mapping[str, int],
    base: Base,
    work: Path | str,
    config: TrainConfig | None = None,
    *,
    experts: Mapping[str, int] | None = None,
    start: Mapping[str, Mapping[str, Tensor]] | None = None,
    learn: Collection[str] | None = None,
    watch: Watch = silent,
    resume: bool = True,
) -> Trained:
    """Trains an expert for each cluster and, unless switched off, one on all rows.

    Args:
        rows: Supervised rows, as `training_rows` or `read_rows` give them.
        clusters: The cluster of each row, or of each problem by its id; a row of none (-1) trains
            the shared expert alone.
        base: Of `load_base`; it is given back as it was.
        work: A folder for checkpoints and `losses.jsonl`.
        config: The defaults if None.
        experts: The cluster of each expert by name, -1 for the shared one; None for one expert for
            each cluster that has rows.
        start: Weights to go on from, by expert and peft's names, for all of them; one that training
            does not improve keeps them.
        learn: The experts that are trained; None for all. The others are only compared with them.
        watch: Told about every step.
        resume: Go on from a checkpoint of the same inputs in `work`, to the same result.

    Raises:
        ProblemError: If there are too few rows.
        ModelError: If the base cannot be adapted as configured, or memory will not do.
        TrainingStopped: If a loss is not a number.
    """
    config = config or TrainConfig()
    if isinstance(clusters, Mapping):
        clusters = [clusters.get(row.problem_id, -1) for row in rows]
    encoded = encode_rows(
        rows,
        clusters,
        base.tokenizer,
        max_length=config.max_length,
        validation=config.validation,
        seed=config.seed,
    )
    members = assign(encoded, config) if experts is None else dict(experts)
    work = Path(work)
    work.mkdir(parents=True, exist_ok=True)
    device = base.model.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        training = Training(encoded, members, base, work, config, watch, start=start, learn=learn)
        try:
            return training.run(resume)
        finally:
            training.close()


def assign(encoded: Encoded, config: TrainConfig) -> dict[str, int]:
    """The experts to train, and the cluster of each; -1 for the shared one.

    Raises:
        ProblemError: If a cluster has too few training rows, or nothing can be trained.
    """
    sizes = Counter(row.cluster for row in encoded.train)
    found = {row.cluster for row in (*encoded.train, *encoded.validation)} - {-1}
    few = {cluster: sizes[cluster] for cluster in sorted(found) if sizes[cluster] < config.min_rows}
    if few and (config.small == "error" or not config.shared):
        listed = ", ".join(f"cluster {cluster} has {size}" for cluster, size in few.items())
        raise ProblemError(
            f"an expert needs min_rows={config.min_rows} training rows; {listed}. Solve more problems, "
            "take fewer clusters, lower min_rows, or set small = 'shared' so that these train the shared "
            "expert alone"
        )
    experts = {f"cluster-{cluster}": cluster for cluster in sorted(found - few.keys())}
    experts |= {SHARED: -1} if config.shared else {}
    if not experts or len(encoded.train) < config.min_rows:
        raise ProblemError(
            f"{len(encoded.train)} training rows in {len(found)} clusters; an expert needs "
            f"min_rows={config.min_rows}. Solve more problems, or lower min_rows"
        )
    return experts


__all__ = ["SHARED", "Report", "Trained", "TrainingStopped", "assign", "train_experts"]
