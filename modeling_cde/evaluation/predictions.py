"""Run a trained model over a split: what it says of every pair."""

from dataclasses import dataclass
from typing import Any

import accelerate
import datasets
import torch
from datasets.utils import tqdm
from torch.utils.data import DataLoader

from ..data.collator import PairCollator
from ..data.transforms import PairTransform


@dataclass
class Predictions:
    """What a model says of one split, in the split's row order, on the CPU in float32.

    Attributes:
        logits: (n, A).
        delta: (n, D), the delta of each pair.
        states: (n, 2, D), the states before and after.
        labels: (n,) int64 action ids.
        patch_indices: (n, k) int64 row-major positions of the kept patches, or None in global mode.
        patch_delta: (n, k, D), the deltas of the kept patches, or None in global mode.
    """

    logits: torch.Tensor
    delta: torch.Tensor
    states: torch.Tensor
    labels: torch.Tensor
    patch_indices: torch.Tensor | None
    patch_delta: torch.Tensor | None

    def tensors(self) -> dict[str, torch.Tensor]:
        """The fields by name, without those that are None."""
        return {name: value for name, value in vars(self).items() if value is not None}


@torch.no_grad()
def predict(
    model: torch.nn.Module,
    dataset: datasets.Dataset,
    transform: PairTransform,
    batch_size: int = 64,
    description: str = "evaluating",
    accelerator: accelerate.Accelerator | None = None,
) -> Predictions:
    """Run a model over every pair of a split.

    Args:
        model: any model whose outputs have `logits`, `delta` and `states` for two frames. What it names in
            `extra_inputs` is passed beside the pictures.
        dataset: n rows with the columns of `modeling_cde.data.schema`.
        transform: turns rows into pixel values; must not augment, and has the model's extra inputs as `extras`.
        batch_size: pairs per forward pass and process.
        description: what the progress bar says.
        accelerator: the processes to share the work with; made when None.

    Returns:
        The predictions of all n pairs, the same on every process.

    Raises:
        ValueError: if the transform augments or does not give an input that the model takes.
    """
    extra_inputs: tuple[str, ...] = tuple(getattr(model, "extra_inputs", ()))
    if missing := [name for name in extra_inputs if name not in transform.extras]:
        raise ValueError(
            f"{type(model).__name__} takes {', '.join(missing)} beside the pictures: make the PairTransform with "
            f"extras={extra_inputs}."
        )
    if transform.augment is not None:
        raise ValueError("The transform changes pictures at random: evaluate with a PairTransform without augment.")
    accelerator = accelerator or accelerate.Accelerator()
    loader = DataLoader(
        dataset.with_transform(transform), batch_size=batch_size, collate_fn=PairCollator(), shuffle=False
    )
    loader = accelerator.prepare_data_loader(loader)
    model = model.to(accelerator.device)
    was_training = model.training
    model.eval()
    chunks: list[dict[str, torch.Tensor]] = []
    for batch in tqdm(loader, desc=description, leave=False, disable=not accelerator.is_main_process):
        outputs = model(pixel_values=batch["pixel_values"], **{name: batch[name] for name in extra_inputs})
        chunk = {
            "logits": outputs.logits.float(),  # (b, A)
            "delta": outputs.delta[:, 0].float(),  # (b, 1, D) -> (b, D)
            "states": outputs.states.float(),  # (b, 2, D)
            "labels": batch["labels"],  # (b,)
        }
        if getattr(outputs, "patch_indices", None) is not None:
            chunk["patch_indices"] = outputs.patch_indices[:, 0].contiguous()  # (b, 1, k) -> (b, k)
            chunk["patch_delta"] = outputs.patch_delta[:, 0].float().contiguous()  # (b, 1, k, D) -> (b, k, D)
        # The last batch is padded with repeats so that all processes take part; this drops the repeats again.
        chunks.append({name: value.cpu() for name, value in accelerator.gather_for_metrics(chunk).items()})
    model.train(was_training)
    joined: dict[str, Any] = {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}
    patches = {name: joined.pop(name, None) for name in ("patch_indices", "patch_delta")}
    return Predictions(**joined, **patches)


def patch_grid(model: torch.nn.Module, size: tuple[int, int]) -> tuple[int, int] | None:
    """How a patch-wise model divides its pictures; asked of the model by one black picture.

    Args:
        model: any model.
        size: (height, width) of the pictures in pixels.

    Returns:
        Rows and columns of the patches, or None where the model has no patch-wise deltas.
    """
    base = getattr(model, "base_model", None)
    reader = getattr(base, "reader", None)
    if base is None or reader is None or base.config.delta_mode != "patch":  # a baseline may read patches, too
        return None
    grid: tuple[int, int] | None = reader.patch_grid(base.backbone, *size)
    return grid
