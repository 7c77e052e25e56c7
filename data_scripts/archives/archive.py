"""Files below a folder, or inside a zip or tar that is read where it lies: nothing is unpacked to disk.

Archives come from strangers, so they are looked through before the first file is used, and refused whole, with the
member's name, for anything that a plain archive of pictures does not have: absolute names or names that leave the
folder, links, devices, sparse files, encryption, two members of one name or in one place, sizes beyond the limits, or
an end that is missing. What is read is never more than was allowed, whatever the archive declares.

Notable: a worker process gets the list of members with the object instead of looking through the archive
again; of a tar that is not compressed and of a zip every member is read at once from its place, so that any number of
processes can share the file. A compressed tar can only be read from its beginning, see `CompressedTarFiles`.
"""

from __future__ import annotations

import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

MAX_MEMBERS = 5_000_000
MAX_BYTES = 64 * 2**20
LIMITED = (".csv", ".json", ".png", ".jpg", ".jpeg")  # endings of what is read, so may have MAX_BYTES at most

#: What reading a damaged archive ends in.
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
    """A folder or archive that is refused, or cannot be read; the message is a sentence."""


def open_files(path: str | os.PathLike[str]) -> Files:
    """The files of a folder, zip, tar or compressed tar (gzip, bzip2, xz), told apart by content, not by name.

    Raises:
        ArchiveError: If there is nothing at the path, or something else. The list of members is checked by `names`.
    """
    from data_scripts.archives.tar_files import COMPRESSED, CompressedTarFiles, TarFiles
    from data_scripts.archives.zip_files import ZipFiles

    path = Path(path).absolute()
    if path.is_dir():
        return FolderFiles(path)
    if not path.exists():
        raise ArchiveError(f"{path} does not exist; give a folder, a zip or a tar.")
    if not path.is_file():
        raise ArchiveError(f"{path} is neither a folder nor a file; give a folder, a zip or a tar.")
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(tuple(COMPRESSED)):
        return CompressedTarFiles(path)
    if head.startswith(b"PK"):
        return ZipFiles(path)
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
        return TarFiles(path)
    except tarfile.HeaderError:
        pass  # none of the kinds that are read: said below
    raise ArchiveError(
        f"{path} is no zip, and no tar that is plain or packed with gzip, bzip2 or xz; repack it as one."
    )


def safe_name(name: str, archive: Path) -> str:
    """A member's name as a relative POSIX path without `.` parts; "" for the root itself.

    Raises:
        ArchiveError: If it is absolute or leads out of the archive's folder.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if name[:1] in ("/", "\\") or name[1:2] == ":":
        raise ArchiveError(f"{archive} has a member with the absolute name {name!r}; such an archive is not read.")
    if ".." in parts or "\0" in name:
        raise ArchiveError(
            f"{archive} has a member {name!r} that leads out of its folder; such an archive is not read."
        )
    return "/".join(parts)


def is_junk(name: str) -> bool:
    """Whether a member is what macOS, Windows or other tars' headers leave behind."""
    *folders, last = name.split("/")
    return (
        last in (".DS_Store", "Thumbs.db", "desktop.ini", "pax_global_header")
        or last.startswith("._")
        or any(folder == "__MACOSX" or folder.startswith("PaxHeader") for folder in folders)
    )


class Files:
    """Files by name. Can be pickled for a worker; opens what it needs in the process that reads.

    Attributes:
        path: Of the folder or archive, absolute.
        cost: A sentence that says what reading costs where that is not little, else None.
    """

    cost: str | None = None

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """All files, as sorted POSIX paths relative to the root; junk left out.

        Raises:
            ArchiveError: If anything in it is unsafe or damaged; nothing of it should be used then.
        """
        raise NotImplementedError

    def read(self, name: str, limit: int) -> bytes:
        """A file's content.

        Raises:
            FileNotFoundError: If there is no such file.
            ArchiveError: If it has more than `limit` bytes, is damaged or cannot be read; the sentence names it.
        """
        raise NotImplementedError

    def prefetch(self, names: Iterable[str], limit: int) -> None:
        """Say which files are read next, in any order. Only a compressed tar makes use of it."""

    def close(self) -> None:
        """Give back handles; they are opened again when needed."""


class FolderFiles(Files):
    """Files of a folder. Links are followed to files inside the folder only."""

    def names(self) -> list[str]:
        found: list[str] = []
        self._walk(self.path, "", os.path.realpath(self.path), found)
        return sorted(found)

    def _walk(self, folder: Path, prefix: str, root: str, found: list[str]) -> None:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise ArchiveError(f"The folder {folder} cannot be read ({error.strerror}).") from error
        for entry in entries:
            name = prefix + entry.name
            if is_junk(name):
                continue
            if entry.is_symlink():
                self._check_link(entry.path, root)
            if entry.is_dir(follow_symlinks=False):
                self._walk(Path(entry.path), name + "/", root, found)
            elif entry.is_file():
                found.append(name)
            else:
                raise ArchiveError(f"{entry.path} is neither a file nor a folder; take it away.")

    @staticmethod
    def _check_link(path: str, root: str) -> None:
        target = os.path.realpath(path)
        if not target.startswith(root + os.sep):
            raise ArchiveError(f"{path} is a link that leads out of {root}; put the files themselves there.")
        if not os.path.isfile(target):
            raise ArchiveError(f"{path} is a link to a folder or to nothing; put the files themselves there.")

    def read(self, name: str, limit: int) -> bytes:
        path = self.path / safe_name(name, self.path)
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise FileNotFoundError(f"{path} is no file.")
            root = os.path.realpath(self.path)
            if not os.path.realpath(path).startswith(root + os.sep):
                raise ArchiveError(
                    f"{path} lies behind a link that leads out of {root}; put the files themselves there."
                )
            with open(path, "rb") as file:
                content = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(f"{path} does not exist.") from error
        except OSError as error:
            raise ArchiveError(f"{path} cannot be read ({error.strerror}).") from error
        if len(content) > limit:
            raise ArchiveError(f"{path} has more than {limit} bytes, which is too large for what it should be.")
        return content


class Archive(Files):
    """What zips and tars have in common: a list of members, looked through once.

    `_rows` maps a name to its place in `_columns`, flat numbers of `_width` a member: a million members then take
    about 150 bytes each instead of a kilobyte.
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
                    if size > MAX_BYTES and name.lower().endswith(LIMITED):
                        raise ArchiveError(
                            f"{self.path} has a member {name!r} of {size} bytes; {MAX_BYTES} are allowed."
                        )
                    if not name:
                        raise ArchiveError(f"{self.path} has a file without a name; such an archive is not read.")
                    if name in rows:
                        raise ArchiveError(f"{self.path} has two members {name!r}, so one hides the other; repack it.")
                    if len(rows) == MAX_MEMBERS:
                        raise ArchiveError(f"{self.path} has more than {MAX_MEMBERS} members; divide it.")
                    rows[name] = len(rows)
                    self._columns.extend((size, *numbers))
            except ArchiveError:
                raise
            except RecursionError as error:
                raise ArchiveError(f"{self.path} has headers of headers without end; it is not read.") from error
            except _DAMAGE as error:
                raise ArchiveError(f"{self.path} is damaged or cut short ({error}); fetch it again.") from error
            self._rows = {name: row for name, row in rows.items() if not is_junk(name)}
        return self._rows

    def _members(self) -> Iterator[tuple[Any, ...]]:
        """(name, size, further numbers) of each file, names made safe."""
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
            raise ArchiveError(f"{name!r} in {self.path} is damaged ({error}); fetch the archive again.") from error
        if len(content) != size:
            raise ArchiveError(
                f"{name!r} in {self.path} declares {size} bytes and has others; fetch the archive again."
            )
        return content

    def _content(self, size: int, *numbers: int) -> bytes:
        """At most size + 1 bytes of a member."""
        raise NotImplementedError

    def _file(self) -> Any:
        """The archive, opened in this process: one that was inherited over a fork shares its position."""
        if self._handle is None or self._owner != os.getpid():
            self._handle, self._owner = self._open(), os.getpid()
            if self._rows is not None and self.path.stat().st_size != self._size:
                raise ArchiveError(f"{self.path} was changed while it was being read; start again.")
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
    """`size` bytes from a place, fewer at the end; one call of the system may give fewer."""
    parts = []
    while size > 0 and (part := os.pread(descriptor, min(size, 2**24), offset)):
        parts.append(part)
        size, offset = size - len(part), offset + len(part)
    return b"".join(parts)
