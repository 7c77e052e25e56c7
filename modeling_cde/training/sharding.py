"""Training with weights, gradients and optimizer state in shards, one to each process: FSDP2, and DeepSpeed's ZeRO."""

import copy
import os
from contextlib import AbstractContextManager
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, str_to_bool
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from transformers import PreTrainedModel
from transformers.trainer_utils import SaveStrategy

from ..cards.pushing import PushingTrainer
from ..data.sampler import seeded
from .distributed import check_same_everywhere, share_buffers, tells_of_lost_processes
from .lora import is_adapted, merged


class ShardingTrainer(PushingTrainer):
    """A `Trainer` that shards, on GPUs and on CPUs, and gives back a whole model.

    The numbers of FSDP2 are those of DistributedDataParallel: the forward pass is under autocast as there, and the
    buffers (running statistics of batch norm) are those of the first process. With DeepSpeed a training computes in
    float32 and cannot be resumed: it would cast all weights, and its checkpoints are pickled.

    Args:
        *args, **kwargs: as for `transformers.Trainer`.

    Raises:
        ValueError: if the first version of FSDP is asked for, what would be sharded has adapters (LoRA) or is no model
            of Transformers, or DeepSpeed would compute in half precision or write checkpoints of its own.
    """

    model: Any
    is_fsdp_enabled: Any
    is_deepspeed_enabled: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self._sharded:
            return
        if is_adapted(self.model):
            raise ValueError("LoRA is trained by one process, or by several with a whole model each: not by shards.")
        if not isinstance(self.model, PreTrainedModel):
            raise ValueError(f"{type(self.model).__name__} cannot be sharded: it is no PreTrainedModel.")
        if self.is_deepspeed_enabled:
            self._check_deepspeed()
        if self.is_fsdp_enabled:
            plugin = self.accelerator.state.fsdp_plugin
            if plugin.transformer_cls_names_to_wrap is None:  # what the backbone's library says of other models, too
                here = {type(module).__name__ for module in self.model.modules()}
                plugin.transformer_cls_names_to_wrap = sorted(here & set(self.model._no_split_modules or ()))
            # Accelerate would shard it once more within what is sharded (ViT), or stop where there is none (ResNet).
            self.model.get_input_embeddings = lambda: None

    def _check_deepspeed(self) -> None:
        args = self.args
        if args.bf16 or args.fp16:
            raise ValueError("DeepSpeed would compute small differences in half precision: set --precision float32.")
        if args.resume_from_checkpoint or not (args.save_only_model or args.save_strategy == SaveStrategy.NO):
            raise ValueError(
                "DeepSpeed writes checkpoints with pickle, so with it a training is not resumed: set --save_strategy "
                "no and --load_best_model_at_end false, or shard by FSDP2 (configs/accelerate/fsdp2.yaml)."
            )
        # Of an `auto` in the launcher's file; train.py's evaluation makes an Accelerator, which reads numbers alone.
        os.environ["ACCELERATE_GRADIENT_ACCUMULATION_STEPS"] = str(args.gradient_accumulation_steps)

    def create_accelerator_and_postprocess(self) -> None:
        """See `transformers.Trainer.create_accelerator_and_postprocess`."""
        super().create_accelerator_and_postprocess()
        state = AcceleratorState()
        asked = self.args.fsdp or str_to_bool(os.environ.get("ACCELERATE_USE_FSDP", "false"))
        if asked and state.distributed_type == DistributedType.MULTI_CPU:
            # Accelerate shards on GPUs and the like only; what it does there works on CPUs as it is.
            state.distributed_type = PartialState().distributed_type = DistributedType.FSDP
            state.fsdp_plugin = FullyShardedDataParallelPlugin(**(self.args.fsdp_plugin_args or {}))
            self.is_fsdp_enabled = True
        if not self.is_fsdp_enabled:
            return
        if state.fsdp_plugin.fsdp_version != 2:
            raise ValueError("FSDP is supported in its second version: set fsdp_version: 2, see configs/accelerate/.")
        # It would cast the weights, also those of the projector, which is to compute in float32; autocast does not.
        state.fsdp_plugin.mixed_precision_policy = None

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> AbstractContextManager[Any]:
        """The autocast that Accelerate puts around every forward pass but that of a model sharded by FSDP2."""
        context: AbstractContextManager[Any] = (
            self.accelerator.autocast()
            if self.is_fsdp_enabled
            else super().autocast_smart_context_manager(cache_enabled)
        )
        return context

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """See `transformers.Trainer.train`.

        Raises:
            ValueError: if the processes were started with different settings.
            ConnectionError: if another process ends, or is silent for longer than `args.ddp_timeout`.
        """
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        sizes = {"number of parameters": parameters, "number of training samples": _length(self.train_dataset)}
        with tells_of_lost_processes():
            check_same_everywhere({**self.args.to_dict(), **sizes})
            return super().train(*args, **kwargs)

    def _init_training_state(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        done: tuple[int, int] = super()._init_training_state(*args, **kwargs)
        own, kept = self.args, self.state.stateful_callbacks  # goes into trainer_state.json
        now = own.per_device_train_batch_size * own.world_size * own.gradient_accumulation_steps
        then = kept.get("samples_per_step", now)
        if then != now and not own.ignore_data_skip:
            raise ValueError(
                f"The checkpoint was trained with {then} samples a step, and here a step has {now} "
                f"({own.per_device_train_batch_size} on each of {own.world_size} processes, "
                f"{own.gradient_accumulation_steps} times), so its place in the data is not known: change "
                "per_device_train_batch_size or gradient_accumulation_steps."
            )
        kept["samples_per_step"] = now
        return done

    def training_step(self, model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """See `transformers.Trainer.training_step`."""
        if self.is_fsdp_enabled:  # DistributedDataParallel does it by itself
            share_buffers(model)
        return super().training_step(model, *args, **kwargs)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """See `transformers.Trainer.evaluation_loop`; all processes evaluate the same model."""
        share_buffers(self.model)
        return super().evaluation_loop(*args, **kwargs)

    def whole_model(self) -> Any:
        """The trained model in one piece: of shards a new one that has all weights, of LoRA the merged one.

        All processes call it together, and each gets the model. Of a model that is whole it is that model itself.
        """
        share_buffers(self.model)
        if not self._sharded:
            return merged(self.model)
        sharded = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        kind = type(sharded)
        if self.is_fsdp_enabled:
            kind = kind.__bases__[-1]  # FSDP2 gives the model a class of its own, made of the model's
            weights = get_model_state_dict(sharded, options=StateDictOptions(full_state_dict=True))
        else:
            from deepspeed.zero import GatheredParameters

            with GatheredParameters(list(sharded.parameters())):
                weights = {name: tensor.detach().clone() for name, tensor in sharded.state_dict().items()}
        with seeded():
            whole = kind._from_config(copy.deepcopy(sharded.config))
        whole.load_state_dict(weights)
        return whole.to(self.args.device)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Saves the model, a sharded one in one piece; see `transformers.Trainer.save_model`.

        A checkpoint of a sharded training gets the weights in shards (`save_sharded`), and in one piece beside them
        only where `fsdp_state_dict_type: FULL_STATE_DICT` asks for it.
        """
        if not self._sharded:
            super().save_model(output_dir, _internal_call)
            return
        if _internal_call and self.is_fsdp_enabled and not self._saves_whole:
            if self.args.should_save:
                for part in (self.model.config, self.processing_class):
                    if part is not None:
                        part.save_pretrained(output_dir)
            return
        sharded, engines = self.model, (self.is_fsdp_enabled, self.is_deepspeed_enabled)
        self.model, self.is_fsdp_enabled, self.is_deepspeed_enabled = self.whole_model(), False, False
        try:
            super().save_model(output_dir, _internal_call)
        finally:
            self.model, (self.is_fsdp_enabled, self.is_deepspeed_enabled) = sharded, engines

    @property
    def _sharded(self) -> bool:
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    @property
    def _saves_whole(self) -> bool:
        return self.args.save_only_model or "FULL" in str(self.accelerator.state.fsdp_plugin.state_dict_type)


def _length(data: Any) -> int | None:
    return len(data) if hasattr(data, "__len__") else None
