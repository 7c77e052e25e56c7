"""What a training saves and restores: a model by itself, or the adapters that LoRA trains in it."""

from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from .adapter_files import ADAPTER_FOLDER, add_description, load_adapter_weights, save_adapter
from .data.sampler import seeded
from .lora import is_adapted, merged
from .pushing import PushingTrainer


class CheckpointingTrainer(PushingTrainer):
    """A `Trainer` whose checkpoints give back the weights that they were made of, whatever names they are saved under.

    Args:
        *args, **kwargs: as for `transformers.Trainer`.

    Raises:
        ValueError: if a model with LoRA would be sharded over processes.
    """

    model: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if is_adapted(self.model) and self._sharded:
            raise ValueError("LoRA is trained by one process, or by several with a whole model each: not by shards.")

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Saves the model; see `transformers.Trainer.save_model`.

        Of a model with LoRA a checkpoint of the training holds the adapters alone; what is saved in the end is the
        plain model that they amount to, with the adapters in the folder adapter/ beside it.
        """
        if not is_adapted(self.model):
            super().save_model(output_dir, _internal_call)
            return
        adapted, folder = self.model, Path(output_dir or self.args.output_dir)
        if not _internal_call:
            if self.args.should_save:
                save_adapter(adapted, folder / ADAPTER_FOLDER)
            self.model = merged(adapted)
        try:
            super().save_model(output_dir, _internal_call)
        finally:
            self.model = adapted
        if _internal_call and self.args.should_save:
            add_description(adapted, folder)

    def restore(self, checkpoint: str) -> bool:
        """Fills the model from a checkpoint; False where a sharded model needs Trainer's own way.

        Trainer's way loads the file as it is, where some families' parameters have older names, and only warns.

        Raises:
            ValueError: if the checkpoint does not hold exactly the weights, or the adapters, of this model.
        """
        if is_adapted(self.model):
            load_adapter_weights(self.model, checkpoint)
            return True
        if self._sharded or not isinstance(self.model, PreTrainedModel):
            return False
        with seeded():
            saved, info = type(self.model).from_pretrained(checkpoint, output_loading_info=True)
        wrong = {kind: sorted(map(str, keys)) for kind, keys in info.items() if keys}
        if wrong:
            raise ValueError(f"{checkpoint} does not hold exactly the weights of this model: {wrong}.")
        self.model.load_state_dict(saved.state_dict())
        return True

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if not self.restore(resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        if not self.restore(self.state.best_model_checkpoint):
            super()._load_best_model()

    @property
    def _sharded(self) -> bool:
        return bool(self.is_deepspeed_enabled or self.is_fsdp_enabled)
