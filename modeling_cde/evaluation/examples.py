"""Some pairs of the test splits with the pictures that the model saw, for a reader of the results."""

from collections.abc import Mapping
from typing import Any

import datasets
import numpy as np
import torch

from ..data.chosen_rows import spread_rows
from ..data.coverage import target_coverage
from ..data.transforms import PairTransform
from .predictions import Precision, patch_weights, weighs_patches

# How many splits have example pictures: the in-distribution test and the shifts.
_SPLITS_WITH_EXAMPLES = 4


def choose_examples(
    model: torch.nn.Module,
    parts: Mapping[str, datasets.Dataset],
    transform: PairTransform,
    number: int,
    grid: tuple[int, int] | None,
    batch_size: int = 64,
    precision: Precision = "float32",
) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Choose pairs of the test splits, spread over actions and objects.

    Args:
        model, transform, batch_size, precision: see `predict`.
        parts: name -> rows; the test splits are those whose names begin with "test".
        number: largest number of pairs per split.
        grid: rows and columns of the model's N patches, or None.

    Returns:
        `pictures` (m, 2, H, W, 3) uint8, the pictures as the model sees them; if it weighs patches by their change,
        `patch_weights` (m, N) and the result of `target_coverage`. And for each of the m pairs a dict with the split,
        the row in it, pair_id, action and object. Without a test split, or with a `number` of 0, both are empty.
    """
    values: list[torch.Tensor] = []
    described: list[dict[str, Any]] = []
    shares: list[dict[str, Any]] = []
    weighed = grid is not None and weighs_patches(model)
    for split in [name for name in parts if name.startswith("test")][: _SPLITS_WITH_EXAMPLES if number > 0 else 0]:
        rows = parts[split]
        columns = rows.with_format(None).select_columns(["pair_id", "action", "object"])
        chosen = spread_rows(columns["action"][:], columns["object"][:], number)
        values += rows.with_transform(transform)[chosen]["pixel_values"]
        for row in chosen:
            names = {name: rows.features[name].int2str(columns[row][name]) for name in ("action", "object")}
            described.append({"split": split, "row": row, **columns[row], **names})
        if grid is not None and weighed:
            unknown = np.full((len(chosen), grid[0] * grid[1]), np.nan, dtype=np.float32)
            found = target_coverage(rows.select(chosen), transform, grid)
            shares.append({name: found.get(name, unknown) for name in ("box_coverage", "mask_coverage")})
    if not values:
        return {}, []
    pixel_values = torch.stack(values)
    tensors = {"pictures": transform.pictures(pixel_values)}  # (m, 2, 3, H, W) -> (m, 2, H, W, 3)
    if weighed:
        tensors["patch_weights"] = patch_weights(model, pixel_values, batch_size, precision)
        coverage = {name: np.concatenate([part[name] for part in shares]) for name in shares[0]}
        tensors |= {name: torch.from_numpy(one) for name, one in coverage.items() if not np.isnan(one).all()}
    return tensors, described
