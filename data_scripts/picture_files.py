"""Encoded pictures for data sets: read as `modeling_cde.models.pictures_cde` reads them, and encoded again."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import PIL.Image

from modeling_cde.models import pictures_cde

JPEG_QUALITY = 95
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")


class BadPictureError(ValueError):
    """A picture, mask or box cannot be stored; the message says why, without a period at its end.

    Attributes:
        reason: Two or three words to count it under.
    """

    def __init__(self, sentence: str, reason: str = "bad picture") -> None:
        super().__init__(sentence)
        self.reason = reason


class Picture(NamedTuple):
    """A decoded picture.

    Attributes:
        pixels: Upright RGB.
        format: "PNG", "JPEG", ... of the bytes; None for a PIL picture.
        plain: Whether the bytes already are an upright RGB picture.
        content: The bytes; empty for a PIL picture.
    """

    pixels: PIL.Image.Image
    format: str | None
    plain: bool
    content: bytes


def open_picture(value: bytes | PIL.Image.Image, name: str = "picture") -> Picture:
    """Decode a picture (`name` in errors) completely, so that what is stored is known to be readable.

    Raises:
        BadPictureError: The picture is refused; `modeling_cde.models.pictures_cde` lists what is.
    """
    image, format, content = decode(value, name)
    upright = pictures_cde.orientation(image) == 1
    plain = format is not None and image.mode == "RGB" and "transparency" not in image.info and upright
    with _refused():
        return Picture(pictures_cde.upright_rgb(image, f"the {name}"), format, plain, content)


def picture_size(content: bytes) -> tuple[int, int]:
    """(width, height) of the upright picture, from the head of bytes that `open_picture` has accepted."""
    with pictures_cde.open_picture(content, "the picture") as image:
        width, height = image.size
        return (height, width) if pictures_cde.orientation(image) in range(5, 9) else (width, height)


def same_pixels(one: bytes, other: bytes) -> bool:
    """Whether two pictures show the same, in whatever format and with whatever metadata they are stored."""
    return one == other or open_picture(one).pixels.tobytes() == open_picture(other).pixels.tobytes()


def decode(value: bytes | PIL.Image.Image, name: str) -> tuple[PIL.Image.Image, str | None, bytes]:
    """The picture as it is, the format of its bytes (None for a PIL picture), and these; errors as `open_picture`."""
    with _refused():
        image = pictures_cde.open_picture(value, f"the {name}")
        try:
            image.load()
        except MemoryError:
            raise
        except Exception as error:  # decoders meet hostile bytes with errors of every class
            raise pictures_cde.refused(f"the {name}", error) from error
    if isinstance(value, PIL.Image.Image):
        return image, None, b""
    return image, "JPEG" if image.format == "MPO" else image.format, bytes(value)  # MPO: several JPEGs in one


@contextmanager
def _refused() -> Iterator[None]:
    """Raise `BadPictureError` for a refused picture, and silence PIL's warnings of what is refused or not stored."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except pictures_cde.BadPictureError as error:
        raise BadPictureError(str(error).rstrip("."), error.reason) from error


def encode(image: PIL.Image.Image, encoding: str) -> bytes:
    """Bytes ("png" or "jpeg") that depend on the pixels alone: metadata is dropped."""
    bare = image.copy()
    bare.info = {}
    buffer = io.BytesIO()
    # Colour at full resolution: what was scaled down has it, and small coloured parts can be what changed.
    bare.save(buffer, encoding, **({"quality": JPEG_QUALITY, "subsampling": 0} if encoding == "jpeg" else {}))
    return buffer.getvalue()


def by(size: tuple[int, int]) -> str:
    """A size (width, height) in words."""
    return f"{size[0]}x{size[1]}"
