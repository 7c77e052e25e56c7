"""Mechanisms held out, end to end: split beside the other shifts, trained, tested, and refused where none are named."""

import json
import shutil

import pytest
from huggingface_hub import ModelCard

from data_scripts import splits
from modeling_cde.analysis.delta_set import load_delta_sets
from modeling_cde.data.load_splits import load_shifts, load_tested
from modeling_cde.data.loading import UnknownConfigError
from modeling_cde.data.splits import SplitManifest
from modeling_cde.evaluation.__main__ import main as evaluate
from tests import small_runs
from tests.drawn_pairs import draw_data_set


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """200 pairs with a joint split and one that holds out mechanisms."""
    folder = draw_data_set(tmp_path_factory.mktemp("drawn"), mechanisms=True)
    splits.main(["--data", str(folder), "--shift", "mech", "--min_train_objects", "1"])
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("run")
    given = ["--delta_dim=16", "--num_train_epochs=1", "--per_device_train_batch_size=16", "--precision=float32"]
    given += ["--shift=mech", f"--data={data}", "--method=prototypes", f"--output_dir={output}"]
    small_runs.train("from_scratch.yaml", *small_runs.TINY, *given)
    return output


def test_it_stands_beside_the_other_shifts(data, capsys):
    assert {path.name for path in data.iterdir()} >= {"single", "single_mech"}
    splits.main(["--data", str(data), "--check"])
    said = capsys.readouterr().out
    assert all(f"single_{shift}.json matches the shards" in said for shift in ("comp", "syst", "mech"))
    assert "`mech`: the out-of-distribution parts have ways to do an action" in (data / "README.md").read_text()
    splits.main(["--data", str(data)])  # the joint split again
    assert (data / "manifests" / "single_mech.json").is_file() and (data / "single_mech").is_dir()
    assert set(load_tested(str(data))) == {
        *("train", "validation", "test", "validation_comp", "test_comp", "validation_syst", "test_syst")
    }


def test_training_tests_on_mechanisms_that_it_never_saw(data, run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics["splits"]) == {"validation", "test", "validation_mech", "test_mech"}
    assert set(metrics["gap"]) == {"test_mech"}
    manifest = SplitManifest.load(data / "manifests" / "single_mech.json")
    held = {", ".join(item) for item in manifest.held_out["test_ood"]}
    assert set(metrics["splits"]["test_mech"]["accuracy_by_mechanism"]) == held
    assert not held & set(metrics["splits"]["test"]["accuracy_by_mechanism"])
    assert [path.name for path in run.glob("split_*.json")] == ["split_single_mech.json"]
    card = ModelCard.load(run / "README.md")
    found = {result.dataset_config: result.metric_name for result in card.data.eval_results}
    assert "OOD mechanisms" in found["single_mech"] and set(found) == {"single_mech"}
    assert set(load_delta_sets(run)["test_mech"].mechanisms) == {name.split(", ")[1] for name in held}


def test_a_finished_model_is_tested_on_mechanisms(data, run, tmp_path):
    arguments = ["--model", str(run), "--data", str(data), "--shift", "mech", "--output", str(tmp_path / "again")]
    evaluate(arguments)
    again, first = (json.loads((folder / "metrics.json").read_text()) for folder in (tmp_path / "again", run))
    assert again["splits"]["test_mech"]["accuracy"] == first["splits"]["test_mech"]["accuracy"]
    alone = shutil.copytree(data, tmp_path / "alone")
    shutil.rmtree(alone / "single")
    for shift in ("comp", "syst"):
        (alone / "manifests" / f"single_{shift}.json").unlink()
    splits.main(["--data", str(alone), "--shift", "mech", "--min_train_objects", "1"])
    assert "test_mech" in load_tested(str(alone))  # where there is no other shift, by itself


def test_data_without_mechanisms_say_what_works_instead(tmp_path, data):
    plain = draw_data_set(tmp_path / "plain")
    with pytest.raises(SystemExit) as stopped:
        splits.main(["--data", str(plain), "--shift", "mech"])
    said = str(stopped.value.code)
    assert said.startswith("The mech split holds out mechanisms, and these pairs have no column mechanism")
    assert "--shift comp (" in said and "or add the column mechanism" in said
    with pytest.raises(UnknownConfigError, match="single_mech"):
        load_shifts(str(plain), shift="mech")
    with pytest.raises(SystemExit, match="Too few mechanisms for a mech split: .* each action keeps another one"):
        splits.main(["--data", str(data), "--shift", "mech", "--min_train_objects", "9"])
