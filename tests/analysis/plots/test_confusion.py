"""Confusion by object counts every pair once, and shows the worst objects where not all fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_cde.analysis.plots import confusion
from modeling_cde.analysis.plots.confusion import Confusion, confusion_by_object, plot_confusion, worst_objects
from tests.analysis.kept_figures import keep_figures, texts
from tests.analysis.synthetic_deltas import make_set


def split_of(rows):
    """A split of (object, action, predicted action) triples."""
    objects, labels, predicted = np.array(rows).T
    return make_set(np.zeros((len(rows), 2)), labels, objects, logits=np.eye(4, dtype=np.float32)[predicted])


triples = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@given(triples)
def test_counts_are_those_of_counting(rows):
    part = split_of(rows)
    found = confusion_by_object(part)
    for (name, action), counts in zip(found.rows, found.counts, strict=True):
        thing, label = part.object_names.index(name), part.actions.index(action)
        naive = [sum(row == (thing, label, part.actions.index(other)) for row in rows) for other in found.columns]
        assert counts.tolist() == naive
    assert found.counts.sum() == len(rows)
    assert set(found.rows) == {(f"object {o}", part.actions[a]) for o, a, _ in rows}


@given(triples, st.integers(1, 8))
def test_the_worst_objects_are_kept_whole(rows, most):
    whole = confusion_by_object(split_of(rows))
    kept = worst_objects(whole, most)
    objects = {name for name, _ in kept.rows}
    assert kept.rows == [row for row in whole.rows if row[0] in objects] and kept.columns == whole.columns
    assert len(kept.rows) <= most or len(objects) == 1
    if len(whole.rows) > most:
        errors = {name: sum(o == int(name[-1]) and a != p for o, a, p in rows) for name, _ in whole.rows}
        assert max(errors.values()) == max(errors[name] for name in objects)
        assert len(objects) == 1 or all(errors[name] for name in objects)


def test_the_picture_shows_shares_and_says_what_it_leaves_out(monkeypatch, tmp_path):
    figures = keep_figures(monkeypatch, confusion)
    rows = [(0, 0, 0)] * 3 + [(0, 0, 1)] + [(1, 2, 2)] * 2
    plot_confusion(split_of(rows), tmp_path / "confusion.png")
    axes = figures[0].axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["object 0 · open (4)", "object 1 · dirty (2)"]
    assert {text.get_position(): text.get_text() for text in axes.texts} == {(0, 0): "75", (1, 0): "25", (2, 1): "100"}
    monkeypatch.setattr(confusion, "MOST_ROWS", 1)
    monkeypatch.setattr(confusion, "worst_objects", lambda whole: worst_objects(whole, 1))
    plot_confusion(split_of(rows), tmp_path / "confusion.png")
    assert any("the 1 of 2 objects with the most errors" in text for text in texts(figures[1]))


def test_nothing_cannot_be_confused(tmp_path):
    empty = make_set(np.zeros((0, 2)), np.zeros(0))
    assert isinstance(confusion_by_object(empty), Confusion)
    with pytest.raises(ValueError, match="has no pairs"):
        plot_confusion(empty, tmp_path / "confusion.png")
