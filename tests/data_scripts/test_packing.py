"""What is sent to a worker: everything that sources hold arrives as it was, and nothing that runs code is taken."""

import functools
import json
import os
import threading
from array import array
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_scripts.builds.packing import PackingError, pack, pack_job, unpack, unpack_job
from data_scripts.rooms.pairs import Noise
from data_scripts.rooms.units import RoomsSource, Settings
from tests.data_scripts.fake_source import FakeSource, plain_schema

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
KEYS = PLAIN | st.tuples(st.integers(), st.text(max_size=3))
VALUES = st.recursive(
    PLAIN
    | st.binary(max_size=8)
    | st.fractions()
    | st.frozensets(st.integers(), max_size=4)
    | st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4).map(lambda items: array("q", items)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)


def sent(value: Any) -> Any:
    return unpack(json.loads(json.dumps(pack(value))))


@given(VALUES)
@settings(max_examples=60)
def test_values_arrive_as_they_were(value: Any) -> None:
    again = sent(value)
    assert again == value
    assert json.dumps(pack(again)) == json.dumps(pack(value))  # a tuple is no list, and True is not 1


def test_a_source_arrives_with_its_schema() -> None:
    choice = Settings("multi", 10, 64, 3, 5, Noise(camera_cm=1.5))
    source, schema = unpack_job(pack_job(RoomsSource(choice), plain_schema()))
    assert isinstance(source, RoomsSource) and source.choice == choice and source._renderer is None
    assert schema.equals(plain_schema(), check_metadata=True)
    assert sent(Path("a")) == Path("a") and sent(Fraction(1, 3)) == Fraction(1, 3)


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (threading.Lock(), "_thread.lock cannot be sent to a worker; open or make it in the source's `build`"),
        (lambda: 0, "<lambda> cannot be|There is no .*<lambda>"),
        (functools.partial(print), "functools.partial cannot be sent"),
        (os.system, "cannot be sent"),
        (os.path.join, "'posixpath:join' is of the standard library"),
        (ValueError("x"), "cannot be sent"),
    ],
)
def test_what_cannot_travel_is_named_before_a_worker_starts(tmp_path: Path, held: Any, said: str) -> None:
    source = FakeSource(tmp_path)
    source.held = held  # type: ignore[attr-defined]
    with pytest.raises(PackingError, match=said):
        pack_job(source, plain_schema())


@pytest.mark.parametrize(
    "text",
    [
        ["function", "os:system"],
        ["function", "data_scripts.builds.workers:os.system"],
        ["function", "data_scripts.builds.workers:encode_shard"],  # defined elsewhere
        ["object", "subprocess:Popen", [["args", "touch mark"]]],
        ["object", "data_scripts.builds.packing:pack", []],
        ["object", "data_scripts.builds.packing:PackingError", []],
        ["object", "no.such.module:Name", []],
        ["fields", "data_scripts.rooms.units:Settings", []],
        ["fields", "data_scripts.rooms.units:RoomsSource", [1]],
        ["reduce", "os:mkdir", ["mark"]],
        ["dict", [[["list", []], 1]]],
        ["bytes", "no base64!"],
        ["array", "AAAA"],
        ["fraction", "1/0"],
        ["list"],
        [],
        {"source": 1},
    ],
)
def test_a_text_that_nothing_wrote_is_refused_and_runs_nothing(
    text: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    payload = json.dumps({"source": text, "schema": ""}).encode()
    with pytest.raises(PackingError):
        unpack_job(payload)
    if isinstance(text, list):
        with pytest.raises(PackingError):
            unpack(text)
    assert not list(tmp_path.iterdir())


def test_a_schema_of_another_program_is_refused() -> None:
    job = json.loads(pack_job(RoomsSource(Settings("multi", 1, 64, 0, 1)), plain_schema()))
    for schema in ("", "AAAA", job["schema"][:40], 7):
        with pytest.raises(PackingError, match="is no job"):
            unpack_job(json.dumps(job | {"schema": schema}).encode())
