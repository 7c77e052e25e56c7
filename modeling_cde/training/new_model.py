"""A new model to train, made from the arguments of a run and the classes of its data."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel

from ..data.splits import OPPOSITES
from ..models.configuration_cde import CDEConfig
from ..models.image_processing_cde import CDEImageProcessor
from ..models.methods import METHODS
from ..models.vision_config_cde import vision_config
from .arguments import ModelArguments
from .lora import add_lora


def make_model(arguments: ModelArguments, image_size: int, features: Any) -> tuple[PreTrainedModel, CDEImageProcessor]:
    """A new model to train, wrapped in a `peft.PeftModel` for LoRA, and its image processor.

    The model sees whole pictures, resized to `image_size` pixels on both sides. The `datasets.Features` of the training
    pairs name actions and objects.

    Raises:
        ValueError: The method is unknown, or an option is out of range.
        TypeError: `method_options` names a field that the method's configuration does not have.
    """
    if arguments.method not in METHODS:
        raise ValueError(f"method={arguments.method!r} is not known; choose one of: {', '.join(METHODS)}.")
    method = METHODS[arguments.method]
    source = arguments.backbone or vision_config({"image_size": image_size, **arguments.parsed_backbone_config()})
    options = model_options(arguments, features)
    model: Any = method.model_class.from_backbone(source, revision=arguments.backbone_revision, **options)
    processor = CDEImageProcessor(size=image_size)
    if arguments.backbone is not None:  # at the commit that the weights come from
        revision = model.config.backbone_revision
        processor = CDEImageProcessor.from_backbone(arguments.backbone, revision=revision, size=image_size)
    if arguments.freeze_backbone or arguments.freeze_blocks:
        model.freeze_backbone(num_blocks=None if arguments.freeze_backbone else arguments.freeze_blocks)
    if arguments.lora_rank:
        targets = None if arguments.lora_targets is None else arguments.lora_targets.replace(" ", "").split(",")
        model = add_lora(model, arguments.lora_rank, arguments.lora_alpha, arguments.lora_dropout, targets)
    return model, processor


def model_options(arguments: ModelArguments, features: Any) -> dict[str, Any]:
    """The fields of a new model's configuration; for `features` see `make_model`."""
    config_class = METHODS[arguments.method].config_class
    options = options_from_data(config_class, features["action"].names, features["object"].names)
    options |= arguments.cde_options()
    if arguments.classifier == "lda":  # which has no more directions than this
        options["delta_dim"] = min(arguments.delta_dim, max(1, features["action"].num_classes - 1))
    return options


def options_from_data(config_class: type[CDEConfig], actions: Sequence[str], objects: Sequence[str]) -> dict[str, Any]:
    """The fields of a configuration that follow from the names of the data set's classes.

    They are always `id2label`; `num_objects` and `action_blocks` (an action and its opposite share a block) where the
    configuration has them.
    """
    known = config_class.option_names()
    options: dict[str, Any] = {"id2label": dict(enumerate(actions))}
    if "num_objects" in known:
        options["num_objects"] = len(objects)
    if "action_blocks" in known:
        groups = [min(action, OPPOSITES.get(action, action)) for action in actions]
        order = sorted(set(groups), key=groups.index)
        options["action_blocks"] = [order.index(group) for group in groups]
    return options
