"""Writes and reads the index: a CSV file with a line per segment; equal segments give equal bytes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path

from data_scripts.epic_kitchens.annotations import NARRATION_ID, Segment, whole_number
from data_scripts.epic_kitchens.csv_tables import Row, TableError, read_rows
from data_scripts.epic_kitchens.frame_numbers import VIDEO_ID, nominal_rate
from data_scripts.names import is_name, normalized
from modeling_cde.whole_files import csv_cell, csv_text

#: The index's card explains the columns.
COLUMNS = tuple(
    """narration_id participant_id video_id before_frame after_frame rate seconds verb noun video_seconds
    video_fps""".split()
)


def index_csv(segments: Iterable[Segment]) -> str:
    """The index as text."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for segment in segments:
        values = (getattr(segment, column) for column in COLUMNS)
        writer.writerow(f"{value:.6f}" if isinstance(value, float) else csv_cell(value) for value in values)
    return buffer.getvalue()


def read_index(path: Path) -> list[Segment]:
    """The segments of an index.

    Raises:
        TableError: As `csv_tables.read_rows`, or a line differs from what `index_csv` writes.
    """
    segments: list[Segment] = []
    known: set[str] = set()
    for row in read_rows(path, COLUMNS):
        try:
            segment = _segment(row)
        except (ValueError, KeyError) as error:
            raise TableError(f"{path}, line {row.number}: {error}; make the index again.") from error
        if segment.narration_id in known:
            raise TableError(f"{path}, line {row.number}: {segment.narration_id} occurs twice.")
        known.add(segment.narration_id)
        segments.append(segment)
    if not segments:
        raise TableError(f"{path} has no segments.")
    return segments


def _segment(row: Row) -> Segment:
    values = {column: csv_text(cell) for column, cell in row.values.items()}
    video_id = values["video_id"]
    match = VIDEO_ID.fullmatch(video_id)  # it becomes part of a path
    if not row.complete or not match or match[1] != values["participant_id"]:
        raise ValueError(f"{video_id[:40]!r} of {values['participant_id'][:40]!r} is not a video of EPIC-KITCHENS-100")
    name = NARRATION_ID.fullmatch(values["narration_id"])
    if (
        not name
        or name["video"] != video_id
        or not all(is_name(values[c]) and values[c].isprintable() for c in ("verb", "noun"))
    ):
        raise ValueError(f"{values['narration_id'][:40]!r} is not a segment of {video_id} with a verb and a noun")
    before, after, rate = (whole_number(values, column) for column in ("before_frame", "after_frame", "rate"))
    if not 1 <= before < after < 10**9 or rate != nominal_rate(video_id):
        raise ValueError(f"{video_id} has no frames {before} to {after} at {rate} per second")
    verb, noun = normalized(values["verb"]), normalized(values["noun"])
    seconds, fps = float(values["video_seconds"]), float(values["video_fps"])
    if not (0 < seconds < math.inf and 0 < fps < math.inf):
        raise ValueError(f"{video_id} has no length of {seconds} s at {fps} frames per second")
    return Segment(name.group(), match[1], video_id, before, after, rate, verb, noun, seconds, fps)
