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
    found = measure(save_sets(tmp_path / "run", mixed))["splits"]["test"]
    assert [title for title, place in (MEASURES | DETAILS).items() if measured(found, place) is None] == []
    assert len(MEASURES | DETAILS) == len(MEASURES) + len(DETAILS)


def test_what_was_not_measured_is_none():
    assert measured({"opposites": None}, "opposites.mean") is None and measured(None, "opposites.mean") is None


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.12345, "0.123"), (0.0001, "0.0001"), (0.0, "0.000"), (5, "5")]
)
def test_figures_as_text(value, text):
    assert shown(value) == text
