"""Workers: whatever a source does to its process, an outcome comes back and no process survives."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_scripts.builds.work_units import Outcome
from data_scripts.builds.worker import Worker, pack_source, sentence
from data_scripts.rooms.pairs import Noise
from data_scripts.rooms.units import RoomsSource, Settings
from modeling_cde.data.building.shards import encode_shard
from tests.data_scripts.fake_source import FakeSource, ModulesSource, TrapSource, calls, plain_schema, sent, survivors


def worker(source: Any, retries: int = 1, unit_timeout: float | None = None) -> Worker:
    return Worker(pack_source(source, plain_schema()), retries, unit_timeout)


def build(source: FakeSource, unit: str = "unit-001", **options: Any) -> Outcome:
    building = worker(source, **options)
    try:
        return building.build(unit)
    finally:
        building.close()


def test_a_unit_comes_back_as_the_bytes_that_this_process_would_make(tmp_path: Path) -> None:
    source = FakeSource(tmp_path)
    building = worker(source)
    for unit in ("unit-003", "unit-001"):
        expected = source.build(unit)
        outcome = building.build(unit)
        assert outcome.shard == encode_shard(expected.rows, plain_schema())
        assert (outcome.rows, outcome.rejected, outcome.problems) == (3, expected.rejected, expected.problems)
        assert outcome.error is None and outcome.attempts == 1
    pids = {line.split()[1] for line in (tmp_path / "calls").read_text().splitlines()}
    building.close()
    assert len(pids) == 2  # this process and one worker
    assert (tmp_path / "closed").read_text().split()[0] in pids


def test_a_worker_answers_with_plain_texts_and_numbers(tmp_path: Path) -> None:
    outcome = build(TrapSource(tmp_path))
    assert outcome.error is None
    assert outcome.rejected == {str(tmp_path / "reason"): 2}
    assert outcome.problems == [str(tmp_path / "problem"), "lone \ud800"]
    assert {path.name for path in tmp_path.iterdir()} == {"closed"}


@given(st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_that_are_not_complete_are_refused(tmp_path: Path, data: st.DataObject) -> None:
    rows = FakeSource(tmp_path).build("unit-000").rows
    number = data.draw(st.integers(0, 2))
    name = data.draw(st.sampled_from(plain_schema().names))
    required = name in ("before", "after", "action", "object", "scene", "pair_id")
    kind = data.draw(st.sampled_from(["missing", "extra", *(["null"] if required else [])]))
    if kind == "missing":
        del rows[number][name]
    elif kind == "extra":
        rows[number][name := "colour"] = 1
    else:
        rows[number][name] = None
    with pytest.raises(ValueError, match=rf"Row {number} .*{name}"):
        encode_shard(rows, plain_schema())


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise", r"KeyError: 'unit-001 is broken' \(fake_source.py, line \d+\)"),
        ("die", "the worker was killed by SIGKILL, perhaps out of memory"),
        ("exit", "the worker ended with exit code 7"),
        ("quit", "the worker ended with exit code 0"),
        ("guard", r"the worker hung: it took more than 3 seconds \(unit_timeout\)"),
        ("hang", r"the worker hung: it took more than 3 seconds \(unit_timeout\)"),
        ("wrong", r"ValueError: Row 1 and the features differ in the columns action. \(shards.py, line \d+\)"),
    ],
)
def test_a_failing_unit_is_tried_again_and_then_named(tmp_path: Path, fault: str, said: str) -> None:
    import re

    outcome = build(
        FakeSource(tmp_path, faults={"unit-001": fault}), unit_timeout=3 if fault in ("hang", "guard") else None
    )
    assert outcome.error is not None and re.fullmatch(said, outcome.error)
    assert outcome.attempts == 2 and calls(tmp_path)["unit-001"] == 2 and not outcome.stop
    pids = {line.split()[1] for line in (tmp_path / "calls").read_text().splitlines()}
    assert len(pids) == 2  # a fresh process for the second try
    assert survivors(tmp_path) == [] == survivors(tmp_path, "calls")


@pytest.mark.parametrize("fault", ["raise once", "die once", "hang once"])
def test_a_second_try_gives_the_same_bytes(tmp_path: Path, fault: str) -> None:
    outcome = build(FakeSource(tmp_path, faults={"unit-001": fault}), unit_timeout=3 if "hang" in fault else None)
    assert outcome.attempts == 2
    assert outcome.shard == encode_shard(FakeSource(tmp_path).build("unit-001").rows, plain_schema())


def test_children_that_a_source_leaves_behind_end_with_the_build(tmp_path: Path) -> None:
    assert build(FakeSource(tmp_path, faults={"unit-001": "leak"})).error is None
    assert (tmp_path / "children").exists() and survivors(tmp_path) == []


def test_a_source_may_end_the_build(tmp_path: Path) -> None:
    outcome = build(FakeSource(tmp_path, faults={"unit-001": "stop"}))
    assert outcome.stop and outcome.error == "unit-001, row 2: the picture is missing (--strict)."
    assert outcome.attempts == 1


def test_a_source_that_a_worker_cannot_load_ends_the_build(tmp_path: Path) -> None:
    payload = pack_source(FakeSource(tmp_path), plain_schema())
    outcome = Worker(payload.replace(b"FakeSource", b"LostSource"), 3, None).build("unit-001")
    assert outcome.stop and (outcome.error or "").startswith("No worker can start: AttributeError: ")


@pytest.mark.parametrize(("held", "kind"), [(threading.Lock(), "_thread.lock"), (lambda: 0, "lambda")])
def test_a_source_that_cannot_be_sent_is_named_before_a_worker_starts(tmp_path: Path, held: Any, kind: str) -> None:
    source = FakeSource(tmp_path)
    source.held = held  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=f"^FakeSource cannot be sent to a worker process .*{kind}.*`build` instead"):
        pack_source(source, plain_schema())


def test_a_source_arrives_with_its_schema() -> None:
    choice = Settings("multi", 10, 64, 3, 5, Noise(camera_cm=1.5))
    source, schema = sent((RoomsSource(choice), plain_schema()))
    assert isinstance(source, RoomsSource) and source.choice == choice and source._renderer is None
    assert schema.equals(plain_schema(), check_metadata=True)


def test_stop_ends_a_build_from_another_thread(tmp_path: Path) -> None:
    building = worker(FakeSource(tmp_path, faults={"unit-001": "hang"}), retries=5)
    timer = threading.Timer(1.5, building.stop)
    timer.start()
    began = time.monotonic()
    assert building.build("unit-001").error is not None
    assert time.monotonic() - began < 10
    assert survivors(tmp_path) == [] == survivors(tmp_path, "calls")
    assert building.build("unit-002").error == "the build was stopped"


def test_a_worker_imports_nothing_slow_by_itself(tmp_path: Path) -> None:
    assert build(ModulesSource(tmp_path)).problems == []


def test_sentences_are_one_line() -> None:
    assert sentence(ValueError("one\n  two")) == "ValueError: one two"
    assert sentence(SystemExit()) == "SystemExit: no message"
