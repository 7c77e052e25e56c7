"""What keeping the features of a frozen backbone saves, whether anything is encoded twice, and how fast encoding is.

    python -m benchmarks.speed.feature_store [--pairs 4000] [--turns 5] [--quick]

On drawn pairs (PNGs of 128 px with a box, seen at 126 px) in seven splits as large against each other as those of the
rooms, and a ViT-S/14 of DINOv2's shape with random weights, which takes the time of the real ones:

- A run keeps the features of all splits, trains the quickstart's head for 30 epochs with five validations, and
  evaluates all splits. The first run encodes; the second, with another seed, finds everything. Imports and drawing are
  not counted.
- Then the other runs of a benchmark follow, of two methods, two seeds and two readings. All clips that any of the eight
  puts through the backbone are counted.
- The encoder alone, and all that goes from stored pictures to features on disk, in turns with a matrix product of the
  backbone's own shape. Each is a rate of operations, so that their ratio is the share of the product's rate.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PrinterCallback

from benchmarks.speed.flops import flops_by_dtype
from benchmarks.speed.loading_speed import drawn_pairs
from benchmarks.speed.measured import Target, keep_result, ratio, script_parser, seconds_in_turns, targets_table
from benchmarks.speed.training_steps import ACTIONS, training_arguments
from modeling_cde import CDEForActionClassification, ConcatenationForActionClassification
from modeling_cde.data import PairCollator, PairTransform
from modeling_cde.evaluation.evaluate import evaluate_splits
from modeling_cde.features.encoder import Encoder, Precision, native_bf16
from modeling_cde.features.keep import FeatureKeeper, keep_features
from modeling_cde.features.store import FeatureStore
from modeling_cde.training.distributed import use_all_cores
from modeling_cde.training.trainer import CDETrainer
from modeling_cde.whole_files import in_one_sentence

DINOV2_S14: dict[str, Any] = {
    "model_type": "dinov2", "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "mlp_ratio": 4,
    "image_size": 518, "patch_size": 14,
}  # fmt: skip
TINY: dict[str, Any] = {
    "model_type": "dinov2", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2,
    "image_size": 28, "patch_size": 14,
}  # fmt: skip
# Shares of all pairs: those of the rooms of configs/quickstart.yaml.
SPLITS = {
    "train": 0.426, "validation": 0.062, "test": 0.095, "validation_comp": 0.057, "test_comp": 0.057,
    "validation_syst": 0.161, "test_syst": 0.142,
}  # fmt: skip
METHODS = {"cde": CDEForActionClassification, "concatenation": ConcatenationForActionClassification}
EPOCHS = 30
PAIRS_AT_ONCE = 16  # as `keep_features` encodes them


def readings(backbone: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The quickstart's reading and the published one."""
    last = int(backbone["num_hidden_layers"])
    layers = [6, 8, 10, 12] if last == 12 else [1, last]
    return {"change": {"pooling": "change", "feature_layers": layers}, "cls": {"pooling": "cls"}}


def make_model(backbone: Mapping[str, Any], method: str, seed: int, reading: Mapping[str, Any]) -> Any:
    """A new head of the quickstart on the same frozen backbone."""
    kind: Any = METHODS[method]
    options = {"projector_hidden_dim": 384, "delta_dim": 256, "id2label": {i: f"action{i}" for i in range(ACTIONS)}}
    torch.manual_seed(0)
    frozen = kind.from_backbone(AutoConfig.for_model(**backbone), **options, **reading).base_model.backbone
    torch.manual_seed(seed)
    model = kind.from_backbone(AutoConfig.for_model(**backbone), **options, **reading)
    model.base_model.backbone.load_state_dict(frozen.state_dict())
    model.freeze_backbone()
    return model


def drawn_splits(pairs: int, side: int) -> dict[str, Any]:
    """Pairs in seven splits, no picture in two of them."""
    drawn, splits, first = drawn_pairs(side, "PNG", pairs), {}, 0
    for name, share in SPLITS.items():
        number = int(pairs * share)
        splits[name] = drawn.select(range(first, first + number))
        first += number
    return splits


def run(keep: FeatureKeeper, splits: Mapping[str, Any], epochs: int, folder: Path) -> dict[str, float]:
    """Train a head on kept features and evaluate it on all splits; the seconds of each step."""
    times = [time.perf_counter()]
    rows = keep(splits)
    times.append(time.perf_counter())
    args = training_arguments(
        str(folder), num_train_epochs=epochs, eval_strategy="steps", eval_steps=0.2, learning_rate=1e-3,
        contrastive_weight=2.0, sparsity_weight=0.01, logging_steps=13, use_cpu=True,
        per_device_train_batch_size=min(128, len(rows["train"])), per_device_eval_batch_size=256,
        dataloader_num_workers=0,
    )  # fmt: skip
    validation = {name: split for name, split in rows.items() if name.startswith("validation")}
    parts = {"train_dataset": rows["train"], "eval_dataset": validation}
    trainer = CDETrainer(keep.model, args, data_collator=PairCollator(), **parts)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    times.append(time.perf_counter())
    tests = {name: split for name, split in splits.items() if name != "train"}
    evaluate_splits(keep.model, tests, keep.transform, folder, 256, bank=splits["train"], keep=keep)
    times.append(time.perf_counter())
    seconds = [end - begin for begin, end in zip(times, times[1:], strict=False)]
    return dict(zip(("features", "training", "evaluation"), seconds, strict=True))


def whole_benchmark(
    backbone: Mapping[str, Any], splits: Mapping[str, Any], transform: PairTransform, epochs: int, folder: Path
) -> dict[str, Any]:
    """Seconds of each of eight runs, of which two train for all epochs, and how many clips they encode together."""
    precision: Precision = "bf16" if native_bf16() else "float32"
    clips: list[int] = []
    encode = Encoder.__call__

    def counted(encoder: Encoder, pixel_values: torch.Tensor) -> list[torch.Tensor]:
        if bool(pixel_values.any()):  # not the black clip that tells the size
            clips.append(len(pixel_values))
        return encode(encoder, pixel_values)

    read = readings(backbone)
    runs: dict[str, dict[str, float]] = {}
    Encoder.__call__ = counted  # type: ignore[assignment, method-assign]
    try:
        for method, reading, seed in ((m, r, s) for m in METHODS for r in read for s in (0, 1)):
            model, store = make_model(backbone, method, seed, read[reading]), FeatureStore(folder / "store")
            began = time.perf_counter()
            if not runs:  # as benchmarks.paper does before its first run: one pass for all that will be read
                also = [make_model(backbone, method, seed, read[other]) for other in read if other != reading]
                keep_features(model, splits, transform, store, precision=precision, also=also)
            before = time.perf_counter() - began
            keep = FeatureKeeper(model, transform, store, precision)
            seconds = run(keep, splits, epochs if len(runs) < 2 else 1, folder / "run")
            seconds["features"] += before
            runs[f"{method}, {reading}, seed {seed}"] = seconds
    finally:
        Encoder.__call__ = encode  # type: ignore[method-assign]
    return {"runs": runs, "clips": sum(clips), "precision": precision}


def rates(backbone: Mapping[str, Any], rows: Any, transform: PairTransform, turns: int) -> dict[str, Any]:
    """Operations per second of a matrix product, of the encoder, and from stored pictures to features on disk."""
    precision: Precision = "bf16" if native_bf16() else "float32"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = make_model(backbone, "cde", 0, readings(backbone)["change"])
    encoder = Encoder([model.cde], precision, torch.device("cpu"))
    shown = rows.with_transform(transform)
    clips = PairCollator()(shown.__getitems__(list(range(min(PAIRS_AT_ONCE, len(rows))))))["pixel_values"]
    plain = Encoder([model.cde], "float32", torch.device("cpu"))  # PyTorch's counter does not know packed products
    clip_flops = sum(flops_by_dtype(lambda: plain(clips[:1])).values())
    width, side = int(backbone["hidden_size"]), transform.size[0] // int(backbone["patch_size"])
    tokens = torch.randn(2 * len(clips) * (side * side + 1), width).to(dtype)
    weights = torch.randn(int(backbone["mlp_ratio"]) * width, width).to(dtype)

    def encode_stored() -> None:
        with tempfile.TemporaryDirectory() as folder:
            keep_features(model, {"train": rows}, transform, FeatureStore(folder), precision=precision)

    steps: dict[str, Callable[[], Any]] = {
        "product": partial(torch.nn.functional.linear, tokens, weights),
        "encoder": partial(encoder, clips),
        "stored pictures": encode_stored,
    }
    work = {
        "product": 2 * tokens.numel() * len(weights),
        "encoder": clip_flops * len(clips),
        "stored pictures": clip_flops * len(rows),
    }
    taken = seconds_in_turns(steps, seconds=1.0, turns=turns)
    per_flop = {name: [value / work[name] for value in values] for name, values in taken.items()}
    shares = {name: ratio(per_flop["product"], per_flop[name]) for name in ("encoder", "stored pictures")}
    giga = {name: round(1e-9 / min(values), 1) for name, values in per_flop.items()}
    return {"shares": shares, "gigaflops": giga, "gigaflops_per_pair": round(clip_flops / 1e9, 3)}


def bf16_error(backbone: Mapping[str, Any], rows: Any, transform: PairTransform) -> dict[str, float]:
    """How far the features' difference from before to after is off in bf16, relative to float32, over all pairs."""
    clips = PairCollator()(rows.with_transform(transform).__getitems__(list(range(len(rows)))))["pixel_values"]
    found = {}
    for name, reading in readings(backbone).items():
        model, device = make_model(backbone, "cde", 0, reading).cde, torch.device("cpu")
        exact = Encoder([model], "float32", device)(clips)[0].diff(dim=1)
        rounded = Encoder([model], "bf16", device)(clips)[0].diff(dim=1)
        found[name] = round(((rounded - exact).norm() / exact.norm()).item(), 5)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the JSON."""
    parser = script_parser(
        "feature_store",
        __doc__,
        pairs=(4000, "pairs of all splits together"),
        turns=(5, "measurements of each rate; the median of their ratios counts"),
    )
    options = parser.parse_args(arguments)
    use_all_cores()
    name, backbone, stored, side = ("a ViT-S/14", DINOV2_S14, 128, 126)
    if options.quick:
        name, backbone, stored, side = ("a tiny ViT", TINY, 32, 28)
    splits, transform = drawn_splits(options.pairs, stored), PairTransform((side, side))
    total = sum(map(len, splits.values()))
    some = splits["train"].select(range(min(16 * PAIRS_AT_ONCE, len(splits["train"]))))
    with tempfile.TemporaryDirectory() as folder:
        whole = whole_benchmark(backbone, splits, transform, 2 if options.quick else EPOCHS, Path(folder))
    rate = rates(backbone, some, transform, options.turns)
    off = bf16_error(backbone, some.select(range(min(64, len(some)))), transform)
    first, second = (sum(seconds.values()) for seconds in list(whole["runs"].values())[:2])
    how = (
        f"{first:.1f} and {second:.1f} s for {total:,} pairs; both grow with their number, and what does not (hashing "
    )
    how += "the weights, starting the trainer) counts more where they are few"
    targets = [
        Target.of(f"second run / first run on the same pairs, {name}", "<= 0.05", second / first, how),
        Target.of(f"encodings of a pair in a benchmark of 8 runs, {name}", "exactly 1", whole["clips"] / total),
    ]
    told = {
        "encoder": ("encoding / the matrix product's rate", ">= 0.75"),
        "stored pictures": ("from stored pictures to features on disk / the matrix product's rate", ">= 0.65"),
    }
    for kind, (what, bound) in told.items():
        share = rate["shares"][kind]
        units = "in bf16" if whole["precision"] == "bf16" else "in float32, as there are no bf16 units"
        how = f"{units}; quartiles {share['low']:.3f} to {share['high']:.3f}"
        targets.append(Target.of(f"{what}, {name}", bound, share["median"], how))
    print(targets_table(targets))
    details = {"pairs": total, "benchmark": whole, "rates": rate, "relative_error_of_deltas_in_bf16": off}
    keep_result(options, targets, details, "pairs", "turns")


if __name__ == "__main__":
    with in_one_sentence("benchmarks.speed.feature_store"):
        main()
