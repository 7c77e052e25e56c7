"""The readers of strangers' files on every case that once failed, on the examples, and on a few drawn ones."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.__main__ import run, warm_up
from fuzz.case import Finding, Target, check
from fuzz.edits import drawn
from fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[1]
SLOW = {"data_set", "header", "recipe", "flag", "weights", "weights_index", "wide_table"}  # tens of milliseconds a case


@pytest.fixture(autouse=True, scope="module")
def no_cache_files():
    """What is imported in the middle of a case would be compiled into a file outside its folder."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    yield
    sys.dont_write_bytecode = before


@pytest.mark.parametrize("name", TARGETS)
def test_no_case_finds_anything(name):
    target = TARGETS[name]
    warm_up(target)
    seeds = {**target.seeds(), **target.kept}
    assert any(check(target, data) for data in target.seeds().values())  # else it would test refusals only
    for data in target.kept.values():
        check(target, data)
    rng = random.Random(name)
    for _ in range(3 if name in SLOW else 15):
        check(target, drawn(rng, list(seeds.values()), target.tokens))


def bad_readers(folder):
    """Readers that do what none may do."""
    outside = folder / "outside"

    def several_lines(data, _):
        raise ValueError("one\ntwo")

    def nothing(data, _):
        raise ValueError("")

    def trace(data, _):
        raise KeyError("x")

    def writes(data, _):
        outside.write_bytes(b"x")

    def removes(data, _):
        outside.unlink(missing_ok=True)

    def starts(data, _):
        subprocess.run(["true"])

    def unpickles(data, _):
        import pickle  # what this is about

        pickle.loads(b"cos\ngetpid\n(tR.")

    def hangs(data, _):
        while True:
            try:
                json.dumps(list(range(1000)))
            except Exception:
                pass

    def swallows(data, _):
        bytearray(2**33)

    return [several_lines, nothing, trace, writes, removes, starts, unpickles, hangs, swallows]


@pytest.mark.parametrize("number", range(9))
def test_what_no_reader_may_do_is_found(tmp_path, monkeypatch, number):
    monkeypatch.setattr("fuzz.case.SECONDS", 0.3)
    read = bad_readers(tmp_path)[number]
    with pytest.raises(Finding):
        check(Target("bad", read, (ValueError,), dict), b"")


@pytest.mark.parametrize("by_hypothesis", [0.0, 1.0])  # and by the plain way, which draws most of the cases
def test_what_is_found_is_made_small_kept_and_counted(tmp_path, capsys, monkeypatch, by_hypothesis):
    monkeypatch.setattr("fuzz.__main__.BY_HYPOTHESIS", by_hypothesis)

    def read(data, folder):
        if b"B" in data:
            raise KeyError("B")
        if b"C" in data:
            raise ValueError("There is a C.")

    target = Target("tiny", read, (ValueError,), lambda: {"a": b"AAAA"}, (b"B", b"C"), corpus=tmp_path)
    counts = run(target, 100, 1)
    assert counts["cases"] >= 100 and counts["found"] and counts["taken"] > 10
    assert all(b"B" in data for data in target.kept.values()) and "KeyError" in capsys.readouterr().out
    assert (b"B" in target.kept.values()) or not by_hypothesis


def test_the_committed_run_is_of_enough_cases_and_found_nothing_that_is_left():
    result = json.loads((ROOT / "benchmarks" / "results" / "safety" / "fuzz.json").read_text())
    counted = sum(count["cases"] for run in result["runs"] for count in run["targets"].values())
    assert result["cases"] == counted >= 200_000
    assert {name for run in result["runs"] for name in run["targets"]} == set(TARGETS)
    size = sum(path.stat().st_size for path in (ROOT / "fuzz" / "corpus").rglob("*") if path.is_file())
    assert size < 1_000_000
