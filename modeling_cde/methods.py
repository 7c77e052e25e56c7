"""The methods that can be trained and compared, by name, and what each brings to a training run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils.hub import cached_file, extract_commit_hash

from .data.splits import OPPOSITES
from .models.configuration_cde import CDEConfig
from .models.image_processing_cde import CDEImageProcessor
from .models.modeling_cde import CDEForActionClassification
from .models.modeling_concatenation import ConcatenationForActionClassification
from .models.modeling_icm_sms import ICMForActionClassification, SMSForActionClassification
from .models.modeling_joint import JointEncoderForActionClassification
from .models.modeling_neighbours import NeighboursForActionClassification
from .models.modeling_oracle_mask import OracleMaskForActionClassification
from .models.modeling_token_matching import TokenMatchingForActionClassification
from .models.vision_config_cde import vision_config
from .training.arguments import ModelArguments
from .training.checkpoints.adapter_files import load_lora
from .training.lora import add_lora, merged


@dataclass(frozen=True)
class Method:
    """One value of `--method`.

    Attributes:
        model: The class that is trained; all take the same inputs and return delta, states and logits.
        title: How tables call it.
        flags: Values that the method brings for flags of train.py; flags that are given explicitly win.
    """

    model: type[PreTrainedModel]
    title: str
    flags: Mapping[str, Any] = field(default_factory=dict)


# What is learned from the cross-entropy, and from a term of the model's own, alone: no loss on the deltas.
_OWN_LOSS_ONLY = {"contrastive_weight": 0.0, "sparsity_weight": 0.0}

METHODS: dict[str, Method] = {
    "cde": Method(CDEForActionClassification, "CDE, all three losses"),
    "difference": Method(CDEForActionClassification, "difference, cross-entropy", _OWN_LOSS_ONLY),
    "concatenation": Method(ConcatenationForActionClassification, "concatenation, cross-entropy", _OWN_LOSS_ONLY),
    "icm": Method(ICMForActionClassification, "ICM, adversarial object critic", _OWN_LOSS_ONLY),
    "sms": Method(SMSForActionClassification, "SMS, block sparsity", _OWN_LOSS_ONLY),
    "oracle_mask": Method(OracleMaskForActionClassification, "oracle mask", _OWN_LOSS_ONLY),
    "token_matching": Method(TokenMatchingForActionClassification, "token matching", _OWN_LOSS_ONLY),
    "joint": Method(JointEncoderForActionClassification, "joint two-frame encoder", _OWN_LOSS_ONLY),
    # One epoch: it fills the bank, and in a second one each pair would be voted for by its own copy.
    "neighbours": Method(
        NeighboursForActionClassification, "k-NN on frozen features", {**_OWN_LOSS_ONLY, "num_train_epochs": 1}
    ),
}


def make_model(arguments: ModelArguments, image_size: int, features: Any) -> tuple[PreTrainedModel, CDEImageProcessor]:
    """A new model to train, with LoRA a `peft.PeftModel` around it, and the processor of its pictures.

    Args:
        arguments: The method and its backbone.
        image_size: Side of the pictures that the model sees, in pixels.
        features: `datasets.Features` of the training pairs, which name actions and objects.

    Raises:
        ValueError: The method is not known, or an option is out of range.
        TypeError: `method_options` names a field that the method's configuration does not have.
    """
    if arguments.method not in METHODS:
        raise ValueError(f"method={arguments.method!r} is not known; choose one of: {', '.join(METHODS)}.")
    kind = METHODS[arguments.method].model
    if arguments.backbone is not None:
        source: Any = arguments.backbone
    else:
        source = vision_config({"image_size": image_size, **arguments.parsed_backbone_config()})
    options = options_from_data(kind.config_class, features["action"].names, features["object"].names)
    model = kind.from_backbone(source, revision=arguments.backbone_revision, **{**options, **arguments.cde_options()})
    if arguments.backbone is not None:  # at the commit that the weights are of
        processor = CDEImageProcessor.from_backbone(arguments.backbone, revision=model.config.backbone_revision)
    else:
        processor = CDEImageProcessor()
    processor.size = {"height": image_size, "width": image_size}
    if arguments.freeze_backbone or arguments.freeze_blocks:
        model.freeze_backbone(num_blocks=None if arguments.freeze_backbone else arguments.freeze_blocks)
    if arguments.lora_rank:
        targets = None if arguments.lora_targets is None else arguments.lora_targets.replace(" ", "").split(",")
        model = add_lora(model, arguments.lora_rank, arguments.lora_alpha, arguments.lora_dropout, targets)
    return model, processor


def options_from_data(config_class: type[CDEConfig], actions: Sequence[str], objects: Sequence[str]) -> dict[str, Any]:
    """What a configuration has to know of the data set.

    Args:
        config_class: Of the method's model.
        actions: Names of the action classes.
        objects: Names of the object classes.

    Returns:
        Fields of the configuration: always `id2label`; `num_objects` and `action_blocks` (an action and its opposite
        share a block) where the configuration has them.
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


def checkpoint_folder(checkpoint: str) -> Path | None:
    """The folder of a checkpoint; None where a repository is named.

    Raises:
        ValueError: if there is no such folder, and no repository could have the name, or it holds no checkpoint.
    """
    folder = Path(checkpoint)
    if not folder.is_dir():
        if checkpoint[:1] in "./~" or checkpoint.count("/") != 1:
            raise ValueError(f"there is no folder {checkpoint}; give a run's folder or ORG/NAME.")
        return None
    if not (folder / "config.json").is_file():
        raise ValueError(f"{checkpoint} holds no checkpoint (no config.json): give the --output_dir of a training run.")
    return folder


def load_action_model(checkpoint: str, revision: str | None = None) -> tuple[PreTrainedModel, CDEImageProcessor]:
    """Load a trained checkpoint of any method with its image processor.

    Args:
        checkpoint: folder or repository id.
        revision: branch, tag or commit of the repository, of which all files are taken from the commit that it is at
            the start.

    Returns:
        The model in evaluation mode, and the processor that it was trained with.

    Raises:
        ValueError: if there is no such folder, or it holds no checkpoint, or one of none of the methods, for example a
            bare backbone.
        OSError: if there is no such repository, or it cannot be read.
    """
    folder = checkpoint_folder(checkpoint)
    if folder and (folder / "adapter_config.json").is_file():  # a checkpoint of a training with LoRA
        return merged(load_lora(checkpoint)).eval(), CDEImageProcessor.from_pretrained(checkpoint)
    try:
        file = cached_file(checkpoint, "config.json", revision=revision)
    except OSError as error:
        raise OSError(str(error).splitlines()[0]) from error  # Transformers adds paragraphs of general advice
    revision = extract_commit_hash(file, None) or revision
    by_model_type = {method.model.config_class.model_type: method.model for method in METHODS.values()}
    options = _read(PreTrainedConfig.get_config_dict, checkpoint, revision, "config.json")[0]
    model_type = options.get("model_type") if isinstance(options, dict) else None
    if model_type not in list(by_model_type):
        known = ", ".join(by_model_type)
        raise ValueError(
            f"{checkpoint} is a {model_type!r} checkpoint, not a trained action model ({known}); to train "
            f"one on top of it run train.py --backbone {checkpoint}."
        )
    model = _read(by_model_type[model_type].from_pretrained, checkpoint, revision, "config.json").eval()
    return model, _read(CDEImageProcessor.from_pretrained, checkpoint, revision, "preprocessor_config.json")


def _read(loader: Any, checkpoint: str, revision: str | None, file: str) -> Any:
    """What a loader of Transformers makes of a checkpoint; where a file is of no use, one sentence that names it."""
    try:
        return loader(checkpoint, revision=revision)
    except (AttributeError, TypeError, KeyError, RecursionError, UnicodeDecodeError) as error:  # no object, other types
        raise ValueError(f"{checkpoint}: its {file} does not hold what belongs there.") from error
    except OSError as error:
        said = str(error).splitlines()[0]
        if "Can't load image processor" in said:
            said = f"{checkpoint} has no {file}: save its processor there again."
        raise OSError(said if str(checkpoint) in said else f"{checkpoint}: {said}") from error
    except ValueError as error:
        said = " ".join(str(error).split())
        raise ValueError(said if str(checkpoint) in said else f"{checkpoint}: {said}") from error
