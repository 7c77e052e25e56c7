"""Where the real pieces of the public data sets lie that some tests read; without them those tests are skipped."""

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def real_data(*parts: str) -> Path:
    """A path below $CDE_REAL_DATA, or below ../shared/data; skips the test where it does not exist."""
    path = Path(os.environ.get("CDE_REAL_DATA") or BESIDE).joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not there; CDE_REAL_DATA may name the folder of real data")
    return path
