"""Training the router: end to end through the frozen base and experts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bdc_agents.distill.base import Base
from bdc_agents.distill.embed import Encoder
from bdc_agents.distill.experts import check_base, library_clusters
from bdc_agents.distill.items import items_of_rows
from bdc_agents.distill.library import ExpertLibrary
from bdc_agents.distill.route_training import METRICS, RouterTrained, RouterTraining
from bdc_agents.distill.routing import RouterConfig
from bdc_agents.distill.rows import EncodedRow, encode_rows
from bdc_agents.distill.training import Watch, silent
from bdc_agents.search.traces import Row


def train_router(
    library: ExpertLibrary,
    rows: Sequence[Row],
    base: Base,
    encoder: Encoder,
    config: RouterConfig | None = None,
    *,
    problems: Mapping[str, str] | None = None,
    work: Path | str | None = None,
    watch: Watch = silent,
    resume: bool = True,
) -> RouterTrained:
    """Trains a router for a library's experts; it is not saved into the library.

    Args:
        library: With experts and clusters.
        rows: Supervised rows, those that the experts were trained on.
        base: The library's base; it is given back as it was.
        encoder: The one that the problems were clustered with.
        config: The defaults if None.
        problems: Texts of the problems by id, as they are embedded when they are solved; where one is
            missing, the last message of a row's prompt stands for it.
        work: A folder for checkpoints and losses; None for none.
        watch: Told about every step.
        resume: Go on from a checkpoint of the same inputs in `work`, to the same result.

    Raises:
        ModelError: If base, encoder or experts do not fit, or there is nothing to route to.
        ProblemError: If no row can be used.
        TrainingStopped: If a loss is not a number.
    """
    config = config or RouterConfig()
    check_base(library, base)
    clusters = library_clusters(library)
    clusters.check_encoder(encoder)
    labels = clusters.label_of()
    encoded = encode_rows(
        rows,
        [labels.get(row.problem_id, -1) for row in rows],
        base.tokenizer,
        max_length=config.max_length,
        validation=config.validation,
        seed=config.seed,
    )
    vectors = row_vectors(rows, (*encoded.train, *encoded.validation), encoder, problems)
    device = base.model.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        training = RouterTraining(library, encoded, vectors, base, config, work, watch)
        try:
            return training.run(resume)
        finally:
            training.close()


def row_vectors(
    rows: Sequence[Row],
    encoded: Sequence[EncodedRow],
    encoder: Encoder,
    problems: Mapping[str, str] | None = None,
) -> Tensor:
    """The embedding of each encoded row's problem, shape (encoded rows, d)."""
    items = items_of_rows(rows, problems)
    place = {item.id: n for n, item in enumerate(items)}
    found = torch.from_numpy(encoder.embed([item.problem for item in items]))
    return found[[place[row.problem_id] for row in encoded]]


__all__ = ["METRICS", "RouterTrained", "row_vectors", "train_router"]
