"""The training and validation parts of train.py: loaded as a whole, streamed, or as kept features."""

import copy
import re
import warnings
from collections.abc import Mapping
from typing import Any, cast

from transformers.trainer_utils import IntervalStrategy, SchedulerType

from ..data.augmentation import Augmentation
from ..data.load_splits import Shift, load_shifts
from ..data.splits import OPPOSITES
from ..data.streaming.pair_stream import PairStream
from ..data.subsets import take_subsets
from ..data.swapped_pairs import held_out_combinations, with_swapped
from ..data.transforms import PairTransform
from ..features.keep import FeatureKeeper
from ..features.store import FeatureStore
from .arguments import DataArguments, ModelArguments
from .training_args import CDETrainingArguments

# Size of the bank from a streamed training part, which may be larger than memory; a loaded part is used as a whole.
_STREAMED_BANK_PAIRS = 1000


def feature_store(model_args: ModelArguments, data: DataArguments) -> FeatureStore | None:
    """The store of features that a run uses; None where every epoch may see others.

    Raises:
        ValueError: A folder is given or the classifier needs features, but none can be kept.
    """
    reasons = {
        "--freeze_backbone true": not model_args.freeze_backbone or model_args.lora_rank > 0,
        "--augment false": data.augment,
        "--streaming false": data.streaming,
        "--feature_store_gb above 0": model_args.feature_store_gb == 0,
    }
    if lacking := [what for what, lacks in reasons.items() if lacks]:
        if model_args.feature_store is not None:
            raise ValueError(f"feature_store says where features are kept, which needs {lacking[0]}.")
        if model_args.classifier == "lda":
            raise ValueError(f"classifier='lda' is computed from kept features, which needs {lacking[0]}.")
        return None
    return FeatureStore(model_args.feature_store, model_args.feature_store_gb)


def fitting_arguments(
    store: FeatureStore | None, data: DataArguments, args: CDETrainingArguments, validates: bool = True
) -> CDETrainingArguments:
    """The training's arguments as a copy, without what streamed pairs or kept features have no use for.

    Without a validation part (`validates`) there is no evaluation during training, and none that selects the model.

    Raises:
        ValueError: The learning rate follows a validation part that the data set lacks.

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
    if not validates:
        if args.lr_scheduler_type == SchedulerType.REDUCE_ON_PLATEAU:
            raise ValueError(
                f"lr_scheduler_type={SchedulerType.REDUCE_ON_PLATEAU.value} follows the validation, and {data.source} "
                "has no validation part: choose another, such as cosine."
            )
        args.eval_strategy, args.eval_on_start = IntervalStrategy.NO, False
        args.load_best_model_at_end, args.metric_for_best_model = False, None
    if store is not None:  # features are read in less time than another process takes to hand them over
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
    data: DataArguments,
    splits: Mapping[str, Any],
    transforms: tuple[PairTransform, PairTransform],
    keep: FeatureKeeper | None,
) -> tuple[Any, dict[str, Any]]:
    """The training part, and name -> validation part, ready for the trainer.

    The splits are from `training_splits` and the transforms from `training_transforms`. Features of all splits are
    kept, so that the final evaluation finds them there.

    Raises:
        ValueError, OSError: See `keep_features` and `with_swapped`.
    """
    parts = dict(splits)
    if data.swap_opposites:
        parts["train"] = with_swapped(splits["train"], OPPOSITES, held_out_combinations(splits))
    plain, augmented = transforms
    if keep is None:
        ready = {name: rows.with_transform(plain) for name, rows in parts.items() if name != "train"}
        ready["train"] = parts["train"].with_transform(augmented)
    else:
        ready = keep(parts)
    return ready["train"], {name: rows for name, rows in ready.items() if name.startswith("validation")}


def keeping(args: CDETrainingArguments) -> dict[str, Any]:
    """How a training encodes features: options of `keep_features`."""
    on_cpu = args.device.type == "cpu"  # where another process for the pictures would take the backbone's cores
    workers = 0 if on_cpu else args.dataloader_num_workers or 0
    return {"precision": "bf16" if args.bf16 else "float32", "num_workers": workers}


def bank_of(train: Any) -> Any:
    """The training pairs that other pairs are compared with: all of them, or a sample of a stream."""
    return train.sample(_STREAMED_BANK_PAIRS) if isinstance(train, PairStream) else train


def sentence_of(error: BaseException) -> str:
    """The message of an error; without the traceback that a worker of a data loader adds."""
    text = str(error)
    if "\nOriginal Traceback" in text:
        text = re.split(r"\n[\w.]+: ", text)[-1]
    return " ".join(text.split())
