"""How the accuracy depends on what a grid varied: heat maps for two numbers, curves for one, dots for names.

Each picture shows the validation splits beside the test splits. Settings must be chosen on the validation splits, and a
frame marks that choice; the best value of a test split is never marked.
"""

import itertools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..compare.pairing import Column, Row, Table, compare
from ..results import RULES, Result, describe_setting, setting_value
from .style import LINES, MARKERS, SEQUENTIAL, drawing, save, tidy


@dataclass(frozen=True)
class SettingPicture:
    """A picture with its alternative text and its caption."""

    path: Path
    alternative: str
    caption: str


def varied_settings(results: Sequence[Result]) -> tuple[list[str], list[str]]:
    """Names of the settings that take more than one value: the numeric ones, and all others."""
    values: dict[str, dict[str, Any]] = {}
    for result in results:
        for name, value in result.setting.items():
            values.setdefault(name, {})[setting_value(value)] = value
    several = {name: list(found.values()) for name, found in values.items() if len(found) > 1}
    numeric = [name for name, found in several.items() if all(_is_number(value) for value in found)]
    return sorted(numeric), sorted(set(several) - set(numeric))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def plot_settings(results: Sequence[Result], folder: str | Path, rule: str = "selected") -> list[SettingPicture]:
    """Draw the pictures that fit the settings of some results.

    Args:
        results: runs, as `load_results` gives them.
        folder: where the PNG and SVG files go.
        rule: "selected" or "last".

    Returns:
        A heat map for each method where exactly two numbers vary, one picture of curves where one number varies, one
        of dots where only names vary; nothing where nothing varies, or more settings than a picture can show.
    """
    numbers, names = varied_settings(results)
    splits = _splits(results)
    table = compare(results, reference="", splits=splits)
    columns = [column for column in table.columns if column.rule == rule]
    if not columns:
        return []
    if len(numbers) == 2 and not names:
        methods = dict.fromkeys(row.method for row in table.rows if set(numbers) <= set(row.setting))
        return [_heat_maps(table, columns, method, numbers, Path(folder), rule) for method in methods]
    if len(numbers) == 1 and len(names) <= 1:
        return [_curves(table, columns, numbers[0], names, Path(folder), rule)]
    if not numbers and len(names) == 1:
        return [_dots(table, columns, names[0], Path(folder), rule)]
    return []


def _splits(results: Sequence[Result]) -> list[str]:
    """Validation splits first, then the test splits, each in its own order."""
    names = list(dict.fromkeys(split for result in results for split in result.selected.splits))
    return [name for name in names if name[:4] != "test"] + [name for name in names if name[:4] == "test"]


def chosen_row(rows: Sequence[Row], columns: Sequence[Column]) -> Row | None:
    """The row with the highest mean accuracy over the validation splits; test splits are ignored.

    Args:
        rows: of one method.
        columns: of one rule.

    Returns:
        The row, the first of equals; None without a validation split. Rows without one of the splits are not chosen.
    """
    validation = [column for column in columns if column.split.startswith("validation")]
    whole = [row for row in rows if validation and all(column in row.cells for column in validation)]
    return max(whole, key=lambda row: sum(row.cells[column].mean for column in validation), default=None)


def _lines(columns: Sequence[Column]) -> list[list[Column]]:
    """The columns in one or two lines of panels, validation above test."""
    lines = [[c for c in columns if c.split[:4] != "test"], [c for c in columns if c.split[:4] == "test"]]
    return [line for line in lines if line]


def _panels(figure: Any, columns: Sequence[Column], **options: Any) -> list[tuple[Any, Column]]:
    """Titled axes for each column, validation above test; unused axes are removed."""
    lines = _lines(columns)
    axes = figure.subplots(len(lines), max(map(len, lines)), squeeze=False, **options)
    panels = []
    for line, row in zip(axes, lines, strict=True):
        for axis, column in itertools.zip_longest(line, row):
            if column is None:
                axis.remove()
                continue
            axis.set_title(column.title, fontsize=11)
            panels.append((axis, column))
    return panels


def _heat_maps(
    table: Table, columns: Sequence[Column], method: str, names: Sequence[str], folder: Path, rule: str
) -> SettingPicture:
    """Heat maps with their numbers, a panel for each split; a validation split and its test split share one scale."""
    from matplotlib.patches import Rectangle

    rows = [row for row in table.rows if row.method == method and set(names) <= set(row.setting)]
    across, up = names
    xs = sorted({row.setting[across] for row in rows})
    ys = sorted({row.setting[up] for row in rows})
    chosen = chosen_row(rows, columns)
    lines = _lines(columns)
    width = max(map(len, lines))
    with drawing(max(8.0, (0.47 * len(xs) + 0.25) * width + 0.8), (0.4 * len(ys) + 0.8) * len(lines) + 0.4) as figure:
        for axis, column in _panels(figure, columns, sharex=True, sharey=True):
            low, high = _range(rows, [other for other in columns if _kind(other) == _kind(column)])
            grid = [[float("nan")] * len(xs) for _ in ys]
            for row in (row for row in rows if column in row.cells):
                cell, x, y = row.cells[column], xs.index(row.setting[across]), ys.index(row.setting[up])
                grid[y][x] = 100 * cell.mean
                text = f"{100 * cell.mean:.1f}" + ("" if cell.std is None else f"\n±{100 * cell.std:.1f}")
                dark = 100 * cell.mean > low + 0.68 * (high - low)
                axis.text(x, y, text, ha="center", va="center", fontsize=8.5, color="white" if dark else "black")
            axis.imshow(grid, cmap=SEQUENTIAL, vmin=low, vmax=high, aspect="auto", origin="lower")
            if chosen is not None:
                corner = xs.index(chosen.setting[across]) - 0.5, ys.index(chosen.setting[up]) - 0.5
                style: dict[str, Any] = {
                    "fill": False,
                    "edgecolor": LINES[1],
                    "linewidth": 2.5,
                    "clip_on": False,
                    "zorder": 3,
                }
                axis.add_patch(Rectangle(corner, 1, 1, **style))
            axis.set_xticks(range(len(xs)), [setting_value(value) for value in xs])
            axis.set_yticks(range(len(ys)), [setting_value(value) for value in ys])
        figure.supxlabel(across.replace("_", " "), fontsize=11)
        figure.supylabel(up.replace("_", " "), fontsize=11)
        path = save(figure, folder, f"surface_{method}_{rule}")
    alternative = f"Heat maps of the accuracy of {rows[0].title} over {across} and {up}, a panel for each split."
    caption = f"{rows[0].title}: {_caption(chosen, rule)} Darker is more accurate; each column has its own scale."
    for row in table.rows:
        if not set(names) <= set(row.setting):
            means = ", ".join(f"{c.title} {100 * row.cells[c].mean:.1f}" for c in columns if c in row.cells)
            caption += f" {row.title}: {means}."
    return SettingPicture(path, alternative, caption)


def _kind(column: Column) -> tuple[str, str, str]:
    """What a validation split has in common with its test split."""
    return column.view, column.shift, column.split.replace("validation", "test")


def _range(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[float, float]:
    """Lowest and highest mean in percent, at least one point apart, so that noise does not look like an effect."""
    means = [100 * row.cells[column].mean for row in rows for column in columns if column in row.cells]
    return min(means), max(*means, min(means) + 1)


def _caption(chosen: Row | None, rule: str) -> str:
    text = f"mean ± standard deviation over seeds in percent, checkpoint: {RULES[rule]}."
    if chosen is None:
        return f"{text} Without a validation split no setting is marked, because a test split must not choose one."
    where = describe_setting(chosen.setting)
    return f"{text} Framed: {where}, the best mean over the validation splits."


def _curves(
    table: Table, columns: Sequence[Column], name: str, categories: Sequence[str], folder: Path, rule: str
) -> SettingPicture:
    """Mean over the number with a band of one standard deviation and every seed; methods without it are level lines."""
    inside: dict[str, list[Row]] = {}
    outside: list[Row] = []
    for row in table.rows:
        if name not in row.setting:
            outside.append(row)
            continue
        rest = {key: value for key, value in row.setting.items() if key in categories}
        inside.setdefault(row.title + (f", {describe_setting(rest)}" if rest else ""), []).append(row)
    lines = _lines(columns)
    width = max(map(len, lines))
    values = sorted({row.setting[name] for rows in inside.values() for row in rows})
    with drawing(max(8.0, 2.6 * width), 2.5 * len(lines) + 0.9) as figure:
        panels = _panels(figure, columns, sharex=True)
        for axis, column in panels:
            for position, rows in enumerate(inside.values()):
                _draw_curve(axis, column, name, rows, position)
            for position, row in enumerate(outside, start=len(inside)):
                if column in row.cells:
                    axis.axhline(100 * row.cells[column].mean, linestyle="--", color=LINES[position % len(LINES)])
            _scale(axis, values)
            tidy(axis, "y")
        figure.supxlabel(name.replace("_", " "), fontsize=11)
        figure.supylabel("accuracy in percent", fontsize=11)
        _legend(figure, panels[0][0], list(inside), [row.title for row in outside])
        path = save(figure, folder, f"curve_{name}_{rule}")
    alternative = f"Accuracy over {name}, a panel for each split and a line for each method, every seed a small mark."
    caption = f"Mean over seeds with one standard deviation; small marks are single runs; checkpoint: {RULES[rule]}."
    caption += f" Dashed: methods without {name}." if outside else ""
    return SettingPicture(path, alternative, f"{caption} Choose a value on the validation splits.")


def _draw_curve(axis: Any, column: Column, name: str, rows: Sequence[Row], position: int) -> None:
    drawn = sorted((row for row in rows if column in row.cells), key=lambda row: row.setting[name])
    if not drawn:
        return
    xs, cells = [row.setting[name] for row in drawn], [row.cells[column] for row in drawn]
    colour, marker = LINES[position % len(LINES)], MARKERS[position % len(MARKERS)]
    means = np.array([100 * cell.mean for cell in cells])
    spreads = np.array([100 * (cell.std or 0.0) for cell in cells])
    axis.plot(xs, means, color=colour, marker=marker, markersize=6, linewidth=1.8)
    upper = np.minimum(100.0, means + spreads)
    axis.fill_between(xs, means - spreads, upper, color=colour, alpha=0.15, linewidth=0)
    for x, cell in zip(xs, cells, strict=True):
        axis.scatter([x] * len(cell.by_seed), [100 * v for v in cell.by_seed.values()], s=7, color=colour, alpha=0.8)


def _scale(axis: Any, values: Sequence[float]) -> None:
    """A logarithmic axis for values that span more than a factor of eight, such as temperatures."""
    if values[0] > 0 and values[-1] / values[0] > 8:
        axis.set_xscale("log")
        axis.minorticks_off()
    axis.set_xticks(values, [setting_value(value) for value in values], fontsize=9)


def _legend(figure: Any, axis: Any, marked: Sequence[str], dashed: Sequence[str]) -> None:
    handles = []
    for position, label in enumerate([*marked, *dashed]):
        style = {"marker": MARKERS[position % len(MARKERS)]} if position < len(marked) else {"linestyle": "--"}
        handles += axis.plot([], [], color=LINES[position % len(LINES)], label=label, **style)
    longest = max(len(label) for label in [*marked, *dashed])
    fitting = int(figure.get_size_inches()[0] * 11 / (longest + 6))  # about eleven characters an inch, and the mark
    figure.legend(handles=handles, loc="outside upper center", ncols=max(1, min(len(handles), 3, fitting)))


def _dots(table: Table, columns: Sequence[Column], name: str, folder: Path, rule: str) -> SettingPicture:
    """A dot for each run, a bar at the mean.

    The lines of a panel are the values or the methods, whichever are more, and the colours are the others. Methods
    without the setting are dashed lines.
    """
    rows = [row for row in table.rows if name in row.setting]
    outside = [row for row in table.rows if name not in row.setting]
    values = list(dict.fromkeys(setting_value(row.setting[name]) for row in rows))
    methods = list(dict.fromkeys(row.title for row in rows))
    by_value = len(values) >= len(methods)
    heights, colours = (values, methods) if by_value else (methods, values)
    lines = _lines(columns)
    width = max(map(len, lines))
    line_height = max(0.3, 0.17 * len(colours) + 0.1)
    with drawing(max(8.0, 2.1 * width + 2.0), (line_height * len(heights) + 0.9) * len(lines) + 0.8) as figure:
        panels = _panels(figure, columns, sharey=True)
        for axis, column in panels:
            for row in (row for row in rows if column in row.cells):
                value, method = values.index(setting_value(row.setting[name])), methods.index(row.title)
                place, position = (value, method) if by_value else (method, value)
                height = place + 0.7 * ((position + 0.5) / len(colours) - 0.5)
                colour, marker = LINES[position % len(LINES)], MARKERS[position % len(MARKERS)]
                half = 0.3 / len(colours)
                seeds = [100 * figure for figure in row.cells[column].by_seed.values()]
                axis.plot(
                    [100 * row.cells[column].mean] * 2, [height - half, height + half], linewidth=2.2, color=colour
                )
                axis.scatter(seeds, [height] * len(seeds), s=20, marker=marker, alpha=0.8, color=colour)
            for position, row in enumerate(outside, start=len(colours)):
                if column in row.cells:
                    axis.axvline(100 * row.cells[column].mean, linestyle="--", color=LINES[position % len(LINES)])
            axis.set_yticks(range(len(heights)), [_short(text) for text in heights])
            axis.set_ylim(len(heights) - 0.5, -0.5)
            tidy(axis, "x")
        figure.supxlabel("accuracy in percent", fontsize=11)
        _legend(figure, panels[0][0], colours, [row.title for row in outside])
        path = save(figure, folder, f"dots_{name}_{rule}")
    alternative = f"Accuracy for each {name} and method, a panel for each split, a dot for each run, a bar at the mean."
    caption = f"A dot is a run, a bar the mean over seeds; checkpoint: {RULES[rule]}; each panel has its own scale."
    return SettingPicture(path, alternative, caption)


def _short(text: str) -> str:
    """A label of at most two lines of 28 characters."""
    kept = textwrap.wrap(text, 28, break_on_hyphens=False)
    return "\n".join(kept[:2]) + ("…" if len(kept) > 2 else "")
