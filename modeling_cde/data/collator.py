"""Batches of transformed pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch


class PairCollator:
    """Stack what `PairTransform` gives into the tensors that the model takes.

    Called with B items of `pixel_values` (T, 3, H, W) float32 and `labels` (an int; T-1 ints for a clip of
    more than two frames), it returns `pixel_values` (B, T, 3, H, W) float32 and `labels` (B,) or (B, T-1)
    int64. `labels` is left out where no item has it.

    Raises:
        ValueError: If an item lacks `pixel_values`, the items differ in shape, or only some have labels.
    """

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        if not items:
            raise ValueError("The batch is empty; give at least one pair.")
        for index, item in enumerate(items):
            if "pixel_values" not in item:
                raise ValueError(
                    f"Item {index} of the batch has {', '.join(item) or 'nothing'} but no pixel_values; set "
                    "a PairTransform by dataset.with_transform and remove_unused_columns=False."
                )
        pixels = [torch.as_tensor(item["pixel_values"]) for item in items]
        for index, frames in enumerate(pixels):
            if frames.shape != pixels[0].shape:
                raise ValueError(
                    f"Item {index} of the batch has pixel_values of shape {tuple(frames.shape)}, item 0 of "
                    f"{tuple(pixels[0].shape)}; give all pairs one size in PairTransform."
                )
        batch = {"pixel_values": torch.stack(pixels)}  # B x (T, 3, H, W) -> (B, T, 3, H, W)
        unlabelled = [index for index, item in enumerate(items) if item.get("labels") is None]
        if not unlabelled:
            batch["labels"] = torch.tensor([item["labels"] for item in items], dtype=torch.int64)  # (B,)
        elif len(unlabelled) < len(items):
            raise ValueError(f"Item {unlabelled[0]} of the batch has no labels but others do; label all or none.")
        return batch
