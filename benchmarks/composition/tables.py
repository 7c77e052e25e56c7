"""The tables of docs/open_questions.md, from the JSON of all seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce
from typing import Any

import torch

from benchmarks.composition.measures import interval

READING = {"cls": "CLS token", "cls4": "CLS of four layers", "change": "change-weighted patches", "patch": "patches"}
_SORTS = {"one": "one object", "two": "two objects"}
Keep = Callable[[Mapping[str, Any]], bool]


def tables(found: Sequence[Mapping[str, Any]]) -> str:
    """All tables as Markdown, with a line above each that says what it is."""
    if not found:
        return "There are no results yet."
    parts = [
        f"(a) Parallelogram defect, mean over squares, seeds {', '.join(str(one['seed']) for one in found)}:",
        defect_table(found),
        "By changes, change-weighted patches, one object:",
        by_changes(found),
        "By object, change-weighted patches:",
        by_object(found),
        "(b) Exact set of two actions from the end points, in percent:",
        decoding_table(found),
        f"Pursuit minus the two largest logits, in points, where it is known that there are two: {differences(found)}",
        f"Where there may be one or two, of two: {differences(found, 'two, counted')}",
        f"And of one: {differences(found, 'one, counted')}",
        "(c) Pairs of actions that the upper bound was not trained on, one object, in percent:",
        held_out_table(found),
        "(d) Retrieval of the picture after, R@1 in percent among the three other states:",
        retrieval_table(found),
        "(e) The order of two actions, in percent:",
        order_table(found),
    ]
    return "\n\n".join(parts)


def defect_table(found: Sequence[Mapping[str, Any]]) -> str:
    """Defects by reading, of states and of the raw backbone."""
    ways = ("states", "states, unrelated", "backbone", "backbone, unrelated")
    rows = []
    for sort in _SORTS:
        for reading in found[0]["defects"]:
            for hard in (False, True) if sort == "one" else (False,):
                cells = [_cell(_squares(found, sort, _where("hard", hard), reading, way), 1, 2) for way in ways]
                rows.append([_SORTS[sort] + (", one hides the other" * hard), READING[reading], *cells])
    return _table(["squares", "reading", "δ", "δ, unrelated steps", "backbone", "backbone, unrelated steps"], rows)


def by_changes(found: Sequence[Mapping[str, Any]]) -> str:
    """Defects of δ and of the backbone for each pair of changes."""
    return _grouped(found, lambda square: " + ".join(sorted({_change(act) for act in square["acts"]})), "changes")


def by_object(found: Sequence[Mapping[str, Any]]) -> str:
    """Defects of δ and of the backbone for each kind with two changes."""
    return _grouped(found, lambda square: square["objects"][0], "object")


def _grouped(found: Sequence[Mapping[str, Any]], key: Callable[[Mapping[str, Any]], str], title: str) -> str:
    names = sorted({key(square) for one in found for square in one["squares"]["one"]})
    reading = "change" if "change" in found[0]["defects"] else next(iter(found[0]["defects"]))
    rows = []
    for name in names:
        values = [_squares(found, "one", _where(key, name), reading, way) for way in ("states", "backbone")]
        hard = [s["hard"] for one in found for s in one["squares"]["one"] if key(s) == name]
        note = "yes" if all(hard) else "no" if not any(hard) else "some"
        rows.append([name, str(len(values[0][0])), note, *(_cell(value, 1, 2) for value in values)])
    return _table([title, "squares", "hidden", "δ", "backbone"], rows)


def decoding_table(found: Sequence[Mapping[str, Any]]) -> str:
    """Exact-set accuracy by decoder: two known to be two, and of an unknown number."""
    rows = []
    for who, named in _decoders(found):
        cells = []
        for sort in _SORTS:
            for what in ("two", "two, counted", "one, counted"):
                hits = _hits(found, sort, _at(*who(sort), what), lambda s: not s["hard"])
                cells.append(_cell(hits, 100, 1))
        hits = _hits(found, "one", _at(*who("one"), "two"), lambda s: s["hard"])
        rows.append([named, *cells, _cell(hits, 100, 1)])
    heads = ["", *(f"{sort}: {what}" for sort in _SORTS.values() for what in ("two", "two of 1–2", "one of 1–2"))]
    return _table([*heads, "one hides the other: two"], rows)


def differences(found: Sequence[Mapping[str, Any]], what: str = "two") -> str:
    """What pursuit gains over the two largest logits, by reading, with its interval; paired by squares."""
    told = []
    for sort in _SORTS:
        for reading in found[0]["defects"]:
            values, groups = [], []
            for one in found:
                pursuit, logits = (one["decoding"][reading][sort][way][what] for way in ("pursuit", "logits"))
                for (square, a), (_, b) in zip(pursuit, logits, strict=True):
                    if not one["squares"][sort][square]["hard"]:
                        values.append(float(a - b))
                        groups.append((one["seed"], square))
            told.append(f"{_SORTS[sort]}, {READING[reading]} {_cell((values, groups), 100, 1, sign=True)}")
    return "; ".join(told) + "."


def held_out_table(found: Sequence[Mapping[str, Any]]) -> str:
    """The same decoders on the pairs of actions that were held out for the upper bound, and on the others."""
    rows = []
    for who, named in _decoders(found):
        cells = []
        for held in (True, False):
            values: tuple[list[float], list[Any]] = ([], [])
            for one in found:
                sets = {frozenset(pair) for pair in one["upper"]["held out"]}
                truth = one["truth"]
                for (square, hit), done in zip(_at(*who("one"), "two")(one), truth, strict=False):
                    if (frozenset(done) in sets) == held and not one["squares"]["one"][square]["hard"]:
                        values[0].append(float(hit))
                        values[1].append((one["seed"], square))
            cells.append(_cell(values, 100, 1))
        rows.append([named, *cells])
    return _table(["", "pairs held out (30 %)", "the other pairs"], rows)


def retrieval_table(found: Sequence[Mapping[str, Any]]) -> str:
    """R@1 by reading and way, for one action and two."""
    rows = []
    for reading in found[0]["retrieval"]:
        for number in ("one", "two"):
            cells = [
                _cell(
                    _hits(found, "one", _at("retrieval", reading, number, way), _seen),
                    100,
                    1,
                )
                for way in ("composed", "nearest object", "copy before")
            ]
            rows.append([READING[reading], {"one": "one action", "two": "two actions"}[number], *cells])
    return _table(["reading", "", "z + μ", "nearest object's δ", "copy before"], rows)


def order_table(found: Sequence[Mapping[str, Any]]) -> str:
    """Order from the end points and from the frame between."""
    rows = [
        [name, _cell(_hits(found, "one", _at("order", name), _seen), 100, 1)] for name in ("end points", "middle frame")
    ]
    return _table(["read from", "right"], rows)


def _seen(square: Mapping[str, Any]) -> bool:
    return not square["hard"]


def _decoders(found: Sequence[Mapping[str, Any]]) -> Iterable[tuple[Callable[[str], tuple[str, ...]], str]]:
    """For each decoder the keys of its answers on squares of a sort, and its name."""
    for reading in found[0]["defects"]:
        for way, name in (("pursuit", "pursuit on action means"), ("logits", "two largest logits")):
            yield partial(_decoded, reading, way), f"{name}, {READING[reading]}"
    for method in ("concatenation", "joint"):
        if method in found[0]["decoding"]:
            named = {"concatenation": "concatenation", "joint": "joint encoder"}[method]
            yield partial(_decoded, method, "logits"), f"{named}, two largest logits"
    for part in ("all pairs", "70 % of pairs") if "upper" in found[0] else ():
        yield partial(_bounded, part), f"trained on two actions, {part}"


def _decoded(reading: str, way: str, sort: str) -> tuple[str, ...]:
    return ("decoding", reading, sort, way)


def _bounded(part: str, sort: str) -> tuple[str, ...]:
    return ("upper", part) if sort == "one" else ("upper", "two objects")  # which it has no answers to


def _at(*keys: str) -> Callable[[Any], Any]:
    """Gives what lies under these keys of a result."""
    return lambda one: reduce(lambda value, key: value[key], keys, one)


def _where(name: str | Callable[[Mapping[str, Any]], str], value: object) -> Keep:
    """Keeps the squares with a value under a name, or by a function."""
    return lambda square: (square[name] if isinstance(name, str) else name(square)) == value


def _squares(found: Sequence[Mapping[str, Any]], sort: str, keep: Keep, reading: str, way: str) -> Any:
    values: list[float] = []
    groups: list[Any] = []
    for one in found:
        for k, (square, value) in enumerate(zip(one["squares"][sort], one["defects"][reading][sort][way], strict=True)):
            if keep(square):
                values.append(value)
                groups.append((one["seed"], k))
    return values, groups


def _hits(found: Sequence[Mapping[str, Any]], sort: str, pick: Callable[[Any], Any], keep: Keep) -> Any:
    values: list[float] = []
    groups: list[Any] = []
    for one in found:
        try:
            hits = pick(one)
        except KeyError:
            continue
        for square, hit in hits:
            if keep(one["squares"][sort][square]):
                values.append(float(hit))
                groups.append((one["seed"], square))
    return values, groups


def _cell(values: tuple[Sequence[float], Sequence[Any]], scale: float, digits: int, sign: bool = False) -> str:
    """The mean and half its 95 % interval, squares counted as draws; – without values."""
    if not values[0]:
        return "–"
    mean, half = interval(torch.tensor(values[0], dtype=torch.float64), values[1])
    return f"{scale * mean:{'+' if sign else ''}.{digits}f} ± {scale * half:.{digits}f}"


def _change(act: str) -> str:
    from data_scripts.rooms.objects import ACTION_EFFECTS

    return ACTION_EFFECTS[act][0]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
