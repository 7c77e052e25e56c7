"""The verb phrases that an instruction may start with, and the action class of each.

Three kinds of phrase:

- consecutive words, "push". A phrase that ends in a particle, "turn on", also matches when split: "turn the stove on".
- words with a gap, "put ... in": the verb, and that preposition anywhere after the object.
- nothing else: there are no patterns, and a verb that is not listed is not understood.

Class names are lower case, with `_` between words. `turnon`, `turnoff`, `open`, `close`, `clean`, `dirty`, `fill` and
`empty` are spelt as in `modeling_cde.data.OPPOSITES`, so that opposites are recognised.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

GAP = "..."

#: Valid class names: safe in a shell, a file name and a table.
CLASS_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")

#: Second words of phrases that can be split: "turn the stove on", "pick the bowl up".
PARTICLES = frozenset("on off up down out over away".split())

#: Actions that only fetch a thing: the last picture shows what the next clause does with "it".
FETCHING = frozenset("pick_up take take_out take_off lift remove".split())

#: Actions that leave a thing somewhere.
LEAVING = frozenset("put put_in put_on put_under put_down put_away drop move insert stack hang throw bring".split())

_SINGLE = """
open close fill empty clean dirty slice break put drop move push pull slide press pour stack unstack fold unfold wipe
sweep wash cut insert remove hang throw cover uncover touch shake stir scoop plug unplug lock unlock screw unscrew
straighten arrange sort bring take lift flip rotate turn twist squeeze wrap unwrap peel spread
""".split()

_SYNONYMS = {
    "close": "shut",
    "turnon": "turn on, switch on",
    "turnoff": "turn off, switch off",
    "pick_up": "pick up, pick, pickup, grab, grasp",
    "lift": "lift up",
    "take_out": "take out, take ... out",
    "take_off": "take off, take ... off",
    "put_down": "put down, set down",
    "put_away": "put away",
    "put": "place",
    "flip": "flip over, turn over",
    "knock_over": "knock over, topple",
}

_PLACES = {
    "put_in": ("in", "into", "inside"),
    "put_on": ("on", "onto"),
    "put_under": ("under", "underneath", "below", "beneath"),
}


def default_phrases() -> dict[str, str]:
    """The built-in table: phrase -> action class."""
    phrases = {verb: verb for verb in _SINGLE}
    phrases |= {phrase: action for action, listed in _SYNONYMS.items() for phrase in listed.split(", ")}
    for action, prepositions in _PLACES.items():
        for verb in ("put", "place", "set", "lay"):
            phrases |= {f"{verb} {GAP} {preposition}": action for preposition in prepositions}
    return phrases


@dataclass(frozen=True)
class VerbMatch:
    """A phrase found at the start of a clause."""

    # None if prepositions of several classes follow ("on the table in the pot").
    action: str | None
    words: int  # of the verb
    end: int  # of the clause without a separated particle


@dataclass(frozen=True)
class VerbTable:
    """Verb phrases (lower case, words separated by one space, at most one gap) and their action classes."""

    phrases: Mapping[str, str] = field(default_factory=default_phrases)

    def __post_init__(self) -> None:
        for phrase, action in self.phrases.items():
            if not re.fullmatch(r"[a-z0-9]+( [a-z0-9]+)*( \.\.\. [a-z0-9]+)?", phrase):
                raise ValueError(
                    f"The verb phrase {phrase!r} cannot be read; write lower-case words, with at most one gap before "
                    'the last one, as in "open" or "put ... in".'
                )
            if not CLASS_NAME.fullmatch(action):
                raise ValueError(
                    f"The class {action!r} of the phrase {phrase!r} must be lower-case letters, digits, _ and -."
                )

    @cached_property
    def first_words(self) -> frozenset[str]:
        """The words that a clause may start with."""
        return frozenset(phrase.split()[0] for phrase in self.phrases)

    def match(self, clause: list[str]) -> VerbMatch | None:
        """The longest phrase (in words) at the start of a clause of lower-case words; None if there is none."""
        best: tuple[int, VerbMatch] | None = None
        gapped: dict[int, set[str]] = {}
        for length, match in self._matches(clause, gapped):
            if best is None or length > best[0]:
                best = (length, match)
        if gapped:
            words = max(gapped)
            if best is None or words + 1 > best[0]:
                actions = gapped[words]
                return VerbMatch(actions.pop() if len(actions) == 1 else None, words, len(clause))
        return best[1] if best else None

    def _matches(self, clause: list[str], gapped: dict[int, set[str]]) -> Iterator[tuple[int, VerbMatch]]:
        """Matches without a gap and their length; those with one go to `gapped`: words of the verb -> classes."""
        for phrase, action in self.phrases.items():
            words = phrase.split()
            if GAP in words:
                verb, preposition = words[:-2], words[-1]
                if clause[: len(verb)] == verb and preposition in clause[len(verb) + 1 :]:
                    gapped.setdefault(len(verb), set()).add(action)
            elif clause[: len(words)] == words:
                yield len(words), VerbMatch(action, len(words), len(clause))
            elif (
                len(words) == 2
                and words[1] in PARTICLES
                and len(clause) > 2
                and (clause[0], clause[-1]) == (words[0], words[1])
            ):
                yield 2, VerbMatch(action, 1, len(clause) - 1)


def read_verbs(path: Path) -> VerbTable:
    """The built-in table, with the rows of a CSV file `phrase,action` added or replacing its own.

    Raises:
        ValueError: The file is missing, has other columns, or has an invalid phrase or class name.
    """
    rows = read_rows(path, ("phrase", "action"))
    return VerbTable(
        default_phrases() | {" ".join(row["phrase"].lower().split()): row["action"].lower() for row in rows}
    )


def read_rows(path: Path, columns: tuple[str, ...], *, open_rows: bool = False) -> list[dict[str, str]]:
    """Read columns of a small CSV file in UTF-8 with a header, with stripped cells and without empty rows.

    `open_rows` also leaves out rows where only the first column is filled.

    Raises:
        ValueError: The file cannot be read, lacks a column, or leaves a cell empty.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read ({error}); give a CSV file in UTF-8.") from error
    header = [cell.strip() for cell in rows[0]] if rows else []
    missing = [name for name in columns if name not in header]
    if missing:
        raise ValueError(f"{path} has no column {', '.join(missing)}; it needs {', '.join(columns)}.")
    read = []
    for number, cells in enumerate(rows[1:], start=1):
        row = {name: "".join(cells[header.index(name) :][:1]).strip() for name in columns}
        filled = [name for name in columns if row[name]]
        if len(filled) == len(columns):
            read.append(row)
        elif filled and not (open_rows and filled == [columns[0]]):
            raise ValueError(f"{path}: row {number} fills only {', '.join(filled)} of {', '.join(columns)}.")
    return read
