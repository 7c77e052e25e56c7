"""Ways to find the segments of a clip with a model of pairs, each with the settings that can be chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby, product
from typing import Any

import torch

from benchmarks.segmentation.clips import Clips
from modeling_cde.evaluation.segment_metrics import Segment, segmental_f1

LEVELS = (0.10, 0.25, 0.50)
Finder = Callable[..., list[list[Segment]]]


def by_program(model: Any, clips: Clips, cost: float, longest: int | None) -> list[list[Segment]]:
    """Dynamic programming over the differences of all pairs of frames; see `segmentation_cde.py`."""
    found: list[list[Segment]] = []
    for delta in clips.delta:
        segments = model.find_segments(delta, cost, longest)
        found.append([(one["start"], one["end"], one["label"]) for one in segments])
    return found


def by_threshold(model: Any, clips: Clips, above: float) -> list[list[Segment]]:
    """Runs of steps whose pictures differ by more than a threshold, each named by the pair model from its ends."""
    names = labels(model, clips)
    found: list[list[Segment]] = []
    for number, differences in enumerate(clips.differences):
        steps = (differences.diagonal(offset=1) > above).tolist()
        found.append([(i, j, names[number][i][j]) for moved, i, j in runs(steps) if moved])
    return found


def by_window(model: Any, clips: Clips, width: int, above: float) -> list[list[Segment]]:
    """Each step named by the pair model from the ends of a window around it, where it is sure enough."""
    names, frames = labels(model, clips), clips.delta.shape[1]
    chances = probabilities(model, clips).amax(dim=-1)  # (n, T, T)
    found: list[list[Segment]] = []
    for number in range(len(clips)):
        said = []
        for step in range(frames - 1):
            i = min(max(step - (width - 1) // 2, 0), frames - 1 - width)
            sure = float(chances[number, i, i + width]) > above
            said.append(names[number][i][i + width] if sure else None)
        found.append([(i, j, name) for name, i, j in runs(said) if name is not None])
    return found


FINDERS: dict[str, tuple[Finder, dict[str, Sequence[Any]]]] = {
    "all pairs, dynamic programming": (
        by_program,
        {"cost": (1, 2, 3, 4, 5, 6, 7, 8, 10, 12), "longest": (3, 5, 7, 9, None)},
    ),
    "sliding window": (
        by_window,
        {"width": (1, 2, 3, 4, 5, 6), "above": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)},
    ),
    "difference of pictures": (
        by_threshold,
        {"above": tuple(round(0.0005 * 1.25**k, 6) for k in range(32))},
    ),
}


def choose(model: Any, clips: Clips, finder: str) -> dict[str, Any]:
    """The settings of the finder with the highest mean of F1@10, 25 and 50; of equal ones the first."""
    find, grid = FINDERS[finder]
    tried = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]

    def quality(settings: dict[str, Any]) -> float:
        found = find(model, clips, **settings)
        return sum(segmental_f1(found, clips.true, least) for least in LEVELS)

    return max(tried, key=quality)


def runs(values: Sequence[Any]) -> list[tuple[Any, int, int]]:
    """(value, first step, step after the last) of each stretch of equal values."""
    found, start = [], 0
    for value, group in groupby(values):
        length = len(list(group))
        found.append((value, start, start + length))
        start += length
    return found


@torch.no_grad()
def probabilities(model: Any, clips: Clips) -> torch.Tensor:
    """What the pair model answers for all pairs of frames, (n, T, T, A)."""
    chances: torch.Tensor = model.classifier(clips.delta).softmax(dim=-1)
    return chances


def labels(model: Any, clips: Clips) -> list[list[list[str]]]:
    """The name that the pair model gives each pair of frames."""
    ids = probabilities(model, clips).argmax(dim=-1).tolist()
    return [[[model.config.id2label[number] for number in row] for row in clip] for clip in ids]
