"""Results are read from JSONs, run folders and kept metrics, and what is wrong with a file is said in one sentence."""

import hashlib
import json
from pathlib import Path

import pytest

from modeling_cde.analysis.results import load_results, setting_value
from tests.analysis.synthetic_results import entry, record, write

ROOT = Path(__file__).parents[2]


def metrics(method="cde", seed=0, accuracy=0.5, **arguments):
    """A metrics.json of train.py."""
    return {
        "splits": {"test": entry(accuracy), "test_comp": entry(accuracy - 0.2)},
        "gap": {"test_comp": 0.2},
        "environment": {"device": "CPU", "cores": 2},
        "training": {
            "command": "accelerate launch train.py",
            "data": "data/rooms",
            "arguments": {"method": method, "seed": seed, "view": "single", "shift": "both", **arguments},
            "minutes": 5.0,
        },
    }


def test_a_result_is_read_whole(tmp_path):
    write(tmp_path, record("icm", 2, 0.75, 0.625, setting={"temperature": 0.1}, geometry={"splits": {}}))
    (result,) = load_results(tmp_path)
    assert (result.method, result.seed, result.split_seed, result.title) == ("icm", 2, 0, "title of icm")
    assert result.setting == {"temperature": 0.1} and result.geometry == {"splits": {}}
    assert result.selected.epoch == 7.0 and result.last.epoch == 8.0
    assert result.value("test", "selected") == 0.75 and result.value("test", "last") == 0.625
    assert result.value("test", "selected", "macro_accuracy") == 0.375
    assert result.value("test_comp", "selected", "gap") == pytest.approx(0.1)
    assert result.value("test", "selected", "gap") is None and result.value("absent", "selected") is None
    assert result.value("test", "selected", "opposite_error_share") is None  # null in the file
    assert result.pairs("test") == 200 and result.pairs("absent") is None


def test_the_order_is_that_of_methods_settings_as_numbers_and_seeds(tmp_path):
    records = [record("cde", seed, setting={"top_k": k}) for seed in (1, 0) for k in (16, 2)]
    others = [record(name, 0) for name in ("own", "cde_no_sparsity", "concatenation_states", "concatenation")]
    write(tmp_path, *records, *others)
    found = [(result.method, result.setting.get("top_k"), result.seed) for result in load_results(tmp_path)]
    cde = [("cde", k, seed) for k in (2, 16) for seed in (0, 1)]
    vanilla = [("concatenation", None, 0), ("concatenation_states", None, 0)]
    assert found == [*vanilla, *cde, ("cde_no_sparsity", None, 0), ("own", None, 0)]


def test_run_folders_of_train_are_results(tmp_path):
    run = tmp_path / "one"
    (run / "last").mkdir(parents=True)
    content = metrics(metric_for_best_model="eval_validation_cross_entropy")
    content["training"]["selected"] = {"step": 54, "epoch": 2.0, "criterion": "eval_validation_loss"}
    (run / "metrics.json").write_text(json.dumps(content))
    (run / "last" / "metrics.json").write_text(json.dumps(metrics(accuracy=0.25)))
    (run / "split_single_comp.json").write_text("{}")
    (run / "geometry.json").write_text('{"splits": {"test": {"n": 200}}}')
    for results in (load_results(run), load_results(tmp_path)):
        (result,) = results
        assert result.run == "one" and result.method == "cde" and result.title == "CDE"
        assert (result.selected.epoch, result.selected.step) == (2.0, 54)
        assert result.selected.criterion == "eval_validation_loss"
        assert result.value("test", "selected") == 0.5 and result.value("test", "last") == 0.25
        assert result.manifests == {"single_comp.json": hashlib.sha256(b"{}").hexdigest()}
        assert result.geometry["splits"]["test"] == {"n": 200}


def test_arguments_that_differ_among_runs_of_a_method_are_their_setting(tmp_path):
    """Otherwise two weights would be averaged as if they were two seeds."""
    for seed in (0, 1):
        for weight in (0.5, 2.0):
            text = json.dumps(metrics(seed=seed, contrastive_weight=weight, output_dir=f"runs/{seed}", epochs=3))
            (tmp_path / f"cde-{weight}-{seed}.json").write_text(text)
    text = json.dumps(metrics("concatenation", contrastive_weight=0.0, epochs=9))
    (tmp_path / "plain.json").write_text(text)
    settings = [dict(result.setting) for result in load_results(tmp_path)]
    assert settings == [{}, *[{"contrastive_weight": 0.5}] * 2, *[{"contrastive_weight": 2.0}] * 2]


def test_other_files_in_the_folder_are_no_results(tmp_path):
    write(tmp_path, record())
    (tmp_path / "plan.json").write_text('{"runs": 9}')
    assert len(load_results(tmp_path)) == 1


def broken(tmp_path, text):
    (tmp_path / "one.json").write_text(text)
    return tmp_path


def without(key):
    content = record()
    del content[key]
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (without("method"), r"one\.json has no entry 'method'"),
        (without("seed"), r"one\.json has no entry 'seed'"),
        (json.dumps(record(selected={})), "has no entry 'splits'"),
        (json.dumps(record(selected=None)), "not in the format of a result"),
        (json.dumps(record(seed="first")), r"one\.json is not in the format of a result"),
        (
            json.dumps(record(selected={"splits": {"test": {"accuracy": 93.0}}})),
            "accuracy on test is 93.0, which is not in",
        ),
        (json.dumps(record(accuracy=float("nan"))), "accuracy on validation is nan"),
        ('{"selected": ', "one.json.* JSON"),
        ("[1]", "JSON object"),
        ('{"splits": {"test": {"accuracy": 0.5}}}', "lacks training.arguments.method, training.arguments.seed"),
        ("{}", "no results found"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        load_results(broken(tmp_path, text))


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist: give a folder of results"):
        load_results(tmp_path / "nowhere")


def test_two_results_of_one_seed_are_refused(tmp_path):
    write(tmp_path / "a", record())
    write(tmp_path / "b", record(run="again"))
    with pytest.raises(ValueError, match="cde-both-seed0 and again are both cde with seed 0"):
        load_results(tmp_path / "a", tmp_path / "b")


def test_the_kept_results_of_the_repository_load():
    results = load_results(ROOT / "benchmarks/results/rooms")
    assert {result.method for result in results} == {"cde", "difference", "concatenation"}
    assert all(not result.setting and result.last is not None for result in results)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.1, "0.1"), (2.0, "2"), (10, "10"), (True, "true"), ("dino", "dino"), ({"a": 1}, '{"a": 1}')]
)
def test_values_of_settings_as_text(value, shown):
    assert setting_value(value) == shown
