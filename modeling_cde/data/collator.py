"""Batches of transformed pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .masks import EXTRAS


class PairCollator:
    """Stack the items of `PairTransform` into the tensors that the model takes.

    Called with B items of `pixel_values` (T, 3, H, W) float32 and `labels` (an int; T-1 ints for a clip of
    more than two frames), it returns `pixel_values` (B, T, 3, H, W) float32 and `labels` (B,) or (B, T-1)
    int64. Where the items have `features` (T, D_b) or (T, N, D_b) (`features.keep`), these replace
    `pixel_values`. `labels` is left out if no item has it, and so are the extras of `PairTransform`:
    `objects` (an int each), stacked to (B,) int64, and `masks` (T, H, W), stacked to (B, T, H, W) float32.

    Raises:
        ValueError: An item lacks `pixel_values`, the items differ in shape, or only some have labels or an extra.
    """

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        if not items:
            raise ValueError("The batch is empty; give at least one pair.")
        inputs = "features" if "features" in items[0] else "pixel_values"
        for index, item in enumerate(items):
            if inputs not in item:
                raise ValueError(
                    f"Item {index} of the batch has {', '.join(item) or 'nothing'} but no {inputs}; set "
                    "a PairTransform by dataset.with_transform and remove_unused_columns=False."
                )
        batch = {inputs: _stack(items, inputs)}  # B x (T, 3, H, W) -> (B, T, 3, H, W)
        for name, verb in (("labels", "label"), *((name, "give it to") for name in EXTRAS)):
            lacking = [index for index, item in enumerate(items) if item.get(name) is None]
            if len(lacking) == len(items):
                continue
            if lacking:
                raise ValueError(f"Item {lacking[0]} of the batch has no {name} but others do; {verb} all or none.")
            if name == "masks":
                batch[name] = _stack(items, name)  # B x (T, H, W) -> (B, T, H, W)
            else:
                batch[name] = torch.tensor([item[name] for item in items], dtype=torch.int64)  # (B,)
        return batch


def _stack(items: Sequence[Mapping[str, Any]], name: str) -> torch.Tensor:
    """The tensors of that name of all items, stacked."""
    tensors = [torch.as_tensor(item[name]) for item in items]
    for index, tensor in enumerate(tensors):
        if tensor.shape != tensors[0].shape:
            raise ValueError(
                f"Item {index} of the batch has {name} of shape {tuple(tensor.shape)}, item 0 of "
                f"{tuple(tensors[0].shape)}; give all pairs one size in PairTransform."
            )
    return torch.stack(tensors)
