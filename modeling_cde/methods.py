"""The methods that can be trained and compared, by name."""

from typing import Any

from transformers import AutoConfig, PreTrainedModel

from .image_processing_cde import CDEImageProcessor
from .modeling_baselines import ConcatenationForActionClassification
from .modeling_cde import CDEForActionClassification

# The value of `--method` -> the model that it trains. All take the same inputs and return delta, states and logits.
METHODS: dict[str, type[PreTrainedModel]] = {
    "cde": CDEForActionClassification,
    "concatenation": ConcatenationForActionClassification,
}

_BY_MODEL_TYPE = {kind.config_class.model_type: kind for kind in METHODS.values()}


def load_action_model(checkpoint: str, **kwargs: Any) -> tuple[PreTrainedModel, CDEImageProcessor]:
    """Load a trained checkpoint of any method with its image processor.

    Args:
        checkpoint: folder or repository id.
        **kwargs: passed on to `from_pretrained`, such as `revision`.

    Returns:
        The model in evaluation mode, and the processor that it was trained with.

    Raises:
        ValueError: if the checkpoint is of none of the methods, for example a bare backbone.
    """
    config = AutoConfig.from_pretrained(checkpoint, **kwargs)
    model_class = _BY_MODEL_TYPE.get(config.model_type)
    if model_class is None:
        known = ", ".join(_BY_MODEL_TYPE)
        raise ValueError(
            f"{checkpoint} is a {config.model_type!r} checkpoint, not a trained action model ({known}); to train "
            f"one on top of it run train.py --backbone {checkpoint}."
        )
    return model_class.from_pretrained(checkpoint, **kwargs).eval(), CDEImageProcessor.from_pretrained(
        checkpoint, **kwargs
    )
