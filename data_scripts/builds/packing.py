"""How a source travels to its worker: as JSON that says what every object is made of. Nothing is ever pickled.

    {"source": ["object", "data_scripts.rooms.units:RoomsSource", {"choice": [...], "_renderer": null}],
     "schema": "<the Arrow schema in Arrow's own format, base64>"}

Numbers, texts, true, false and null stand for themselves; everything else is a list that begins with its kind. An
object is its class, by name, and its attributes (those of `__getstate__`, where it has one); it is made again without
a call of anything but `object.__new__`. A function is its name. Neither may be of the standard library, so that a text
can name nothing that opens files or starts programs, and whatever else cannot be told in JSON is refused before a
worker is started.
"""

from __future__ import annotations

import base64
import json
import sys
import types
from array import array
from collections.abc import Callable, Mapping
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pyarrow as pa

    from data_scripts.builds.work_units import Source

_PLAIN = (bool, int, float, str, type(None))


class PackingError(ValueError):
    """An object cannot travel, or a text is none that `pack` wrote; the message says what is wrong."""


def pack_job(source: Source, schema: pa.Schema) -> bytes:
    """What a worker is sent: a source, and the Arrow schema of its features.

    Raises:
        PackingError: The source holds something that cannot travel; names its type.
    """
    text = base64.b64encode(schema.serialize().to_pybytes()).decode()
    return json.dumps({"source": pack(source), "schema": text}).encode()


def unpack_job(payload: bytes) -> tuple[Source, pa.Schema]:
    """The source and the schema of `pack_job`.

    Raises:
        PackingError: The payload is none.
    """
    import pyarrow as pa

    try:
        job = json.loads(payload)
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(job["schema"], validate=True)))
        return unpack(job["source"]), schema
    except (ValueError, TypeError, KeyError, OSError, RecursionError, pa.ArrowException) as error:
        if isinstance(error, PackingError):
            raise
        raise PackingError(f"What the worker was sent is no job ({type(error).__name__}: {error}).") from error


def pack(value: Any) -> Any:
    """A value as JSON knows it.

    Args:
        value: Of plain values, bytes, paths, fractions, integer arrays, lists, tuples, sets, mappings, module-level
            functions, and objects whose attributes are of these, in any depth. Two references to one object become two
            objects.

    Raises:
        PackingError: Names the type that is none of these.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        items = [pack(item) for item in (value if kind in (list, tuple) else sorted(value))]
        return [kind.__name__, items]
    if kind is dict:
        return ["dict", [[pack(key), pack(item)] for key, item in value.items()]]
    if kind is bytes:
        return ["bytes", base64.b64encode(value).decode()]
    if kind is array and value.typecode == "q":
        return ["array", base64.b64encode(value.tobytes()).decode()]
    if kind is Fraction:
        return ["fraction", str(value)]
    if isinstance(value, Path):
        return ["path", str(value)]
    if isinstance(value, types.FunctionType):
        return ["function", _name_of(value)]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return ["fields", _name_of(kind), [pack(item) for item in value]]
    if _is_plain_class(kind):
        read = getattr(value, "__getstate__", None)  # of every object from Python 3.11 on
        state = read() if read is not None else value.__dict__
        if not isinstance(state, dict | None):
            raise PackingError(f"{_name_of(kind)} has a state that is no dict, so it cannot be sent to a worker.")
        return ["object", _name_of(kind), [[name, pack(item)] for name, item in (state or {}).items()]]
    raise PackingError(
        f"A {kind.__module__}.{kind.__qualname__} cannot be sent to a worker; open or make it in the source's `build`."
    )


def unpack(text: Any) -> Any:
    """The value that `pack` told.

    Raises:
        PackingError: It is nothing that `pack` tells, or names a class or function that there is not.
    """
    if not isinstance(text, list):
        return text
    try:
        kind, *rest = text
        return _MAKERS[kind](*rest)
    except PackingError:
        raise
    except Exception as error:
        raise PackingError(f"A job holds {str(text)[:60]!r}, which is nothing that is packed.") from error


def _name_of(item: Any) -> str:
    """`module:name` of a class or function that can be found by it."""
    name = f"{item.__module__}:{item.__qualname__}"
    if _find(name) is not item:
        raise PackingError(f"{name} cannot be found by its name, so it cannot be sent to a worker; define it there.")
    return name


def _find(name: str) -> Any:
    module, _, path = name.partition(":")
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise PackingError(f"{name!r} is of the standard library, and cannot be sent to a worker.")
    try:
        found: Any = import_module(module)
        for part in path.split("."):
            found = vars(found)[part]
    except (ImportError, KeyError, TypeError, ValueError) as error:
        raise PackingError(f"There is no {name!r} in this process.") from error
    if getattr(found, "__module__", None) != module:
        raise PackingError(f"{name!r} is defined elsewhere, and is not looked up there.")
    return found


def _is_plain_class(kind: type) -> bool:
    """Whether instances are an attribute dict and nothing else: no exceptions, containers or slots."""
    return "__new__" not in {name for base in kind.__mro__[:-1] for name in vars(base)} and kind.__dictoffset__ != 0


def _object(name: str, state: list[tuple[str, Any]]) -> Any:
    kind = _find(name)
    if not (isinstance(kind, type) and _is_plain_class(kind)):
        raise PackingError(f"{name!r} is no class whose objects travel.")
    made: Any = object.__new__(kind)
    vars(made).update((attribute, unpack(item)) for attribute, item in state)
    return made


def _fields(name: str, items: list[Any]) -> Any:
    kind = _find(name)
    if not (isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")):
        raise PackingError(f"{name!r} is no tuple with named fields.")
    if len(items) != len(kind._fields):
        raise PackingError(f"{name!r} has {len(kind._fields)} fields, not {len(items)}.")
    return tuple.__new__(kind, map(unpack, items))


def _function(name: str) -> Any:
    found = _find(name)
    if not isinstance(found, types.FunctionType):
        raise PackingError(f"{name!r} is no function.")
    return found


def _all(items: list[Any]) -> list[Any]:
    return [unpack(item) for item in items]


_MAKERS: Mapping[str, Callable[..., Any]] = {
    "list": _all,
    "tuple": lambda items: tuple(_all(items)),
    "set": lambda items: set(_all(items)),
    "frozenset": lambda items: frozenset(_all(items)),
    "dict": lambda items: {unpack(key): unpack(value) for key, value in items},
    "bytes": lambda text: base64.b64decode(text, validate=True),
    "array": lambda text: array("q", base64.b64decode(text, validate=True)),
    "fraction": lambda text: Fraction(cast(str, text)),
    "path": lambda text: Path(text),
    "function": _function,
    "fields": _fields,
    "object": _object,
}
