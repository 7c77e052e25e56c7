"""Pictures of every kind, good and bad, as encoded bytes; drawn small, so that all of them are made in a second."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 32, 24
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)  # (24, 32, 3)
GREY = PIXELS[..., 0]
GREY16 = (GREY.astype(np.uint16) << 8) | 0xAB
_RGB = Image.fromarray(PIXELS)
#: For lossy kinds, which keep no noise: (24, 32, 3).
SMOOTH = np.indices((HEIGHT, WIDTH)).transpose(1, 2, 0)[..., [0, 1, 1]].astype(np.uint8) * 7
_SMOOTH = Image.fromarray(SMOOTH)


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    """The bytes of a picture."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG by hand: kinds that PIL reads and does not write, or a head without a picture."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def _rows(values: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))


def turned(format: str, orientation: int = 6, **options: Any) -> bytes:
    """A picture that its Exif data says to turn."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(_RGB, format, exif=exif, **options)


def _exif_last(content: bytes) -> bytes:
    start = content.index(b"eXIf") - 4
    end = start + 12 + struct.unpack(">I", content[start : start + 4])[0]
    return content[:start] + content[end:-12] + content[start:end] + content[-12:]


def _huge_webp() -> bytes:
    head = struct.pack("<I", 16382 | (16382 << 14))
    data = b"VP8L" + struct.pack("<I", 46) + b"\x2f" + head + b"\0" * 41
    return b"RIFF" + struct.pack("<I", 4 + len(data)) + b"WEBP" + data


def taken() -> dict[str, tuple[bytes, np.ndarray | None]]:
    """Name -> bytes, and the RGB pixels that have to come of them (None: those of `SMOOTH`, nearly)."""
    three = np.repeat(GREY[..., None], 3, axis=2)
    palette = _RGB.quantize(8)
    plain = np.asarray(palette.convert("RGB"))
    see_through = np.where((np.asarray(palette) == 0)[..., None], 0, plain)
    quarter = np.rot90(PIXELS, -1)
    alpha = np.dstack([PIXELS, np.where(GREY > 127, 255, 0).astype(np.uint8)])
    behind = np.where((GREY > 127)[..., None], PIXELS, 0)
    still = np.asarray(Image.open(io.BytesIO(encoded(_RGB, "GIF"))).convert("RGB"))
    return {
        "rgb.png": (encoded(_RGB), PIXELS),
        "jpeg named so.png": (encoded(_SMOOTH, "JPEG", quality=95), None),
        "cmyk.tif": (encoded(_RGB.convert("CMYK"), "TIFF"), PIXELS),
        "cmyk.jpg": (encoded(_SMOOTH.convert("CMYK"), "JPEG", quality=95), None),
        "grey.jpg": (encoded(_SMOOTH.convert("L"), "JPEG", quality=95), None),
        "16-bit grey.png": (encoded(Image.fromarray(GREY16)), three),
        "16-bit grey.tif": (encoded(Image.fromarray(GREY16), "TIFF"), three),
        "16-bit rgb.png": (png(WIDTH, HEIGHT, 16, 2, _rows(PIXELS.astype(np.uint16) * 257)), PIXELS),
        "16-bit grey, alpha.png": (
            png(WIDTH, HEIGHT, 16, 4, _rows(np.dstack([GREY16, np.full_like(GREY16, 65535)]))),
            three,
        ),
        "16-bit grey, key.png": (
            png(WIDTH, HEIGHT, 16, 0, _rows(GREY16), chunk(b"tRNS", struct.pack(">H", int(GREY16[0, 0])))),
            np.where((GREY16 == GREY16[0, 0])[..., None], 0, three),
        ),
        "palette.png": (encoded(palette), plain),
        "palette, transparent.png": (encoded(palette, transparency=0), see_through),
        "alpha.png": (encoded(Image.fromarray(alpha)), behind),
        "grey, alpha.png": (encoded(Image.fromarray(alpha[..., [0, 3]])), np.where((GREY > 127)[..., None], three, 0)),
        "one bit.png": (encoded(Image.fromarray(GREY > 127)), np.where((GREY > 127)[..., None], 255, 0) + 0 * three),
        "still.gif": (encoded(_RGB, "GIF"), still),
        "several previews.jpg": (encoded(_SMOOTH, "MPO", save_all=True, append_images=[_RGB], quality=95), None),
        "turned.png": (turned("PNG"), quarter),
        "turned by its end.png": (_exif_last(turned("PNG")), quarter),
        "turned.webp": (turned("WEBP", lossless=True), quarter),
        "turned.tif": (turned("TIFF"), quarter),
        "damaged exif.png": (encoded(_RGB, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"), PIXELS),
        "profile.png": (encoded(_RGB, icc_profile=b"profile"), PIXELS),
        "one pixel.png": (encoded(Image.new("RGB", (1, 1), (255, 0, 0))), np.full((1, 1, 3), (255, 0, 0), np.uint8)),
    }


def refused() -> dict[str, tuple[bytes, str]]:
    """Name -> bytes, and words of the sentence that refuses them."""
    frames = [Image.fromarray(np.roll(PIXELS, shift, axis=0)) for shift in range(3)]
    moving = {"save_all": True, "append_images": frames[1:]}
    large = Image.new("1", (20_000, 20_000))
    return {
        "cut.png": (encoded(_RGB)[:-300], "it is damaged"),
        "cut.jpg": (encoded(_RGB, "JPEG")[:-300], "it is damaged"),
        "cut.webp": (encoded(_RGB, "WEBP")[:-200], "it is damaged"),
        "text.png": (b"this is no picture", "in no picture format that is read"),
        "page.png": (b"<html>404</html>", "in no picture format that is read"),
        "program.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "in no picture format that is read"),
        "empty.png": (b"", "it is empty"),
        "moving.gif": (encoded(frames[0], "GIF", **moving), "several pictures, an animation"),
        "moving.png": (encoded(frames[0], "PNG", **moving), "several pictures, an animation"),
        "moving.webp": (encoded(frames[0], "WEBP", **moving), "several pictures, an animation"),
        "pages.tif": (encoded(frames[0], "TIFF", **moving), "several pictures, an animation or pages"),
        "floats.tif": (encoded(Image.fromarray(GREY / np.float32(255)), "TIFF"), "floating point numbers"),
        "32 bits.tif": (encoded(Image.fromarray(GREY.astype(np.int32)), "TIFF"), "numbers of 32 bits"),
        "thin.png": (encoded(Image.new("RGB", (1, 10_000))), "1x10000 pixels, and sides in a ratio of at most 200"),
        "8001x8000.png": (png(8001, 8000, 8, 2, b""), "at most 64 million|64 million pixels"),
        "20000x20000.png": (png(20_000, 20_000, 8, 2, b""), "64 million pixels"),
        "20000x20000.tif": (encoded(large, "TIFF", compression="group4"), "64 million pixels"),
        "16383x16383.webp": (_huge_webp(), "64 million pixels"),
    }
