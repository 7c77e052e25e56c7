"""What the heads of an experiment measured: kept as JSON, and shown as a table with paired intervals."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.study.experiments import Fit
from modeling_cde.data.splits.titles import split_title
from modeling_cde.whole_files import write_text_whole

_GOOD = 0.9  # a kind that was left out counts as recognised from here on


@dataclass
class Results:
    """The results of an experiment.

    Attributes:
        path: The file.
        heads: One entry for each head: `fit`, the fields of its `Fit`, and what it measured.
    """

    path: Path
    heads: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> Results:
        """The results that a file has; none if there is no file."""
        return cls(path, json.loads(path.read_text(encoding="utf-8")) if path.is_file() else [])

    def has(self, fit: Fit) -> bool:
        """Whether this head was measured."""
        return _plain(fit) in [head["fit"] for head in self.heads]

    def add(self, fit: Fit, measured: Mapping[str, Any]) -> None:
        """Add what a head measured."""
        self.heads.append({"fit": _plain(fit), **measured})

    def save(self, order: Sequence[Fit]) -> None:
        """Write the file, a line for each head, in the order of the experiment; what else there is comes last."""
        places = {json.dumps(_plain(fit)): place for place, fit in enumerate(order)}
        self.heads.sort(key=lambda head: places.get(json.dumps(head["fit"]), len(places)))
        lines = [json.dumps(head, ensure_ascii=False) for head in self.heads]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text_whole(self.path, "[\n" + ",\n".join(lines) + "\n]\n")


def _plain(fit: Fit) -> dict[str, Any]:
    """A head as JSON gives it back."""
    return json.loads(json.dumps(dataclasses.asdict(fit)))  # type: ignore[no-any-return]


def show_table(results: Results, seeds: Sequence[int], on: str) -> str:
    """A Markdown table: a row for each row of the experiment, in percent; differences to the first row, paired."""
    heads = [head for head in results.heads if head["fit"]["seed"] in seeds]
    if any("answers" in head for head in heads):
        return _table_of_kinds(heads)
    from modeling_cde.analysis.compare.statistics import mean, paired_bootstrap, sample_std

    rows: dict[str, dict[int, dict[str, float]]] = defaultdict(dict)
    for head in heads:  # first those that the experiment has today, see `Results.save`
        rows[head["fit"]["row"]].setdefault(head["fit"]["seed"], head["accuracy"])
    if not rows:
        return "There are no results yet."
    if lacking := [row for row, found in rows.items() if any(on not in told for told in found.values())]:
        return f"The heads of {lacking[0]!r} were not tested on {on}: choose another part by --on."
    from modeling_cde.analysis.compare.comparison_tables import markdown_table

    kind = on.partition("_")[0]  # where validation parts decide, no test part is shown
    parts = [part for part in (kind, f"{kind}_comp") if all(part in a for r in rows.values() for a in r.values())]
    parts = list(dict.fromkeys([*parts, on]))
    first = next(iter(rows.values()))
    lines = []
    for row, found in rows.items():
        cells = []
        for part in parts:
            values = [100 * found[seed][part] for seed in sorted(found)]
            spread = sample_std(values)
            cells.append(f"{mean(values):.1f}" + ("" if spread is None else f" ± {spread:.1f}"))
        shared = [seed for seed in sorted(found) if seed in first]
        gains = [100 * (found[seed][on] - first[seed][on]) for seed in shared]
        interval = paired_bootstrap(gains)
        gain = "reference" if found is first else f"{mean(gains):+.1f}" if gains else "no seed in common"
        if interval is not None and found is not first:
            gain += f" [{interval.low:+.1f}, {interval.high:+.1f}], {sum(g > 0 for g in gains)} of {len(gains)} above 0"
        lines.append([row, str(len(found)), *cells, gain])
    return markdown_table(["", "seeds", *map(split_title, parts), f"{split_title(on)}, to the first row"], lines)


def _table_of_kinds(heads: Sequence[Mapping[str, Any]]) -> str:
    """Of kinds that were left out: a row for each way to train, then its kinds that are recognised worst."""
    from modeling_cde.analysis.compare.comparison_tables import markdown_table
    from modeling_cde.analysis.compare.statistics import mean

    rows: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    for head in heads:
        rows[head["fit"]["row"]].setdefault(head["kind"], head["answers"])
    lines = []
    for row, kinds in rows.items():
        right = {kind: mean(hits_of(told)) for kind, told in kinds.items()}
        good = sum(value >= _GOOD for value in right.values())
        lines.append([row, f"{100 * mean(list(right.values())):.1f}", f"{good} of {len(right)}"])
    summary = markdown_table(["", "mean over kinds", f"kinds at {_GOOD:.0%} or more"], lines)
    return "\n\n".join(filter(None, [summary, _by(rows, "kind"), _by(rows, "mechanism")]))


def _by(rows: Mapping[str, Mapping[str, list[dict[str, Any]]]], what: str) -> str:
    """Accuracy in percent by kind or mechanism, a column for each way to train, the worst first; "" without any."""
    from modeling_cde.analysis.compare.comparison_tables import markdown_table
    from modeling_cde.analysis.compare.statistics import mean

    hits: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row, kinds in rows.items():
        for kind, told in kinds.items():
            for one in told:
                name = kind if what == "kind" else one["mechanism"]
                if name is not None:
                    hits[name][row] += hits_of([one])
    right = {name: {row: mean(values) for row, values in found.items()} for name, found in hits.items()}
    last = list(rows)[-1]
    ordered = sorted(right, key=lambda name: right[name].get(last, 1.0))
    lines = [
        [name, *(f"{100 * right[name][row]:.0f}" if row in right[name] else "" for row in rows)] for name in ordered
    ]
    return markdown_table([what, *rows], lines) if lines else ""


def hits_of(answers: Sequence[Mapping[str, Any]]) -> list[float]:
    """1 for each pair that got the right answer, 0 for each other one."""
    return [float(one["answer"] == one["action"]) for one in answers for _ in range(one["pairs"])]
