"""The figures of an evaluation and how sure they are; plain Python, the same on every machine."""

import random
from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import NormalDist, fmean

from bdc_agents.types import Frozen

RESAMPLES = 10_000
"""Of a bootstrap: the ends of its interval are then good to about a tenth of its width."""


class Interval(Frozen):
    """An estimate with the interval that covers the true value in 95 of 100 such evaluations."""

    value: float
    low: float
    high: float


class Difference(Interval):
    """The mean of paired differences, its interval, and over how many problems.

    Args:
        better, worse: Problems on which the first did better, or worse, than the second.
    """

    problems: int
    better: int
    worse: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def pass_at_k(samples: int, solved: int, k: int) -> float:
    """The chance that one of `k` samples is right, estimated without bias from `samples` of them.

    The estimator of the Codex paper (arXiv 2107.03374): 1 - C(n - c, k) / C(n, k).

    Args:
        samples: Programs drawn for the problem, n.
        solved: How many of them are right, c.
        k: How many draws.

    Raises:
        ValueError: If there are fewer samples than `k`, or the counts make no sense.
    """
    if not (1 <= k <= samples and 0 <= solved <= samples):
        raise ValueError(f"pass@{k} of {solved} right in {samples} samples is not defined")
    missed = 1.0
    for number in range(k):
        missed *= max(samples - solved - number, 0) / (samples - number)
    return 1.0 - missed


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a share.

    It stays within [0, 1] and keeps its promise for few trials and for shares near the ends.

    Raises:
        ValueError: If there are no trials, or more successes than trials.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a share")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / trials
    scale = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    reach = z / scale * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    # At the ends the exact interval reaches 0 or 1; rounding may miss it by a bit.
    low = 0.0 if successes == 0 else centre - reach
    high = 1.0 if successes == trials else centre + reach
    return Interval(value=share, low=max(0.0, low), high=min(1.0, high))


def bootstrap(
    values: Sequence[float], confidence: float = 0.95, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The percentile interval of a mean, by drawing the values again with replacement.

    Args:
        values: One for each problem.
        confidence: Of the interval.
        resamples: How often the values are drawn again.
        seed: The same seed gives the same interval.

    Raises:
        ValueError: If there are no values.
    """
    if not values:
        raise ValueError("a mean needs at least one value")
    mean = fmean(values)
    if min(values) == max(values):
        return Interval(value=mean, low=mean, high=mean)
    source, count = random.Random(seed), len(values)
    means = sorted(sum(source.choices(values, k=count)) / count for _ in range(resamples))
    tail = (1 - confidence) / 2
    low = means[int(tail * resamples)]
    high = means[min(resamples - 1, int((1 - tail) * resamples))]
    return Interval(value=mean, low=min(low, mean), high=max(high, mean))


def mean_interval(values: Sequence[float]) -> Interval:
    """A mean over problems with its interval: Wilson's for yes and no, else the bootstrap's.

    Raises:
        ValueError: If there are no values.
    """
    if values and all(value in (0.0, 1.0) for value in values):
        return wilson(round(sum(values)), len(values))
    return bootstrap(values)


def paired(
    first: Sequence[float], second: Sequence[float], *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """How much better the first did than the second on the same problems.

    The problems are drawn again, each with both of its values, so that what makes a problem hard
    for both cancels out.

    Args:
        first, second: A value for each problem, in the same order.
        resamples, seed: Of the bootstrap.

    Raises:
        ValueError: If the lengths differ or there are no problems.
    """
    differences = [a - b for a, b in zip(first, second, strict=True)]
    interval = bootstrap(differences, resamples=resamples, seed=seed)
    return Difference(
        **interval.model_dump(),
        problems=len(differences),
        better=sum(difference > 0 for difference in differences),
        worse=sum(difference < 0 for difference in differences),
    )


# --- what was reached with how much ----------------------------------------------------------

Course = Sequence[tuple[float, float]]
"""Of one problem: what was spent when the answer changed, and whether it was then right."""


def reached(course: Course, budget: float) -> float:
    """What a problem's answer is worth once `budget` is spent: its last answer until then, or 0."""
    return next((worth for spent, worth in reversed(course) if spent <= budget), 0.0)


def curve(courses: Sequence[Course]) -> list[tuple[float, float]]:
    """The mean over problems of what is reached, at every spend at which it changes.

    Args:
        courses: One for each problem, each ordered by spend.

    Returns:
        Steps of a right-continuous function: from this spend on, this mean.
    """
    changes: list[tuple[float, float]] = []
    for course in courses:
        before = 0.0
        for spent, worth in course:
            changes.append((spent, worth - before))
            before = worth
    steps: list[tuple[float, float]] = []
    total = 0.0
    for spent, change in sorted(changes):
        total += change
        if steps and steps[-1][0] == spent:
            steps.pop()
        steps.append((spent, total / len(courses)))
    return _without_repeats(steps)


def _without_repeats(steps: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    kept: list[tuple[float, float]] = []
    for spent, value in steps:
        if value != (kept[-1][1] if kept else 0.0):
            kept.append((spent, value))
    return kept
