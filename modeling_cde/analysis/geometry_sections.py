"""The geometry of a run as parts of its report: for each property how to read it, its numbers and its pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

from .measures.geometry import notes_by_text
from .page import Cell, Section, Table
from .plots.run_plots import Pictures, tests_first

#: A row of a table: its title, and the path of its number in a split of `geometry.json`.
Line = tuple[str, tuple[str, ...]]

_OPPOSITES: tuple[Line, ...] = (
    ("mean cosine of opposite actions", ("opposites", "mean")),
    ("mean cosine of all other pairs", ("opposites", "others", "mean")),
    ("standard deviation of these", ("opposites", "others", "std")),
    ("lowest of these", ("opposites", "others", "min")),
    ("permutation p", ("opposites", "p_value")),
    ("smallest p that was possible", ("opposites", "smallest_p")),
)
_VARIANCE: tuple[Line, ...] = (
    ("by action", ("variance", "action")),
    ("… of pure noise", ("variance_by_chance", "action")),
    ("by object", ("variance", "object")),
    ("… of pure noise", ("variance_by_chance", "object")),
    ("by their interaction", ("variance", "interaction")),
    ("… of pure noise", ("variance_by_chance", "interaction")),
    ("the rest", ("variance", "residual")),
)
_TRANSFER: tuple[Line, ...] = (
    ("accuracy on the object left out", ("transfer", "accuracy")),
    ("accuracy where the object is known", ("transfer", "within")),
    ("the most frequent action", ("transfer", "chance")),
)
_SPARSITY: tuple[Line, ...] = (
    ("Hoyer sparsity", ("sparsity", "hoyer")),
    ("share of dimensions near zero", ("sparsity", "near_zero_share")),
    ("deltas that are 0", ("sparsity", "zero_deltas")),
)
_NEIGHBOURS: tuple[Line, ...] = (
    ("k-NN on deltas", ("neighbours", "knn")),
    ("prototypes (nearest mean delta)", ("neighbours", "prototype")),
    ("k-NN on states", ("neighbours", "knn_states")),
    ("neighbours k", ("neighbours", "k")),
    ("compared with", ("neighbours", "bank")),
)
_PATCHES: tuple[Line, ...] = (
    ("kept patches k", ("patches", "k")),
    ("area in the target's box", ("patches", "box", "share")),
    ("… of k patches at random", ("patches", "box", "by_chance")),
    ("… of the k best patches", ("patches", "box", "at_best")),
    ("area in the target's mask", ("patches", "mask", "share")),
    ("… of k patches at random", ("patches", "mask", "by_chance")),
    ("… of the k best patches", ("patches", "mask", "at_best")),
    ("cosine of two patches, opposite actions", ("patches", "opposites_mean")),
    ("… other actions", ("patches", "others_mean")),
    ("… the same action", ("patches", "same_action_mean")),
    ("variance by action", ("patches", "variance_action")),
    ("variance by object", ("patches", "variance_object")),
    ("Hoyer sparsity of a patch", ("patches", "hoyer")),
    ("object read from one patch and the true action", ("patches", "object_probe")),
    ("… from the true action alone", ("patches", "object_chance")),
)


def geometry_sections(geometry: Mapping[str, Any], pictures: Pictures) -> list[Section]:
    """The sections of a report on the geometry of the deltas.

    Args:
        geometry: what `geometry.json` holds.
        pictures: what was drawn of the run.

    Returns:
        One section with a part for each property. What no split could be measured on is left out; why stands in the
        notes of the section.
    """
    splits: dict[str, Mapping[str, Any]] = {name: geometry["splits"][name] for name in tests_first(geometry["splits"])}
    notes = [f"{', '.join(names)}: {note}" for note, names in notes_by_text(geometry).items()]
    sizes = ", ".join(f"{name} {values['n']}" for name, values in splits.items())
    dimensions = next(iter(splits.values()))["dimensions"]
    opening = (
        f"A delta has {dimensions} dimensions. Every number is of all pairs of a split ({sizes}) and stands, with all "
        "that were measured, in geometry.json. The formulas are in the modules of modeling_cde.analysis."
    )
    parts = [
        Section(
            "Opposite actions",
            [
                "Do opposite actions move the state in opposite directions? -1 is exactly anti-parallel. Unrelated "
                "actions can be anti-parallel, too, so the opposites are compared with all other pairs: p is how often "
                "as many pairs chosen at random are as anti-parallel on average."
            ],
            [*_table(splits, _OPPOSITES, "Cosine between mean deltas, from -1 to 1"), *_opposite_pairs(splits)],
            pictures.of.get("cosines", ()),
            notes=pictures.missing.get("cosines", ()),
            level=3,
        ),
        Section(
            "Maps of the deltas",
            pictures=pictures.of.get("map", ()),
            notes=pictures.missing.get("map", ()),
            level=3,
        ),
        Section(
            "Invariance",
            [
                "How much of the variance of the deltas does the action explain, and how much the object? A delta that "
                "is the same on every object varies by action alone. Even pure noise gives some share, the more the "
                "fewer the pairs: what counts is the distance to it."
            ],
            _table(splits, _VARIANCE, "Shares of the variance; four of them sum to 1"),
            level=3,
        ),
        Section(
            "Generalisation to an object left out",
            [
                "A linear probe learns the actions on all objects of a split but one and is tested on that one. The "
                "nearer to the accuracy on known objects, the less a delta depends on its object."
            ],
            [*_table(splits, _TRANSFER, "Accuracy of a linear probe on deltas"), *_transfer_by_object(splits)],
            level=3,
        ),
        Section(
            "Sparsity",
            [
                "How few dimensions does an action move? Hoyer's measure is 0 where all dimensions move alike and 1 "
                "where one moves alone."
            ],
            _table(splits, _SPARSITY, "Sparsity, from 0 to 1, means over the pairs"),
            pictures.of.get("sparsity", ()),
            notes=pictures.missing.get("sparsity", ()),
            level=3,
        ),
        Section(
            "Independence",
            [
                "Can a linear probe read from a delta which object it was done to, or in which scene? It should, less "
                "than from a state. Since some actions are done to some objects only, even the true action alone tells "
                "something; the probe that is told the action shows what a delta tells beyond it."
            ],
            _probe_tables(splits),
            level=3,
        ),
        Section(
            "Neighbours",
            ["Without the classifier: is the action that of the most similar known deltas?"],
            _table(splits, _NEIGHBOURS, "Accuracy by cosine similarity"),
            level=3,
        ),
        Section(
            "Calibration",
            ["Is a prediction of confidence 0.8 right eight times out of ten? The error is 0 where it is."],
            _table(splits, (("expected calibration error", ("calibration", "ece")),), "Calibration, from 0 to 1"),
            pictures.of.get("reliability", ()),
            notes=pictures.missing.get("reliability", ()),
            level=3,
        ),
    ]
    if any(values.get("patches") for values in splits.values()):
        parts.append(
            Section(
                "Patches",
                [
                    "Do the kept patches lie on what changed, and has the delta of a single patch the properties that "
                    "the mean of the kept ones has? At random is what patches drawn blindly would give; the best is "
                    "what a target smaller than k patches allows."
                ],
                _table(splits, _PATCHES, "Kept patches"),
                level=3,
            )
        )
    shown = [part for part in parts if part.tables or part.pictures or part.notes]
    return [Section("Geometry of the deltas", [opening], notes=notes), *shown]


def look_up(measured: Mapping[str, Any], keys: Sequence[str]) -> Cell:
    """A number of a split, None where it was not measured."""
    found: Any = measured
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, str | int | float) else None


def _table(splits: Mapping[str, Mapping[str, Any]], lines: Sequence[Line], caption: str) -> list[Table]:
    """A table of a row per line and a column per split; none where nothing was measured."""
    rows = [[title, *(look_up(values, keys) for values in splits.values())] for title, keys in lines]
    rows = [row for row in rows if any(cell is not None for cell in row[1:])]
    return [Table(["", *splits], rows, caption)] if rows else []


def _opposite_pairs(splits: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    pairs: dict[str, dict[str, Cell]] = {}
    for name, values in splits.items():
        for row in (values["opposites"] or {}).get("pairs", []):
            pairs.setdefault(" / ".join(sorted((row["action"], row["opposite"]))), {})[name] = row["cosine"]
    rows: list[list[Cell]] = [[pair, *(found.get(name) for name in splits)] for pair, found in sorted(pairs.items())]
    return [Table(["", *splits], rows, "Cosine of each pair of opposites")] if rows else []


def _transfer_by_object(splits: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    objects = sorted({name for values in splits.values() for name in (values["transfer"] or {}).get("by_object", {})})
    rows: list[list[Cell]] = [
        [name, *(look_up(values, ("transfer", "by_object", name, "accuracy")) for values in splits.values())]
        for name in objects
    ]
    return [Table(["", *splits], rows, "The same by the object that was left out", folded=True)] if rows else []


def _probe_tables(splits: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    tables = []
    for what in ("object", "scene"):
        lines: list[Line] = [
            (f"{what} read from the delta", ("probes", what, "delta")),
            ("… from the state before", ("probes", what, "states")),
            ("… from the true action alone", ("probes", what, "from_action")),
            (f"… the most frequent {what}", ("probes", what, "chance")),
            (f"{what} read from delta and true action", ("probes", what, "within_action", "delta")),
            ("… from state and true action", ("probes", what, "within_action", "states")),
            ("… from the true action alone, on the same pairs", ("probes", what, "within_action", "chance")),
        ]
        tables += _table(splits, lines, f"Accuracy of reading the {what}")
    return tables
