"""Scores of a segment's two frames, used to leave out poor pairs (object out of view, hidden, blurred).

Causal Triplet kept segments whose frames both scored above 0.5 in files that were never released. Any function of a
segment can replace them; the command line takes a CSV file `narration_id,start_score,stop_score`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Protocol

from data_scripts.epic_kitchens.annotations import Segment
from data_scripts.epic_kitchens.csv_tables import TableError, read_rows


class FrameScore(Protocol):
    """Returns the scores of a segment's before and after frame, or None if it has none; higher is better."""

    def __call__(self, segment: Segment) -> tuple[float, float] | None: ...


class ScoreFile:
    """Scores from a CSV file with the columns narration_id, start_score and stop_score.

    Raises:
        TableError: As `csv_tables.read_rows`, or a score is not a number, or a segment occurs twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._scores: dict[str, tuple[float, float]] = {}
        for row in read_rows(path, ("narration_id", "start_score", "stop_score")):
            name = row.values["narration_id"]
            start, stop = row.floats("start_score", "stop_score")
            if not (math.isfinite(start) and math.isfinite(stop)):
                raise TableError(f"{path}, line {row.number}, {name}: the scores are not two numbers.")
            if name in self._scores:
                raise TableError(f"{path}, line {row.number}: {name} occurs twice.")
            self._scores[name] = start, stop

    def __call__(self, segment: Segment) -> tuple[float, float] | None:
        """The scores of a segment."""
        return self._scores.get(segment.narration_id)
