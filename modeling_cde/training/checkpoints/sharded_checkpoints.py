"""Checkpoints whose shards are written by the processes that hold them, and read by any number of processes.

    checkpoint-60/weights/shard-00001-...safetensors     the first process's part of the weights, and its place
    checkpoint-60/optimizer/shard-00001-...safetensors   its part of the optimizer's tensors, by names of parameters
    checkpoint-60/optimizer_numbers.safetensors          learning rates and other plain numbers

This is torch.distributed.checkpoint with its storage for safetensors, because its own format contains pickles.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate.optimizer import AcceleratedOptimizer
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from .state_file import read_state, write_state

WEIGHTS, OPTIMIZER, NUMBERS = "weights", "optimizer", "optimizer_numbers.safetensors"
_FULL = StateDictOptions(full_state_dict=True)
_FLAT = StateDictOptions(flatten_optimizer_state_dict=True)


def is_sharded(folder: str | Path) -> bool:
    """Whether the weights of a checkpoint are in shards instead of one model.safetensors."""
    return any(Path(folder, WEIGHTS).glob("*.safetensors"))


def save_sharded(model: nn.Module, optimizer: torch.optim.Optimizer, folder: str | Path) -> None:
    """Write the state of a model sharded by FSDP2 and of its optimizer; all processes call it together.

    All of them must see the folder, which is made if absent.
    """
    _write(get_model_state_dict(model), Path(folder, WEIGHTS))
    tensors, numbers = _optimizer_state(model, optimizer)
    if tensors:  # plain gradient descent has no tensors
        _write(tensors, Path(folder, OPTIMIZER))
    if not dist.is_initialized() or dist.get_rank() == 0:
        write_state(Path(folder, NUMBERS), numbers)


def load_sharded(model: nn.Module, optimizer: torch.optim.Optimizer | None, folder: str | Path) -> None:
    """Read a checkpoint if it, or the model, is in shards; all processes call it together.

    Args:
        model: sharded over any number of processes, or whole.
        optimizer: of its parameters, of the kind that was saved; None to read the weights alone.
        folder: of the checkpoint: written by `save_sharded`, of which each process reads its part, or with whole
            weights and a whole optimizer.

    Raises:
        ValueError: the folder does not have exactly the weights of this model, or the state of this optimizer.
    """
    if not is_sharded(folder):
        _load_whole(model, optimizer, Path(folder))
        return
    if optimizer is not None:  # before the weights: to make its tensors, torch has the optimizer take an empty step
        tensors, numbers = _optimizer_state(model, optimizer)
        if tensors:
            _read(tensors, Path(folder, OPTIMIZER))
        saved = read_state(Path(folder, NUMBERS))
        _check_names(saved, numbers, Path(folder, NUMBERS))
        set_optimizer_state_dict(model, _bare(optimizer), {**tensors, **saved}, options=_FLAT)
    weights = get_model_state_dict(model)
    _read(weights, Path(folder, WEIGHTS))
    set_model_state_dict(model, weights)


def _load_whole(model: nn.Module, optimizer: torch.optim.Optimizer | None, folder: Path) -> None:
    """Read a checkpoint of whole weights into a sharded model."""
    try:
        weights = load_file(folder / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{folder} has no readable weights ({error}): resume from another checkpoint.") from error
    _check_names(weights, get_model_state_dict(model), folder / "model.safetensors")
    if optimizer is not None:
        state = read_state(folder / "optimizer.safetensors")
        names = {parameter: name for name, parameter in model.named_parameters()}
        order = [names[parameter] for group in _bare(optimizer).param_groups for parameter in group["params"]]
        named: dict[str, Any] = {
            "state": {order[number]: values for number, values in state["state"].items()},
            "param_groups": [
                {**group, "params": [order[number] for number in group["params"]]} for group in state["param_groups"]
            ],
        }
        set_optimizer_state_dict(model, _bare(optimizer), named, options=_FULL)
    set_model_state_dict(model, weights, options=_FULL)


def _optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state of an optimizer by names such as state.classifier.weight.exp_avg: its tensors, and all else."""
    state = get_optimizer_state_dict(model, _bare(optimizer), options=_FLAT)
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    return tensors, {name: value for name, value in state.items() if name not in tensors}


def _bare(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    return optimizer.optimizer if isinstance(optimizer, AcceleratedOptimizer) else optimizer


def _write(tensors: dict[str, Any], folder: Path) -> None:
    # The first process writes what every process holds in full: buffers may differ (batch norm).
    planner = DefaultSavePlanner(dedup_save_to_lowest_rank=True)
    save(tensors, storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True), planner=planner)


def _read(tensors: dict[str, Any], folder: Path) -> None:
    """Fill tensors, whole or sharded, from a folder of shards."""
    reader = HuggingFaceStorageReader(str(folder))
    try:
        there: dict[str, Any] = dict(reader.read_metadata().state_dict_metadata)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{folder} cannot be read ({error}): resume from another checkpoint.") from error
    _check_names(there, tensors, folder)
    for name, tensor in tensors.items():
        if there[name].size != tensor.shape:
            raise ValueError(
                f"{folder} has {name} with the shape {tuple(there[name].size)}, but here it is {tuple(tensor.shape)}: "
                "resume with the settings of that training."
            )
    load(tensors, storage_reader=reader)


def _check_names(saved: Iterable[str], wanted: Iterable[str], place: Path) -> None:
    missing, unexpected = sorted(set(wanted) - set(saved)), sorted(set(saved) - set(wanted))
    if missing or unexpected:
        what = f"lacks {missing[0]}" if missing else f"has {unexpected[0]}, which this training lacks"
        raise ValueError(f"{place} {what}: resume with the model and the optimizer of that training.")
