"""The training and validation parts of train.py: loaded as a whole, streamed, or as cached features."""

import copy
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from ..data.augmentation import Augmentation
from ..data.load_splits import Shift, load_shifts
from ..data.streaming.pair_stream import PairStream
from ..data.subsets import take_subsets
from ..data.transforms import PairTransform
from .arguments import DataArguments, ModelArguments
from .feature_cache import cache_features
from .training_args import CDETrainingArguments

# Size of the bank from a streamed training part, which may be larger than memory; a loaded part is used as a whole.
_STREAMED_BANK_PAIRS = 1000


def fitting_arguments(
    model_args: ModelArguments, data: DataArguments, args: CDETrainingArguments
) -> CDETrainingArguments:
    """The training's arguments as a copy, without what streamed pairs or cached features have no use for.

    Warns:
        UserWarning: class-aware sampling is switched off.
    """
    args = copy.copy(args)
    if data.streaming and args.class_aware_sampling:
        args.class_aware_sampling = False
        warnings.warn(
            "Streamed pairs are shuffled within blocks, and their batches are not class-aware: an action may be in one "
            "without a positive. --class_aware_sampling false switches this warning off.",
            stacklevel=2,
        )
    if model_args.cache_features:  # they are read in less time than another process takes to hand them over
        args.dataloader_num_workers, args.dataloader_prefetch_factor = 0, None
        args.dataloader_persistent_workers = False
    return args


def training_splits(data: DataArguments, seed: int) -> dict[str, Any]:
    """The splits under the names of `load_shifts`, chosen from by `seed`; a streamed "train" is a `PairStream`.

    Raises:
        ValueError, OSError: See `load_shifts` and `take_subsets`.
    """
    shift = cast(Shift, data.shift)
    if not data.streaming:
        return take_subsets(load_shifts(data.source, data.view, shift), seed=seed, **data.subsets())
    return load_shifts(data.source, data.view, shift, stream_buffer=data.stream_buffer)


def training_transforms(
    data: DataArguments, model: Any, processor: Any, actions: list[str], seed: int
) -> tuple[PairTransform, PairTransform]:
    """The transforms of evaluation and of training.

    Size and colours are the processor's, the inputs besides pictures the model's. Where the names of the actions
    distinguish left and right, no picture is mirrored.
    """
    seen = {"crop": "box" if data.view == "single" else "none", "extras": model.extra_inputs}
    augment = data.augment and Augmentation.for_actions(actions)
    augmented = PairTransform.from_processor(processor, **seen, augment=augment, seed=seed)
    return PairTransform.from_processor(processor, **seen), augmented


def training_parts(
    model_args: ModelArguments,
    args: CDETrainingArguments,
    model: Any,
    splits: Mapping[str, Any],
    plain: PairTransform,
    augmented: PairTransform,
) -> tuple[Any, dict[str, Any]]:
    """The training part, and name -> validation part, ready for the trainer.

    The splits are from `training_splits` and the transforms from `training_transforms`.

    Raises:
        ValueError, OSError: See `cache_features`.
    """
    parts = {name: rows.with_transform(plain) for name, rows in splits.items() if name.startswith("validation")}
    parts["train"] = splits["train"].with_transform(augmented)
    if model_args.cache_features:
        parts = cache_features(
            model,
            parts,
            Path(model_args.features_folder or Path(str(args.output_dir)) / "features"),
            args.per_device_eval_batch_size,
            autocast=torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None,
            num_workers=args.dataloader_num_workers or 0,
        )
    return parts.pop("train"), parts


def bank_of(train: Any) -> Any:
    """The training pairs that other pairs are compared with: all of them, or a sample of a stream."""
    return train.sample(_STREAMED_BANK_PAIRS) if isinstance(train, PairStream) else train


def sentence_of(error: BaseException) -> str:
    """The message of an error; without the traceback that a worker of a data loader adds."""
    text = str(error)
    if "\nOriginal Traceback" in text:
        text = re.split(r"\n[\w.]+: ", text)[-1]
    return " ".join(text.split())
