"""How many pairs per second the transform gives and a training step takes, in one run; target: a ratio of 3 or more.

    python -m benchmarks.speed.loading_speed [--data data/rooms] [--seconds 3]

Loading is what a loader process does: read rows of an Arrow table, `PairTransform`, `PairCollator`, on one thread.
Training is a whole step (`training_steps.full_step`) on batches that are there already, on all cores or the GPU.
The two are measured in turns, so that both meet the machine in the same state, and the median of the turns counts.

The ratio is that of ONE loader process to training. Where training runs on the CPU, a loader process takes its time
from the same cores: at a ratio of r it slows a training that keeps c cores busy by about 1/(r·c). The pairs of a GPU's
training come from several processes; how many the target asks for is printed, and how many cores there are.
"""

from __future__ import annotations

import argparse
import io
import itertools
import math
import os
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from benchmarks.speed.measured import measured_on, seconds_in_turns, write_json
from benchmarks.speed.training_steps import ACTIONS, FROM_SCRATCH, VIT_S16, Case, full_step, recipe_case
from modeling_cde.data import PairCollator, PairTransform, load_pairs, pair_features
from modeling_cde.whole_files import in_one_sentence

RESULT = Path(__file__).parents[1] / "results" / "loading_speed.json"
TARGET = 3.0
LOADED = 32  # pairs of a batch that is loaded


def draw_picture(generator: np.random.Generator, side: int) -> Image.Image:
    """Surfaces, edges, texture, a little noise: its PNG is within a tenth as large as ProcTHOR's of the same side."""
    picture = np.zeros((side, side, 3), dtype=np.float32)
    scale, size = 60.0, 2
    while size <= side:  # the finer, the fainter, as in photographs
        grid = Image.fromarray(generator.integers(0, 256, (size, size, 3), dtype=np.uint8))
        grown = np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32)
        picture += (grown / 127.5 - 1) * scale
        scale, size = scale / 1.9, size * 2
    picture += 128
    for _ in range(12):
        left, top = generator.integers(0, side, 2)
        width, height = generator.integers(side // 16 + 1, side // 2 + 2, 2)
        picture[top : top + height, left : left + width] += generator.normal(0, 35, 3)
    picture += generator.normal(0, 2, picture.shape)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def encode(picture: Image.Image, kind: str) -> dict[str, Any]:
    """PNG as the room generator writes it, or JPEG as the extractors do."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"compress_level": 1} if kind == "PNG" else {"quality": 95}))
    return {"bytes": buffer.getvalue(), "path": None}


def drawn_pairs(side: int, kind: str, number: int = 96) -> datasets.Dataset:
    """Drawn pairs with a box over most of the picture, as in the single view."""
    generator = np.random.default_rng(side)
    rows = []
    for index in range(number):
        before = draw_picture(generator, side)
        after = before.copy()
        after.paste((20, 20, 20), (side // 3, side // 3, side // 2, 2 * side // 3))
        margin = side // 8
        row: dict[str, Any] = {"before": encode(before, kind), "after": encode(after, kind)}
        row |= {"action": index % ACTIONS, "object": 0, "scene": str(index), "pair_id": str(index)}
        row |= {"box": [margin, margin, side - margin - 1, side - margin - 1], "mask_before": None, "mask_after": None}
        rows.append(row)
    features = pair_features([f"action{i}" for i in range(ACTIONS)], ["object"])
    pairs = datasets.Dataset.from_list(rows, features=features)
    for column in ("before", "after", "mask_before", "mask_after"):
        pairs = pairs.cast_column(column, datasets.Image(decode=False))
    return pairs


def load_step(pairs: datasets.Dataset, size: int, augment: bool) -> Callable[[], Any]:
    """A step of loading: one transformed batch of `LOADED` pairs, at random, from a data loader within this process."""
    shown = pairs.with_transform(PairTransform((size, size), augment=augment))
    loader = DataLoader(shown, LOADED, shuffle=True, drop_last=True, collate_fn=PairCollator())
    source = itertools.chain.from_iterable(itertools.repeat(loader))
    return lambda: next(source)


def on_threads(threads: int, step: Callable[[], Any]) -> None:
    """Make a step on so many threads of torch."""
    torch.set_num_threads(threads)
    step()


def measure(data: str | None, seconds: float, turns: int) -> dict[str, Any]:
    """Every case and both trainings, in turns; the medians."""
    gpu, cores = torch.cuda.is_available(), len(os.sched_getaffinity(0))
    device = "cuda" if gpu else "cpu"
    trainings = [recipe_case(FROM_SCRATCH, "from_scratch"), Case("ViT-S/16", VIT_S16, 224, 64 if gpu else 8)]
    sources = {f"drawn {side} px {kind}": drawn_pairs(side, kind) for side in (128, 256) for kind in ("PNG", "JPEG")}
    if data is not None:
        sources[data] = load_pairs(data, "single_syst", "train")
    steps: dict[tuple[str, ...], Callable[[], None]] = {}
    for case in trainings:
        steps[case.name,] = partial(on_threads, cores, full_step(case.model(device), case.batch(device)))
        for (source, pairs), augment in itertools.product(sources.items(), (False, True)):
            step = load_step(pairs, case.image_size, augment)
            steps[case.name, source, "augmented" if augment else "plain"] = partial(on_threads, 1, step)
    taken = seconds_in_turns(steps, seconds, turns)
    batch: dict[tuple[str, ...], int] = {(case.name,): case.pairs for case in trainings}
    medians = {key: batch.get(key, LOADED) / statistics.median(values) for key, values in taken.items()}
    cases = []
    for key in (key for key in medians if len(key) > 1):
        ratio = medians[key] / medians[key[:1]]
        cases.append(
            {
                **dict(zip(("training", "pictures", "transform"), key, strict=True)),
                "pairs_per_second": round(medians[key], 1),
                "ratio": round(ratio, 2),
                "loader_processes_for_target": math.ceil(TARGET / ratio),
            }
        )
    sizes = {case.name: {"image_size": case.image_size, "batch_size": case.pairs} for case in trainings}
    return {
        "training": {name: size | {"pairs_per_second": round(medians[name,], 2)} for name, size in sizes.items()},
        "cases": cases,
        "target": TARGET,
        "seconds": seconds,
        "turns": turns,
        "environment": measured_on() | {"cores": cores},
    }


def table(result: dict[str, Any]) -> str:
    """The result as text."""
    environment = result["environment"]
    lines = [
        f"{environment['cores']} cores, training on {environment['device']} in {environment['precision']}; one loader "
        f"process has one thread. Target: {result['target']:g} times the pairs that training takes;",
        "`loaders` is how many loader processes that needs.",
        "",
        f"{'training':<12}{'pictures':<24}{'transform':<11}{'train/s':>9}{'load/s':>9}{'ratio':>8}  loaders",
    ]
    for case in result["cases"]:
        needed = result["training"][case["training"]]["pairs_per_second"]
        processes = case["loader_processes_for_target"]
        verdict = "" if processes == 1 else "  below the target with one"
        lines.append(
            f"{case['training']:<12}{case['pictures'][-22:]:<24}{case['transform']:<11}{needed:>9.1f}"
            f"{case['pairs_per_second']:>9.1f}{case['ratio']:>8.1f}  {processes}{verdict}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a data set of pairs with the configuration single_syst, measured besides")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--turns", type=int, default=3, help="measurements of each case; the median counts")
    parser.add_argument("--output", type=Path, default=RESULT, help="where the JSON goes")
    options = parser.parse_args()
    result = measure(options.data, options.seconds, options.turns)
    print(table(result))
    print(f"\nWritten to {write_json(options.output, result)}.")


if __name__ == "__main__":
    with in_one_sentence("benchmarks.speed.loading_speed"):
        main()
