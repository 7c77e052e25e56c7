"""The model's files of a training: in one piece where the training ends, as much as is needed in its checkpoints."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from ...data.sampler import seeded
from ...whole_files import write_files_whole
from ..lora import is_adapted, merged
from ..sharding import gathered, keeps_whole_weights
from .adapter_files import ADAPTER_FOLDER, add_description, load_adapter_weights, save_adapter, save_adapter_weights
from .sharded_checkpoints import is_sharded, load_sharded

WEIGHTS = "model.safetensors"


def write_model(trainer: Any, folder: Path, in_checkpoint: bool = False) -> None:
    """Write the model, the processor and the arguments of a `CheckpointingTrainer` into a folder, made if absent.

    With FSDP2 all processes call it together. A checkpoint gets what the training needs: of LoRA the adapters, with
    FSDP2 no weights, which are written in shards. Otherwise the model is in one piece: LoRA merged, with the adapters
    in adapter/ beside it.
    """
    args, model = trainer.args, trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False)
    adapted = model if is_adapted(model) else None
    in_shards = trainer.is_fsdp_enabled and in_checkpoint and not keeps_whole_weights(trainer)
    if trainer.is_fsdp_enabled and not in_shards:
        model = gathered(model)
    if not args.should_save:
        return
    if adapted is not None and not in_checkpoint:
        with write_files_whole(folder / ADAPTER_FOLDER, last="adapter_model.safetensors") as temporary:
            save_adapter(adapted, temporary)
        model = merged(adapted)
    with nullcontext(folder) if in_checkpoint else write_files_whole(folder, last=WEIGHTS) as temporary:
        if in_shards:
            model.config.save_pretrained(temporary)
        elif model is adapted:
            save_adapter_weights(adapted, temporary)
        elif hasattr(model, "save_pretrained"):
            model.save_pretrained(temporary)
        else:
            save_file(model.state_dict(), temporary / WEIGHTS, metadata={"format": "pt"})
        if trainer.processing_class is not None:
            trainer.processing_class.save_pretrained(temporary)
        (temporary / "training_args.json").write_text(args.to_json_string() + "\n", encoding="utf-8")
        if model is adapted:
            add_description(adapted, temporary)


def write_again(model: Any, folder: Path) -> None:
    """Write a whole model in place of the one that a folder has."""
    with write_files_whole(folder, last=WEIGHTS) as temporary:
        model.save_pretrained(temporary)


def read_model(model: Any, checkpoint: str) -> None:
    """Fill a model, whole, adapted or sharded, from a checkpoint.

    Trainer's own way loads the file as it is, where some families' parameters have older names, and only warns.

    Raises:
        ValueError: the checkpoint does not hold exactly the weights, or the adapters, of this model.
    """
    if is_adapted(model):
        load_adapter_weights(model, checkpoint)
    elif is_sharded(checkpoint):
        load_sharded(model, None, checkpoint)
    elif isinstance(model, PreTrainedModel):
        with seeded():
            saved, info = type(model).from_pretrained(checkpoint, output_loading_info=True)
        if wrong := {kind: sorted(map(str, keys)) for kind, keys in info.items() if keys}:
            raise ValueError(f"{checkpoint} does not hold exactly the weights of this model: {wrong}.")
        model.load_state_dict(saved.state_dict())
    else:
        try:
            model.load_state_dict(load_file(Path(checkpoint, WEIGHTS)))
        except RuntimeError as error:
            raise ValueError(f"{checkpoint} does not hold exactly the weights of this model: {error}") from error
