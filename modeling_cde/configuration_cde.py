"""Configuration of the Causal Delta Embedding models."""

import inspect
import os
from copy import deepcopy
from typing import Any, ClassVar

from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

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
        ValueError: A value is out of range; the message names the field and what it must be.
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
        found, unused = super().get_config_dict(path, **kwargs)
        if not found:
            raise OSError(f"{path} has no config.json: give the folder or repository that a model was saved in.")
        model_type = found.get("model_type", cls.model_type)
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

    def check(self) -> None:
        """Raises ValueError for the first field that breaks its rule."""
        name = type(self).__name__
        _one_of(name, "delta_mode", self.delta_mode, ("global", "patch"))
        _one_of(name, "patch_loss", self.patch_loss, ("per_patch", "aggregated"))
        _one_of(name, "global_feature", self.global_feature, ("auto", "cls", "mean", "pooler"))
        _at_least(name, "delta_dim", self.delta_dim, 1)
        _at_least(name, "top_k_patches", self.top_k_patches, 1)
        _at_least(name, "projector_num_layers", self.projector_num_layers, 1)
        if self.projector_hidden_dim is not None:
            _at_least(name, "projector_hidden_dim", self.projector_hidden_dim, 1)
        if self.num_prefix_tokens is not None:
            _at_least(name, "num_prefix_tokens", self.num_prefix_tokens, 0)
        if not 0.0 <= self.projector_dropout < 1.0:
            raise ValueError(f"{name}.projector_dropout must be in [0, 1), not {self.projector_dropout!r}.")
        _labels(name, {"id2label": self.id2label, "label2id": self.label2id})


def vision_config(config: PreTrainedConfig | dict[str, Any] | None) -> PreTrainedConfig:
    """Returns a copy of a backbone's configuration, as a vision-only configuration that names no code to run.

    Args:
        config: Configuration object, dict with `model_type`, or `None` for the default ViT.

    Raises:
        ValueError: The dict has no `model_type`, or one that the installed Transformers does not know.
    """
    given = {"model_type": "vit"} if config is None else config
    if isinstance(given, dict):
        options = {key: value for key, value in given.items() if key not in _NOT_INHERITED}
        model_type = options.pop("model_type", None)
        if model_type is None:
            raise ValueError('backbone_config has no "model_type": add one, for example {"model_type": "vit", ...}.')
        try:
            result = AutoConfig.for_model(model_type, **options)
        except ValueError as error:
            raise ValueError(
                f"backbone_config names the model_type {model_type!r}, which the installed Transformers does not "
                "have: use one of its own vision models as the backbone."
            ) from error
    else:
        result = deepcopy(given)
    result = getattr(result, "vision_config", result)  # the two-tower CLIP and SigLIP
    for key in _NOT_INHERITED:
        result.__dict__.pop(key, None)
    result.return_dict = True  # features are read by name
    if result.model_type == "vit_mae":
        result.mask_ratio = 0.0  # masking is its pretraining task; as an encoder it must see the whole image
    return result


def _labels(owner: str, given: dict[str, Any]) -> dict[str, Any]:
    """Both label maps, whole, of what a caller or a file gives of `id2label`, `label2id` and `num_labels`.

    Raises:
        ValueError: They are no maps, contradict each other, leave ids out or name two actions alike.
    """
    id2label, label2id, number = given.get("id2label"), given.get("label2id"), given.get("num_labels")
    if id2label is None and label2id is None:
        return {}
    right = "id2label must name every action once, {0: 'open', 1: 'close', ...}; dict(enumerate(names)) makes it"
    maps = [item for item in (id2label, label2id) if item is not None]
    if not all(isinstance(item, dict) for item in maps):
        raise ValueError(f"{owner}: {right}, not {maps[0]!r}.")
    try:
        names = {int(index): name for index, name in (id2label or {}).items()}
        ids = {name: int(index) for name, index in (label2id or {}).items()}
    except (TypeError, ValueError):
        raise ValueError(f"{owner}: {right}; its ids must be whole numbers, not {id2label or label2id!r}.") from None
    names = names or {index: name for name, index in ids.items()}
    if sorted(names) != list(range(len(names))) or not names:
        raise ValueError(f"{owner}: {right}; the ids must be 0, 1, ... without a gap, not {sorted(names)}.")
    twice = sorted({str(name) for name in names.values() if list(names.values()).count(name) > 1})
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


def _at_least(owner: str, field: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{owner}.{field} must be a whole number of at least {least}, not {value!r}.")
