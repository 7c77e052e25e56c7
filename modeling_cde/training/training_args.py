"""Arguments of `CDETrainer`: Transformers' `TrainingArguments` with other defaults and fields of our own."""

import multiprocessing
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from transformers import TrainingArguments
from transformers.hf_argparser import HfArg
from transformers.trainer_utils import SchedulerType

from ..features.encoder import native_bf16
from ..models.checks_cde import parse_json
from .contrastive import TEMPERATURE
from .distributed import join_processes

_MOST = float("inf")
_FINITE = 1e30
# Field -> least and greatest value; NaN is outside every range. Transformers' own errors do not name the field.
_RANGES: dict[str, tuple[float, float]] = {
    name: limits
    for limits, names in {
        (0, _FINITE): "contrastive_weight sparsity_weight learning_rate backbone_learning_rate num_train_epochs "
        "warmup_steps weight_decay adam_epsilon eval_delay logging_steps save_steps eval_steps neftune_noise_alpha",
        (0, 1): "sparsity_warmup_ratio head_first_ratio adam_beta1 adam_beta2",
        (0, _MOST): "max_grad_norm dataloader_num_workers",
        (0, 2**32 - 1): "seed data_seed",
        (1, _MOST): "min_samples_per_class per_device_train_batch_size per_device_eval_batch_size save_total_limit "
        "gradient_accumulation_steps eval_accumulation_steps dataloader_prefetch_factor ddp_timeout",
        (-1, _MOST): "max_steps",
    }.items()
    for name in names.split()
}
_TEST_SPLIT = re.compile(r"(?<![a-z])test(ing|s)?(?![a-z])")


def is_test_split(name: str) -> bool:
    """Whether the name of a split or a metric contains the word test: "test", "test_ood", "eval_test_loss"."""
    return _TEST_SPLIT.search(name.lower()) is not None


def loader_processes(use_cpu: bool = False) -> int:
    """The default number of loader processes for each training process.

    Without any, the model waits while pictures are decoded. It is 0 where loaders could fail: on systems where a new
    process imports the main script again, and where the shared memory that batches pass through is as small as in a
    container with default settings (64 MiB).
    """
    shared = Path("/dev/shm")
    forks = multiprocessing.get_all_start_methods()[0] == "fork"
    if not forks or not shared.is_dir() or shutil.disk_usage(shared).free < 2**30:
        return 0
    if use_cpu or not torch.cuda.is_available():
        return 1
    cores = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(8, cores - 1))


@dataclass
class CDETrainingArguments(TrainingArguments):  # type: ignore[misc]
    """Everything that `CDETrainer` needs besides the model and the data.

    All fields of `transformers.TrainingArguments` are accepted, too; those repeated here have another default. Only
    three defaults come from the paper: the two loss weights, and the sparsity term as a sum over dimensions.

    Raises:
        ValueError: if a value is out of range, two values contradict each other, or a test split would select the best
            model; the message names the field.
    """

    # Loss
    contrastive_weight: float = HfArg(
        default=2.0, help="Weight of the supervised contrastive term (as published); 0 drops the term."
    )
    sparsity_weight: float = HfArg(
        default=1.0, help="Weight of the L1 norm of the deltas (as published); 0 drops the term."
    )
    temperature: float = HfArg(
        default=TEMPERATURE, help="Temperature of the contrastive term. The paper states none; the default is ours."
    )
    sparsity_reduction: Literal["sum", "mean"] = HfArg(
        default="sum",
        help="L1 norm of a delta as the sum over its dimensions (as published), or as their mean, which does not grow "
        "with delta_dim.",
    )
    sparsity_warmup_ratio: float = HfArg(
        default=0.0,
        help="Share of all training steps, 0 to 1, over which the sparsity weight grows linearly from 0. 0 (as "
        "published) applies it in full from the first step, which can collapse an encoder trained from scratch.",
    )

    # Optimization
    learning_rate: float = HfArg(
        default=3e-4, help="Peak learning rate of everything but the backbone. The default is ours."
    )
    backbone_learning_rate: float | None = HfArg(
        default=None,
        help="Peak learning rate of the backbone. Default: a tenth of learning_rate, meant for a pretrained backbone "
        "(the factor is ours); set it to learning_rate for one trained from scratch.",
    )
    head_first_ratio: float = HfArg(
        default=0.0,
        help="Share of the steps in which the backbone's learning rate is 0, so that the head is trained first.",
    )
    weight_decay: float = HfArg(
        default=0.05, help="Weight decay of matrices and kernels; biases, norms, class tokens and positions have none."
    )
    lr_scheduler_type: SchedulerType | str = HfArg(
        default="cosine", help="Shape of both learning rates over time: cosine, linear, constant, ..."
    )
    warmup_steps: float = HfArg(
        default=0.05, help="Steps over which both learning rates grow from 0; a value below 1 is a share of all steps."
    )
    precision: Literal["auto", "float32", "bf16", "fp16"] = HfArg(
        default="auto",
        help="Precision of the forward pass in training and in the validation during training; losses and weights "
        "stay float32, and so do the final scores. auto: bf16 where the GPU or CPU has units for it, else float32. "
        "fp16 needs a GPU. Sets the flags bf16 and fp16.",
    )

    # Batches
    class_aware_sampling: bool = HfArg(
        default=True,
        help="Give each action in a batch at least min_samples_per_class samples, so that every sample has a positive. "
        "Needs a data set with columns; streams and plain torch data sets are shuffled as usual.",
    )
    min_samples_per_class: int = HfArg(
        default=2, help="Least number of samples of each action in a batch; at most the batch size."
    )
    label_column: str = HfArg(
        default="action",
        help="Column of the training data that holds the action, for the batch sampler; if there is no column action, "
        "labels.",
    )
    dataloader_drop_last: bool = HfArg(
        default=True,
        help="Drop the training samples that do not fill the last batch of an epoch. Evaluation always counts every "
        "sample once.",
    )
    dataloader_num_workers: int | None = HfArg(
        default=None,
        help="Processes that read and transform pictures while the model trains. Default: 1 on a CPU, whose cores it "
        "shares with training; with a GPU the cores of each process minus one, at most 8; 0 where processes cannot be "
        "forked or shared memory is too small. The number does not change the batches.",
    )
    logging_nan_inf_filter: bool = HfArg(
        default=False,
        help="Replace a NaN or infinite loss in the log by the mean of the earlier losses. This waits for the GPU at "
        "each step, and hides the signs that the doctor looks for.",
    )
    remove_unused_columns: bool = HfArg(
        default=False, help="Must stay false if a transform of the data set reads the images."
    )
    evaluate_last_checkpoint: bool = HfArg(
        default=False,
        help="train.py: evaluate the last epoch, too, into the folder last/, where validation selects another one.",
    )
    allow_changed_settings: bool = HfArg(
        default=False,
        help="Let a resumed training go on with another loss, learning rate, precision and whatever else takes effect; "
        "metrics.json and the card say from which step on.",
    )
    label_names: list[str] | None = HfArg(
        default_factory=lambda: ["labels"], help="Inputs of the model that are labels."
    )

    ddp_find_unused_parameters: bool | None = HfArg(
        default=False, help="Whether DistributedDataParallel searches each step for weights that it did not use."
    )
    ddp_timeout: int = HfArg(
        default=600,
        help="With several processes: seconds that one waits for the others before it gives up. A killed process is "
        "noticed at once; this is for one that hangs.",
    )

    def __post_init__(self) -> None:
        join_processes(self.use_cpu, self.ddp_timeout, bool(self.deepspeed))
        self._check_ranges()
        self._choose_precision()
        if self.dataloader_num_workers is None:
            self.dataloader_num_workers = loader_processes(self.use_cpu)
        super().__post_init__()
        own: Any = self  # the fields of the base class have no types
        if str(own.resume_from_checkpoint).lower() == "false":  # over a recipe that says true
            own.resume_from_checkpoint = None
        if not torch.cuda.is_available():
            self.dataloader_pin_memory = False  # speeds up copies to a GPU; without one torch only warns
        if self.precision == "float32":
            self.mixed_precision = "no"  # whatever `accelerate launch` has put into the environment
        for name in ("activation_checkpointing_kwargs", "gradient_checkpointing_kwargs"):
            if isinstance(kwargs := getattr(own, name, None), dict):
                # PyTorch's default, once there are any options, gives no gradients where the inputs are frozen.
                setattr(own, name, {"use_reentrant": False, **kwargs})
        if self.backbone_learning_rate is None:
            self.backbone_learning_rate = self.learning_rate / 10
        self.refuse_selection_on_test(None)
        if self.push_to_hub and "checkpoint" in str(self.hub_strategy.value):
            raise ValueError(
                f"hub_strategy={self.hub_strategy.value} would publish the state of the training, which contains paths "
                "of this machine: use every_save or end. To go on elsewhere, copy a checkpoint's folder."
            )

    def refuse_selection_on_test(self, eval_dataset: Any) -> None:
        """Check that a validation split decides about the best model and early stopping.

        Args:
            eval_dataset: one data set or a mapping from split to data set, as `Trainer` takes it; None checks only the
                metric's name.

        Raises:
            ValueError: if the metric, the key that it begins with, or the data set's own `split` contains "test".
        """
        metric = self.metric_for_best_model
        if metric is None:
            return
        named = dict(eval_dataset) if isinstance(eval_dataset, Mapping) else {"": eval_dataset}
        bare = metric.removeprefix("eval_")
        key = max((key for key in named if not key or bare.startswith(f"{key}_")), key=len, default="")
        split = str(getattr(named.get(key), "split", None) or "")
        if any(is_test_split(name) for name in (metric, key, split)):
            raise ValueError(
                f"metric_for_best_model={metric!r} would select the model on a test split "
                f"({split or key or metric}); name a metric of a validation split."
            )

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """The trainable parameters by learning rate and weight decay, for an optimizer.

        The backbone is everything under a module named `backbone`, except LoRA's adapters: they start from zero and
        take the learning rate of the head. Weight decay applies to the weights of linear and convolution layers, but
        not to biases, norms, embeddings and bare parameters (class and register tokens, positions, layer scales).

        Returns:
            Up to four groups with "name", "params", "lr" and "weight_decay", without frozen parameters; the head's
            come first.
        """
        embeddings = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                decay = name.endswith("weight") and parameter.ndim > 1 and id(parameter) not in embeddings
                pretrained = "backbone" in name.split(".") and ".lora_" not in name
                groups.setdefault((pretrained, decay), []).append(parameter)
        return [
            {
                "name": ("backbone" if backbone else "head") + ("" if decay else ", no decay"),
                "params": parameters,
                "lr": self.backbone_learning_rate if backbone else self.learning_rate,
                "weight_decay": self.weight_decay if decay else 0.0,
            }
            for (backbone, decay), parameters in sorted(groups.items())
        ]

    def _check_ranges(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float)) and least <= value <= most):
                kind = "finite number" if most == _FINITE else "number"
                upper = "" if most in (_FINITE, _MOST) else f" and at most {most}"
                raise ValueError(f"{name} must be a {kind} of at least {least}{upper}, got {value!r}.")
        if self.max_steps == 0:
            raise ValueError("max_steps must be at least 1, or -1 for num_train_epochs; got 0.")
        for name in self._VALID_DICT_FIELDS:
            value = getattr(self, name)
            if isinstance(value, str) and value.startswith("{"):
                parse_json(value, name)
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be a finite number greater than 0, got {self.temperature}.")
        for name, known in (
            ("sparsity_reduction", ("sum", "mean")),
            ("precision", ("auto", "float32", "bf16", "fp16")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}.")
        if self.class_aware_sampling and self.min_samples_per_class > self.per_device_train_batch_size:
            raise ValueError(
                f"min_samples_per_class={self.min_samples_per_class} does not fit in "
                f"per_device_train_batch_size={self.per_device_train_batch_size}: lower the first, raise the second, "
                "or set class_aware_sampling=False."
            )
        if self.label_smoothing_factor:
            raise ValueError("label_smoothing_factor must be 0: the model computes its own cross-entropy, unsmoothed.")

    def _choose_precision(self) -> None:
        """Sets bf16 and fp16 from `precision`; auto follows a flag, then the launcher, then the hardware."""
        own: Any = self  # the fields of the base class have no types
        launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
        if self.precision == "auto":
            if not (own.bf16 or own.fp16):
                own.bf16 = launched == "bf16" or launched == "no" and native_bf16(own.use_cpu)
                own.fp16 = launched == "fp16"
        else:
            for flag in ("bf16", "fp16"):
                if getattr(own, flag) and self.precision != flag:
                    raise ValueError(f"precision={self.precision!r} contradicts {flag}=True: give only one of them.")
            own.bf16, own.fp16 = self.precision == "bf16", self.precision == "fp16"
        if own.fp16 and (own.use_cpu or not torch.accelerator.is_available()):
            raise ValueError("precision='fp16' needs a GPU; use auto, bf16 or float32 on a CPU.")
        if own.bf16 and not torch.accelerator.is_available():
            own.use_cpu = True  # TrainingArguments accepts bf16 without a GPU only if the CPU was asked for
