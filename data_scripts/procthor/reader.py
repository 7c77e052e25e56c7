"""Causal Triplet's ProcTHOR pairs as a source of work units: a house is a unit."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_scripts.archives.archive import ArchiveError
from data_scripts.archives.open_files import open_files
from data_scripts.builds.work_units import (
    BadPairError,
    ClassSource,
    Inputs,
    StopBuildError,
    UnitRows,
    json_sha256,
)
from data_scripts.causal_triplet_layout import ANNOTATIONS, COLOR, HOUSE, MASK
from data_scripts.names import class_name
from data_scripts.picture_files import picture_size
from data_scripts.procthor.actions import VERBS
from data_scripts.procthor.annotations import Annotation, House, read_annotations
from data_scripts.stored_views import BadPictureError, check_box, store_pair
from modeling_cde.models.limits_cde import MOST_MEMBER_BYTES

MARGIN = 0.25  # of the single view, as a share of the box's longer side


class HousesSource(ClassSource):
    """Pairs of the houses in a folder, zip or tar; a `data_scripts.builds.work_units.Source`.

    The constructor goes through the whole list of files and reads every annotations.csv, so the classes are fixed
    before the first picture is read. Houses may be in any folder.

    Args:
        path: Folder or archive.
        view: `"single"` or `"multi"`.
        image_size: Shorter side of the stored pictures; None stores the originals.
        verbs: Actions to read.
        strict: Stop at the first bad row.
        progress: Show a progress bar.

    Attributes:
        actions: Class names, sorted: those of `verbs` that occur.
        objects: Class names, sorted.
        pairs: Number of pairs in the tables; fewer are built if pictures are bad.
        without_table: Number of house folders with pictures, but without annotations.csv.
        tables_sha256: Hash of all tables.

    Raises:
        ArchiveError: The folder or archive is refused.
        StopBuildError: With `strict`, a table has a bad row.
        ValueError: There are no houses or no pairs, or a house occurs twice.
    """

    def __init__(
        self,
        path: str | Path,
        view: str,
        image_size: int | None,
        verbs: Sequence[str] = VERBS,
        strict: bool = False,
        progress: bool = True,
    ) -> None:
        self._view, self._image_size, self._strict = view, image_size, strict
        self._verbs = sorted({class_name(verb, "--verbs") for verb in verbs})
        self.files = open_files(path)
        self._folders, self.without_table = self._find_houses()
        self._read_tables(progress)

    def _find_houses(self) -> tuple[dict[str, str], int]:
        """The folder of each house that has a table, sorted by house, and the number of those without."""
        folders: dict[str, str] = {}
        bare: set[str] = set()
        last_folder = ""
        for name in self.files.names():
            folder, _, last = name.rpartition("/")
            if last != ANNOTATIONS and folder == last_folder:
                continue  # of a million names, a few thousand are worth a look
            last_folder = folder
            parts = folder.split("/")
            if last == ANNOTATIONS and HOUSE.fullmatch(parts[-1]):
                if other := folders.get(parts[-1]):
                    raise ValueError(f"{self.files.path} has {parts[-1]} twice, as {other} and as {folder}: keep one.")
                folders[parts[-1]] = folder
            elif parts[-1] == COLOR and HOUSE.fullmatch(parts[-2] if len(parts) > 1 else ""):
                bare.add("/".join(parts[:-1]))
        if not folders:
            names = self.files.names()
            if ANNOTATIONS in names and any(name.startswith(f"{COLOR}/") for name in names):
                raise ValueError(f"{self.files.path} is itself a house: give the folder or archive that contains it.")
            raise ValueError(
                f"{self.files.path} has no houses: no file proc_XXXXX/{ANNOTATIONS} (XXXXX: digits) at any depth. "
                "Give the folder or archive that Causal Triplet's generator wrote."
            )
        return dict(sorted(folders.items())), len(bare - set(folders.values()))

    def _read_tables(self, progress: bool) -> None:
        from tqdm import tqdm

        actions: set[str] = set()
        objects: set[str] = set()
        rejected: Counter[str] = Counter()
        digest = hashlib.sha256()
        self._tables: dict[str, str] = {}
        self.pairs = 0
        for scene in tqdm(self._folders, desc="reading tables", unit="house", disable=not progress):
            content = self._table(scene)
            digest.update(f"{scene} {len(content)}\n".encode() + content)
            self._tables[scene] = hashlib.sha256(content).hexdigest()
            house = read_annotations(content, scene, self._verbs)
            self._stop_if_strict(house)
            actions.update(pair.verb for pair in house.pairs)
            objects.update(pair.noun for pair in house.pairs)
            rejected += house.rejected
            self.pairs += len(house.pairs)
        if not self.pairs:
            reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(rejected.items())) or "all are empty"
            raise ValueError(
                f"The tables of {len(self._folders)} houses in {self.files.path} have no pairs of the verbs "
                f"{', '.join(self._verbs)} ({reasons})."
            )
        self.actions, self.objects = sorted(actions), sorted(objects)
        self.tables_sha256 = digest.hexdigest()

    def settings(self) -> dict[str, Any]:
        """What was chosen. Not the path: a folder and its archive give the same pairs."""
        return {
            "source": "procthor folders",
            "view": self._view,
            "image_size": self._image_size,
            "margin": MARGIN,
            "verbs": self._verbs,
        }

    def units(self) -> list[str]:
        """The houses, sorted: the order in which the original reader joins their tables."""
        return list(self._folders)

    def inputs(self, unit: str) -> Inputs:
        """Its table, the pictures and masks of its folder, or the whole archive."""
        found = {
            f"{kind}/{name}" if self.files.path.is_dir() else name: stamp
            for kind in (COLOR, MASK)
            for name, stamp in self.files.stamps(f"{self._folders[unit]}/{kind}").items()
        }
        return found | {ANNOTATIONS: self._tables[unit], "the class names": json_sha256([self.actions, self.objects])}

    def build(self, unit: str) -> UnitRows:
        """The pairs of one house, in the order of its table.

        Raises:
            StopBuildError: With `strict`, at the first bad row.
        """
        house = read_annotations(self._table(unit), unit, self._verbs)
        self.files.prefetch(
            [name for pair in house.pairs for kind in (COLOR, MASK) for name in self._names(unit, kind, pair)],
            MOST_MEMBER_BYTES,
        )
        rows = []
        for pair in house.pairs:
            try:
                rows.append(self._row(unit, pair))
            except _BadPairError as error:
                house.reject(error.row, error.reason, str(error))
                self._stop_if_strict(house)
        return UnitRows(rows, dict(house.rejected), house.problems)

    def close(self) -> None:
        """Close the archive."""
        self.files.close()

    def _table(self, scene: str) -> bytes:
        return self.files.read(f"{self._folders[scene]}/{ANNOTATIONS}", MOST_MEMBER_BYTES)

    def _names(self, scene: str, kind: str, pair: Annotation) -> list[str]:
        return [f"{self._folders[scene]}/{kind}/{figure}.png" for figure in (pair.first, pair.second)]

    def _row(self, scene: str, pair: Annotation) -> dict[str, Any]:
        before, after = (self._picture(pair.row, name) for name in self._names(scene, COLOR, pair))
        masks = [self._picture(pair.row, name, optional=True) for name in self._names(scene, MASK, pair)]
        row = pair.row
        try:
            stored = store_pair(
                before, after, pair.box, *masks, view=self._view, image_size=self._image_size, margin=MARGIN
            )
            row = pair.row_before
            check_box(pair.box_before, picture_size(before))
            row = pair.row
            return self.row(stored, pair.verb, pair.noun, scene, f"{scene}-{pair.second}")
        except (BadPairError, BadPictureError) as error:
            raise _BadPairError(row, error.reason, str(error)) from error

    def _picture(self, row: int, name: str, optional: bool = False) -> Any:
        """A file's bytes; None where it may be missing and is."""
        try:
            return self.files.read(name, MOST_MEMBER_BYTES)
        except FileNotFoundError as error:
            if optional:
                return None
            raise _BadPairError(row, "missing file", f"{name} is missing") from error
        except ArchiveError as error:
            raise _BadPairError(row, "broken file", str(error).rstrip(".")) from error

    def _stop_if_strict(self, house: House) -> None:
        if self._strict and house.problems:
            raise StopBuildError(f"{house.problems[0]} Reading stops there, as --strict asks.")


class _BadPairError(Exception):
    def __init__(self, row: int, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.row, self.reason = row, reason
