"""All pictures of a run, as files and as parts of its report.

A picture that cannot be drawn (too few pairs, deltas that are not finite) does not prevent the others; the report shows
the reason in its place.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ...cli.extras import install
from ...data.splits.titles import split_title
from ..delta_set import DeltaSet, Examples
from ..measures.patches import measure_weights
from ..page import Picture, Section, Table, as_data_uri
from .confusion import plot_confusion
from .cosine_matrix import plot_cosines
from .curves import STATE_FILE, plot_training_curve
from .delta_map import has_umap, plot_delta_map
from .overlays import examples_of, plot_examples
from .reliability import plot_reliability
from .sparsity_profile import plot_sparsity

PICTURES_FOLDER = "pictures"
#: A page holds the PNG of a picture whose SVG is larger than this.
LARGEST_SVG = 500_000

_OF_EXAMPLES = "Pairs as the model saw them. Bold: mistaken for the action after the arrow."
_OF_CONFUSION = "What each action was recognised as, object by object, in % of the row's pairs. Framed: right."
_OF_MAPS = {
    "pca": "Projection on the two directions of largest variance. Colour: action; opposites share a hue. Mark: object. "
    "Groups by colour mean invariance; groups by mark mean that the object shows in the delta.",
    "umap": "Neighbourhoods of the same deltas. The distances between groups and their sizes mean nothing.",
}
_OF_RELIABILITY = (
    "Dotted: confidence equals accuracy. Below the line the model is overconfident, above it underconfident."
)
_OF_SPARSITY = (
    "Left: mean size of each dimension, sorted; the faster it falls, the fewer dimensions the split uses. Right: how "
    "many dimensions carry each action (participation ratio)."
)


@dataclass
class Pictures:
    """The pictures of a run.

    Attributes:
        of: topic -> its pictures; topics are "training", "examples", "confusion", "cosines", "map", "sparsity" and
            "reliability".
        paths: the PNG files.
        missing: topic -> why pictures of it are missing.
        progress: a bar that counts the pictures, or None.
    """

    of: dict[str, list[Picture]] = field(default_factory=dict)
    paths: list[Path] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    progress: Any = None

    def draw(self, topic: str, alternative: str, caption: str, plot: Callable[..., Path], *arguments: Any) -> None:
        """Draw one picture by `plot(*arguments)` and keep it, or keep the reason why it could not be drawn."""
        try:
            path = plot(*arguments)
        except ValueError as error:
            self.leave_out(topic, str(error))
            return
        if self.progress is not None:
            self.progress.update()
        self.paths.append(path)
        self.of.setdefault(topic, []).append(Picture(_embedded(path), alternative, caption))

    def leave_out(self, topic: str, reason: str) -> None:
        """Keep the reason why a picture is missing; a reason counts once."""
        if reason not in self.missing.setdefault(topic, []):
            self.missing[topic].append(reason)

    def section(self, title: str, topic: str, text: str = "", tables: Sequence[Table] = (), level: int = 3) -> Section:
        """A section of a report with the pictures of a topic, or with the reasons why they are missing."""
        drawn, missing = self.of.get(topic, ()), self.missing.get(topic, ())
        shown = text and (tables or drawn or missing)
        return Section(title, [text] if shown else [], tables, drawn, notes=missing, level=level)


def shown_splits(names: Mapping[str, Any]) -> list[str]:
    """The splits that get pictures: the tests, or all but the training pairs where there is no test."""
    tests = [name for name in names if name.startswith("test")]
    return tests or [name for name in names if name != "train"]


def tests_first(names: Iterable[str]) -> list[str]:
    """The splits with the test splits first, as a reader looks for them."""
    return sorted(names, key=lambda name: not name.startswith("test"))


def draw_pictures(
    run: str | Path,
    sets: Mapping[str, DeltaSet],
    examples: Examples | None,
    geometry: Mapping[str, Any] | None,
    with_umap: bool = True,
) -> Pictures:
    """Draw all pictures of a run into its folder `pictures`, as PNG and SVG.

    Args:
        run: folder of the run.
        sets: its splits by name.
        examples: its example pairs, or None.
        geometry: what `geometry.json` holds, or None where it could not be measured.
        with_umap: whether to draw the UMAP maps, too, if umap-learn is installed. They take longest.

    Returns:
        The pictures, ready for a page, and what is missing.
    """
    folder = Path(run) / PICTURES_FOLDER
    pictures = Pictures(progress=tqdm(desc=f"drawing {run}", unit=" pictures", leave=False))
    if (Path(run) / STATE_FILE).is_file():
        alternative = "Terms of the loss over the training steps, and accuracy on the validation splits."
        pictures.draw("training", alternative, "", plot_training_curve, run, folder / "training_curve.png")
    else:
        pictures.leave_out("training", f"The run has no {STATE_FILE}, so there is no training curve.")
    methods = ["pca", "umap"] if with_umap and has_umap() else ["pca"]
    measured = {} if geometry is None else geometry["splits"]
    for split in shown_splits(sets):
        if examples is not None and examples_of(examples, split):
            path = folder / f"examples_{split}.png"
            alternative = f"{split_title(split)}: {_describe_examples(examples, sets[split])}"
            caption = f"{split_title(split)}. {_OF_EXAMPLES}{_describe_weights(examples, split)}"
            pictures.draw("examples", alternative, caption, plot_examples, examples, sets, split, path)
        _draw_split(pictures, folder, sets[split], measured.get(split), methods)
    if not with_umap:
        pictures.leave_out("map", "The UMAP maps were switched off.")
    elif not has_umap():
        pictures.leave_out("map", f"UMAP maps need umap-learn: {install('umap')}")
    shown = {name: measured[name] for name in shown_splits(measured)}
    if shown:
        alternative = f"Sparsity profiles and effective dimensions by action of {', '.join(shown)}."
        pictures.draw("sparsity", alternative, _OF_SPARSITY, plot_sparsity, shown, folder / "sparsity.png")
        errors = ", ".join(f"{name} {values['calibration']['ece']:.3f}" for name, values in shown.items())
        alternative = f"Accuracy against confidence. Expected calibration errors: {errors}."
        pictures.draw("reliability", alternative, _OF_RELIABILITY, plot_reliability, shown, folder / "reliability.png")
    pictures.progress.close()
    return pictures


def _draw_split(
    pictures: Pictures, folder: Path, part: DeltaSet, measured: Mapping[str, Any] | None, methods: Sequence[str]
) -> None:
    split, title = part.split, split_title(part.split)
    alternative, caption = f"{title}: {_describe_errors(part)}", f"{title}. {_OF_CONFUSION}"
    pictures.draw("confusion", alternative, caption, plot_confusion, part, folder / f"confusion_{split}.png")
    if measured is not None:
        caption = f"{title}. Each pair of actions, as a number and as a mark."
        alternative = f"{title}: {_describe_cosines(measured)}"
        pictures.draw("cosines", alternative, caption, plot_cosines, measured, folder / f"cosines_{split}.png")
    alternative = f"{title}: deltas in the plane, coloured by action, marked by object; the numbers are in the tables."
    for method in methods:
        caption = f"{title}, {method.upper()}. {_OF_MAPS[method]}"
        path = folder / f"map_{method}_{split}.png"
        pictures.draw("map", alternative, caption, plot_delta_map, part, path, method)


def _embedded(path: Path) -> str:
    """The SVG of a picture, which is sharp at any size, or its PNG where the SVG is large."""
    svg = path.with_suffix(".svg")
    return as_data_uri(svg if svg.stat().st_size <= LARGEST_SVG else path)


def _describe_examples(examples: Examples, part: DeltaSet) -> str:
    rows = [examples.rows[i] for i in examples_of(examples, part.split)]
    right = sum(part.actions[part.predictions[row["row"]]] == row["action"] for row in rows)
    named = ", ".join(f"{row['action']} {row['object']}" for row in rows)
    shown = "before and after" if examples.patch_weights is None else "before, after and under a heat map"
    return f"{len(rows)} pairs {shown}, {right} of them recognised: {named}."


def _describe_weights(examples: Examples, split: str) -> str:
    """What the heat maps of a split show, and how much of the weight lies on the target; nothing without weights."""
    if examples.patch_weights is None:
        return ""
    own = examples_of(examples, split)
    text = " Weights: the brighter a patch, the more it counts, because it changed more."
    for region, coverage in (("mask", examples.mask_coverage), ("box", examples.box_coverage)):
        place = None if coverage is None else measure_weights(examples.patch_weights[own], coverage[own])
        if place is not None:
            return (
                f"{text} In these pairs {place['share']:.2f} of the weight lies in the target's {region}, which covers "
                f"{place['by_chance']:.2f} of the picture."
            )
    return text


def _describe_errors(part: DeltaSet) -> str:
    wrong = np.flatnonzero(part.predictions != part.labels)
    if not len(wrong):
        return f"confusion by object; all {len(part)} pairs are right."
    actions, objects, predicted = part.action_labels(), part.object_labels(), part.predictions
    kinds = Counter((actions[i], objects[i], part.actions[predicted[i]]) for i in wrong)
    worst = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))[:3]
    named = "; ".join(f"{action} {thing} mistaken for {said}, {count} times" for (action, thing, said), count in worst)
    return f"confusion by object; {len(wrong)} of {len(part)} pairs are wrong. Most often: {named}."


def _describe_cosines(measured: Mapping[str, Any]) -> str:
    opposites = measured["opposites"]
    if opposites is None:
        return "cosines between the mean deltas of all pairs of actions; there are no opposite actions."
    pairs = ", ".join(f"{row['action']} and {row['opposite']} {row['cosine']:.2f}" for row in opposites["pairs"])
    return f"cosines between the mean deltas of all pairs of actions. Opposites: {pairs}."
