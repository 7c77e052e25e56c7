"""Heat maps: the brightest places are the patches with the largest weights, and equal weights mark nothing."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from modeling_cde.analysis.plots.heat_map import coloured, heat, with_heat


def lightness(picture):
    """CIE L* of each pixel."""
    channels = np.asarray(picture) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > 216 / 24389, 116 * np.cbrt(luminance) - 16, luminance * 24389 / 27)


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=40))
def test_heat_is_the_logarithm_of_the_ratio_to_the_average(numbers):
    weights = np.array(numbers) / sum(numbers)
    expected = [min(max(math.log2(weight * len(numbers)) / 4, 0), 1) for weight in weights]
    assert heat(weights) == pytest.approx(expected, abs=1e-6)
    assert not heat(np.zeros(3)).any()  # a softmax may round to 0


def test_equal_weights_mark_nothing():
    grey = Image.new("RGB", (30, 20), (120, 120, 120))
    shown = np.asarray(with_heat(grey, np.full((4, 6), 1 / 24)))
    assert (shown == shown[0, 0]).all() and lightness(shown)[0, 0] < lightness(grey)[0, 0]


@given(st.integers(1, 5), st.integers(1, 5), st.data())
def test_the_brightest_place_is_the_patch_of_the_largest_weight(rows, columns, data):
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    weights = np.full((rows, columns), 1.0)
    weights[row, column] = 20.0
    picture = Image.new("L", (columns * 9, rows * 7), 128)  # one patch has 9 x 7 pixels
    shown = lightness(with_heat(picture, weights / weights.sum()))
    if rows * columns > 1:
        place = np.unravel_index(shown.argmax(), shown.shape)
        assert (place[0] // 7, place[1] // 9) == (row, column)
        assert shown[row * 7 + 3, column * 9 + 4] == shown.max()


def test_patches_divide_the_box_and_nothing_else_is_marked():
    weights = np.array([[0.1, 0.1, 0.1], [0.1, 0.1, 0.5]])
    shown = lightness(with_heat(Image.new("RGB", (60, 40), "grey"), weights, (20, 10, 50, 30)))
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    assert 20 <= row < 30 and 40 <= column < 50
    outside = np.ones(shown.shape, dtype=bool)
    outside[10:30, 20:50] = False
    assert len(set(shown[outside])) == 1 and (shown[outside][0] <= shown).all()


def test_between_the_centres_of_patches_the_heat_changes_evenly():
    weights = np.array([[0.2, 0.8]])
    shown = np.asarray(with_heat(Image.new("L", (40, 5)), weights))
    low, high = heat(weights)[0]
    values = np.interp(np.arange(40) + 0.5, [10, 30], [low, high])
    expected = coloured(np.zeros(40), values)
    assert np.abs(shown.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_more_weight_is_never_darker(grey):
    values = np.linspace(0, 1, 101)
    shown = lightness(coloured(np.full(101, grey), values))
    assert shown[-1] > shown[0] + 15
    assert (np.diff(shown) > -0.2).all()  # but for rounding
