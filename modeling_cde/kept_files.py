"""JSON that a run has left, read back: it may have been cut off or changed, or come with a stranger's checkpoint."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def read_object(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ValueError: the file holds none.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of JSON, of UTF-8, nested without end
        said = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise ValueError(f"{path} is no JSON ({said}): make it again, or restore the file.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no JSON object: make it again, or restore the file.")
    return found


@contextmanager
def as_they_were_written(what: object) -> Iterator[None]:
    """Turn what goes wrong over the content of a run's files into one sentence.

    Files that were written here hold what their readers need. Of others it is not known what they lack or hold instead,
    and no reader asks for the type of every value.

    Args:
        what: the files, for the sentence.

    Raises:
        ValueError: something was missing, or of another type.
    """
    try:
        yield
    except (LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        said = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{what} cannot be used: a file of the run is not as training, evaluation and analysis write it "
            f"({type(error).__name__}: {said}); restore it, or make it again."
        ) from error
