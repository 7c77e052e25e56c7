"""What a pipeline costs beside the backbone that it runs; target: a ratio of 1.10 or less.

    python -m benchmarks.speed.pipeline_speed [--pairs 32] [--batch_size 8] [--seconds 2] [--turns 9] [--quick]

Compared are `pipe([(before, after), ...], batch_size=8)`, from pictures to a list of answers, and the backbone's own
forward on the same images, prepared before and in batches of the same size. Measured in turns, in one process:

- pictures of 224 px in memory, and JPEG and PNG files of 480 px, which have to be read and decoded too;
- ViT-S/16 at 224 px, and from_scratch's ResNet at 96 px.

Beside each ratio stands what preparing the same pictures takes by itself, on one core, in the same unit: where that is
more than the backbone takes, no pipeline can hold the target with one core to prepare and all of them to compute.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from modeling_cde import ActionClassificationPipeline, CDEImageProcessor
from modeling_cde.whole_files import in_one_sentence

from .loading_speed import draw_picture
from .measured import Target, keep_result, ratio, script_parser, seconds_in_turns, targets_table
from .training_steps import FROM_SCRATCH, TINY, VIT_S16, Case, recipe_case

BOUND = "<= 1.10"
KINDS = {"pictures of 224 px": (224, None), "JPEG files of 480 px": (480, "jpg"), "PNG files of 480 px": (480, "png")}


def draw_pairs(kind: str, number: int, folder: Path) -> list[tuple[Any, Any]]:
    """Pairs as a user has them: pictures in memory, or paths."""
    side, ending = KINDS[kind]
    generator = np.random.default_rng(0)
    few = [draw_picture(generator, side) for _ in range(min(number, 4))]  # to draw takes long, to read takes the same
    drawn = [(picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) for picture in few]
    pairs = [drawn[index % len(few)] for index in range(number)]
    return pairs if ending is None else save_pairs(pairs, folder, ending)


def save_pairs(pairs: list[tuple[Any, Any]], folder: Path, ending: str) -> list[tuple[Any, Any]]:
    """Save pairs of pictures in a format; returns the pairs of their paths."""
    paths = [(str(folder / f"{i}-0.{ending}"), str(folder / f"{i}-1.{ending}")) for i in range(len(pairs))]
    for pair, files in zip(pairs, paths, strict=True):
        for picture, file in zip(pair, files, strict=True):
            picture.save(file, quality=95)
    return paths


def steps(case: Case, pairs: list[tuple[Any, Any]], batch_size: int) -> dict[str, Callable[[], Any]]:
    """The pipeline, the bare backbone, and the preparation by itself, on the same pairs."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = case.model(device).eval()
    processor = CDEImageProcessor(size=case.image_size)
    pipe = ActionClassificationPipeline(model=model, image_processor=processor, device=device)
    prepared = torch.cat([processor(*pair)["pixel_values"] for pair in pairs]).to(device)  # (pairs, 2, 3, H, W)
    batches = [images.flatten(0, 1) for images in torch.split(prepared, batch_size)]  # (2B, 3, H, W) each

    @torch.inference_mode()
    def bare() -> None:
        for images in batches:
            model.cde.backbone(images)
        if device.type == "cuda":
            torch.cuda.synchronize()

    def prepare() -> None:
        for pair in pairs:
            pipe.preprocess(pair)

    return {"pipeline": lambda: pipe(pairs, batch_size=batch_size), "backbone": bare, "preparing": prepare}


def measure(
    cases: list[Case], pairs: int, batch_size: int, seconds: float, turns: int
) -> tuple[list[Target], list[dict[str, Any]]]:
    """A target for each case and kind of picture, and what was measured."""
    targets, rows = [], []
    for case in cases:
        for kind in KINDS:
            with tempfile.TemporaryDirectory() as folder:
                found = seconds_in_turns(steps(case, draw_pairs(kind, pairs, Path(folder)), batch_size), seconds, turns)
            whole, prepared = (ratio(found[name], found["backbone"]) for name in ("pipeline", "preparing"))
            milliseconds = {name: statistics.median(times) / pairs * 1e3 for name, times in found.items()}
            rows.append(
                {
                    "model": case.name,
                    "pictures": kind,
                    "milliseconds_per_pair": {name: round(value, 3) for name, value in milliseconds.items()},
                    "pipeline_to_backbone": whole,
                    "preparing_to_backbone": prepared,
                }
            )
            what = f"pipeline against bare backbone, {case.name}, {kind}"
            said = f"preparing the pictures takes {prepared['median']:.2f} of the backbone's time on one core"
            targets.append(Target.of(what, BOUND, whole["median"], said))
    return targets, rows


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and write the JSON."""
    parser = script_parser(
        "pipeline_speed",
        __doc__,
        pairs=(32, "pairs of a call"),
        batch_size=(8, "pairs that go through the model at once"),
        seconds=(2.0, "of each measurement"),
        turns=(9, "measurements of each; the median counts"),
    )
    options = parser.parse_args(arguments)
    cases = [
        Case("ViT-S/16 at 224 px", VIT_S16, 224, 0),
        recipe_case(FROM_SCRATCH, "from_scratch's ResNet at 96 px", 0),
    ]
    if options.quick:
        cases = [Case("a tiny ViT", TINY, 32, 0)]
    targets, rows = measure(cases, options.pairs, options.batch_size, options.seconds, options.turns)
    print(targets_table(targets))
    details = {"cases": rows, "threads": torch.get_num_threads()}
    keep_result(options, targets, details, "pairs", "batch_size", "seconds", "turns")


if __name__ == "__main__":
    with in_one_sentence("benchmarks.speed.pipeline_speed"):
        main()
