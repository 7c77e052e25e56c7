"""The verb phrases that an instruction may start with, and the action class of each.

Three kinds of phrase:

- consecutive words, "push". A phrase that ends in a particle or a state, "turn on", "push closed", also matches when
  split: "turn the stove on".
- words with a gap, "put ... in": the verb, and that preposition anywhere after the object.
- nothing else: there are no patterns, and a verb that is not listed is not understood.

Class names are lower case, with `_` between words. `turnon`, `turnoff`, `open`, `close`, `clean`, `dirty`, `fill` and
`empty` are spelt as in `modeling_cde.data.OPPOSITES`, so that opposites are recognised.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from data_scripts.episodes.words import ADJECTIVES, ADVERBS, PREPOSITIONS, UNITS
from data_scripts.separators import LONGEST, declared_separator
from modeling_cde.models.limits_cde import MOST_TABLE_BYTES, check_file_size

GAP = "..."

#: Valid class names: safe in a shell, a file name and a table.
CLASS_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")

#: Second words of phrases that can be split: "turn the stove on", "pick the bowl up", "push the drawer shut".
PARTICLES = frozenset("on off up down in out over away open shut closed upsidedown".split())

#: Actions that only fetch a thing: the last picture shows what the next clause does with "it".
FETCHING = frozenset("pick_up take take_out take_off lift remove".split())

#: Actions on a thing that is held: "grasp the block, then rotate it" is the second one.
TURNING = frozenset("rotate turn flip lift".split())

#: Actions to which a direction adds nothing: "push the lever down".
MOTION = frozenset("push pull slide move lift press sweep bring".split())
DIRECTIONS = frozenset("up down out away back".split())

#: Actions that leave a thing somewhere.
LEAVING = frozenset("put put_in put_on put_under put_down put_away drop move insert stack hang throw bring".split())

#: Verbs that put what is held somewhere: "pick up the cup and place on the table".
PUTTING = ("put", "place", "set", "lay", "store")

_SINGLE = """
open close fill empty clean dirty slice break put drop move push pull slide press pour stack unstack fold unfold wipe
sweep wash cut insert remove hang throw cover uncover touch shake stir scoop plug unplug lock unlock screw unscrew
straighten arrange sort bring take lift flip rotate turn twist squeeze wrap unwrap peel spread
""".split()

_SYNONYMS = {
    "open": "push open, pull open, slide open, swing open, flip open, lift open",
    "close": "shut, push closed, push shut, pull closed, pull shut, slide closed, slide shut, swing closed, swing shut",
    "turnon": "turn on, switch on",
    "turnoff": "turn off, switch off",
    "pick_up": "pick up, pick, pickup, grab, grasp",
    "lift": "lift up",
    "pull": "pull out, pull up, pull down",
    "press": "press down",
    "plug": "plug in",
    "screw": "screw in, screw on",
    "fill": "fill up",
    "fold": "fold up",
    "wipe": "wipe down",
    "take_out": "take out, take ... out",
    "take_off": "take off, take ... off",
    "put_down": "put down, set down",
    "put_away": "put away",
    "put": "place",
    "flip": "flip over, turn over, turn upsidedown, flip upsidedown, rotate upsidedown",
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
        for verb in PUTTING:
            phrases |= {f"{verb} {GAP} {preposition}": action for preposition in prepositions}
    return phrases


@dataclass(frozen=True)
class VerbMatch:
    """A phrase found at the start of a clause."""

    # None if prepositions of several classes follow ("on the table in the pot").
    action: str | None
    words: int  # of the verb
    particle: int | None = None  # place of a separated particle
    gapped: bool = False  # whether a preposition after the object is a part of the phrase


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

    @cached_property
    def words(self) -> frozenset[str]:
        """The verbs that are one word."""
        return frozenset(phrase for phrase in self.phrases if " " not in phrase)

    def gaps(self, clause: list[str]) -> frozenset[str]:
        """The prepositions that could complete the first words of a clause to a phrase."""
        split = (phrase.split() for phrase in self.phrases if GAP in phrase)
        return frozenset(words[-1] for words in split if clause[: len(words) - 2] == words[:-2])

    def match(self, clause: list[str]) -> VerbMatch | None:
        """The longest phrase (in words) at the start of a clause of lower-case words; None if there is none.

        Of equal ones consecutive words come first ("put down"), then those with a gap, then those that are split.
        """
        found: list[tuple[int, int, VerbMatch]] = []
        gapped: dict[int, set[str]] = {}
        for phrase, action in self.phrases.items():
            words = phrase.split()
            if GAP in words:
                verb, preposition = words[:-2], words[-1]
                # "put the hat on" may say who wears it.
                after = clause[len(verb) + 1 :] if preposition != "on" else clause[len(verb) + 1 : -1]
                if clause[: len(verb)] == verb and preposition in after:
                    gapped.setdefault(len(verb), set()).add(action)
            elif clause[: len(words)] == words:
                found.append((len(words), 2, VerbMatch(action, len(words))))
            elif len(words) == 2 and words[1] in PARTICLES and clause[:1] == words[:1]:
                place = _separated(clause, words[1])
                if place is not None:
                    found.append((2, 0, VerbMatch(action, 1, particle=place)))
        for length, actions in gapped.items():
            action_or_none = actions.pop() if len(actions) == 1 else None
            found.append((length + 1, 1, VerbMatch(action_or_none, length, gapped=True)))
        return max(found, key=lambda item: item[:2])[2] if found else None


def _separated(clause: list[str], particle: str) -> int | None:
    """The place of a particle that stands by itself right behind the object."""
    for place in range(2, len(clause)):
        if clause[place] == particle and not set(clause[1:place]) & PREPOSITIONS and stands_alone(clause, place):
            return place
    return None


def stands_alone(words: list[str], place: int) -> bool:
    """Whether no noun follows the preposition or particle at a place: "the lamp on", "the lever down sideways"."""
    after = words[place + 1 : place + 3]
    return not after or after[0] in PREPOSITIONS | (ADVERBS - ADJECTIVES) or (after[0].isdigit() and after[-1] in UNITS)


def read_verbs(path: Path) -> VerbTable:
    """The built-in table, with the rows of a CSV file `phrase,action` added or replacing its own.

    Raises:
        ValueError: The file is missing, has other columns, has an invalid phrase or class name, or gives one phrase two
            actions.
    """
    rows = read_rows(path, ("phrase", "action"))
    phrases: dict[str, str] = {}
    for row in rows:
        phrase, action = " ".join(re.split(r"[\s_-]+", row["phrase"].lower().strip("_-"))), row["action"].lower()
        if phrases.setdefault(phrase, action) != action:
            raise ValueError(
                f"{path} gives the phrase {phrase!r} the actions {phrases[phrase]!r} and {action!r}; keep one."
            )
    return VerbTable(default_phrases() | phrases)


def read_rows(path: Path, columns: tuple[str, ...], *, open_rows: bool = False) -> list[dict[str, str]]:
    """Read columns of a small CSV file in UTF-8 with a header, with stripped cells and without empty rows.

    `open_rows` also leaves out rows where only the first column is filled.

    Raises:
        ValueError: The file cannot be read, lacks a column, or leaves a cell empty.
    """
    try:
        check_file_size(path, MOST_TABLE_BYTES)
        with path.open(encoding="utf-8-sig", newline="") as file:
            separator = declared_separator(file.readline(LONGEST))
            if separator is None:
                file.seek(0)
            rows = list(csv.reader(file, delimiter=separator or ","))
    except (OSError, ValueError, csv.Error) as error:
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
