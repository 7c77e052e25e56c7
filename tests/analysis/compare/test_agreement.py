"""Every way in which runs differ beside method, setting and seed becomes a sentence; runs that agree get none."""

import pytest

from modeling_cde.analysis.compare.agreement import describe_machine, disagreements, provenance, varying_arguments
from modeling_cde.analysis.results import from_record
from tests.analysis.synthetic_results import record


def results(*records):
    return [from_record(one, one["run"]) for one in records]


def training(seed=0, **arguments):
    return {"arguments": {"seed": seed, "output_dir": f"runs/{seed}", "learning_rate": 0.001, **arguments}}


def test_runs_that_agree_give_no_sentence():
    grid = [record("cde", seed, setting={"temperature": value}) for seed in (0, 1) for value in (0.1, 0.2)]
    assert disagreements(results(*grid, record("concatenation", 0), record("concatenation", 1))) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"manifests": {"single_comp": "c" * 64}}, "Not the same pairs"),
        ({"manifests": {}}, "No split manifest is recorded for other"),
        ({"commit": "fedcba9"}, "commit is not the same for all runs. abc1234: cde-both-seed0; fedcba9: other"),
        ({"machine": {"cpu": "a processor", "cores": 2, "device": "NVIDIA H100"}}, "NVIDIA H100: other"),
        ({"training": training(1, learning_rate=0.01)}, "differ in learning_rate"),
        ({"uncommitted": ["train.py"]}, "uncommitted changes (train.py): other"),
        ({"geometry_problem": "ValueError: no deltas"}, "other has no geometry: ValueError: no deltas."),
        ({"training": training(1) | {"pairs_used_twice": {"test_comp": 7}}}, "7 of test_comp"),
    ],
)
def test_each_difference_is_said(changes, said):
    first = record("cde", 0, training=training(0))
    other = {**record("cde", 1, training=training(1)), "run": "other", **changes}
    assert any(said in sentence for sentence in disagreements(results(first, other)))


def test_another_number_of_tested_pairs_is_not_the_same_pairs():
    other = record("icm", 0)
    other["selected"]["splits"]["test_syst"]["n"] = 50
    assert any("Not the same pairs" in sentence for sentence in disagreements(results(record(), other)))


def test_splits_that_belong_to_the_seed_or_the_setting_are_no_mistake():
    """split_seeds: by_seed gives each seed its own split; a grid over noise gives each level its own pairs."""
    by_seed = [record("cde", seed, split_seed=seed, manifests={"single_comp": str(seed)}) for seed in (1, 2)]
    assert disagreements(results(*by_seed)) == []
    noise = [record("cde", 0, setting={"camera": level}, manifests={"single_comp": str(level)}) for level in (0, 5)]
    (sentence,) = disagreements(results(*noise))
    assert "different settings were tested on different pairs" in sentence


def test_a_checkpoint_that_a_test_split_chose_is_the_first_thing_said():
    wrong = record("cde", 1)
    wrong["selected"]["criterion"] = "eval_test_comp_accuracy"
    found = disagreements(results(record("cde", 0), wrong))
    assert found[0] == "Chosen by a test split, so the scores are not valid: cde-both-seed1."
    assert any("criterion of selection is not the same" in sentence for sentence in found)


def test_arguments_in_which_runs_vary():
    runs = results(record("cde", 0, training=training(0, weight=2.0)), record("icm", 1, training=training(1)))
    assert varying_arguments(runs) == {"weight": ["2", "–"]}


def test_where_the_numbers_come_from():
    text = provenance(results(record("cde", 0), record("cde", 1, date="2026-11-23", minutes=56.0)))
    assert text == (
        "2 runs of 2026-11-22 to 2026-11-23 (1.0 hours of training and testing); hardware: a processor, 2 cores; "
        "commit: abc1234; data: data/rooms."
    )


@pytest.mark.parametrize(
    ("machine", "text"),
    [
        ({"cpu": "x", "cores": 16, "device": "NVIDIA H100"}, "x, 16 cores, NVIDIA H100"),
        ("x86_64", "x86_64"),
        (None, "not recorded"),
        ({}, "not recorded"),
    ],
)
def test_machines_in_words(machine, text):
    assert describe_machine(machine) == text
