"""Training with several processes: joining them, gathering their tensors, and sharing the cores among them."""

import os
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from ..cli.verbs import program as name_of


def join_processes(use_cpu: bool = False, timeout: float = 600, deepspeed: bool = False) -> None:
    """Join the processes that a launcher has started on a machine without GPUs; with a GPU, do nothing.

    Accelerate groups such processes only if the launcher asked for the CPU, which `accelerate launch` does for a single
    process only. Without a group, each process would train alone and overwrite the files of the others. Accelerate also
    does not pass on how long they wait for each other.

    Args:
        use_cpu: whether the CPU is requested even where there is a GPU.
        timeout: seconds that a process waits for the others in each exchange before it gives up.
        deepspeed: whether the arguments request DeepSpeed; the launcher may request it, too.

    Raises:
        ValueError: DeepSpeed is requested, which is not supported.
    """
    if deepspeed or os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        raise ValueError("DeepSpeed is not supported: use FSDP2 (configs/accelerate/fsdp2.yaml, cpu_fsdp2.yaml).")
    if (torch.accelerator.is_available() and not use_cpu) or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    os.environ["ACCELERATE_USE_CPU"] = "true"
    if not dist.is_initialized():
        dist.init_process_group("gloo", timeout=timedelta(seconds=timeout))


@contextmanager
def tells_of_lost_processes(program: str | None = None) -> Iterator[None]:
    """Turn torch's error about a lost or silent process into one sentence; a program exits with its name and that.

    Raises:
        ConnectionError: an exchange with the other processes failed.
    """
    try:
        yield
    except RuntimeError as error:
        known = isinstance(error, dist.DistError) or any(name in str(error).lower() for name in ("gloo", "nccl"))
        if num_processes() == 1 or not known:
            raise
        sentence = (
            f"process {dist.get_rank()} of {num_processes()} has lost another one, which ended (see its own message, "
            "if there is one) or was silent for longer than ddp_timeout; resume from the last checkpoint with "
            "--resume_from_checkpoint true."
        )
        if program is not None:
            sys.exit(f"{name_of(program)}: {sentence}")
        raise ConnectionError(sentence) from error


def check_same_everywhere(values: Mapping[str, Any]) -> None:
    """Check that all processes were started with the same settings; otherwise they would block, or train separately.

    All processes call it together, with the same keys. Without a process group it does nothing.

    Raises:
        ValueError: a value differs between two processes; raised on all of them, with the name.
    """
    if num_processes() == 1:
        return
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    own = torch.tensor([zlib.crc32(repr(value).encode()) for value in values.values()], device=device)
    of_all = [torch.empty_like(own) for _ in range(num_processes())]
    dist.all_gather(of_all, own)
    for rank, other in enumerate(of_all):
        if differs := (other != of_all[0]).nonzero().flatten().tolist():
            name = list(values)[differs[0]]
            raise ValueError(
                f"process {rank} has another {name} than process 0: start all processes with the same settings."
            )


def num_processes() -> int:
    """Number of processes that train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _GatherRows(torch.autograd.Function):
    """Concatenates equally tall tensors of all processes; the gradient of a row is the sum over all processes."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
        ctx.height = rows.shape[0]
        pieces = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(pieces, rows.contiguous())
        return torch.cat(pieces)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        # Every process used every row, so a row's gradient has a part on each of them.
        gradient = gradients[0].contiguous().clone()
        dist.all_reduce(gradient)
        start = dist.get_rank() * int(ctx.height)
        return gradient[start : start + int(ctx.height)]


def gather_rows(rows: torch.Tensor) -> tuple[torch.Tensor, int, int]:
    """Concatenate a tensor of every process along its first dimension, in the order of their ranks.

    All processes must call it, in the same order. They may hold different numbers of rows (a ragged last batch), but
    the other dimensions and the dtype must agree. The gradient of a local row (of a floating dtype) is the sum of what
    all processes send back to it. Without a process group the tensor itself is returned.

    Returns:
        The gathered tensor (n_total, ...), the index in it of this process's first row, and the number of processes.
    """
    if num_processes() == 1:
        return rows, 0, 1
    height = torch.tensor([rows.shape[0]], device=rows.device)
    heights_per_process = [torch.empty_like(height) for _ in range(num_processes())]
    dist.all_gather(heights_per_process, height)
    heights = [int(value) for value in heights_per_process]
    tallest = max(heights)
    if rows.shape[0] < tallest:
        padding = rows.new_zeros((tallest - rows.shape[0], *rows.shape[1:]))
        rows = torch.cat([rows, padding])  # (tallest, ...)
    gathered: torch.Tensor = _GatherRows.apply(rows)  # type: ignore[no-untyped-call]  # (processes * tallest, ...)
    if min(heights) < tallest:
        gathered = torch.cat([piece[:n] for piece, n in zip(torch.split(gathered, tallest), heights, strict=True)])
    return gathered, sum(heights[: dist.get_rank()]), len(heights)


def share_buffers(model: torch.nn.Module) -> None:
    """Copy the first process's buffers, such as the running statistics of batch norm, to every process.

    All processes must call it, with the same model. Without a process group it does nothing.
    """
    if num_processes() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def use_all_cores(processes: int = 1) -> int:
    """Give each of a CPU run's processes on this machine its share of the cores; returns the number of threads.

    `accelerate launch` sets one thread per process by default, which halves the speed on two cores. A larger number,
    chosen by the user, stays.
    """
    if torch.get_num_threads() == 1:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // processes))
    return torch.get_num_threads()
