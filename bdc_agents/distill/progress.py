"""What a training tells while it runs."""

from collections.abc import Callable

from bdc_agents.errors import BDCError
from bdc_agents.types import Frozen


class TrainingStopped(BDCError):
    """A loss or gradient was no longer a number; what was learnt before is in the checkpoint."""


class Report(Frozen):
    """Where training is, after a step or, with `validation`, an epoch.

    Args:
        step: Of the pass, counted from 1, of `steps`.
        losses: Mean loss of each expert's batch in this step.
        validation: Loss of each expert on its validation rows.
        tokens: Trained on so far, prompts included.
        seconds: Since training started or went on.
    """

    epoch: int
    step: int
    steps: int
    losses: dict[str, float] = {}
    rates: dict[str, float] = {}
    norms: dict[str, float] = {}
    validation: dict[str, float] = {}
    tokens: int = 0
    seconds: float = 0.0


Watch = Callable[[Report], None]
"""Called after each step and each epoch."""


def silent(_: Report) -> None:
    """Progress that nobody watches."""
