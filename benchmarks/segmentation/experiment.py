"""The experiment: renders and encodes what is missing, chooses settings on validation clips, and measures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.segmentation.clips import FRAMES, Clips, open_clips, render
from benchmarks.segmentation.finders import FINDERS, choose
from data_scripts.rooms.objects import ACTION_EFFECTS
from data_scripts.rooms.scripts import GRADUAL
from modeling_cde.evaluation.segment_metrics import spearman
from modeling_cde.models.composition_cde import action_means


@dataclass(frozen=True)
class Recipe:
    """What configs/segmentation.yaml says."""

    clips: str
    models: dict[str, str]
    parts: dict[str, dict[str, Any]]  # name -> num, seed and disturbances; "validation" is what settings are chosen on
    rounds: int  # of timing


def measure(recipe: Recipe, name: str, workers: int) -> dict[str, Any]:
    """All results of a model, as JSON: what was found in each clip beside what is true, so that tables can be made."""
    from safetensors.torch import load_file

    from modeling_cde import CDEForActionClassification, CDEImageProcessor

    folder = recipe.models[name]
    if not Path(folder, "deltas.safetensors").is_file():
        raise FileNotFoundError(f"{folder} has no deltas.safetensors: train there first (docs/train.md).")
    model = CDEForActionClassification.from_pretrained(folder).eval()
    processor = CDEImageProcessor.from_pretrained(folder)
    pairs = load_file(Path(folder, "deltas.safetensors"))
    means = action_means(pairs["train/delta"], pairs["train/labels"], model.config.num_labels)
    result: dict[str, Any] = {"model": name, "frames": FRAMES, "settings": {}, "parts": {}}
    clips = {}
    for part, told in recipe.parts.items():
        render(Path(recipe.clips, part), workers=workers, **told)
        kept = Path(recipe.clips, "deltas", f"{name}-{part}.safetensors")
        clips[part] = open_clips(Path(recipe.clips, part), model, processor, kept)
    for finder in FINDERS:
        result["settings"][finder] = choose(model, clips["validation"], finder)
    for part in recipe.parts:
        if part != "validation":
            result["parts"][part] = {
                "true": clips[part].true,
                "found": {
                    finder: find(model, clips[part], **result["settings"][finder])
                    for finder, (find, _) in FINDERS.items()
                },
                "progress": progress(model, means, clips[part]),
            }
    result["speed"] = speed(model, processor, recipe.rounds)
    return result


def progress(model: Any, means: torch.Tensor, clips: Clips) -> list[dict[str, Any]]:
    """For each gradual action, how well meters order the frames by how much of it is done.

    The meters are <delta_0t, mean of the action>, and the difference of frames 0 and t as pictures. "clip" compares all
    frames, "action" those from its onset to its end.
    """
    found = []
    for number, segments in enumerate(clips.true):
        for (start, end, label), amount in zip(segments, clips.amount[number], strict=True):
            if ACTION_EFFECTS[str(label)][0] not in GRADUAL or end - start < 3:
                continue
            along = clips.delta[number, 0] @ means[model.config.label2id[label]]  # (T,)
            meters = {"delta": along.tolist(), "pictures": clips.differences[number, 0].tolist()}
            told: dict[str, Any] = {"clip": number, "label": label}
            for name, meter in meters.items():
                whole, during = slice(None), slice(start, end + 1)
                told[name] = [round(spearman(meter[part], amount[part]), 4) for part in (whole, during)]
            found.append(told)
    return found


@torch.no_grad()
def speed(model: Any, processor: Any, rounds: int) -> dict[str, float]:
    """Seconds for a clip of 16 frames, beside sixteen single encodings and one call for all; medians of some rounds."""
    size = processor.size
    clip = torch.randn(FRAMES, 3, size["height"], size["width"], generator=torch.Generator().manual_seed(0))
    base = model.base_model

    def segments() -> None:
        model.find_segments(model.compare_frames(clip))

    def singly() -> None:
        for frame in clip:
            base.reader(base.backbone, frame[None])

    ways: dict[str, Callable[[], Any]] = {
        "clip": segments,
        "sixteen encodings": singly,
        "one call of sixteen": lambda: base.reader(base.backbone, clip),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):  # the first one warms up
        for name, way in ways.items():
            start = time.process_time()
            way()
            taken[name].append(time.process_time() - start)
    return {name: round(statistics.median(_of(values)), 4) for name, values in taken.items()}


def _of(values: Sequence[float]) -> Sequence[float]:
    return values[1:] or values
