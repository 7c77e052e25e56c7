"""A run of train.py: everything that it trains and evaluates, made from its arguments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import set_seed

from ..data.collator import PairCollator
from ..data.transforms import PairTransform
from ..features.keep import FeatureKeeper
from ..models.methods import METHODS
from .arguments import DataArguments, ModelArguments
from .checkpoints.changed_settings import check_newest
from .checkpoints.settings import as_json, data_settings, model_settings, training_settings
from .lda_head import give_lda_head, sentence
from .model_selection import selection_metrics
from .new_model import make_model
from .progress import show_progress
from .run_record import run_record, run_settings
from .trainer import CDETrainer
from .training_args import CDETrainingArguments
from .training_data import (
    bank_of,
    feature_store,
    fitting_arguments,
    keeping,
    training_parts,
    training_splits,
    training_transforms,
)


@dataclass
class Run:
    """What a training needs, and what its evaluation needs after it.

    Attributes:
        trainer: Ready to train.
        splits: All parts by name, as they are stored.
        transform: What the model sees of them in evaluation.
        record: For `metrics.json`; see `run_record`.
        keep: Gives splits the kept features of their pictures; None: the model reads pictures.
    """

    trainer: CDETrainer
    splits: dict[str, Any]
    transform: PairTransform
    record: dict[str, Any]
    keep: FeatureKeeper | None

    @property
    def title(self) -> str:
        """The method's name in tables."""
        return METHODS[self.record["arguments"]["method"]].title

    def bank(self) -> Any:
        """The training pairs that other pairs are compared with."""
        return bank_of(self.splits["train"])

    def says(self) -> list[str]:
        """Lines about what is going to be trained on."""
        validates = bool(self.trainer.eval_dataset)
        what = "Training, and validation during it," if validates else "Training"
        lines = [f"{what} in {self.record['precision']}; final scores in float32."]
        if self.keep is not None and self.keep.precision == "bf16":
            lines[0] = lines[0][:-1] + ", on features that were encoded in bf16."
        if "lora" in self.record:
            lines.insert(0, self.record["lora"])
        if self.record["arguments"]["swap_opposites"]:
            pairs = len(self.splits["train"])
            copies = len(self.trainer.train_dataset) - pairs
            lines.append(f"An epoch has {pairs} training pairs and {copies} swapped copies under the opposite action.")
        if not validates:
            lines.append("There is no validation part: nothing is validated on the way, and the last step is kept.")
        if "classifier" in self.record:
            lines.append(sentence(self.record["classifier"]))
        return lines


def check_resumed(model_args: ModelArguments, data_args: DataArguments, train_args: CDETrainingArguments) -> None:
    """Raise ValueError, before anything is rendered or fetched, if a checkpoint was trained with other arguments."""
    known = training_settings(train_args.to_dict(), train_args.world_size) | run_settings(model_args, data_args)
    check_newest(train_args, as_json(known))


def make_run(
    command: Sequence[str],
    model_args: ModelArguments,
    data_args: DataArguments,
    train_args: CDETrainingArguments,
    compared: bool = False,
) -> Run:
    """Loads the pairs, makes the model, and encodes the pictures whose features are kept.

    Args:
        command: The arguments of train.py as given, for the record; the next three are the same parsed.
        compared: Whether the model is one of several that are compared on the test parts.

    Raises:
        ValueError, OSError: The pairs, the backbone or a setting cannot be used, or is not that of the checkpoint which
            is resumed; the message says why.
    """
    set_seed(train_args.seed)
    splits = training_splits(data_args, train_args.seed)
    if compared and not any(name.startswith("test") for name in splits):
        raise ValueError(f'{data_args.source} has no test part to compare methods on, so add --compare_with "".')
    actions = splits["train"].features["action"].names
    model, processor = make_model(model_args, data_args.image_size, splits["train"].features)
    settings = as_json(run_settings(model_args, data_args) | data_settings(splits["train"], "pairs."))
    check_newest(train_args, settings | as_json(model_settings(model)))
    plain, augmented = training_transforms(data_args, model, processor, actions, train_args.seed)
    store = feature_store(model_args, data_args)
    keep = None if store is None else FeatureKeeper(model, plain, store, **keeping(train_args))
    train, validation = training_parts(data_args, splits, (plain, augmented), keep)
    args = fitting_arguments(store, data_args, train_args, bool(validation))
    record = run_record(command, (model_args, data_args, args), splits, model)
    if model_args.classifier == "lda":
        record["classifier"] = give_lda_head(model, train, validation)
    trainer = CDETrainer(
        model=model,
        args=args,
        train_dataset=train,
        eval_dataset=validation or None,
        data_collator=PairCollator(),
        processing_class=processor,
        compute_metrics=selection_metrics(actions),
    )
    trainer.run_settings = settings
    if trainer.smaller_batch is not None:
        record["smaller_batch"] = trainer.smaller_batch
        record["arguments"]["per_device_train_batch_size"] = trainer._train_batch_size // max(1, args.n_gpu)
    show_progress(trainer)
    return Run(trainer, splits, plain, record, keep)
