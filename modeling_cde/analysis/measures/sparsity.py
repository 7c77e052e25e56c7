"""Sparsity: how few dimensions move.

No figure depends on scale: a delta and twice that delta are equally sparse.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..delta_set import DeltaSet
from .groups import Rows, group_means

NEAR_ZERO = 0.1  # of the largest dimension of the same delta; ours


def hoyer(rows: npt.NDArray[Any]) -> Rows:
    """Hoyer's sparseness of each row (Hoyer, 2004).

        (√D - ‖δ‖₁ / ‖δ‖₂) / (√D - 1)

    Args:
        rows: (n, D), D ≥ 2.

    Returns:
        (n,) in [0, 1]: (√D - √m) / (√D - 1) where m dimensions are equally large and the others 0, so 0 for m = D and 1
        for m = 1; NaN for a row of zeros. Independent normal dimensions give about (1 - √(2/π)) √D / (√D - 1), 0.22 for
        D = 256.
    """
    exact = rows.astype(np.float64)
    root = np.sqrt(exact.shape[1])
    norms = np.linalg.norm(exact, axis=1)
    ratio = np.abs(exact).sum(axis=1) / np.where(norms > 0, norms, np.nan)
    return np.asarray((root - ratio) / (root - 1))


def near_zero_share(rows: npt.NDArray[Any], threshold: float = NEAR_ZERO) -> Rows:
    """Share of the dimensions of each row with |δ_d| < threshold · max_e |δ_e|.

    Args:
        rows: (n, D).
        threshold: in (0, 1], relative to the row's largest dimension; the default is our choice.

    Returns:
        (n,) in [0, 1); NaN for a row of zeros. Independent normal dimensions give about 0.22 for D = 256.
    """
    sizes = np.abs(rows.astype(np.float64))
    largest = sizes.max(axis=1, keepdims=True)
    share = (sizes < threshold * largest).mean(axis=1)
    return np.where(largest[:, 0] > 0, share, np.nan)


def effective_dimensions(part: DeltaSet) -> dict[str, float]:
    """How many dimensions each action moves: the participation ratio of its energy.

        p_d = mean of δ_id² over the action's pairs,   (Σ_d p_d)² / Σ_d p_d²

    Returns:
        Action -> a number in [1, D]: m where m dimensions move equally and no others. Actions that do not occur or
        whose deltas are all 0 are absent.
    """
    energy, _ = group_means(part.delta.astype(np.float64) ** 2, part.labels, len(part.actions))  # (A, D)
    return {
        name: float(row.sum() ** 2 / (row**2).sum())
        for name, row in zip(part.actions, energy, strict=True)
        if row.sum() > 0
    }


def measure_sparsity(part: DeltaSet) -> dict[str, Any] | None:
    """Sparsity of a split's deltas.

    Returns:
        "hoyer" and "near_zero_share": means over the pairs whose delta is not 0, in [0, 1] (see `hoyer` and
        `near_zero_share`); "threshold"; "effective_dimensions": see there; "profile": D numbers in [0, 1], the mean of
        |δ_d| over all pairs, in falling order, relative to the largest: which dimensions the split uses at all;
        "profile_of_pairs": D numbers in [0, 1], the same sorted within each pair before the mean is taken, which is
        steep also where each action moves a few dimensions of its own; "zero_deltas": number of deltas that are 0.
        None where all are 0 or D = 1.
    """
    sizes = np.abs(part.delta.astype(np.float64))
    moved = sizes.max(axis=1, initial=0.0) > 0
    if not moved.any() or sizes.shape[1] < 2:
        return None
    by_dimension = np.sort(sizes.mean(axis=0))[::-1]
    by_pair = np.sort(sizes[moved], axis=1)[:, ::-1]
    return {
        "hoyer": float(hoyer(part.delta[moved]).mean()),
        "near_zero_share": float(near_zero_share(part.delta[moved]).mean()),
        "threshold": NEAR_ZERO,
        "effective_dimensions": effective_dimensions(part),
        "profile": (by_dimension / by_dimension[0]).tolist(),
        "profile_of_pairs": (by_pair / by_pair[:, :1]).mean(axis=0).tolist(),
        "zero_deltas": int((~moved).sum()),
    }
