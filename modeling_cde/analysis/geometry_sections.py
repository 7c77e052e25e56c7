"""The geometry of a run as parts of its report: for each property how to read it, its numbers and its pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..data.splits.titles import split_title
from .measures.figures import DETAILS, MEASURES, measured
from .measures.geometry import notes_by_text
from .page import Cell, Section, Table
from .plots.run_plots import Pictures, tests_first

Splits = Mapping[str, Mapping[str, Any]]
_BY_MECHANISM = (
    "The same by how the action is done. The interaction is what an action does otherwise in one mechanism than in "
    "another, beyond what its opposite undoes"
)


def geometry_sections(geometry: Mapping[str, Any], pictures: Pictures) -> list[Section]:
    """The sections of a report on the geometry of the deltas.

    Args:
        geometry: what `geometry.json` holds.
        pictures: the pictures of the run.

    Returns:
        One section with a part for each property, which is empty where no split could be measured; the notes of the
        section say why.
    """
    splits: Splits = {name: geometry["splits"][name] for name in tests_first(geometry["splits"])}
    notes = [f"{', '.join(map(split_title, names))}: {note}" for note, names in notes_by_text(geometry).items()]
    sizes = ", ".join(f"{split_title(name)} {values['n']}" for name, values in splits.items())
    dimensions = next(iter(splits.values()))["dimensions"]
    opening = (
        f"A delta has {dimensions} dimensions. Each number describes all pairs of a split ({sizes}); geometry.json "
        "holds every number that was measured, and the modules in modeling_cde/analysis/measures state the formulas."
    )
    return [
        Section("Geometry of the deltas", [opening], notes=notes),
        pictures.section(
            "Opposite actions",
            "cosines",
            "Do opposite actions move the state in opposite directions? -1 is exactly anti-parallel. Unrelated actions "
            "can be anti-parallel, too, so the opposites are compared with all other pairs: p is the probability that "
            "as many pairs chosen at random are as anti-parallel on average.",
            [*_figures(splits, "opposites.", "Cosine between mean deltas, from -1 to 1"), *_opposite_pairs(splits)],
        ),
        pictures.section("Maps of the deltas", "map"),
        pictures.section(
            "Invariance",
            "",
            "How much of the variance of the deltas does the action explain, and how much the object? A delta that is "
            "the same on every object varies by action alone. Even pure noise has a share by chance, which is larger "
            "for fewer pairs: compare each share with it.",
            [
                *_figures(splits, "variance", "Shares of the variance; action, object, interaction and rest sum to 1"),
                *_figures(splits, "mechanism_variance", _BY_MECHANISM),
            ],
        ),
        pictures.section(
            "Generalisation to an object held out",
            "",
            "A linear probe learns the actions on all objects of a split but one and is tested on that one. The closer "
            "its accuracy is to that on known objects, the less a delta depends on its object.",
            [*_figures(splits, "transfer.", "Accuracy of a linear probe on deltas"), *_transfer_by_object(splits)],
        ),
        pictures.section(
            "Sparsity",
            "sparsity",
            "How few dimensions does an action move? Hoyer's measure is 0 where all dimensions move equally and 1 "
            "where only one moves.",
            _figures(splits, "sparsity.", "Sparsity, from 0 to 1, means over the pairs"),
        ),
        pictures.section(
            "Independence",
            "",
            "Can a linear probe read from a delta which object was acted on, or in which scene? It should read them "
            "less well than from a state. Some actions occur on some objects only, so even the true action alone says "
            "something about the object; a probe that is told the action shows what a delta says beyond it.",
            [
                *_figures(splits, "probes.object.", "Accuracy of reading the object"),
                *_figures(splits, "probes.scene.", "Accuracy of reading the scene"),
            ],
        ),
        pictures.section(
            "Neighbours",
            "",
            "Without the classifier: is the action that of the most similar known deltas?",
            _figures(splits, "neighbours.", "Accuracy by cosine similarity"),
        ),
        pictures.section(
            "Calibration",
            "reliability",
            "Is a prediction of confidence 0.8 right eight times out of ten? The error is 0 where it is.",
            _figures(splits, "calibration.", "Calibration, from 0 to 1"),
        ),
        pictures.section(
            "Patches",
            "",
            "Do the selected patches lie on what changed, and does the delta of a single patch have the properties of "
            "their mean? By chance is what patches drawn at random would give; the best k patches are the limit for a "
            "target smaller than k patches.",
            _figures(splits, "patches.", "Selected patches"),
        ),
    ]


def _figures(splits: Splits, topic: str, caption: str) -> list[Table]:
    """A table with a row for each figure of a topic and a column for each split; none where nothing was measured."""
    rows: list[list[Cell]] = [
        [title, *(measured(values, place) for values in splits.values())]
        for title, place in (MEASURES | DETAILS).items()
        if place.startswith(topic)
    ]
    return _table(splits, rows, caption)


def _table(splits: Splits, rows: Sequence[Sequence[Cell]], caption: str, folded: bool = False) -> list[Table]:
    rows = [row for row in rows if any(cell is not None for cell in row[1:])]
    return [Table(["", *map(split_title, splits)], rows, caption, folded)] if rows else []


def _opposite_pairs(splits: Splits) -> list[Table]:
    pairs: dict[str, dict[str, Cell]] = {}
    for name, values in splits.items():
        for row in (values["opposites"] or {}).get("pairs", []):
            pairs.setdefault(" / ".join(sorted((row["action"], row["opposite"]))), {})[name] = row["cosine"]
    rows = [[pair, *(found.get(name) for name in splits)] for pair, found in sorted(pairs.items())]
    return _table(splits, rows, "Cosine of each pair of opposites")


def _transfer_by_object(splits: Splits) -> list[Table]:
    found = [(values["transfer"] or {}).get("by_object", {}) for values in splits.values()]
    rows = [
        [name, *(one.get(name, {}).get("accuracy") for one in found)]
        for name in sorted({name for one in found for name in one})
    ]
    return _table(splits, rows, "The same by the object that was held out", folded=True)
