"""What the extra "analysis" installs is imported where it is used, so that reading files needs none of it."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def analysis_extra() -> Iterator[None]:
    """Say how to install a library whose import fails inside the `with`.

    Raises:
        ModuleNotFoundError: if a library of the extra "analysis" is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed, and the analysis needs it: pip install 'modeling-cde[analysis]'.",
            name=error.name,
        ) from error
