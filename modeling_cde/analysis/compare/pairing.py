"""Runs in rows and columns, and each row against the reference, seed by seed.

A row is a method with one setting. A column is a test split under one rule of selection; runs trained for different
shifts have different "test" splits, so the shift is part of the column. A run's partner is the reference's run with the
same seed, split seed, view and shift, tested on the same split (the manifests agree). `Table.notes` names every run
without a partner.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...data.splits.titles import split_title
from ..results import RULES, Result, by_row, name_row
from .statistics import Interval, expected_coverage, mean, paired_bootstrap, sample_std

Seed = tuple[int, int]  # seed of the training, seed of the split


@dataclass(frozen=True)
class Column:
    """A split under a rule; `view` and `shift` are those of the runs, `title` names the split."""

    split: str
    rule: str
    view: str
    shift: str
    title: str


@dataclass(frozen=True)
class Difference:
    """A row minus the reference.

    Attributes:
        by_seed: the paired differences.
        mean: their mean, in the metric's units.
        interval: its bootstrap interval, None for one pair.
        missing: seeds of the row that have no partner.
    """

    by_seed: Mapping[Seed, float]
    mean: float
    interval: Interval | None
    missing: tuple[Seed, ...]


@dataclass(frozen=True)
class Cell:
    """The runs of a row in a column.

    Attributes:
        by_seed: one figure per run; at least one.
        mean: their mean.
        std: their sample standard deviation, None for one run.
        difference: against the reference; None for the reference itself and where no run has a partner.
    """

    by_seed: Mapping[Seed, float]
    mean: float
    std: float | None
    difference: Difference | None


@dataclass(frozen=True)
class Row:
    """A method with one setting; `cells` lacks the columns that were not measured."""

    method: str
    title: str
    setting: Mapping[str, Any]
    seeds: tuple[Seed, ...]
    cells: Mapping[Column, Cell]
    is_reference: bool


@dataclass(frozen=True)
class Table:
    """Rows and columns of one metric, with the notes that belong below them."""

    metric: str
    reference: str | None
    setting_names: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def compare(
    results: Sequence[Result],
    reference: str = "concatenation",
    metric: str = "accuracy",
    order: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    level: float = 0.95,
) -> Table:
    """Arrange results as a table.

    Args:
        results: any runs, as `load_results` gives them.
        reference: key of the method that the others are compared with.
        metric: "accuracy", "macro_accuracy", "gap" or another number in a split's entry.
        order: keys of methods in the order of the rows; by default that of `results`.
        splits: which splits; by default those whose name begins with "test".
        level: level of the intervals, in (0, 1).

    Returns:
        The table. Without a run of the reference it has no differences, and a note says so.
    """
    methods = list(dict.fromkeys([*(order or ()), *(result.method for result in results)]))
    columns = _columns(results, splits, metric)
    partners = Partners([result for result in results if result.method == reference])
    notes: list[str] = []
    if not partners.runs:
        known = ", ".join(dict.fromkeys(result.method for result in results))
        notes.append(
            f"No run has the reference method {reference!r}, so there are no differences; methods here: {known}."
        )
    rows = []
    for runs in by_row(sorted(results, key=lambda result: methods.index(result.method))):
        is_reference = runs[0].method == reference
        cells: dict[Column, Cell] = {}
        for column in columns:
            figures = _figures(runs, column, metric)
            if figures:
                difference = None if is_reference else partners.difference(runs, column, metric, level)
                cells[column] = Cell(figures, mean([*figures.values()]), sample_std([*figures.values()]), difference)
        seeds = tuple(sorted({_seed(run) for run in runs}))
        rows.append(Row(runs[0].method, runs[0].title, runs[0].setting, seeds, cells, is_reference))
    names = sorted({name for result in results for name in result.setting})
    notes += _missing_seeds(rows, results) + partners.notes() + _missing_last(results) + _tested_pairs(results, columns)
    return Table(metric, reference if partners.runs else None, tuple(names), columns, tuple(rows), tuple(notes))


class Partners:
    """The runs of the reference; remembers which runs found no partner, and why."""

    def __init__(self, runs: Sequence[Result]) -> None:
        self.runs = runs
        self._alone: dict[str, str] = {}  # run -> why it has no partner

    def find(self, run: Result) -> Result | None:
        """The partner of a run: among the runs with its seed, split and shift, the one with most settings in common.

        A reference without settings of its own (vanilla has no temperature) is the partner of every setting; one whose
        setting contradicts the run's is not.
        """
        alike = [
            other
            for other in self.runs
            if _seed(other) == _seed(run)
            and (other.view, other.shift) == (run.view, run.shift)
            and other.setting.items() <= run.setting.items()
        ]
        if not alike:
            self._alone[run.run] = f"the reference has no run with {describe_seed(_seed(run))} and this setting"
            return None
        partner = max(alike, key=lambda other: len(other.setting))
        if run.manifests and partner.manifests and run.manifests != partner.manifests:
            self._alone[run.run] = f"{partner.run} was trained and tested on another split (the manifests differ)"
            return None
        return partner

    def difference(self, runs: Sequence[Result], column: Column, metric: str, level: float) -> Difference | None:
        """Runs of one row minus their partners."""
        if not self.runs:
            return None
        differences: dict[Seed, float] = {}
        missing: list[Seed] = []
        for run in sorted(runs, key=_seed):
            figure = _figure(run, column, metric)
            if figure is None:
                continue
            partner = self.find(run)
            against = None if partner is None else _figure(partner, column, metric)
            if partner is not None and run.pairs(column.split) != partner.pairs(column.split):
                self._alone[run.run] = f"{partner.run} was tested on a different number of pairs of {column.split}"
                against = None
            elif partner is not None and against is None and column.rule == "selected":
                self._alone.setdefault(run.run, f"{partner.run} has no {metric} on {column.split}")
            if against is None:
                missing.append(_seed(run))
            else:
                differences[_seed(run)] = figure - against
        if not differences:
            return None
        values = [*differences.values()]
        return Difference(differences, mean(values), paired_bootstrap(values, level), tuple(missing))

    def notes(self) -> list[str]:
        """One sentence for each reason, naming the runs."""
        reasons: dict[str, list[str]] = {}
        for run, reason in self._alone.items():
            reasons.setdefault(reason, []).append(run)
        return [f"No difference for {', '.join(runs)}: {reason}." for reason, runs in reasons.items()]


def describe_seed(seed: Seed) -> str:
    """A seed in words, with the split's seed where that is not 0."""
    return f"seed {seed[0]}" + (f" (split {seed[1]})" if seed[1] else "")


def interval_note(table: Table) -> str | None:
    """What the intervals of a table are and how far to trust them; None for a table without intervals."""
    found = [cell.difference for row in table.rows for cell in row.cells.values() if cell.difference is not None]
    intervals = [(len(one.by_seed), one.interval) for one in found if one.interval is not None]
    if not intervals:
        return None
    fewest = min(count for count, _ in intervals)
    coverage = expected_coverage(fewest)
    return (
        f"In brackets: {intervals[0][1].level:.0%} bootstrap interval of the mean difference over paired seeds. With "
        f"{fewest} seeds such an interval holds the true mean in only about {coverage:.0%} of cases (simulated, normal "
        "differences), and it knows nothing of the chance in which pairs are tested."
    )


def _seed(run: Result) -> Seed:
    return run.seed, run.split_seed


def _figure(run: Result, column: Column, metric: str) -> float | None:
    if (run.view, run.shift) != (column.view, column.shift):
        return None
    return run.value(column.split, column.rule, metric)


def _figures(runs: Sequence[Result], column: Column, metric: str) -> dict[Seed, float]:
    found = ((_seed(run), _figure(run, column, metric)) for run in sorted(runs, key=_seed))
    return {seed: figure for seed, figure in found if figure is not None}


def _columns(results: Sequence[Result], splits: Sequence[str] | None, metric: str) -> tuple[Column, ...]:
    """The columns in which some run has a figure: split by split, the rules side by side.

    Where no run selected an epoch, both rules are the last one, which is shown once.
    """
    selects = any(result.last is None or result.selected.criterion is not None for result in results)
    rules = [rule for rule in RULES if selects or rule == "last"]
    places = sorted({(result.view, result.shift) for result in results})
    several_views = len({view for view, _ in places}) > 1
    several_shifts = len({shift for _, shift in places}) > 1
    columns = []
    for view, shift in places:
        here = [result for result in results if (result.view, result.shift) == (view, shift)]
        names = list(dict.fromkeys(split for result in here for split in result.selected.splits))
        for split in [name for name in names if (name in splits if splits else name.startswith("test"))]:
            title = split_title(split)
            # "OOD systematic" names its shift already; the in-distribution splits of two trainings need it.
            title += f" ({shift})" if several_shifts and not split.endswith(f"_{shift}") else ""
            title = f"{view}: {title}" if several_views else title
            for rule in rules:
                if any(result.value(split, rule, metric) is not None for result in here):
                    columns.append(Column(split, rule, view, shift, title))
    return tuple(columns)


def _missing_seeds(rows: Sequence[Row], results: Sequence[Result]) -> list[str]:
    """A sentence for each row that lacks a seed which another row of the same view and shift has."""
    notes = []
    for view, shift in sorted({(result.view, result.shift) for result in results}):
        here = [result for result in results if (result.view, result.shift) == (view, shift)]
        every = sorted({_seed(result) for result in here})
        for row in rows:
            own = {_seed(run) for run in here if run.method == row.method and run.setting == row.setting}
            absent = [describe_seed(seed) for seed in every if seed not in own]
            if absent:
                mean_of = f" with {', '.join(absent)}: its mean is over {len(own)} of {len(every)}" if own else ""
                notes.append(f"{name_row(row.title, row.setting)} has no run of {view} {shift}{mean_of}.")
    return notes


def _missing_last(results: Sequence[Result]) -> list[str]:
    absent = [result.run for result in results if result.last is None]
    if absent and len(absent) == len(results):
        return ["No last epoch was evaluated, so the tables show only the validation-selected checkpoint."]
    return [f"The last epoch was not evaluated for {', '.join(absent)}."] if absent else []


def _tested_pairs(results: Sequence[Result], columns: Sequence[Column]) -> list[str]:
    """The number of pairs behind each column, and the standard error that this number alone gives an accuracy."""
    told = []
    for column in dict.fromkeys((column.view, column.shift, column.split, column.title) for column in columns):
        view, shift, split, title = column
        numbers = {run.pairs(split) for run in results if (run.view, run.shift) == (view, shift)} - {None, 0}
        counts = sorted(number for number in numbers if number is not None)
        if counts:
            error = 50 / math.sqrt(counts[0])  # the largest standard error, that of an accuracy of one half, in percent
            told.append(f"{title} {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} (±{error:.1f})")
    text = "Pairs tested, and the standard error in points that their number alone gives an accuracy at most"
    return [f"{text}: {', '.join(told)}."] if told else []
