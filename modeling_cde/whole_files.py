"""Files and folders that are there whole or not at all, wherever the process that writes them is killed.

Everything is written under a temporary name beside its place, brought to the disk, and renamed. A name that begins
with `tmp-` is what a killed process has left.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = "tmp-"


@contextmanager
def write_whole(path: str | Path) -> Iterator[Path]:
    """Write a file aside; it takes its place when the block has ended without an error, and is removed otherwise.

    Args:
        path: of the file; its folder is made if absent.

    Yields:
        The path to write to, in the same folder and with the same ending.

    Raises:
        OSError: the file cannot be written; the message says why, and what was there before is untouched.
    """
    path = Path(path)
    temporary = path.with_name(TEMPORARY + path.name)
    with says_what_is_not_written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            to_disk(temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        to_disk(path.parent)


@contextmanager
def write_files_whole(folder: str | Path, last: str) -> Iterator[Path]:
    """Write files into a folder of its own; each takes its place in `folder` when the block has ended without an error.

    Args:
        folder: where the files belong; made if absent. Other files in it stay as they are.
        last: name of the file that is moved last: where it is new, all the others are there.

    Yields:
        The folder to write to; it may get folders within.

    Raises:
        OSError: see `write_whole`.
    """
    folder = Path(folder)
    temporary = folder / f"{TEMPORARY}files"
    with says_what_is_not_written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            yield temporary
            files = [path for path in temporary.rglob("*") if path.is_file()]
            for file in files:
                to_disk(file)
            for file in sorted(files, key=lambda file: file.name == last):
                target = folder / file.relative_to(temporary)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        to_disk(folder)


def check_writable(folder: Path) -> None:
    """Raise where nothing can be written into a folder, which is made if absent.

    Raises:
        OSError: see `write_whole`.
    """
    with says_what_is_not_written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"anything")


def to_disk(path: Path) -> None:
    """Have the system bring a file, or the names in a folder, to the disk: a rename is to come after what it names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some file systems do not know this of folders
            raise
    finally:
        os.close(descriptor)


@contextmanager
def says_what_is_not_written(path: Path) -> Iterator[None]:
    """Turn the errors of a full disk, a missing permission and the like into one sentence that names the place."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        if isinstance(error, NotWritten):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise NotWritten(f"{path} could not be written ({reason}): what was there before is as it was.") from error


class NotWritten(OSError):
    """A file or a folder could not be written."""
