"""Metrics of segments: known values, and naive references over single steps."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_cde.evaluation.segment_metrics import (
    alarm_rate,
    edit_score,
    false_alarms,
    idle_steps,
    match,
    onset_errors,
    overlap,
    segmental_f1,
    spearman,
)

FRAMES = 13
TRUE = [(2, 6, "open"), (8, 9, "dirty")]


@st.composite
def segmentations(draw):
    """Segments of two labels in order of time that do not overlap."""
    edges = sorted(draw(st.sets(st.integers(0, FRAMES - 1), min_size=0, max_size=6)))
    found = [(a, b, draw(st.sampled_from("xy"))) for a, b in zip(edges, edges[1:], strict=False)]
    return [segment for segment in found if draw(st.booleans())]


def steps(segment):
    return set(range(segment[0], segment[1]))


@settings(max_examples=100, deadline=None)
@given(segmentations(), segmentations())
def test_overlaps_and_alarms_are_those_of_sets_of_steps(found, true):
    for one in found:
        for other in true:
            assert overlap(one, other) == len(steps(one) & steps(other)) / len(steps(one) | steps(other))
    acted = {step for segment in true for step in steps(segment)}
    assert false_alarms(found, true) == sum(not steps(segment) & acted for segment in found)
    assert idle_steps(true, FRAMES) == FRAMES - 1 - len(acted)
    for least in (0.1, 0.25, 0.5):
        pairs = match(found, true, least)
        assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
        assert all(found[i][2] == true[j][2] and overlap(found[i], true[j]) >= least for i, j in pairs)
    # Above one half no two can claim the same, so a match is simply such a pair.
    pairs = {(i, j) for i, f in enumerate(found) for j, t in enumerate(true) if f[2] == t[2] and overlap(f, t) > 0.5}
    assert set(match(found, true, 0.5000001)) == pairs
    assert onset_errors(found, true, 0.1) == [abs(found[i][0] - true[j][0]) for i, j in match(found, true, 0.1)]


@settings(max_examples=100, deadline=None)
@given(segmentations(), segmentations())
def test_the_edit_score_is_that_of_recursion(found, true):
    a, b = ("".join(segment[2] for segment in segments) for segments in (found, true))

    @cache
    def edits(i, j):
        if not i or not j:
            return i + j
        return min(edits(i - 1, j) + 1, edits(i, j - 1) + 1, edits(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    expected = 1.0 if not a and not b else 1 - edits(len(a), len(b)) / max(len(a), len(b))
    assert edit_score(found, true) == pytest.approx(expected)
    assert edit_score(found, true) == edit_score(true, found)


def test_known_values():
    assert segmental_f1([TRUE], [TRUE], 0.5) == edit_score(TRUE, TRUE) == 1
    late = [(4, 6, "open"), (8, 9, "clean"), (10, 11, "open")]  # half of the first, a wrong name, a false alarm
    assert segmental_f1([late], [TRUE], 0.5) == pytest.approx(2 * 1 / 5)
    assert segmental_f1([late], [TRUE], 0.51) == 0
    assert edit_score(late, TRUE) == pytest.approx(1 / 3)
    assert onset_errors(late, TRUE) == [2]
    assert false_alarms(late, TRUE) == 1
    assert idle_steps(TRUE, FRAMES) == 7
    split = [(2, 4, "open"), (4, 6, "open")]  # the second finds what the first has taken
    assert match(split, TRUE, 0.5) == [(0, 0)]
    assert segmental_f1([split, []], [TRUE, TRUE], 0.1) == pytest.approx(2 * 1 / 6)
    assert segmental_f1([[]], [TRUE], 0.1) == 0 and edit_score([], TRUE) == 0
    assert math.isnan(segmental_f1([[]], [[]], 0.1)) and edit_score([], []) == 1


def test_the_rate_of_alarms_is_per_minute_or_per_thousand_steps():
    assert alarm_rate(3, 600) == 5
    assert alarm_rate(3, 600, frames_per_second=10) == 3  # 600 steps are a minute
    assert math.isnan(alarm_rate(0, 0))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12))
def test_spearman_is_the_correlation_of_mean_ranks(pairs):
    def ranks(values):
        return [sum(v < w for v in values) + (sum(v == w for v in values) + 1) / 2 for w in values]

    a, b = map(list, zip(*pairs, strict=True))
    found = spearman(a, b)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(np.corrcoef(ranks(a), ranks(b))[0, 1], abs=1e-9)
        assert spearman([-v for v in a], b) == pytest.approx(-found, abs=1e-9)
        assert spearman([v**3 + v for v in a], b) == pytest.approx(found, abs=1e-9)


def test_spearman_of_a_monotone_meter_is_1():
    assert spearman([0.0, 0.1, 5.0, 7.0], [0, 1, 2, 3]) == pytest.approx(1)
    assert spearman([3, 2, 1], [1, 2, 3]) == pytest.approx(-1)
