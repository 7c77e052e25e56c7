"""Members of a zip, read from their offsets."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from data_scripts.archives.archive import Archive, ArchiveError, read_at, safe_name

UTF_8 = 0x800  # flag of a member whose name is marked as UTF-8
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class ZipFiles(Archive):
    """Members of a zip, stored or deflated."""

    _width = 5  # size, packed size, offset of the local header, method, CRC-32

    def _members(self) -> Iterator[tuple[Any, ...]]:
        places: list[tuple[int, int, str]] = []
        with zipfile.ZipFile(self._file()) as directory:
            for info in directory.infolist():
                raw = info.orig_filename.encode("utf-8" if info.flag_bits & UTF_8 else "cp437")
                name = safe_name(_text(raw, info.orig_filename), self.path)
                self._check(info, name)  # folders too: a link may pose as one
                end = info.header_offset + 30 + len(raw) + info.compress_size
                places.append((info.header_offset, end, name))
                if not info.filename.endswith("/"):  # `is_dir` fails on an empty name
                    yield name, info.file_size, info.compress_size, info.header_offset, info.compress_type, info.CRC
            places.append((directory.start_dir, directory.start_dir, "the directory"))
        places.sort()
        for (_, end, name), (begin, _, other) in zip(places, places[1:], strict=False):
            if end > begin:
                raise ArchiveError(f"{self.path} has overlapping members, {name!r} and {other!r}; it is refused.")

    def _check(self, info: zipfile.ZipInfo, name: str) -> None:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            what = "a link" if kind == stat.S_IFLNK else "a device or pipe"
            raise ArchiveError(f"{self.path} has a member {name!r} that is {what}; such archives are refused.")
        if info.flag_bits & 0x41:
            raise ArchiveError(f"{self.path} is encrypted ({name!r}); repack it without a password.")
        if info.compress_type not in _METHODS:
            raise ArchiveError(
                f"{self.path} compresses {name!r} by method {info.compress_type}; repack it with deflate, as zip does."
            )

    def _content(self, size: int, *numbers: int) -> bytes:
        packed, offset, method, crc = numbers
        if packed > size + size // 100 + 1024:
            raise ValueError(f"{packed} packed bytes for {size}")
        descriptor = self._file().fileno()
        head = os.pread(descriptor, 30, offset)
        if len(head) < 30 or head[:4] != b"PK\x03\x04":
            raise ValueError("no header where the directory says")
        content = read_at(descriptor, packed, offset + 30 + sum(struct.unpack("<HH", head[26:30])))
        if method == zipfile.ZIP_DEFLATED:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, size + 1)
        if len(content) == size and zlib.crc32(content) != crc:
            raise ValueError("its checksum is wrong")
        return content


def _text(raw: bytes, name: str) -> str:
    """A name's bytes as UTF-8, which Info-ZIP and macOS write without marking it, else as zipfile read them."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return name
