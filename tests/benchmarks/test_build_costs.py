from pathlib import Path

import pytest

from benchmarks.speed.build_costs import GIB, extrapolate, table
from benchmarks.speed.build_inputs import house_files, sample_pictures
from data_scripts.procthor.reader import HousesSource

MEASURED = {
    "name": "some build",
    "pairs": 1000,
    "measured_pairs": 10,
    "cpu_seconds": 36.0,
    "wall_seconds": 99.0,
    "listing_seconds": 3.6,
    "stored_bytes": GIB,
    "input_bytes": 7 * GIB,
    "peak_bytes": 5 * 2**20,
}


def test_the_whole_costs_in_proportion_to_what_was_measured():
    whole = extrapolate(MEASURED)
    assert whole["core_hours"] == pytest.approx(1.0) and whole["listing_hours"] == pytest.approx(0.1)
    assert whole["pairs_per_core_second"] == pytest.approx(10 / 36)
    assert whole["stored_bytes"] == 100 * GIB and whole["input_bytes"] == 7 * GIB


def test_table_says_that_the_simulator_was_not_measured():
    rows = [extrapolate(MEASURED)]
    text = table(rows, 4, None)
    assert "| some build | 1,000 | 0.3 | 0.10 | 1.0 | 0.25 | 7 GiB | 100.0 GiB | 5 MiB |" in text
    assert "not measured: no simulator" in text
    assert "139 h of one simulator at 2 s a pair, which was given, NOT measured" in table(rows, 4, 2.0)


def test_the_houses_that_are_measured_are_read_whole(tmp_path: Path):
    for name, content in house_files(sample_pictures(None)[:2], houses=2, pairs=2).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    source = HousesSource(tmp_path, "single", 64, strict=True, progress=False)
    rows = [row for unit in source.units() for row in source.build(unit).rows]
    assert len(rows) == 4 and all(row["mask_after"] for row in rows)
