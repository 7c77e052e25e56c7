"""Examples show the pictures as they are, and the kept patches where they lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from modeling_cde.analysis.delta_set import Examples
from modeling_cde.analysis.plots import overlays
from modeling_cde.analysis.plots.heat_map import with_heat
from modeling_cde.analysis.plots.overlays import IN_BOX, OUTSIDE, patch_squares, plot_examples
from tests.analysis.drawn_run import drawn_examples, drawn_set
from tests.analysis.kept_figures import keep_figures, texts


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 9))
def test_squares_are_the_cells_of_a_row_major_grid(rows, columns, patch):
    picture = np.arange(rows * columns).reshape(rows, columns).repeat(patch, axis=0).repeat(patch, axis=1)
    for index, square in enumerate(patch_squares(range(rows * columns), (rows, columns), picture.shape)):
        left, top, width, height = (round(value) for value in square)
        assert (picture[top : top + height, left : left + width] == index).all() and width * height == patch**2


def frames(axes):
    from matplotlib.colors import to_hex

    return [(to_hex(frame.get_edgecolor()), frame.get_xy(), frame.get_width()) for frame in axes.patches]


def test_patches_are_framed_where_they_lie_by_whether_they_touch_the_box(monkeypatch, tmp_path):
    figures = keep_figures(monkeypatch, overlays)
    part = drawn_set("test")
    pictures, rows = drawn_examples([part])
    plot_examples(Examples(pictures, rows), {"test": part}, "test", tmp_path / "examples.png")
    axes = figures[0].findobj(lambda item: type(item).__name__ == "Axes")
    assert len(axes) == 3 * len(rows)
    for position, row in enumerate(rows):
        before, after, kept = axes[3 * position : 3 * position + 3]
        assert (before.images[0].get_array() == pictures[position][0]).all()
        assert (after.images[0].get_array() == pictures[position][1]).all()
        expected = []
        for index in part.patch_indices[row["row"]]:
            colour = IN_BOX if index in (5, 6) else OUTSIDE
            expected.append((colour, (index % 4 * 12 - 0.5, index // 4 * 12 - 0.5), 12))
        assert frames(kept) == expected
        veil = kept.images[1].get_array()[..., 3]
        assert (veil == 0).sum() == 3 * 12 * 12  # the kept patches, and nothing else, are not dimmed


def test_weights_are_a_heat_map_over_the_picture_after(monkeypatch, tmp_path):
    figures = keep_figures(monkeypatch, overlays)
    part = drawn_set("test", patches=False)
    pictures, rows = drawn_examples([part])
    weights = np.full((len(rows), 4, 6), 0.02)
    for position in range(len(rows)):
        weights[position, 1, position + 1] = 1 - 23 * 0.02
    plot_examples(Examples(pictures, rows, weights), {"test": part}, "test", tmp_path / "examples.png")
    axes = figures[0].findobj(lambda item: type(item).__name__ == "Axes")
    assert len(axes) == 3 * len(rows)
    for position in range(len(rows)):
        before, after, weighed = axes[3 * position : 3 * position + 3]
        assert (before.images[0].get_array() == pictures[position][0]).all()
        assert (after.images[0].get_array() == pictures[position][1]).all()
        expected = with_heat(Image.fromarray(pictures[position][1]), weights[position])
        assert (weighed.images[-1].get_array() == np.asarray(expected)).all()
    shown = texts(figures[0])
    assert "weights" in shown and "16 or more" in shown and "kept patch" not in shown


def test_what_was_said_stands_beside_what_was_done(monkeypatch, tmp_path):
    figures = keep_figures(monkeypatch, overlays)
    part = drawn_set("test", patches=False)
    pictures, rows = drawn_examples([part])
    plot_examples(Examples(pictures, rows), {"test": part}, "test", tmp_path / "examples.png")
    shown = texts(figures[0])
    assert "break Object00" in shown and "dirty Object05 → empty" in shown and "patches" not in shown
    assert len(figures[0].findobj(lambda item: type(item).__name__ == "Axes")) == 2 * len(rows)


def test_a_split_without_examples_is_named(tmp_path):
    part = drawn_set("test")
    with pytest.raises(ValueError, match="'test_comp' has no example"):
        plot_examples(Examples(*drawn_examples([part])), {"test": part}, "test_comp", tmp_path / "examples.png")
