"""Mean, spread and bootstrap, each against a formula or an enumeration written out here."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_cde.analysis.compare.statistics import (
    NORMAL_COVERAGE,
    expected_coverage,
    mean,
    paired_bootstrap,
    sample_std,
    simulated_coverage,
)

values = st.floats(-1, 1, allow_nan=False).map(lambda value: round(value, 4))


def naive_interval(differences, level):
    """All resamples as tuples, sorted means, as much cut off on each side as the level allows."""
    n = len(differences)
    means = sorted(math.fsum(sample) / n for sample in itertools.product(differences, repeat=n))
    cut = 0
    while (cut + 1) / len(means) <= (1 - level) / 2 + 1e-12:
        cut += 1
    return means[cut], means[len(means) - 1 - cut]


@given(st.lists(values, min_size=2, max_size=4), st.sampled_from([0.5, 0.8, 0.95, 0.99]))
def test_the_interval_is_that_of_all_resamples(differences, level):
    interval = paired_bootstrap(differences, level)
    assert interval.exact and interval.level == level
    assert (interval.low, interval.high) == pytest.approx(naive_interval(differences, level), abs=1e-12)


def test_five_seeds_are_enumerated_too():
    differences = [0.01, -0.02, 0.05, 0.03, 0.0]
    interval = paired_bootstrap(differences)
    assert (interval.low, interval.high) == pytest.approx(naive_interval(differences, 0.95), abs=1e-12)


def test_three_seeds_give_their_range():
    """27 resamples: the smallest has 1/27 = 3.7 % of them, more than the 2.5 % that may be cut off."""
    interval = paired_bootstrap([0.3, 0.1, 0.2])
    assert (interval.low, interval.high) == pytest.approx((0.1, 0.3))


def test_many_seeds_are_drawn_and_agree_with_the_normal_approximation():
    differences = np.random.default_rng(3).normal(0.1, 0.05, 40).tolist()
    interval = paired_bootstrap(differences)
    assert not interval.exact and interval == paired_bootstrap(differences)
    error = np.std(differences) / math.sqrt(40)  # the resampled mean's own standard deviation
    assert interval.low == pytest.approx(np.mean(differences) - 1.96 * error, abs=0.25 * error)
    assert interval.high == pytest.approx(np.mean(differences) + 1.96 * error, abs=0.25 * error)


@given(st.lists(values, min_size=2, max_size=5), values)
def test_the_interval_moves_and_turns_with_the_differences(differences, shift):
    interval = paired_bootstrap(differences)
    moved = paired_bootstrap([value + shift for value in differences])
    turned = paired_bootstrap([-value for value in differences])
    assert (moved.low, moved.high) == pytest.approx((interval.low + shift, interval.high + shift), abs=1e-9)
    assert (-turned.high, -turned.low) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert min(differences) - 1e-12 <= interval.low <= interval.high <= max(differences) + 1e-12


def test_one_seed_has_neither_interval_nor_spread():
    assert paired_bootstrap([0.2]) is None and paired_bootstrap([]) is None
    assert sample_std([0.2]) is None and mean([0.2]) == 0.2


def test_mean_and_spread_by_their_formulas():
    numbers = [0.9, 0.95, 0.97]
    centre = sum(numbers) / 3
    assert mean(numbers) == pytest.approx(centre)
    assert sample_std(numbers) == pytest.approx(math.sqrt(sum((v - centre) ** 2 for v in numbers) / 2))


@pytest.mark.parametrize(
    ("differences", "level", "said"),
    [
        ([0.1, float("nan")], 0.95, "not finite"),
        ([0.1, 0.2], 95, "level=95 is not between"),
        ([0.1], 0.0, "not between 0 and 1"),
    ],
)
def test_what_cannot_be_is_refused(differences, level, said):
    with pytest.raises(ValueError, match=said):
        paired_bootstrap(differences, level)
    with pytest.raises(ValueError, match="at least one value"):
        mean([])


@pytest.mark.parametrize(("n", "simulations"), [(2, 2000), (3, 2000), (5, 600)])
def test_the_stated_coverage_is_what_a_simulation_finds(n, simulations):
    """Another seed than the table's; five standard errors of the simulation, and the table's rounding."""
    error = 5 * math.sqrt(0.25 / simulations) + 0.01
    assert simulated_coverage(n, simulations=simulations, seed=1) == pytest.approx(NORMAL_COVERAGE[n], abs=error)


def test_the_coverage_of_two_and_three_seeds_has_a_closed_form():
    """The range of n symmetric values misses their centre if all lie on one side: 2 · (1/2)^n."""
    assert NORMAL_COVERAGE[2] == 1 - 2 * 0.5**2 and NORMAL_COVERAGE[3] == 1 - 2 * 0.5**3


def test_the_coverage_of_a_number_between_two_is_that_of_the_smaller():
    assert expected_coverage(7) == NORMAL_COVERAGE[6] and expected_coverage(50) == NORMAL_COVERAGE[10]
    assert expected_coverage(1) is None
