"""Clips of rooms: pictures, what happens in them, and the deltas of all pairs of their frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from modeling_cde.evaluation.segment_metrics import Segment
from modeling_cde.models.segmentation_cde import all_deltas

FRAMES = 16


@dataclass(frozen=True)
class Clips:
    """n clips of T frames.

    Attributes:
        true: The segments of each.
        amount: How much of each of these is done in each frame: n lists of lists of T numbers.
        differences: (n, T, T), the mean absolute difference of the values of two frames.
        delta: (n, T, T, D), see `CDEForActionClassification.compare_frames`.
    """

    true: list[list[Segment]]
    amount: list[list[list[float]]]
    differences: torch.Tensor
    delta: torch.Tensor

    def __len__(self) -> int:
        return len(self.true)


def render(folder: Path, num: int, seed: int, workers: int, **disturbance: float) -> None:
    """Render clips of two gradual actions on one object, unless they are there."""
    from data_scripts.rooms.sequence_command import render_sequences
    from data_scripts.rooms.sequences import Disturbance

    noise = Disturbance(**disturbance)
    settings: dict[str, Any] = {"frames": FRAMES, "acts": 2, "gradual": True, "per_unit": 5}
    render_sequences(folder, num=num, seed=seed, workers=workers, disturbance=noise, **settings)


def open_clips(folder: Path, model: Any, processor: Any, kept: Path) -> Clips:
    """Load clips and encode each of their frames once; what was encoded is kept in a file."""
    from modeling_cde.data import PairTransform, SequenceTransform, load_sequences

    rows = load_sequences(folder)
    names = rows.features["actions"].feature.names
    true: list[list[Segment]] = [
        [(start, end, names[row["actions"][start]]) for start, end in zip(row["onset"], row["end"], strict=True)]
        for row in rows.select_columns(["actions", "onset", "end"])
    ]
    amount = list(rows["amount"])
    if kept.exists():
        told = load_file(kept)
        return Clips(true, amount, told["differences"], told["delta"])
    transform = SequenceTransform(PairTransform.from_processor(processor))
    deltas, differences = [], []
    for number in range(len(rows)):
        (clip,) = transform(rows[number : number + 1])["pixel_values"]
        deltas.append(_compared(model, clip))
        differences.append(picture_differences(clip))
    found = Clips(true, amount, torch.stack(differences), torch.stack(deltas))
    kept.parent.mkdir(parents=True, exist_ok=True)
    save_file({"differences": found.differences, "delta": found.delta}, kept)
    return found


@torch.no_grad()
def _compared(model: Any, clip: torch.Tensor) -> torch.Tensor:
    """What `compare_frames` gives, with frames that are equal, as idle ones are, encoded once."""
    unique, place = torch.unique(clip.flatten(1), dim=0, return_inverse=True)
    encoded, _ = model.base_model.reader(model.base_model.backbone, unique.reshape(-1, *clip.shape[1:]))
    return all_deltas(model.base_model, encoded[place])


def picture_differences(clip: torch.Tensor) -> torch.Tensor:
    """The mean absolute difference of all pairs of frames (T, C, H, W): (T, T)."""
    flat = clip.flatten(1)
    return torch.stack([(flat - frame).abs().mean(dim=1) for frame in flat])
