"""A gzip file that can be read at any place after it was decompressed up to there once."""

from __future__ import annotations

import bisect
import io
import zlib
from pathlib import Path
from typing import Any

CHUNK = 2**17  # compressed bytes read at once
BLOCK = 2**20  # decompressed bytes held at most
SPACING = 2**25  # decompressed bytes between two marks; a mark takes about 50 KB of memory


class GzipReader:
    """Reads forwards, and leaves a mark every `SPACING` bytes: a copy of the decoder, from which it can go on.

    `gzip.open` begins anew whenever it has to go back; here that costs the way from the mark before.
    Several gzip streams one after another are read as one, as gzip does.

    Errors are those of `gzip.open`: `EOFError` if the file is cut short, `OSError` or `zlib.error` if it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._marks: list[tuple[int, int, Any, bytes]] = []  # place, place in the file, decoder, bytes waiting for it
        self._decoder: Any = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._waiting = b""
        self._block = memoryview(b"")  # parts of it are taken off without copying the rest
        self._place = 0  # of the block's end
        self._mark()

    def tell(self) -> int:
        """The place of the next byte in the decompressed data."""
        return self._place - len(self._block)

    def seek(self, place: int) -> int:
        """Go to a place, or to the end where that comes first."""
        if place < self.tell():
            self._go_back(place)
        else:
            after = bisect.bisect_right(self._marks, place, key=lambda mark: mark[0])
            if self._marks[after - 1][0] > self._place:
                self._go_back(place)
        while self.tell() < place:
            step = place - self.tell()
            if step >= len(self._block):
                self._block = memoryview(b"")
                if not self._fill():
                    break
            else:
                self._block = self._block[step:]
        return self.tell()

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer at the end."""
        out = io.BytesIO()
        while size > 0 and (self._block or self._fill()):
            part, self._block = self._block[:size], self._block[size:]
            size -= out.write(part)
        return out.getvalue()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _mark(self) -> None:
        self._marks.append((self._place, self._file.tell(), self._decoder.copy(), self._waiting))

    def _go_back(self, place: int) -> None:
        after = bisect.bisect_right(self._marks, place, key=lambda mark: mark[0])
        self._place, at, decoder, self._waiting = self._marks[after - 1]
        self._file.seek(at)
        self._decoder, self._block = decoder.copy(), memoryview(b"")

    def _fill(self) -> bool:
        """Decompress the next block; False at the end."""
        if self._place >= self._marks[-1][0] + SPACING:
            self._mark()
        while not self._block:
            data = self._waiting or self._file.read(CHUNK)
            if self._decoder.eof:
                while data and not data.lstrip(b"\0"):
                    data = self._file.read(CHUNK)  # between streams and behind the last one zeros are allowed
                if not data:
                    return False
                data = data.lstrip(b"\0")
                self._decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
            self._block = memoryview(self._decoder.decompress(data, BLOCK))
            if not data and not self._block and not self._decoder.eof:
                raise EOFError("the compressed data end too early")
            self._waiting = self._decoder.unused_data if self._decoder.eof else self._decoder.unconsumed_tail
        self._place += len(self._block)
        return True
