"""Members of a plain tar, read from their offsets; and of a compressed tar, read forwards."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import io
import lzma
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from data_scripts.archives.archive import Archive, ArchiveError, is_junk, read_at, safe_name
from modeling_cde.cli.extras import install

HELD_BYTES = 2**30  # what a compressed tar may hold in memory
PADDING_BYTES = 2**24  # more than tar writes
#: What a compressed tar may unpack to: so many bytes, or so many times its own size; pictures hardly shrink.
FREE_BYTES, SWELLING = 2**30, 200
SPACING = 2**25  # unpacked bytes between two points to go on from in a gzip file; a point takes 32 KB of memory

GZIP = b"\x1f\x8b"
#: The first bytes of each kind of file, and what opens it.
COMPRESSED: dict[bytes, Callable[..., Any]] = {
    GZIP: gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}


class TarFiles(Archive):
    """Members of a tar that is not compressed."""

    _width = 2  # size, offset of the data

    def _members(self) -> Iterator[tuple[Any, ...]]:
        file = self._file()
        file.seek(0)
        headers: Any = _Headers(file)
        with tarfile.open(fileobj=headers, mode="r:") as directory:
            while (member := directory.next()) is not None:
                directory.members = []  # type: ignore[attr-defined]  # it would keep them all
                self._check_place(directory.offset)
                name = safe_name(member.name, self.path)
                if member.isdir():
                    continue
                self._check(member, name)
                yield name, member.size, member.offset_data
            file.seek(directory.offset)
            if file.read(512) != bytes(512):
                raise ValueError("the blocks that end a tar are not where its members end")

    def _check_place(self, place: int) -> None:
        """Raise `ArchiveError` if members may not reach this offset. A plain tar is as large as it declares."""

    def _check(self, member: tarfile.TarInfo, name: str) -> None:
        if not member.isreg() or member.issparse():
            what = "a link" if member.issym() or member.islnk() else "a device, a pipe or a sparse file"
            raise ArchiveError(f"{self.path} has a member {name!r} that is {what}; such archives are refused.")
        if member.size < 0:
            raise ValueError(f"{name!r} has {member.size} bytes")

    def _content(self, size: int, *numbers: int) -> bytes:
        return read_at(self._file().fileno(), size, numbers[0])


class CompressedTarFiles(TarFiles):
    """Members of a tar in gzip, bzip2 or xz, read forwards: going back starts again, or at the point before (gzip).

    Small tables (.csv) are kept from the first pass, and `prefetch` reads the files of a unit in archive order, so a
    process that works through units in archive order reads the archive once.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._tables: dict[str, bytes] = {}
        self._held: dict[str, bytes] = {}
        with path.open("rb") as file:
            head = file.read(8)
        self._magic = next(magic for magic in COMPRESSED if head.startswith(magic))
        if self._magic == GZIP and importlib.util.find_spec("indexed_gzip") is None:
            raise ArchiveError(
                f"{path} is a gzip tar, which only indexed_gzip can seek in: unpack it, or {install('archives')}"
            )
        again = "" if self._magic == GZIP else ", and again for every house that precedes the one before"
        self.cost = (
            f"{path.name} is a compressed tar, which can only be read from its beginning: it is decompressed once to "
            f"list it and once more by every worker{again}. A plain tar or a zip gives direct access to every file."
        )

    def _open(self) -> Any:
        try:
            if self._magic == GZIP and self._rows is not None:
                from indexed_gzip import IndexedGzipFile

                return IndexedGzipFile(self.path, spacing=SPACING, drop_handles=False)
            # The first pass: `gzip` notices every damage and a missing end, of which indexed_gzip passes over some.
            return COMPRESSED[self._magic](self.path)
        except OSError as error:
            raise ArchiveError(f"{self.path} cannot be opened ({error.strerror}).") from error

    def _members(self) -> Iterator[tuple[Any, ...]]:
        held = 0
        for name, size, offset in super()._members():
            yield name, size, offset
            if name.endswith(".csv") and not is_junk(name):
                held += size
                if held > HELD_BYTES:
                    raise ArchiveError(f"{self.path} has tables of more than {HELD_BYTES} bytes; it is refused.")
                self._tables[name] = self._content(size, offset)
        # On to the end of the stream, where the checksums are: only padding follows the end of the tar.
        self._file().read(PADDING_BYTES)
        self.close()

    def _check_place(self, place: int) -> None:
        # Before the member is skipped, which decompresses it.
        allowed = max(FREE_BYTES, SWELLING * self._size)
        if place > allowed:
            raise ArchiveError(
                f"{self.path} has {self._size} bytes and unpacks to more than {allowed}; it is refused. If that is "
                "intended, unpack it yourself."
            )

    def _content(self, size: int, *numbers: int) -> bytes:
        file = self._file()
        file.seek(numbers[0])
        content: bytes = file.read(size)
        return content

    def prefetch(self, names: Iterable[str], limit: int) -> None:
        rows = self._index()
        known = {name: self._numbers(name) for name in set(names) & rows.keys()}
        self._held = {}
        held = 0
        for name, (size, _) in sorted(known.items(), key=lambda item: item[1][1]):
            held += size
            if size <= limit and held <= HELD_BYTES:
                self._held[name] = super().read(name, limit)

    def read(self, name: str, limit: int) -> bytes:
        content = self._held.get(name, self._tables.get(name))
        return content if content is not None and len(content) <= limit else super().read(name, limit)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_held": {}}


class _Headers:
    """The file as tarfile reads headers from it: no header of a plain tar asks for megabytes."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= 2**20:
            raise ValueError(f"a header of {size} bytes")
        return self._file.read(size)
