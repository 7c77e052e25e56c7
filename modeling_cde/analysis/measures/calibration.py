"""Calibration: is a prediction of confidence 0.8 right eight times out of ten?"""

from typing import Any

import numpy as np

from ..delta_set import DeltaSet
from ..extra import analysis_extra

BINS = 15


def measure_calibration(part: DeltaSet) -> dict[str, Any]:
    """Expected calibration error (Naeini et al., 2015; 15 equal bins as in Guo et al., 2017).

        ECE = Σ_b n_b / n · |accuracy_b - confidence_b|

    The confidence of a pair is its largest probability; bin b contains the confidences in (low_b, high_b].

    Args:
        part: the split, with at least one pair.

    Returns:
        "ece" in [0, 1], 0 is calibrated; "bins": for each {"low", "high", "n", "confidence" and "accuracy": means, None
        in an empty bin}.
    """
    with analysis_extra():
        from scipy.special import softmax

    confidence = softmax(part.logits.astype(np.float64), axis=1).max(axis=1)
    right = part.predictions == part.labels
    edges = np.linspace(0.0, 1.0, BINS + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, BINS - 1)
    table: list[dict[str, Any]] = []
    for i in range(BINS):
        rows = place == i
        n = int(rows.sum())
        mean, accuracy = (float(confidence[rows].mean()), float(right[rows].mean())) if n else (None, None)
        table.append(
            {"low": float(edges[i]), "high": float(edges[i + 1]), "n": n, "confidence": mean, "accuracy": accuracy}
        )
    errors = (row["n"] / len(part) * abs(row["accuracy"] - row["confidence"]) for row in table if row["n"])
    return {"ece": float(sum(errors)), "bins": table}
