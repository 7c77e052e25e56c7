"""A comparison as Markdown, CSV and LaTeX: figures in percent for readers, in [0, 1] at full precision for programs."""

import itertools
import re
from collections.abc import Sequence
from typing import Any

from ...whole_files import csv_cell
from ..extra import analysis_extra
from ..results import RULES, setting_value
from .pairing import Cell, Column, Row, Table, interval_note

_FIELDS = (
    "view shift split selection metric runs seeds mean std "
    "reference pairs difference_mean difference_low difference_high level unpaired_seeds"
).split()
_METRICS = {"accuracy": "Accuracy", "macro_accuracy": "Mean accuracy over actions", "gap": "Accuracy lost against IID"}


def header_and_rows(table: Table, differences: bool = False) -> tuple[list[str], list[list[str]]]:
    """The cells of a table as text.

    Args:
        table: from `compare`.
        differences: paired differences to the reference instead of the figures themselves.

    Returns:
        The headers and, for each row, a text for each header.
    """
    rules = list(dict.fromkeys(column.rule for column in table.columns))
    headers = ["method", *table.setting_names, "seeds"]
    headers += [column.title + (f", {RULES[column.rule]}" if len(rules) > 1 else "") for column in table.columns]
    rows = []
    for row in table.rows:
        settings = [setting_value(row.setting[name]) if name in row.setting else "–" for name in table.setting_names]
        show = _difference if differences else _figure
        rows.append([row.title, *settings, str(len(row.seeds)), *(show(row, row.cells.get(c)) for c in table.columns)])
    return headers, rows


def captions(table: Table) -> tuple[str, str]:
    """The captions of the table of figures and of the table of differences."""
    name = _METRICS.get(table.metric, table.metric.replace("_", " "))
    rules = [RULES[rule] for rule in RULES if any(column.rule == rule for column in table.columns)]
    chosen = f"checkpoint: {' and '.join(rules)}"
    reference = next((row.title for row in table.rows if row.is_reference), table.reference)
    return (
        f"{name} in percent, mean ± sample standard deviation over seeds; {chosen}.",
        f"Difference to {reference} in percentage points, paired by seed: mean [interval]; {chosen}.",
    )


def notes(table: Table) -> list[str]:
    """The notes below the table."""
    return [note for note in (interval_note(table), *table.notes) if note]


def to_markdown(table: Table) -> str:
    """Two Markdown tables, figures and paired differences, and the notes below."""
    figures, differences = captions(table)
    parts = [figures, markdown_table(*header_and_rows(table))]
    if table.reference is not None:
        parts += [plain_markdown(differences), markdown_table(*header_and_rows(table, differences=True))]
    parts += ["\n".join(f"- {plain_markdown(note)}" for note in notes(table))]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    ruler = ["---", *["---:"] * (len(headers) - 1)]
    first, *others = [[plain_markdown(text) for text in row] for row in [headers, *rows]]
    lines = [first, ruler, *others]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain_markdown(text: str) -> str:
    """Text as Markdown on one line, with everything escaped that would be markup or end a cell."""
    escaped = re.sub(r"[\\|*`]", r"\\\g<0>", " ".join(text.split()))
    return escaped.replace("<", "&lt;").replace("](", "]\\(")


def to_csv(*tables: Table) -> str:
    """One line per row, column and metric: everything in the tables, at full precision.

    The columns: method, title, one `setting.<name>` for each setting, and `_FIELDS`, in which a seed is "seed" or
    "seed/split seed" and seeds are separated by blanks. Empty: not measured.
    """
    with analysis_extra():
        import pandas as pd

    lines = [
        {"method": row.method, "title": row.title}
        | {f"setting.{name}": setting_value(value) for name, value in row.setting.items()}
        | _line(table, column, cell)
        for table in tables
        for row in table.rows
        for column, cell in row.cells.items()
    ]
    names = sorted({name for table in tables for name in table.setting_names})
    fields = ["method", "title", *(f"setting.{name}" for name in names), *_FIELDS]
    written = [{name: csv_cell(value) for name, value in line.items()} for line in lines]
    frame = pd.DataFrame(written, columns=fields, dtype=object)
    return str(frame.to_csv(index=False, header=[csv_cell(name) for name in fields], lineterminator="\n"))


def _line(table: Table, column: Column, cell: Cell) -> dict[str, Any]:
    seeds = list(cell.by_seed)
    values = [column.view, column.shift, column.split, column.rule, table.metric, len(seeds), _seeds(seeds)]
    values += [cell.mean, cell.std]
    if (found := cell.difference) is not None:
        interval = found.interval
        ends = [None] * 3 if interval is None else [interval.low, interval.high, interval.level]
        values += [table.reference, len(found.by_seed), found.mean, *ends, _seeds(found.missing)]
    return dict(zip(_FIELDS, values, strict=False))


def _seeds(seeds: Sequence[tuple[int, int]]) -> str:
    return " ".join(f"{seed}/{split}" if split else str(seed) for seed, split in seeds)


def to_latex(table: Table) -> str:
    """Two LaTeX tables for the package booktabs, each split over the rules; the notes follow as comments."""
    parts = [_latex(table, captions(table)[0], differences=False)]
    if table.reference is not None:
        parts.append(_latex(table, captions(table)[1], differences=True))
    comments = [f"% {' '.join(note.split())}" for note in notes(table)]
    return "\n\n".join(["% needs \\usepackage{booktabs}", *parts, *comments]) + "\n"


def _latex(table: Table, caption: str, differences: bool) -> str:
    with analysis_extra():
        import pandas as pd

    first = ["method", *table.setting_names, "seeds"]
    blanks = [" " * place for place in range(len(first))]  # all different, so that pandas merges none of these headers
    above = [*blanks, *(_escape(column.title) for column in table.columns)]
    below = [_escape(name) for name in [*first, *(RULES[column.rule] for column in table.columns)]]
    cells = [[_first(row[0]), *map(_escape, row[1:])] for row in header_and_rows(table, differences)[1]]
    style = pd.DataFrame(cells, columns=pd.MultiIndex.from_arrays([above, below])).style.hide(axis="index")
    text = style.format_index(str.strip, axis="columns").to_latex(
        column_format="l" + "r" * (len(above) - 1),
        position_float="centering",
        hrules=True,
        caption=_escape(caption),
        multicol_align="c",
    )
    # pandas draws no rule under a header that spans several columns.
    rules = ""
    for _, group in itertools.groupby(range(len(first), len(above)), key=above.__getitem__):
        spanned = list(group)
        rules += f"\\cmidrule(lr){{{spanned[0] + 1}-{spanned[-1] + 1}}}"
    return str(text).replace("\\\\\n", f"\\\\\n{rules}\n", 1).rstrip("\n")


_SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "±": "$\\pm$",
    "−": "$-$",
    "–": "--",
}


def _escape(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in " ".join(text.split()))


def _first(text: str) -> str:
    """The first cell of a row; a bracket or star there would be read as an argument of the command before it."""
    escaped = _escape(text)
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped


def signed(value: float) -> str:
    """A share in percentage points with its sign, "+1.5" or "−1.5"; only "0.0" has no sign."""
    text = f"{abs(100 * value):.1f}"
    return text if float(text) == 0 else ("+" if value > 0 else "−") + text


def _figure(row: Row, cell: Cell | None) -> str:
    if cell is None:
        return "–"
    text = f"{100 * cell.mean:.1f}" + ("" if cell.std is None else f" ± {100 * cell.std:.1f}")
    return text + ("" if len(cell.by_seed) == len(row.seeds) else f" ({len(cell.by_seed)} of {len(row.seeds)} seeds)")


def _difference(row: Row, cell: Cell | None) -> str:
    if row.is_reference:
        return "reference"
    if cell is None or cell.difference is None:
        return "–"
    found = cell.difference
    text = signed(found.mean)
    interval = found.interval
    text += " [one pair]" if interval is None else f" [{signed(interval.low)}, {signed(interval.high)}]"
    return text + (f" ({len(found.by_seed)} of {len(cell.by_seed)} seeds)" if found.missing else "")
