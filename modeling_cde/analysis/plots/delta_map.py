"""A map of the deltas in two dimensions: the colour shows the action, the mark the object.

PCA keeps lengths and the directions that vary most, and shows where "no change" is. UMAP keeps neighbourhoods but not
distances: the gaps between its groups and their sizes mean nothing. It is drawn if umap-learn is installed.
"""

from collections import Counter
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...data.splits.titles import split_title
from ..delta_set import DeltaSet
from ..extra import analysis_extra
from .style import HUES, MARKERS, OTHER, action_colours, drawing, paired_order, save

METHODS = ("pca", "umap")
#: The largest number of rows in a map, evenly spaced: more would cover each other.
MOST_ROWS = 2000

Points = npt.NDArray[np.floating[Any]]


def has_umap() -> bool:
    """Whether umap-learn is installed."""
    return find_spec("umap") is not None


def pca(delta: Points) -> tuple[Points, Points, Points]:
    """The two directions in which deltas vary most.

    Args:
        delta: (n, D).

    Returns:
        The (n, 2) projections of the centred rows; (2,) the projection of the delta 0; (2,) the shares of the variance
        along the two directions, in [0, 1]. Where rows vary along fewer directions, the rest is 0. Signs are fixed: the
        largest component of each direction is positive.
    """
    with analysis_extra():
        from sklearn.decomposition import PCA

    rows = np.pad(delta.astype(np.float64), ((0, 0), (0, 1)))  # two directions exist even where D = 1
    with np.errstate(invalid="ignore"):  # rows that do not vary have shares of 0 / 0
        fitted = PCA(2, svd_solver="full").fit(rows)
    origin = fitted.transform(np.zeros((1, rows.shape[1])))[0]
    return fitted.transform(rows), origin, np.nan_to_num(fitted.explained_variance_ratio_)


def umap(delta: Points) -> Points:
    """UMAP of (n, D) deltas by cosine distance, with a fixed seed: (n, 2). Needs umap-learn and four rows."""
    import warnings

    from umap import UMAP

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed prevents parallelism, and that there are few rows
        options = {"min_dist": 0.1, "metric": "cosine", "init": "random", "random_state": 0}
        reducer = UMAP(n_neighbors=min(15, len(delta) - 1), **options)
        return np.asarray(reducer.fit_transform(delta), dtype=np.float64)


def plot_delta_map(deltas: DeltaSet, path: str | Path, method: str = "pca") -> Path:
    """Draw the map of one split.

    Args:
        deltas: the split, n pairs.
        path: name of the PNG, which is returned; an SVG lies beside it.
        method: "pca" or "umap".

    Raises:
        ValueError: if the method is unknown, a delta is not finite, or there are too few rows (2; 4 for UMAP).
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not known; choose one of: {', '.join(METHODS)}.")
    fewest = 2 if method == "pca" else 4
    if len(deltas) < fewest:
        raise ValueError(f"split {deltas.split!r} has {len(deltas)} pairs; a map by {method} needs {fewest}.")
    if not np.isfinite(deltas.delta).all():
        raise ValueError(f"split {deltas.split!r} has deltas that are not finite, so there is no map of them.")
    rows = np.unique(np.linspace(0, len(deltas) - 1, min(len(deltas), MOST_ROWS)).round().astype(int))
    origin = None
    if method == "pca":
        points, origin, shares = pca(deltas.delta[rows])
        labels = [f"direction {i + 1}: {share:.0%} of the variance" for i, share in enumerate(shares)]
    else:
        points, labels = umap(deltas.delta[rows]), ["", ""]
    path = Path(path)
    with drawing(8.0, 6.6) as figure:
        axes = figure.subplots()
        actions, objects = _draw_points(axes, points, deltas, rows)
        if origin is not None:
            axes.scatter(*origin, marker="+", s=260, color="black", linewidth=2.2, zorder=5)
            axes.set(xlabel=labels[0], ylabel=labels[1])
            axes.spines[["top", "right"]].set_visible(False)
        else:
            axes.set(xticks=[], yticks=[], xlabel="neighbours are meaningful here, distances are not")
            axes.spines[:].set_color("#c8c8c8")
        title = f"{split_title(deltas.split)}: {len(rows)} deltas by {method.upper()}"
        axes.set_title(title if origin is None else f"{title}; the cross is no change (δ = 0)")
        figure.legend(handles=actions, loc="outside lower left", ncol=2, title="action", alignment="left")
        figure.legend(handles=objects, loc="outside lower right", ncol=3, title="object", alignment="left")
        return save(figure, path.parent, path.name.removesuffix(".png"))


def _draw_points(axes: Any, points: Points, deltas: DeltaSet, rows: Any) -> tuple[list[Any], list[Any]]:
    """Scatter the points and return the handles of the two legends."""
    from matplotlib.lines import Line2D

    actions = np.array(deltas.action_labels())[rows].tolist()
    objects = np.array(deltas.object_labels())[rows].tolist()
    shown = paired_order([name for name in deltas.actions if name in set(actions)], deltas.opposites)
    # All actions of the model, so that an action has the same colour in the maps of all splits, if colours suffice.
    suffice = len(deltas.actions) <= 2 * len(HUES)
    coloured = deltas.actions if suffice else [name for name, _ in Counter(actions).most_common()]
    colours = action_colours(coloured, deltas.opposites)
    counts = Counter(objects)
    frequent = sorted(counts, key=lambda name: (-counts[name], name))
    # As many marks as can be distinguished; every other object is a small dot.
    fits = len(frequent) <= len(MARKERS)
    markers = dict(zip(sorted(frequent) if fits else frequent[: len(MARKERS) - 1], MARKERS, strict=False))
    for action in shown:
        for object_name in frequent:
            chosen = [i for i, pair in enumerate(zip(actions, objects, strict=True)) if pair == (action, object_name)]
            if chosen:
                marker, size = (markers[object_name], 44) if object_name in markers else (".", 50)
                style = {"marker": marker, "s": size, "color": colours[action], "edgecolor": _edge(colours[action])}
                axes.scatter(*points[chosen].T, linewidth=0.5, alpha=0.9, **style)
    if not fits:
        markers[f"{len(frequent) - len(markers)} others"] = "."
    mark = partial(Line2D, [], [], linestyle="", markeredgewidth=0.5)
    return (
        [mark(marker="s", markersize=9, color=colours[n], markeredgecolor=_edge(colours[n]), label=n) for n in shown],
        [mark(marker=marker, markersize=7, color="#404040", label=name) for name, marker in markers.items()],
    )


def _edge(colour: str) -> str:
    """The line around a mark: dark around a light colour, so that the mark stands out from the paper."""
    lights = {light for _, light in HUES} | {OTHER}
    return "#303030" if colour in lights else "white"
