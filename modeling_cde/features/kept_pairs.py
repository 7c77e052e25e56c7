"""Pairs whose features are kept, as a data set that gives features in place of pictures."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import pyarrow as pa
import torch
from datasets.table import InMemoryTable

from ..data.crops import open_picture
from ..data.masks import cut_masks
from ..data.schema import SWAPPED
from ..data.transforms import PairTransform
from .store import Parts, Reading

PLACE = "place_of_features"  # the column with the part of a pair's features, times _ROWS, plus the row in it
_ROWS = 2**32
SIZE = "size_of_pictures"  # the column with (width, height) of a pair's pictures, where masks are read
_PICTURES = ("before", "after")
_MASKS = ("mask_before", "mask_after")
_ROWS_AT_ONCE = 256


class KeptFeatures:
    """The transform of rows with a `PLACE`: what `PairTransform` gives, with `features` in place of `pixel_values`.

    Args:
        parts: The files.
        transform: What the features were made with. Its extras are given, too; for masks, rows need `SIZE`.
    """

    def __init__(self, parts: Parts, transform: PairTransform) -> None:
        self.parts, self.transform = parts, transform

    def __deepcopy__(self, memo: dict[int, Any]) -> "KeptFeatures":
        return self  # datasets copies its transform in select(), shuffle() and so on, and parts are open already

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        places = torch.tensor(batch[PLACE])
        features = self.parts.rows(places // _ROWS, places % _ROWS)  # (n, T, D_b) or (n, T, N, D_b)
        swapped = batch.get(SWAPPED) or [False] * len(features)
        if any(swapped):
            features[swapped] = features[swapped].flip(1)
        result = {"features": list(features), "labels": [int(action) for action in batch["action"]]}
        if "objects" in self.transform.extras:
            result["objects"] = [int(kind) for kind in batch["object"]]
        if "masks" in self.transform.extras:
            masks = self._masks(batch)
            result["masks"] = [m.flip(0) if back else m for m, back in zip(masks, swapped, strict=True)]
        return result

    def _masks(self, batch: Mapping[str, Sequence[Any]]) -> list[torch.Tensor]:
        """The target's pixels of each pair, (2, H, W), in the part of its pictures that the features are of."""
        missing = [None] * len(batch[SIZE])
        names = ("mask_before", "mask_after", "box", "pair_id")
        columns = [batch.get(name) or missing for name in names]
        masks = []
        for before, after, box, pair_id, picture in zip(*columns, map(tuple, batch[SIZE]), strict=True):
            region = self.transform.region(picture, box, pair_id)
            masks.append(cut_masks((before, after), box, picture, region, self.transform.size, pair_id=pair_id))
        return masks


def gives_features(rows: Any) -> bool:
    """Whether these are rows of `with_features`."""
    return PLACE in rows.column_names


def pair_keys(rows: datasets.Dataset, transform: PairTransform) -> list[bytes]:
    """A key of each pair, 32 bytes: the SHA-256 of the bytes of its pictures, and of its box if that is cut out."""
    names = [*_PICTURES, *(["box"] if transform.crop == "box" else [])]
    columns = rows.with_format("arrow", columns=names)  # as stored; each further step would copy what datasets knows
    keys = []
    for start in range(0, len(columns), _ROWS_AT_ONCE):
        batch = columns[start : start + _ROWS_AT_ONCE].to_pydict()
        for row in range(len(batch["before"])):
            digest = hashlib.sha256()
            for name in _PICTURES:
                content = batch[name][row]["bytes"] or b""  # without bytes, the transform refuses the picture
                digest.update(len(content).to_bytes(8, "little"))
                digest.update(content)
            if "box" in batch:
                digest.update(repr(batch["box"][row]).encode())
            keys.append(digest.digest())
    return keys


def with_features(rows: datasets.Dataset, keys: Sequence[bytes], reading: Reading, transform: PairTransform) -> Any:
    """The rows without their pictures, with a `KeptFeatures` that reads `reading`, which has all keys.

    Where the transform gives masks, the rows keep these, and get the sizes of their pictures.
    """
    kept = _MASKS if "masks" in transform.extras else ()
    features = datasets.Features()
    for name, feature in rows.features.items():
        if not isinstance(feature, datasets.Image):
            features[name] = feature
        elif name in kept:
            features[name] = datasets.Image(decode=False)
    # In memory, and in this order: datasets would write a copy to its cache.
    table = rows.with_format("arrow", columns=list(features))[:]
    places = [part * _ROWS + row for part, row in (reading.places[key] for key in keys)]
    table = table.append_column(PLACE, pa.array(places, pa.int64()))
    features[PLACE] = datasets.Value("int64")
    # Only these are turned into Python's numbers, which takes longer than reading the features.
    read = [PLACE, "action", SWAPPED, *(["object"] if "objects" in transform.extras else [])]
    if kept:
        features[SIZE] = datasets.List(datasets.Value("int64"), length=2)
        table = table.append_column(SIZE, pa.array(_sizes(rows)))
        read += [*_MASKS, SIZE, "box", "pair_id"]
    info = datasets.DatasetInfo(features=features)
    made = datasets.Dataset(InMemoryTable(table.cast(features.arrow_schema)), info=info, split=rows.split)
    given = KeptFeatures(reading.parts, transform)
    return made.with_transform(given, columns=[name for name in read if name in features])


def _sizes(rows: datasets.Dataset) -> list[list[int]]:
    """(width, height) of the pictures of each pair, upright."""
    names = ["before", *(["pair_id"] if "pair_id" in rows.column_names else [])]
    columns = rows.with_format(None).select_columns(names).cast_column("before", datasets.Image(decode=False))
    return [list(open_picture(row["before"], "before", row.get("pair_id")).size) for row in columns]
