"""The target's share of each patch against exact fractions, known answers and properties."""

from __future__ import annotations

from fractions import Fraction

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_cde.data.coverage import box_coverage, mask_coverage, target_coverage
from modeling_cde.data.schema import pair_features
from modeling_cde.data.transforms import PairTransform
from modeling_cde.models.regions_cde import Region
from tests.data.test_masks import stored
from tests.data.tiny_pairs import picture


def naive_coverage(mask: np.ndarray, region: Region, grid: tuple[int, int]) -> list[float]:
    """Sum of the overlaps of every patch with every pixel on the target, in exact fractions."""
    left, top, right, bottom = map(Fraction, region)
    wide, high = (right - left) / grid[1], (bottom - top) / grid[0]
    shares = []
    for row in range(grid[0]):
        for column in range(grid[1]):
            x, y, area = left + column * wide, top + row * high, Fraction(0)
            for pixel_y, pixel_x in np.argwhere(mask):
                across = min(x + wide, Fraction(int(pixel_x) + 1)) - max(x, Fraction(int(pixel_x)))
                down = min(y + high, Fraction(int(pixel_y) + 1)) - max(y, Fraction(int(pixel_y)))
                area += max(across, Fraction(0)) * max(down, Fraction(0))
            shares.append(float(area / (wide * high)))
    return shares


REGIONS = st.tuples(st.floats(0, 3), st.floats(0, 3), st.floats(4, 7), st.floats(4, 6)).map(lambda r: Region(*r))
GRIDS = st.tuples(st.integers(1, 9), st.integers(1, 9))  # also patches smaller than a pixel


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), region=REGIONS, grid=GRIDS)
def test_a_masks_share_is_exact(seed, region, grid):
    mask = np.random.default_rng(seed).random((6, 7)) < 0.4
    found = mask_coverage(mask, region, grid)
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
    np.testing.assert_allclose(found, naive_coverage(mask, region, grid), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), region=REGIONS, grid=GRIDS)
def test_a_box_is_a_filled_mask(data, region, grid):
    left, top = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 5))
    right, bottom = data.draw(st.integers(left, 6)), data.draw(st.integers(top, 5))
    mask = np.zeros((6, 7), dtype=bool)
    mask[top : bottom + 1, left : right + 1] = True
    found = box_coverage([left, top, right, bottom], region, grid)
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
    np.testing.assert_allclose(found, mask_coverage(mask, region, grid), atol=1e-6)
    # What all patches hold of it is its area within the region.
    across = max(0.0, min(region.right, right + 1) - max(region.left, left))
    down = max(0.0, min(region.bottom, bottom + 1) - max(region.top, top))
    whole = (region.right - region.left) * (region.bottom - region.top)
    assert found.mean() == pytest.approx(across * down / whole, abs=1e-6)


def test_known_shares():
    # A region of 8x4 pixels in 2 rows and 4 columns: patches of 2x2. The box covers x from 1 to 4 and y from 1 to 3.
    found = box_coverage([1, 1, 3, 2], Region(0, 0, 8, 4), (2, 4))
    assert found.tolist() == [0.25, 0.5, 0, 0, 0.25, 0.5, 0, 0]
    assert box_coverage([0, 0, 9, 9], Region(2, 2, 6, 6), (2, 2)).tolist() == [1, 1, 1, 1]


def data_set(marked: list[tuple[bool, bool]]) -> datasets.Dataset:
    """Pairs of 16x16 pixels with or without box, with or without masks."""
    before, after = np.zeros((16, 16), dtype=bool), np.zeros((16, 16), dtype=bool)
    before[4:8, 4:8] = after[4:8, 8:12] = True
    made = [
        {
            "before": {"bytes": picture(i, 16, 16), "path": None},
            "after": {"bytes": picture(i + 1, 16, 16), "path": None},
            "action": 0,
            "object": 0,
            "scene": "s",
            "pair_id": f"p{i}",
            "box": [4, 4, 11, 7] if box else None,
            "mask_before": stored(before) if mask else None,
            "mask_after": stored(after) if mask else None,
        }
        for i, (box, mask) in enumerate(marked)
    ]
    return datasets.Dataset.from_list(made, features=pair_features(["open"], ["box"]))


def test_coverage_of_a_split_is_of_what_is_shown():
    rows = data_set([(True, True)])
    whole = target_coverage(rows, PairTransform((32, 32), crop="none"), (4, 4))
    expected = np.zeros((4, 4))
    expected[1, 1:3] = 1  # both masks together fill the box
    assert (whole["box_coverage"][0].reshape(4, 4) == expected).all()
    assert (whole["mask_coverage"] == whole["box_coverage"]).all()
    # Cropped to the box, which is widened to the square of x 4 to 12, y 2 to 10: the target is its middle half.
    cropped = target_coverage(rows, PairTransform((32, 32), crop="box", crop_margin=0.0, augment=True), (4, 2))
    assert cropped["box_coverage"][0].reshape(4, 2).tolist() == [[0, 0], [1, 1], [1, 1], [0, 0]]


def test_pairs_without_target_are_not_numbers_and_splits_without_any_are_left_out():
    transform = PairTransform((32, 32), crop="none")
    found = target_coverage(data_set([(True, False), (False, True), (False, False)]), transform, (2, 2))
    assert [np.isnan(row).all() for row in found["box_coverage"]] == [False, True, True]
    assert [np.isnan(row).all() for row in found["mask_coverage"]] == [True, False, True]
    assert set(target_coverage(data_set([(True, False)]), transform, (2, 2))) == {"box_coverage"}
    assert target_coverage(data_set([(False, False)]), transform, (2, 2)) == {}
    bare = data_set([(True, True)]).remove_columns(["box", "mask_before", "mask_after"])
    assert target_coverage(bare, transform, (2, 2)) == {}
