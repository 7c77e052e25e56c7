"""n processes give what one process gives on the same global batch: gradients, logs, evaluation; and they resume."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from modeling_cde import CDEForActionClassification
from modeling_cde.training import distributed
from modeling_cde.training.distributed import gather_rows, num_processes
from tests.training import two_processes


def test_one_process_gathers_itself():
    rows = torch.randn(3, 2, requires_grad=True)
    everyone, first, processes = gather_rows(rows)
    assert everyone is rows and (first, processes, num_processes()) == (0, 1, 1)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of two processes found; started once for all tests here."""
    folder = tmp_path_factory.mktemp("two_processes")
    alone = two_processes.changing_processes(folder, "alone", 1, False, None)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
    }
    processes = subprocess.Popen(
        [sys.executable, "-m", "tests.training.two_processes", str(folder)],
        cwd=Path(__file__).parents[2],
        env=os.environ | shared,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output = processes.communicate(timeout=240)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):  # both have ended
            os.killpg(processes.pid, signal.SIGKILL)
    assert processes.returncode == 0, output[-6000:]
    results = [torch.load(folder / f"rank-{rank}.pt", weights_only=False) for rank in range(2)]
    return [result | {"alone": alone, "folder": folder} for result in results]


def test_rows_of_all_processes_in_order_with_the_gradient_of_all(found):
    for rank, result in enumerate(r["gathering"] for r in found):
        assert result["rows"] == result["labels"] == [0, 1, 10, 11, 12]
        assert (result["first"], result["processes"]) == ((0, 2), (2, 2))[rank]
    # Row i is multiplied by i + 1 on process 0 and by 2 (i + 1) on process 1.
    assert found[0]["gathering"]["gradient"] == [3, 6]
    assert found[1]["gathering"]["gradient"] == [9, 12, 15]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_gradient_of_two_processes_is_that_of_one(found, accumulate):
    expected = two_processes.global_gradients(accumulate)
    for result in found:
        gradients, _ = result[f"ddp {accumulate}"]
        for got, want in zip(gradients, expected, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-7)


def test_share_of_anchors_is_global(found):
    counts = two_processes.LABELS.bincount()
    share = counts[counts == 1].sum().item() / 16
    for result in found:
        _, (_, lonely) = result["ddp 1"]
        assert lonely == pytest.approx(share)


@pytest.mark.parametrize("run", list(two_processes.TRAINER_RUNS))
def test_trainer_on_two_processes_is_trainer_on_one(found, tmp_path, run):
    one = two_processes.train(tmp_path, 8, run)
    options = two_processes.MODEL_OPTIONS | ({"delta_mode": "global"} if "global" in run else {})
    moved = two_processes.tiny_cde("vit", **options).state_dict()
    for result in (r[run] for r in found):
        assert result["replaced"] == []  # methods of the user's model
        for name, want in one["weights"].items():
            torch.testing.assert_close(result["weights"][name], want, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: n + m)
        for got, want in zip(result["logs"], one["logs"], strict=True):
            assert got == pytest.approx(want, rel=1e-4)
        for number, metrics in one["metrics"].items():
            assert result["metrics"][number] == pytest.approx(metrics, rel=1e-4)
            assert metrics["eval_n"] == number
        assert ("auxiliary" in one["logs"][0]) == ("eval_auxiliary" in one["metrics"][3]) == (run == "auxiliary")
        np.testing.assert_allclose(result["logits"], one["logits"], rtol=1e-3, atol=1e-4)
    change = max((one["weights"][name] - moved[name]).abs().max().item() for name in one["weights"])
    assert change > 1e-2  # far over the tolerance


def test_own_losses_are_trained_and_evaluated_as_on_one(found, tmp_path):
    one = two_processes.own_losses(tmp_path, 8)
    assert abs(one["learned"]) > 1e-3
    for result in found:
        assert result["own losses"] == pytest.approx(one, rel=1e-4)


def test_two_processes_resume_bit_for_bit(found):
    for result in found:
        assert result["resume"] and all(result["resume"].values()), result["resume"]


def difference(a, b):
    assert a.keys() == b.keys()
    return max((a[name].float() - b[name].float()).abs().max().item() for name in a)


def test_shards_and_any_number_of_processes_train_alike(found):
    alone = found[0]["alone"]
    for result in found:
        for run in ("sharded", "whole"):
            assert result["shards"][run]["losses"] == pytest.approx(alone["losses"], rel=1e-5)
            assert difference(result["shards"][run]["weights"], alone["weights"]) < 1e-6
    initial = two_processes.tiny_cde("vit").state_dict()
    assert difference(initial, alone["weights"]) > 1e-3  # far over the tolerance


def test_a_checkpoint_is_resumed_in_shards_or_not_by_another_number_of_processes(found, tmp_path):
    one = two_processes.changing_processes(tmp_path, "one", 1, False, found[0]["folder"] / "sharded" / "checkpoint-2")
    for result in (r["shards"] for r in found):
        for start, end in two_processes.RESUMED:
            apart = difference(result[f"{start} to {end}"]["weights"], found[0]["alone"]["weights"])
            assert apart < 1e-6, (start, end, apart)
        assert difference(result["sharded to sharded"]["weights"], result["sharded"]["weights"]) == 0  # bit for bit
    assert difference(one["weights"], found[0]["alone"]["weights"]) < 1e-6
    refused = found[0]["shards"]["another batch"]
    assert "per_device_train_batch_size: 4 -> 8" in refused
    assert "cannot change within a training (per_device_train_batch_size times processes must stay 8)" in refused


def test_what_a_sharded_training_saves_loads_by_itself(found):
    folder = found[0]["folder"] / "sharded"
    saved = CDEForActionClassification.from_pretrained(folder).state_dict()
    assert difference(saved, found[0]["shards"]["sharded"]["weights"]) == 0
    checkpoint = folder / "checkpoint-2"
    assert len(list((checkpoint / "weights").iterdir())) == len(list((checkpoint / "optimizer").iterdir())) == 2
    files = {file.suffix for file in checkpoint.rglob("*") if file.is_file()}
    assert files == {".safetensors", ".json", ".py"}  # nothing pickled


def test_the_best_model_comes_from_shards_with_the_same_statistics_everywhere(found):
    first, second = (result["best"] for result in found)
    assert first["step"] == 1
    assert difference(first["best"], second["best"]) == difference(first["last"], second["last"]) == 0
    statistics = [name for name in first["best"] if name.endswith("running_mean")]
    assert statistics and all((first["best"][name] != first["last"][name]).any() for name in statistics)


def test_what_is_wrong_with_the_processes_is_said(found):
    for result in (r["said"] for r in found):
        assert result["different"].startswith("process 1 has another learning_rate than process 0")
        assert result["another seed"].startswith("process 1 has another seed than process 0")
        sentence = "25 training pairs are fewer than a batch of 13 in each of 2 processes, so a batch has 12"
        assert result["smaller"] == [f"{sentence} in each of 2 processes.", [12]]
        assert result["too few"].startswith("1 training samples are too few for 2 processes")
    assert (found[0]["folder"] / "lost.txt").read_text().startswith("process 0 of 2 has lost another one")


def test_two_processes_stream_shares_of_their_own_and_resume_bit_for_bit(found):
    """53 pairs: of each process 6 batches of 4 in an epoch, although one file is longer than the others."""
    first, second = (result["streamed"]["first epoch"] for result in found)
    assert len(set(first) | set(second)) == len(first) + len(second) == 48
    for result in found:
        assert result["streamed"]["same weights"] and result["streamed"]["same batches"]


def test_a_cpu_run_gets_its_share_of_the_cores(monkeypatch):
    chosen = []
    monkeypatch.setattr(distributed.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(distributed.torch, "set_num_threads", chosen.append)
    monkeypatch.setattr(distributed.torch, "get_num_threads", lambda: 1)  # what accelerate launch sets
    for processes in (1, 3, 16):
        distributed.use_all_cores(processes)
    assert chosen == [8, 2, 1]
    monkeypatch.setattr(distributed.torch, "get_num_threads", lambda: 4)  # what the user has chosen
    assert distributed.use_all_cores() == 4 and len(chosen) == 3


def test_processes_share_one_bank_of_neighbours(found):
    alone = two_processes.neighbours(0, 1)
    assert alone["bank_count"] == 8 and alone["gradient"] != 0
    for result in found:
        for name, value in alone.items():
            torch.testing.assert_close(result["neighbours"][name], value)
