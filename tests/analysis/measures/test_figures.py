"""Every figure that a table names is in what is measured, and is written out as tables show it."""

import dataclasses

import numpy as np
import pytest

from modeling_cde.analysis.measures.figures import DETAILS, MEASURES, measured, shown
from modeling_cde.analysis.measures.geometry import measure
from tests.analysis.drawn_run import drawn_set
from tests.analysis.synthetic_deltas import save_sets


def test_every_figure_is_in_what_is_measured(tmp_path):
    """A number that moves within geometry.json would leave every table in silence."""
    mixed = dataclasses.replace(drawn_set("test", n=160), objects=np.arange(160) // 8 % 3)  # actions on several objects
    mixed = dataclasses.replace(mixed, mechanisms=[f"way {i // 24 % 2}" for i in range(160)])
    found = measure(save_sets(tmp_path / "run", mixed))["splits"]["test"]
    assert [title for title, place in (MEASURES | DETAILS).items() if measured(found, place) is None] == []
    assert len(MEASURES | DETAILS) == len(MEASURES) + len(DETAILS)


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (("k-NN on deltas", "k-NN on states"), ("knn", "knn_states")),
        (("from state",), ("states",)),
        (("from delta",), ("delta",)),
        (("and action", "action alone"), ("within_action", "object_probe", "object_chance")),
        (("best guess from the action",), ("from_action",)),
        (("scene",), ("scene",)),
        (
            ("by object", "the object", "object read", "object by"),
            ("object", "variance_object", "object_probe", "object_chance"),
        ),
        (("by action", "action by"), ("action", "variance_action", "chance")),
        (
            ("by chance",),
            ("variance_by_chance", "mechanism_variance_by_chance", "p_value", "in_box_by_chance", "in_mask_by_chance"),
        ),
        (("box",), ("in_box", "in_box_by_chance", "box")),
        (("mask",), ("in_mask", "in_mask_by_chance", "mask")),
        (("patch",), ("patches",)),
    ],
)
def test_a_title_and_its_place_say_the_same(words, keys):
    """A title that shows another figure is as wrong as a wrong figure."""
    titles = MEASURES | DETAILS
    for title, place in titles.items():
        if any(word in title for word in words):
            assert set(place.split(".")) & set(keys), (title, place)
    assert len(set(titles.values())) == len(titles)


def test_what_was_not_measured_is_none():
    assert measured({"opposites": None}, "opposites.mean") is None and measured(None, "opposites.mean") is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.12345, "0.123"),
        (0.0001, "0.0001"),
        (-0.0004, "-0.0004"),
        (0.0005, "0.001"),
        (0.0, "0.000"),
        (5, "5"),
    ],
)
def test_figures_as_text(value, text):
    assert shown(value) == text
