"""What CDE adds to a training step of its backbone: the whole step against the bare one on the same images.

    python -m benchmarks.speed.step_overhead [--quick]

The bare step is forward on the 2B images, the mean of the features as loss, backward and AdamW. Against it stand, in
turns with it: the whole step, written out (`benchmarks/speed/training_steps.py`: forward, three terms, backward,
clipping, AdamW, the sums for the log), and `CDETrainer` itself, its whole loop on pairs that are in memory: sampling,
collating, all that Transformers does around a step, and logging. Random weights; the same threads, precision and
optimizer.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback

from benchmarks.speed.measured import Target, keep_result, ratio, script_parser, seconds_in_turns, targets_table
from benchmarks.speed.training_steps import (
    FROM_SCRATCH,
    ROOT,
    TINY,
    VIT_S16,
    Case,
    bare_step,
    full_step,
    recipe_case,
    training_arguments,
    wait,
)
from modeling_cde.data import PairCollator
from modeling_cde.training.trainer import CDETrainer
from modeling_cde.whole_files import in_one_sentence

BOUNDS = {"global": "<= 1.05", "patch": "<= 1.10"}


def cases(pairs: int) -> list[Case]:
    """The trainings that the targets are stated for: a ViT-S/16 at 224 px, both modes, and the recipes' ResNets."""
    return [
        Case("ViT-S/16, 224 px", VIT_S16, 224, pairs),
        Case("ViT-S/16, 224 px, patch", VIT_S16, 224, pairs, {"delta_mode": "patch"}),
        recipe_case(FROM_SCRATCH, "from_scratch's ResNet, 96 px"),
        recipe_case(ROOT / "configs" / "from_scratch_patch.yaml", "from_scratch_patch's ResNet, 96 px, patch"),
    ]


class _BesideTraining(TrainerCallback):  # type: ignore[misc]
    """Runs the bare step after each step of a training, and times both: neighbours in time."""

    def __init__(self, step: Callable[[], None], device: torch.device) -> None:
        self.step, self.device = step, device
        self.bare: list[float] = []
        self.trainer: list[float] = []
        self.resumed: float | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        wait(self.device)  # else the bare step would be charged with what is left of the trainer's
        ended = time.perf_counter()
        if self.resumed is not None:  # from after one step to after the next: logging, data and all
            self.trainer.append(ended - self.resumed)
        began = time.perf_counter()
        self.step()
        self.resumed = time.perf_counter()
        self.bare.append(self.resumed - began)


def trainer_turns(case: Case, steps: int) -> dict[str, list[float]]:
    """Seconds of each step of a `CDETrainer` ("trainer") and of the bare step beside it ("bare"), after two more."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch = case.batch()
    images, labels = batch["pixel_values"], batch["labels"].tolist()

    def in_memory(rows: dict[str, list[int]]) -> dict[str, list[Any]]:
        return {"pixel_values": [images[i] for i in rows["index"]], "labels": [labels[i] for i in rows["index"]]}

    times = steps + 2  # of the same pairs, in one epoch
    columns = {"action": labels * times, "index": list(range(case.pairs)) * times}
    rows = Dataset.from_dict(columns).with_transform(in_memory)
    beside = _BesideTraining(bare_step(case.bare_backbone(device), case.batch(device)), device)
    with tempfile.TemporaryDirectory() as folder:
        args = training_arguments(
            folder, max_steps=times, per_device_train_batch_size=case.pairs, logging_steps=10, dataloader_num_workers=0
        )  # no loader process: the pairs are there, and nothing is to be decoded beside the training
        collator = PairCollator()
        CDETrainer(case.model(), args, train_dataset=rows, data_collator=collator, callbacks=[beside]).train()
    return {"trainer": beside.trainer[-steps:], "bare": beside.bare[1:-1][-steps:]}


def measure(case: Case, seconds: float, turns: int) -> dict[str, Any]:
    """Both ratios of one case, and the seconds behind them."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batch = case.batch(device)
    steps = {"bare": bare_step(case.bare_backbone(device), batch), "step": full_step(case.model(device), batch)}
    written = seconds_in_turns(steps, seconds, turns)
    del steps
    looped = trainer_turns(case, turns)
    return {
        "case": case.name,
        "pairs": case.pairs,
        "image_size": case.image_size,
        "mode": case.options.get("delta_mode", "global"),
        "step": ratio(written["step"], written["bare"]),
        "trainer": ratio(looped["trainer"], looped["bare"]),
        "bare_seconds": sorted(written["bare"])[turns // 2],
    }


def targets(measured: Sequence[dict[str, Any]]) -> list[Target]:
    """Two targets a case: the step, and the trainer."""
    found = []
    for case in measured:
        for part, words in (("step", "whole step"), ("trainer", "`CDETrainer`'s loop")):
            values, what = case[part], f"{words} / bare step: {case['case']}, {case['pairs']} pairs"
            limit = f"quartiles {values['low']:.3f} to {values['high']:.3f}"
            found.append(Target.of(what, BOUNDS[case["mode"]], values["median"], limit))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the JSON."""
    parser = script_parser(
        "step_overhead",
        __doc__,
        pairs=(64 if torch.cuda.is_available() else 8, "of the ViT's batch"),
        seconds=(2.0, "of each measurement, one step at the least"),
        turns=(9, "measurements of each step; the median ratio counts"),
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    chosen = [Case("tiny ViT, 32 px", TINY, 32, 8)] if options.quick else cases(options.pairs)
    measured = []
    for case in chosen:
        measured.append(measure(case, options.seconds, options.turns))
        print(targets_table(targets(measured[-1:])), flush=True)
    found = targets(measured)
    print(f"\n{targets_table(found)}")
    keep_result(options, found, {"cases": measured, "seconds": options.seconds, "turns": options.turns}, "pairs")


if __name__ == "__main__":
    with in_one_sentence("benchmarks.speed.step_overhead"):
        main()
