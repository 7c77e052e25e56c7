"""Colours can be told apart by everybody, opposites share a hue, and equal numbers give equal files."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_cde.analysis.plots.style import HUES, LINES, OTHER, action_colours, drawing, paired_order, save
from tests.analysis.drawn_run import ACTIONS, OPPOSITES

# What full protanopia, deuteranopia and tritanopia make of linear RGB: Machado, Oliveira and Fernandes, 2009, table 1.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


def linear(colour):
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def cielab(rgb):
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = np.clip(rgb, 0, 1) @ np.transpose(to_xyz) / [0.95047, 1.0, 1.08883]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def closest(colours, deficiency):
    seen = [cielab(linear(colour) @ np.transpose(DEFICIENCIES[deficiency])) for colour in colours]
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_the_twelve_colours_stay_apart_for_every_eye(deficiency):
    twelve = [colour for hue in HUES for colour in hue]
    assert closest(twelve, deficiency) > 19
    assert closest(twelve, deficiency) > closest(OKABE_ITO, deficiency)
    assert closest(LINES, deficiency) > 19


def test_each_hue_has_a_dark_and_a_light():
    for dark, light in HUES:
        assert cielab(linear(dark))[0] + 15 < cielab(linear(light))[0]


def test_opposites_share_a_hue():
    colours = action_colours(ACTIONS, OPPOSITES)
    hues = [set(hue) for hue in HUES]
    assert all({colours[a], colours[b]} in hues for a, b in OPPOSITES.items())
    assert list(colours) == ACTIONS and len(set(colours.values())) == len(ACTIONS)


@given(st.lists(st.integers(0, 30), unique=True, max_size=20), st.integers(0, 5))
def test_every_action_has_a_colour_and_twelve_have_their_own(numbers, pairs):
    actions = [f"a{i}" for i in numbers]
    opposites = {f"a{2 * i}": f"a{2 * i + 1}" for i in range(pairs)} | {
        f"a{2 * i + 1}": f"a{2 * i}" for i in range(pairs)
    }
    colours = action_colours(actions, opposites)
    own = [colour for colour in colours.values() if colour != OTHER]
    assert list(colours) == actions and len(set(own)) == len(own) == min(len(actions), 12)
    order = paired_order(actions, opposites)
    assert sorted(order) == sorted(actions)
    for action in actions:
        if opposites.get(action) in actions:
            assert abs(order.index(action) - order.index(opposites[action])) == 1


def test_an_action_that_is_its_own_opposite_has_no_partner():
    assert paired_order(["a", "b"], {"a": "a"}) == ["a", "b"]
    assert action_colours(["a", "b"], {"a": "a"})["a"] == HUES[0][0]


def test_a_figure_becomes_two_files_that_depend_on_nothing_but_it(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    for name in ("first", "second"):
        with drawing(8, 2) as figure:
            figure.subplots().plot([0, 1], [1, 0], label="δ")
            path = save(figure, tmp_path / "new", name)
            assert path == tmp_path / "new" / f"{name}.png"
    assert dict(matplotlib.rcParams) == before
    for ending, start in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
        first, second = ((tmp_path / "new" / f"{name}{ending}").read_bytes() for name in ("first", "second"))
        assert first == second and first.startswith(start)
    from PIL import Image

    assert Image.open(tmp_path / "new" / "first.png").size == (1600, 400)


def test_a_dollar_in_a_name_is_a_dollar(tmp_path):
    with drawing(8, 2) as figure:
        axes = figure.subplots()
        axes.set_xticks([0, 1], [r"$\no{such} command$", "$x_1$"])
        axes.set_title(r"$\frac$", fontsize=11)
        save(figure, tmp_path, "a/b")
        assert "<!-- $x_1$ -->" in (tmp_path / "a_b.svg").read_text()


def test_without_matplotlib_there_is_one_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match="not installed: pip install"), drawing():
        pass
