"""Figures of an evaluation with their uncertainty, in plain Python: the same on every machine."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from math import ceil, comb, fsum, sqrt
from operator import and_, getitem
from random import Random
from statistics import NormalDist, fmean

from bdc_agents.types import Frozen

CONFIDENCE = 0.95
"""The usual level of intervals; it matches `ALPHA`."""
ALPHA = 0.05
"""The usual level of tests: how often two equally good solvers may at most be called different."""
EXACT = 32
"""Largest number of differing problems for which every way to swap the two solvers is counted: 2^32 ways,
counted as two halves of 2^16."""
DRAWS = 20_000
"""Ways to swap that are drawn if there are more: two standard errors of a p of 0.05 are then 0.003."""


class Interval(Frozen):
    """An estimate with the interval that covers the true value in 95 of 100 such evaluations."""

    value: float
    low: float
    high: float


class Difference(Interval):
    """The mean of paired differences, its interval, and over how many problems.

    Args:
        better, worse: Problems on which the first did better, or worse, than the second.
        p: Of `swap_test`: how often chance alone would set apart two solvers that do equally well as
            far as these, or farther.
    """

    problems: int
    better: int
    worse: int
    p: float

    @property
    def clear(self) -> bool:
        """Whether the test tells the difference from chance; zero is then no more than an end."""
        return self.p < ALPHA


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


def wilson(successes: float, trials: float, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a share.

    It stays within [0, 1] and keeps its promise for few trials and for shares near the ends.

    Raises:
        ValueError: If there are no trials, or more successes than trials.
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(f"{successes:g} of {trials:g} is not a share")
    z = _z(confidence)
    share = successes / trials
    scale = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    reach = z / scale * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    # At the ends the exact interval reaches 0 or 1; rounding may miss it by a bit.
    low = 0.0 if successes == 0 else centre - reach
    high = 1.0 if successes == trials else centre + reach
    return Interval(value=share, low=max(0.0, low), high=min(1.0, high))


def mean_interval(values: Sequence[float]) -> Interval:
    """A mean of shares, one for each problem, with Wilson's interval.

    Of yes and no it is the usual one. Shares in between spread less than yes and no with the same mean,
    and so are worth more trials than there are problems: the design effect of surveys (Kish 1965; with
    Wilson's interval Franco, Little, Louis and Slud 2019). Few values show little of their spread, so
    two more problems are counted that spread like yes and no.

    Raises:
        ValueError: If there are no values, or one is no share.
    """
    if not values or min(values) < 0 or max(values) > 1:
        raise ValueError("a mean of shares needs at least one value, and values from 0 to 1")
    count, mean = len(values), fmean(values)
    most = mean * (1 - mean)
    if most <= 0:
        return wilson(mean * count, count)
    spread = fsum((value - mean) ** 2 for value in values)
    effect = min(1.0, (spread + 2 * most) / ((count + 2) * most))
    trials = count / effect
    interval = wilson(min(mean * trials, trials), trials)
    return interval.model_copy(update={"value": mean})


def paired(
    first: Sequence[float], second: Sequence[float], *, shares: bool = True, seed: int = 0
) -> Difference:
    """How much better the first did than the second on the same problems.

    The interval is that of Bonett and Price (2012), which holds for few pairs and for pairs that never
    differ: two problems are added on which they differ as much as on any, one each way; for yes and no
    these are their two counts of one. It is widened to zero where `swap_test` cannot tell the difference
    from chance, and ends there where it can, so that the two never say different things.

    Args:
        first, second: A value for each problem, in the same order.
        shares: Whether the values are shares, so that no difference is above 1.
        seed: Of the draws of `swap_test`.

    Raises:
        ValueError: If the lengths differ or there are no problems.
    """
    differences = [a - b for a, b in zip(first, second, strict=True)]
    if not differences:
        raise ValueError("a difference needs at least one problem")
    mean, p = fmean(differences), swap_test(differences, seed=seed)
    low, high = _bonett_price(differences, 1.0 if shares else 0.0)
    if p >= ALPHA:
        low, high = min(low, 0.0), max(high, 0.0)
    elif mean > 0:
        low = max(low, 0.0)
    else:
        high = min(high, 0.0)
    if shares:
        low, high = max(low, -1.0), min(high, 1.0)
    return Difference(
        value=mean,
        low=min(low, mean),
        high=max(high, mean),
        problems=len(differences),
        better=sum(difference > 0 for difference in differences),
        worse=sum(difference < 0 for difference in differences),
        p=p,
    )


def _bonett_price(differences: Sequence[float], unseen: float) -> tuple[float, float]:
    """The interval's ends; `unseen` is how much problems may differ where none of them does."""
    most = max(map(abs, differences)) or unseen
    count = len(differences) + 2
    mean = fsum(differences) / count
    square = (fsum(one * one for one in differences) + 2 * most * most) / count
    reach = _z(CONFIDENCE) * sqrt(max(0.0, square - mean * mean) / count)
    return mean - reach, mean + reach


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)


# --- chance ----------------------------------------------------------------------------------


def swap_test(differences: Sequence[float], *, seed: int = 0) -> float:
    """The two-sided p of paired differences, where the two solvers do equally well.

    Then the two could be swapped on each problem. p is the share of all ways to swap them of which the
    sum is as far from zero (Fisher's randomisation test, 1935). Where each problem differs by as much,
    as with yes and no, it is the exact test of McNemar (1947). Not its mid-p variant: that one finds
    more, and calls chance clear more often than it says where problems are few.

    Args:
        differences: One for each problem.
        seed: Of the ways that are drawn where more than `EXACT` problems differ by different amounts; as
            the one seen is counted among them, p is never too small (Phipson and Smyth 2010).
    """
    sizes = sorted(abs(one) for one in differences if one)
    if not sizes:
        return 1.0
    whole, seen = fsum(sizes), abs(fsum(differences))
    # The side that wins has at least this much. The margins of 1e-9 and 1e-6 allow for rounding of sums.
    least = (whole + seen) / 2 - 1e-9 * whole
    if sizes[-1] - sizes[0] <= 1e-9 * sizes[-1]:
        wins = ceil(least / sizes[0] - 1e-6)
        above = sum(comb(len(sizes), won) for won in range(wins, len(sizes) + 1))
        return min(1.0, 2 * above / 2 ** len(sizes))
    if len(sizes) <= EXACT:
        return min(1.0, 2 * _reaching(sizes, least) / 2 ** len(sizes))
    drawn = _drawn(sizes, seed)
    far = sum(won >= least or whole - won >= least for won in drawn)
    return (far + 1) / (DRAWS + 1)


def _reaching(sizes: Sequence[float], least: float) -> int:
    """How many of all sums of some of the sizes reach `least`."""
    half = len(sizes) // 2
    others = sorted(_sums(sizes[half:]))
    return sum(len(others) - bisect_left(others, least - one) for one in _sums(sizes[:half]))


def _drawn(sizes: Sequence[float], seed: int) -> Iterator[float]:
    """Sums of some of the sizes, each of which is in with a chance of one half."""
    source = Random(seed)
    # Eight sizes at a time: a random byte says which of them are in.
    tables = [_sums(sizes[start : start + 8]) for start in range(0, len(sizes), 8)]
    masks = [len(table) - 1 for table in tables]
    for _ in range(DRAWS):
        chosen = map(and_, source.randbytes(len(tables)), masks)
        yield sum(map(getitem, tables, chosen))


def _sums(sizes: Sequence[float]) -> list[float]:
    """The sums of all subsets."""
    sums = [0.0]
    for size in sizes:
        sums += [size + one for one in sums]
    return sums


# --- what was reached with how much ----------------------------------------------------------

Timeline = Sequence[tuple[float, float]]
"""Of one problem: what was spent when the answer changed, and whether it was then right."""


def reached(timeline: Timeline, budget: float) -> float:
    """What a problem's answer is worth once `budget` is spent: its last answer until then, or 0."""
    return next((worth for spent, worth in reversed(timeline) if spent <= budget), 0.0)


def curve(timelines: Sequence[Timeline]) -> list[tuple[float, float]]:
    """The mean over problems of what is reached, at every spend at which it changes.

    Args:
        timelines: One for each problem, each ordered by spend.

    Returns:
        Steps of a right-continuous function: from this spend on, this mean.
    """
    changes: list[tuple[float, float]] = []
    for timeline in timelines:
        before = 0.0
        for spent, worth in timeline:
            changes.append((spent, worth - before))
            before = worth
    steps: list[tuple[float, float]] = []
    total = 0.0
    for spent, change in sorted(changes):
        total += change
        if steps and steps[-1][0] == spent:
            steps.pop()
        steps.append((spent, total / len(timelines)))
    return _without_repeats(steps)


def _without_repeats(steps: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    kept: list[tuple[float, float]] = []
    for spent, value in steps:
        if value != (kept[-1][1] if kept else 0.0):
            kept.append((spent, value))
    return kept
