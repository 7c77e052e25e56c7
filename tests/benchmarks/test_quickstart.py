"""README's table is what the kept results give."""

import json
from pathlib import Path

from benchmarks.quickstart import METHODS, command, load, mean_and_spread, table

ROOT = Path(__file__).parents[2]


def test_mean_and_sample_deviation_by_hand():
    assert mean_and_spread([0.5, 0.7, 0.9]) == "70.0 ± 20.0"
    assert mean_and_spread([0.5]) == "50.0 ± 0.0"


def test_the_table_in_readme_comes_from_the_kept_results():
    results = load()
    assert set(results) == set(METHODS) and all(len(runs) >= 3 for runs in results.values())
    assert table(results) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_each_result_was_made_by_the_command_that_it_names():
    for method, runs in load().items():
        for seed, run in enumerate(runs):
            assert run["training"]["command"] == " ".join(command(method, seed))


def test_load_keeps_the_order_of_the_seeds(tmp_path):
    for seed in (1, 0):
        (tmp_path / f"cde-seed{seed}.json").write_text(json.dumps({"seed": seed}))
    assert load(tmp_path) == {"cde": [{"seed": 0}, {"seed": 1}]}
