"""train.py resumed with other arguments: what cannot be is said before anything is read, and the rest is recorded."""

import json
import re
import shutil

import pytest

from modeling_cde.training import run as run_module
from tests import small_runs

RUN = [*small_runs.TINY, "--delta_dim=16", "--per_device_train_batch_size=16", "--eval_strategy=no", "--save_steps=1"]
RUN += ["--max_steps=2", "--save_strategy=steps", "--load_best_model_at_end=false"]
RESUMED = [*RUN, "--resume_from_checkpoint=true"]


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("run")
    small_runs.train("from_scratch.yaml", *RUN, "--data", str(data), "--output_dir", str(output))
    return output


def refusal(*arguments):
    with pytest.raises(SystemExit) as stopped:
        small_runs.train("from_scratch.yaml", *RESUMED, *arguments)
    return str(stopped.value.code)


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        (["--seed=1"], "seed: 0 -> 1"),
        (["--image_size=48"], "image_size: 32 -> 48"),
        (["--augment=false"], "augment: true -> false"),
        (["--train_pairs=20"], "train_pairs: null -> 20"),
        (["--swap_opposites=true"], "swap_opposites: false -> true"),
        (["--streaming=true", "--class_aware_sampling=false"], "streaming: false -> true"),
        (["--method=concatenation"], "method: cde -> concatenation"),
        (["--delta_dim=8", "--freeze_backbone=true"], "freeze_backbone: false -> true"),
        (["--temperature=0.7"], "temperature: 0.1 -> 0.7"),
    ],
)
def test_other_arguments_are_refused_before_anything_is_read(run, data, monkeypatch, arguments, listed):
    monkeypatch.setattr(run_module, "training_splits", lambda *_: pytest.fail("the pairs were loaded"))
    said = refusal(*arguments, "--data", str(data), "--output_dir", str(run))
    assert said.startswith(f"train.py: {run}/checkpoint-2 was trained with other settings (") and listed in said
    needed = "to change temperature needs --allow_changed_settings true" in said
    assert needed == ("temperature" in listed) and ("cannot change within a training" in said) != needed


@pytest.mark.parametrize("change", ["data", "backbone"])
def test_other_pairs_and_another_backbone_are_refused_before_pictures_are_encoded(run, data, monkeypatch, change):
    monkeypatch.setattr(run_module, "training_parts", lambda *_: pytest.fail("the pictures were encoded"))
    arguments = ["--data", str(data), "--output_dir", str(run)]
    if change == "data":
        splits = run_module.training_splits

        def fewer(*given):
            found = splits(*given)
            return found | {"train": found["train"].select(range(1, len(found["train"])))}

        monkeypatch.setattr(run_module, "training_splits", fewer)
        assert re.search(r"\(pairs.rows: (\d+) -> \d+; pairs.columns.action: \w+ -> ", refusal(*arguments))
    else:
        arguments += ["--backbone_config", json.dumps(small_runs.BACKBONE | {"intermediate_size": 48})]
        assert "(model.backbone_config.intermediate_size: 32 -> 48; " in refusal(*arguments)


def test_a_run_that_is_not_changed_leaves_the_same_files(run, data, tmp_path):
    output = shutil.copytree(run, tmp_path / "run")
    small_runs.train("from_scratch.yaml", *RESUMED, "--data", str(data), "--output_dir", str(output))
    found = [json.loads((folder / "metrics.json").read_text()) for folder in (run, output)]
    for metrics in found:
        metrics["training"].pop("minutes"), metrics["training"].pop("command")
    assert found[0] == found[1] and "changed_settings" not in found[0]["training"]
    for name in ("deltas.safetensors", "model.safetensors", "gallery.parquet"):
        assert (output / name).read_bytes() == (run / name).read_bytes(), name
    history = [json.loads((folder / "trainer_state.json").read_text())["log_history"] for folder in (run, output)]
    assert len({log["train_loss"] for logs in history for log in logs if "train_loss" in log}) == 1


def test_what_is_allowed_is_recorded_with_its_steps(run, data, tmp_path):
    output = shutil.copytree(run, tmp_path / "run")
    changed = ["--temperature=0.5", "--learning_rate=0.002", "--max_steps=3", "--allow_changed_settings=true"]
    small_runs.train("from_scratch.yaml", *RESUMED, "--data", str(data), "--output_dir", str(output), *changed)
    then = json.loads((run / "checkpoint-2" / "training_args.json").read_text())
    training = json.loads((output / "metrics.json").read_text())["training"]
    values = {"max_steps": 3, "learning_rate": 0.002, "temperature": 0.5}
    settings = {name: {"then": then[name], "now": now} for name, now in values.items()}
    assert training["changed_settings"] == [{"after_step": 2, "settings": settings}]
    assert training["arguments"]["temperature"] == 0.5
    card = (output / "README.md").read_text()
    assert "The training was resumed with other settings, of which the table has the last:\n\n- after step 2: " in card
    assert "`temperature` 0.5 in place of 0.1" in card
