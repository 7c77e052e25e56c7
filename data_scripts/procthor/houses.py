"""Pinned ProcTHOR houses: one JSON object a line, in a plain or gzip file.

The file is read as it is published in the repository `procthor-10k` at a fixed revision. Its own loader
(`prior.load_dataset`) is not used: it runs the code of whatever revision it fetches.

Notable: one pass over the file before the build finds its hash, its object types and its bad lines. Gzip cannot be
entered in the middle, so a worker reads forward from house to house and starts again only for a house behind it;
units come in ascending order, so a worker reads the file about once, and holds one house at a time.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from modeling_cde.models.limits_cde import MOST_HOUSE_BYTES
from modeling_cde.whole_files import file_sha256

#: The revision of `procthor-10k` whose houses AI2-THOR 5 can build, and the SHA-256 of its files, which are those
#: that its Git LFS pointers name.
REVISION = "439193522244720b86d8c81cde2e51e3a4d150cf"
KNOWN_FILES: dict[str, str] = {
    "ee3c4aa14b4d8f0895fecfb5fdaca59395427ca1018b2f9aeeedbc61e5824587": "train",
    "d808540514e26b6726cd2790490e669b572eeb94febb5188a2f403591dd21721": "val",
    "9a9fa6f134e76fe87f3fd92c00883651cf9fadf4e9ad4072d6d73be229f001dc": "test",
}

_GZIP, _LFS_POINTER = b"\x1f\x8b", b"version https://git-lfs"
_OBJECT_ID = re.compile(r"([A-Z][A-Za-z0-9]*)\|")


class HousesError(ValueError):
    """A file of houses that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class HouseFile:
    """A file of houses and what one pass over it found."""

    path: Path
    sha256: str  # of its bytes, as they lie there
    count: int  # houses (lines) in it, good and bad
    object_types: tuple[str, ...]  # that the good houses list, sorted ("Fridge" of the id "Fridge|2|0")
    # House number -> a sentence that says what is wrong with its line.
    problems: Mapping[int, str] = field(default_factory=dict)

    @property
    def revision(self) -> str | None:
        """The revision of `procthor-10k` that the file is known to come from, or None."""
        return REVISION if self.sha256 in KNOWN_FILES else None


def scan_houses(path: str | Path, sha256: str | None = None, tick: Callable[[], object] = lambda: None) -> HouseFile:
    """Hash a file of houses, gzip or plain, and read it once; `tick` is called after every house, for a progress bar.

    Raises:
        HousesError: The file is missing, damaged, empty, only a Git LFS pointer, or has another hash than `sha256`.
    """
    path = Path(path)
    digest = hash_file(path)
    if sha256 is not None and digest != sha256.lower():
        raise HousesError(f"{path} has the SHA-256 {digest}, but --houses_sha256 pins {sha256}: take the pinned file.")
    types: set[str] = set()
    problems: dict[int, str] = {}
    count = 0
    for number, line in enumerate(_lines(path)):
        count = number + 1
        try:
            types |= object_types(parse_house(line))
        except HousesError as error:
            problems[number] = f"{path.name}, line {number + 1} (house {number}): {error}"
        tick()
    if count == len(problems):
        first = next(iter(problems.values()), "it is empty")
        raise HousesError(f"{path} has no usable house ({first}): give train.jsonl.gz of procthor-10k at {REVISION}.")
    return HouseFile(path, digest, count, tuple(sorted(types)), problems)


def parse_house(line: bytes) -> dict[str, Any]:
    """The house of a line.

    Raises:
        HousesError: Not a JSON object, without a list of objects with ids, or in the format before AI2-THOR 5.
    """
    try:
        house = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise HousesError(f"it is not JSON ({error})") from None
    if not isinstance(house, dict) or not isinstance(house.get("objects"), list):
        raise HousesError('it is not a house: it has no list "objects"')
    try:
        for item in _objects(house):
            if not isinstance(item["id"], str):
                raise TypeError
    except (AttributeError, KeyError, TypeError):
        raise HousesError('an entry of "objects" has no "id"') from None
    metadata = house.get("metadata")
    schema = str((metadata if isinstance(metadata, dict) else {}).get("schema", "1.0.0"))
    if schema.startswith("0."):
        raise HousesError(f"the house has the old format {schema}, which AI2-THOR 5 cannot build; take {REVISION}")
    return house


def object_types(house: Mapping[str, Any]) -> set[str]:
    """Types of a house's objects, including children at any depth; doors, walls and windows do not count."""
    return {found[1] for item in _objects(house) if (found := _OBJECT_ID.match(item["id"]))}


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; `HousesError` if it is missing or only a Git LFS pointer."""
    try:
        with path.open("rb") as file:
            if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
                raise HousesError(f"{path} is only a Git LFS pointer: fetch the file itself with `git lfs pull`.")
        return file_sha256(path)
    except OSError as error:
        raise HousesError(f"The houses cannot be read: {path}: {error.strerror or error}.") from None


class HouseReader:
    """Reads houses by number, forward; a number behind the last one starts the file again.

    Args:
        houses: From `scan_houses`. The file is hashed again, because workers may run later and on other machines.

    Raises:
        HousesError: The file is missing, or is not the one that was scanned.
    """

    def __init__(self, houses: HouseFile) -> None:
        self._houses = houses
        found = hash_file(houses.path)
        if found != houses.sha256:
            raise HousesError(
                f"{houses.path} has changed since the build began (SHA-256 {found}, before {houses.sha256}): "
                "put the first file back, or build into another folder."
            )
        self._lines: Iterator[bytes] = iter(())
        self._next = houses.count

    def read(self, number: int) -> dict[str, Any]:
        """The house of that number, counted from 0.

        Raises:
            HousesError: The house does not exist, or its line is bad.
        """
        if not 0 <= number < self._houses.count:
            raise HousesError(f"{self._houses.path} has no house {number}; it has 0 to {self._houses.count - 1}.")
        if number < self._next:
            self._lines, self._next = _lines(self._houses.path), 0
        line = next(islice(self._lines, number - self._next, None))
        self._next = number + 1
        return parse_house(line)

    def close(self) -> None:
        """Close the file."""
        self._lines, self._next = iter(()), self._houses.count


def _objects(house: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    waiting = list(house["objects"])
    while waiting:
        item = waiting.pop()
        waiting += item.get("children") or []
        yield item


def _lines(path: Path) -> Iterator[bytes]:
    """Lines of a plain or gzip file, without empty lines at its end."""
    with path.open("rb") as raw:
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw
        empty = 0
        try:
            while line := file.readline(MOST_HOUSE_BYTES + 1):
                if len(line) > MOST_HOUSE_BYTES:
                    raise HousesError(f"{path} has a line of more than {MOST_HOUSE_BYTES >> 20} MiB: it is not JSONL.")
                if not line.strip():
                    empty += 1
                    continue
                yield from [b"\n"] * empty  # an empty line among others keeps its number, as a bad house
                empty = 0
                yield line
        except (OSError, EOFError, zlib.error) as error:
            raise HousesError(f"{path} is damaged ({error}): fetch it again.") from error
