"""How often the figures of an evaluation keep their promise, on made-up evaluations whose truth is known.

    python benchmarks/intervals.py --rounds 2000 --out benchmarks/results/intervals.json

False alarms: two solvers that do equally well, called *clearly* different. Coverage: 95 % intervals that
hold the true value, of a difference and of one solver's share. The percentile bootstrap, which was used
before, stands beside them. A problem's chance of being solved is drawn from Beta(1/2, 1/2): most are easy
or hard. A worse solver fails a share of what the better one solves.
"""

import argparse
import json
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from statistics import fmean

from bdc_agents.evaluate.figures.metrics import mean_interval, paired

RESAMPLES = 1000
PROBLEMS, SAMPLES, KEPT = (5, 20, 120), (1, 5), (1.0, 0.8, 0.5)
Ends = tuple[float, float]


def bootstrap(values: Sequence[float], source: random.Random) -> Ends:
    """The percentile interval of a mean."""
    count = len(values)
    means = sorted(fmean(source.choices(values, k=count)) for _ in range(RESAMPLES))
    return means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES)]


def rates(chances: Sequence[float], samples: int, source: random.Random) -> list[float]:
    """What one solver reaches on each problem."""
    return [sum(source.random() < chance for _ in range(samples)) / samples for chance in chances]


def one(problems: int, samples: int, kept: float, seed: int) -> dict[str, float]:
    """One evaluation of two solvers, of which the second keeps this share of the first one's chances."""
    source = random.Random(f"{problems} {samples} {kept} {seed}")
    chances = [source.betavariate(0.5, 0.5) for _ in range(problems)]
    first = rates(chances, samples, source)
    second = rates([kept * chance for chance in chances], samples, source)
    share, apart = mean_interval(first), paired(first, second, seed=seed)
    old = bootstrap([a - b for a, b in zip(first, second, strict=True)], source)
    truth = 0.5 - 0.5 * kept
    return {
        "clear": apart.clear,
        "covered": apart.low <= truth <= apart.high,
        "width": apart.high - apart.low,
        "old clear": old[0] > 0 or old[1] < 0,
        "old covered": old[0] <= truth <= old[1],
        "share covered": share.low <= 0.5 <= share.high,
        "old share covered": (lambda ends: ends[0] <= 0.5 <= ends[1])(bootstrap(first, source)),
    }


def case(setting: tuple[int, int, float, int]) -> dict[str, float]:
    """The means of many evaluations."""
    problems, samples, kept, rounds = setting
    found = [one(problems, samples, kept, seed) for seed in range(rounds)]
    means = {key: round(fmean(row[key] for row in found), 4) for key in found[0]}
    return {"problems": problems, "samples": samples, "difference": round(0.5 - 0.5 * kept, 3)} | means


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2000, help="evaluations of each kind")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    settings = [(*setting, given.rounds) for setting in product(PROBLEMS, SAMPLES, KEPT)]
    with ProcessPoolExecutor(given.workers) as pool:
        found = []
        for row in pool.map(case, settings):
            found.append(row)
            print(row, flush=True)
    if given.out:
        given.out.write_text(json.dumps({"rounds": given.rounds, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
