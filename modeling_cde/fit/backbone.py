"""The frozen backbone of a classifier, and what is read of it."""

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig

from ..models.image_processing_cde import CDEImageProcessor
from ..models.modeling_cde import CDEModel

# Shares of the depth: of twelve layers, 6 8 10 12, the best reading of the study (docs/experiments.md).
_DEPTHS = (1 / 2, 2 / 3, 5 / 6, 1)


@dataclass(frozen=True)
class Backbone:
    """A backbone that is ready to encode pairs.

    Attributes:
        model: A `CDEModel` on it.
        processor: The `CDEImageProcessor` of the pictures that it sees.
        reading: The fields of a `CDEConfig` that say what is read.
    """

    model: Any
    processor: CDEImageProcessor
    reading: dict[str, Any]


def load_backbone(name: str, revision: str | None, image_size: int) -> Backbone:
    """Loads a backbone, or that of a CDE checkpoint.

    Raises:
        ValueError, OSError: It cannot be loaded, or cannot be read at this size of pictures.
    """
    if _is_cde(name, revision):
        from ..models.load_model import load_action_model

        whole, processor = load_action_model(name, revision, encoder_will_do=True)
        config = whole.config
        reading = {key: getattr(config, key) for key in ("pooling", "feature_layers", "num_prefix_tokens")}
        reading["projector_input_norm"] = config.projector_input_norm
        whole.freeze_backbone()
        return Backbone(whole.base_model, processor, reading)
    model = CDEModel.from_backbone(name, revision=revision, pooling="change")
    revision = model.config.backbone_revision
    reading = {"pooling": "change", "feature_layers": _layers(model.config.backbone_config)}
    processor = CDEImageProcessor.from_backbone(name, revision=revision, size=image_size)
    config = type(model.config)(backbone_config=model.backbone.config, backbone_revision=revision, **reading)
    model = CDEModel(config, backbone=model.backbone)
    model.freeze_backbone()
    return Backbone(model.eval(), processor, reading)


def _layers(config: Any) -> list[int] | None:
    """The layers that are read; of convolutional backbones, whose stages are few, the output."""
    depth = getattr(config, "num_hidden_layers", None)
    if not isinstance(depth, int):
        return None
    return sorted({max(1, round(depth * share)) for share in _DEPTHS})


def _is_cde(name: str, revision: str | None) -> bool:
    try:
        found, _ = PreTrainedConfig.get_config_dict(name, revision=revision)
    except (OSError, ValueError):  # explained where the backbone is loaded
        return False
    return str(found.get("model_type", "")).startswith("cde")
