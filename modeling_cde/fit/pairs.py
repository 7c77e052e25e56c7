"""One's own pairs, checked, and what a frozen backbone reads of them."""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch

from ..data.transforms import PairTransform
from ..features.encoder import native_bf16
from ..features.keep import keep_features
from ..features.store import FeatureStore
from ..models.pictures_cde import load_picture

# (before, after, box); without a box the pictures are read whole.
Pair = tuple[Any, Any, Sequence[int] | None]

# Pictures are read and encoded so many bytes at a time: photographs of many pairs would not fit into memory.
_BYTES_AT_ONCE = 256 << 20


def are_features(X: Any) -> bool:
    """Whether these are features (n, 2, D_b), as `CDEClassifier.encode` gives them, and not pairs of pictures."""
    return isinstance(X, (np.ndarray, torch.Tensor)) and X.ndim == 3


def checked_pairs(X: Any) -> list[Pair]:
    """The pairs, whose files exist.

    Args:
        X: A sequence of pairs, each a tuple, list or array of two pictures or a mapping with `before`, `after` and, if
            it is to be cut out, `box`: xmin, ymin, xmax, ymax in pixels, bounds inclusive. A picture is a path, a URL,
            a PIL image or an array.

    Raises:
        ValueError: There are no pairs, an entry is no pair, or only some have a box; the message says which.
        FileNotFoundError: Files are missing; the message names the first.
    """
    if isinstance(X, (str, bytes, os.PathLike)) or not hasattr(X, "__len__"):
        raise ValueError(f"X is {type(X).__name__}: give a list of pairs (before, after).")
    pairs = []
    for i in range(len(X)):
        item, box = X[i], None
        if isinstance(item, Mapping) and {"before", "after"} <= set(item):
            box, item = item.get("box"), (item["before"], item["after"])
        if isinstance(item, (str, bytes, Mapping)) or not hasattr(item, "__len__") or len(item) != 2:
            raise ValueError(f"X[{i}] is no pair: give (before, after), with one picture each.")
        pairs.append((item[0], item[1], box))
    without = [i for i, pair in enumerate(pairs) if pair[2] is None]
    if without and len(without) < len(pairs):
        raise ValueError(f"X[{without[0]}] has no box, though others have one: give each pair a box, or none.")
    files = [(i, file) for i, pair in enumerate(pairs) for file in pair[:2] if _is_file(file)]
    missing = [(i, file) for i, file in files if not os.path.isfile(file)]
    if missing:
        place, file = missing[0]
        more = f", and {len(missing) - 1} more are missing" if len(missing) > 1 else ""
        raise FileNotFoundError(f"There is no picture {file}, which pair {place} names{more}: check the paths.")
    return pairs


def checked_targets(n: int, **columns: Sequence[Any] | None) -> dict[str, list[Any]]:
    """The columns that are given, as lists of n values.

    Raises:
        ValueError: One has another length, or an empty value; the message says which.
    """
    found = {}
    for name, column in columns.items():
        if column is None:
            continue
        if isinstance(column, str) or not hasattr(column, "__len__"):
            raise ValueError(f"{name} is {column!r}: give a list with one value for each pair.")
        values = column.tolist() if hasattr(column, "tolist") else list(column)
        if len(values) != n:
            raise ValueError(f"X has {n} pairs, but {name} has {len(values)} values: give one value for each pair.")
        empty = [i for i, value in enumerate(values) if value is None or value != value or value == ""]
        if empty:
            raise ValueError(f"{name}[{empty[0]}] is empty: give a value for each pair.")
        found[name] = values
    return found


def encode_pairs(X: Any, model: Any, processor: Any, store: FeatureStore) -> torch.Tensor:
    """What a model's frozen backbone reads of pairs, (n, 2, D_b) float32; it is kept in the store.

    Raises:
        ValueError, OSError: See `checked_pairs` and `keep_features`.
    """
    pairs = checked_pairs(X)
    transform = PairTransform.from_processor(processor, crop="box" if have_boxes(pairs) else "none")
    found = []
    for numbers in _chunks(pairs):
        rows = _rows([pairs[i] for i in numbers], [_name(pairs[i], i) for i in numbers])
        kept = keep_features(model, {"all": rows}, transform, store, precision="bf16" if native_bf16() else "float32")[
            "all"
        ]
        found.append(torch.stack(kept[:]["features"]))
    return torch.cat(found)


def have_boxes(pairs: Sequence[Pair]) -> bool:
    """Whether the boxes of these pairs from `checked_pairs` are cut out."""
    return bool(pairs) and pairs[0][2] is not None


def _rows(pairs: Sequence[Pair], names: Sequence[str]) -> datasets.Dataset:
    features: dict[str, Any] = {"action": datasets.Value("int64"), "pair_id": datasets.Value("string")}
    features |= dict.fromkeys(("before", "after"), datasets.Image(decode=False))
    columns: dict[str, list[Any]] = {"action": [0] * len(pairs), "pair_id": list(names)}
    if have_boxes(pairs):
        features["box"] = datasets.List(datasets.Value("int32"), length=4)
        columns["box"] = [list(pair[2] or ()) for pair in pairs]
    for place, name in enumerate(("before", "after")):
        columns[name] = [{"bytes": _content(pair[place]), "path": None} for pair in pairs]
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def _content(picture: Any) -> bytes:
    """A picture as a file has it; pixels become PNG, which keeps them."""
    if _is_file(picture):
        return Path(picture).read_bytes()
    written = io.BytesIO()
    load_picture(picture).save(written, format="PNG", compress_level=1)
    return written.getvalue()


def _is_file(picture: Any) -> bool:
    return isinstance(picture, os.PathLike) or (
        isinstance(picture, str) and not picture.startswith(("http://", "https://"))
    )


def _name(pair: Pair, number: int) -> str:
    """What messages call a pair."""
    return f"{number} ({pair[0]})" if _is_file(pair[0]) else str(number)


def _chunks(pairs: Sequence[Pair]) -> Iterator[list[int]]:
    """The numbers of the pairs, in parts of at most `_BYTES_AT_ONCE`."""
    part: list[int] = []
    size = 0
    for number, pair in enumerate(pairs):
        own = sum(_size(picture) for picture in pair[:2])
        if part and size + own > _BYTES_AT_ONCE:
            yield part
            part, size = [], 0
        part.append(number)
        size += own
    yield part


def _size(picture: Any) -> int:
    if _is_file(picture):
        return os.path.getsize(picture)
    size = getattr(picture, "size", 0)  # of a PIL image (width, height), of an array its number of elements
    return 3 * size[0] * size[1] if isinstance(size, tuple) else int(size) if isinstance(size, int) else 1 << 20
