"""What a checkpoint holds beside the model, so that a training goes on bit for bit. All of it is safetensors:

    optimizer.safetensors, scheduler.safetensors     see state_file.py; scaler.safetensors in fp16 training
    loss.safetensors                                 of a loss with parameters or buffers of its own
    random_state-0.safetensors, ...                  one per process: its random generators, and sums for the next log

With FSDP2 the optimizer is in shards: see sharded_checkpoints.py.
"""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers.utils import logging

from .sharded_checkpoints import is_sharded, load_sharded, save_sharded
from .state_file import read_state, write_state

logger = logging.get_logger(__name__)

OPTIMIZER, SCHEDULER, SCALER = "optimizer.safetensors", "scheduler.safetensors", "scaler.safetensors"
LOSS = "loss.safetensors"


def save_resume_state(trainer: Any, folder: Path) -> None:
    """Write the state of optimizer, schedule, loss and random generators; all processes call it together."""
    if trainer.is_fsdp_enabled:
        save_sharded(trainer.model, trainer.optimizer, folder)
    if trainer.args.should_save:
        if not trainer.is_fsdp_enabled:
            write_state(folder / OPTIMIZER, trainer.optimizer.state_dict())
        for name, part in _parts(trainer).items():
            write_state(folder / name, part.state_dict())
    state = {"python": random.getstate(), "numpy": np.random.get_state(), "cpu": torch.random.get_rng_state()}
    if trainer.args.device.type == "cuda":
        state["cuda"] = [torch.cuda.get_rng_state(device) for device in _gpus(trainer.args)]
    write_state(_random_file(trainer.args, folder), {**state, "since_log": trainer._since_log()})


def load_optimizer(trainer: Any, folder: Path) -> None:
    """Restore optimizer, schedule, scaler and loss; with FSDP2 all processes call it together."""
    if trainer.is_fsdp_enabled or is_sharded(folder):
        load_sharded(trainer.model, trainer.optimizer, folder)
    else:
        trainer.optimizer.load_state_dict(read_state(folder / OPTIMIZER))
    for name, part in _parts(trainer).items():
        if name != SCALER or (folder / name).is_file():  # the training may have started in another precision
            part.load_state_dict(read_state(folder / name))


def load_random_state(trainer: Any, folder: Path) -> None:
    """Restore this process's random generators, and its sums for the next log."""
    args = trainer.args
    if not (file := _random_file(args, folder)).is_file():
        logger.warning(
            f"{folder} was written by fewer processes: process {args.process_index} starts with fresh random "
            "generators."
        )
        return
    state = read_state(file)
    name, keys, *rest = state["numpy"]
    random.setstate(state["python"])
    np.random.set_state((name, keys.numpy(), *rest))
    torch.random.set_rng_state(state["cpu"])
    since_log = state.get("since_log", {"processes": 0})  # absent in checkpoints of older versions
    if since_log["processes"] == args.world_size:  # with another number, each process had another share of the steps
        trainer._go_on_logging(since_log)
    if args.device.type == "cuda":
        for device, own in zip(_gpus(args), state.get("cuda", []), strict=False):
            torch.cuda.set_rng_state(own, device)


def _parts(trainer: Any) -> dict[str, Any]:
    """What has a state of its own besides model and optimizer, by the name of its file."""
    loss = trainer.loss if isinstance(trainer.loss, nn.Module) and trainer.loss.state_dict() else None
    parts = {SCHEDULER: trainer.lr_scheduler, SCALER: trainer.accelerator.scaler, LOSS: loss}
    return {name: part for name, part in parts.items() if part is not None}


def _random_file(args: Any, folder: Path) -> Path:
    return folder / f"random_state-{args.process_index}.safetensors"


def _gpus(args: Any) -> list[Any]:
    """The GPUs that this process computes on: several with DataParallel."""
    return list(range(args.n_gpu)) if args.n_gpu > 1 else [args.device]
