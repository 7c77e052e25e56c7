"""Archives and pictures: the formats that strangers' files come in."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from fuzz.case import Finding, Target, written

LIMIT = 2**20
_FILES = {"proc_00000/annotations.csv": b"a,b\n1,2\n", "proc_00000/color/1_first.png": b"\x89PNG" + bytes(40), "x": b""}


def picture(kind: str, mode: str = "RGB") -> bytes:
    """A small picture in a format of Pillow."""
    from PIL import Image

    file = io.BytesIO()
    image = Image.new("RGB", (12, 8), (200, 30, 90)).convert(mode)
    image.putpixel((3, 4), image.getpixel((3, 4)) and 0 if mode in ("L", "P", "1", "I;16") else (1,) * len(mode))
    image.save(file, kind)
    return file.getvalue()


def archive(data: bytes, folder: Path) -> object:
    """A zip, tar or compressed tar: its list, and every file that the list names."""
    from data_scripts.archives.archive import ArchiveError
    from data_scripts.archives.open_files import open_files

    with closing(open_files(written(data, folder / "archive"))) as files:
        names = files.names()
        for name in names:
            if name.startswith("/") or ".." in name.split("/") or "\\" in name or "\0" in name or name[1:2] == ":":
                raise Finding(f"a member's name leads out: {name!r}")
            try:
                if len(files.read(name, LIMIT)) > LIMIT:
                    raise Finding(f"more than allowed was read of {name!r}")
            except ArchiveError as error:
                if len(str(error).splitlines()) != 1:
                    raise Finding(f"no one sentence: {error}") from error
        return names


def model_picture(data: bytes, folder: Path) -> object:
    """A picture as models, training and the demo take it: from a file and from bytes, both alike."""
    from modeling_cde.models.image_processing_cde import load_picture

    image = load_picture(str(written(data, folder / "picture")))
    if image.mode != "RGB":
        raise Finding(f"a picture of mode {image.mode}")
    return image.size


def source_picture(data: bytes, folder: Path) -> object:
    """A picture as builds take it, stored whole and as it is, or encoded anew."""
    from data_scripts.stored_views import store_pair

    whole = store_pair(data, data, None, view="multi", image_size=None)
    small = store_pair(data, data, None, view="multi", image_size=6)
    return whole, small


def _member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content), kind, link
    return info


def _tar(mode: str = "w:", extra: tuple[tarfile.TarInfo, ...] = (), form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=form) as made:  # type: ignore[call-overload]
        for name, content in _FILES.items():
            made.addfile(_member(name, content), io.BytesIO(content))
        for info in extra:
            made.addfile(info)
    return file.getvalue()


def _archives() -> Mapping[str, bytes]:
    seeds = {kind: _tar(f"w:{kind}") for kind in ("gz", "bz2", "xz")}
    seeds |= {"tar": _tar(), "gnu": _tar(form=tarfile.GNU_FORMAT)}
    seeds["long"] = _tar(extra=(_member("long/" + "n" * 200 + ".png"),))
    seeds["links"] = _tar(extra=(_member("l", kind=tarfile.SYMTYPE, link="/etc/passwd"),))
    for name, method in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as made:
            for member, content in _FILES.items():
                made.writestr(zipfile.ZipInfo(member), content, method)
        seeds[name] = file.getvalue()
    return seeds


def _pictures() -> Mapping[str, bytes]:
    made = {kind.lower(): picture(kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")}
    modes = {f"png_{mode.lower()}": picture("PNG", mode) for mode in ("L", "LA", "P", "RGBA", "1")}
    return {**made, **modes, "cmyk": picture("JPEG", "CMYK"), "html": b"<!doctype html><html></html>"}


_PICTURE = tuple(b"IHDR IDAT eXIf acTL iCCP RIFF GIF89a".split()) + (b"\xff\xd8", b"\xff\xe1", b"Exif\0\0", b"II*\0")
_ARCHIVE = tuple(rb"ustar ../ / \ C: x L 2 g 0000777".split()) + (b"PK\1\2", b"PK\5\6", b"PK\6\6")
_ARCHIVE += (b"GNU.sparse.major=1\n", b"19 path=../../evil\n", b"\xff" * 8, bytes(512))
TARGETS = (
    Target("archive", archive, (ValueError,), _archives, _ARCHIVE, 4.0),
    Target("model_picture", model_picture, (ValueError, OSError), _pictures, _PICTURE, 3.0),
    Target("source_picture", source_picture, (ValueError,), _pictures, _PICTURE, 3.0),
)
