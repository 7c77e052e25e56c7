"""Encoded pictures: decoded to upright RGB with care, and encoded again.

Pictures in other forms than upright RGB are converted: Exif orientation is applied, palettes, grey and CMYK become RGB,
transparent parts are put over black (what they hide is not meant to be seen), 16-bit grey keeps its upper eight bits.
Of animations the first frame counts. Colour profiles and other metadata are dropped.
"""

from __future__ import annotations

import io
import re
import warnings
from typing import NamedTuple

import numpy as np
import PIL
import PIL.Image
import PIL.ImageOps

MAX_PIXELS = 64_000_000
JPEG_QUALITY = 95
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # no format that needs an outside program
_ORIENTATION = 0x0112  # Exif tag


class BadPictureError(ValueError):
    """A picture, mask or box that cannot be stored; the message is a sentence that says why.

    Attributes:
        reason: Two or three words to count it under.
    """

    def __init__(self, sentence: str, reason: str = "bad picture") -> None:
        super().__init__(sentence)
        self.reason = reason


class Picture(NamedTuple):
    """A decoded picture.

    Attributes:
        pixels: Upright, RGB (a mask: as it was).
        format: "PNG", "JPEG", ... of the bytes; None for a PIL picture.
        plain: Whether the bytes already are an upright RGB picture.
        content: The bytes; empty for a PIL picture.
    """

    pixels: PIL.Image.Image
    format: str | None
    plain: bool
    content: bytes


def open_picture(value: bytes | PIL.Image.Image, name: str = "picture") -> Picture:
    """Decode a picture whole, so that what is stored is known to be readable.

    Args:
        value: Encoded bytes or a PIL picture.
        name: For the error.

    Raises:
        BadPictureError: If it is broken, of an unknown kind, or of more than `MAX_PIXELS`; its size is looked at
            before it is decoded.
    """
    image, format, content = decode(value, name)
    orientation = _orientation(image)
    plain = format is not None and image.mode == "RGB" and "transparency" not in image.info and orientation == 1
    if not plain:
        if orientation in range(2, 9):
            image = PIL.ImageOps.exif_transpose(image)
        image = _to_rgb(image, name)
    return Picture(image, format, plain, content)


def picture_size(content: bytes) -> tuple[int, int]:
    """(width, height) of the upright picture, from the head of bytes that `open_picture` has accepted."""
    with PIL.Image.open(io.BytesIO(content), formats=_FORMATS) as image:
        width, height = image.size
        turned = _orientation(image) in range(5, 9)
    return (height, width) if turned else (width, height)


def decode(value: bytes | PIL.Image.Image, name: str) -> tuple[PIL.Image.Image, str | None, bytes]:
    """The decoded picture as it is, the format of its bytes (None for a PIL picture), and its bytes.

    Raises:
        BadPictureError: As `open_picture`.
    """
    try:
        # PIL warns in words of its own of what is refused here, and of metadata that is not stored.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if isinstance(value, PIL.Image.Image):
                image, format, content = value, None, b""
            else:
                content = bytes(value)
                image = PIL.Image.open(io.BytesIO(content), formats=_FORMATS)
                format = "JPEG" if image.format == "MPO" else image.format  # several JPEGs in one
            if image.width * image.height > MAX_PIXELS:
                raise PIL.Image.DecompressionBombError(by(image.size))
            image.load()
    except MemoryError:
        raise
    except PIL.Image.DecompressionBombError as error:
        raise BadPictureError(
            f"the {name} is larger than {MAX_PIXELS // 1_000_000} megapixels ({error}), which no data set here needs",
            "picture too large",
        ) from error
    except PIL.UnidentifiedImageError as error:
        raise BadPictureError(f"the {name} is broken or no picture: its kind is unknown", "broken picture") from error
    except Exception as error:  # decoders meet hostile bytes with errors of every class
        # Without addresses: equal faults give equal sentences.
        sentence = f"the {name} is broken or no picture ({re.sub(' at 0x[0-9a-f]+', '', str(error))})"
        raise BadPictureError(sentence, "broken picture") from error
    return image, format, content


def _orientation(image: PIL.Image.Image) -> int | None:
    """Of the Exif data, 1 is upright; None for Exif data that cannot be read and is not stored then."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # the parser meets hostile bytes with errors of every class; the picture itself may be whole
        return None


def _to_rgb(image: PIL.Image.Image, name: str) -> PIL.Image.Image:
    """RGB, see the head of this file."""
    if image.mode in SIXTEEN_BITS:
        lowest, highest = image.getextrema()
        if lowest < 0 or highest > 0xFFFF:
            raise BadPictureError(f"the {name} has values from {lowest} to {highest}, which are no 16-bit grey")
        image = PIL.Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise BadPictureError(f"the {name} holds floating point numbers, which have no range; convert it to 8 bits")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        black = PIL.Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = PIL.Image.alpha_composite(black, image)
    return image.convert("RGB")


def encode(image: PIL.Image.Image, encoding: str) -> bytes:
    """Bytes ("png" or "jpeg") that depend on the pixels alone: metadata is left out."""
    bare = image.copy()
    bare.info = {}
    buffer = io.BytesIO()
    if encoding == "jpeg":
        # Colour at full resolution: what was scaled down has it, and small coloured parts can be what changed.
        bare.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        bare.save(buffer, "PNG")
    return buffer.getvalue()


def by(size: tuple[int, int]) -> str:
    """A size (width, height) in words."""
    return f"{size[0]}x{size[1]}"
