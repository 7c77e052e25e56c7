"""How much is read of a file that anyone may have made: all bounds in one place, and checked before reading.

No real file comes near them. What is larger gets one sentence in place of a full memory or a command that does not end.
SECURITY.md lists them.
"""

import os
import stat
from pathlib import Path

_MIB = 2**20

# JSON and YAML.
MOST_CONFIG_BYTES = 16 * _MIB  # of config.json, preprocessor_config.json, an adapter's, an index of weights
MOST_JSON_BYTES = 1024 * _MIB  # of other JSON; a manifest names each of millions of pairs
MOST_YAML_BYTES = 256 * 1024  # of a recipe, or of the header of a README.md; takes seconds to read
MOST_YAML_VALUES = 200_000  # with references written out: ten lines of them can stand for gigabytes

# Models.
WIDEST = 100_000  # a width or a count
MOST_LAYERS = 500  # of a backbone, over all of its stages

# Tables and data sets.
MOST_TABLE_BYTES = 1024 * _MIB  # of a table in CSV, TSV or JSON lines
MOST_COLUMNS = 1_000
LONGEST_CELL = 4_096  # characters
LONGEST_NAME = 200  # characters of a class, a group or a pair
MOST_HOUSE_BYTES = 64 * _MIB  # of one line of a file of ProcTHOR's houses

# Pictures and videos.
MOST_PIXELS = 64_000_000  # of a picture; 192 MB as RGB
MOST_PICTURE_BYTES = 512 * _MIB  # of an encoded picture; so many pixels of 16 bits, not compressed, are less
MOST_STRETCH = 200  # a longer side of so many shorter ones; more is not a view of a scene
MOST_FRAME_PIXELS = 64 * _MIB  # of a video's frame
MOST_CLIP_FRAMES = 128  # of a clip whose frames are all compared with each other
MOST_FRAME_BYTES = 32 * _MIB  # of an extracted frame of EPIC-KITCHENS

# Archives.
MOST_MEMBERS = 5_000_000
MOST_MEMBER_BYTES = 64 * _MIB  # of a picture or a table in an archive, unpacked


def check_file_size(path: str | os.PathLike[str], most: int) -> None:
    """Checks the size of a file before it is read.

    Raises:
        ValueError: It has more than `most` bytes, or is a device or a pipe, which may never end.
        OSError: It does not exist or cannot be asked.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is not a file: give the path of one.")
    if found.st_size > most:
        raise ValueError(
            f"{path} has {found.st_size / _MIB:,.0f} MiB, and at most {most // _MIB:,} are read of such a file: give "
            "the file that is meant."
        )


def check_within(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
    """Checks that a file is in a folder, also where it is a link, which may show another file of this machine.

    The Hub's cache keeps the files of a snapshot beside it, in `blobs`; links to there are in order.

    Raises:
        ValueError: It is a link to a file elsewhere.
    """
    found, home = Path(path).resolve(), Path(folder).resolve()
    cached = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
    if not (found.is_relative_to(home) or found.parent == cached):
        raise ValueError(f"{path} is a link to a file outside of {folder}: put the file itself there.")


def check_config_files(folder: str | os.PathLike[str]) -> None:
    """Checks the JSON files of a checkpoint before one is read; what does not exist is not checked.

    Raises:
        ValueError: One of them is too large; see `check_file_size`.
    """
    for file in sorted(Path(folder).glob("*config.json")) + sorted(Path(folder).glob("*.index.json")):
        if file.exists():
            check_file_size(file, MOST_CONFIG_BYTES)
