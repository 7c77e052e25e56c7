"""Rules for the fields of a configuration: each states which values are allowed and how the error names them.

`huggingface_hub.dataclasses` has such rules too, but they would change what callers see: its errors do not inherit from
ValueError and span two lines, it rejects a wrong type before a field's own rule can word the error, and its generated
`__init__` takes no positional `backbone_config`.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .limits_cde import WIDEST


class Rule(NamedTuple):
    """What a value must be, as words that follow "must be", and as a test."""

    words: str
    holds: Callable[[Any], bool]


def one_of(*allowed: str) -> Rule:
    return Rule(f"one of {', '.join(map(repr, allowed))}", lambda value: value in allowed)


def whole(least: int, most: int | None = None) -> Rule:
    """A whole number in [least, most]; True and False are not numbers."""
    words = f"a whole number of at least {least}" + ("" if most is None else f" and at most {most}")
    upper = float("inf") if most is None else most
    return Rule(words, lambda value: _is_number(value, int) and least <= value <= upper)


def number(words: str, holds: Callable[[float], bool]) -> Rule:
    """A finite number for which `holds` is true."""
    return Rule(words, lambda value: _is_number(value, (int, float)) and math.isfinite(value) and holds(value))


def _is_number(value: object, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def or_none(rule: Rule) -> Rule:
    """The same rule for a field that may also be None."""
    return Rule(rule.words, lambda value: value is None or rule.holds(value))


NOT_NEGATIVE = number("a finite number of at least 0", lambda value: value >= 0)


def check_fields(owner: str, fields: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """Raises ValueError, naming the configuration `owner`, for the first field that breaks its rule."""
    for name, rule in rules.items():
        if not rule.holds(fields[name]):
            raise ValueError(f"{owner}.{name} must be {rule.words}, not {fields[name]!r}.")


def label_maps(owner: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Completes and checks any of `id2label`, `label2id` and `num_labels`, as a caller or a file gives them.

    Returns:
        Both maps; empty if neither was given.

    Raises:
        ValueError: They are not maps, contradict each other, skip an id or give two actions the same name.
    """
    id2label, label2id, count = given.get("id2label"), given.get("label2id"), given.get("num_labels")
    if count is not None:
        check_fields(owner, given, {"num_labels": whole(1, WIDEST)})
    if id2label is None and label2id is None:
        return {}
    right = "id2label must name every action once, {0: 'open', 1: 'close', ...}; dict(enumerate(names)) makes it"
    maps = [item for item in (id2label, label2id) if item is not None]
    if not all(isinstance(item, dict) for item in maps):
        raise ValueError(f"{owner}: {right}, not {maps[0]!r}.")
    try:
        names = {int(index): name for index, name in (id2label or {}).items()}
        ids = {name: int(index) for name, index in (label2id or {}).items()}
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{owner}: {right}; its ids must be whole numbers, not {id2label or label2id!r}.") from None
    names = names or {index: name for name, index in ids.items()}
    if sorted(names) != list(range(len(names))) or not names:
        raise ValueError(f"{owner}: {right}; the ids must be 0, 1, ... without a gap, not {sorted(names)}.")
    unnamed = [name for name in names.values() if not isinstance(name, str) or not name]
    if unnamed:
        raise ValueError(f"{owner}: {right}; a name must be text, not {unnamed[0]!r}.")
    twice = sorted(name for name, times in Counter(names.values()).items() if times > 1)
    if twice:
        raise ValueError(f"{owner}: {right}; {', '.join(map(repr, twice))} names more than one id.")
    own = {name: index for index, name in names.items()}
    if ids and ids != own:
        raise ValueError(
            f"{owner}.label2id {ids} is not the inverse of id2label {names}: leave label2id out, it follows from "
            "id2label."
        )
    if count is not None and count != len(names):
        raise ValueError(
            f"{owner}.num_labels={count} contradicts id2label, which names {len(names)} actions: leave num_labels "
            "out, it follows from id2label."
        )
    return {"id2label": names, "label2id": own}
