"""Pictures of settings: the right kind for what varied, the numbers as measured, and no choice by a test split."""

import re

import pytest

from modeling_cde.analysis.compare.pairing import compare
from modeling_cde.analysis.plots import style
from modeling_cde.analysis.plots.grid import chosen_row, plot_settings, varied_settings
from modeling_cde.analysis.plots.seed_dots import plot_differences, plot_seeds, row_label
from modeling_cde.analysis.results import from_record
from tests.analysis.synthetic_results import record


@pytest.fixture(scope="module", autouse=True)
def small_pictures():
    """A quarter of the pixels: nothing here looks at them, and most of the time goes into them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style._RC, "savefig.dpi", 50)
        yield


def results(*records):
    return [from_record(one, one["run"]) for one in records]


def texts(path):
    """The texts of a picture: its SVG is drawn with glyphs as paths, and each is preceded by a comment."""
    return re.findall(r"<!-- (.*?) -->", path.with_suffix(".svg").read_text(encoding="utf-8"))


def grid(names, values, method="cde", seeds=(0,)):
    return [
        record(method, seed, 0.5 + 0.01 * place, setting=dict(zip(names, value, strict=True)))
        for place, value in enumerate(values)
        for seed in seeds
    ]


def test_which_settings_vary_and_of_what_kind():
    runs = grid(("k", "fixed", "backbone", "flag"), [(2, 1, "vit", True), (8, 1, "resnet", False)])
    assert varied_settings(results(*runs)) == (["k"], ["backbone", "flag"])


@pytest.mark.parametrize(
    ("names", "values", "pictures"),
    [
        (("a", "b"), [(x, y) for x in (0, 1) for y in (0.1, 0.2)], ["surface_cde_selected"]),
        (("temperature",), [(0.05,), (0.5,)], ["curve_temperature_selected"]),
        (("k", "backbone"), [(2, "vit"), (8, "vit"), (2, "resnet")], ["curve_k_selected"]),
        (("backbone",), [("vit",), ("resnet",)], ["dots_backbone_selected"]),
        ((), [()], []),
        (("a", "b", "c"), [(0, 0, 0), (1, 1, 1)], []),
    ],
)
def test_each_kind_of_grid_has_its_picture(tmp_path, names, values, pictures):
    runs = results(*grid(names, values), record("concatenation"))
    made = plot_settings(runs, tmp_path)
    assert [one.path.stem for one in made] == pictures
    for one in made:
        assert one.path.read_bytes().startswith(b"\x89PNG") and one.path.with_suffix(".svg").stat().st_size > 1000
        assert one.alternative and "validation-selected" in one.caption


def test_a_surface_holds_every_mean_and_the_methods_outside_of_it(tmp_path):
    values = [(x, y) for x in (0, 1) for y in (0.1, 0.2)]
    runs = results(*grid(("a", "b"), values, seeds=(0, 1)), record("concatenation", 0, 0.25))
    (picture,) = plot_settings(runs, tmp_path)
    shown = texts(picture.path)
    for place in range(4):
        assert any(f"{50 + place}.0" in text for text in shown) and any(f"{40 + place}.0" in text for text in shown)
    assert "IID 25.0" in picture.caption and "Framed: a 1, b 0.2" in picture.caption


def test_the_setting_is_chosen_by_validation_splits_alone(tmp_path):
    runs = grid(("a", "b"), [(0, 0), (1, 1)])
    for name in ("test", "test_comp", "test_syst"):
        runs[0]["selected"]["splits"][name]["accuracy"] = 1.0  # by these the first would be the best
    table = compare(results(*runs), splits=list(runs[0]["selected"]["splits"]))
    columns = [column for column in table.columns if column.rule == "selected"]
    assert chosen_row(table.rows, columns).setting == {"a": 1, "b": 1}
    assert chosen_row(table.rows, [column for column in columns if column.split.startswith("test")]) is None
    for run in runs:
        for rule in ("selected", "last"):
            run[rule]["splits"] = {k: v for k, v in run[rule]["splits"].items() if k.startswith("test")}
    (picture,) = plot_settings(results(*runs), tmp_path)
    assert "no setting is marked" in picture.caption


def test_a_grid_with_holes_is_drawn(tmp_path):
    (picture,) = plot_settings(results(*grid(("a", "b"), [(0, 0), (1, 1), (0, 1)])), tmp_path)
    assert picture.path.is_file()


@pytest.mark.parametrize("count", [1, 4])
def test_dots_have_a_line_for_whichever_are_more_and_lose_no_run(tmp_path, monkeypatch, count):
    methods = ["cde", "icm", "sms", "joint"][:count]
    runs = [run for method in methods for run in grid(("backbone",), [("vit",), ("resnet",)], method, (0, 1))]
    drawn = drawn_dots(monkeypatch)
    (picture,) = plot_settings(results(*runs), tmp_path)
    assert len(drawn) == len(runs) * 6  # splits
    shown = texts(picture.path)
    assert {"vit", "resnet"} <= set(shown) and {f"title of {method}" for method in methods} <= set(shown)


def drawn_dots(monkeypatch):
    """Every scatter that is drawn: its x values."""
    from matplotlib.axes import Axes

    drawn = []
    scatter = Axes.scatter

    def note(axis, xs, ys, **options):
        drawn.extend(round(x, 6) for x in xs)
        return scatter(axis, xs, ys, **options)

    monkeypatch.setattr(Axes, "scatter", note)
    return drawn


def test_every_seed_is_a_dot(tmp_path, monkeypatch):
    records = [record("cde", seed, 0.5 + seed / 10, 0.45 + seed / 10) for seed in range(3)]
    records += [record("concatenation", seed, 0.3, 0.35) for seed in range(2)]
    table = compare(results(*records))
    drawn = drawn_dots(monkeypatch)
    path = plot_seeds(table, tmp_path)
    figures = [100 * value for row in table.rows for cell in row.cells.values() for value in cell.by_seed.values()]
    assert sorted(drawn) == sorted(round(value, 6) for value in figures) and len(drawn) == 5 * 3 * 2
    assert {"accuracy.png", "accuracy.svg"} <= {file.name for file in tmp_path.iterdir()} and path.suffix == ".png"
    drawn.clear()
    assert plot_differences(table, tmp_path).name == "differences.png"
    assert len(drawn) == 2 * 3 * 2  # two paired seeds, three splits, two rules
    assert max(drawn) == pytest.approx(30) and min(drawn) == pytest.approx(10)


def test_without_differences_there_is_no_picture_of_them(tmp_path):
    assert plot_differences(compare(results(record("cde"))), tmp_path) is None


def test_row_labels_are_short_lines():
    run = record("cde", title="CDE, all three losses, on a long backbone", setting={"temperature": 0.1})
    lines = row_label(compare(results(run)).rows[0]).split("\n")
    assert max(map(len, lines)) <= 28 and lines[-1] == "temperature 0.1"
