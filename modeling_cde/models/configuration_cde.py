"""Configuration of the Causal Delta Embedding models."""

import dataclasses
import os
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .field_rules_cde import NOT_NEGATIVE, Rule, check_fields, label_maps, number, one_of, or_none, whole
from .limits_cde import MOST_CONFIG_BYTES, MOST_LAYERS, WIDEST, check_file_size
from .remote_code_cde import AUTO_MAP, CUSTOM_PIPELINES
from .vision_config_cde import OF_EVERY_CONFIG, check_attention, did_you_mean, vision_config

_FLAG = Rule("true, false or null", lambda value: value in (None, True, False))
_LAYERS = Rule(
    "a list of whole numbers, such as [6, 8, 10, 12], or null",
    lambda value: (
        isinstance(value, (list, tuple)) and 0 < len(value) <= MOST_LAYERS and all(type(item) is int for item in value)
    ),
)
_SCORE = number("a finite number or null", lambda value: True)
_COMMIT = Rule("a commit or null", lambda value: value is None or isinstance(value, str))
_CAME_WITH_A_CHECKPOINT = __name__.startswith("transformers_modules.")


class CDEConfig(PreTrainedConfig):  # type: ignore[misc]
    """What a CDE model is made of: a vision backbone, a projector and the way two states become a delta.

    A subclass adds fields by annotations with a default and, where a rule limits the values, the rule; see
    `field_rules_cde.py`.

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
        projector_input_norm: Whether the projector starts with a LayerNorm. `None`: unless `feature_layers` are read,
            which are normed already. The learned scales of a backbone's last norm let few dimensions outweigh the
            others, and another norm after it helps on unseen objects (docs/experiments.md). Saved as it was chosen.
        pooling: Global mode only. `"cls"`: the first token; `"mean"`: the mean of the patches; `"pooler"`: the
            backbone's own pooled output; `"change"`: the patches weighted by how much they changed, with the same
            weights for all frames of a clip (`pool_changed`); `"auto"`: what the family was pretrained with, and with
            `feature_layers` the first token, or the mean where there is none.
        feature_layers: Hidden states that are read in place of the backbone's output, such as [6, 8, 10, 12] or
            [-1, -3]: each is layer-normed, and they stand side by side. For convolutional backbones these are stages,
            averaged to the coarsest grid of them. `None` (as published): the backbone's output.
        num_prefix_tokens: Tokens before the patches in the backbone's output (CLS, registers, ...). Only needed for
            a family that is not in the table.
        backbone_revision: Commit of the Hub repository that the backbone's weights were taken from; `from_backbone`
            fills it in. `None`: they did not come from the Hub.
        nothing_below: A pair whose delta is shorter is answered "nothing changed"; see `rejection_cde.py`. `None`: only
            a pair of equal pictures is.
        else_below: Another pair whose familiarity is lower is answered "something else". `None`: none is.
        next_action_above: A further action of `decode_actions` must explain this share of the squared length of a
            delta; see `composition_cde.py`. `None`: the checkpoint has no action means.
        segment_cost: What a segment of a clip must gain to be an action; see `segmentation_cde.py`.
        **kwargs: Fields of every Transformers configuration (`id2label`, `label2id`, `num_labels`, ...).

    Raises:
        ValueError: A value has the wrong type or is out of range, or a field does not exist; the message names the
            field and what it must be.
    """

    model_type = "cde"
    _auto_class = "AutoConfig"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "backbone_config": SubConfigSpec(config_class=AutoConfig, model_type="vit")
    }
    # What Trainer gathers of a prediction: logits and delta. States and patch tensors would fill the memory.
    keys_to_ignore_at_inference: ClassVar[list[str]] = (
        "states patch_delta patch_indices patch_logits patch_weights hidden_states attentions".split()
    )

    backbone_config: Any = None
    delta_dim: Annotated[int, whole(1, WIDEST)] = 256
    delta_mode: Annotated[str, one_of("global", "patch")] = "global"
    top_k_patches: Annotated[int, whole(1, WIDEST)] = 8
    patch_loss: Annotated[str, one_of("per_patch", "aggregated")] = "per_patch"
    projector_hidden_dim: Annotated[int | None, or_none(whole(1, WIDEST))] = None
    projector_num_layers: Annotated[int, whole(1, 100)] = 2
    projector_dropout: Annotated[float, number("in [0, 1)", lambda value: 0 <= value < 1)] = 0.0
    projector_input_norm: Annotated[bool | None, _FLAG] = None
    pooling: Annotated[str, one_of("auto", "cls", "mean", "pooler", "change")] = "auto"
    feature_layers: Annotated[list[int] | None, or_none(_LAYERS)] = None
    num_prefix_tokens: Annotated[int | None, or_none(whole(0, WIDEST))] = None
    backbone_revision: Annotated[str | None, _COMMIT] = None
    nothing_below: Annotated[float | None, or_none(NOT_NEGATIVE)] = None
    else_below: Annotated[float | None, or_none(_SCORE)] = None
    segment_cost: Annotated[float, number("above 0", lambda value: value > 0)] = 6.0
    next_action_above: Annotated[float | None, or_none(number("in [0, 1]", lambda value: 0 <= value <= 1))] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # Transformers would generate an `__init__` that takes keywords only.
        if "__init__" not in vars(cls):
            cls.__init__ = CDEConfig.__init__  # type: ignore[method-assign]
        super().__init_subclass__(**kwargs)

    def __init__(self, backbone_config: PreTrainedConfig | dict[str, Any] | None = None, **kwargs: Any) -> None:
        kwargs = self._todays_names(kwargs)
        self._check_names(kwargs)
        self.backbone_config = vision_config(backbone_config)
        for name, field in self._own_fields().items():
            setattr(self, name, kwargs.pop(name, field.default))
        kwargs.update(label_maps(type(self).__name__, kwargs))
        kwargs["auto_map"] = dict(self._auto_map())  # our own, whatever a loaded file names
        if _CAME_WITH_A_CHECKPOINT:
            kwargs["custom_pipelines"] = deepcopy(CUSTOM_PIPELINES)  # Transformers writes into it
        else:
            kwargs.pop("custom_pipelines", None)
        super().__init__(**kwargs)
        self.check()

    @property
    def reads_patches(self) -> bool:
        """Whether the model reads the feature of every patch rather than one feature of each image."""
        return bool(self.delta_mode == "patch")

    @classmethod
    def option_names(cls) -> set[str]:
        """Names of the fields that this class adds to those of every configuration."""
        return set(cls._own_fields())

    @classmethod
    def _todays_names(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Renames fields of older checkpoints."""
        return {{"global_feature": "pooling"}.get(name, name): value for name, value in given.items()}

    @classmethod
    def _own_fields(cls) -> dict[str, dataclasses.Field[Any]]:
        inherited = {"backbone_config", *(field.name for field in dataclasses.fields(PreTrainedConfig))}
        return {field.name: field for field in dataclasses.fields(cls) if field.name not in inherited}

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
            ValueError: It belongs to another model; Transformers would warn and go on with random weights. Or the file
                is too large.
            OSError: There is none; Transformers would go on with the default one.
        """
        path = pretrained_model_name_or_path
        for file in (Path(path), Path(path, kwargs.get("subfolder") or "", "config.json")):
            if file.exists() and not file.is_dir():
                check_file_size(file, MOST_CONFIG_BYTES)
        try:
            found, unused = super().get_config_dict(path, **kwargs)
            model_type = str(found.get("model_type", cls.model_type))
        except (AttributeError, TypeError, RecursionError) as error:  # JSON, but not an object
            raise ValueError(f"{path}: its config.json does not hold the fields of a model.") from error
        if not found:
            raise OSError(f"{path} has no config.json: give the folder or repository that a model was saved in.")
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
        """Makes a configuration from a saved one; given labels replace both saved maps."""
        if kwargs.get("id2label") is not None:
            given = {"id2label": kwargs.pop("id2label"), "label2id": kwargs.pop("label2id", None)}
            config_dict = {**config_dict, **given}
        return super().from_dict(config_dict, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Returns all fields and the pipeline, which a saved configuration names too."""
        return {**super().to_dict(), "custom_pipelines": deepcopy(CUSTOM_PIPELINES)}

    @classmethod
    def _check_names(cls, given: dict[str, Any]) -> None:
        """Raises ValueError for an unknown field, which Transformers would silently keep."""
        known = cls.option_names() | OF_EVERY_CONFIG
        check_attention(cls.__name__, given)
        for name, value in given.items():
            if name not in known and not name.startswith("_") and not hasattr(cls, name):
                hint = did_you_mean(name, known) or f"its own are {', '.join(sorted(cls.option_names()))}."
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
        fields = self._own_fields().values()
        check_fields(name, vars(self), {f.name: rule for f in fields for rule in getattr(f.type, "__metadata__", ())})
        label_maps(name, {"id2label": self.id2label, "label2id": self.label2id})
