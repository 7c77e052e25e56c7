"""The heat map shows every cosine once, opposites side by side, and the strip shows every pair."""

import re

import numpy as np
import pytest

from modeling_cde.analysis.measures.geometry import measure_split
from modeling_cde.analysis.plots import cosine_matrix as heatmap
from tests.analysis.drawn_run import drawn_set
from tests.analysis.kept_figures import keep_figures, texts

SMALL = {
    "cosines": {"actions": ["a", "b", "c"], "matrix": [[1, 0.25, -0.5], [0.25, 1, None], [-0.5, None, 1]]},
    "opposites": {"pairs": [{"action": "a", "opposite": "c", "cosine": -0.5}], "p_value": 0.25},
}


def test_numbers_stand_in_their_cells_and_opposites_beside_each_other(monkeypatch, tmp_path):
    figures = keep_figures(monkeypatch, heatmap)
    assert heatmap.plot_cosines(SMALL, tmp_path / "cosines_0.1.png") == tmp_path / "cosines_0.1.png"
    matrix, strip = figures[0].axes[:2]
    assert [label.get_text() for label in matrix.get_yticklabels()] == ["a", "c", "b"]
    shown = {(text.get_position()): text.get_text() for text in matrix.texts}
    minus = "\N{MINUS SIGN}0.50"
    assert shown == {(0, 0): "1.00", (1, 1): "1.00", (2, 2): "1.00", (1, 0): minus, (0, 1): minus, (2, 0): "0.25", (0, 2): "0.25"}  # fmt: skip  # noqa: E501
    others, opposite = (marks.get_offsets()[:, 0].tolist() for marks in strip.collections[:2])
    assert others == [0.25] and opposite == [-0.5]
    assert "permutation p = 0.25" in strip.get_title()


def test_every_pair_of_a_split_is_a_mark(monkeypatch, tmp_path):
    figures = keep_figures(monkeypatch, heatmap)
    measured = measure_split(drawn_set("test", patches=False))
    heatmap.plot_cosines(measured, tmp_path / "cosines.png")
    strip = figures[0].axes[1]
    others, opposite = (np.sort(np.asarray(marks.get_offsets())[:, 0]) for marks in strip.collections[:2])
    assert len(others) == 41 and len(opposite) == 4
    assert opposite == pytest.approx(sorted(row["cosine"] for row in measured["opposites"]["pairs"]))
    assert others.mean() == pytest.approx(measured["opposites"]["others"]["mean"])


def test_without_opposites_there_is_the_heat_map_alone(monkeypatch, tmp_path):
    figures = keep_figures(monkeypatch, heatmap)
    heatmap.plot_cosines(SMALL | {"opposites": None}, tmp_path / "cosines.png")
    assert not any(re.search("opposite", text) for text in texts(figures[0]))
    with pytest.raises(ValueError, match="no action"):
        heatmap.plot_cosines({"cosines": {"actions": [], "matrix": []}, "opposites": None}, tmp_path / "x.png")
