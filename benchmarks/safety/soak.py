"""Long runs: does memory stay flat over 2,000 steps of training and 10,000 inferences?

    python -m benchmarks.safety.soak

Trains a small model by CDETrainer on drawn PNGs, with an evaluation and a checkpoint every 50 steps and the doctor
beside it, and then asks the model, and the pipeline in three ways, for 10,000 pairs each. The resident memory, the open
files and the threads of the process are read again and again. The first quarter is warm-up: caches fill, the allocator
finds its size. From there on the medians of the first and of the last fifth are compared, and a line is fitted. Writes
`benchmarks/results/speed/soak.json`. Linux only (/proc).
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from benchmarks.speed.loading_speed import draw_picture, drawn_pairs
from benchmarks.speed.measured import RESULTS, Target, conclude
from benchmarks.speed.pipeline_speed import save_pairs
from benchmarks.speed.training_steps import RESNET, Case, training_arguments
from modeling_cde import ActionClassificationPipeline, CDEImageProcessor
from modeling_cde.data import PairCollator, PairTransform
from modeling_cde.training.doctor_callback import DoctorCallback
from modeling_cde.training.trainer import CDETrainer
from modeling_cde.whole_files import in_one_sentence

CASE = Case("ResNet of two stages at 32 px", RESNET, 32, 16)
PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 2**20
GROWTH_MIB = 8.0  # of some 600: what two readings of a process that does nothing wrong may differ by


def reading() -> dict[str, float]:
    """Resident memory in MiB, open files and threads of this process now."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / MIB
    files, threads = (len(os.listdir(f"/proc/self/{name}")) for name in ("fd", "task"))
    return {"mib": round(resident, 2), "files": files, "threads": threads}


def summary(counts: Sequence[float], readings: Sequence[dict[str, float]]) -> dict[str, float]:
    """What became of memory, files and threads after the warm-up.

    Args:
        counts: Steps, or inferences, at each reading; at least 8.
        readings: From `reading`.

    Returns:
        `mib` (at the end), `growth_mib`, `mib_per_1000` (slope of a line by least squares), `more_files` and
        `more_threads` (median of the last fifth over that of the first fifth after the warm-up).
    """
    warm = len(readings) // 4
    x, kept = counts[warm:], readings[warm:]
    fifth = max(1, len(kept) // 5)

    def grown(key: str) -> float:
        return statistics.median(r[key] for r in kept[-fifth:]) - statistics.median(r[key] for r in kept[:fifth])

    slope = statistics.linear_regression(x, [r["mib"] for r in kept]).slope
    return {
        "mib": readings[-1]["mib"],
        "growth_mib": round(grown("mib"), 2),
        "mib_per_1000": round(1000 * slope, 3),
        "more_files": grown("files"),
        "more_threads": grown("threads"),
    }


class Reading(TrainerCallback):  # type: ignore[misc]
    """Takes a reading every so many steps."""

    def __init__(self, every: int) -> None:
        self.every, self.counts, self.readings = every, list[float](), list[dict[str, float]]()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """See `transformers.TrainerCallback.on_step_end`."""
        if state.global_step % self.every == 0:
            self.counts.append(state.global_step)
            self.readings.append(reading())


def train(steps: int, workers: int = 0) -> dict[str, float]:
    """Train, evaluate and save; what became of the memory."""
    watch = Reading(max(1, steps // 200))
    pairs = drawn_pairs(64, "PNG", 96)
    size = (CASE.image_size, CASE.image_size)
    every = max(1, steps // 40)
    with tempfile.TemporaryDirectory() as folder:
        args = training_arguments(
            folder, max_steps=steps, per_device_train_batch_size=CASE.pairs, logging_steps=10, eval_strategy="steps",
            eval_steps=every, save_strategy="steps", save_steps=every, save_total_limit=2, use_cpu=True,
            dataloader_num_workers=workers, sparsity_weight=0.01,
        )  # fmt: skip
        shown = {"train_dataset": pairs.with_transform(PairTransform(size, augment=True))}
        shown |= {"eval_dataset": pairs.select(range(32)).with_transform(PairTransform(size))}
        callbacks = [watch, DoctorCallback()]
        CDETrainer(CASE.model(), args, data_collator=PairCollator(), callbacks=callbacks, **shown).train()
    return summary(watch.counts, watch.readings)


def repeat(ask: Callable[[], Any], each: int, inferences: int) -> dict[str, float]:
    """Ask for so many inferences, `each` at a call; what became of the memory."""
    calls = max(8, inferences // each)
    every = max(1, calls // 200)
    counts, readings = [], []
    for call in range(1, calls + 1):
        ask()
        if call % every == 0:
            counts.append(float(call * each))
            readings.append(reading())
    return summary(counts, readings)


def measure(steps: int, inferences: int, folder: Path) -> dict[str, dict[str, float]]:
    """Every long run, by name; `folder` is for the pictures that the pipeline reads."""
    torch.manual_seed(0)
    found = {"training steps": train(steps)}
    model = CASE.model().eval()
    pipe = ActionClassificationPipeline(model=model, image_processor=CDEImageProcessor(size=CASE.image_size))
    pixels = CASE.batch()["pixel_values"]

    @torch.inference_mode()
    def ask_model() -> None:
        model(pixels)

    found["inferences of the model"] = repeat(ask_model, len(pixels), inferences)
    generator = np.random.default_rng(0)
    pictures = [(draw_picture(generator, 64), draw_picture(generator, 64)) for _ in range(8)]
    files = save_pairs(pictures, folder, "png")
    for name, pairs in (("PIL pictures", pictures), ("files", files)):
        found[f"inferences of the pipeline, {name}"] = repeat(lambda p=pairs: pipe(p, batch_size=8), 8, inferences)  # type: ignore[misc]
    found["inferences of the pipeline, one pair a call"] = repeat(lambda: pipe(*pictures[0]), 1, inferences)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.safety.soak", description=__doc__)
    parser.add_argument("--steps", type=int, default=2_000, help="of training (default: 2000)")
    parser.add_argument("--inferences", type=int, default=10_000, help="of each way to ask (default: 10000)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the JSON")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.steps, options.inferences, Path(folder))
    targets = []
    for name, values in found.items():
        number = options.steps if name == "training steps" else options.inferences
        what, limit = f"{number:,} {name}", f"{values['mib']:.0f} MiB in the end"
        targets.append(Target.of(f"{what}: growth of memory, MiB", f"<= {GROWTH_MIB}", values["growth_mib"], limit))
        more = max(values["more_files"], values["more_threads"])
        targets.append(Target.of(f"{what}: more open files or threads", "<= 0", more))
    command = f"python -m benchmarks.safety.soak --steps {options.steps} --inferences {options.inferences}"
    conclude("soak", command, targets, {"runs": found}, options.output)


if __name__ == "__main__":
    with in_one_sentence("benchmarks.safety.soak"):
        main()
