"""A house's annotations.csv: its pairs, and what is wrong with its other rows."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from data_scripts.builds.work_units import BadPairError
from data_scripts.causal_triplet_layout import FIELDS, NO_VERB, first_of
from data_scripts.names import class_name, normalized
from data_scripts.procthor.actions import VERBS
from data_scripts.separators import declared_separator

#: Verbs that the generator can write and the original reader drops.
DROPPED_VERBS = ("cook",)
NOT_USED = "verb not used"

MAX_PROBLEMS = 200  # sentences of one house; all are counted
MAX_SENTENCE = 300  # characters of what is said of one row; a field may hold any number
MAX_NUMBERS = 5  # of rows that a sentence names

_WHOLE_NUMBER = re.compile(r"(-?[0-9]{1,9})(\.0*)?")  # also written as a float, 12.0
_FIRST = re.compile(r"[0-9]+_first")
_SECOND = re.compile(r"([0-9]+_)second_.+")
_FIGURE = re.compile(r"\b([0-9]+)_(?:first|second)")


@dataclass(frozen=True)
class Annotation:
    """One pair of a house; boxes are xmin, ymin, xmax, ymax, inclusive."""

    row: int  # of the after picture in annotations.csv, from 1
    row_before: int  # of the before picture
    first: str  # figure (file name without ending) before the action
    second: str  # figure after it
    noun: str  # object class
    verb: str  # action class
    box: tuple[int, int, int, int]  # after the action; what both pictures are cropped with
    box_before: tuple[int, int, int, int]


@dataclass
class House:
    """What a table gives."""

    scene: str  # name of the house
    pairs: list[Annotation] = field(default_factory=list)  # in the order of their rows
    rejected: Counter[str] = field(default_factory=Counter)  # rows that give no pair, by reason
    # A sentence for each rejected row, except those whose verb is merely not used.
    problems: list[str] = field(default_factory=list)

    def reject(self, row: int, reason: str, sentence: str) -> None:
        """Count and report a row."""
        self.rejected[reason] += 1
        if len(self.problems) < MAX_PROBLEMS:
            end = "." if len(sentence) <= MAX_SENTENCE else " ..."
            self.problems.append(f"{self.scene}, row {row}: {sentence[:MAX_SENTENCE]}{end}")


@dataclass(frozen=True)
class _Row:
    number: int
    figure: str
    noun: str
    verb: str
    box: tuple[int, int, int, int]

    @property
    def content(self) -> tuple[object, ...]:
        """What makes two rows equal; the figure ends in the verb."""
        return self.figure, self.noun, self.box


#: Before figure -> its rows by their content. By content, and no list, because tables may hold rows without end.
_Rows = dict[str, dict[tuple[object, ...], _Row]]


def read_annotations(content: bytes, scene: str, verbs: Sequence[str] = VERBS) -> House:
    """Read the table of the house in the folder `scene`; known verbs not in `verbs` are counted, unknown ones reported.

    These rows give no pair: a row with fields missing or too many, without whole numbers, with an empty box, without a
    noun ("NaN"), of another scene, an unknown verb or a figure that does not fit noun and verb; an after row whose
    before row is missing or bad; a before row without an after row; a repeated row; and all rows of a number that
    stands for different pairs, which a generator leaves that appends on a rerun and overwrites pictures.
    """
    house = House(scene)
    try:
        text = normalized(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        house.reject(1, "unreadable table", f"the table is not UTF-8 text ({error.reason} at byte {error.start})")
        return house
    firsts: _Rows = {}
    seconds: _Rows = {}
    spoilt: set[str] = set()  # before figures of pairs of which a bad row was reported; the other needs no report
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if not line.strip() or (number == 1 and declared_separator(line)):
            continue
        try:
            row = _read_row(number, line, scene, verbs)
        except BadPairError as error:
            house.reject(number, error.reason, str(error))
            if found := _FIGURE.search(line):
                spoilt.add(found[1] + "_first")
            continue
        side, key = (firsts, row.figure) if row.verb == NO_VERB else (seconds, first_of(row.figure))
        same = side.setdefault(key, {}).setdefault(row.content, row)
        if same is not row:
            house.reject(number, "duplicate row", f"it repeats row {same.number} ({row.figure})")
    _pair_up(house, firsts, seconds, spoilt, verbs)
    return house


def _read_row(number: int, line: str, scene: str, verbs: Sequence[str]) -> _Row:
    try:
        (fields,) = csv.reader([line], strict=True)
    except (csv.Error, ValueError) as error:
        raise BadPairError("broken row", f"it is not CSV ({error})") from error
    if len(fields) != len(FIELDS):
        raise BadPairError("wrong number of fields", f"it has {len(fields)} fields instead of {len(FIELDS)}")
    where, index, figure, noun, verb, *bounds = fields
    numbers = []
    for name, value in zip(("idx", *FIELDS[5:]), (index, *bounds), strict=True):
        match = _WHOLE_NUMBER.fullmatch(value)
        if not match:
            raise BadPairError("no whole number", f"{name} is {value!r}, which is not a whole number")
        numbers.append(int(match[1]))
    if where != scene:
        raise BadPairError("other scene", f"it belongs to scene {where!r}, but is in the folder {scene}")
    class_name(noun, "noun")
    if verb == NO_VERB:
        if not _FIRST.fullmatch(figure):
            raise BadPairError("figure does not fit", f"the figure {figure!r} is not of the form 00001_first")
    else:
        if verb not in (*verbs, *VERBS, *DROPPED_VERBS):
            raise BadPairError("unknown verb", f"the verb {verb!r} is unknown")
        begin = _SECOND.fullmatch(figure)
        if begin is None or figure != f"{begin[1]}second_{noun}_{verb}" or "/" in figure or "\\" in figure:
            raise BadPairError(
                "figure does not fit", f"the figure {figure!r} does not fit noun {noun!r}, verb {verb!r}"
            )
    _, left, top, right, bottom = numbers
    if left > right or top > bottom:
        raise BadPairError("empty box", f"the box {left}, {top}, {right}, {bottom} is empty")
    return _Row(number, figure, noun, verb, (left, top, right, bottom))


def _pair_up(house: House, firsts: _Rows, seconds: _Rows, spoilt: set[str], verbs: Sequence[str]) -> None:
    """Make pairs of before and after rows; reject the rest."""
    found: list[Annotation] = []
    for first, found_rows in seconds.items():
        rows, before = list(found_rows.values()), list(firsts.pop(first, {}).values())
        if len(rows) > 1 or len(before) > 1:
            numbers = _list_numbers([row.number for row in (*before, *rows)])
            for row in (*before, *rows):
                house.reject(row.number, "conflicting rows", f"rows {numbers} differ but share the picture {first}.png")
        elif not before and first in spoilt:
            continue
        elif not before:
            house.reject(rows[0].number, "no before row", f"its before row {first} is missing")
        elif rows[0].noun != before[0].noun:
            sentence = f"its noun {rows[0].noun!r} is not that of row {before[0].number}, {before[0].noun!r}"
            house.reject(rows[0].number, "conflicting rows", sentence)
        elif rows[0].verb not in verbs:
            house.rejected[NOT_USED] += 1
        else:
            row = rows[0]
            found.append(
                Annotation(row.number, before[0].number, first, row.figure, row.noun, row.verb, row.box, before[0].box)
            )
    for first, left in firsts.items():
        for row in left.values() if first not in spoilt else ():
            house.reject(row.number, "no after row", f"it has no row for the picture after {row.figure}")
    house.pairs = sorted(found, key=lambda pair: pair.row)


def _list_numbers(numbers: list[int]) -> str:
    numbers = sorted(numbers)
    more = len(numbers) - MAX_NUMBERS
    return ", ".join(map(str, numbers[:MAX_NUMBERS])) + (f" and {more} more" if more > 0 else "")
