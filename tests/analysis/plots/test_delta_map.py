"""The map: PCA as written down, a colour and a mark for every delta, and UMAP where it is installed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_cde.analysis.plots import delta_map
from modeling_cde.analysis.plots.delta_map import has_umap, pca, plot_delta_map
from modeling_cde.analysis.plots.style import action_colours
from tests.analysis.drawn_run import ACTIONS, OPPOSITES, drawn_set
from tests.analysis.kept_figures import keep_figures, texts
from tests.analysis.synthetic_deltas import make_set


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.integers(1, 6), st.integers(0, 99))
def test_pca_is_the_eigenvectors_of_the_covariance(n, dimensions, seed):
    delta = np.random.default_rng(seed).normal(size=(n, dimensions))
    points, origin, shares = pca(delta)
    covariance = np.atleast_2d(np.cov(delta.T, bias=True))
    values = np.sort(np.linalg.eigvalsh(covariance))[::-1]
    expected = np.zeros(2)
    expected[: min(2, dimensions)] = values[:2]
    assert points.shape == (n, 2) and points.mean(axis=0) == pytest.approx([0, 0], abs=1e-9)
    assert points.var(axis=0) == pytest.approx(expected, abs=1e-9)
    assert shares == pytest.approx(expected / values.sum(), abs=1e-9)
    # The delta 0, appended to the rows and projected by the same directions, comes to lie at the origin.
    if dimensions <= 2:
        assert np.linalg.norm(points - origin, axis=1) == pytest.approx(np.linalg.norm(delta, axis=1))


def test_pca_of_deltas_that_do_not_vary():
    points, origin, shares = pca(np.ones((4, 3)))
    assert not points.any() and shares.tolist() == [0, 0] and np.isfinite(origin).all()


def test_every_delta_is_a_mark_of_its_action_and_object(monkeypatch, tmp_path):
    from matplotlib.colors import to_hex

    figures = keep_figures(monkeypatch, delta_map)
    part = drawn_set("test_comp", n=60)
    plot_delta_map(part, tmp_path / "map.png")
    axes = figures[0].axes[0]
    marks = axes.collections[:-1]  # the last is the origin
    assert sum(len(group.get_offsets()) for group in marks) == len(part)
    colours = action_colours(ACTIONS, OPPOSITES)
    drawn = {
        tuple(np.round(point, 9)): to_hex(group.get_facecolor()[0]) for group in marks for point in group.get_offsets()
    }
    points, origin, _ = pca(part.delta)
    assert [drawn[tuple(np.round(point, 9))] for point in points] == [colours[name] for name in part.action_labels()]
    assert np.asarray(axes.collections[-1].get_offsets())[0] == pytest.approx(origin)
    shown = texts(figures[0])
    assert (
        set(ACTIONS) <= set(shown)
        and "5 others" in shown
        and "OOD compositional: 60 deltas by PCA; the cross is no change (δ = 0)" in shown
    )


def test_an_action_has_one_colour_in_all_splits(monkeypatch, tmp_path):
    from matplotlib.colors import to_hex

    figures = keep_figures(monkeypatch, delta_map)
    few = make_set(np.random.default_rng(0).normal(size=(6, 3)), [3, 3, 3, 1, 1, 1])  # clean and close
    plot_delta_map(few, tmp_path / "map.png")
    colours = action_colours(few.actions, few.opposites)
    seen = {to_hex(group.get_facecolor()[0]) for group in figures[0].axes[0].collections[:-1]}
    assert seen == {colours["clean"], colours["close"]}


def test_a_large_split_is_thinned_evenly(monkeypatch, tmp_path):
    figures = keep_figures(monkeypatch, delta_map)
    monkeypatch.setattr(delta_map, "MOST_ROWS", 20)
    plot_delta_map(drawn_set("test", n=50), tmp_path / "map.png")
    assert "IID: 20 deltas by PCA; the cross is no change (δ = 0)" in texts(figures[0])


def test_what_has_no_map_is_said(tmp_path):
    one = make_set([[1.0, 2.0]], [0])
    with pytest.raises(ValueError, match="has 1 pairs; a map by pca needs 2"):
        plot_delta_map(one, tmp_path / "map.png")
    with pytest.raises(ValueError, match="method='tsne' is not known"):
        plot_delta_map(one, tmp_path / "map.png", "tsne")
    with pytest.raises(ValueError, match="not finite"):
        plot_delta_map(make_set([[1.0, np.nan], [0, 0]], [0, 1]), tmp_path / "map.png")


@pytest.mark.slow  # compiles for half a minute
@pytest.mark.skipif(not has_umap(), reason="umap-learn is not installed")
def test_umap_keeps_neighbourhoods_and_repeats():
    part = drawn_set("test", n=100)
    points = delta_map.umap(part.delta)
    assert (points == delta_map.umap(part.delta)).all()
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.diag(np.full(100, np.inf))
    assert (part.labels[apart.argmin(axis=1)] == part.labels).mean() > 0.9
    for n in (4, 5):
        assert delta_map.umap(part.delta[:n]).shape == (n, 2)
    assert np.isfinite(delta_map.umap(np.zeros((20, 5)))).all()
