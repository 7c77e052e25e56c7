"""Reads pictures of many kinds as upright RGB, in one way for training, builds, processor, pipeline and demo.

PNG, JPEG, WebP, BMP, GIF and TIFF are read, and HEIC where pillow-heif is installed, recognised by their content and
not by their name:

- the Exif orientation is applied, also of PNG and WebP;
- grey, one bit, palette, CMYK and 16 bits per channel become 8-bit RGB; of 16 bits the upper eight are kept;
- transparent parts are put over black: what they hide is not meant to be seen;
- colour profiles and other metadata are ignored.

Refused, with a sentence, are damaged files, animations and files of several pages, more than `MOST_PIXELS` (known from
the head of the file, before anything is decoded), sides in a ratio over `MOST_STRETCH`, and numbers without a known
range (floats, 32 bits).
"""

import importlib
import io
import os
import queue
import stat
import threading
import time
import urllib.request
from typing import Any

import numpy as np

try:  # this file travels with every model, also to where models are loaded without Pillow
    from PIL import Image, UnidentifiedImageError
except ImportError:
    pass

from .limits_cde import MOST_PICTURE_BYTES, MOST_PIXELS, MOST_STRETCH

_URL_SECONDS = 60.0  # that a download may take as a whole
_MOST_FETCHED = 256 << 20  # bytes of one
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # no format that needs an outside program
_UNKNOWN = "it is damaged, or in no picture format that is read (PNG, JPEG, WebP, BMP, GIF, TIFF, HEIC)"
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # brands in the head of a file
_ORIENTATION = 0x0112  # Exif tag: 1 is upright
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Exif orientation -> number of PIL's transposition


class BadPictureError(OSError, ValueError):
    """A picture was refused; the message is one sentence that says which and why.

    Attributes:
        reason: Two or three words to count it under.
    """

    def __init__(self, sentence: str, reason: str = "broken picture") -> None:
        super().__init__(sentence)
        self.reason = reason


def load_picture(image: Any, to_cut: bool = False) -> "Image.Image":
    """Makes an upright RGB picture of a path, a URL, a PIL image, an array or a tensor.

    With `to_cut` that of a file or URL is as `opened_to_cut` gives it.

    Raises:
        TypeError: It is none of these.
        ValueError: An array does not have the shape of an image.
        BadPictureError: A file or URL is missing or not an accepted image, see `pictures_cde`; it is an OSError
            and a ValueError.
    """
    if isinstance(image, (str, os.PathLike)):
        name = str(image)
        source = _fetched(name) if name.startswith(("http://", "https://")) else image
        opened = open_picture(source, name)
        return opened_to_cut(opened, name) if to_cut else upright_rgb(opened, name)
    if isinstance(image, Image.Image):
        name = str(getattr(image, "filename", "")) or f"A PIL image of mode {image.mode}"
        return upright_rgb(open_picture(image, name), name)
    if hasattr(image, "detach"):  # a tensor: this file is also read where PyTorch is not loaded
        image = image.detach().cpu().numpy()
    if not isinstance(image, np.ndarray):
        raise TypeError(f"{type(image).__name__} where an image belongs: give a path, URL, PIL image, array or tensor.")
    if image.ndim == 3 and image.shape[0] in (1, 3, 4) and image.shape[2] not in (1, 3, 4):
        image = image.transpose(1, 2, 0)  # (H, W, C)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim not in (2, 3) or 0 in image.shape or (image.ndim == 3 and image.shape[2] not in (3, 4)):
        raise ValueError(f"An array of shape {image.shape} is not an image: give (H, W, C), (C, H, W) or (H, W).")
    check_size(image.shape[1], image.shape[0], f"An array of shape {image.shape}")
    if image.dtype.kind == "f":
        if image.size and not (image.min() >= 0 and image.max() <= 1):
            raise ValueError(
                f"An image of floats must be in [0, 1], this one is in [{image.min()}, {image.max()}]: give bytes "
                "(uint8), or divide by 255."
            )
        image = (image * 255).round().astype(np.uint8)
    if image.dtype != np.uint8 and (image.dtype.kind not in "iu" or image.min() < 0 or image.max() > 255):
        raise ValueError(f"An image of {image.dtype} must hold bytes, 0 to 255: scale it and give uint8.")
    return upright_rgb(Image.fromarray(image.astype(np.uint8)), "An array")


def open_picture(source: Any, name: str) -> "Image.Image":
    """Opens a path, encoded bytes or a PIL picture and looks at its head; nothing is decoded. Errors call it `name`.

    Raises:
        BadPictureError: There is no such file, or it is refused; see the head of this file.
    """
    try:
        if isinstance(source, Image.Image):
            image = source
        else:
            if isinstance(source, (str, os.PathLike)):
                source = _content(source, name)
            if isinstance(source, (bytes, bytearray, memoryview)):
                source = io.BytesIO(source)
            image = Image.open(source, formats=_formats(source, name))
        _check_head(image, name)
    except (BadPictureError, MemoryError):
        raise
    except Exception as error:  # decoders meet hostile bytes with errors of every class
        raise refused(name, error, source) from error
    return image


def opened_to_cut(image: "Image.Image", name: str) -> "Image.Image":
    """A picture from `open_picture` as `cut` takes it: an upright JPEG stays undecoded, as `cut` may need less of it.

    Raises:
        BadPictureError: As of `upright_rgb`.
    """
    return image if image.format == "JPEG" and orientation(image) in (1, None) else upright_rgb(image, name)


def cut(
    image: "Image.Image", region: tuple[float, float, float, float], size: tuple[int, int], resample: int, name: str
) -> "np.ndarray[Any, Any]":
    """A region of a picture from `opened_to_cut`, scaled to a size (width, height): (height, width, 3) uint8.

    `region` is left, top, right, bottom, right and bottom exclusive; `resample` is PIL's filter. Shrinking is
    antialiased, except by the nearest neighbour.

    Raises:
        BadPictureError: The picture is damaged.
    """
    full = image.size
    left, top, right, bottom = region
    if image.format == "JPEG":  # decode at 1/2, 1/4 or 1/8 if the region still has `size` pixels
        spans = right - left, bottom - top
        wanted = [int(whole * side / span) + 1 for whole, side, span in zip(full, size, spans, strict=True)]
        image.draft("RGB", (wanted[0], wanted[1]))
        image = upright_rgb(image, name)
    x, y = image.size[0] / full[0], image.size[1] / full[1]
    box = left * x, top * y, min(right * x, image.size[0]), min(bottom * y, image.size[1])
    return np.asarray(image.resize(size, resample, box=box))


def _formats(source: Any, name: str) -> tuple[str, ...]:
    """The formats to try on an open file: HEIC for its own files alone, by a library that is loaded only then."""
    head = source.read(12)
    source.seek(0)
    if head[4:8] != b"ftyp" or head[8:] not in _HEIC:
        return _FORMATS
    try:  # not by an import statement, which Transformers would take for a requirement of every checkpoint
        importlib.import_module("pillow_heif").register_heif_opener(thumbnails=False)
    except ImportError:
        said = "it is a HEIC picture, as iPhones take them: pip install pillow-heif, or save it as JPEG"
        raise _because(name, said, "other picture format") from None
    return ("HEIF",)


def upright_rgb(image: "Image.Image", name: str) -> "Image.Image":
    """Decodes a picture from `open_picture`; one that is upright RGB already is given back as it is.

    Raises:
        BadPictureError: It is damaged, or holds numbers without a known range.
    """
    try:
        image.load()
        turn = _TURNS.get(orientation(image) or 1)
        upright = _to_rgb(image, name)
        if turn is not None:
            upright = upright.transpose(Image.Transpose(turn))
            upright.info = {}  # else it would be turned again when it is given back
    except (BadPictureError, MemoryError):
        raise
    except Exception as error:
        raise refused(name, error) from error
    return upright


def orientation(image: "Image.Image") -> int | None:
    """Of the Exif data: 1, upright, without any; None if they are damaged, which the picture itself may not be."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return None


def check_size(width: int, height: int, name: str) -> None:
    """Raises BadPictureError for a picture that is too large, too thin or empty."""
    if width * height > MOST_PIXELS:
        said = f"it has {width}x{height} pixels, and at most {MOST_PIXELS // 1_000_000} million are read"
        raise _because(name, said, "picture too large")
    if not width * height:
        raise _because(name, f"it has {width}x{height} pixels")
    if max(width, height) > MOST_STRETCH * min(width, height):
        said = f"it has {width}x{height} pixels, and sides in a ratio of at most {MOST_STRETCH} to 1 are read"
        raise _because(name, said, "picture too thin")


def refused(name: str, error: Exception, source: Any = None) -> BadPictureError:
    """The error to raise for one of the file system or of a decoder; `source` is the file, where there is one."""
    if isinstance(error, FileNotFoundError):
        return _because(name, "there is no such file")
    if isinstance(error, Image.DecompressionBombError):
        many = f"it has more than the {MOST_PIXELS // 1_000_000} million pixels that are read"
        return _because(name, many, "picture too large")
    if isinstance(error, UnidentifiedImageError):
        return _because(name, "it is empty" if _is_empty(source) else _UNKNOWN)
    if isinstance(error, OSError) and error.strerror:
        return _because(name, error.strerror.lower())
    said = str(error).strip().rstrip(".").splitlines()
    return _because(name, f"it is damaged ({said[0].partition(' at 0x')[0] if said else type(error).__name__})")


def _fetched(address: str) -> bytes:
    """What a server answers: at most `_MOST_FETCHED` bytes, and within `_URL_SECONDS` from asking to the last byte.

    The timeout of a socket ends a wait, not a transfer: a server that sends a byte now and then would hold its caller
    for ever, already in the lines before the picture. So another thread asks.
    """
    got: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
    threading.Thread(target=_fetch, args=(address, time.monotonic() + _URL_SECONDS, got), daemon=True).start()
    try:
        content = got.get(timeout=_URL_SECONDS)
    except queue.Empty:
        content = TimeoutError()
    if isinstance(content, TimeoutError):
        raise _because(address, f"it took more than {_URL_SECONDS:.0f} seconds to arrive") from None
    if isinstance(content, Exception):
        raise _because(address, str(content).rstrip(".") or "no answer") from content
    if len(content) > _MOST_FETCHED:
        raise _because(address, f"it has more than {_MOST_FETCHED >> 20} MiB")
    if content.lstrip()[:1] == b"<":
        raise _because(address, "it is a page, perhaps the page of an error")
    return content


def _fetch(address: str, deadline: float, got: "queue.SimpleQueue[bytes | Exception]") -> None:
    """Puts what a server answers, a byte more than is allowed at most, or the error into `got`."""
    request = urllib.request.Request(address, headers={"User-Agent": "modeling_cde"})
    content = bytearray()
    try:
        with urllib.request.urlopen(request, timeout=_URL_SECONDS) as answer:
            while len(content) <= _MOST_FETCHED and (part := answer.read1(1 << 20)):
                content += part
                if time.monotonic() > deadline:
                    raise TimeoutError
        got.put(bytes(content))
    except Exception as error:
        got.put(error)


def _because(name: str, said: str, reason: str = "broken picture") -> BadPictureError:
    return BadPictureError(f"{name} cannot be read as an image: {said}.", reason)


def _content(path: str | os.PathLike[str], name: str) -> bytes:
    """A file's bytes. From an open file, decoders ask for as much memory as a damaged length says, up to 4 GB."""
    if not stat.S_ISREG(kind := os.stat(path).st_mode) and not stat.S_ISDIR(kind):  # /dev/zero never ends
        raise _because(name, "it is a device or a pipe and no file")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MOST_PICTURE_BYTES:
            raise _because(name, f"it has {size >> 20} MiB, and at most {MOST_PICTURE_BYTES >> 20} are read")
        return file.read()


def _is_empty(source: Any) -> bool:
    if isinstance(source, io.BytesIO):
        return source.getbuffer().nbytes == 0
    return isinstance(source, (str, os.PathLike)) and os.path.getsize(source) == 0


def _check_head(image: "Image.Image", name: str) -> None:
    width, height = image.size
    check_size(width, height, name)
    # One that PIL opened is decoded here, perhaps by an outside program.
    if image.format not in (None, *_FORMATS, "MPO", "HEIF") and getattr(image, "tile", None):
        raise _because(name, _UNKNOWN)
    # A JPEG of several (MPO) is one picture with previews of itself.
    if image.format not in ("JPEG", "MPO") and getattr(image, "is_animated", False):
        said = "it holds several pictures, an animation or pages; save the one that is meant by itself"
        raise _because(name, said, "several pictures")


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
        raise _because(name, f"it holds {kind}, whose range is not known; convert it to 8 bits", "bad picture")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image.convert("RGB")
