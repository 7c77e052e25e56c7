"""What kill_trials and soak conclude from what they see."""

import json

import pytest

from benchmarks.safety import soak
from benchmarks.safety.kill_trials import flags, outcome, place_of


def readings(mib, files=5):
    return [{"mib": value, "files": files + i // 90, "threads": 3} for i, value in enumerate(mib)]


def test_growth_after_the_warm_up_is_seen_and_that_before_is_not():
    steps = list(range(10, 1010, 10))
    flat = soak.summary(steps, readings([100 + min(i, 20) for i in range(100)]))
    assert flat["growth_mib"] == flat["mib_per_1000"] == 0 and flat["mib"] == 120
    leaking = soak.summary(steps, readings([100 + 0.5 * i for i in range(100)]))
    assert leaking["growth_mib"] == 30 and leaking["mib_per_1000"] == 50  # medians 60 readings apart; 0.05 MiB a step
    assert leaking["more_files"] == 1 and leaking["more_threads"] == 0


def test_where_an_operation_belongs():
    assert place_of("half tmp-checkpoint-4/model.safetensors") == place_of("os.mkdir tmp-checkpoint-4") == "checkpoint"
    assert place_of("os.rename checkpoint-2") == place_of("os.remove tmp-old-checkpoint-2/config.json") == "rotation"
    assert place_of("os.rename tmp-files/config.json") == place_of("open tmp-metrics.json") == "end"


def test_an_end_that_differs_in_anything_but_time_and_place_differs(tmp_path):
    import torch
    from safetensors.torch import save_file

    def made(name, seconds=1.0, accuracy=0.5, weight=1.0, split="test", train_loss=2.0):
        folder = tmp_path / name
        folder.mkdir()
        training = {"minutes": seconds, "command": f"train.py --output_dir={folder}"}
        (folder / "metrics.json").write_text(json.dumps({"training": training, "splits": {"test": accuracy}}))
        log = [{"step": 1, "loss": 2.0, "eval_runtime": seconds}, {"step": 1, "train_loss": train_loss}]
        (folder / "trainer_state.json").write_text(json.dumps({"log_history": log}))
        save_file({"w": torch.tensor([weight])}, folder / "model.safetensors")
        save_file({f"{split}/delta": torch.zeros(1)}, folder / "deltas.safetensors", {"a": "1"})
        for other in ("gallery.parquet", "config.json"):
            (folder / other).touch()
        return outcome(folder)

    one = made("one")
    assert one == made("slower", seconds=9.0)
    changed = {
        "metrics.json": {"accuracy": 0.6},
        "log": {"train_loss": 2.1},
        "model.safetensors": {"weight": 2.0},
        "deltas.safetensors": {"split": "x"},
    }
    for name, options in changed.items():
        other = made(name.replace(".", "-"), **options)
        assert [key for key in one if one[key] != other[key]] == [name]
    assert flags({"seed": 1}, tmp_path) == ["--seed=1", f"--output_dir={tmp_path}"]


@pytest.mark.slow
def test_memory_stays_flat_in_a_short_run(tmp_path):
    soak.main(["--steps", "200", "--inferences", "800", "--output", str(tmp_path)])  # exits where it does not
    assert json.loads((tmp_path / "soak.json").read_text())["targets"][0]["met"]
