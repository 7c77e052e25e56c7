"""Gives pairs the kept features of their pictures, and encodes what is not kept yet."""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import datasets
import torch
from accelerate import PartialState
from accelerate.utils import gather_object, parse_flag_from_env
from torch.utils.data import DataLoader, Dataset

from ..data.collator import PairCollator
from ..data.transforms import PairTransform
from .encoder import Encoder, Precision, description
from .kept_pairs import pair_keys, with_features
from .store import PART_BYTES, PART_ROWS, FeatureStore, Reading

Places = dict[bytes, tuple[str, int]]  # key of a pair -> a split and a row where it is

_TRIES = 3


@dataclass
class FeatureKeeper:
    """Gives splits the kept features of their pictures; arguments as for `keep_features`."""

    model: Any
    transform: PairTransform
    store: FeatureStore
    precision: Precision = "float32"
    num_workers: int = 0

    def __call__(self, splits: Mapping[str, datasets.Dataset]) -> dict[str, Any]:
        """See `keep_features`."""
        options: dict[str, Any] = {"precision": self.precision, "num_workers": self.num_workers}
        return keep_features(self.model, splits, self.transform, self.store, **options)

    def has_some(self) -> bool:
        """Whether the store has features of this model's backbone, of any pictures."""
        return _readings([self.model.base_model], self.transform, self.store, self.precision)[0].exists()

    def record(self) -> dict[str, Any]:
        """For `metrics.json`: the precision of the features, and how many pairs were encoded and found."""
        return {"precision": self.precision, "encoded": self.store.encoded, "found": self.store.found}


def _processes() -> PartialState:
    """The processes of this run; as an Accelerator has them, which may not have been made yet."""
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))


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
    batch_size: int | None = None,
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
        batch_size: Pairs that go through the backbone at once. Default: 16 on a CPU, whose caches more would not fit,
            else 64.
        num_workers: Processes that load pictures; 0: a thread does.
        also: Further models on the same backbone. What is encoded is read and kept for them, too, in the same pass.

    Returns:
        The same names -> `datasets.Dataset` of the same rows in the same order, with all columns but the pictures. A
        row read gives `features`, (2, D_b) or, where the model reads patches, (2, N, D_b), float32; `labels`, an int;
        the transform's extras, as `PairTransform` gives them. Features and masks are exchanged where the column
        `SWAPPED` of `with_swapped` is true.

    Raises:
        ValueError: The model does not take features, or not of pictures of this shape, models have other backbones, the
            transform augments, a split is not loaded as a whole, a picture cannot be read, a feature is not finite, or
            there is no room.
        OSError: The store cannot be written or read.
    """
    _check(model, splits, transform)
    models = [one.base_model for one in (model, *also)]
    readings = _readings(models, transform, store, precision)
    keys = {name: pair_keys(rows, transform) for name, rows in splits.items()}
    wanted: Places = {}
    for name, own in keys.items():
        for row, key in enumerate(own):
            wanted.setdefault(key, (name, row))
    encoder = None
    for _ in range(_TRIES):  # a second one where another run has removed features meanwhile, to make room
        missing = _missing(wanted, readings)
        store.count(wanted, missing)
        if not missing:
            return {name: with_features(rows, keys[name], readings[0], transform) for name, rows in splits.items()}
        encoder = encoder or Encoder(models, precision, _processes().device)
        size = batch_size or (16 if encoder.device.type == "cpu" else 64)
        _encode_missing(encoder, _Pictures(splits, transform, missing), readings, store, size, num_workers)
    raise OSError(
        f"Features of {len(missing)} pairs are absent from {store.folder} although they were just encoded: give a "
        "folder by --feature_store that all processes share and no other run empties."
    )


def _readings(
    models: Sequence[Any], transform: PairTransform, store: FeatureStore, precision: Precision
) -> list[Reading]:
    """The folders of the store that have the features of models on one backbone."""
    told = [description(model, transform, precision, _processes().device.type) for model in models]
    if any(other["weights"] != told[0]["weights"] for other in told):
        raise ValueError("The models have backbones with other weights, so one pass cannot serve them all.")
    return [store.reading(one) for one in told]


def obstacle(model: Any, transform: PairTransform) -> str | None:
    """Why a model cannot read features in place of what a transform shows; None if it can."""
    name = type(model).__name__
    if not takes_features(model):
        return (
            f"{name}.forward takes no features in place of pictures: give it that argument, as "
            "ConcatenationForActionClassification has it, or keep no features by --feature_store_gb 0."
        )
    if getattr(model, "reads_places", False) and transform.size[0] != transform.size[1]:
        return (
            f"{name} reads where patches are, and features do not say that their pictures have "
            f"{transform.size[1]}x{transform.size[0]} pixels: show it square pictures, or keep no features for it."
        )
    return None


def _check(model: Any, splits: Mapping[str, Any], transform: PairTransform) -> None:
    if (said := obstacle(model, transform)) is not None:
        raise ValueError(said)
    if transform.augment is not None:
        raise ValueError("Augmented pictures differ in every epoch, and so do their features: leave augment out.")
    for name, rows in splits.items():
        if not isinstance(rows, datasets.Dataset):
            raise ValueError(f"The split {name} is a stream, whose features cannot be kept: load it as a whole.")
        if len(rows) == 0:
            raise ValueError(f"The split {name} has no pairs.")


def _missing(wanted: Places, readings: Sequence[Reading]) -> Places:
    """The pairs that a process lacks, in the same order on all processes: others may fill the store meanwhile."""
    for reading in readings:
        reading.refresh(wanted)
    own = [key for key in wanted if any(key not in reading.places for reading in readings)]
    missing = set(gather_object(own))
    return {key: place for key, place in wanted.items() if key in missing}


class _Pictures(Dataset[Any]):
    """The pictures of chosen pairs as they are stored: swapped copies are exchanged where features are read."""

    def __init__(self, splits: Mapping[str, Any], transform: PairTransform, places: Places) -> None:
        read = ("before", "after", "box", "action", "object", "pair_id")  # and not masks, which would be decoded
        self.splits = {}
        for name, rows in splits.items():
            columns = rows.select_columns([column for column in read if column in rows.features])
            self.splits[name] = columns.with_transform(transform)
        self.size = transform.size
        self.keys, self.places = list(places), list(places.values())

    def __len__(self) -> int:
        return len(self.places)

    def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
        """The pairs with these numbers, which DataLoader asks for a batch at a time."""
        items: list[Any] = []
        for name in dict.fromkeys(self.places[number][0] for number in numbers):  # places are in the order of splits
            rows = [row for split, row in (self.places[number] for number in numbers) if split == name]
            items += self.splits[name].__getitems__(rows)
        return items


def _encode_missing(
    encoder: Encoder,
    pictures: _Pictures,
    readings: Sequence[Reading],
    store: FeatureStore,
    batch_size: int,
    num_workers: int,
) -> None:
    """Makes room, and encodes this process's share; each part is written as soon as it is whole."""
    from datasets.utils import tqdm

    state = _processes()
    row_bytes = [features[0].nbytes for features in encoder(torch.zeros(1, 2, 3, *pictures.size))]
    size = len(pictures) * sum(row_bytes)
    if state.is_main_process:
        store.make_room(size)
        print(
            f"Features of {len(pictures):,} pairs are encoded in {encoder.precision}, {size / 1e6:,.0f} MB.", flush=True
        )
    state.wait_for_everyone()
    own = range(state.process_index, len(pictures), state.num_processes)
    per_part = max(1, min(PART_ROWS, PART_BYTES // max(row_bytes)))
    batches = [list(own[i : i + batch_size]) for i in range(0, len(own), batch_size)]
    generator = torch.Generator()  # else a loader draws from the one that training's dropout draws from
    loader = DataLoader(
        pictures, batch_sampler=batches, collate_fn=PairCollator(), num_workers=num_workers, generator=generator
    )
    waiting: list[bytes] = []
    encoded: list[list[torch.Tensor]] = [[] for _ in readings]
    with tqdm(total=len(own), desc="encoding", unit="pair", disable=not state.is_main_process) as bar:
        for numbers, batch in zip(batches, _loaded_ahead(loader), strict=True):
            waiting += [pictures.keys[number] for number in numbers]
            for features, done in zip(encoder(batch["pixel_values"]), encoded, strict=True):
                done.append(features)
            bar.update(len(numbers))
            if len(waiting) >= per_part or numbers is batches[-1]:
                for reading, done in zip(readings, encoded, strict=True):
                    _add_new(reading, waiting, torch.cat(done))
                    done.clear()
                waiting = []
    state.wait_for_everyone()


def _loaded_ahead(loader: Iterable[Any]) -> Iterator[Any]:
    """The same batches; each is loaded by a thread while the one before it is encoded."""
    batches = iter(loader)
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch


def _add_new(reading: Reading, keys: Sequence[bytes], features: torch.Tensor) -> None:
    """Keeps what a reading lacks; of several, one may have pairs that another one lacks."""
    new = [row for row, key in enumerate(keys) if key not in reading.places]
    if new:
        reading.add([keys[row] for row in new], features[new])
