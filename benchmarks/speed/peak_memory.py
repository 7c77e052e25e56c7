"""How much memory a step takes at its peak, measured in a process of its own.

What a process has once held stays with its allocator, so that a second measurement in it would find less. So each
figure comes from a fork of a process that has computed nothing yet: how far its peak lies over what it held before.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

MIB = 2**20


def peak_over_before(step: Callable[[], Any]) -> float:
    """MiB that a step takes at its peak over what this process holds before it; on a GPU, of the GPU's memory.

    Linux's own count is read and not `getrusage`, which keeps the peak of the program that a process was before.

    Raises:
        OSError: there is no GPU and no /proc.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / MIB
    before = _kib("VmRSS")
    step()
    return (_kib("VmHWM") - before) / 1024


def peak_in_fork(warm_up: Callable[[], Any], make: Callable[[], Callable[[], Any]]) -> float:
    """Peak MiB of the step that `make` returns, in a fork of this process that uses all cores.

    Args:
        warm_up: runs before, so that threads and libraries are there.
        make: makes the step, and what does not count.
    """

    def measure() -> float:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        warm_up()
        return peak_over_before(make())

    return in_forked_process(measure)


def in_forked_process(measure: Callable[[], float]) -> float:
    """What a function gives in a fork of this process: with all its modules, and without what it does to memory.

    Call it before this process has computed anything with torch: the threads that it computes with are not forked.

    Raises:
        RuntimeError: the function failed, or the process was killed, as where memory ran out; its trace is printed.
    """
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.write(writing, repr(float(measure())).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)  # nothing of the parent is to be closed or flushed twice
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(process, 0)
    if not text:
        raise RuntimeError("The process that measures memory gave no answer: it failed (see above) or was killed.")
    return float(text)


def _kib(name: str) -> int:
    """A field of /proc/self/status in KiB: VmRSS is what this process holds, VmHWM the most that it ever held."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise OSError(f"/proc/self/status has no {name}: peak memory can be measured on Linux or on a GPU only.")
