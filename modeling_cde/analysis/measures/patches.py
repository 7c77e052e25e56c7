"""Where selected or weighted patches lie, and in patch mode the properties of the deltas patch by patch.

The aggregated delta is the mean of the k selected patches, so the centroid of an action is the same for patches and
aggregates, and a mean can have properties that its parts lack. The figures here therefore describe single patches.
"""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from ..delta_set import DeltaSet
from .groups import Ids, directions, group_means, group_sums
from .probes import best_guess, combinations, probe_accuracy, rows_within_actions, stratified_folds
from .sparsity import hoyer
from .variance import variance_shares


def measure_place(indices: Ids, coverage: npt.NDArray[Any]) -> dict[str, float | int] | None:
    """How much of the selected patches lies in a region, such as the target's box.

    Args:
        indices: (n, k) the selected patches of each pair.
        coverage: (n, N) share in [0, 1] of each patch that lies in the region. Pairs without a region (all 0, or not
            finite) are left out.

    Returns:
        "share": mean coverage of the selected patches, in [0, 1], which is how often a random point of a selected
        patch lies in the region; "by_chance": the same for k patches drawn at random, which is the mean coverage of
        all patches; "at_best": the same for the k patches that the region covers most, below 1 for a region smaller
        than k patches; "hit": share of pairs with a selected patch that the region touches; "hit_by_chance":
        1 - C(N - t, k) / C(N, k), with t touched patches; "n": pairs with a region. None if no pair has a region.
    """
    exact = coverage.astype(np.float64)
    used = np.isfinite(exact).all(axis=1) & (exact > 0).any(axis=1)
    if not used.any():
        return None
    exact, indices = exact[used], indices[used]
    selected = np.take_along_axis(exact, indices, axis=1)  # (n, k)
    k, patches = indices.shape[1], exact.shape[1]
    touched = (exact > 0).sum(axis=1)
    # C(N - t, k) / C(N, k) = Π_j (N - t - j) / (N - j), which reaches 0 before a factor turns negative.
    steps = np.arange(k)
    missed = np.prod(np.maximum(patches - touched[:, None] - steps, 0) / (patches - steps), axis=1)
    return {
        "share": float(selected.mean()),
        "by_chance": float(exact.mean()),
        "at_best": float(np.sort(exact, axis=1)[:, -k:].mean()),
        "hit": float((selected > 0).any(axis=1).mean()),
        "hit_by_chance": float(1 - missed.mean()),
        "n": int(used.sum()),
    }


def measure_weights(weights: npt.NDArray[Any], coverage: npt.NDArray[Any]) -> dict[str, float | int] | None:
    """How much of the weight that `pooling="change"` gives to patches lies in a region, such as the target's box.

    Args:
        weights: (n, rows, columns), which sum to 1 in each pair.
        coverage: (n, rows, columns) share in [0, 1] of each patch that lies in the region; pairs without a region are
            left out, as by `measure_place`.

    Returns:
        "share": mean of Σ w_n coverage_n, in [0, 1]; "by_chance": the same for equal weights, the share of the picture
        that the region covers; "n": pairs with a region. None if no pair has a region.
    """
    used = np.isfinite(coverage).all(axis=(1, 2)) & (coverage > 0).any(axis=(1, 2))
    if not used.any():
        return None
    exact = coverage[used].astype(np.float64)
    share = float((weights[used] * exact).sum(axis=(1, 2)).mean())
    return {"share": share, "by_chance": float(exact.mean()), "n": int(used.sum())}


def pairwise_cosines(part: DeltaSet, rows: npt.NDArray[Any], labels: Ids, pairs: Ids) -> dict[str, float | None]:
    """Mean cosine between two single patch deltas, by the relation of their actions.

    For actions a ≠ b the mean over all patches of a and all of b is m_a · m_b, where m is the mean of the unit
    deltas. Within an action, patches of the same pair are not compared with each other. Each action, or pair of
    actions, counts once. A patch delta of 0 has the cosine 0 with every other.

    Args:
        part: the split, for its opposites.
        rows: (r, D) patch deltas.
        labels: (r,) action ids.
        pairs: (r,) the pair that each patch is from.

    Returns:
        "opposites", "others" (different actions that are not opposites) and "same_action": means in [-1, 1], None where
        the split has no such two patches.
    """
    unit = directions(rows)
    means, sizes = group_means(unit, labels, len(part.actions))
    present = {part.actions[i]: means[i] for i in np.flatnonzero(sizes)}
    opposite = {frozenset(pair) for pair in part.opposite_pairs()}
    groups: dict[str, list[float]] = {"opposites": [], "others": [], "same_action": []}
    for a, b in itertools.combinations(present, 2):
        groups["opposites" if frozenset((a, b)) in opposite else "others"].append(float(present[a] @ present[b]))
    sums_of_pairs, patches_of_pairs = group_sums(unit, pairs, int(pairs.max()) + 1)
    for action in np.flatnonzero(sizes):
        own = np.unique(pairs[labels == action])
        # All ordered products of an action's patches, less those within one pair, themselves included.
        between = (means[action] * sizes[action]) @ (means[action] * sizes[action]) - (sums_of_pairs[own] ** 2).sum()
        number = int(sizes[action]) ** 2 - int((patches_of_pairs[own] ** 2).sum())
        if number:
            groups["same_action"].append(float(between) / number)
    return {name: float(np.mean(values)) if values else None for name, values in groups.items()}


def measure_patches(part: DeltaSet, seed: int = 0) -> dict[str, Any] | None:
    """Place and properties of the selected patches.

    Args:
        part: the split.
        seed: of the folds of the object probe; the patches of a pair stay in one fold.

    Returns:
        None in global mode. Else "k"; "in_box", "in_box_by_chance", "in_mask", "in_mask_by_chance": "share" and
        "by_chance" of `measure_place`; "box" and "mask": everything it returns; and, for the single patch deltas:
        sparsity: "hoyer", the mean, in [0, 1];
        invariance: "variance_action" and "variance_object", shares of variance (`measures.variance`);
        "opposites_mean", "others_mean" and "same_action_mean", mean cosines of two patches (`pairwise_cosines`);
        independence: "object_probe", accuracy of reading the object from one patch delta and the true action, and
        "object_chance", accuracy of reading it from the action alone (`measures.probes`, "within_action").
        Figures that cannot be measured are None.
    """
    if part.patch_indices is None:
        return None
    indices = part.patch_indices
    regions = {"box": part.box_coverage, "mask": part.mask_coverage}
    places = {name: None if region is None else measure_place(indices, region) for name, region in regions.items()}
    shares: dict[str, float | int | None] = {}
    for name, place in places.items():
        shares[f"in_{name}"], shares[f"in_{name}_by_chance"] = (
            (place["share"], place["by_chance"]) if place else (None, None)
        )
    return {"k": indices.shape[1], **shares, **places, **_properties(part, seed)}


def _properties(part: DeltaSet, seed: int) -> dict[str, float | None]:
    names = (
        "hoyer variance_action variance_object object_probe object_chance opposites_mean others_mean same_action_mean"
    )
    values: dict[str, float | None] = dict.fromkeys(names.split())
    if part.patch_delta is None:
        return values
    n, k, dimensions = part.patch_delta.shape
    rows = part.patch_delta.reshape(n * k, dimensions)
    labels, objects, pairs = (np.repeat(ids, k) for ids in (part.labels, part.objects, np.arange(n)))
    moved = np.abs(rows).max(axis=1, initial=0.0) > 0
    if moved.any() and dimensions > 1:
        values["hoyer"] = float(hoyer(rows[moved]).mean())
    shares = variance_shares(rows[objects >= 0], labels[objects >= 0], objects[objects >= 0])
    if shares is not None:
        values |= {"variance_action": shares["action"], "variance_object": shares["object"]}
    values |= {f"{name}_mean": value for name, value in pairwise_cosines(part, rows, labels, pairs).items()}
    used = rows_within_actions(part.labels, part.objects)
    if used.any():
        fold = stratified_folds(combinations(part.labels[used], part.objects[used])[1], seed=seed)
        own, repeated = np.repeat(used, k), np.repeat(fold, k)
        values["object_probe"] = probe_accuracy(rows[own], objects[own], repeated, labels[own])
        values["object_chance"] = best_guess(part.objects[used], part.labels[used])
    return values
