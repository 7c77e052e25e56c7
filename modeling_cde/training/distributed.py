"""Several processes: how they find each other, their tensors as one, and their share of the cores."""

import os
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist


def join_processes(use_cpu: bool = False, timeout: float = 600, deepspeed: bool = False) -> None:
    """Join the processes that a launcher has started on a machine without GPUs; elsewhere nothing is done.

    Accelerate makes one group of such processes only if the launcher said that the CPU is meant, which
    `accelerate launch` says to a single process alone. Without that, each would take itself for the only one, train by
    itself and write over what the others write. Nor does it pass on how long they wait for each other.

    Args:
        use_cpu: the CPU is asked for, whatever else there is.
        timeout: seconds that a process waits for the others in each exchange, before it gives up.
        deepspeed: it is asked for; the launcher may ask for it, too.

    Raises:
        ValueError: DeepSpeed is asked for, which Accelerate would leave out on a CPU without a word.
    """
    if torch.accelerator.is_available() and not use_cpu:
        return
    if deepspeed or os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        raise ValueError(
            "DeepSpeed is started on GPUs only, and this training runs on the CPU: launch it by "
            "configs/accelerate/cpu_fsdp2.yaml, which shards there."
        )
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    os.environ["ACCELERATE_USE_CPU"] = "true"
    if not dist.is_initialized():
        dist.init_process_group("gloo", timeout=timedelta(seconds=timeout))


@contextmanager
def tells_of_lost_processes(program: str | None = None) -> Iterator[None]:
    """Turn what torch says when another process is gone or silent into one sentence.

    Args:
        program: exit with the sentence after this name, in place of an error.

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
            "if it left one) or was silent for longer than ddp_timeout; go on from the last checkpoint by "
            "--resume_from_checkpoint true."
        )
        if program is not None:
            sys.exit(f"{program}: {sentence}")
        raise ConnectionError(sentence) from error


def check_same_everywhere(values: Mapping[str, Any]) -> None:
    """Check that all processes were started alike; otherwise they would wait for each other, or train apart.

    All processes call it together, with the same keys. Without a process group nothing is done.

    Raises:
        ValueError: on all processes, if a value differs between two; the message names it.
    """
    if num_processes() == 1:
        return
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    own = torch.tensor([zlib.crc32(repr(value).encode()) for value in values.values()], device=device)
    of_all = [torch.empty_like(own) for _ in range(num_processes())]
    dist.all_gather(of_all, own)
    for rank, other in enumerate(of_all):
        differs = (other != of_all[0]).nonzero().flatten().tolist()
        if differs:
            name = list(values)[differs[0]]
            raise ValueError(f"process {rank} has another {name} than process 0: start all processes alike.")


def num_processes() -> int:
    """Processes that train together; 1 where no process group is running."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _GatherRows(torch.autograd.Function):
    """Concatenates equally tall tensors of all processes; the gradient of a row is the sum over all
    processes."""

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

    All processes must call it, in the same order. They may hold different numbers of rows (a ragged last
    batch), but the other dimensions and the dtype must agree. The gradient of a local row is the sum of what
    all processes send back to it. Without a process group the tensor itself is returned.

    Args:
        rows: (n_local, ...) of any dtype; gradients flow only through floating ones.

    Returns:
        The gathered tensor (n_total, ...), the index in it of this process's first row, and the number of
        processes.
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
    """Give every process the buffers of the first one, such as the running statistics of batch norm.

    All processes must call it, with the same model. Without a process group nothing is done.
    """
    if num_processes() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def use_all_cores(processes: int = 1) -> int:
    """Give each process of a CPU run its share of the cores.

    `accelerate launch` sets one thread for every process that it is not told another number for, which halves the
    speed on two cores. A larger number, chosen by the user, is left alone.

    Args:
        processes: how many processes of the run share this machine.

    Returns:
        The number of threads that torch uses now.
    """
    if torch.get_num_threads() == 1:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // processes))
    return torch.get_num_threads()
