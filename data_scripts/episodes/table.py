"""`python -m data_scripts.episodes table --input pairs.csv --output data/mine`

The input is a table (`listing`) or a folder (`folder`). Paths of pictures are relative to the table's folder, or to
--root, and must not leave it, neither by `..` nor by a link.

In the single view, the stored picture is cropped around the box, so each row needs one; with --whole_picture_is_target
a row without a box gets the whole picture as its box.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_scripts.builds.licensed_build import add_licence_arguments, build_licensed, stated_card
from data_scripts.builds.work_units import (
    BadPairError,
    ClassSource,
    Inputs,
    StopBuildError,
    UnitRows,
    file_stamp,
    json_sha256,
)
from data_scripts.episodes.folder import list_folder
from data_scripts.episodes.formats import FORMATS, ListingError
from data_scripts.episodes.listing import Listed, Listing, Refused, class_names, quoted, read_listing
from data_scripts.names import find_file
from data_scripts.stored_views import BadPictureError, store_pair, whole_box

ROWS_PER_UNIT = 200
LARGEST_FILE = 256 << 20
TABLE_NAMES = tuple(f"{stem}{suffix}" for stem in ("pairs", "metadata") for suffix in FORMATS)


class TableSource(ClassSource):
    """Pairs of a table or a folder; a `data_scripts.builds.work_units.Source`.

    Args:
        path: Table, folder with a table in it, or folder with the layout of `folder`.
        root: Folder of the pictures; None: the table's.
        view: "single" or "multi".
        image_size: Shorter side of what is stored; None keeps the originals.
        whole_picture_is_target: Give rows without a box the whole picture as their box in the single view.
        strict: Stop at the first faulty row.
        object_name: The object of all pairs of a table without that column.

    Raises:
        ListingError: The input cannot be used at all.
        StopBuildError: `strict`, and a listed row is faulty.
    """

    def __init__(
        self,
        path: Path,
        root: Path | None = None,
        *,
        view: str = "single",
        image_size: int | None = None,
        whole_picture_is_target: bool = False,
        strict: bool = False,
        object_name: str | None = None,
    ) -> None:
        if root is not None and not root.is_dir():
            raise ListingError(f"There is no folder {root}, given by --root.")
        self.path = find_table(path).absolute()  # workers may run elsewhere
        self.root = (root or (self.path if self.path.is_dir() else self.path.parent)).absolute()
        self.view, self.image_size = view, image_size
        self.whole_picture_is_target, self.strict = whole_picture_is_target, strict
        self.object_name = object_name
        self._listing: Listing | None = _read(self.path, object_name)
        for row in self._listing.rows:
            if strict and isinstance(row, Refused):
                raise StopBuildError(f"{self._listing.name}, {row.where}: {row.sentence}.")
        listed = self._listing.listed()
        if not listed:
            first = next((row for row in self._listing.rows if isinstance(row, Refused)), None)
            why = f" The first fault is in {first.where}: {first.sentence}." if first else ""
            raise ListingError(f"{self.path} lists no usable pair.{why}")
        self.actions, self.objects = class_names(listed, self._listing.name)
        if view == "single" and not whole_picture_is_target and all(row.box is None for row in listed):
            raise ListingError(
                f"{self._listing.name} has no boxes, which the single view crops to; use --view multi, or "
                "--whole_picture_is_target if the pictures show little else than the object."
            )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_listing": None}  # workers read the table themselves

    @property
    def listing(self) -> Listing:
        """All rows."""
        if self._listing is None:
            self._listing = _read(self.path, self.object_name)
        return self._listing

    def settings(self) -> dict[str, Any]:
        """What was chosen."""
        names = ("view", "image_size", "whole_picture_is_target")
        return {name: getattr(self, name) for name in names} | {"source": "table", "name": self.listing.name}

    def units(self) -> list[str]:
        """Ranges of rows."""
        return sorted(self._ranges())

    def inputs(self, unit: str) -> Inputs:
        """Its rows and their pictures."""
        rows = self._ranges()[unit]
        paths = {
            path
            for row in rows
            if isinstance(row, Listed)
            for path in (row.before, row.after, row.mask_before, row.mask_after)
            if path
        }
        found: Inputs = {path: self._stamp(path) for path in paths}
        return found | {"its rows": json_sha256(rows), "the class names": json_sha256([self.actions, self.objects])}

    def build(self, unit: str) -> UnitRows:
        """The pairs of a range of rows."""
        result = UnitRows([])
        for row in self._ranges()[unit]:
            try:
                if isinstance(row, Refused):
                    raise BadPairError(row.reason, row.sentence)
                result.rows.append(self._row(row))
            except (BadPairError, BadPictureError) as error:
                sentence = f"{self.listing.name}, {row.where}: {error}."
                if self.strict:
                    raise StopBuildError(sentence) from error
                result.reject(error.reason, sentence)
        return result

    def summary(self) -> str:
        """What the table lists, before pictures are read."""
        listed = self.listing.listed()
        scenes = len({row.scene for row in listed})
        lines = [
            f"{self.listing.name} lists {len(self.listing.rows)} pairs, of which {len(listed)} are valid so far: "
            f"{len(self.actions)} actions on {len(self.objects)} objects in {scenes} groups."
        ]
        if not self.listing.has_groups:
            lines.append("No groups are given: each pair is its own, so one place may be on both sides of a split.")
        if self.listing.unused:
            lines.append(f"Unused columns: {quoted(self.listing.unused)}.")
        return "\n".join(lines)

    def _ranges(self) -> dict[str, list[Listed | Refused]]:
        rows = self.listing.rows
        return {
            f"rows-{start + 1:07d}-{min(start + ROWS_PER_UNIT, len(rows)):07d}": rows[start : start + ROWS_PER_UNIT]
            for start in range(0, len(rows), ROWS_PER_UNIT)
        }

    def _row(self, row: Listed) -> dict[str, Any]:
        before, after = self._content(row.before, "before"), self._content(row.after, "after")
        masks = [
            self._content(path, name) if path else None
            for path, name in ((row.mask_before, "mask_before"), (row.mask_after, "mask_after"))
        ]
        box: Sequence[int] | None = row.box
        if box is None and self.view == "single":
            if not self.whole_picture_is_target:
                raise BadPairError("no box", "it has no box, which the single view crops to")
            box = whole_box(before)
        stored = store_pair(before, after, box, masks[0], masks[1], view=self.view, image_size=self.image_size)
        return self.row(stored, row.action, row.object, row.scene, row.pair_id)

    def _stamp(self, written: str) -> list[int] | None:
        try:
            return file_stamp(find_file(self.root, written))
        except OSError:  # a name that is too long
            return None

    def _content(self, written: str, column: str) -> bytes:
        """Read a file below the root."""
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", written):
            raise BadPairError("path is a URL", f"{column} is {written!r}; nothing is downloaded, so give a path")
        try:
            path = find_file(self.root, written).resolve()
            inside = path.is_relative_to(self.root.resolve())
            if inside and path.is_file() and path.stat().st_size <= LARGEST_FILE:
                return path.read_bytes()
            exists = inside and path.exists()
        except (OSError, ValueError, RuntimeError) as error:
            why = getattr(error, "strerror", None) or error
            raise BadPairError("missing picture", f"{column} {written!r} cannot be read ({why})") from error
        if not inside:
            sentence = f"{column} {written!r} leaves the table's folder; name one that holds all pictures with --root"
            raise BadPairError("path leaves the folder", sentence)
        if not exists:
            raise BadPairError("missing picture", f"{column} {written!r} does not exist in the folder of the pictures")
        raise BadPairError("missing picture", f"{column} {written!r} is not a file of at most {LARGEST_FILE >> 20} MiB")


def find_table(path: Path) -> Path:
    """A table, the only table of a folder (`pairs.*` or `metadata.*`), or the folder itself if it has none.

    Raises:
        ListingError: The folder has several, or the path does not exist.
    """
    if not path.exists():
        raise ListingError(f"There is no file or folder {path}.")
    if path.is_dir():
        tables = [path / name for name in TABLE_NAMES if (path / name).is_file()]
        if len(tables) > 1:
            raise ListingError(
                f"{path} contains {' and '.join(table.name for table in tables)}; choose one, and give its path."
            )
        return tables[0] if tables else path
    return path


def _read(path: Path, object_name: str | None) -> Listing:
    if path.is_dir() and object_name is not None:
        raise ListingError("--object is for a table; in folders, name the one below each action.")
    return list_folder(path) if path.is_dir() else read_listing(path, object_name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make a data set of the before/after pairs in a table, or in folders named by action and object."""
    from data_scripts.builds.build_commands import build_parser, plain_errors, stored_size

    parser = build_parser("episodes table", main.__doc__)
    parser.add_argument(
        "--input",
        type=Path,
        required=True,
        help="table (CSV, TSV, JSON lines, Parquet) with the columns before, after, action, object, optionally group, "
        "box (or xmin, ymin, xmax, ymax), mask_before, mask_after, pair_id; or a folder "
        "ACTION/OBJECT/GROUP/NAME_before.png, NAME_after.png",
    )
    parser.add_argument("--root", type=Path, help="folder of the pictures; by default the table's")
    parser.add_argument(
        "--whole_picture_is_target", action="store_true", help="single view: take the whole picture as the missing box"
    )
    parser.add_argument(
        "--object", metavar="NAME", help="a table without objects: the object of all pairs; needs --shift none"
    )
    parser.add_argument("--strict", action="store_true", help="stop at the first faulty row")
    add_licence_arguments(parser)
    options = parser.parse_args(arguments)
    with plain_errors():
        from modeling_cde.data.building.card import DatasetCard

        name = options.input.resolve().stem
        if name in ("pairs", "metadata"):
            name = options.input.resolve().parent.name
        card = DatasetCard(
            title=f"Before/after pairs of {name}",
            description="Pairs listed in a table or a folder, with their actions and objects.",
            provenance=(
                "The pictures, their classes and what is said here were given by the person who made the data set.",
            ),
        )
        card = stated_card(options, card)
        source = TableSource(
            options.input,
            options.root,
            view=options.view,
            image_size=stored_size(options),
            whole_picture_is_target=options.whole_picture_is_target,
            strict=options.strict,
            object_name=options.object,
        )
        print(source.summary(), flush=True)
        build_licensed(source, options, card)
