"""The configuration of the vision backbone: read from what a caller or a file gives, and checked."""

import difflib
import re
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from .field_rules_cde import check_fields, whole
from .limits_cde import MOST_LAYERS, WIDEST

# Sizes of a backbone, one number or one for each stage; every family checks some of them, none checks all.
_SIZES = (
    "hidden_size hidden_sizes intermediate_size embedding_size num_hidden_layers num_attention_heads num_channels "
    "image_size patch_size depths"
).split()

# A nested configuration comes from anywhere; it describes a model and must not say which code to run.
_NOT_INHERITED = ("auto_map", "trust_remote_code", "custom_pipelines", "code_revision")

#: Fields that every configuration of Transformers has or has had.
OF_EVERY_CONFIG = {
    *vars(PreTrainedConfig()),
    *"auto_map custom_pipelines model_type num_labels output_attentions attn_implementation".split(),
    *"torch_dtype tie_word_embeddings use_cache quantization_config finetuning_task".split(),
}


def vision_config(config: PreTrainedConfig | dict[str, Any] | None) -> PreTrainedConfig:
    """Returns a copy of a backbone's configuration, reduced to its vision part and without code to run.

    It may be given as a dict with `model_type`, or as `None` for the default ViT.

    Raises:
        ValueError: The dict has no `model_type`, or one that the installed Transformers does not know.
    """
    given = {"model_type": "vit"} if config is None else config
    if isinstance(given, dict):
        result = _from_fields({key: value for key, value in given.items() if key not in _NOT_INHERITED})
    elif isinstance(given, PreTrainedConfig):
        result = deepcopy(given)
    else:
        raise ValueError(f'backbone_config must be a configuration or {{"model_type": "vit", ...}}, not {given!r}.')
    result = getattr(result, "vision_config", result)  # the two-tower CLIP and SigLIP
    _check_sizes(result)
    for key in _NOT_INHERITED:
        result.__dict__.pop(key, None)
    result.return_dict = True  # features are read by name
    if result.model_type == "vit_mae":
        result.mask_ratio = 0.0  # masking is its pretraining task; as an encoder it must see the whole image
    return result


def check_backbone_fields(options: dict[str, Any]) -> None:
    """Raises ValueError for a field that the backbone's configuration lacks; Transformers would store it unread.

    For fields that a person gives, with `model_type`. Saved configurations on the Hub have fields of older versions.
    """
    known = {*dir(_from_fields({"model_type": options.get("model_type")})), *OF_EVERY_CONFIG}
    for name in options:
        if name not in known:
            near = did_you_mean(name, known)
            hint = f"; {near}" if near else "."
            raise ValueError(f"backbone_config: a {options['model_type']!r} model has no field {name!r}{hint}")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """A question that names the most similar known field, or an empty text."""
    near = difflib.get_close_matches(str(name), sorted(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def check_attention(owner: str, given: dict[str, Any]) -> None:
    """Raises ValueError if a saved configuration names attention or other code that would be fetched and run.

    Transformers takes `ORG/NAME` there for a repository of compiled kernels.
    """
    for name, value in given.items():
        if isinstance(name, str) and name.strip("_").endswith(("implementation", "implementation_internal")):
            if "/" in str(value):
                raise ValueError(
                    f"{owner}.{name} names code of a repository, {str(value)[:100]!r}, which a configuration may not "
                    "choose: remove the field; to use that code, call model.set_attn_implementation."
                )


def check_counts(owner: str, given: dict[str, Any]) -> None:
    """Raises ValueError if saved fields count more layers, labels or the like than any model has.

    To be called before a configuration is made of them: Transformers makes a name for each layer and each label.
    """
    waiting: list[tuple[str, Any]] = [(owner, given)]
    while waiting:
        place, fields = waiting.pop()
        for name, value in fields.items():
            name = f"{place}.{name}"
            if isinstance(value, dict):
                waiting.append((name, value))
                continue
            numbers = value if isinstance(value, (list, tuple)) else [value]
            count = sum(number for number in numbers if isinstance(number, int))
            if re.search(r"(layers?|depths?|blocks|stages)$", name) and not re.search(r"_(only|skip)_|rope", name):
                most, what = MOST_LAYERS, "layers"
            elif re.search(r"\.(num|n)_\w+$", name):
                most, what = WIDEST, "of them"
            else:
                continue
            if max(count, len(numbers)) > most:
                raise ValueError(f"{name} asks for more than {most:,} {what}, which no model has: correct the number.")


def _check_sizes(config: PreTrainedConfig) -> None:
    """Raises ValueError for sizes that no backbone has."""
    for name in _SIZES:
        sizes = getattr(config, name, None)
        for size in sizes if isinstance(sizes, (list, tuple)) else [1 if sizes is None else sizes]:
            if not isinstance(size, (list, tuple)):
                least = 0 if name == "num_hidden_layers" else 1
                check_fields("backbone_config", {name: size}, {name: whole(least, WIDEST)})
    width, heads = getattr(config, "hidden_size", None), getattr(config, "num_attention_heads", None)
    if isinstance(width, int) and isinstance(heads, int) and not hasattr(config, "head_dim") and width % heads:
        raise ValueError(f"backbone_config.hidden_size={width} must be a multiple of num_attention_heads={heads}.")
    widths, depths = getattr(config, "hidden_sizes", None), getattr(config, "depths", None)
    if isinstance(widths, (list, tuple)) and isinstance(depths, (list, tuple)) and len(widths) != len(depths):
        raise ValueError(f"backbone_config must name as many hidden_sizes as depths, not {widths} and {depths}.")


def _from_fields(options: dict[str, Any]) -> PreTrainedConfig:
    """Makes the configuration of one of Transformers' own models from its `model_type` and other fields."""
    check_attention("backbone_config", options)
    check_counts("backbone_config", options)
    if options.get("quantization_config") is not None:
        raise ValueError(
            "backbone_config has a quantization_config, and the backbone of a trained model is not quantized: remove "
            "the field, or take the weights from before the quantization."
        )
    model_type = options.pop("model_type", None)
    if model_type is None:
        raise ValueError('backbone_config has no "model_type": add one, for example {"model_type": "vit", ...}.')
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        raise ValueError(
            f"backbone_config names the model_type {model_type!r}, which the installed Transformers does not "
            "have: use one of its own vision models as the backbone."
        )
    try:
        return AutoConfig.for_model(model_type, **options)
    except Exception as error:  # each of the many classes has checks, and errors, of its own
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"backbone_config does not describe a {model_type!r} model ({said[-1].strip()}).") from error
