"""The first line `sep=,` by which Excel names the separator of a CSV file, and which is not one of its rows."""

from __future__ import annotations

import re

LONGEST = 16  # characters of such a line; enough to read of a file's first line
_DECLARED = re.compile(r'"?sep=([,;|\t])"?\s*', re.IGNORECASE)


def declared_separator(line: str) -> str | None:
    """The separator that a file's first line declares; None if it is an ordinary line."""
    match = _DECLARED.fullmatch(line)
    return match[1] if match else None
