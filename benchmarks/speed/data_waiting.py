"""How long training waits for its batches, measured inside a training.

    python -m benchmarks.speed.data_waiting [--data data/rooms] [--quick]

Each training is a `CDETrainer` with the settings of its recipe over two epochs of pairs from disk or memory, encoded as
data sets have them; the second epoch counts. The share is that of its wall time that Trainer's loop spends on getting
its next batch, the first one of the epoch included. Every case is measured without loader processes
and with the default's. Where training runs on the CPU, a loader process takes its share of the same cores: the loop no
longer waits, but its steps take longer. So the seconds of a step are printed beside, all things included.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import torch

from benchmarks.speed.loading_speed import drawn_pairs
from benchmarks.speed.measured import Target, in_turns, keep_result, script_parser, targets_table
from benchmarks.speed.training_steps import FROM_SCRATCH, ROOT, TINY, VIT_S16, Case, recipe_case, training_arguments
from modeling_cde.data import PairCollator, PairTransform, load_pairs
from modeling_cde.training.trainer import CDETrainer
from modeling_cde.whole_files import in_one_sentence

BOUND = "<= 0.03"


class WaitingTrainer(CDETrainer):
    """A trainer that notes when it asked for each batch, and when it had it.

    Attributes:
        waits: (asked, had) by `time.perf_counter`, one each time that Trainer's loop gets its batches.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waits: list[tuple[float, float]] = []

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """See `transformers.Trainer.get_batch_samples`."""
        asked = time.perf_counter()
        batches = super().get_batch_samples(*args, **kwargs)
        self.waits.append((asked, time.perf_counter()))
        return batches


def waiting(case: Case, pairs: datasets.Dataset, crop: str, workers: int | None) -> dict[str, Any]:
    """One training on encoded pairs with so many loader processes (None: the default's), cropped as by `PairTransform`.

    The first epoch is not counted, in which everything is allocated.

    Returns:
        The share of the time that was waited, that of a step's seconds, and the number of steps.
    """
    size = (case.image_size, case.image_size)
    options = {} if workers is None else {"dataloader_num_workers": workers}
    with tempfile.TemporaryDirectory() as folder:
        args = training_arguments(
            folder, num_train_epochs=2, per_device_train_batch_size=case.pairs, logging_steps=10, **options
        )
        shown = pairs.with_transform(PairTransform(size, crop=crop, augment=True))
        trainer = WaitingTrainer(case.model(), args, train_dataset=shown, data_collator=PairCollator())
        trainer.train()
        ended = time.perf_counter()
        used = trainer.args.dataloader_num_workers
    counted = trainer.waits[len(trainer.waits) // 2 :]
    wall = ended - counted[0][0]
    waits = [had - asked for asked, had in counted]
    return {
        "workers": used,
        "share": round(sum(waits) / wall, 5),
        "longest_wait": round(max(waits), 4),
        "seconds_a_step": round(wall / len(counted), 4),
        "steps": len(counted),
    }


def measure(case: Case, pairs: datasets.Dataset, crop: str, turns: int) -> list[dict[str, Any]]:
    """Without loader processes and with the default's, in turns; of each the run with the median share."""
    runs = in_turns({workers: partial(waiting, case, pairs, crop, workers) for workers in (0, None)}, turns)
    kept = []
    for workers, found in runs.items():
        run = sorted(found, key=lambda run: run["share"])[(len(found) - 1) // 2]
        shares, taken = ([one[key] for one in found] for key in ("share", "seconds_a_step"))
        middle = {"seconds_a_step": statistics.median(taken), "shares": shares, "all_seconds_a_step": taken}
        kept.append({"case": case.name, "default": workers is None, **run, **middle})
    return kept


def targets(measured: Sequence[dict[str, Any]]) -> list[Target]:
    """One for each case with the default's loader processes."""
    found = []
    for run in measured:
        if run["default"]:
            without = next(other for other in measured if other["case"] == run["case"] and not other["default"])
            limit = f"{run['workers']} loader process{'' if run['workers'] == 1 else 'es'}, "
            limit += f"{run['seconds_a_step']:.3g} s a step; without any it is {without['share']:.3f} and "
            limit += f"{without['seconds_a_step']:.3g} s"
            what = f"share of the time that training waits for data: {run['case']}"
            found.append(Target.of(what, BOUND, run["share"], limit))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the JSON."""
    parser = script_parser(
        "data_waiting",
        __doc__,
        pairs=(8, "of the ViT's batch"),
        turns=(3, "trainings of each kind; the median share counts"),
    )
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "rooms", help="rendered rooms (%(default)s)")
    options = parser.parse_args(arguments)
    if not options.quick and not options.data.is_dir():
        parser.error(f"{options.data} contains no rendered rooms: run train.py with configs/from_scratch.yaml once.")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    if options.quick:
        chosen = [(Case("tiny ViT, PNGs of 64 px", TINY, 32, 8), drawn_pairs(64, "PNG", 24), "none")]
    else:
        resnet = recipe_case(FROM_SCRATCH, "from_scratch, rooms of 128 px at 96 px")
        rooms = load_pairs(options.data, "single_syst", "train")
        vit = Case("ViT-S/16 at 224 px, JPEGs of 480 px", VIT_S16, 224, options.pairs)
        chosen = [(resnet, rooms, "box"), (vit, drawn_pairs(480, "JPEG", 16 * options.pairs), "none")]
    measured: list[dict[str, Any]] = []
    for case, pairs, crop in chosen:
        measured += measure(case, pairs, crop, options.turns)
    found = targets(measured)
    print(targets_table(found))
    keep_result(options, found, {"trainings": measured}, "pairs")


if __name__ == "__main__":
    with in_one_sentence("benchmarks.speed.data_waiting"):
        main()
