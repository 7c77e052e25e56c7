"""The files of LoRA adapters: writing what was trained, without the backbone, and loading it onto its base.

save_adapter(model, "adapter")   # adapter_config.json, adapter_model.safetensors, config.json, README.md
model = load_lora("adapter")     # or load_lora("adapter", base)
"""

import re
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, PreTrainedModel
from transformers.utils.hub import cached_file

from ...models.field_rules_cde import Rule, check_fields, number, whole
from ...models.limits_cde import WIDEST, check_config_files
from ...models.loading_cde import check_finite, read_config_fields
from ...whole_files import read_object
from ..lora import base_of, description, peft, wrap

ADAPTER_FOLDER = "adapter"  # within a run, beside the merged model
_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_TEXT = Rule("text or null", lambda value: value is None or isinstance(value, str))
_NAMES = Rule(
    "a list of names, or the pattern that add_lora writes",
    lambda value: (
        isinstance(value, str)
        and re.fullmatch(r"\(\.\*\\\.\)\?backbone\\\.\(\.\*\\\.\)\?\([\w|]+\)", value) is not None
        or (isinstance(value, list) and all(isinstance(name, str) for name in value))
    ),
)
_NOT_USED = Rule("empty", lambda value: not value)  # patterns, on which a search can take for ever
_RULES = {
    "r": whole(1, WIDEST),
    "lora_alpha": number("a positive number", lambda value: value > 0),
    "target_modules": _NAMES,
    "base_model_name_or_path": _TEXT,
    "revision": _TEXT,
    **dict.fromkeys(("exclude_modules", "rank_pattern", "alpha_pattern", "layers_pattern"), _NOT_USED),
}


def save_adapter(model: Any, folder: str | Path) -> None:
    """Write the adapters, the projector and the heads of an `add_lora` model, without the backbone.

    The folder, made if absent, gets adapter_config.json and adapter_model.safetensors, which PEFT reads, config.json,
    which describes the adapted model, and a README.md.
    """
    save_adapter_weights(model, folder)
    add_description(model, folder)


def save_adapter_weights(model: Any, folder: str | Path) -> None:
    """Write adapter_config.json and adapter_model.safetensors alone."""
    # By default PEFT asks the Hub, at every checkpoint, whether a vocabulary has grown.
    model.save_pretrained(folder, save_embedding_layers=False)


def add_description(model: Any, folder: str | Path) -> None:
    """Add config.json and README.md to the files that PEFT has written to a folder."""
    config = deepcopy(model.config)
    config.architectures = [type(model.get_base_model()).__name__]
    for field in ("auto_map", "custom_pipelines"):  # name files that are not in this folder
        config.__dict__.pop(field, None)
    config.to_json_file(Path(folder) / "config.json")
    lora = model.peft_config[model.active_adapter]
    base = f"`{lora.base_model_name_or_path}`" if lora.base_model_name_or_path else "unnamed weights"
    if lora.revision:
        base += f" at the revision `{lora.revision}`"
    (Path(folder) / "README.md").write_text(
        f"# LoRA adapters of a {config.architectures[0]}\n\n"
        f"{description(model)}\n\n"
        f"Their base is {base}. This folder has the projector and the heads, too, but not the rest of the backbone.\n\n"
        "```python\n"
        "from modeling_cde.training.checkpoints.adapter_files import load_lora\n"
        "from modeling_cde.training.lora import merged\n\n"
        "model = load_lora(FOLDER)  # a PeftModel; load_lora(FOLDER, base) if the base is not on the Hub\n"
        "plain = merged(model)  # without adapters\n"
        "```\n",
        encoding="utf-8",
    )


def load_adapter_weights(model: Any, folder: str | Path) -> None:
    """Fill an adapted model from the safetensors file of a folder, which must match it exactly.

    Raises:
        ValueError: there is no such file, its tensors are not exactly those of this model's adapters, or they hold
            other than finite floats.
    """
    file = Path(folder) / _WEIGHTS
    if not file.is_file():
        raise ValueError(f"{folder} has no {_WEIGHTS}: give a folder written by save_adapter or train.py.")
    saved, own = load_file(file), peft().get_peft_model_state_dict(model, save_embedding_layers=False)
    wrong = sorted(saved.keys() ^ own.keys())
    for name in sorted(saved.keys() & own.keys()):
        kinds = {saved[name].is_floating_point(), own[name].is_floating_point()}
        wrong += [name] if saved[name].shape != own[name].shape or len(kinds) > 1 else []
    if wrong:
        raise ValueError(
            f"{file} does not have exactly the adapters, projector and heads of this model: {wrong[0]} and "
            f"{len(wrong) - 1} others differ in name, shape or type."
        )
    peft().set_peft_model_state_dict(model, saved)
    check_finite(model, file)


def load_lora(
    adapter: str | Path,
    base: PreTrainedModel | None = None,
    *,
    revision: str | None = None,
    trainable: bool = False,
) -> Any:
    """Load adapters onto their base.

    Args:
        adapter: a folder of `save_adapter`, a checkpoint of a training with LoRA, or a run of train.py with an
            adapter/ folder; also the repository of such a run on the Hub.
        base: the original, not adapted model; default: built again from the backbone, or the CDE checkpoint, that the
            adapter names.
        revision: branch, tag or commit of a repository on the Hub.
        trainable: whether training continues.

    Returns:
        A `peft.PeftModel`, in evaluation mode unless `trainable`.

    Raises:
        ValueError: there is no adapter, the base is a different one, or the name of the base cannot be loaded.
        OSError: a repository, of the adapter or of its base, cannot be read.
    """
    folder = Path(adapter)
    if not folder.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", str(adapter)):
        files = [
            cached_file(str(adapter), name, subfolder=ADAPTER_FOLDER, revision=revision)
            for name in (_CONFIG, _WEIGHTS, "config.json")
        ]
        folder = Path(files[0]).parent
    folder = folder / ADAPTER_FOLDER if (folder / ADAPTER_FOLDER / _CONFIG).is_file() else folder
    if not (folder / _CONFIG).is_file():
        raise ValueError(f"{adapter} has no adapter ({_CONFIG}): give a folder of save_adapter, or a run with LoRA.")
    check_config_files(folder)
    config = _adapter_config(folder)
    name, commit = config.base_model_name_or_path, config.revision
    model = _build_base(folder, name, commit) if base is None else base
    own = base_of(model)[0]
    if name and own and name.split("/")[-1] != own.split("/")[-1]:  # a folder can be a copy of a repository
        raise ValueError(f"{folder} was trained on {name}, not on {own}: pass that model as base.")
    config.inference_mode = not trainable
    adapted = wrap(model, config, name, commit)
    load_adapter_weights(adapted, folder)
    return adapted.train(trainable)


def _adapter_config(folder: Path) -> Any:
    """What a folder's adapter_config.json says; PEFT checks neither types nor what a pattern costs."""
    told = read_object(folder / _CONFIG)
    if (kind := told.get("peft_type")) != "LORA":
        raise ValueError(f"{folder / _CONFIG} describes adapters of the kind {kind!r}, and only LORA is read.")
    check_fields(str(folder / _CONFIG), {name: told.get(name) for name in _RULES}, _RULES)
    try:
        return peft().LoraConfig.from_pretrained(str(folder))
    except (TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ValueError(f"{folder / _CONFIG} does not hold the settings of LoRA adapters ({error}).") from error


def _build_base(folder: Path, name: str | None, revision: str | None) -> PreTrainedModel:
    config = AutoConfig.from_pretrained(folder)
    # By public name, since the modules of the models are many.
    kind: Any = getattr(sys.modules["modeling_cde"], (config.architectures or [""])[0], None)
    if kind is None:
        raise ValueError(
            f"{folder / 'config.json'} does not name a model of this package: give a folder of save_adapter."
        )
    if not name or ("/" not in name and not Path(name).is_dir()):
        raise ValueError(
            f"{folder} does not say where to find its base {name or ''!r}: build it and pass it as load_lora(folder, "
            "base)."
        )
    options = {field: getattr(config, field) for field in config.option_names()}
    if str(read_config_fields(name, revision)[0].get("model_type")).startswith("cde"):
        return kind.from_pretrained(name, revision=revision)
    with torch.random.fork_rng(devices=[]):  # the projector's initial values are replaced at once
        return kind.from_backbone(name, revision=revision, id2label=config.id2label, **options)
