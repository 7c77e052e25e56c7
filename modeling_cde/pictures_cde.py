"""Pictures as they come, made upright RGB in one way for training, processor, pipeline and demo.

Taken are PNG, JPEG, WebP, BMP, GIF and TIFF, told by their content and not by their name:

- turned upright by their Exif orientation, also of PNG and WebP;
- grey, one bit, palette, CMYK and 16 bits a channel become RGB of bytes; of 16 bits the upper eight count;
- transparent parts are put over black: what they hide is not meant to be seen;
- colour profiles and other metadata are passed over.

Refused, in a sentence, are damaged files, animations and files of several pages, more than `MOST_PIXELS` (by the head
of the file, nothing is decoded), sides in a ratio over `MOST_STRETCH`, and numbers without a known range (floats, 32
bits). `data_scripts.picture_files` does the same for builds, whose workers import no Transformers.
"""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from transformers.utils import is_vision_available

if is_vision_available():  # this file travels with every model, also to where models are loaded without Pillow
    from PIL import Image, UnidentifiedImageError

MOST_PIXELS = 64_000_000  # 192 MB as RGB
MOST_STRETCH = 200  # a longer side of so many shorter ones; more is no view of a scene

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # no format that needs an outside program
_ORIENTATION = 0x0112  # Exif tag: 1 is upright
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Exif orientation -> number of PIL's transposition


class BadPictureError(OSError, ValueError):
    """A picture that is not taken; the message is one sentence that says which and why."""


def open_picture(source: Any, name: str) -> "Image.Image":
    """Opens a picture and looks at its head; nothing is decoded.

    Args:
        source: Path, encoded bytes or a PIL picture.
        name: What the sentence calls it.

    Raises:
        BadPictureError: There is no such file, or it is refused; see the head of this file.
    """
    try:
        with _quiet():
            if isinstance(source, Image.Image):
                image = source
            else:
                if isinstance(source, (bytes, bytearray, memoryview)):
                    source = io.BytesIO(source)
                image = Image.open(source, formats=_FORMATS)
            _check_head(image, name)
    except (BadPictureError, MemoryError):
        raise
    except Exception as error:  # decoders meet hostile bytes with errors of every class
        raise refused(name, error, source) from error
    return image


def upright_rgb(image: "Image.Image", name: str) -> "Image.Image":
    """Decodes a picture from `open_picture`.

    Args:
        image: From `open_picture`; one that is upright RGB already is given back as it is.
        name: What the sentence calls it.

    Raises:
        BadPictureError: It is damaged, or holds numbers without a known range.
    """
    try:
        with _quiet():
            image.load()
        turn = _TURNS.get(orientation(image))
        upright = _to_rgb(image, name)
        if turn is not None:
            upright = upright.transpose(Image.Transpose(turn))
            upright.info = {}  # else it would be turned again when it is given back
    except (BadPictureError, MemoryError):
        raise
    except Exception as error:
        raise refused(name, error) from error
    return upright


def orientation(image: "Image.Image") -> int:
    """Of the Exif data; 1, upright, where there is none or it is damaged: the picture itself may be whole."""
    try:
        with _quiet():
            return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1


def check_size(width: int, height: int, name: str) -> None:
    """Raises BadPictureError for a picture that is too large, too thin or empty."""
    if width * height > MOST_PIXELS:
        raise _because(name, f"it has {width}x{height} pixels, and at most {MOST_PIXELS // 1_000_000} million are read")
    if not width * height:
        raise _because(name, f"it has {width}x{height} pixels")
    if max(width, height) > MOST_STRETCH * min(width, height):
        raise _because(
            name, f"it has {width}x{height} pixels, and sides in a ratio of at most {MOST_STRETCH} to 1 are read"
        )


def refused(name: str, error: Exception, source: Any = None) -> BadPictureError:
    """The error to raise for one of the file system or of a decoder; `source` is the file, where there is one."""
    if isinstance(error, FileNotFoundError):
        return _because(name, "there is no such file")
    if isinstance(error, Image.DecompressionBombError):
        return _because(name, f"it has more than the {MOST_PIXELS // 1_000_000} million pixels that are read")
    if isinstance(error, UnidentifiedImageError):
        if _is_empty(source):
            return _because(name, "it is empty")
        return _because(name, "it is damaged, or in no picture format that is read (PNG, JPEG, WebP, BMP, GIF, TIFF)")
    if isinstance(error, OSError) and error.strerror:
        return _because(name, error.strerror.lower())
    said = str(error).strip().rstrip(".").splitlines()
    return _because(name, f"it is damaged ({said[0].partition(' at 0x')[0] if said else type(error).__name__})")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without PIL's warnings, which tell in its words of what is refused here in ours, and of metadata."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _because(name: str, reason: str) -> BadPictureError:
    return BadPictureError(f"{name} cannot be read as an image: {reason}.")


def _is_empty(source: Any) -> bool:
    if isinstance(source, io.BytesIO):
        return source.getbuffer().nbytes == 0
    return isinstance(source, (str, os.PathLike)) and os.path.getsize(source) == 0


def _check_head(image: "Image.Image", name: str) -> None:
    width, height = image.size
    check_size(width, height, name)
    # A JPEG of several (MPO) is one picture with previews of itself.
    if image.format not in ("JPEG", "MPO") and getattr(image, "is_animated", False):
        raise _because(name, "it holds several pictures, an animation or pages; save the one that is meant by itself")


def _to_rgb(image: "Image.Image", name: str) -> "Image.Image":
    """RGB of bytes; see the head of this file."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):  # as Pillow before 11 opens it
        values = np.asarray(image)
        grey = (values >> 8).astype(np.uint8)
        if isinstance(image.info.get("transparency"), int):
            grey[values == image.info["transparency"]] = 0
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("I", "F"):
        kind = "floating point numbers" if image.mode == "F" else "numbers of 32 bits"
        raise _because(name, f"it holds {kind}, whose range is not known; convert it to 8 bits")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image.convert("RGB")
