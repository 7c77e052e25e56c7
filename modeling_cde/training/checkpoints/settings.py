"""What a training is made of, as plain values by name; every checkpoint has them in settings.json.

    seed, temperature, ...        the training's arguments
    loss, loss.temperature, ...   a loss that was passed to the trainer
    model.delta_dim, ...          the model's configuration, LoRA, and how many parameters are trained
    data.rows, data.columns.action, data.transform.size, ...   the training data: numbers, and digests of columns
    validation.rows, ...          each validation part in short
    run.view, run.image_size, ... train.py's arguments about model and data; pairs.* are the pairs that it has loaded

What a resumed training has changed of them: see changed_settings.py.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
from torch import nn

from ...data.streaming.pair_stream import PairStream
from ...features.kept_pairs import PLACE, SIZE, KeptFeatures
from ...whole_files import read_object
from ..lora import is_adapted

SETTINGS = "settings.json"
_ROWS_AT_ONCE = 10_000
# Where the training writes, how it was started, and what another field says.
_NOT_COMPARED = (
    "output_dir resume_from_checkpoint allow_changed_settings local_rank hub_token do_train do_eval do_predict "
    "bf16 fp16"  # as precision
).split()
# Of a configuration: what changes with the version of a library, or does not concern the weights.
_NOT_THE_MODEL = "transformers_version architectures auto_map custom_pipelines dtype torch_dtype".split()


def settings_of(trainer: Any) -> dict[str, Any]:
    """All settings of a `CheckpointingTrainer`, in JSON types."""
    args, model = trainer.args, trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False)
    return as_json(
        training_settings(args.to_dict(), args.world_size)
        | loss_settings(trainer.loss, trainer.loss_is_given)
        | model_settings(model)
        | data_settings(trainer.train_dataset)
        | validation_settings(trainer.eval_dataset)
        | trainer.run_settings
    )


def as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as they are after they have been written and read."""
    read: dict[str, Any] = json.loads(json.dumps(settings, default=_named))
    return read


def _named(value: Any) -> str:
    """A value that JSON does not know; an object that does not say what it is has an address in its text."""
    text = str(value)
    return type(value).__qualname__ if " at 0x" in text else text


def training_settings(arguments: Mapping[str, Any], processes: int) -> dict[str, Any]:
    """The settings in training arguments, which are given as in training_args.json."""
    precision = "bf16" if arguments.get("bf16") else "fp16" if arguments.get("fp16") else "float32"
    kept = {name: value for name, value in arguments.items() if name not in _NOT_COMPARED}
    return kept | {"precision": precision, "processes": processes}


def model_settings(model: Any) -> dict[str, Any]:
    """The settings of a model, of which LoRA may adapt the backbone."""
    config: Any = getattr(model, "config", None)
    found: dict[str, Any] = {"model.class": type(model).__qualname__}
    if hasattr(config, "to_dict"):
        found = config_settings(config.to_dict())
    if is_adapted(model):
        lora = model.peft_config[model.active_adapter]
        found |= {f"model.lora_{name}": getattr(lora, field) for name, field in _LORA.items()}
        targets = lora.target_modules
        found["model.lora_targets"] = targets if isinstance(targets, str | None) else sorted(targets)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    found["model.parameters"] = sum(size for size, _ in sizes)
    found["model.trained_parameters"] = sum(size for size, trained in sizes if trained)
    return found


_LORA = {"rank": "r", "alpha": "lora_alpha", "dropout": "lora_dropout"}


def config_settings(config: Mapping[str, Any], prefix: str = "model.") -> dict[str, Any]:
    """The fields of a configuration, and of those within it, under one name each."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if name == "_name_or_path":
            if prefix == "model.backbone_config.":
                found["model.backbone"] = str(value or "")
        elif isinstance(value, Mapping) and name.endswith("_config"):
            found |= config_settings(value, f"{prefix}{name}.")
        elif name not in _NOT_THE_MODEL:
            found[f"{prefix}{name}"] = value
    return found


def loss_settings(loss: Any, given: bool) -> dict[str, Any]:
    """The settings of a loss; those of one that the trainer has made of its arguments are among these."""
    found = {"loss": getattr(loss, "__qualname__", type(loss).__qualname__)}
    if isinstance(loss, nn.Module):
        found["loss.parameters"] = sum(p.numel() for p in loss.parameters() if p.requires_grad)
    if not given:
        return found
    own = {name: value for name, value in vars(loss).items() if not name.startswith("_") and name != "training"}
    weights = own.pop("weights", None)
    if isinstance(weights, Mapping):
        own |= {f"weights.{name}": float(weight) for name, weight in weights.items()}
    plain = {name: value for name, value in own.items() if isinstance(value, str | bool | int | float)}
    return found | {f"loss.{name}": value for name, value in plain.items()}


def data_settings(data: Any, prefix: str = "data.") -> dict[str, Any]:
    """What tells one training part from another: the same for equal data in every process, wherever they are.

    Of a `datasets.Dataset` these are the number of rows, a digest of each column of plain values, one of the sizes of
    the pictures, and what a `PairTransform` shows of them; no picture is read. A stream has the digest of its files'
    footers, a list the labels in it, and any other data the length alone.
    """
    found: dict[str, Any] = {"streaming": isinstance(data, PairStream)}
    if hasattr(data, "__len__"):
        found["rows"] = len(data)
    if isinstance(data, PairStream):
        found["files"] = data.fingerprint
        transform: Any = data.transform
    elif isinstance(data, datasets.Dataset):
        found |= _columns(data)
        transform = data.format["format_kwargs"].get("transform")
    else:
        transform = None
        if isinstance(data, list | tuple) and all(isinstance(item, Mapping) for item in data):
            found["labels"] = _digest(str(item.get("labels")) for item in data)
    if isinstance(transform, KeptFeatures):
        transform = transform.transform
    if hasattr(transform, "preprocessing"):
        sight = {name: getattr(transform, name) for name in ("size", "crop", "crop_margin", "extras", "seed")}
        sight |= {"augment": transform.augment and asdict(transform.augment)}
        sight |= {f"picture_{name}": value for name, value in asdict(transform.preprocessing).items()}
        found |= {f"transform.{name}": value for name, value in sight.items()}
    return {f"{prefix}{name}": value for name, value in found.items()}


def validation_settings(parts: Any) -> dict[str, Any]:
    """The validation parts, each as its number of rows and one digest."""
    named = dict(parts) if isinstance(parts, Mapping) else {"rows": parts} if parts is not None else {}
    told = {name: as_json(data_settings(part)) for name, part in named.items()}
    return {
        f"validation.{name}": f"{one.get('data.rows')} ({_digest([json.dumps(one, sort_keys=True)])})"
        for name, one in told.items()
    }


def _columns(rows: datasets.Dataset) -> dict[str, Any]:
    """The names of the columns of plain values, a digest of each, and one of the sizes of each column of pictures."""
    types = {field.name: field.type for field in rows.data.schema if field.name not in (PLACE, SIZE)}
    names = sorted(name for name, kind in types.items() if _is_plain(kind))
    found: dict[str, Any] = {"columns": names}
    digests = {name: hashlib.sha256(repr(getattr(rows.features[name], "names", None)).encode()) for name in names}
    for name in names:
        column = _of_rows(rows, rows.data.column(name))
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            digests[name].update(repr(column.slice(start, _ROWS_AT_ONCE).to_pylist()).encode())
    found |= {f"columns.{name}": digest.hexdigest()[:12] for name, digest in digests.items()}
    pictures = [name for name, kind in types.items() if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0]
    return found | {f"columns.{name}": _digest([repr(_sizes(rows, name))]) for name in pictures}


def _is_plain(kind: pa.DataType) -> bool:
    few: bool = pa.types.is_fixed_size_list(kind) and kind.list_size <= 16 and pa.types.is_primitive(kind.value_type)
    return few or pa.types.is_primitive(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _sizes(rows: datasets.Dataset, name: str) -> list[int | None]:
    """The number of bytes of each picture; only their offsets are read, also of rows that were selected."""
    chunks = [pc.binary_length(pc.struct_field(chunk, "bytes")) for chunk in rows.data.column(name).chunks]
    sizes = pa.chunked_array(chunks) if chunks else pa.chunked_array([[]], pa.int32())
    return _of_rows(rows, sizes).to_pylist()  # type: ignore[no-any-return]


def _of_rows(rows: datasets.Dataset, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values of a column of the table below that are in these rows, in their order."""
    return column if rows._indices is None else column.take(rows._indices.column(0))


def _digest(texts: Any) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode())
    return digest.hexdigest()[:12]


def settings_text(settings: Mapping[str, Any], history: list[dict[str, Any]]) -> str:
    """The content of settings.json: the settings, and what was changed of them at which step."""
    return json.dumps({"settings": settings, "changed": history}, indent=1) + "\n"


def read_settings(checkpoint: Path, config: Any = None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The settings that a checkpoint was trained with, and what was changed of them at which step.

    A checkpoint of an earlier version has those of its arguments, and of its model if that is of the kind of `config`.

    Raises:
        ValueError: a file cannot be read.
    """
    file = checkpoint / SETTINGS
    if file.is_file():
        read = read_object(file)
        settings, history = read.get("settings"), read.get("changed")
        if not isinstance(settings, dict) or not isinstance(history, list):
            raise ValueError(f"{file} does not hold the settings of a training: resume from another checkpoint.")
        return settings, history
    found: dict[str, Any] = {}
    if (file := checkpoint / "training_args.json").is_file():
        manifest = read_object(checkpoint / "manifest.json")
        found |= training_settings(read_object(file), manifest.get("processes", 1))
    if config is not None and (file := checkpoint / "config.json").is_file():
        kind = read_object(file).get("model_type")
        own = type(config)
        whole = own.from_pretrained(checkpoint).to_dict() if kind == own.model_type else {"model_type": kind}
        found |= config_settings(whole)
    return as_json(found), []
