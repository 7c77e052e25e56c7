"""A robot's instruction, "pick up the book and place it in the caddy", read as an action and an object by rule.

The rule, in full:

1. Lower case, without accents; blanks, underscores and hyphens separate words; a new line and any other mark but quotes
   end a clause. A leading scene name of LIBERO ("KITCHEN_SCENE3_") and politeness ("please", "can you", ...) go.
2. Clauses also start at "and" or "then" before a known verb, and at a known verb before "it" or "them". After a comma
   a place continues the clause: "to the left, beside the cloth".
3. A clause starts with the longest phrase of `verbs.VerbTable`, which gives the action. A particle or a state behind
   the object belongs to the verb: "turn the stove on", "push the drawer closed" (close).
4. The object is the head noun of the first noun phrase after it: words up to a preposition, a relative word or the
   end, without leading articles, numbers and quantities ("a piece of"), without trailing adverbs ("upright", "twice");
   of these the last, in the singular ("the middle drawer of the cabinet" -> drawer, "both moka pots" -> pot). It is a
   known noun, or a word that an article or an adjective before it makes one ("the zebra").
5. "Pick up X and put it in Y" and "grasp X and rotate it" are one act, that of the second clause on X, as the last
   picture shows it. Clauses that say the same about the same object also count as one.

What the rule does not cover is not guessed but returned as `Unparsed` with one of `REASONS`. It covers no sentence with
a remark ("open the drawer (failed)"), a negation or restriction ("not", "except", "almost"), a state, direction,
adverb, participle or known verb in an object's place, two acts ("turn on the stove and put the pot on it"), two objects
("the soup and the sauce"), two kinds of places ("on the table in the pot": put_on or put_in?), or letters beyond Latin.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from data_scripts.episodes.clause import Clause, read_clause
from data_scripts.episodes.noun_phrase import IT
from data_scripts.episodes.nouns import NOUNS
from data_scripts.episodes.verbs import FETCHING, LEAVING, PUTTING, TURNING, VerbTable
from data_scripts.episodes.words import BE, MARKS, PLACES, POLITE, PREPOSITIONS, RELATIVE, ROOMS

#: Why an instruction is not parsed; the keys of the counts in a build's report.
REASONS = (
    "no words",
    "no act",  # a mark such as "valid"
    "no known verb",
    "no object",
    "unknown object",
    "several objects",
    "several actions",
    "several places",
    "unclear wording",
    "remark",
    "not in Latin letters",
)

# Words that mean one preposition or adverb; "near" stands for any place that is neither in, on nor under.
_NEAR = ["in front", "in the middle", "in the center", "in the centre", "on the left", "on the right"]
_NEAR += ["on the left side", "on the right side"]
_COMPOUNDS = [
    (phrase.split(), meant)
    for phrase, meant in (
        ("on top of", "on"), ("on top", "on"), ("out of", "out"), ("off of", "off"), ("in to", "into"),
        ("on to", "onto"), ("over to", "to"), ("close to", "near"), ("in between", "between"),
        ("upside down", "upsidedown"), ("hot dog", "hotdog"), ("ice cream", "icecream"), ("all the way", "fully"),
        ("counter clockwise", "counterclockwise"), ("anti clockwise", "anticlockwise"),
        ("together with", "and"), ("along with", "and"), ("as well as", "and"), ("followed by", "and"), ("plus", "and"),
        *((f"{place} of", "near") for place in _NEAR),
    )
]  # fmt: skip
# "the bowl on the left" says which bowl, unless a noun follows ("on the left plate").
_WHERE = {
    "on": frozenset("left right middle center centre".split()),
    "in": frozenset("middle center centre".split()),
    "at": frozenset("left right back front middle center centre".split()),
}
_ENDS = PREPOSITIONS | RELATIVE | BE | {"and", "then", "or"}
_BRACKETS = frozenset("()[]{}<>")
_SEPARATORS = re.compile(r"[^\S\n\r]+|[_\"“”„«»]+|(?<=\w)[-\u2010](?=\w)")

#: A longer text is a story; this also bounds the time for hostile ones.
_MOST_WORDS = 60

BUILT_IN = VerbTable()


class Instruction(NamedTuple):
    """The action class and object class of an instruction, each of letters, digits, _ and - only."""

    action: str
    object: str


@dataclass(frozen=True)
class Unparsed:
    """An instruction that the rule does not cover; `reason` is one of `REASONS`."""

    reason: str


def parse_instruction(
    text: str, verbs: VerbTable | None = None, known: Mapping[str, Instruction] | None = None
) -> Instruction | Unparsed:
    """Read an instruction by the rule above; never raises for its content.

    `verbs` are the built-in phrases by default; `known` maps `normalized` text to a human's reading, which takes
    precedence.
    """
    key = normalized(text)
    if known and key in known:
        return known[key]
    verbs = verbs or BUILT_IN
    plain = _plain(text)
    if any(letter.isalnum() and not letter.isascii() for letter in plain):
        return Unparsed("not in Latin letters")
    said = [part.split() for part in re.split(r"[^a-z0-9 ]+", plain)]
    if not any(said):
        return Unparsed("no words")
    if all(word in MARKS for part in said for word in part):
        return Unparsed("no act")
    if _BRACKETS & set(plain):
        return Unparsed("remark")
    if sum(map(len, said)) > _MOST_WORDS:
        return Unparsed("unclear wording")
    parts = _parts(said, verbs)
    if len(parts) > 1 and any(part[0] not in verbs.first_words for part in parts):
        return Unparsed("remark")
    clauses = [clause for part in parts for clause in _clauses(part, verbs)]
    read = _read_all(clauses, verbs)
    if isinstance(read, Unparsed):
        return read
    first, last = read[0], read[-1]
    fetched = len(read) == 2 and first.action in FETCHING and last.action in LEAVING | TURNING and last.object == IT
    if len(set(read)) > 1 and not fetched:
        return Unparsed("several actions")
    if first.object in (None, IT):
        return Unparsed("no object")
    if first.object not in NOUNS and any(map(unicodedata.combining, unicodedata.normalize("NFD", text))):
        return Unparsed("unknown object")  # "the cajón"
    return Instruction(last.action, first.object)


def normalized(text: str) -> str:
    """What makes two instructions the same: letter case, blanks and a sentence's last marks do not matter.

    Letters and marks of every script stay, as they can tell instructions apart.
    """
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    lines = (" ".join(line.replace("_", " ").split()) for line in text.splitlines())
    return "\n".join(filter(None, lines)).rstrip(" .!?…。！？؟।")


def _plain(text: str) -> str:
    """Lower case without accents, apostrophes and invisible marks; one blank between words."""
    lines = "\n".join(text.lower().splitlines()).replace("%", " percent ")
    decomposed = unicodedata.normalize("NFKD", re.sub("['’‘ʼ`´]", "", lines))
    visible = "".join(letter for letter in decomposed if unicodedata.category(letter) not in ("Mn", "Cf"))
    return _SEPARATORS.sub(" ", visible)


def _parts(said: list[list[str]], verbs: VerbTable) -> list[list[str]]:
    """The sentence between its marks, without politeness; a place after a comma joins what is before it."""
    parts: list[list[str]] = []
    for part in said:
        words = _without_preamble(part, verbs)
        if words and parts and words[0] in PLACES:
            parts[-1] += words
        elif words:
            parts.append(words)
    return [_compounds(part) for part in parts]


def _without_preamble(words: list[str], verbs: VerbTable) -> list[str]:
    for place, word in enumerate(words[:4]):
        if re.fullmatch(r"scene\d+", word) and ROOMS.issuperset(words[:place]):
            words = words[place + 1 :]
            break
    while verbs.match(words) is None:  # "go to" may be a verb of the user's
        shorter = [words[len(phrase) :] for phrase in POLITE if words[: len(phrase)] == phrase]
        if not shorter:
            break
        words = min(shorter, key=len)
    return words


def _compounds(words: list[str]) -> list[str]:
    """The words with each compound preposition replaced by the one word that it means."""
    out: list[str] = []
    place = 0
    while place < len(words):
        found = [(len(pattern), meant) for pattern, meant in _COMPOUNDS if words[place:][: len(pattern)] == pattern]
        if not found and words[place] in _WHERE:
            skip = place + 1 + (words[place + 1 : place + 2] == ["the"])
            after = words[skip + 1 : skip + 2]
            if _WHERE[words[place]].intersection(words[skip : skip + 1]) and (not after or after[0] in _ENDS):
                found = [(skip + 1 - place, "near")]
        length, meant = max(found, default=(1, words[place]))
        out.append(meant)
        place += length
    return out


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


def _read_all(clauses: list[list[str]], verbs: VerbTable) -> list[Clause] | Unparsed:
    read: list[Clause] = []
    for clause in clauses:
        if read and read[-1].action in FETCHING and clause[0] in PUTTING and set(clause[1:2]) & PLACES:
            clause = [clause[0], IT, *clause[1:]]  # "pick up the cup and place on the table"
        answer = read_clause(clause, verbs)
        if isinstance(answer, str):
            return Unparsed(answer if len(clauses) == 1 else "several actions")
        read.append(answer)
    return read or Unparsed("no known verb")
