"""Encoded pictures: decoded to upright RGB with care, and encoded again.

Pictures in other forms than upright RGB are converted: Exif orientation is applied, palettes, grey and CMYK become RGB,
transparent parts are put over black (what they hide is not meant to be seen), of 16 bits the upper eight count.
Colour profiles and other metadata are dropped. Animations and files of several pages are refused: which of the pictures
is meant is not known. `modeling_cde.models.pictures_cde` does the same where models see pictures; a test
compares the two.
"""

from __future__ import annotations

import io
import re
import warnings
from typing import NamedTuple

import numpy as np
import PIL
import PIL.Image

MAX_PIXELS = 64_000_000
MAX_STRETCH = 200  # a longer side of so many shorter ones; more is no view of a scene
JPEG_QUALITY = 95
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # no format that needs an outside program
_ORIENTATION = 0x0112  # Exif tag
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Exif orientation -> number of PIL's transposition


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
        try:
            image = _to_rgb(image, name)  # before it is turned, which forgets the format
            if orientation in _TURNS:
                image = image.transpose(PIL.Image.Transpose(_TURNS[orientation]))
                image.info = {}  # else it would be turned again when it is given back
        except ValueError as error:
            if isinstance(error, BadPictureError):
                raise
            raise BadPictureError(f"the {name} has colours that are not read ({error})") from error
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
                raise PIL.Image.DecompressionBombError(f" ({by(image.size)})")
            if max(image.size) > MAX_STRETCH * min(image.size):
                sentence = f"the {name} has {by(image.size)} pixels; at most {MAX_STRETCH} to 1 is a view of a scene"
                raise BadPictureError(sentence, "picture too thin")
            # A JPEG of several (MPO) is one picture with previews of itself.
            if image.format not in ("JPEG", "MPO") and getattr(image, "is_animated", False):
                sentence = f"the {name} holds several pictures, an animation or pages; save the one that is meant"
                raise BadPictureError(sentence, "several pictures")
            image.load()
    except (MemoryError, BadPictureError):
        raise
    except PIL.Image.DecompressionBombError as error:
        size = str(error) if str(error).startswith(" (") else ""  # PIL's own sentence tells no sides
        raise BadPictureError(
            f"the {name} is larger than {MAX_PIXELS // 1_000_000} megapixels{size}, which no data set here needs",
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
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):  # as Pillow before 11 opens it
        values = np.asarray(image)
        grey = (values >> 8).astype(np.uint8)
        if isinstance(image.info.get("transparency"), int):
            grey[values == image.info["transparency"]] = 0
        return PIL.Image.fromarray(grey).convert("RGB")
    if image.mode in ("I", "F"):
        kind = "floating point numbers" if image.mode == "F" else "numbers of 32 bits"
        raise BadPictureError(f"the {name} holds {kind}, whose range is not known; convert it to 8 bits")
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
