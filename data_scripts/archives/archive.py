"""What folders, zips and tars share: files by name, read in place without unpacking anything to disk.

Archives come from strangers. They are checked before the first file is used, and refused as a whole, naming the member,
for anything that a plain archive of pictures does not contain: absolute names, names that leave the folder, links,
devices, sparse files, encryption, duplicate names, overlapping members, sizes over the limits, or a missing end. No
read returns more than was allowed, whatever the archive declares.

A worker process receives the list of members with the object, so it does not scan the archive again. Zips and plain
tars give direct access to every member, and any number of processes can share the file. A compressed tar can only be
read from its beginning, see `CompressedTarFiles`.
"""

from __future__ import annotations

import lzma
import os
import tarfile
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from data_scripts.builds.work_units import file_stamp
from data_scripts.names import normalized
from modeling_cde.models.limits_cde import MOST_MEMBER_BYTES, MOST_MEMBERS

LIMITED = (".csv", ".json", ".png", ".jpg", ".jpeg")  # what is read, and so limited to MOST_MEMBER_BYTES

#: Errors raised by reading a damaged archive.
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    NotImplementedError,
)


class ArchiveError(ValueError):
    """A folder or archive was refused or cannot be read; the message is a sentence."""


def safe_name(name: str, archive: Path) -> str:
    """A member's name as a relative POSIX path in NFC, without `.` parts; "" for the root itself.

    Raises:
        ArchiveError: The name is absolute or leaves the archive's folder.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if name[:1] in ("/", "\\") or name[1:2] == ":":
        raise ArchiveError(f"{archive} has a member with the absolute name {name!r}; such archives are refused.")
    if ".." in parts or "\0" in name:
        raise ArchiveError(f"{archive} has a member {name!r} that leaves its folder; such archives are refused.")
    return normalized("/".join(parts))


def is_junk(name: str) -> bool:
    """Whether a member is a leftover of macOS, of Windows, or of another tar's headers."""
    *folders, last = name.split("/")
    return (
        last in (".DS_Store", "Thumbs.db", "desktop.ini", "pax_global_header")
        or last.startswith("._")
        or any(folder == "__MACOSX" or folder.startswith("PaxHeader") for folder in folders)
    )


class Files:
    """Files by name. Can be pickled for a worker; opens what it needs in the process that reads.

    Attributes:
        path: The folder or archive, absolute.
        cost: A sentence on what reading costs if it is expensive, else None.
    """

    cost: str | None = None

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """All files but junk, as sorted POSIX paths relative to the root, in NFC.

        Raises:
            ArchiveError: Something in it is unsafe or damaged; use nothing from it.
        """
        raise NotImplementedError

    def read(self, name: str, limit: int) -> bytes:
        """A file's content.

        Raises:
            FileNotFoundError: There is no such file.
            ArchiveError: The file has more than `limit` bytes, is damaged or cannot be read; the message names it.
        """
        raise NotImplementedError

    def stamps(self, folder: str, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, Any]:
        """By name, size and time of change of the wanted files below a folder; of an archive, those of its own file."""
        return {self.path.name: file_stamp(self.path)}

    def prefetch(self, names: Iterable[str], limit: int) -> None:
        """Announce which files are read next, in any order. Only a compressed tar uses this."""

    def close(self) -> None:
        """Close open handles; they are reopened when needed."""


class Archive(Files):
    """A zip or tar: a list of members, scanned once.

    `_rows` maps a name to its row in `_columns`, a flat array with `_width` numbers per member: this takes about 150
    bytes per member instead of a kilobyte.
    """

    _width: int

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._rows: dict[str, int] | None = None
        self._columns = array("q")
        self._size = 0
        self._handle: Any = None
        self._owner = 0

    def names(self) -> list[str]:
        return sorted(self._index())

    def _index(self) -> dict[str, int]:
        if self._rows is None:
            self._size = self.path.stat().st_size
            self._columns = array("q")
            rows: dict[str, int] = {}
            try:
                for name, size, *numbers in self._members():
                    if size > MOST_MEMBER_BYTES and name.lower().endswith(LIMITED):
                        raise ArchiveError(
                            f"{self.path} has a member {name!r} of {size} bytes; {MOST_MEMBER_BYTES} are allowed."
                        )
                    if not name:
                        raise ArchiveError(f"{self.path} has a file without a name; such archives are refused.")
                    if name in rows:
                        raise ArchiveError(f"{self.path} has two members {name!r}, so one hides the other; repack it.")
                    if len(rows) == MOST_MEMBERS:
                        raise ArchiveError(f"{self.path} has more than {MOST_MEMBERS} members; split it.")
                    rows[name] = len(rows)
                    self._columns.extend((size, *numbers))
            except ArchiveError:
                raise
            except RecursionError as error:
                raise ArchiveError(f"{self.path} nests headers without end; it is refused.") from error
            except _DAMAGE as error:
                raise ArchiveError(f"{self.path} is damaged or cut short ({error}); download it again.") from error
            self._rows = {name: row for name, row in rows.items() if not is_junk(name)}
        return self._rows

    def _members(self) -> Iterator[tuple[Any, ...]]:
        """(name, size, further numbers) of each file, with safe names."""
        raise NotImplementedError

    def _numbers(self, name: str) -> array[int]:
        row = self._index().get(name)
        if row is None:
            raise FileNotFoundError(f"{self.path} has no member {name!r}.")
        return self._columns[row * self._width : (row + 1) * self._width]

    def read(self, name: str, limit: int) -> bytes:
        size, *numbers = self._numbers(name)
        if size > limit:
            raise ArchiveError(f"{name!r} in {self.path} has {size} bytes; {limit} are allowed.")
        try:
            content = self._content(size, *numbers)
        except _DAMAGE as error:
            raise ArchiveError(f"{name!r} in {self.path} is damaged ({error}); download the archive again.") from error
        if len(content) != size:
            raise ArchiveError(
                f"{name!r} in {self.path} does not have the {size} bytes that it declares; download the archive again."
            )
        return content

    def _content(self, size: int, *numbers: int) -> bytes:
        """At most size + 1 bytes of a member."""
        raise NotImplementedError

    def _file(self) -> Any:
        """The archive, opened in this process: a handle inherited over a fork would share its position."""
        if self._handle is None or self._owner != os.getpid():
            self._handle, self._owner = self._open(), os.getpid()
            if self._rows is not None and self.path.stat().st_size != self._size:
                raise ArchiveError(f"{self.path} changed while it was being read; start again.")
        return self._handle

    def _open(self) -> Any:
        try:
            return self.path.open("rb")
        except OSError as error:
            raise ArchiveError(f"{self.path} cannot be opened ({error.strerror}).") from error

    def close(self) -> None:
        if self._handle is not None and self._owner == os.getpid():
            self._handle.close()
        self._handle = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_handle": None}


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """`size` bytes from an offset, fewer at the end of the file; one system call may return fewer."""
    parts = []
    while size > 0 and (part := os.pread(descriptor, min(size, 2**24), offset)):
        parts.append(part)
        size, offset = size - len(part), offset + len(part)
    return b"".join(parts)
