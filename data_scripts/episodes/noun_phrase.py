"""The noun phrases of a clause: the head noun of its object, and whether the places after it are plainly places."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from data_scripts.episodes.nouns import ALIKE, FURNITURE, NOUNS
from data_scripts.episodes.words import (
    ADJECTIVES,
    ADVERBS,
    COLOURS,
    COLOURS_ONLY,
    CONTAINERS,
    DETERMINERS,
    INDEFINITE,
    NO_OBJECTS,
    NOUNS_IN_ED_ING,
    NOUNS_IN_LY,
    NUMBERS,
    POSITIONS,
    PREPOSITIONS,
    PRONOUNS,
    QUANTITIES,
    SIDES,
    STATES,
    TURN,
    UNITS,
)

_KEEP_PLURAL = frozenset(
    """scissors glasses tongs pliers shorts pants trousers jeans tweezers headphones chess lens gas canvas molasses
    clothes fries sunglasses goggles groceries""".split()
)
_SINGULAR = {"knives": "knife", "shelves": "shelf", "leaves": "leaf", "loaves": "loaf", "halves": "half"}
_IE_WORDS = frozenset("cookies brownies pies ties smoothies veggies hoodies".split())
_OE_WORDS = frozenset("shoes toes hoes canoes".split())
#: "All of the drawers".
COUNTED = frozenset("all both each some any several few many".split())
#: The head of a phrase that is a pronoun.
IT = "it"
#: Places without an article: "by hand", "sort the blocks by size".
_BARE = (["hand"], ["care"], ["size"], ["color"], ["colour"])
#: Words before the head that are neither nouns nor adjectives of the lists: "alphabet soup", "salad dressing bottle".
_MOST_UNKNOWN = 2


def head_noun(words: list[str], verbs: Collection[str]) -> tuple[str | None, list[str], str]:
    """The head of the first noun phrase in the singular, the words after the phrase, and why there is no head.

    The head is `IT` for a pronoun, and None for nothing with "" as the reason.
    """
    first, phrase, tail, unclear = _first_phrase(words)
    for place, word in enumerate(phrase):
        if word == "or" or (word == "and" and not joins_colours(phrase, place)):
            return None, tail, "several objects"
    if unclear or "then" in phrase or any(word in DETERMINERS for word in phrase[:-1]):
        return None, tail, "unclear wording"
    if not phrase or phrase in (["it"], ["them"]):
        return IT if phrase else None, tail, ""
    head = phrase[-1]
    if head in PRONOUNS or any(word in PRONOUNS - ADJECTIVES for word in phrase) or not _may_be_object(head):
        return None, tail, "no object"
    if phrase in (["piece"], ["pieces"]):  # of what?
        return None, tail, "no object"
    phrase = [word for word in phrase if word != "and"]
    coloured = head in COLOURS - {"light"} and len(phrase) > 1 and _is_noun(phrase[-2])  # "turn the lamp orange"
    if coloured or not _no_second_verb(phrase, first, verbs):
        return None, tail, "unclear wording"
    return (singular(head), tail, "") if _is_one_name(phrase, first) else (None, tail, "unknown object")


def _first_phrase(words: list[str]) -> tuple[bool, list[str], list[str], bool]:
    """Whether a determiner comes first; the phrase from there to the last noun; what follows; whether it is unclear.

    Unclear is a measure that may be the thing itself.
    """
    determined = indefinite = False
    while True:
        start = 0
        while start < len(words) and (
            (words[start] in DETERMINERS and not (words[start] in PRONOUNS and start + 1 == len(words)))
            or words[start].isdigit()
            or (words[start] == "of" and start > 0 and _counts(words[start - 1]))
        ):
            indefinite = words[start] in INDEFINITE or words[start].isdigit()
            determined = True
            start += 1
        end = start
        while end < len(words) and words[end] not in PREPOSITIONS:
            end += 1
        of = words[end : end + 1] == ["of"]
        if end > start and words[end - 1] in QUANTITIES | UNITS and of:
            words, determined = words[end + 1 :], True
            continue
        phrase = _without_adverbs(words[start:end])
        # "a cup of flour", "a sheet of paper"; but "a drawer of the cabinet".
        either = of and phrase != [] and (singular(phrase[-1]) in CONTAINERS or not _is_noun(phrase[-1]))
        return determined, phrase, words[end:], either and (indefinite or not determined)


def _counts(word: str) -> bool:
    return word in PRONOUNS | NUMBERS | COUNTED or word.isdigit()


def _without_adverbs(phrase: list[str]) -> list[str]:
    while len(phrase) > 1:
        if phrase[-1] in UNITS and (phrase[-2].isdigit() or phrase[-2] in NUMBERS):
            phrase = phrase[:-2]
        elif phrase[-1] in ADVERBS or TURN.fullmatch(phrase[-1]):
            phrase = phrase[:-1]
        else:
            break
    return phrase


def _may_be_object(word: str) -> bool:
    """Whether a word may be a head: no adverb, participle, state, direction, number, ..."""
    noun = _is_noun(word)
    return not (
        any(letter.isdigit() for letter in word)
        or len(word) == 1
        or word in COLOURS_ONLY | STATES | POSITIONS | ADVERBS | NO_OBJECTS | DETERMINERS
        or (word in ADJECTIVES | QUANTITIES and word not in COLOURS and not noun)
        or (word.endswith("ly") and not noun and word not in NOUNS_IN_LY)
        or (_is_participle(word) and not noun)
    )


def _is_participle(word: str) -> bool:
    return len(word) > 3 and word.endswith(("ing", "ed")) and word not in NOUNS_IN_ED_ING and not word.endswith("eed")


def _is_noun(word: str) -> bool:
    return word in NOUNS or singular(word) in NOUNS


def _no_second_verb(phrase: list[str], determined: bool, verbs: Collection[str]) -> bool:
    """Whether known verbs stand only as adjectives, "the open drawer", so that no second act hides in the phrase."""
    for place, word in enumerate(phrase):
        if word in verbs:
            described = phrase[place - 1] in ADJECTIVES - POSITIONS if place else determined
            if not described or place + 1 == len(phrase):
                return False
    return True


def _is_one_name(phrase: list[str], determined: bool) -> bool:
    """Whether the words are the name of one thing: adjectives, then nouns, or a word that an article makes a noun."""
    described = [word in ADJECTIVES or _is_participle(word) for word in phrase]
    if not _is_noun(phrase[-1]):
        near = difflib.get_close_matches(singular(phrase[-1]), NOUNS, n=1, cutoff=0.8)  # "drawre"
        return not near and all(described[:-1]) and (determined or len(phrase) > 1)
    if len(phrase) > 1 and any({singular(word) for word in phrase[-2:]} <= alike for alike in ALIKE):
        return False  # "apple banana"
    if phrase[-1] in FURNITURE and any(singular(word) in alike for word in phrase[-2:-1] for alike in ALIKE):
        return False  # "cup sink"
    if not (determined or described[0]) and sum(map(_is_noun, phrase)) > 2:
        return False  # "pick up broom mop floor"
    return _unknown_first(phrase, described)


def _unknown_first(name: list[str], described: list[bool]) -> bool:
    """Whether few unknown words precede the first noun, and none follows it."""
    first = next((i for i, word in enumerate(name) if _is_noun(word) and not described[i]), len(name))
    unknown = [word for word, known in zip(name[:first], described, strict=False) if not known]
    if any(word in ADVERBS - ADJECTIVES for word in name):
        return False  # "to the left again stop"
    return len(unknown) <= _MOST_UNKNOWN and all(_is_noun(word) for word in name[first:])


def plain_places(tail: list[str], verbs: Collection[str]) -> bool:
    """Whether the words after the object only say where, so that no second act hides there."""
    preposition, place = "", 0
    while place < len(tail):
        end = place
        while end < len(tail) and tail[end] not in PREPOSITIONS and tail[end] not in ("and", "or"):
            end += 1
        if not _is_place(preposition, tail[place:end], verbs):
            return False
        if end < len(tail):
            preposition = tail[end]
            joined = preposition == "and"
            if joined and not (joins_colours(tail, end) or tail[:end].count("between") > tail[:end].count("and")):
                return False
        place = end + 1
    return True


def _is_place(preposition: str, words: list[str], verbs: Collection[str]) -> bool:
    if preposition == "by" and words[:1] and _is_participle(words[0]):
        words = words[1:]  # "by rotating the lock"
    start = 0
    while start < len(words) and words[start] in DETERMINERS:
        start += 1
    name = words[start:]
    if any(word in DETERMINERS for word in name[:-1]) or "then" in name:
        return False  # "on the table get the fork"
    if any(word in PRONOUNS - ADJECTIVES for word in name[:-1]) or (name and start > 1 and words[start - 1] == "one"):
        return False  # "by pushing it get"
    if not _no_second_verb([*name, ""], start > 0, verbs):  # the last may be a verb: "from the stack"
        return False
    while name and (name[-1] in ADVERBS | POSITIONS | SIDES | UNITS or TURN.fullmatch(name[-1])):
        name = name[:-1]
    if not name:
        return True
    described = [_describes(word) for word in name]
    if not (start or described[0] or _is_noun(name[0]) or name in _BARE):
        return False  # "to reveal", "or wave"
    if not _is_noun(name[-1]) and (name[-1] in STATES or _is_participle(name[-1])):
        return False  # "to the right opened"
    if any(map(_is_noun, name)):
        return _unknown_first(name, described)
    # One word that nobody knows, but not after "the left", where a second act may start.
    return described.count(False) <= 1 and (len(name) == 1 or POSITIONS.isdisjoint(name))


def starts_name(words: list[str]) -> bool:
    """Whether the first word is one that a name starts with."""
    return bool(words) and (words[0] in DETERMINERS or _describes(words[0]) or _is_noun(words[0]))


def _describes(word: str) -> bool:
    return word in ADJECTIVES | PRONOUNS or word.isdigit() or _is_participle(word)


def joins_colours(words: list[str], place: int) -> bool:
    """Whether the "and" at `place` joins two colours of one thing: "the yellow and white mug"."""
    return 0 < place < len(words) - 2 and words[place - 1] in COLOURS and words[place + 1] in COLOURS


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
