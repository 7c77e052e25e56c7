"""One case of a target, and what has to hold for it whatever its bytes are.

- Nothing is raised but the errors that the target names, each one sentence: one line that says something.
- It ends within `SECONDS`, and takes no more than `MEMORY` bytes of addresses beyond those of the start.
- Nothing is written outside the folder of the case, no program is started, no address is connected to, nothing is
  unpickled. Python itself reports these (`sys.addaudithook`), so a library that does them behind an `except` is found.
"""

import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

SECONDS = 10.0
MEMORY = 3 * 2**30
LONGEST_MESSAGE = 2000  # characters: a message that repeats a whole hostile text is not a sentence


@dataclass(frozen=True)
class Target:
    """A reader under test.

    Attributes:
        name: of the target.
        read: takes the bytes and an empty folder; returns normally, or raises one of `errors`. It may raise
            AssertionError for an answer that should not be.
        errors: what the reader may raise.
        seeds: examples that cases are made of.
        tokens: texts that mean something to the reader; edits put them in.
        share: how often it is drawn against the others; slow readers less.
    """

    name: str
    read: Callable[[bytes, Path], object]
    errors: tuple[type[BaseException], ...]
    seeds: Callable[[], Mapping[str, bytes]]
    tokens: tuple[bytes, ...] = ()
    share: float = 1.0
    corpus: Path = field(default=Path(__file__).with_name("corpus"))

    @property
    def kept(self) -> dict[str, bytes]:
        """The cases of `corpus/` by file name: all that once failed."""
        folder = self.corpus / self.name
        return {path.name: path.read_bytes() for path in sorted(folder.glob("*"))} if folder.is_dir() else {}


class Finding(AssertionError):
    """What should not have happened in a case."""


def json_seeds(**values: Any) -> dict[str, bytes]:
    """Examples of a target, as JSON."""
    return {name: json.dumps(value).encode() for name, value in values.items()}


def written(data: bytes, path: Path) -> Path:
    """The path, with the bytes of a case in it, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


class TooLong(BaseException):
    """The case did not end in time; no `except Exception` holds it back."""


_watched: dict[str, Any] = {"folder": None, "seen": []}
_FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn")
_CHANGING = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree")


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook; does nothing outside of a case."""
    folder = _watched["folder"]
    if folder is None:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool(flags & 3)
        if writes and isinstance(path, (str, bytes)) and not _inside(os.fsdecode(path), folder):
            _watched["seen"].append(f"opened {path!r} for writing")
    elif event in _CHANGING and isinstance(arguments[0], (str, bytes, os.PathLike)):
        path = os.fsdecode(arguments[0])
        if event in ("os.remove", "os.rmdir", "os.mkdir") and arguments[-1] != -1:  # of a folder that is open
            path = os.path.join(os.readlink(f"/proc/self/fd/{arguments[-1]}"), path)
        if not _inside(path, folder):
            _watched["seen"].append(f"{event} {path!r}")
    elif event in _FORBIDDEN or event == "pickle.find_class":
        _watched["seen"].append(f"{event} {arguments!r}"[:200])
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        _watched["seen"].append(f"connected to {arguments[1]!r}")


def _inside(path: str, folder: str) -> bool:
    whole = os.path.realpath(path)
    return whole.startswith(folder + os.sep) or whole == folder or whole in ("/dev/null", "/dev/tty")


@cache
def _hook() -> None:
    """Add the audit hook, once."""
    sys.addaudithook(_watch)


@contextmanager
def _limits(folder: Path) -> Any:
    """Time, memory and the audit hook around a case."""
    _hook()
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)

    def stop(*_: object) -> None:
        raise TooLong(f"not done after {SECONDS:g} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    _watched.update(folder=os.path.realpath(folder), seen=[])
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        _watched["folder"] = None
        signal.signal(signal.SIGALRM, before)


def check(target: Target, data: bytes) -> bool:
    """Run one case.

    Returns:
        Whether the reader took it; False where it was refused by one of its errors.

    Raises:
        Finding: Something that should not be.
    """
    # A name that Python has not seen before would be imported, compiled and written: not in a case, but before.
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        try:
            with _limits(folder):
                taken = _run(target, data, folder)
        except TooLong as error:
            raise Finding(f"{target.name}: {error}") from error
        if _watched["seen"]:
            raise Finding(f"{target.name}: {'; '.join(_watched['seen'][:3])}")
        return taken


def _run(target: Target, data: bytes, folder: Path) -> bool:
    try:
        target.read(data, folder)
    except target.errors as error:
        # No reader's errors are so wide that a library's own would pass for them unseen.
        text = error.code if isinstance(error, SystemExit) else str(error)
        if not isinstance(text, str) or not text.strip():
            raise Finding(f"{target.name}: {type(error).__name__} says nothing ({text!r})") from error
        if len(text.splitlines()) > 1 or len(text) > LONGEST_MESSAGE:
            raise Finding(f"{target.name}: {type(error).__name__} is not one sentence: {text[:300]!r}") from error
        return False
    except (TooLong, Finding):
        raise
    except BaseException as error:
        raise Finding(f"{target.name}: {type(error).__name__}: {str(error)[:300]}") from error
    return True
