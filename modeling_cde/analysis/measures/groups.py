"""Sums and means of rows by group, and directions of rows, for all measures."""

from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]


def group_sums(rows: npt.NDArray[Any], groups: Ids, count: int) -> tuple[Rows, Ids]:
    """Sum of the rows of each group.

    Args:
        rows: (n, D).
        groups: (n,) ids in [0, count).
        count: number of groups; a group without rows has the sum 0.

    Returns:
        (count, D) sums in float64 and (count,) numbers of rows.
    """
    sums = np.zeros((count, rows.shape[1]))
    sizes = np.bincount(groups, minlength=count).astype(np.int64)
    if len(rows):
        order = np.argsort(groups, kind="stable")
        filled = np.flatnonzero(sizes)
        starts = np.concatenate([[0], np.cumsum(sizes[filled])[:-1]])
        sums[filled] = np.add.reduceat(rows[order].astype(np.float64), starts, axis=0)
    return sums, sizes


def group_means(rows: npt.NDArray[Any], groups: Ids, count: int) -> tuple[Rows, Ids]:
    """Mean of the rows of each group, 0 for a group without rows; shapes as in `group_sums`."""
    sums, sizes = group_sums(rows, groups, count)
    return sums / np.maximum(sizes, 1)[:, None], sizes


def directions(rows: npt.NDArray[Any]) -> Rows:
    """Rows (n, D) divided by their Euclidean norm, in float64; a row of norm 0 has no direction and stays 0."""
    exact = rows.astype(np.float64)
    norms: Rows = np.linalg.norm(exact, axis=1, keepdims=True)
    return exact / np.where(norms > 0, norms, 1.0)
