"""Squares: four frames with both of two properties changed and unchanged, and what a frozen backbone says of them.

    frame 0 --a--> frame 1 --b--> frame 2 --a'--> frame 3        a' undoes a

So frame 0 --b--> frame 3, too, and each pair of opposite corners is two actions apart, in whichever order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import torch
from safetensors.torch import load_file, save_file

from benchmarks.study.pairs import READINGS, Pairs
from modeling_cde.data.splits import OPPOSITES

EDGES = ((0, 1), (1, 2), (2, 3), (0, 3))
DIAGONALS = ((0, 2), (1, 3))
PAIRS = (*EDGES, *DIAGONALS)  # each in this direction
_BATCH = 8

# A reading that the study does not have: patch-wise deltas of the last layer.
READINGS.setdefault("patch", {"delta_mode": "patch"})


@dataclass(frozen=True)
class Move:
    """From one frame of a square to another, by one action or two."""

    square: int
    start: int
    end: int
    actions: frozenset[str]


@dataclass(frozen=True)
class Squares:
    """n squares.

    Attributes:
        acts: The actions a, b and a' of each.
        objects: The object of each of them.
        features: Reading -> (n, 4, D_b), or (n, 4, N, D_b) for patches.
        paired: Reading whose features depend on both frames of a pair -> (start, end) of `PAIRS` -> (n, 2, D_b).
    """

    acts: Sequence[tuple[str, str, str]]
    objects: Sequence[tuple[str, str, str]]
    features: Mapping[str, torch.Tensor]
    paired: Mapping[str, Mapping[tuple[int, int], torch.Tensor]]

    def __len__(self) -> int:
        return len(self.acts)

    @cached_property
    def edges(self) -> list[Move]:
        """All single actions, in each direction in which it can be done."""
        return [move for k in range(len(self)) for pair in EDGES for move in self._both_ways(k, *pair)]

    @cached_property
    def diagonals(self) -> list[Move]:
        """All pairs of different actions, in each direction in which both can be done."""
        moves = [move for k in range(len(self)) for pair in DIAGONALS for move in self._both_ways(k, *pair)]
        return [move for move in moves if len(move.actions) == 2]  # else one action is done to two objects

    def _both_ways(self, square: int, start: int, end: int) -> list[Move]:
        a, b, back = self.acts[square]
        by = {(0, 1): (a,), (1, 2): (b,), (2, 3): (back,), (0, 3): (b,), (0, 2): (a, b), (1, 3): (b, back)}[start, end]
        moves = [Move(square, start, end, frozenset(by))]
        if all(action in OPPOSITES for action in by):
            moves.append(Move(square, end, start, frozenset(OPPOSITES[action] for action in by)))
        return moves

    def pairs_of(self, reading: str, moves: Sequence[Move]) -> torch.Tensor:
        """What a model reads of the end points of moves: (m, 2, D_b) or (m, 2, N, D_b)."""
        if reading not in self.paired:
            return torch.stack([self.features[reading][m.square, [m.start, m.end]] for m in moves])
        found = []
        for move in moves:
            forth = (move.start, move.end) in self.paired[reading]
            pair = (move.start, move.end) if forth else (move.end, move.start)
            both = self.paired[reading][pair][move.square]
            found.append(both if forth else both.flip(0))
        return torch.stack(found)


def open_squares(folder: str | Path) -> Squares:
    """Load a data set of squares and encode its frames, which takes about a second for six squares on a core."""
    from data_scripts.training_inputs import HUB_MODEL, reachable_backbone
    from modeling_cde import CDEForActionClassification, CDEImageProcessor
    from modeling_cde.data import PairTransform, SequenceTransform, load_sequences
    from modeling_cde.features.encoder import Encoder, native_bf16

    rows = load_sequences(folder)
    names: Any = (rows.features["actions"].feature.names, rows.features["objects"].feature.names)
    acts = [tuple(names[0][action] for action in row) for row in rows["actions"]]
    objects = [tuple(names[1][thing] for thing in row) for row in rows["objects"]]
    kept = Path(folder, "features.safetensors")
    if kept.exists():
        told = load_file(kept)
        whole = {name: value for name, value in told.items() if " " not in name}
        return Squares(acts, objects, whole, {"change": {pair: told[_name(pair)] for pair in PAIRS}})
    backbone = str(reachable_backbone(HUB_MODEL))
    transform = SequenceTransform(PairTransform.from_processor(CDEImageProcessor.from_backbone(backbone, size=126)))
    wanted = {"cls": READINGS["cls"], "cls4": READINGS["cls4"], "patch": READINGS["patch"]}
    wanted["all"] = {"delta_mode": "patch", "feature_layers": READINGS["change"]["feature_layers"]}
    models = {name: CDEForActionClassification.from_backbone(backbone, **flags).cde for name, flags in wanted.items()}
    change = CDEForActionClassification.from_backbone(backbone, **READINGS["change"]).cde
    encoder = Encoder(list(models.values()), "bf16" if native_bf16() else "float32", torch.device("cpu"))
    features: dict[str, list[torch.Tensor]] = {name: [] for name in ("cls", "cls4", "patch", "change")}
    paired: dict[tuple[int, int], list[torch.Tensor]] = {pair: [] for pair in PAIRS}
    for first in range(0, len(rows), _BATCH):
        batch = rows[first : first + _BATCH]
        clips = torch.stack(transform(batch)["pixel_values"])  # (B, 4, 3, H, W)
        found = dict(zip(models, encoder(clips), strict=True))
        patches = found.pop("all")  # (B, 4, N, 4 D)
        for name, value in found.items():
            features[name].append(value)
        features["change"].append(_pooled(change, patches))
        for pair in PAIRS:
            paired[pair].append(_pooled(change, patches[:, list(pair)]))
    whole = {name: torch.cat(parts) for name, parts in features.items()}
    both = {"change": {pair: torch.cat(parts) for pair, parts in paired.items()}}
    save_file({**whole, **{_name(pair): value.contiguous() for pair, value in both["change"].items()}}, kept)
    return Squares(acts, objects, whole, both)


def _name(pair: tuple[int, int]) -> str:
    """Of a pair's features in the file, where a reading has a plain name."""
    return f"change {pair[0]} {pair[1]}"


def open_training(folder: str | Path, number: int, readings: Sequence[str]) -> Pairs:
    """The first pairs of a built data set with kept features, for `benchmarks.study.heads.fit`."""
    import datasets

    from data_scripts.training_inputs import HUB_MODEL, reachable_backbone
    from modeling_cde import CDEForActionClassification, CDEImageProcessor
    from modeling_cde.data import PairTransform
    from modeling_cde.data.splits import CleanOptions
    from modeling_cde.features.encoder import native_bf16
    from modeling_cde.features.keep import keep_features
    from modeling_cde.features.store import FeatureStore

    shards = sorted(map(str, Path(folder, "shards", "single").glob("*.parquet")))
    if not shards:
        raise FileNotFoundError(f"{folder} has no shards of view single: build the data set first (docs/data.md).")
    schema = parquet.read_schema(shards[0])
    stored = datasets.Dataset.from_parquet(shards, features=datasets.Features.from_arrow_schema(schema))
    stored = stored.select(range(min(number, len(stored))))
    backbone = str(reachable_backbone(HUB_MODEL))
    transform = PairTransform.from_processor(CDEImageProcessor.from_backbone(backbone, size=126))
    models = {name: CDEForActionClassification.from_backbone(backbone, **READINGS[name]) for name in readings}
    precision: Any = "bf16" if native_bf16() else "float32"
    rows: dict[str, Any] = {}
    for name, model in models.items():
        also = [other for key, other in models.items() if key != name and not rows]
        rows[name] = keep_features(model, {"all": stored}, transform, FeatureStore(), precision=precision, also=also)[
            "all"
        ]
    names = {name: stored.features[name].names for name in ("action", "object")}
    action, thing = ([names[name][i] for i in stored[name]] for name in ("action", "object"))
    ids = [stored[name][:] for name in ("scene", "pair_id")]
    return Pairs(rows, rows, {}, action, thing, ids[0], ids[1], None, CleanOptions())


def _pooled(model: Any, patches: torch.Tensor) -> torch.Tensor:
    """Patches (B, T, N, D) weighted by how much they change over the T frames: (B, T, D)."""
    batch, frames = patches.shape[:2]
    pooled, _ = model.pool(patches.flatten(0, 1), batch, frames)
    return pooled.reshape(batch, frames, -1)  # type: ignore[no-any-return]
