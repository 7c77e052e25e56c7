"""FSDP2: each process holds a shard of the weights, the gradients and the optimizer state, on GPUs or on CPUs.

The numbers are those of DistributedDataParallel: the forward pass runs under the same autocast, and all processes use
the first one's buffers (running statistics of batch norm).
"""

import copy
import os
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, str_to_bool
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from transformers import PreTrainedModel, TrainerCallback

from ..data.sampler import seeded
from .distributed import share_buffers
from .lora import is_adapted


def set_up_sharding(trainer: Any) -> None:
    """Complete what the Accelerator of a `transformers.Trainer` has set up for FSDP2; without FSDP, do nothing.

    Raises:
        ValueError: FSDP1 is requested, or the model has adapters (LoRA) or is not a `PreTrainedModel`.
    """
    state, model = AcceleratorState(), trainer.model
    asked = trainer.args.fsdp or str_to_bool(os.environ.get("ACCELERATE_USE_FSDP", "false"))
    if asked and state.distributed_type == DistributedType.MULTI_CPU:
        # Accelerate turns FSDP on for GPUs and the like only, though its code works on CPUs as it is.
        state.distributed_type = PartialState().distributed_type = DistributedType.FSDP
        state.fsdp_plugin = FullyShardedDataParallelPlugin(**(trainer.args.fsdp_plugin_args or {}))
        trainer.is_fsdp_enabled = True
    if not trainer.is_fsdp_enabled:
        return
    plugin = state.fsdp_plugin
    if plugin.fsdp_version != 2:
        raise ValueError("FSDP1 is not supported: set fsdp_version: 2, as in configs/accelerate/fsdp2.yaml.")
    if is_adapted(model):
        raise ValueError("LoRA cannot be trained in shards: use one process, or DDP (configs/accelerate/ddp.yaml).")
    if not isinstance(model, PreTrainedModel):
        raise ValueError(f"{type(model).__name__} cannot be sharded: FSDP2 needs a PreTrainedModel; use DDP.")
    # The plugin's policy casts all weights, also those of the projector, which computes in float32. Autocast does not.
    plugin.mixed_precision_policy = None
    # Of the layers that the backbone's library names, those that are here. Accelerate makes the input embedding a shard
    # of its own, which cannot lie within another shard.
    names = set(plugin.transformer_cls_names_to_wrap or model._no_split_modules or ())
    embedding = model.get_input_embeddings()
    around = {type(module).__name__ for module in model.modules() if embedding in set(module.modules())}
    here = {type(module).__name__ for module in model.modules()}
    plugin.transformer_cls_names_to_wrap = sorted(names & here - around)
    trainer.add_callback(_ShareBuffers)


class _ShareBuffers(TrainerCallback):  # type: ignore[misc]
    """Gives all processes the first one's buffers before each step, as DistributedDataParallel does."""

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        share_buffers(model)


def gathered(sharded: Any) -> Any:
    """A whole model with the weights of a sharded one. All processes call it together, and each gets the model."""
    kind: Any = type(sharded).__bases__[-1]  # FSDP2 gives the model a class of its own, derived from the model's
    weights = get_model_state_dict(sharded, options=StateDictOptions(full_state_dict=True))
    with seeded():
        whole = kind._from_config(copy.deepcopy(sharded.config))
    whole.load_state_dict(weights)
    return whole


def keeps_whole_weights(trainer: Any) -> bool:
    """Whether a sharded training's checkpoints hold the model in one piece, too."""
    return bool(trainer.args.save_only_model) or "FULL" in str(trainer.accelerator.state.fsdp_plugin.state_dict_type)
