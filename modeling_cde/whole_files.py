"""Files and folders that are complete or absent, whenever the process that writes them is killed.

Everything is written under a temporary name next to its place, flushed to the disk, and renamed. A name that begins
with `tmp-` is what a killed process has left.

What is read may be truncated or changed all the same, or come with a stranger's checkpoint: `read_object` and
`as_they_were_written` answer with one sentence. So does every command, of whatever happens: `in_one_sentence`.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
import traceback
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .cli.verbs import program as name_of
from .models.limits_cde import MOST_JSON_BYTES, check_file_size

TEMPORARY = "tmp-"
# Beginnings of formulas; a plain number is none.
_FORMULA = re.compile(r"(?![-+]?\d+(\.\d+)?([eE][-+]?\d+)?$)'?[=+@\t\r-]", flags=re.ASCII)
_OURS = ("modeling_cde", "data_scripts", "benchmarks", "space", "train.py", "fit.py")


@contextmanager
def write_whole(path: str | os.PathLike[str], *, shared: bool = False) -> Iterator[Path]:
    """Write a file aside; it takes its place when the block ends without an error, and is removed otherwise.

    Args:
        path: Of the file; its folder is created if absent.
        shared: Several processes may write this file at the same time: each uses a temporary name of its own.

    Yields:
        The path to write to, in the same folder. Its ending is `.tmp`, so patterns such as `*.json` do not match it.

    Raises:
        OSError: The file cannot be written; the message says why, and what was there before is unchanged.
    """
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex + '-' if shared else ''}{path.name}.tmp")
    with says_what_is_not_written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            _share(temporary)
            to_disk(temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        to_disk(path.parent)


def write_text_whole(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in UTF-8 that is complete or absent; see `write_whole`."""
    with write_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def write_files_whole(folder: str | os.PathLike[str], last: str) -> Iterator[Path]:
    """Write files, also in folders, into the yielded folder; each moves to `folder` at the end: see `write_whole`.

    Other files in `folder` stay as they are. The file named `last` is moved last: once it is new, all the others are in
    place.
    """
    folder = Path(folder)
    temporary = folder / f"{TEMPORARY}files"
    with says_what_is_not_written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _emptied(temporary):
            yield temporary
            for file in sorted(flushed(temporary), key=lambda file: file.name == last):
                target = folder / file.relative_to(temporary)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, target)
        to_disk(folder)


@contextmanager
def write_folder_whole(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a folder aside, in the yielded one next to it; it replaces what is at its place: see `write_whole`."""
    folder = Path(folder)
    temporary = folder.with_name(f"{TEMPORARY}{folder.name}")
    with says_what_is_not_written(folder), _emptied(temporary):
        yield temporary
        flushed(temporary)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
        to_disk(folder.parent)


def check_writable(folder: Path) -> None:
    """Raise the OSError of `write_whole` if nothing can be written into a folder, which is created if absent."""
    with says_what_is_not_written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"anything")


def to_disk(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk: a rename must come after the content that it names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some file systems cannot flush folders
            raise
    finally:
        os.close(descriptor)


def flushed(folder: Path) -> list[Path]:
    """All files in and below a folder, after they were flushed to the disk; their permissions are the usual ones."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for file in files:
        _share(file)
        to_disk(file)
    return files


def _share(file: Path) -> None:
    """Give a file the permissions that the user's umask gives new files; safetensors makes its files private."""
    if file.stat().st_mode & 0o777 != 0o600:
        return
    usual = file.with_name(f"{file.name}.umask")  # the umask itself cannot be read without changing it
    usual.touch()
    file.chmod(usual.stat().st_mode & 0o777)
    usual.unlink()


def file_sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def says_what_is_not_written(path: Path) -> Iterator[None]:
    """Turn the errors of a full disk, a missing permission and the like into one sentence that names the path."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        if isinstance(error, NotWritten):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        said = NotWritten(f"{path} could not be written ({reason}): what was there before is unchanged.")
        said.strerror = reason
        raise said from error


class NotWritten(OSError):
    """A file or a folder could not be written; `strerror` is the reason alone."""


@contextmanager
def _emptied(temporary: Path) -> Iterator[None]:
    """A folder that is empty at first and gone in the end."""
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_object(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file; ValueError if it does not contain one."""
    check_file_size(path, MOST_JSON_BYTES)
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # bad JSON, bad UTF-8, endless nesting
        said = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ValueError(f"{path} is not JSON ({said}): create it again, or restore the file.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} does not contain a JSON object: create it again, or restore the file.")
    return found


@contextmanager
def as_they_were_written(what: object) -> Iterator[None]:
    """Turn errors caused by the content of a run's files into one sentence, in which `what` names the files.

    Files that this package wrote contain what their readers need. Other files may lack anything, and readers do not
    check the type of every value.

    Raises:
        ValueError: Something was missing or had another type.
    """
    try:
        yield
    except (LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        said = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{what} cannot be used: a file of the run differs from what training, evaluation and analysis write "
            f"({type(error).__name__}: {said}); restore it, or create it again."
        ) from error


def csv_cell(value: Any) -> Any:
    """A value as a cell of a CSV file: text that a spreadsheet would run as a formula is marked as text by `'`."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def csv_text(cell: str) -> str:
    """The text of a cell that `csv_cell` may have marked."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


@contextmanager
def in_one_sentence(program: str) -> Iterator[None]:
    """End a command, which the block runs, with one sentence of `program` in place of a traceback.

    Errors that a user can do something about say so themselves: those of files and of what is not installed, and every
    ValueError of this project's own code. Anything else is a fault, of the program or of a library: its traceback goes
    to a file in the folder for temporary files, and the sentence names the file.
    """
    program = name_of(program)
    try:
        yield
    except KeyboardInterrupt:
        print(f"\n{program}: stopped.", file=sys.stderr)
        sys.exit(130)  # as a shell counts
    except Exception as error:
        said = " ".join(str(error).split())
        if isinstance(error, (OSError, ImportError)) or (isinstance(error, ValueError) and _is_ours(error)):
            sys.exit(f"{program}: {said}")
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", prefix="modeling-cde-", suffix=".txt", delete=False
        ) as report:
            report.write(f"{program}, Python {sys.version}\n\n{traceback.format_exc()}")
        sys.exit(
            f"{program}: stopped by a fault ({type(error).__name__}: {said[:200].rstrip('.')}); {report.name} says "
            "where: attach it if you report this."
        )


def _is_ours(error: BaseException) -> bool:
    """Whether an error was raised by this project's code, and not by a library."""
    place = Path(list(traceback.walk_tb(error.__traceback__))[-1][0].f_code.co_filename)
    root = Path(__file__).parents[1]  # the project's, or where it is installed beside libraries
    return place.is_relative_to(root) and place.relative_to(root).parts[0] in _OURS


def without_places(value: Any) -> Any:
    """JSON types in which texts name files without their folders on this machine, as for a record to be published.

    `/home/NAME/pairs`, `~/pairs` and `../pairs` become `pairs`; `data/rooms`, which is below the current folder, stays.
    """
    if isinstance(value, Mapping):
        return {key: without_places(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_places(one) for one in value]
    if not isinstance(value, str):
        return value
    if value.startswith(("{", "[")):  # options as JSON
        try:
            told = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return value if (cleaned := without_places(told)) == told else json.dumps(cleaned)
    path = Path(value)
    away = path.is_absolute() or value.startswith("~") or ".." in path.parts
    return os.path.basename(os.path.abspath(os.path.expanduser(value))) if away else value


def command_without_places(command: str) -> str:
    """A command as a shell reads it, with its arguments and the values of its flags by `without_places`."""
    try:
        words = shlex.split(command)
    except ValueError:  # a quote without its partner
        return command
    split = [word.partition("=") if word.startswith("-") else ("", "", word) for word in words]
    named = [f"{flag}{equals}{without_places(value)}" for flag, equals, value in split]
    return command if named == words else shlex.join(named)


def cache_folder() -> Path:
    """Where what can be made again is kept: `modeling-cde` in XDG_CACHE_HOME, which is ~/.cache unless set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modeling-cde"
