"""How many pairs per second the transform gives and a training step takes, in one run; target: a ratio of 3 or more.

    python -m benchmarks.speed.loading_speed [--data data/rooms] [--seconds 3]

Loading is what a loader process does: read rows of an Arrow table, `PairTransform`, `PairCollator`, on one thread.
Training is forward, all three losses, backward and AdamW on batches that are there already, on all cores or the GPU.
The two are measured in turns, so that both meet the machine in the same state, and the median of the turns counts.

The ratio is that of ONE loader process to training. Where training runs on the CPU, a loader process takes its time
from the same cores: at a ratio of r it slows a training that keeps c cores busy by about 1/(r·c). The pairs of a GPU's
training come from several processes; how many the target asks for is printed, and how many cores there are.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
import transformers
from PIL import Image
from torch.utils.data import DataLoader

from modeling_cde import CDEForActionClassification
from modeling_cde.data import PairCollator, PairTransform, load_pairs, pair_features
from modeling_cde.training.arguments import DataArguments, ModelArguments
from modeling_cde.training.losses import CDELoss, weighted_sum
from modeling_cde.training.recipe import parse_recipe
from modeling_cde.training.training_args import CDETrainingArguments, native_bf16

ROOT = Path(__file__).parents[2]
RESULT = Path(__file__).parents[1] / "results" / "loading_speed.json"
RECIPE = ROOT / "configs" / "quickstart.yaml"
TARGET = 3.0
ACTIONS = 10
VIT_S16 = {
    "model_type": "vit", "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6,
    "intermediate_size": 1536, "patch_size": 16, "image_size": 224,
}  # fmt: skip


def draw_picture(generator: np.random.Generator, side: int) -> Image.Image:
    """Surfaces, edges, texture, a little noise: its PNG is within a tenth as large as ProcTHOR's of the same side."""
    picture = np.zeros((side, side, 3), dtype=np.float32)
    scale, size = 60.0, 2
    while size <= side:  # the finer, the fainter, as in photographs
        grid = Image.fromarray(generator.integers(0, 256, (size, size, 3), dtype=np.uint8))
        picture += (
            np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32) / 127.5 - 1
        ) * scale
        scale, size = scale / 1.9, size * 2
    picture += 128
    for _ in range(12):
        left, top = generator.integers(0, side, 2)
        width, height = generator.integers(side // 16 + 1, side // 2 + 2, 2)
        picture[top : top + height, left : left + width] += generator.normal(0, 35, 3)
    picture += generator.normal(0, 2, picture.shape)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def encode(picture: Image.Image, kind: str) -> bytes:
    """PNG as the room generator writes it, or JPEG as the extractors do."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"compress_level": 1} if kind == "PNG" else {"quality": 95}))
    return buffer.getvalue()


def drawn_pairs(side: int, kind: str, number: int = 96) -> datasets.Dataset:
    """Drawn pairs with a box over most of the picture, as in the single view."""
    generator = np.random.default_rng(side)
    rows = []
    for index in range(number):
        before = draw_picture(generator, side)
        after = before.copy()
        after.paste((20, 20, 20), (side // 3, side // 3, side // 2, 2 * side // 3))
        margin = side // 8
        rows.append(
            {
                "before": {"bytes": encode(before, kind), "path": None},
                "after": {"bytes": encode(after, kind), "path": None},
                "action": index % ACTIONS,
                "object": 0,
                "scene": str(index),
                "pair_id": str(index),
                "box": [margin, margin, side - margin - 1, side - margin - 1],
                "mask_before": None,
                "mask_after": None,
            }
        )
    features = pair_features([f"action{i}" for i in range(ACTIONS)], ["object"])
    pairs = datasets.Dataset.from_list(rows, features=features)
    for column in ("before", "after", "mask_before", "mask_after"):
        pairs = pairs.cast_column(column, datasets.Image(decode=False))
    return pairs


def batches(pairs: datasets.Dataset, size: int, augment: bool, batch_size: int = 32) -> Iterator[dict[str, Any]]:
    """Transformed batches in a random order, over and over, from a data loader within this process."""
    shown = pairs.with_transform(PairTransform((size, size), augment=augment))
    loader = DataLoader(shown, batch_size, shuffle=True, drop_last=True, collate_fn=PairCollator())
    while True:
        yield from loader


def train_step(config: dict[str, Any], image_size: int, batch_size: int, recipe: Any) -> Callable[[], int]:
    """A function that makes one training step on a batch that is there, and says how many pairs that were."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    backbone = transformers.AutoConfig.for_model(**{"image_size": image_size, **config})
    names = {i: f"action{i}" for i in range(ACTIONS)}
    model = CDEForActionClassification.from_backbone(backbone, id2label=names).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    loss = CDELoss(recipe.contrastive_weight, recipe.sparsity_weight, recipe.temperature)
    pixels = torch.randn(batch_size, 2, 3, image_size, image_size, device=device)
    labels = torch.arange(batch_size, device=device) % ACTIONS
    low = native_bf16()

    def step() -> int:
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            outputs = model(pixel_values=pixels, labels=labels)
            total = weighted_sum(loss(outputs, labels), loss.weights)
        torch.autograd.backward(total)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return batch_size

    return step


def rate(step: Callable[[], int], seconds: float, threads: int) -> float:
    """Pairs per second of a step that is repeated for so long, on so many threads of torch."""
    torch.set_num_threads(threads)
    pairs, began = 0, time.perf_counter()
    while True:
        pairs += step()
        passed = time.perf_counter() - began
        if passed >= seconds:
            return pairs / passed


def load_step(pairs: datasets.Dataset, size: int, augment: bool) -> Callable[[], int]:
    """A step of loading: one batch."""
    source = batches(pairs, size, augment)
    return lambda: len(next(source)["labels"])


def measure(data: str | None, seconds: float, turns: int) -> dict[str, Any]:
    """Every case and both trainings, in turns; the medians."""
    _, data_args, recipe = parse_recipe(
        (ModelArguments, DataArguments, CDETrainingArguments), ["--config", str(RECIPE), "--output_dir", os.devnull]
    )
    model_args = parse_recipe((ModelArguments, DataArguments, CDETrainingArguments), ["--config", str(RECIPE)])[0]
    trainings = {
        "quickstart": (model_args.parsed_backbone_config(), data_args.image_size, recipe.per_device_train_batch_size),
        "ViT-S/16": (VIT_S16, 224, 64 if torch.cuda.is_available() else 8),
    }
    sources = {f"drawn {side} px {kind}": drawn_pairs(side, kind) for side in (128, 256) for kind in ("PNG", "JPEG")}
    if data is not None:
        sources[data] = load_pairs(data, "single_syst", "train")
    cores = len(os.sched_getaffinity(0))
    steps: dict[tuple[str, ...], tuple[Callable[[], int], int]] = {}
    for name, (config, size, batch_size) in trainings.items():
        steps[name,] = (train_step(config, size, batch_size, recipe), cores)
        for (source, pairs), augment in itertools.product(sources.items(), (False, True)):
            steps[name, source, "augmented" if augment else "plain"] = (load_step(pairs, size, augment), 1)
    rates: dict[tuple[str, ...], list[float]] = {key: [] for key in steps}
    for step, threads in steps.values():  # warm-up
        rate(step, 0.1, threads)
    for _ in range(turns):
        for key, (step, threads) in steps.items():
            rates[key].append(rate(step, seconds, threads))
    medians = {key: statistics.median(values) for key, values in rates.items()}
    cases = []
    for key, value in medians.items():
        if len(key) > 1:
            ratio = value / medians[key[:1]]
            cases.append(
                {
                    "training": key[0],
                    "pictures": key[1],
                    "transform": key[2],
                    "pairs_per_second": round(value, 1),
                    "ratio": round(ratio, 2),
                    "loader_processes_for_target": math.ceil(TARGET / ratio),
                }
            )
    return {
        "training": {
            name: {"image_size": size, "batch_size": batch, "pairs_per_second": round(medians[name,], 2)}
            for name, (_, size, batch) in trainings.items()
        },
        "cases": cases,
        "target": TARGET,
        "seconds": seconds,
        "turns": turns,
        "environment": {
            "cores": cores,
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "CPU",
            "precision": "bf16" if native_bf16() else "float32",
            "torch": torch.__version__,
            "commit": subprocess.run(
                ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
            ).stdout.strip(),
        },
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
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"\nWritten to {options.output}.")


if __name__ == "__main__":
    main()
