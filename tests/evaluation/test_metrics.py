"""Metrics against a naive reference written from their definitions, and against values computed by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_cde.evaluation.metrics import accuracy_gap, compute_action_metrics

ACTIONS = ["open", "close", "break"]
OPPOSITES = {"open": "close", "close": "open"}


def test_values_computed_by_hand():
    metrics = compute_action_metrics(
        predictions=[0, 1, 0, 2, 1],
        references=[0, 0, 0, 2, 2],
        action_names=ACTIONS,
        objects=["safe", "safe", "box", "vase", "vase"],
        opposites=OPPOSITES,
    )
    assert metrics["n"] == 5
    assert metrics["accuracy"] == pytest.approx(3 / 5)
    assert metrics["accuracy_by_action"] == pytest.approx({"break": 1 / 2, "open": 2 / 3})
    assert metrics["macro_accuracy"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert metrics["accuracy_by_object"] == pytest.approx({"box": 1.0, "safe": 1 / 2, "vase": 1 / 2})
    # Two errors: close for open is the opposite, close for break is not.
    assert metrics["opposite_error_share"] == pytest.approx(1 / 2)


def test_without_errors_there_is_no_share_of_opposites():
    assert compute_action_metrics([1], [1], ACTIONS, ["box"], OPPOSITES)["opposite_error_share"] is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from(["a", "b"])), min_size=1, max_size=40))
def test_equals_a_naive_reference(rows):
    predictions, references, objects = (list(column) for column in zip(*rows, strict=True))
    metrics = compute_action_metrics(predictions, references, ACTIONS, objects, OPPOSITES)
    assert metrics["accuracy"] == pytest.approx(sum(p == r for p, r, _ in rows) / len(rows))
    for action, value in metrics["accuracy_by_action"].items():
        of_action = [p == r for p, r, _ in rows if ACTIONS[r] == action]
        assert value == pytest.approx(sum(of_action) / len(of_action))
    for name, value in metrics["accuracy_by_object"].items():
        of_object = [p == r for p, r, o in rows if o == name]
        assert value == pytest.approx(sum(of_object) / len(of_object))
    wrong = [(p, r) for p, r, _ in rows if p != r]
    if wrong:
        assert metrics["opposite_error_share"] == pytest.approx(sum({p, r} == {0, 1} for p, r in wrong) / len(wrong))


def test_gap_is_what_is_lost():
    assert accuracy_gap(0.9, 0.6) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [], ACTIONS), "references is empty"),
        (([0], [0, 1], ACTIONS), "1 predictions, 2 references"),
        (([3], [0], ACTIONS), r"must lie in \[0, 3\)"),
        (([-1], [0], ACTIONS), r"must lie in \[0, 3\)"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        compute_action_metrics(*arguments)
