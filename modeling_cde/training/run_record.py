"""The record of a training in `metrics.json` and on the card: its command, data and settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..cli.verbs import command
from ..data.load_splits import pairs_used_twice, reported_splits
from ..data.splits import JOINT_SHIFTS
from ..whole_files import command_without_places, read_object
from .arguments import DataArguments, ModelArguments
from .lora import description, is_adapted
from .training_args import CDETrainingArguments

# The training arguments that decide the result.
RECORDED = (
    "seed", "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate",
    "backbone_learning_rate", "head_first_ratio", "weight_decay", "contrastive_weight", "sparsity_weight",
    "sparsity_warmup_ratio", "temperature", "class_aware_sampling", "min_samples_per_class", "bf16", "fp16",
    "metric_for_best_model",
)  # fmt: skip


def run_record(
    command: Sequence[str],
    arguments: tuple[ModelArguments, DataArguments, CDETrainingArguments],
    splits: Mapping[str, Any],
    model: Any,
) -> dict[str, Any]:
    """The record of a run that is about to start, in JSON types.

    `command` has the arguments of train.py as given, `arguments` the same parsed, and `splits` also "train".

    Returns:
        `command`, `data` (folder or repository), `manifests` (paths of the splits' files), `pairs` (number by split),
        `pairs_used_twice`, `precision` (of training and of validation during training), `arguments` (by name),
        `backbone_source` (see there) if the backbone is pretrained, and `lora` if the model has adapters. `make_run`
        adds `smaller_batch`, a sentence, and the size in `arguments` if there are fewer training pairs than a batch.
    """
    model_args, data_args, train_args = arguments
    shifts = (data_args.shift,) if data_args.shift in ("none", "mech") else JOINT_SHIFTS
    paths = [Path(data_args.source, "manifests", f"{data_args.view}_{shift}.json") for shift in shifts]
    record: dict[str, Any] = {
        "command": command_line(command),
        "data": data_args.source,
        "manifests": [str(path) for path in paths if path.exists()],
        "pairs": {name: len(rows) for name, rows in {"train": splits["train"], **reported_splits(splits)}.items()},
        "pairs_used_twice": pairs_used_twice(splits),
        "precision": "float32" if train_args.mixed_precision == "no" else train_args.mixed_precision,
        "arguments": vars(model_args) | vars(data_args) | {name: getattr(train_args, name) for name in RECORDED},
    }
    for name in ("feature_store", "feature_store_gb"):  # where numbers are kept does not change them
        del record["arguments"][name]
    if model_args.backbone is not None:
        if Path(model_args.backbone).is_dir():  # a path on this machine means nothing elsewhere
            record["arguments"]["backbone"] = Path(model_args.backbone).name
        record["backbone_source"] = backbone_source(model_args.backbone, model.config.backbone_revision)
    return record | ({"lora": description(model)} if is_adapted(model) else {})


def run_settings(model_args: ModelArguments, data_args: DataArguments) -> dict[str, Any]:
    """The arguments about model and data as settings of a training; see checkpoints/settings.py.

    Without those of which the model's configuration says more, and those that say where numbers are kept.
    """
    arguments = vars(model_args) | vars(data_args)
    for name in ("backbone", "backbone_revision", "backbone_config", "feature_store", "feature_store_gb"):
        del arguments[name]
    return {f"run.{name}": value for name, value in arguments.items()}


def backbone_source(backbone: str, revision: str | None) -> dict[str, Any]:
    """Where pretrained weights come from.

    Returns:
        Of a repository `source` (its id) and `revision` (the commit). Of a folder the texts in its SOURCE.json, such as
        `source`, `version`, `licence` and `sha256`; `source` is the folder's name if that is all that is known.
    """
    folder = Path(backbone)
    if not folder.is_dir():
        return {"source": backbone, "revision": revision}
    told = read_object(folder / "SOURCE.json") if (folder / "SOURCE.json").is_file() else {}
    return {"source": folder.name} | {name: text for name, text in told.items() if isinstance(text, str)}


def command_line(arguments: Sequence[str]) -> str:
    """The command, quoted for a shell, without tokens and places: metrics.json and the card are published."""
    kept: list[str] = []
    for argument in arguments:
        if kept and kept[-1] == "--hub_token":
            kept[-1] = "--hub_token=..."
        else:
            kept.append("--hub_token=..." if argument.startswith("--hub_token=") else argument)
    return command_without_places(command("train.py", *kept))
