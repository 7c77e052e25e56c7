"""The profile draws what was measured, and leaves out splits without a sparsity."""

import pytest

from modeling_cde.analysis.measures.geometry import measure_split
from modeling_cde.analysis.plots import reliability, sparsity_profile
from tests.analysis.drawn_run import drawn_set
from tests.analysis.kept_figures import keep_figures, texts
from tests.analysis.synthetic_deltas import make_set


def test_profiles_and_effective_dimensions_are_those_of_the_geometry(monkeypatch, tmp_path):
    figures = keep_figures(monkeypatch, sparsity_profile)
    splits = {name: measure_split(drawn_set(name, seed=i)) for i, name in enumerate(("test", "test_syst"))}
    splits["test_comp"] = measure_split(make_set([[0.0, 0.0]] * 4, [0, 0, 1, 1]))
    sparsity_profile.plot_sparsity(splits, tmp_path / "sparsity.png")
    left, right = figures[0].axes
    for line, name in zip(left.lines, ("test", "test_syst"), strict=False):
        assert line.get_ydata() == pytest.approx(splits[name]["sparsity"]["profile"])
    order = [label.get_text() for label in right.get_yticklabels()]
    for marks, name in zip(right.collections, ("test", "test_syst"), strict=True):
        drawn = {order[int(y)]: x for x, y in marks.get_offsets()}
        assert drawn == pytest.approx(splits[name]["sparsity"]["effective_dimensions"])
    assert "OOD compositional" not in texts(figures[0]) and "OOD systematic" in texts(figures[0])
    with pytest.raises(ValueError, match="no split"):
        sparsity_profile.plot_sparsity({"test_comp": splits["test_comp"]}, tmp_path / "sparsity.png")


def test_reliability_shows_full_bins_by_a_line_and_small_ones_hollow(monkeypatch, tmp_path):
    figures = keep_figures(monkeypatch, reliability)
    bins = [
        {"n": 0, "confidence": None, "accuracy": None},
        {"n": 3, "confidence": 0.3, "accuracy": 1.0},
        {"n": 50, "confidence": 0.6, "accuracy": 0.5},
        {"n": 80, "confidence": 0.9, "accuracy": 0.8},
    ]
    reliability.plot_reliability({"test": {"calibration": {"ece": 0.125, "bins": bins}}}, tmp_path / "reliability.png")
    axes = figures[0].axes[0]
    assert axes.lines[1].get_xydata().tolist() == [[0.6, 0.5], [0.9, 0.8]]
    assert axes.collections[1].get_offsets().tolist() == [[0.3, 1.0]] and not len(axes.collections[1].get_facecolor())
    assert "IID: ECE 0.125" in texts(figures[0])
    with pytest.raises(ValueError, match="no split"):
        reliability.plot_reliability({}, tmp_path / "reliability.png")
