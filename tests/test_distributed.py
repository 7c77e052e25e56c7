"""n processes give what one process gives on the same global batch: gradients, logs, evaluation; and they resume."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from modeling_cde import distributed
from modeling_cde.distributed import gather_rows, num_processes
from tests import two_processes


def test_one_process_gathers_itself():
    rows = torch.randn(3, 2, requires_grad=True)
    everyone, first, processes = gather_rows(rows)
    assert everyone is rows and (first, processes, num_processes()) == (0, 1, 1)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of two processes found; started once for all tests here."""
    folder = tmp_path_factory.mktemp("two_processes")
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
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.two_processes", str(folder)],
            cwd=Path(__file__).parent.parent,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        output = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(output)[-6000:]
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=False) for rank in range(2)]


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
    moved = two_processes.tiny_cde("vit", **two_processes.MODEL_OPTIONS).state_dict()
    for result in (r[run] for r in found):
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


def test_two_processes_resume_bit_for_bit(found):
    for result in found:
        assert result["resume"] and all(result["resume"].values()), result["resume"]


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
