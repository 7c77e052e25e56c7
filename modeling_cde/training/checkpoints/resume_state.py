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
from torch.optim.lr_scheduler import LambdaLR
from transformers.utils import logging

from .changed_settings import LENGTH, OF_OPTIMIZER, OF_SCHEDULE
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
    """Restore optimizer, schedule, scaler and loss; with FSDP2 all processes call it together.

    Where a resumed training has changed what their state has, too, today's values take effect.
    """
    own = [{name: value for name, value in group.items() if name != "params"} for group in _groups(trainer)]
    if trainer.is_fsdp_enabled or is_sharded(folder):
        load_sharded(trainer.model, trainer.optimizer, folder)
    else:
        trainer.optimizer.load_state_dict(read_state(folder / OPTIMIZER))
    for name, part in _parts(trainer).items():
        if name != SCALER or (folder / name).is_file():  # the training may have started in another precision
            part.load_state_dict(read_state(folder / name))
    if {change.name for change in trainer.changes} & {*OF_OPTIMIZER, *OF_SCHEDULE, *LENGTH}:
        _follow_arguments(trainer, own)


def _follow_arguments(trainer: Any, own: list[dict[str, Any]]) -> None:
    """Give a restored optimizer and its schedule the values of `own`, the groups that the arguments have made."""
    groups, schedule = _groups(trainer), trainer.lr_scheduler
    for group, made in zip(groups, own, strict=True):
        group |= {name: value for name, value in made.items() if name != "lr"}
    if isinstance(schedule, LambdaLR):  # any other follows what it has seen
        schedule.base_lrs = [group["initial_lr"] for group in groups]
        factors = [factor(schedule.last_epoch) for factor in schedule.lr_lambdas]
        for group, base, factor in zip(groups, schedule.base_lrs, factors, strict=True):
            group["lr"] = base * factor
        schedule._last_lr = [group["lr"] for group in groups]


def _groups(trainer: Any) -> list[dict[str, Any]]:
    """The groups of parameters of the optimizer, with their learning rates."""
    return trainer.optimizer.param_groups  # type: ignore[no-any-return]


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


def loss_until_now(trainer: Any) -> dict[str, Any]:
    """The sums of the loss over the logged steps and over those since, and which step was the last logged one."""
    since = trainer.accelerator.gather(trainer._tr_loss.detach().reshape(1)).mean().item()
    return {"logged": trainer._total_loss_scalar, "since": since, "step": trainer._globalstep_last_logged}


def go_on_with_loss(trainer: Any, kept: dict[str, Any] | None) -> None:
    """Have the steps until the checkpoint in the mean loss of all; None: of a checkpoint of an earlier version."""
    if kept is None:
        logs = [log for log in trainer.state.log_history if "loss" in log]
        steps = [0, *(log["step"] for log in logs)]
        sums = [log["loss"] * (step - last) for log, step, last in zip(logs, steps[1:], steps, strict=False)]
        kept = {"logged": sum(sums), "since": 0.0, "step": steps[-1]}
    trainer._total_loss_scalar = kept["logged"]
    trainer._tr_loss += kept["since"]
    trainer._globalstep_last_logged = kept["step"]


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
