"""Segments of EPIC_100_train.csv and EPIC_100_validation.csv, every row checked.

A row that fails a check becomes a `Fault`, which names file, row and segment. Frame numbers are those of the table,
compared with its time stamps by the rule of `frame_numbers`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_scripts.builds.work_units import BadPairError
from data_scripts.epic_kitchens import frame_numbers
from data_scripts.epic_kitchens.csv_tables import Row, TableError, VideoRow, read_rows

COLUMNS = tuple(
    """narration_id participant_id video_id start_timestamp stop_timestamp start_frame stop_frame verb_class noun_class
    all_nouns all_noun_classes""".split()
)
_WHOLE_NUMBER = re.compile(r"([0-9]{1,10})(\.0*)?")  # tables with gaps come back from pandas with floats
MAX_LIST = 10_000  # characters of a list column; the official ones have fewer than 200
NARRATION_ID = re.compile(r"(?P<video>(?P<participant>P[0-9]{2})_(?:1[0-9]{2}|[0-9]{2}))_[0-9]{1,6}")


@dataclass(frozen=True)
class Segment:
    """An action in a video."""

    narration_id: str  # unique, `P01_11_0`
    participant_id: str  # `P01`
    video_id: str  # `P01_11`
    before_frame: int  # number of the frame at its start, from 1, at `rate`
    after_frame: int  # number of the frame at its end, greater than `before_frame`
    rate: int  # frames per second of the numbers, 60 or 50
    verb: str  # key of its verb class
    noun: str  # key of its (first) noun class
    video_seconds: float  # length of the video
    video_fps: float  # frames per second that the video was recorded at

    @property
    def seconds(self) -> float:
        """Length of the segment."""
        return (self.after_frame - self.before_frame) / self.rate


@dataclass(frozen=True)
class Fault:
    """A row that fails a check: the reason in two or three words, for counting, and a sentence that names the row."""

    reason: str
    sentence: str


def read_segments(
    paths: Sequence[Path], verbs: Mapping[int, str], nouns: Mapping[int, str], videos: Mapping[str, VideoRow]
) -> Iterator[Segment | Fault]:
    """Read every row of annotation files with the columns `COLUMNS` as a segment or a fault.

    `verbs` and `nouns` are the keys of the classes by id, `videos` is by video id.

    Raises:
        TableError: A file cannot be read as such a table; see `csv_tables.read_rows`.
    """
    places: dict[str, str] = {}
    for path in paths:
        try:
            for row in read_rows(path, COLUMNS):
                place = f"{path.name}, line {row.number}"
                name = row.values.get("narration_id", "")
                try:
                    segment = _segment(row, verbs, nouns, videos)
                    if name in places:
                        raise BadPairError("duplicate", f"the same narration_id as {places[name]}")
                    places[name] = place
                except BadPairError as error:
                    yield Fault(error.reason, f"{place}, {name[:40] or 'without narration_id'}: {error}.")
                else:
                    yield segment
        except TableError as error:
            if "timestamps" in path.name and "verb_class" in str(error):
                raise TableError(
                    f"{path} has no classes: those of the test set are not public. Use the training and validation "
                    "tables."
                ) from error
            raise


def _segment(row: Row, verbs: Mapping[int, str], nouns: Mapping[int, str], videos: Mapping[str, VideoRow]) -> Segment:
    values = row.values
    if not row.complete:
        raise BadPairError("wrong number of columns", f"{len(values)} columns or more, other than the header")
    match = NARRATION_ID.fullmatch(values["narration_id"])
    if not match:
        raise BadPairError("bad narration_id", "the narration_id is not written like P01_11_0")
    video_id = match["video"]
    if values["video_id"] != video_id:
        raise BadPairError("wrong video", f"the video_id is {_short(values['video_id'])}, not {video_id}")
    if values["participant_id"] != match["participant"]:
        raise BadPairError("wrong participant", f"the participant_id is {_short(values['participant_id'])}")
    rate = frame_numbers.nominal_rate(video_id)
    before, after = (whole_number(values, column) for column in ("start_frame", "stop_frame"))
    if before < 1:
        raise BadPairError("frame below 1", "frames count from 1, but start_frame is 0")
    if before >= after:
        raise BadPairError("start not before stop", f"start_frame {before} is not before stop_frame {after}")
    try:
        start, stop = (frame_numbers.timestamp_seconds(values[f"{end}_timestamp"]) for end in ("start", "stop"))
    except ValueError as error:
        raise BadPairError("bad time stamp", str(error)) from error
    expected = frame_numbers.start_frame(start, rate), frame_numbers.stop_frame(stop, rate)
    if (before, after) != expected:
        raise BadPairError(
            "frames and times disagree",
            f"frames {before} to {after}, but its times are frames {expected[0]} to {expected[1]} at {rate} per second",
        )
    video = videos.get(video_id)
    if video is None:
        raise BadPairError("unknown video", f"the table of videos has no {video_id}")
    if not frame_numbers.is_within(after, video.seconds, rate):
        raise BadPairError(
            "beyond the video's end",
            f"stop_frame {after} is at {after / rate:.2f} s, but {video_id} has {video.seconds:.2f} s",
        )
    verb, noun = verbs.get(whole_number(values, "verb_class")), nouns.get(whole_number(values, "noun_class"))
    for kind, key in (("verb", verb), ("noun", noun)):
        if key is None:
            raise BadPairError(f"unknown {kind} class", f"there is no {kind} class {values[f'{kind}_class']}")
    assert verb is not None and noun is not None
    _check_lists(values)
    participant = match["participant"]
    return Segment(
        values["narration_id"], participant, video_id, before, after, rate, verb, noun, video.seconds, video.fps
    )


def whole_number(values: Mapping[str, str], column: str) -> int:
    """The number in a column, 12 or 12.0; a `BadPairError` for anything else."""
    match = _WHOLE_NUMBER.fullmatch(values[column])
    if not match:
        raise BadPairError("bad number", f"{column} is {_short(values[column])}, not a whole number")
    return int(match[1])


def _check_lists(values: Mapping[str, str]) -> None:
    """Check that the list columns are literals of lists of equal length, which shows that the row is intact."""
    lists = []
    for column, kind in (("all_nouns", str), ("all_noun_classes", int)):
        text = values[column]
        if len(text) > MAX_LIST:
            raise BadPairError("bad list", f"{column} has {len(text)} characters, more than {MAX_LIST}")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise BadPairError("bad list", f"{column} is not a list: {_short(text)}") from error
        if not isinstance(value, list) or not all(type(item) is kind for item in value):
            raise BadPairError("bad list", f"{column} is not a list of {kind.__name__}: {_short(text)}")
        lists.append(value)
    if len(lists[0]) != len(lists[1]):
        raise BadPairError("bad list", f"{len(lists[0])} nouns, but {len(lists[1])} noun classes")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
