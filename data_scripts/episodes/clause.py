"""The action and object of one clause of an instruction."""

from __future__ import annotations

from typing import NamedTuple

from data_scripts.episodes.noun_phrase import head_noun, plain_places, singular, starts_name
from data_scripts.episodes.nouns import FURNITURE, NOUNS
from data_scripts.episodes.verbs import DIRECTIONS, LEAVING, MOTION, TURNING, VerbMatch, VerbTable, stands_alone
from data_scripts.episodes.words import (
    BE,
    BLOCKERS,
    DETERMINERS,
    LYING,
    PREPOSITIONS,
    RELATIVE,
    STATES,
)

# "In a row", "on its side": nothing is put into or onto these.
_NOT_IN = frozenset(
    """row rows line lines piles circle column columns order group groups pair pairs air place position way corner hand
    hands shape""".split()
)
_NOT_ON = frozenset("side sides".split())
_DEVICES = frozenset("oven stove burner heater thermostat fan light lamp led television tv radio speaker".split())


class Clause(NamedTuple):
    """What a clause says."""

    action: str
    object: str | None  # `IT` for a pronoun, None for nothing


def read_clause(clause: list[str], verbs: VerbTable) -> Clause | str:
    """The action and object of a clause, or why it is not read."""
    # What follows "which" describes a thing, not the act.
    end = next((place for place in range(len(clause)) if _is_relative(clause, place)), len(clause))
    match = verbs.match(clause[:end])
    if match is None:
        return "no known verb"
    if match.action is None:
        return "several places"
    words = clause[match.words : end]
    if match.particle is not None:
        del words[match.particle - match.words]
    if match.words > 1 and clause[match.words - 1] in STATES and DETERMINERS.isdisjoint(words[:1]):
        return "unclear wording"  # "push open drawer": which is open, or is to be opened?
    if match.action in MOTION | TURNING and words[:1] in (["left"], ["right"]) and set(words[1:2]) & DETERMINERS:
        words = words[1:]  # "push right the block"
    noun, tail, reason = head_noun(words, verbs.words)
    if reason in ("several objects", "no object"):
        return reason
    if (
        not BLOCKERS.isdisjoint(clause[match.words :])
        or not BE.isdisjoint(clause[:end])
        or reason == "unclear wording"
        or not plain_places(tail, verbs.words)
        or not _complete(match.action, match.gapped, tail)
        or _splits(clause[0], tail, verbs)
        or not _plain_relative(clause, end, match, verbs)
        or _ambiguous(match, words, noun, tail)
    ):
        return "unclear wording"
    return reason if reason else Clause(match.action, noun)


def _is_relative(words: list[str], place: int) -> bool:
    """Whether a relative clause starts here; "that" can also point ("open that drawer", "on that plate")."""
    if words[place] == "that" and (place < 2 or words[place - 1] in PREPOSITIONS):
        return False
    if words[place] in LYING:
        return singular(words[place - 1]) in NOUNS and not PREPOSITIONS.isdisjoint(words[place + 1 : place + 2])
    return words[place] in RELATIVE


def _complete(action: str, gapped: bool, tail: list[str]) -> bool:
    """Whether no particle is left over that gives the verb another meaning: "turn the volume down"."""
    for place, word in enumerate(tail):
        if word in PREPOSITIONS and word != "near" and stands_alone(tail, place):
            moved = word in DIRECTIONS and (action in MOTION or (gapped and action in LEAVING))
            turned = word == "around" and action in TURNING
            joined = place + 1 < len(tail) and word in ("from", "next", "of", "to", "at", "by", "for")
            placed = place + 1 == len(tail) and (gapped or tail[place - 1 : place] == ["from"])
            if not (moved or turned or joined or placed):
                return False
    return True


def _splits(verb: str, tail: list[str], verbs: VerbTable) -> bool:
    """Whether a particle of the verb stands where no place follows it: "turn the stove off quick"."""
    for place, word in enumerate(tail):
        followed = stands_alone(tail, place) or starts_name(tail[place + 1 : place + 2])
        if f"{verb} {word}" in verbs.phrases and not followed:
            return True
    return False


def _plain_relative(clause: list[str], end: int, match: VerbMatch, verbs: VerbTable) -> bool:
    """Whether a relative clause leaves the act as it is: "put the pot which is on the stove in the sink" is put_in."""
    rest = clause[end + 1 :]
    if not rest:
        return True
    if rest[-1] in PREPOSITIONS or not {"and", "or", "then"}.isdisjoint(rest):
        return False
    if not match.gapped and not verbs.gaps(clause).isdisjoint(rest):
        return False
    # "that is on the table", "that is red": what is longer before the place may be a second act.
    lead = next((place for place, word in enumerate(rest) if word in PREPOSITIONS), len(rest))
    return lead <= 2 and DETERMINERS.isdisjoint(rest[:lead]) and plain_places(rest[lead:], verbs.words)


def _ambiguous(match: VerbMatch, words: list[str], noun: str | None, tail: list[str]) -> bool:
    """Whether another thing than the first noun may be meant, another act, or none."""
    action, beside = match.action or "", set(tail)
    if action in ("open", "close", "turnon", "turnoff"):
        # Nobody opens a handle, and "turn off the light switch on the lamp" may be two acts.
        return noun in ("handle", "knob", "button", "dial") or (noun == "switch" and tail[:1] in (["on"], ["off"]))
    if action in ("take_off", "take_out"):  # "take off the shelf"
        return noun in FURNITURE
    if action == "take":
        return noun in ("picture", "photo")
    if action in ("dirty", "empty"):  # "empty cup"
        return DETERMINERS.isdisjoint(words[:1])
    if action == "turn":  # "turn the oven to 200 degrees"
        return noun in _DEVICES and tail[:1] == ["to"]
    if action == "pour":  # "a cup of water"
        return tail[:1] == ["of"]
    if action == "fill":  # "fill water in the cup"
        return not beside.isdisjoint(("in", "into", "inside"))
    return not beside.isdisjoint({"put_in": _NOT_IN, "put_on": _NOT_ON}.get(action, ()))
