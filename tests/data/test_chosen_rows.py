"""Rows that stand for a split: how they are spread."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modeling_cde.data.chosen_rows import evenly_spaced, spread_rows


@given(number=st.integers(0, 500), most=st.integers(0, 500))
def test_evenly_spaced_rows(number, most):
    rows = evenly_spaced(number, most)
    assert len(rows) == len(set(rows)) == min(number, most) and rows == sorted(rows)
    assert all(0 <= row < number for row in rows)
    if len(rows) > 1:
        steps = [b - a for a, b in zip(rows, rows[1:], strict=False)]
        assert max(steps) - min(steps) <= 1


def test_a_few_of_ten():
    assert evenly_spaced(10, 4) == [0, 2, 5, 7]
    assert evenly_spaced(3, 9) == [0, 1, 2]


def test_actions_take_turns_and_each_shows_new_objects_first():
    actions = [0, 0, 0, 0, 1, 1, 1, 2]
    objects = [5, 5, 6, 7, 5, 5, 8, 9]
    assert spread_rows(actions, objects, 3) == [0, 4, 7]
    assert spread_rows(actions, objects, 5) == [0, 4, 7, 2, 6]
    assert spread_rows(actions, objects, 99) == [0, 4, 7, 2, 6, 3, 5, 1]
    assert spread_rows([], [], 3) == spread_rows(actions, objects, 0) == []


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=40), st.integers(0, 50))
def test_spread_over_actions_and_objects(pairs, number):
    actions, objects = [a for a, _ in pairs], [o for _, o in pairs]
    chosen = spread_rows(actions, objects, number)
    assert len(chosen) == len(set(chosen)) == min(number, len(pairs))
    taken = {a: [row for row in chosen if actions[row] == a] for a in set(actions)}
    for action, rows in taken.items():
        # No action may be behind another by more than one as long as it has rows left.
        if len(rows) < actions.count(action):
            assert all(len(other) <= len(rows) + 1 for other in taken.values())
        # No object of an action comes a second time before each came once.
        kinds = {objects[row] for row in range(len(pairs)) if actions[row] == action}
        first = [objects[row] for row in rows[: len(kinds)]]
        assert len(first) == len(set(first))
