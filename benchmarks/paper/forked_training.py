"""train.py in processes forked from one that has imported everything, which takes longer than a run of seconds.

Of the runs that train at the same time, each has cores of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_FORKS: Any = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["datasets", "matplotlib.pyplot", "sklearn.discriminant_analysis", "torch", "train"]
    + [f"modeling_cde.{name}" for name in ("models.modeling_cde", "training.run", "evaluation.evaluate")]
    + [f"modeling_cde.{name}" for name in ("analysis.plots.curves", "cards.model_card", "cards.publishing")]
)


class ForkedTraining:
    """A run of train.py in a forked process, with the methods of `subprocess.Popen` that a benchmark uses.

    Args:
        arguments: What follows `train.py`.
        log: A file that gets all output at its end.
        cores: The cores that it may use.
    """

    def __init__(self, arguments: Sequence[str], log: Path, cores: Sequence[int]) -> None:
        self._process = _FORKS.Process(target=_train, args=(list(arguments), str(log), list(cores)))
        self._process.start()
        self.pid = int(self._process.pid)

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        code: int | None = self._process.exitcode
        return code

    def wait(self, timeout: float) -> int:
        """The exit status; `subprocess.TimeoutExpired` if it still runs after so many seconds."""
        self._process.join(timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired("train.py", timeout)
        return code


def _train(arguments: list[str], log: str, cores: list[int]) -> None:
    os.setsid()  # as a subprocess with a session of its own: it is ended as a group
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parent = multiprocessing.parent_process()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with open(log, "ab", buffering=0) as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    os.environ["OMP_NUM_THREADS"] = "1"  # as `accelerate launch` has it
    import torch

    torch.set_num_threads(1)  # then train.py takes all cores that the process may use
    sys.argv = ["train.py", *arguments]
    runpy.run_path(str(_ROOT / "train.py"), run_name="__main__")


def _end_with(parent: Any) -> None:
    """End this process when the benchmark that started it has ended, which no longer holds the run's lock."""
    parent.join()
    os.killpg(0, signal.SIGTERM)
