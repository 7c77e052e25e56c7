"""Names as tables, folders and archives write them: which are names of classes, and which file a name means.

A letter such as é can be one character (NFC) or two (NFD, which Macs write). Both are the same name: classes, groups
and files are compared in NFC.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath

from data_scripts.builds.work_units import BadPairError

#: What programs write where a name is missing; compared in lower case and without blanks.
_NO_NAMES = frozenset(("", "nan", "none", "null", "na", "n/a", "#n/a", "<na>"))


def normalized(text: str) -> str:
    """A text in NFC."""
    return unicodedata.normalize("NFC", text)


def is_name(text: str) -> bool:
    """Whether a text can name an action or an object; "NaN", "None", "null", "n/a" and blanks cannot."""
    return "".join(text.split()).casefold() not in _NO_NAMES


def class_name(text: str, column: str) -> str:
    """The name of an action or object, in NFC and without blanks around it.

    Raises:
        BadPairError: It is no name, see `is_name`; the sentence calls it by its `column`.
    """
    name = normalized(text).strip()
    if not is_name(name):
        raise BadPairError("no name", f"{column} is {name!r}, which names no class" if name else f"{column} is empty")
    return name


def find_file(folder: Path, written: str) -> Path:
    r"""The path of a file below a folder, spelt as on the disk: in NFC or NFD, `\` as `/`; else as it is written."""
    path = folder / written
    if path.exists():
        return path
    for name in (written, written.replace("\\", "/")):
        found = folder
        for part in PurePosixPath(name).parts:
            spellings = (part, normalized(part), unicodedata.normalize("NFD", part))
            found = next((found / spelling for spelling in spellings if (found / spelling).exists()), found / part)
        if found.exists():
            return found
    return path
