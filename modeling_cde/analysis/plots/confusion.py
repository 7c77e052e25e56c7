"""Confusion by object: what each action of a split was recognised as."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...data.splits.titles import split_title
from ..delta_set import DeltaSet, FloatArray
from .style import ERRORS, SEQUENTIAL, drawing, paired_order, save

#: The largest number of rows in a picture; where there are more, it shows only the objects with the most errors.
MOST_ROWS = 30


@dataclass(frozen=True, eq=False)
class Confusion:
    """Confusion by object.

    Attributes:
        rows: r (object, true action) that occur, by object, then in the order of the columns.
        columns: c actions: those that occur or are predicted.
        counts: (r, c) how often the row's pairs were recognised as the column's action; each row sums to its pairs.
    """

    rows: list[tuple[str, str]]
    columns: list[str]
    counts: FloatArray


def confusion_by_object(deltas: DeltaSet) -> Confusion:
    """Count, for each object and true action, which actions were predicted."""
    objects, actions = deltas.object_labels(), deltas.action_labels()
    predicted = [deltas.actions[i] for i in deltas.predictions]
    seen = set(actions) | set(predicted)
    columns = paired_order([name for name in deltas.actions if name in seen], deltas.opposites)
    tally = Counter(zip(objects, actions, predicted, strict=True))
    rows = sorted(set(zip(objects, actions, strict=True)), key=lambda row: (row[0], columns.index(row[1])))
    counts = np.array([[tally[thing, action, name] for name in columns] for thing, action in rows], dtype=float)
    return Confusion(rows, columns, counts.reshape(len(rows), len(columns)))


def worst_objects(confusion: Confusion, most_rows: int = MOST_ROWS) -> Confusion:
    """The objects with the most errors, at least one and as many as fit into so many rows, in the same order.

    Where all rows fit, none is left out; where they do not, objects without errors are.
    """
    if len(confusion.rows) <= most_rows:
        return confusion
    errors: Counter[str] = Counter()
    for (name, action), counts in zip(confusion.rows, confusion.counts, strict=True):
        errors[name] += int(counts.sum() - counts[confusion.columns.index(action)])
    sizes = Counter(name for name, _ in confusion.rows)
    kept: list[str] = []
    for name in sorted(errors, key=lambda name: (-errors[name], name)):
        if kept and (errors[name] == 0 or sum(sizes[other] for other in kept) + sizes[name] > most_rows):
            break
        kept.append(name)
    chosen = [i for i, (name, _) in enumerate(confusion.rows) if name in kept]
    return Confusion([confusion.rows[i] for i in chosen], confusion.columns, confusion.counts[chosen])


def plot_confusion(deltas: DeltaSet, path: str | Path) -> Path:
    """Draw the confusion by object of one split: shares of each row, with the right answer framed.

    Args:
        deltas: the split.
        path: name of the PNG, which is returned; an SVG lies beside it.

    Raises:
        ValueError: if the split is empty.
    """
    if len(deltas) == 0:
        raise ValueError(f"split {deltas.split!r} has no pairs, so there is no confusion to draw.")
    whole = confusion_by_object(deltas)
    confusion = worst_objects(whole)
    totals = confusion.counts.sum(axis=1)
    shares = confusion.counts / totals[:, None]
    names = list(dict.fromkeys(name for name, _ in confusion.rows))
    left_out = len({name for name, _ in whole.rows}) - len(names)
    path = Path(path)
    with drawing(8.0, 1.9 + 0.27 * len(confusion.rows)) as figure:
        axes = figure.subplots()
        _draw_shares(axes, shares, confusion)
        columns = confusion.columns
        axes.set_xticks(range(len(columns)), columns, rotation=45, ha="left", rotation_mode="anchor")
        axes.xaxis.tick_top()
        rows = zip(confusion.rows, totals, strict=True)
        labels = [f"{name} · {action} ({total:.0f})" for (name, action), total in rows]
        axes.set_yticks(range(len(labels)), labels)
        axes.tick_params(length=0)
        axes.set_xlabel("predicted action, % of the row; blue and framed: right, brown: wrong", labelpad=8)
        title = f"{split_title(deltas.split)}: object · action (number of pairs)"
        if left_out:
            title += f"; the {len(names)} of {len(names) + left_out} objects with the most errors"
        axes.set_title(title, fontsize=11)
        return save(figure, path.parent, path.name.removesuffix(".png"))


def _draw_shares(axes: Any, shares: FloatArray, confusion: Confusion) -> None:
    from matplotlib.patches import Rectangle

    right = np.array([[name == action for name in confusion.columns] for _, action in confusion.rows])
    for chosen, colours in ((right, SEQUENTIAL), (~right, ERRORS)):
        axes.imshow(np.ma.masked_where(~chosen | (shares == 0), shares), cmap=colours, vmin=0, vmax=1, aspect="auto")
    for row, (name, action) in enumerate(confusion.rows):
        for column, share in enumerate(shares[row]):
            if share > 0:
                text = f"{100 * share:.0f}" if share >= 0.005 else "<1"
                colour = "white" if share > 0.55 else "black"
                axes.text(column, row, text, ha="center", va="center", fontsize=8.5, color=colour)
        place = confusion.columns.index(action)
        axes.add_patch(Rectangle((place - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.2))
        if row and confusion.rows[row - 1][0] != name:
            axes.axhline(row - 0.5, color="#8a8a8a", linewidth=0.8)
