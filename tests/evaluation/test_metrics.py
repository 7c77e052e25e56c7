"""Metrics against a naive reference written from their definitions, and against values computed by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_cde.evaluation.metrics import accuracy_by, accuracy_gap, compute_action_metrics

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


ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from(["a", "b"])), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from([OPPOSITES, {"open": "close"}, {"close": "break", "break": "open"}, {}, None]))
def test_equals_a_naive_reference(rows, opposites):
    """Also where an opposite is given one way only: what counts is the opposite of the true action."""
    predictions, references, objects = (list(column) for column in zip(*rows, strict=True))
    metrics = compute_action_metrics(predictions, references, ACTIONS, objects, opposites)

    def share(hits):
        return pytest.approx(sum(hits) / len(hits))

    by_action = {ACTIONS[a]: share([p == r for p, r, _ in rows if r == a]) for a in set(references)}
    wrong = [(ACTIONS[p], ACTIONS[r]) for p, r, _ in rows if p != r]
    assert metrics == {
        "n": len(rows),
        "accuracy": share([p == r for p, r, _ in rows]),
        "macro_accuracy": pytest.approx(sum(value.expected for value in by_action.values()) / len(by_action)),
        "accuracy_by_action": by_action,
        "accuracy_by_object": {name: share([p == r for p, r, o in rows if o == name]) for name in set(objects)},
        "opposite_error_share": share([(opposites or {}).get(r) == p for p, r in wrong]) if wrong else None,
        "never_predicted": [ACTIONS[a] for a in range(3) if a in references and a not in predictions],
    }
    for kind in ("action", "object"):
        assert list(metrics[f"accuracy_by_{kind}"]) == sorted(metrics[f"accuracy_by_{kind}"])


def test_without_objects_there_is_no_accuracy_by_object():
    assert compute_action_metrics([1], [1], ACTIONS)["accuracy_by_object"] == {}


def test_groups_and_predictions_are_equally_many():
    for groups, correct in ((["a"], [True, False]), (["a", "b"], [True])):
        with pytest.raises(ValueError):
            accuracy_by(groups, correct)


def test_gap_is_what_is_lost():
    assert accuracy_gap(0.9, 0.6) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [], ACTIONS), "references is empty"),
        (([0], [0, 1], ACTIONS), "1 predictions, 2 references"),
        (([3], [0], ACTIONS), r"must lie in \[0, 3\)"),
        (([-1], [0], ACTIONS), r"must lie in \[0, 3\)"),
        (([0], [3], ACTIONS), r"must lie in \[0, 3\)"),
        (([0], [-1], ACTIONS), r"must lie in \[0, 3\)"),
        (([0, 1], [0, 1], ACTIONS, ["box"]), "2 predictions, 2 references, 1 objects"),
        (([0], [0, 1], ACTIONS, ["box", "box"]), "1 predictions, 2 references, 2 objects"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        compute_action_metrics(*arguments)
