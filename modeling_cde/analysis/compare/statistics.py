"""Statistics over a few seeds: mean, spread, and the bootstrap interval of a paired difference.

Two methods are compared by their difference under the same seed (and split), because the effect that a seed has on both
then cancels. The interval shows how far the mean of those differences moves when the seeds are resampled with
replacement (Efron's percentile bootstrap).

With few seeds it is too narrow. Three seeds have 27 resamples; the smallest and largest mean are the smallest and
largest difference, so the "95 %" interval is their range, and the true mean is outside whenever all three differences
fall on one side of it: 2 · (1/2)³ = 25 % of the time. `NORMAL_COVERAGE` states how often the interval holds the true
mean of normally distributed differences, as measured by `simulated_coverage`. The interval also ignores what all seeds
share: the pairs of the test split, and the split itself where it is fixed.
"""

import functools
import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..extra import analysis_extra

# Up to this many seeds every resample is enumerated (6^6 = 46,656); above, so many are drawn.
LARGEST_ENUMERATED = 6
DRAWN_RESAMPLES = 10_000

# Seeds -> share of 95 % intervals that hold the true mean, which should be 0.95: `simulated_coverage` with 20,000
# simulations (2 to 5 seeds) and 4,000 (6 to 10), so the second digit is off by one at most.
NORMAL_COVERAGE = {2: 0.50, 3: 0.75, 4: 0.80, 5: 0.84, 6: 0.87, 8: 0.89, 10: 0.90}


@dataclass(frozen=True)
class Interval:
    """A bootstrap interval of a mean.

    Attributes:
        low: lower end, in the units of the values.
        high: upper end, at least `low`.
        level: share of resampled means that it should hold, in (0, 1).
        exact: whether all resamples were enumerated; otherwise they were drawn.
    """

    low: float
    high: float
    level: float
    exact: bool


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean of at least one value."""
    if not values:
        raise ValueError("the mean needs at least one value: pass one or more.")
    return statistics.fmean(values)


def sample_std(values: Sequence[float]) -> float | None:
    """Sample standard deviation, sqrt(Σ (v − mean)² / (n − 1)), at least 0; None for fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else None


def paired_bootstrap(differences: Sequence[float], level: float = 0.95, seed: int = 0) -> Interval | None:
    """Percentile bootstrap interval of the mean of paired differences.

    For n <= 6, all N = n^n resamples with replacement are enumerated; floor((1 − level) / 2 · N) of their sorted means
    are cut off at each end, and the outermost that remain are the interval, so that never more is cut off than the
    level allows. For more seeds, `scipy.stats.bootstrap` draws 10,000 resamples.

    Args:
        differences: one per seed, finite.
        level: share of resampled means to hold, in (0, 1).
        seed: seed of the drawn resamples: equal input gives equal output.

    Returns:
        The interval, or None for fewer than two differences: one seed says nothing about spread.

    Raises:
        ValueError: if `level` is not in (0, 1) or a difference is not finite.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level} is not between 0 and 1: pass a share such as 0.95.")
    values = np.asarray(differences, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a difference is not finite: leave out the run whose metric is NaN, and say so.")
    n = len(values)
    if n < 2:
        return None
    if n > LARGEST_ENUMERATED:
        with analysis_extra():
            from scipy.stats import bootstrap

        options = {"n_resamples": DRAWN_RESAMPLES, "confidence_level": level, "method": "percentile"}
        drawn = bootstrap((values,), np.mean, **options, rng=np.random.default_rng(seed)).confidence_interval
        return Interval(float(drawn.low), float(drawn.high), level, exact=False)
    means = np.sort(values[_all_choices(n)].mean(axis=1))
    cut = math.floor((1 - level) / 2 * len(means) + 1e-9)  # 0.5 · 4 is 2, whatever floating point makes of it
    return Interval(float(means[cut]), float(means[-1 - cut]), level, exact=True)


@functools.lru_cache
def _all_choices(n: int) -> np.ndarray:
    """(n^n, n): every way to draw n of n with replacement."""
    return np.array(list(itertools.product(range(n), repeat=n)))


def simulated_coverage(n: int, level: float = 0.95, simulations: int = 2000, seed: int = 0) -> float:
    """How often the interval over n normally distributed differences holds their true mean.

    Args:
        n: seeds, at least 2.
        level: level of the interval.
        simulations: experiments to simulate; the standard error of the result is at most 0.5 / sqrt(simulations).
        seed: seed of the simulation.

    Returns:
        A share in [0, 1]; the interval is honest where it is near `level`.
    """
    random = np.random.default_rng(seed)
    held = 0
    for _ in range(simulations):
        interval = paired_bootstrap(random.standard_normal(n).tolist(), level)
        if interval is None:
            raise ValueError(f"n={n}: an interval needs at least two seeds.")
        held += interval.low <= 0 <= interval.high
    return held / simulations


def expected_coverage(n: int) -> float | None:
    """`NORMAL_COVERAGE` for n seeds, or for the next smaller number in the table; None for fewer than two."""
    known = [count for count in NORMAL_COVERAGE if count <= n]
    return NORMAL_COVERAGE[max(known)] if known else None
