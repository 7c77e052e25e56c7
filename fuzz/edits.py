"""How cases are drawn: examples with a few edits, which Hypothesis draws, and takes away where they are not needed."""

import copy
import json
import random
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

#: Values that a JSON or YAML text may hold where no one expects them.
ODD = (
    None, True, False, 0, -1, 1, 3.5, 1e308, float("nan"), float("inf"), -(10**30), 2**63, "", " ", "0", "-1", "nan",
    "a\nb", "a\n---\nb: c", "\x00", "\x85", "\u2028", "\ud800", "é🙂", "<script>alert(1)</script>",
    "<img src=x onerror=y>",
    "](javascript:alert(1))", "![x](http://192.0.2.1/x.png)", "`", "```\n<b>", "|", "{{ 7 * 7 }}", "{% raw %}", "%s{0}",
    "../../etc/passwd", "/etc/passwd", "C:\\x", "$(touch x)", "'; rm -rf x #", "!!python/object:os.system", "&a *a",
    "x" * 300, [], [[]], {}, {"": ""}, [None], {"a": {"a": {}}}, ["<script>"], {"<b>": 1},
)  # fmt: skip

_KINDS = "put put over over cut twice end swap".split()
_NUMBERS = [struct.pack(form, value) for form in ("<I", ">I", "<H") for value in (0, 1, 255, 2**15, 2**16 - 1)]


def cases(seeds: Sequence[bytes], tokens: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Cases made of examples.

    Args:
        seeds: the examples, at least one.
        tokens: what edits put in, besides bytes.
    """
    texts = [seed for seed in seeds if _json(seed) is not None]

    def edited() -> st.SearchStrategy[bytes]:
        return st.builds(_edited, st.sampled_from(list(seeds)), st.lists(_edit(tokens), max_size=6))

    def changed() -> st.SearchStrategy[bytes]:
        kinds = st.sampled_from("set drop key add".split())
        change = st.tuples(st.integers(0, 10**6), st.integers(0, len(ODD) - 1), kinds)
        return st.builds(_changed, st.sampled_from(texts), st.lists(change, min_size=1, max_size=4))

    free = st.binary(max_size=64), st.lists(st.sampled_from([*tokens, b"\n"]), max_size=8).map(b"".join)
    # Strategies of their own each: `one_of` draws among those that differ.
    if texts:
        return st.one_of(*(changed() for _ in range(8)), edited(), free[0])
    return st.one_of(*(edited() for _ in range(6)), *free)


def drawn(rng: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """A case of the same kind, drawn plainly: twenty times as fast, and nothing makes it smaller."""
    seed = rng.choice(seeds)
    if _json(seed) is not None and rng.random() < 0.8:
        kinds = "set drop key add".split()
        changes = [(rng.randrange(10**6), rng.randrange(len(ODD)), rng.choice(kinds)) for _ in range(rng.randint(1, 4))]
        return _changed(seed, changes)
    content = [*tokens, *_NUMBERS, b"\x00", b"\xff"]
    edits = []
    for _ in range(rng.randint(0, 6)):
        bytes_ = rng.choice(content) if content and rng.random() < 0.6 else rng.randbytes(rng.randint(1, 4))
        edits.append((rng.choice(_KINDS), rng.randrange(10_001), rng.randint(1, 64), bytes_))
    return _edited(seed, edits)


def _edit(tokens: Sequence[bytes]) -> st.SearchStrategy[tuple[str, int, int, bytes]]:
    """(kind, place in ten-thousandths, length, bytes)."""
    content = st.binary(min_size=1, max_size=4) | st.sampled_from([*tokens, *_NUMBERS, b"\x00", b"\xff"])
    return st.tuples(st.sampled_from(_KINDS), st.integers(0, 10_000), st.integers(1, 64), content)


def _edited(seed: bytes, edits: Sequence[tuple[str, int, int, bytes]]) -> bytes:
    data = seed
    for kind, share, length, content in edits:
        place = len(data) * share // 10_000
        before, part, after = data[:place], data[place : place + length], data[place + length :]
        if kind == "put":
            data = before + content + part + after
        elif kind == "over":
            data = before + content + data[place + len(content) :]
        elif kind == "cut":
            data = before + after
        elif kind == "twice":
            data = before + part * 2 + after
        elif kind == "end":
            data = before
        else:
            data = before + after + part
    return data


def _json(seed: bytes) -> Any:
    """The JSON object or list that an example is, or None."""
    try:
        found = json.loads(seed)
    except (ValueError, UnicodeDecodeError):
        return None
    return found if isinstance(found, (dict, list)) else None


def _changed(seed: bytes, changes: Sequence[tuple[int, int, str]]) -> bytes:
    root = _json(seed)
    for number, odd, kind in changes:
        places = list(_places(root))
        if not places:
            break
        holder, key = places[number % len(places)]
        if kind == "drop":
            del holder[key]
        elif kind == "set" or isinstance(holder, list):
            holder[key] = copy.deepcopy(ODD[odd])
        elif kind == "key":
            holder[str(ODD[odd])] = holder.pop(key)
        else:
            holder[str(ODD[odd])] = copy.deepcopy(ODD[(odd + number) % len(ODD)])
    return json.dumps(root).encode()


def _places(value: Any) -> Any:
    """(container, key) of everything within a JSON value."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _places(item)
