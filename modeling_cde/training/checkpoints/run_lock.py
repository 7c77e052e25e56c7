"""One training per folder: a second one waits for the first to end, since both would write the same files."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.utils import logging

logger = logging.get_logger(__name__)

WAIT_SECONDS = 60.0


@contextmanager
def alone_in(folder: Path, seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Lock a folder, made if absent, while the block runs; the system unlocks it however the process ends.

    A training can outlive its launcher for a moment, so the training that resumes it waits first, at most `seconds`.

    Raises:
        ValueError: another process has kept the folder locked.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such lock
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY)
    locked = said = False
    try:
        until = time.monotonic() + seconds
        while not locked:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked = True
            except BlockingIOError:
                if not said:
                    logger.warning(f"Another training writes to {folder}: this one waits for it to end.")
                    said = True
                if time.monotonic() > until:
                    raise ValueError(
                        f"another training writes to {folder}: end it, or choose another output_dir."
                    ) from None
                time.sleep(0.1)
            except OSError:  # a file system without locks, which cannot unlock either
                break
        yield
    finally:
        if locked:
            fcntl.flock(held, fcntl.LOCK_UN)  # closing does not unlock while a forked worker has a copy
        os.close(held)
