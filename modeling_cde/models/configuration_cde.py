"""Configuration of the Causal Delta Embedding models."""

import difflib
import inspect
import os
from collections import Counter
from copy import deepcopy
from typing import Any, ClassVar

import torch
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

# Written into every saved `config.json`, so that a checkpoint loads with `trust_remote_code=True` where this package
# is not installed. The task class has no Auto class of its own in Transformers: it is found by this entry.
AUTO_MAP = {
    "AutoConfig": "configuration_cde.CDEConfig",
    "AutoModel": "modeling_cde.CDEModel",
    "AutoModelForActionClassification": "modeling_cde.CDEForActionClassification",
}

# The pipeline of every model here, for the same purpose. Transformers asks for `trust_remote_code` wherever a loaded
# configuration has this: so saved ones do, and those whose class itself came with a checkpoint, but not ours.
CUSTOM_PIPELINES = {
    "action-classification": {
        "impl": "pipeline_cde.ActionClassificationPipeline",
        "pt": ["AutoModel"],
        "type": "image",
    }
}
_CAME_WITH_A_CHECKPOINT = __name__.startswith("transformers_modules.")

# Nothing is wider; a slip in a number must not ask for all memory.
_WIDEST = 100_000

# Sizes of a backbone, single or one of each stage; all families check some of them, and none all.
_SIZES = (
    "hidden_size",
    "hidden_sizes",
    "intermediate_size",
    "embedding_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_channels",
    "image_size",
    "patch_size",
    "depths",
)

# A nested configuration comes from anywhere; it describes a model and must not say which code to run.
_NOT_INHERITED = ("auto_map", "trust_remote_code", "custom_pipelines", "code_revision")


class CDEConfig(PreTrainedConfig):  # type: ignore[misc]
    """What a CDE model is made of: a vision backbone, a projector and the way two states become a delta.

    Args:
        backbone_config: Configuration of the vision backbone, as an object or a dict with `model_type`. The two-tower
            CLIP and SigLIP configurations are replaced by their vision tower. Default: the default ViT.
        delta_dim: Dimensions D of the states and deltas.
        delta_mode: `"global"`: one delta per pair, from the global feature of each image. `"patch"`: one delta per
            patch, of which the `top_k_patches` with the largest norm are kept.
        top_k_patches: Number k of patches that are kept in patch mode. Our default, not the paper's.
        patch_loss: Patch mode only. `"per_patch"`: cross-entropy of every kept patch with the label of its pair;
            `"aggregated"`: cross-entropy of the mean of the kept patches.
        projector_hidden_dim: Width of the projector's hidden layers. `None`: that of the backbone's features.
        projector_num_layers: Linear layers of the projector; 1 is a plain linear map.
        projector_dropout: Dropout after each hidden layer of the projector, in [0, 1). Must be 0 where equal images
            should give a zero delta in training mode too.
        projector_input_norm: Whether the projector starts with a LayerNorm. `None`: only for backbones whose
            features are not layer-normed (the table in `backbones_cde.py`). Saved with the value that was chosen.
        global_feature: Global mode only. `"cls"`: the first token; `"mean"`: the mean of the patches; `"pooler"`: the
            backbone's own pooled output; `"auto"`: what the family was pretrained with.
        num_prefix_tokens: Tokens before the patches in the backbone's output (CLS, registers, ...). Only needed for
            a family that is not in the table.
        backbone_revision: Commit of the Hub repository that the backbone's weights were taken from; `from_backbone`
            fills it in. `None`: they came from no such repository.
        **kwargs: Fields of every Transformers configuration (`id2label`, `label2id`, `num_labels`, ...).

    Raises:
        ValueError: A value is of the wrong type or out of range, or there is no such field; the message names the field
            and what it must be.
    """

    model_type = "cde"
    _auto_class = "AutoConfig"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "backbone_config": SubConfigSpec(config_class=AutoConfig, model_type="vit")
    }
    # What Trainer gathers of a prediction: logits and delta. States and patch tensors would fill the memory.
    keys_to_ignore_at_inference: ClassVar[list[str]] = [
        "states",
        "patch_delta",
        "patch_indices",
        "patch_logits",
        "hidden_states",
        "attentions",
    ]

    def __init__(
        self,
        backbone_config: PreTrainedConfig | dict[str, Any] | None = None,
        *,
        delta_dim: int = 256,
        delta_mode: str = "global",
        top_k_patches: int = 8,
        patch_loss: str = "per_patch",
        projector_hidden_dim: int | None = None,
        projector_num_layers: int = 2,
        projector_dropout: float = 0.0,
        projector_input_norm: bool | None = None,
        global_feature: str = "auto",
        num_prefix_tokens: int | None = None,
        backbone_revision: str | None = None,
        **kwargs: Any,
    ) -> None:
        self._check_names(kwargs)
        self.backbone_config = vision_config(backbone_config)
        self.delta_dim = delta_dim
        self.delta_mode = delta_mode
        self.top_k_patches = top_k_patches
        self.patch_loss = patch_loss
        self.projector_hidden_dim = projector_hidden_dim
        self.projector_num_layers = projector_num_layers
        self.projector_dropout = projector_dropout
        self.projector_input_norm = projector_input_norm
        self.global_feature = global_feature
        self.num_prefix_tokens = num_prefix_tokens
        self.backbone_revision = backbone_revision
        kwargs.update(_labels(type(self).__name__, kwargs))
        kwargs["auto_map"] = dict(self._auto_map())  # our own, whatever a loaded file names
        if _CAME_WITH_A_CHECKPOINT:
            kwargs["custom_pipelines"] = deepcopy(CUSTOM_PIPELINES)  # Transformers writes into it
        else:
            kwargs.pop("custom_pipelines", None)
        super().__init__(**kwargs)
        self.check()

    @property
    def reads_patches(self) -> bool:
        """Whether the model reads the feature of every patch; else one feature of each image."""
        return bool(self.delta_mode == "patch")

    @classmethod
    def option_names(cls) -> set[str]:
        """Names of the fields that this class adds to those of every configuration."""
        return set(inspect.signature(cls.__init__).parameters) - {"self", "backbone_config", "kwargs"}

    @classmethod
    def _auto_map(cls) -> dict[str, str]:
        """The `auto_map` that a saved configuration of this class carries."""
        return AUTO_MAP

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reads a saved configuration; see `transformers.PreTrainedConfig.get_config_dict`.

        Raises:
            ValueError: It is that of another model; Transformers would warn, and go on with random weights.
            OSError: There is none; Transformers would go on with the default one.
        """
        path = pretrained_model_name_or_path
        try:
            found, unused = super().get_config_dict(path, **kwargs)
        except (AttributeError, TypeError, RecursionError) as error:  # JSON, but no object
            raise ValueError(f"{path}: its config.json does not hold the fields of a model.") from error
        if not isinstance(found, dict):
            raise ValueError(f"{path}: its config.json does not hold the fields of a model.")
        if not found:
            raise OSError(f"{path} has no config.json: give the folder or repository that a model was saved in.")
        model_type = str(found.get("model_type", cls.model_type))
        if model_type != cls.model_type:
            if model_type.startswith("cde"):
                raise ValueError(
                    f"{path} is a {model_type!r} checkpoint, not a {cls.model_type!r} one: load it by "
                    'AutoModel.from_pretrained, or by pipeline("action-classification", model=...).'
                )
            raise ValueError(
                f"{path} is a {model_type!r} checkpoint, not a trained {cls.model_type!r} model: make a new model on "
                f"it by CDEForActionClassification.from_backbone({str(path)!r}, id2label={{0: ..., 1: ...}})."
            )
        return found, unused

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Makes a configuration of a saved one; labels that are given replace both saved maps."""
        if kwargs.get("id2label") is not None:
            given = {"id2label": kwargs.pop("id2label"), "label2id": kwargs.pop("label2id", None)}
            config_dict = {**config_dict, **given}
        return super().from_dict(config_dict, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """All fields; a saved configuration names its pipeline too."""
        return {**super().to_dict(), "custom_pipelines": deepcopy(CUSTOM_PIPELINES)}

    @classmethod
    def _check_names(cls, given: dict[str, Any]) -> None:
        """Raises ValueError for a field that there is none of: Transformers would keep it without a word."""
        known = cls.option_names() | _OF_EVERY_CONFIG
        check_attention(cls.__name__, given)
        for name, value in given.items():
            if name not in known and not name.startswith("_") and not hasattr(cls, name):
                near = difflib.get_close_matches(name, sorted(known), n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"its own are {', '.join(sorted(cls.option_names()))}."
                raise ValueError(f"{cls.__name__} has no field {name!r}; {hint}")
            if name == "quantization_config" and not (
                value is None or isinstance(value, dict) or hasattr(value, "to_dict")
            ):
                raise ValueError(f"{cls.__name__}.quantization_config must be a mapping or null, not {value!r}.")
            if name in ("dtype", "torch_dtype") and value is not None:
                dtype = getattr(torch, value.removeprefix("torch."), None) if isinstance(value, str) else value
                if not isinstance(dtype, torch.dtype):
                    raise ValueError(f"{cls.__name__}.{name} must be a dtype such as 'float32', not {value!r}.")

    def check(self) -> None:
        """Raises ValueError for the first field that breaks its rule."""
        name = type(self).__name__
        _one_of(name, "delta_mode", self.delta_mode, ("global", "patch"))
        _one_of(name, "patch_loss", self.patch_loss, ("per_patch", "aggregated"))
        _one_of(name, "global_feature", self.global_feature, ("auto", "cls", "mean", "pooler"))
        _whole(name, "delta_dim", self.delta_dim, 1, _WIDEST)
        _whole(name, "top_k_patches", self.top_k_patches, 1, _WIDEST)
        _whole(name, "projector_num_layers", self.projector_num_layers, 1, 100)
        if self.projector_hidden_dim is not None:
            _whole(name, "projector_hidden_dim", self.projector_hidden_dim, 1, _WIDEST)
        if self.num_prefix_tokens is not None:
            _whole(name, "num_prefix_tokens", self.num_prefix_tokens, 0, _WIDEST)
        dropout = self.projector_dropout
        if not isinstance(dropout, (int, float)) or isinstance(dropout, bool) or not 0.0 <= dropout < 1.0:
            raise ValueError(f"{name}.projector_dropout must be in [0, 1), not {dropout!r}.")
        if self.projector_input_norm not in (None, True, False):
            raise ValueError(f"{name}.projector_input_norm must be true, false or null: {self.projector_input_norm!r}.")
        if not isinstance(self.backbone_revision, (str, type(None))):
            raise ValueError(f"{name}.backbone_revision must be a commit or null, not {self.backbone_revision!r}.")
        _labels(name, {"id2label": self.id2label, "label2id": self.label2id})


def _known_fields() -> set[str]:
    """Fields that every configuration of Transformers has or has had."""
    written = "auto_map custom_pipelines model_type num_labels output_attentions attn_implementation".split()
    older = "torch_dtype tie_word_embeddings use_cache quantization_config finetuning_task".split()
    return {*vars(PreTrainedConfig()), *written, *older}


_OF_EVERY_CONFIG = _known_fields()


def vision_config(config: PreTrainedConfig | dict[str, Any] | None) -> PreTrainedConfig:
    """Returns a copy of a backbone's configuration, as a vision-only configuration that names no code to run.

    Args:
        config: Configuration object, dict with `model_type`, or `None` for the default ViT.

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
    """Raises ValueError for a field that a backbone's configuration does not have; Transformers would keep it unread.

    Not for saved configurations: those of the Hub hold fields of older versions.

    Args:
        options: Fields as a person gives them, with `model_type`.
    """
    known = {*dir(_from_fields({"model_type": options.get("model_type")})), *_OF_EVERY_CONFIG}
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(str(name), sorted(known), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ValueError(f"backbone_config: a {options['model_type']!r} model has no field {name!r}{hint}")


def _check_sizes(config: PreTrainedConfig) -> None:
    """Raises ValueError for sizes that no backbone has."""
    for name in _SIZES:
        sizes = getattr(config, name, None)
        for size in sizes if isinstance(sizes, (list, tuple)) else [1 if sizes is None else sizes]:
            if not isinstance(size, (list, tuple)):
                _whole("backbone_config", name, size, int(name != "num_hidden_layers"), _WIDEST)
    width, heads = getattr(config, "hidden_size", None), getattr(config, "num_attention_heads", None)
    if isinstance(width, int) and isinstance(heads, int) and not hasattr(config, "head_dim") and width % heads:
        raise ValueError(f"backbone_config.hidden_size={width} must be a multiple of num_attention_heads={heads}.")
    widths, depths = getattr(config, "hidden_sizes", None), getattr(config, "depths", None)
    if isinstance(widths, (list, tuple)) and isinstance(depths, (list, tuple)) and len(widths) != len(depths):
        raise ValueError(f"backbone_config must name as many hidden_sizes as depths, not {widths} and {depths}.")


def check_attention(owner: str, given: dict[str, Any]) -> None:
    """Raises ValueError where a saved configuration names attention or other code that would be fetched and run.

    Transformers takes `ORG/NAME` there for a repository of compiled kernels.
    """
    for name, value in given.items():
        if isinstance(name, str) and name.strip("_").endswith(("implementation", "implementation_internal")):
            if "/" in str(value):
                raise ValueError(
                    f"{owner}.{name} names code of a repository, {str(value)[:100]!r}, which no configuration may "
                    "choose: take the field out; who wants it calls model.set_attn_implementation."
                )


def _from_fields(options: dict[str, Any]) -> PreTrainedConfig:
    """The configuration of a model of Transformers of its `model_type` and other fields."""
    check_attention("backbone_config", options)
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
        raise ValueError(f"backbone_config is none of a {model_type!r} model ({said[-1].strip()}).") from error


def _labels(owner: str, given: dict[str, Any]) -> dict[str, Any]:
    """Both label maps, whole, of what a caller or a file gives of `id2label`, `label2id` and `num_labels`.

    Raises:
        ValueError: They are no maps, contradict each other, leave ids out or name two actions alike.
    """
    id2label, label2id, number = given.get("id2label"), given.get("label2id"), given.get("num_labels")
    if number is not None:
        _whole(owner, "num_labels", number, 1, _WIDEST)
    if id2label is None and label2id is None:
        return {}
    right = "id2label must name every action once, {0: 'open', 1: 'close', ...}; dict(enumerate(names)) makes it"
    maps = [item for item in (id2label, label2id) if item is not None]
    if not all(isinstance(item, dict) for item in maps):
        raise ValueError(f"{owner}: {right}, not {maps[0]!r}.")
    try:
        names = {int(index): name for index, name in (id2label or {}).items()}
        ids = {name: int(index) for name, index in (label2id or {}).items()}
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{owner}: {right}; its ids must be whole numbers, not {id2label or label2id!r}.") from None
    names = names or {index: name for name, index in ids.items()}
    if sorted(names) != list(range(len(names))) or not names:
        raise ValueError(f"{owner}: {right}; the ids must be 0, 1, ... without a gap, not {sorted(names)}.")
    unnamed = [name for name in names.values() if not isinstance(name, str) or not name]
    if unnamed:
        raise ValueError(f"{owner}: {right}; a name must be text, not {unnamed[0]!r}.")
    twice = sorted(name for name, count in Counter(names.values()).items() if count > 1)
    if twice:
        raise ValueError(f"{owner}: {right}; {', '.join(map(repr, twice))} names more than one id.")
    own = {name: index for index, name in names.items()}
    if ids and ids != own:
        raise ValueError(
            f"{owner}.label2id {ids} is not the inverse of id2label {names}: leave label2id out, it follows from the "
            "other."
        )
    if number is not None and number != len(names):
        raise ValueError(
            f"{owner}.num_labels={number} contradicts id2label, which names {len(names)} actions: leave num_labels "
            "out, it follows from id2label."
        )
    return {"id2label": names, "label2id": own}


def _one_of(owner: str, field: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        names = ", ".join(repr(item) for item in allowed)
        raise ValueError(f"{owner}.{field} must be one of {names}, not {value!r}.")


def _whole(owner: str, field: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{owner}.{field} must be a whole number of at least {least}, not {value!r}.")
    if value > most:
        raise ValueError(f"{owner}.{field} must be a whole number of at most {most}, not {value!r}.")
