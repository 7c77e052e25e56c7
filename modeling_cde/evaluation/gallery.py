"""Some training pairs that travel with a checkpoint: small pictures, action and object, and their deltas.

    before, after  small JPEGs of the part that the model saw
    action, object class ids with names
    pair_id        in the training data set
    delta          list of D float32

A demo, or anyone with the checkpoint but without the data, compares a new delta with these.
"""

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pyarrow.parquet
import torch

from ..data.chosen_rows import spread_rows
from ..data.crops import cut_region, open_picture
from ..data.loading import check_columns
from ..data.row_checks import check_rows
from ..data.transforms import PairTransform
from ..models.limits_cde import check_within
from ..whole_files import write_whole
from .predictions import predict

GALLERY_FILE = "gallery.parquet"

_PICTURES = ("before", "after")

# At 96 pixels a JPEG of this quality takes 2 to 4 kB, a PNG of the same rendered room five times as much.
_JPEG_QUALITY = 88


def write_gallery(
    model: torch.nn.Module,
    pairs: datasets.Dataset,
    transform: PairTransform,
    path: str | Path,
    pairs_kept: int = 400,
    side: int = 96,
    delta: torch.Tensor | None = None,
) -> Path:
    """Write training pairs with their deltas, spread evenly over actions and objects, without randomness.

    Args:
        model, transform: See `modeling_cde.evaluation.predictions.predict`.
        pairs: The n rows of the training part.
        path: Of the file, normally `gallery.parquet` in the checkpoint's folder.
        pairs_kept: Largest number of pairs; 400 take 2 to 4 MB.
        side: Longer side of the pictures in pixels.
        delta: The deltas of all rows of `pairs`, (n, D), if known; otherwise the model computes them.

    Returns:
        The path.

    Raises:
        ValueError: If there is no pair, a number is below 1, or there is not one delta for each pair.
    """
    if len(pairs) == 0 or pairs_kept < 1 or side < 1:
        raise ValueError(f"A gallery of {pairs_kept} of {len(pairs)} pairs at {side} pixels: each must be at least 1.")
    if delta is not None and len(delta) != len(pairs):
        raise ValueError(f"delta has {len(delta)} rows for {len(pairs)} pairs: pass one row per pair.")
    columns = pairs.with_format(None)
    chosen = sorted(spread_rows(columns["action"][:], columns["object"][:], pairs_kept))
    kept = pairs.select(chosen)
    found = predict(model, kept, transform, description="drawing the gallery").delta if delta is None else delta[chosen]
    pictures = _pictures(kept, transform, side)
    features = datasets.Features(
        {
            "before": datasets.Image(),
            "after": datasets.Image(),
            "action": pairs.features["action"],
            "object": pairs.features["object"],
            "pair_id": datasets.Value("string"),
            "delta": datasets.List(datasets.Value("float32")),
        }
    )
    rows = {
        **dict(zip(_PICTURES, zip(*pictures, strict=True), strict=True)),
        **{name: kept.with_format(None)[name][:] for name in ("action", "object", "pair_id")},
        "delta": found.float().cpu().numpy(),
    }
    table = datasets.Dataset.from_dict(rows, features=features).with_format("arrow")[:]
    with write_whole(path) as temporary:
        pyarrow.parquet.write_table(table, temporary)
    return Path(path)


def read_gallery(path: str | Path) -> datasets.Dataset:
    """Read a file of `write_gallery`: one row per pair, in memory; `before` and `after` are decoded to PIL pictures.

    Raises:
        ValueError: If the file is not a gallery. It comes with a checkpoint, which may be a stranger's.
    """
    advice = "evaluate the checkpoint again to write it"
    check_within(path, Path(path).parent)
    try:
        table = pyarrow.parquet.read_table(path)
        pairs = datasets.Dataset(table)  # in memory; from_parquet would leave a copy in the user's cache
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
    ) as error:  # Arrow's, and those of class names
        raise ValueError(f"{path} cannot be read as a gallery: {advice}.") from error
    if missing := sorted({"before", "after", "action", "object", "pair_id", "delta"} - set(table.column_names)):
        raise ValueError(f"{path} is not a gallery, the column {missing[0]} is missing: {advice}.")
    check_columns(pairs.features, str(path), required=())
    # datasets must not decode: it would open any file or address that a row names, in any format.
    encoded = datasets.Features({**pairs.features, **dict.fromkeys(_PICTURES, datasets.Image(decode=False))})
    pairs = datasets.Dataset(table, info=datasets.DatasetInfo(features=encoded))
    check_rows(pairs, str(path), boxes_needed=False)
    try:
        deltas = np.array(table["delta"].to_pylist())
    except ValueError:  # of several lengths
        deltas = np.zeros(())
    if deltas.ndim != 2 or not deltas.shape[1] or deltas.dtype.kind != "f" or not np.isfinite(deltas).all():
        raise ValueError(f"{path} is not a gallery, its deltas are not finite numbers, equally many in each: {advice}.")
    return pairs.with_transform(_decoded)


def _decoded(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """A batch of rows, or of some of their columns, with PIL pictures."""
    ids = batch.get("pair_id")
    for name in _PICTURES:
        if name in batch:
            names = ids or [None] * len(batch[name])
            read = (open_picture(value, name, pair_id) for value, pair_id in zip(batch[name], names, strict=True))
            batch[name] = [picture.convert("RGB") for picture in read]
    return batch


def _pictures(pairs: datasets.Dataset, transform: PairTransform, side: int) -> list[tuple[Any, Any]]:
    """Both pictures of each pair as encoded JPEGs of the region that the model saw."""
    height, width = transform.size
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = []
    columns = [name for name in (*_PICTURES, "pair_id", "box") if name in pairs.column_names]
    for row in pairs.with_format(None).select_columns(columns):
        opened = [open_picture(row[name], name, row["pair_id"]) for name in _PICTURES]
        region = transform.region(opened[0].size, row.get("box"), row["pair_id"])
        cut = [
            cut_region(image, region, size, PIL.Image.Resampling.BILINEAR, name, row["pair_id"])
            for image, name in zip(opened, _PICTURES, strict=True)
        ]
        small.append((_jpeg(cut[0]), _jpeg(cut[1])))
    return small


def _jpeg(picture: Any) -> dict[str, Any]:
    """A (H, W, 3) uint8 array as `datasets.Image` stores it."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(picture).save(buffer, format="JPEG", quality=_JPEG_QUALITY)
    return {"bytes": buffer.getvalue(), "path": None}
