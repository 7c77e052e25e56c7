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
    free = st.binary(max_size=64), st.lists(st.sampled_from([*tokens, b"\n"]), max_size=8).map(b"".join)
    # Strategies of their own each: `one_of` draws among those that differ.
    randoms = (st.randoms(use_true_random=False) for _ in range(6))
    return st.one_of(*free, *(rng.map(lambda drawing: drawn(drawing, seeds, tokens)) for rng in randoms))


def drawn(rng: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """A case by a random generator; a plain one is twenty times as fast, and Hypothesis's makes cases smaller."""
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
