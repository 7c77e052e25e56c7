"""What the extra "analysis" installs is imported where it is used, so that reading files needs none of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..cli.extras import install


@contextmanager
def analysis_extra() -> Iterator[None]:
    """Say how to install a library whose import fails inside the `with`.

    Raises:
        ModuleNotFoundError: if a library of the extra "analysis" is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        raise ModuleNotFoundError(
            f"The analysis needs {name}, which is not installed: {install('analysis')}", name=name
        ) from error
