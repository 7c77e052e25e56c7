"""The main picture of a comparison: every run as a dot, so that a mean of three seeds does not look like more."""

import textwrap
from pathlib import Path
from typing import Any

from ..compare.pairing import Column, Difference, Row, Table
from ..results import RULES, describe_setting
from .style import LINES, drawing, save, tidy

# The rules side by side within a row: filled above for the validation-selected checkpoint, hollow below for the last.
_STYLE = {
    "selected": {"marker": "o", "facecolors": LINES[0], "edgecolors": LINES[0]},
    "last": {"marker": "o", "facecolors": "white", "edgecolors": LINES[1]},
}
_OFFSET = {"selected": -0.14, "last": 0.14}
_LABEL_WIDTH = 24  # characters of a row's name in one line


def plot_seeds(table: Table, folder: str | Path, name: str = "accuracy") -> Path:
    """A panel for each split, a row for each method and setting, a dot for each run, a bar at the mean.

    Args:
        table: from `compare`, with at least one column.
        folder: where `<name>.png` and `<name>.svg` go.
        name: name of the files.

    Returns:
        The path of the PNG.
    """
    return _plot(table, folder, name, differences=False)


def plot_differences(table: Table, folder: str | Path, name: str = "differences") -> Path | None:
    """The same for the paired differences to the reference, with their intervals and a line at zero.

    Returns:
        The path of the PNG, or None where the table has no difference.
    """
    found = any(cell.difference is not None for row in table.rows for cell in row.cells.values())
    return _plot(table, folder, name, differences=True) if found else None


def row_label(row: Row) -> str:
    """The name of a row, in short lines."""
    lines = textwrap.wrap(row.title, _LABEL_WIDTH, break_on_hyphens=False)
    return "\n".join(lines + textwrap.wrap(describe_setting(row.setting), _LABEL_WIDTH + 4, break_on_hyphens=False))


def _plot(table: Table, folder: str | Path, name: str, differences: bool) -> Path:
    rows = [row for row in table.rows if not (differences and row.is_reference)]
    titles = list(dict.fromkeys((column.view, column.shift, column.title) for column in table.columns))
    labels = [row_label(row) for row in rows]
    height = sum(0.34 + 0.17 * label.count("\n") for label in labels) + 1.5
    with drawing(width=max(8.0, 2.2 + 2.0 * len(titles)), height=height) as figure:
        panels = figure.subplots(1, len(titles), sharey=True, squeeze=False)[0]
        for panel, title in zip(panels, titles, strict=True):
            columns = [column for column in table.columns if (column.view, column.shift, column.title) == title]
            for column in columns:
                for place, row in enumerate(rows):
                    _draw(panel, row, column, place, differences)
            if differences:
                panel.axvline(0, color="#57606a", linewidth=1)
            panel.set_title(textwrap.fill(title[2], 20))
            tidy(panel, "x")
        panels[0].set_yticks(range(len(rows)), labels)
        panels[0].set_ylim(len(rows) - 0.5, -0.5)  # the first row on top
        unit = "percentage points above the reference" if differences else "accuracy in percent"
        unit += "" if table.metric == "accuracy" else f" ({table.metric.replace('_', ' ')})"
        figure.supxlabel(unit, fontsize=11)
        _legend(figure, panels[0], table, differences)
        return save(figure, folder, name)


def _draw(panel: Any, row: Row, column: Column, place: int, differences: bool) -> None:
    cell = row.cells.get(column)
    shown = cell.difference if differences and cell is not None else cell
    if shown is None:
        return
    height, style = place + _OFFSET[column.rule], _STYLE[column.rule]
    colour = style["edgecolors"]
    if isinstance(shown, Difference) and shown.interval is not None:
        ends = [100 * shown.interval.low, 100 * shown.interval.high]
        panel.plot(ends, [height, height], color=colour, linewidth=1.5)
    panel.plot([100 * shown.mean] * 2, [height - 0.12, height + 0.12], color=colour, linewidth=2.2)
    values = [100 * value for value in shown.by_seed.values()]
    panel.scatter(values, [height] * len(values), s=22, linewidths=1.2, zorder=3, **style)


def _legend(figure: Any, panel: Any, table: Table, differences: bool) -> None:
    handles = []
    for rule in dict.fromkeys(column.rule for column in table.columns):
        handles.append(panel.scatter([], [], s=22, linewidths=1.2, label=f"{RULES[rule]}, one seed", **_STYLE[rule]))
    handles += panel.plot([], [], color="#57606a", linewidth=2.2, marker="|", linestyle="none", label="mean over seeds")
    if differences:
        handles += panel.plot([], [], color="#57606a", linewidth=1.5, label="bootstrap interval")
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), columnspacing=1.2)
