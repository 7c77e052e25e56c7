"""Spread over seeds: which results are compared, what the finding says, and silence on steady ones."""

import json
import statistics
from pathlib import Path

import pytest

from modeling_cde.analysis.doctor import findings
from modeling_cde.analysis.doctor.diagnosis import examine_runs
from modeling_cde.analysis.doctor.seeds import as_result, group_by_seed

KEPT = Path(__file__).parents[3] / "benchmarks" / "results" / "rooms"


def result(seed, accuracy, method="cde", **more):
    splits = {"test": {"accuracy": accuracy}, "test_syst": {"accuracy": 0.5}}
    common = {"run": f"{method}-{seed}", "method": method, "title": "CDE", "setting": {}, "view": "single"}
    return common | {"shift": "both", "seed": seed, "selected": {"splits": splits}} | more


def test_a_wide_spread_is_found_and_a_narrow_one_is_not():
    wild = [result(seed, accuracy) for seed, accuracy in enumerate([0.9, 0.6, 0.75])]
    steady = [result(seed, accuracy, "icm") for seed, accuracy in enumerate([0.90, 0.91, 0.92])]
    (finding,) = examine_runs(wild + steady)
    assert finding.sign == findings.SEED_VARIANCE and finding.value == pytest.approx(statistics.stdev([0.9, 0.6, 0.75]))
    assert finding.sentence.startswith("CDE: over 3 seeds the accuracy in IID runs from 0.60 to 0.90")
    assert examine_runs([]) == examine_runs(steady) == examine_runs(wild[:2]) == []


@pytest.mark.parametrize("key", ["method", "setting", "view", "shift"])
def test_what_differs_in_more_than_the_seed_is_not_compared(key):
    runs = [
        result(seed, accuracy, **{key: {"k": seed} if key == "setting" else f"{key}-{seed}"})
        for seed, accuracy in enumerate([0.9, 0.6, 0.75])
    ]
    assert len(group_by_seed(runs)) == 3 and examine_runs(runs) == []


def test_the_sentence_names_the_setting_and_what_else_differs():
    runs = [
        result(seed, accuracy, setting={"temperature": 0.5}, split_seed=seed, commit="a")
        for seed, accuracy in enumerate([0.9, 0.6, 0.75])
    ]
    sentence = examine_runs(runs)[0].sentence
    assert sentence.startswith("CDE (temperature 0.5): over 3 seeds")
    assert sentence.endswith("(the runs differ in split_seed, too).")


def test_a_seed_counts_once_and_a_split_only_where_all_have_it():
    runs = [result(0, 0.9), result(0, 0.1), result(1, 0.9), result(2, 0.9)]
    assert examine_runs(runs) == []
    for run, accuracy in zip(runs, [0.1, 0.5, 0.9, 0.5], strict=True):
        run["selected"]["splits"]["test_comp"] = {"accuracy": accuracy}
    assert "OOD compositional" in examine_runs(runs)[0].sentence
    del runs[2]["selected"]["splits"]["test_comp"]
    assert examine_runs(runs) == []


def test_the_kept_results_vary_with_the_split_which_is_said():
    results = [json.loads(path.read_text()) for path in sorted(KEPT.glob("*.json"))]
    groups = group_by_seed(results)
    assert [sorted(group) for group in groups] == [[0, 1, 2]] * 3
    findings = examine_runs(results)
    assert [finding.sign for finding in findings] == ["seed variance"] * 3
    assert all("the runs differ in split_seed, too" in finding.sentence for finding in findings)


def test_other_json_is_refused():
    with pytest.raises(ValueError, match="neither a benchmark's result nor a metrics.json"):
        as_result({"splits": {}})
