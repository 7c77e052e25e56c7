"""Reads a table of pairs: before, after, action, object, and optional columns. CSV, TSV, JSON lines or Parquet.

    before, after                 paths of the pictures
    action, object                names of the classes
    group                         scene, house, recording: what must not be on both sides of a split
    box                           "xmin ymin xmax ymax" of the object in pixels, bounds inclusive; or four columns
    mask_before, mask_after       paths of masks
    pair_id                       unique; by default row-000001 and so on

The first four are required. Rows are counted from 1 after the header. A faulty row becomes a `Refused`; a fault of the
whole table is an error.
"""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from data_scripts.builds.work_units import BadPairError
from data_scripts.episodes.formats import ListingError, read_cells, shortened
from data_scripts.names import class_name, normalized
from modeling_cde.models.limits_cde import LONGEST_CELL, LONGEST_NAME, MOST_COLUMNS

REQUIRED = ("before", "after", "action", "object")
BOUNDS = ("xmin", "ymin", "xmax", "ymax")
OPTIONAL = ("group", "box", *BOUNDS, "mask_before", "mask_after", "pair_id")
PATHS = ("before", "after", "mask_before", "mask_after")

_SYNONYMS = {
    "scene": "group", "verb": "action", "label": "action", "noun": "object", "bbox": "box", "id": "pair_id",
    "image_before": "before", "image_after": "after", "first": "before", "second": "after",
}  # fmt: skip


class Listed(NamedTuple):
    """A pair as listed, before its pictures are read; paths are those written, masks "" if there are none."""

    where: str  # its name in messages: "row 3", or a path
    before: str
    after: str
    action: str
    object: str
    scene: str  # what must not be on both sides of a split
    pair_id: str  # unique
    box: tuple[int, int, int, int] | None = None  # inclusive bounds
    mask_before: str = ""
    mask_after: str = ""


class Refused(NamedTuple):
    """A row that cannot be used; `reason` is for counting, `sentence` says what is wrong with this one."""

    where: str
    reason: str
    sentence: str


@dataclass(frozen=True)
class Listing:
    """All rows of a table or folder, in order."""

    name: str  # of the file or folder
    rows: list[Listed | Refused]
    has_groups: bool  # whether scenes were given; otherwise each pair is its own
    unused: tuple[str, ...] = ()  # columns that are not used

    def listed(self) -> list[Listed]:
        """The rows that are valid as far as is known before pictures are read."""
        return [row for row in self.rows if isinstance(row, Listed)]


def read_listing(path: Path, object_name: str | None = None) -> Listing:
    """Read a table; `object_name` is the object of all pairs where it has no column for it.

    Raises:
        ListingError: It is missing, in a format that is not supported, or broken; or columns are missing or misspelt.
    """
    header, cells = read_cells(path, (*REQUIRED, *OPTIONAL))
    if object_name is not None and "object" in header:
        raise ListingError(f"{path.name} has a column object, so leave out --object {object_name}.")
    check_columns(header if object_name is None else [*header, "object"], path.name)
    rows: list[Listed | Refused] = []
    for number, cell in cells:
        where = f"row {number}"
        if isinstance(cell, str):
            rows.append(Refused(where, "broken row", cell))
        else:
            cell = cell if object_name is None else {**cell, "object": object_name}
            rows.append(_row(where, number, cell, header))
    return Listing(
        path.name,
        refuse_repeated(rows),
        "group" in header,
        tuple(name for name in header if name not in (*REQUIRED, *OPTIONAL)),
    )


def quoted(names: Sequence[str], most: int = 20) -> str:
    """Names for a message: the first of them, each short."""
    more = [f"{len(names) - most:,} more"] if len(names) > most else []
    return ", ".join([*map(shortened, names[:most]), *more])


def check_columns(header: Sequence[str], name: str) -> None:
    """Check a table's column names.

    Raises:
        ListingError: A column is missing, misspelt or repeated; the message names it and the nearest name.
    """
    if len(header) > MOST_COLUMNS:
        raise ListingError(f"{name} has {len(header):,} columns, and at most {MOST_COLUMNS:,} are read; give its own.")
    repeated = sorted(column for column, times in Counter(header).items() if times > 1)
    if repeated:
        raise ListingError(f"{name} has the column {quoted(repeated)} twice; keep one.")
    strange = [column for column in header if column not in (*REQUIRED, *OPTIONAL)]
    missing = [column for column in REQUIRED if column not in header]
    meant = {}
    for column in strange:
        absent = [wanted for wanted in (*REQUIRED, *OPTIONAL) if wanted not in header]
        plain = re.sub(r"[\s-]+", "_", column.strip().lower())
        near = difflib.get_close_matches(_SYNONYMS.get(plain, plain), absent, n=1, cutoff=0.75)
        if near:
            meant[column] = near[0]
    if missing:
        hints = [f"{shortened(column)} may mean {wanted!r}" for column, wanted in meant.items() if wanted in missing]
        hint = f" {'; '.join(hints)}: rename it." if hints else ""
        joined = next((mark for mark in (";", "\t") if len(header) == 1 and mark in header[0]), None)
        if joined:
            hint = f" Its cells seem to be separated by {'semicolons' if joined == ';' else 'tabs'}: " + (
                "save it with commas." if joined == ";" else "call the file .tsv."
            )
        if missing == ["object"] and not hint:
            hint = (
                " If it does not matter which thing a pair shows, add --object thing, and --shift none where a test "
                "would hold objects out."
            )
        raise ListingError(
            f"{name} has no column {', '.join(missing)}; it has {quoted(header) or 'none'} in its first line.{hint}"
        )
    if meant:
        column, wanted = next(iter(meant.items()))
        raise ListingError(
            f"{name} has a column {shortened(column)}, which is not used; did you mean {wanted!r}? Rename it."
        )
    bounds = [column for column in BOUNDS if column in header]
    if bounds and ("box" in header or len(bounds) < len(BOUNDS)):
        raise ListingError(
            f"{name} has the columns {', '.join(bounds)}{' and box' if 'box' in header else ''}; a box is either one "
            f"column box or the four columns {', '.join(BOUNDS)}."
        )


def refuse_repeated(rows: Sequence[Listed | Refused]) -> list[Listed | Refused]:
    """The rows, refusing those that repeat the pair_id or the content of an earlier row."""
    ids: dict[str, str] = {}
    contents: dict[tuple[Any, ...], str] = {}
    checked: list[Listed | Refused] = []
    for row in rows:
        if isinstance(row, Listed):
            content = row._replace(where="", pair_id="", scene="")
            if row.pair_id in ids:
                sentence = f"the pair_id {row.pair_id!r} is already in {ids[row.pair_id]}"
                row = Refused(row.where, "duplicate pair_id", sentence)
            elif content in contents:
                row = Refused(row.where, "duplicate row", f"it repeats {contents[content]}")
            else:
                ids[row.pair_id], contents[content] = row.where, row.where
        checked.append(row)
    return checked


def class_names(listed: Sequence[Listed], name: str) -> tuple[list[str], list[str]]:
    """The actions and the objects, sorted.

    Raises:
        ListingError: Two names differ only in case or blanks.
    """
    found = []
    for kind in ("action", "object"):
        spellings: dict[str, tuple[str, str]] = {}
        for row in listed:
            written = getattr(row, kind)
            other, where = spellings.setdefault(re.sub(r"[\s_-]+", "", written.lower()), (written, row.where))
            if other != written:
                raise ListingError(
                    f"{name} names the {kind}s {other!r} ({where}) and {written!r} ({row.where}), which would be two "
                    "classes; use one spelling."
                )
        found.append(sorted(written for written, _ in spellings.values()))
    return found[0], found[1]


def _row(where: str, number: int, cells: Mapping[str, Any], header: Sequence[str]) -> Listed | Refused:
    texts: dict[str, str] = {}
    for column in (*REQUIRED, *OPTIONAL):
        value = cells.get(column)
        if value is None or value != value:  # Parquet gives NaN for an empty number
            value = ""
        if isinstance(value, (list, tuple)) and column == "box":
            value = " ".join(map(str, value))
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            return Refused(where, "broken row", f"{column} is {shortened(value)} and must be text")
        texts[column] = str(value).strip()
        if column not in PATHS:
            texts[column] = normalized(texts[column])
        longest = LONGEST_CELL if column[0] in "bam" else LONGEST_NAME
        if not texts[column].isprintable() or len(texts[column]) > longest:
            return Refused(where, "broken row", f"{column} is too long or has control characters: {shortened(value)}")
    for column in PATHS:
        if os.name != "nt" and re.match(r"[A-Za-z]:[\\/]|\\\\", texts[column]):
            said = f"{column} is {shortened(texts[column])}, of a Windows machine; write it relative to the table"
            return Refused(where, "Windows path", said)
    for column in (*REQUIRED, *(name for name in ("group", "pair_id") if name in header)):
        if not texts[column]:
            return Refused(where, "empty cell", f"{column} is empty")
    try:
        action, name = (class_name(texts[column], column) for column in ("action", "object"))
    except BadPairError as error:
        return Refused(where, error.reason, str(error))
    try:
        box = parse_box(texts["box"] or " ".join(texts[name] for name in BOUNDS))
    except ValueError as error:
        return Refused(where, "bad box", str(error))
    pair_id = texts["pair_id"] or f"row-{number:06d}"
    return Listed(
        where=where,
        before=texts["before"],
        after=texts["after"],
        action=action,
        object=name,
        scene=texts["group"] or pair_id,
        pair_id=pair_id,
        box=box,
        mask_before=texts["mask_before"],
        mask_after=texts["mask_after"],
    )


def parse_box(text: str) -> tuple[int, int, int, int] | None:
    """Four whole numbers, separated by blanks or commas, brackets allowed; None for an empty text.

    Raises:
        ValueError: It is something else.
    """
    words = re.sub(r"[\[\](),;]", " ", text).split()
    if not words:
        return None
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or not all(number.is_integer() and abs(number) < 2**31 for number in numbers):
        raise ValueError(f"the box {shortened(text)} is not four whole numbers xmin ymin xmax ymax")
    left, top, right, bottom = (int(number) for number in numbers)
    return left, top, right, bottom
