"""Pairs whose features are kept, as a data set that gives features in place of pictures."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import datasets

from ..data.transforms import PairTransform
from .store import Parts, Reading

PLACE = "place_of_features"  # the column with the part and the row of a pair's features
_PICTURES = ("before", "after")
_ROWS_AT_ONCE = 256


class KeptFeatures:
    """The transform of rows with a `PLACE`: what `PairTransform` gives, with `features` in place of `pixel_values`.

    Args:
        parts: The files.
        extras: `"objects"` gives the class id of each pair's object, too.
    """

    def __init__(self, parts: Parts, extras: Sequence[str] = ()) -> None:
        self.parts, self.extras = parts, tuple(extras)

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        features = [self.parts.row(*place) for place in batch[PLACE]]  # (T, D_b) or (T, N, D_b) each
        swapped = batch.get("swapped") or [False] * len(features)
        result: dict[str, list[Any]] = {
            "features": [f.flip(0) if back else f for f, back in zip(features, swapped, strict=True)],
            "labels": [int(action) for action in batch["action"]],
        }
        if "objects" in self.extras:
            result["objects"] = [int(kind) for kind in batch["object"]]
        return result


def pair_keys(rows: datasets.Dataset, transform: PairTransform) -> list[bytes]:
    """A key of each pair, 32 bytes: the SHA-256 of the bytes of its pictures, and of its box if that is cut out."""
    names = [*_PICTURES, *(["box"] if transform.crop == "box" else [])]
    columns = rows.with_format(None).select_columns(names)
    for name in _PICTURES:
        columns = columns.cast_column(name, datasets.Image(decode=False))
    keys = []
    for start in range(0, len(columns), _ROWS_AT_ONCE):
        batch = columns[start : start + _ROWS_AT_ONCE]
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


def with_features(rows: datasets.Dataset, keys: Sequence[bytes], reading: Reading, extras: Sequence[str]) -> Any:
    """The rows without their pictures, with a transform that reads the features of `reading`, which has all keys."""
    pictures = [name for name, feature in rows.features.items() if isinstance(feature, datasets.Image)]
    plain = rows.with_format(None).remove_columns(pictures)
    features = datasets.Features({**plain.features, PLACE: datasets.List(datasets.Value("int64"), length=2)})
    columns = {**plain[:], PLACE: [list(reading.places[key]) for key in keys]}
    made = datasets.Dataset.from_dict(columns, features=features, split=rows.split)
    parts = Parts([str(path) for path in reading.parts])
    parts.open()
    return made.with_transform(KeptFeatures(parts, extras))
