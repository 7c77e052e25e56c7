"""Reads the JSON files of a run, which may be truncated or changed, or come with a stranger's checkpoint."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def read_object(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file; ValueError if it does not contain one."""
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
