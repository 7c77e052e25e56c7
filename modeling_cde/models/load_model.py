"""Loading a trained checkpoint of any method, whole or with LoRA adapters."""

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from ..training.checkpoints.adapter_files import load_lora
from ..training.lora import merged
from .image_processing_cde import CDEImageProcessor
from .limits_cde import check_config_files
from .loading_cde import read_config_fields
from .methods import by_model_type


def local_checkpoint(checkpoint: str) -> Path | None:
    """Returns the folder of a checkpoint, or None for the name of a repository.

    Raises:
        ValueError: The folder does not exist and the name cannot be a repository's, or it contains no checkpoint, or
            one whose files are too large to be read.
    """
    folder = Path(checkpoint)
    if not folder.is_dir():
        if checkpoint[:1] in "./~" or checkpoint.count("/") != 1:
            raise ValueError(f"there is no folder {checkpoint}; give a run's folder or ORG/NAME.")
        return None
    if not (folder / "config.json").is_file():
        raise ValueError(f"{checkpoint} has no config.json, so it is not a checkpoint: give a run's --output_dir.")
    check_config_files(folder)
    return folder


def load_action_model(
    checkpoint: str, revision: str | None = None, encoder_will_do: bool = False
) -> tuple[PreTrainedModel, CDEImageProcessor]:
    """Load a trained checkpoint of any method with its image processor.

    Args:
        checkpoint: Folder or repository id.
        revision: Branch, tag or commit of the repository; all files are taken from the commit that it points to at
            the start.
        encoder_will_do: Whether a checkpoint without a classifier loads too, with one of random weights.

    Returns:
        The model in evaluation mode, and the processor that it was trained with.

    Raises:
        ValueError: The folder does not exist, or contains no checkpoint of one of the methods but, for example, a bare
            backbone or an encoder.
        OSError: The repository does not exist or cannot be read.
    """
    folder = local_checkpoint(checkpoint)
    if folder and (folder / "adapter_config.json").is_file():  # a checkpoint of a training with LoRA
        return merged(load_lora(checkpoint)).eval(), CDEImageProcessor.from_pretrained(checkpoint)
    options, revision = _read(read_config_fields, checkpoint, revision, "config.json")
    methods, model_type = by_model_type(), options.get("model_type")
    if not isinstance(model_type, str) or model_type not in methods:
        known = ", ".join(methods)
        raise ValueError(
            f"{checkpoint} is a {model_type!r} checkpoint, not a trained action model ({known}); to train "
            f"one on top of it run train.py --backbone {checkpoint}."
        )
    if methods[model_type].auto_model in (options.get("architectures") or ()) and not encoder_will_do:
        raise ValueError(
            f"{checkpoint} is an encoder without an action classifier, so its scores would be random: give the "
            f"checkpoint of a {methods[model_type].model}."
        )
    model = _read(methods[model_type].model_class.from_pretrained, checkpoint, revision, "config.json").eval()
    return model, _read(CDEImageProcessor.from_pretrained, checkpoint, revision, "preprocessor_config.json")


def _read(loader: Any, checkpoint: str, revision: str | None, file: str) -> Any:
    """Calls a loader of Transformers; an unusable file gives an error of one sentence that names it."""
    try:
        return loader(checkpoint, revision=revision)
    except (AttributeError, TypeError, KeyError, RecursionError, UnicodeDecodeError) as error:
        # JSON of another kind
        raise ValueError(f"{checkpoint}: its {file} does not hold what belongs there.") from error
    except OSError as error:
        said = str(error).splitlines()[0]
        if "Can't load image processor" in said:
            said = f"{checkpoint} has no {file}: save its processor there again."
        raise OSError(said if str(checkpoint) in said else f"{checkpoint}: {said}") from error
    except ValueError as error:
        said = " ".join(str(error).split())
        raise ValueError(said if str(checkpoint) in said else f"{checkpoint}: {said}") from error
