"""A robot's instruction, "pick up the book and place it in the caddy", read as an action and an object by rule.

The rule, in full:

1. Lower case; everything but letters and digits separates words (accents are dropped). A leading scene name of LIBERO
   ("KITCHEN_SCENE3_") and leading politeness ("please", "can you", ...) go.
2. Clauses start at "and" or "then" before a known verb, and at a known verb before "it" or "them".
3. A clause starts with the longest phrase of `verbs.VerbTable`, which gives the action.
4. The object is the head noun of the first noun phrase after it: words up to a preposition, a relative word or the
   end, without leading articles, numbers and quantities ("a piece of"), without trailing adverbs ("upright"); of these
   the last, in the singular ("the middle drawer of the cabinet" -> drawer, "both moka pots" -> pot).
5. "Pick up X and put it in Y" is one act, that of the second clause on X, as the last picture shows it. Clauses that
   say the same about the same object also count as one.

What the rule does not cover is not guessed but returned as `Unparsed` with a reason: no words, no known verb, no
object, several objects ("the soup and the sauce"), several actions ("turn on the stove and put the pot on it"),
several places ("on the table in the pot": put_on or put_in?), unclear wording.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from data_scripts.episodes.verbs import FETCHING, LEAVING, VerbTable

#: Why an instruction is not parsed; the keys of the counts in a build's report.
REASONS = (
    "no words",
    "no known verb",
    "no object",
    "several objects",
    "several actions",
    "several places",
    "unclear wording",
)

_POLITE = tuple(
    phrase.split()
    for phrase in (
        "please", "kindly", "now", "first", "next", "then", "can you", "could you", "would you", "will you",
        "you should", "you need to", "i want you to", "i would like you to", "try to", "the robot should",
        "robot should", "your task is to", "the task is to", "go and", "hey", "robot", "ok", "okay",
    )
)  # fmt: skip
_DETERMINERS = frozenset(
    """the a an this that these those both all each every some any another my your his her its their our
    one two three four five six seven eight nine ten several few many""".split()
)
_PRONOUNS = frozenset(
    "it them him me us you this that these those one ones something anything everything thing things".split()
)
_PREPOSITIONS = frozenset(
    """of in into inside on onto to at from with without by near next beside besides behind before under underneath
    below beneath above over across along around through between among against toward towards off out up down away
    for until using via as after past within""".split()
)
_RELATIVE = frozenset("that which who where when while so if is are was were".split())
_ADVERBS = frozenset(
    """upright slightly again halfway fully completely entirely partially partway together forward forwards backward
    backwards left right here there diagonally vertically horizontally clockwise counterclockwise anticlockwise
    sideways slowly carefully gently quickly front back start vertical horizontal first too also please now""".split()
)
_TURN = re.compile(r"(anti|counter)?clockwise\d*|\d+|degrees?")
# These alone are not objects ("pick up the red"); "orange", "light", "silver" and "gold" may be.
_COLOURS_ONLY = frozenset(
    """red green blue yellow white black gray grey brown purple pink violet beige golden cyan turquoise teal maroon dark
    metallic transparent""".split()
)
_COLOURS = _COLOURS_ONLY | {"orange", "light", "silver", "gold"}
_QUANTITIES = frozenset("piece slice pair bunch bit lot kind type set pile handful pieces slices".split())

# Words that mean one preposition; "near" stands for any place that is neither in, on nor under.
_NEAR = ["in front", "in the middle", "in the center", "in the centre", "on the left", "on the right"]
_NEAR += ["on the left side", "on the right side"]
_COMPOUNDS = [
    (phrase.split(), meant)
    for phrase, meant in (
        ("on top of", "on"), ("on top", "on"), ("out of", "out"), ("in to", "into"), ("on to", "onto"),
        ("in between", "between"), *((f"{place} of", "near") for place in _NEAR),
    )
]  # fmt: skip
# "the bowl on the left" says which bowl, unless a noun follows ("on the left plate").
_POSITIONS = frozenset("left right back front middle center centre".split())

_KEEP_PLURAL = frozenset(
    "scissors glasses tongs pliers shorts pants jeans tweezers chess lens gas canvas molasses clothes".split()
)
_SINGULAR = {"knives": "knife", "shelves": "shelf", "leaves": "leaf", "loaves": "loaf", "halves": "half"}
_IE_WORDS = frozenset("cookies brownies pies ties smoothies veggies hoodies".split())
_OE_WORDS = frozenset("shoes toes hoes canoes".split())


BUILT_IN = VerbTable()


class Instruction(NamedTuple):
    """The action class and object class of an instruction, each of letters, digits, _ and - only."""

    action: str
    object: str


@dataclass(frozen=True)
class Unparsed:
    """An instruction that the rule does not cover; `reason` is one of `REASONS`."""

    reason: str


class _Clause(NamedTuple):
    action: str
    object: str | None  # None: a pronoun, or nothing


def parse_instruction(
    text: str, verbs: VerbTable | None = None, known: Mapping[str, Instruction] | None = None
) -> Instruction | Unparsed:
    """Read an instruction by the rule above; never raises for its content.

    `verbs` are the built-in phrases by default; `known` maps `normalized` text to a human's readings, which take
    precedence.
    """
    words = normalized(text).split()
    if not words:
        return Unparsed("no words")
    if known and (answer := known.get(" ".join(words))):
        return answer
    verbs = verbs or BUILT_IN
    words = _without_preamble(words)
    clauses = [_read(clause, verbs) for clause in _clauses(_compounds(words), verbs)]
    failed = [clause for clause in clauses if isinstance(clause, Unparsed)]
    if failed:
        return failed[0] if len(clauses) == 1 else Unparsed("several actions")
    read = [clause for clause in clauses if isinstance(clause, _Clause)]
    if not read:
        return Unparsed("no known verb")
    first, last = read[0], read[-1]
    fetched = len(read) == 2 and first.action in FETCHING and last.action in LEAVING and last.object is None
    if len(set(read)) > 1 and not fetched:
        return Unparsed("several actions")
    return Instruction(last.action, first.object) if first.object else Unparsed("no object")


def normalized(text: str) -> str:
    """Lower-case words of letters and digits, separated by one space: the text as the rule sees it."""
    plain = unicodedata.normalize("NFKD", text.replace("'", "").replace("’", "")).encode("ascii", "ignore").decode()
    return " ".join(re.findall(r"[a-z0-9]+", plain.lower()))


def _without_preamble(words: list[str]) -> list[str]:
    for place, word in enumerate(words[:4]):
        if re.fullmatch(r"scene\d+", word):
            words = words[place + 1 :]
            break
    shorter = True
    while shorter:
        shorter = False
        for phrase in _POLITE:
            if words[: len(phrase)] == phrase:
                words, shorter = words[len(phrase) :], True
    return words


def _compounds(words: list[str]) -> list[str]:
    """The words with each compound preposition replaced by the one word that it means."""
    out: list[str] = []
    place = 0
    while place < len(words):
        found = [(len(pattern), meant) for pattern, meant in _COMPOUNDS if words[place:][: len(pattern)] == pattern]
        if not found and words[place] in ("on", "in", "at"):
            skip = place + 1 + (words[place + 1 : place + 2] == ["the"])
            after = words[skip + 1 : skip + 2]
            if words[skip : skip + 1] and words[skip] in _POSITIONS and (not after or after[0] in _ENDS):
                found = [(skip + 1 - place, "near")]
        length, meant = max(found, default=(1, words[place]))
        out.append(meant)
        place += length
    return out


_ENDS = _PREPOSITIONS | _RELATIVE | {"and", "then", "or"}


def _clauses(words: list[str], verbs: VerbTable) -> list[list[str]]:
    clauses: list[list[str]] = [[]]
    for place, word in enumerate(words):
        following = words[place + 1 : place + 2]
        if (
            clauses[-1]
            and word in verbs.first_words
            and (words[place - 1] in ("and", "then") or following in (["it"], ["them"]))
        ):
            while clauses[-1] and clauses[-1][-1] in ("and", "then"):
                clauses[-1].pop()
            clauses.append([])
        clauses[-1].append(word)
    return [clause for clause in clauses if clause]


def _read(clause: list[str], verbs: VerbTable) -> _Clause | Unparsed:
    # What follows "which" describes a place, not the act.
    end = next((place for place in range(len(clause)) if _is_relative(clause, place)), len(clause))
    match = verbs.match(clause[:end])
    if match is None:
        return Unparsed("no known verb")
    if match.action is None:
        return Unparsed("several places")
    phrase, tail = _noun_phrase(clause[match.words : match.end])
    if not _plain_tail(tail + clause[end:]):
        return Unparsed("unclear wording")
    if "or" in phrase or "then" in phrase:
        return Unparsed("several objects" if "or" in phrase else "unclear wording")
    for place, word in enumerate(phrase):
        if word == "and" and not _joins_colours(phrase, place):
            return Unparsed("several objects")
    if any(word in _DETERMINERS for word in phrase[:-1]):
        return Unparsed("unclear wording")
    if not phrase or phrase in (["it"], ["them"]):
        return _Clause(match.action, None)
    head = phrase[-1]
    if any(word in _PRONOUNS for word in phrase) or head in _COLOURS_ONLY or head.isdigit() or head == "and":
        return Unparsed("no object")
    return _Clause(match.action, singular(head))


def _noun_phrase(words: list[str]) -> tuple[list[str], list[str]]:
    """The first noun phrase without the words around its nouns, and the words that follow it."""
    while True:
        start = 0
        while start < len(words) and (
            (words[start] in _DETERMINERS and not (words[start] in _PRONOUNS and start + 1 == len(words)))
            or words[start].isdigit()
            or (start > 0 and words[start] == "of")
        ):
            start += 1
        end = start
        while end < len(words) and words[end] not in _PREPOSITIONS:
            end += 1
        if end > start and words[end - 1] in _QUANTITIES and words[end : end + 1] == ["of"]:
            words = words[end + 1 :]
            continue
        phrase, tail = words[start:end], words[end:]
        while len(phrase) > 1 and (phrase[-1] in _ADVERBS or _TURN.fullmatch(phrase[-1])):
            phrase = phrase[:-1]
        return phrase, tail


def _is_relative(words: list[str], place: int) -> bool:
    """Whether a relative clause starts here; "that" can also point ("open that drawer", "on that plate")."""
    if words[place] == "that" and (place < 2 or words[place - 1] in _PREPOSITIONS):
        return False
    return words[place] in _RELATIVE


def _plain_tail(tail: list[str]) -> bool:
    """Whether each "and" after the object joins two places, so that no second act with an unknown verb hides there."""
    for place, word in enumerate(tail):
        if word == "then":
            return False
        following = tail[place + 1] if place + 1 < len(tail) else ""
        if word == "and" and not (
            following in _DETERMINERS or "between" in tail[:place] or _joins_colours(tail, place)
        ):
            return False
    return True


def _joins_colours(words: list[str], place: int) -> bool:
    """Whether the "and" at `place` joins two colours of one thing: "the yellow and white mug"."""
    return 0 < place < len(words) - 2 and words[place - 1] in _COLOURS and words[place + 1] in _COLOURS


def singular(noun: str) -> str:
    """A noun in the singular, by the common endings and short lists of exceptions."""
    if noun in _SINGULAR:
        return _SINGULAR[noun]
    if len(noun) < 4 or noun in _KEEP_PLURAL or not noun.endswith("s") or noun.endswith(("ss", "us", "is")):
        return noun
    if noun.endswith("ies") and noun not in _IE_WORDS:
        return noun[:-3] + "y"
    if noun.endswith(("xes", "ches", "shes", "sses", "zzes")):
        return noun[:-2]
    if noun.endswith("oes") and noun not in _OE_WORDS:
        return noun[:-2]
    return noun[:-1]
