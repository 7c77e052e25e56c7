"""How much faster epochs are on cached features of a frozen backbone; target: 50 times, with the same numbers.

    python -m benchmarks.speed.cached_features [--pairs 256] [--turns 3] [--quick]

Whole epochs of `CDETrainer` on drawn JPEGs of 256 px, ViT-S/16 at 224 px, global and patch: training and an evaluation,
from one epoch's beginning to the next one's, nothing saved. In each turn one epoch that reads pictures, and
`EPOCHS` that read features, of which the median counts. Filling the cache comes once, before the first of these, and is
given beside them. Both trainings start from the same weights and see the same batches, so that the losses of their
first epoch can be compared step by step.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback

from benchmarks.speed.loading_speed import drawn_pairs
from benchmarks.speed.measured import Target, keep_result, ratio, script_parser, targets_table
from benchmarks.speed.training_steps import TINY, VIT_S16, Case, training_arguments
from modeling_cde.data import PairCollator, PairTransform
from modeling_cde.training.feature_cache import cache_features
from modeling_cde.training.trainer import CDETrainer

EPOCHS = 5
SAME = "<= 0.0001"


class _Clock(TrainerCallback):  # type: ignore[misc]
    """When each epoch began, and when training ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.times.append(time.perf_counter())

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.times.append(time.perf_counter())


def train(
    case: Case, model: Any, splits: dict[str, Any], epochs: int, folder: str, **given: Any
) -> tuple[list[float], list[float]]:
    """Seconds of each epoch, and the loss of each step; `given` are training arguments."""
    clock = _Clock()
    args = training_arguments(
        folder, num_train_epochs=epochs, eval_strategy="epoch", logging_steps=1, lr_scheduler_type="constant",
        warmup_steps=0, per_device_train_batch_size=case.pairs, per_device_eval_batch_size=case.pairs, **given,
    )  # fmt: skip
    rows = {"train_dataset": splits["train"], "eval_dataset": {"validation": splits["validation"]}}
    trainer = CDETrainer(model, args, data_collator=PairCollator(), callbacks=[clock], **rows)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return [end - begin for begin, end in zip(clock.times, clock.times[1:], strict=False)], losses


def measure(case: Case, pairs: int, turns: int, folder: Path) -> dict[str, Any]:
    """Seconds of epochs on pictures and on features, turn by turn, and how far their losses differ."""
    transform = PairTransform((case.image_size, case.image_size))
    drawn = drawn_pairs(256, "JPEG", pairs + pairs // 4).with_transform(transform)
    splits = {"train": drawn.select(range(pairs)), "validation": drawn.select(range(pairs, len(drawn)))}
    found: dict[str, Any] = {"pictures": [], "features": []}
    difference = 0.0
    for turn in range(turns):
        plain, other = case.model(), case.model()
        for model in (plain, other):
            model.freeze_backbone()
        seconds, expected = train(case, plain, splits, 1, str(folder))
        found["pictures"] += seconds
        began = time.perf_counter()
        cached = cache_features(other, splits, folder, case.pairs, autocast=autocast())
        if turn == 0:
            found["filling"] = time.perf_counter() - began
            found["megabytes"] = sum(path.stat().st_size for path in folder.rglob("*")) / 1e6
        seconds, losses = train(case, other, cached, EPOCHS + 1, str(folder), dataloader_num_workers=0)
        found["features"].append(statistics.median(seconds[1:]))
        difference = max([difference, *(abs(a - b) / abs(b) for a, b in zip(losses, expected, strict=False))])
    return found | {"difference": difference}


def autocast() -> torch.dtype | None:
    """The precision in which training runs the backbone here."""
    return torch.bfloat16 if training_arguments().bf16 else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the JSON."""
    parser = script_parser(
        "cached_features",
        __doc__,
        pairs=(256, "training pairs; a quarter as many to validate on"),
        turns=(3, "measurements of each; the median of their ratios counts"),
    )
    options = parser.parse_args(arguments)
    name, backbone, side, batch = ("a tiny ViT", TINY, 32, 8) if options.quick else ("ViT-S/16", VIT_S16, 224, 32)
    targets, details = [], {}
    for mode in ("global", "patch"):
        case = Case(f"{name}, {side} px, {mode}", backbone, side, batch, {"delta_mode": mode})
        with tempfile.TemporaryDirectory() as folder:
            found = measure(case, options.pairs, options.turns, Path(folder))
        speed = ratio(found["pictures"], found["features"])
        filling = found["filling"] / statistics.median(found["pictures"])
        limit = f"filling the cache takes {filling:.2f} epochs on pictures, once, and {found['megabytes']:.1f} MB"
        targets.append(
            Target.of(f"epochs on cached features, {case.name}, times faster", ">= 50", speed["median"], limit)
        )
        what = f"largest relative difference of a step's loss, cached or not, {case.name}"
        targets.append(Target.of(what, SAME, found["difference"]))
        details[mode] = found | {"times_faster": speed}
    print(targets_table(targets))
    keep_result(options, targets, {"batch_size": batch, "modes": details}, "pairs", "turns")


if __name__ == "__main__":
    main()
