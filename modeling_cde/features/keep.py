"""Gives pairs the kept features of their pictures, and encodes what is not kept yet."""

import inspect
import time
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import torch
from accelerate import PartialState
from torch.utils.data import DataLoader, Dataset

from ..data.collator import PairCollator
from ..data.transforms import PairTransform
from .encoder import Encoder, Precision, description
from .kept_pairs import pair_keys, with_features
from .store import PART_BYTES, PART_ROWS, FeatureStore, Reading


def takes_features(model: Any) -> bool:
    """Whether a model can be called with features in place of pictures, as all methods of this package can."""
    return "features" in inspect.signature(type(model).forward).parameters


def keep_features(
    model: Any,
    splits: Mapping[str, datasets.Dataset],
    transform: PairTransform,
    store: FeatureStore,
    *,
    precision: Precision = "float32",
    batch_size: int = 32,
    num_workers: int = 0,
    also: Sequence[Any] = (),
) -> dict[str, Any]:
    """The splits with features in place of pictures; what the store lacks is encoded, once, and kept.

    All processes call it, and share the work. Pairs of equal pictures share their features, whatever their split.

    Args:
        model: Any method's model. Its backbone must not change afterwards.
        splits: Name -> rows.
        transform: What the backbone sees of a row, without augmentation.
        store: Where features are kept.
        precision: In which the backbone runs; see `Encoder`.
        batch_size: Pairs that go through the backbone at once.
        num_workers: Processes that load pictures.
        also: Further models on the same backbone. What is encoded is read and kept for them, too, in the same pass.

    Returns:
        The same names -> `datasets.Dataset` of the same rows in the same order, with all columns but the pictures. A
        row read gives `features`, (2, D_b) or, where the model reads patches, (2, N, D_b), float32; `labels`, an int;
        the transform's extras, as `PairTransform` gives them. Features and masks are exchanged where the column
        `swapped` is true.

    Raises:
        ValueError: The model does not take features, or not of pictures of this shape, the transform augments, a split
            is not loaded as a whole, a picture cannot be read, or there is no room.
        OSError: The store cannot be written or read.
    """
    models = [one.base_model for one in (model, *also)]
    _check(model, splits, transform)
    state = PartialState()
    readings = [store.reading(description(one, transform, precision, state.device.type)) for one in models]
    for reading in readings:
        reading.refresh()
    keys = {name: pair_keys(rows, transform) for name, rows in splits.items()}
    missing: dict[bytes, tuple[str, int]] = {}
    for name, own_keys in keys.items():
        for row, key in enumerate(own_keys):
            if any(key not in reading.places for reading in readings):
                missing.setdefault(key, (name, row))
    wanted = {key for own_keys in keys.values() for key in own_keys}
    store.found += len(wanted) - len(missing)
    state.wait_for_everyone()  # nobody begins to write while another still looks at what is there
    if missing:
        began = time.perf_counter()
        encoder = Encoder(models, precision, state.device)
        places = list(missing.items())
        pictures = _Pictures({name: rows.with_transform(transform) for name, rows in splits.items()}, places)
        row_bytes = [features[0].nbytes for features in encoder(PairCollator()([pictures[0]])["pixel_values"])]
        size = len(missing) * sum(row_bytes)
        if state.is_main_process:
            used = [(one, one.places[key]) for one in readings for key in wanted if key in one.places]
            store.make_room(size, spared={reading.parts[part] for reading, (part, _) in used})
            found = f"{len(wanted) - len(missing):,} of {len(wanted):,} pairs are kept"
            print(f"Features: {found}; the others are encoded in {precision}, {size / 1e6:,.0f} MB.", flush=True)
        state.wait_for_everyone()
        own = range(state.process_index, len(places), state.num_processes)
        _encode(encoder, pictures, own, readings, max(row_bytes), batch_size, num_workers)
        state.wait_for_everyone()
        store.encoded += len(missing)
        store.seconds += time.perf_counter() - began
        for reading in readings:
            reading.refresh()
    return {name: with_features(rows, keys[name], readings[0], transform) for name, rows in splits.items()}


def _check(model: Any, splits: Mapping[str, Any], transform: PairTransform) -> None:
    name = type(model).__name__
    if not takes_features(model):
        raise ValueError(
            f"{name}.forward takes no features in place of pictures: give it that argument, as "
            "ConcatenationForActionClassification has it, or keep no features by --feature_store_gb 0."
        )
    if getattr(model, "reads_places", False) and transform.size[0] != transform.size[1]:
        raise ValueError(
            f"{name} reads where patches are, and features do not say that their pictures have "
            f"{transform.size[1]}x{transform.size[0]} pixels: show it square pictures, or keep no features for it."
        )
    if transform.augment is not None:
        raise ValueError("Augmented pictures differ in every epoch, and so do their features: leave augment out.")
    for name, rows in splits.items():
        if not isinstance(rows, datasets.Dataset):
            raise ValueError(f"The split {name} is a stream, whose features cannot be kept: load it as a whole.")
        if len(rows) == 0:
            raise ValueError(f"The split {name} has no pairs.")


class _Pictures(Dataset[Any]):
    """The pictures of chosen rows of several splits."""

    def __init__(self, splits: Mapping[str, Any], places: Sequence[tuple[bytes, tuple[str, int]]]) -> None:
        self.splits, self.places = splits, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict[str, Any]:
        name, row = self.places[index][1]
        item: dict[str, Any] = dict(self.splits[name][row])
        if item.pop("swapped", False):  # features are kept as the pictures are stored
            item["pixel_values"] = item["pixel_values"].flip(0)
        return item


def _encode(
    encoder: Encoder,
    pictures: _Pictures,
    own: Sequence[int],
    readings: Sequence[Reading],
    row_bytes: int,
    batch_size: int,
    num_workers: int,
) -> None:
    """Encodes the pictures with the numbers `own`, and writes each part as soon as it is whole."""
    from datasets.utils import tqdm

    per_part = max(1, min(PART_ROWS, PART_BYTES // row_bytes))
    batches = [list(own[i : i + batch_size]) for i in range(0, len(own), batch_size)]
    generator = torch.Generator()  # else a loader draws from the one that training's dropout draws from
    loader = DataLoader(
        pictures, batch_sampler=batches, collate_fn=PairCollator(), num_workers=num_workers, generator=generator
    )
    waiting: list[bytes] = []
    encoded: list[list[torch.Tensor]] = [[] for _ in readings]
    with tqdm(total=len(own), desc="encoding", unit="pair", disable=not PartialState().is_main_process) as bar:
        for numbers, batch in zip(batches, loader, strict=True):
            waiting += [pictures.places[number][0] for number in numbers]
            for features, done in zip(encoder(batch["pixel_values"]), encoded, strict=True):
                done.append(features)
            bar.update(len(numbers))
            if len(waiting) >= per_part or numbers is batches[-1]:
                for reading, done in zip(readings, encoded, strict=True):
                    reading.add(waiting, torch.cat(done))
                    done.clear()
                waiting = []
