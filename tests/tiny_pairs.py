"""Random pairs as a `datasets.Dataset` with a transform, and quick settings to train on them."""

import copy
import functools
from typing import Any

import torch
from datasets import Dataset

from modeling_cde.training.training_args import CDETrainingArguments


def pairs(number: int = 24, noise: float = 0.0, seed: int = 0, frames: int = 2, objects: bool = False) -> Dataset:
    """Pairs with actions 0, 1, 2 in turn; the transform draws `noise` from torch's global generator.

    `objects` adds the object ids 0 to 4 in turn.
    """
    return copy.copy(_pairs(number, noise, seed, frames, objects))


@functools.cache  # datasets hashes the pixels, which takes longer than most trainings on them
def _pairs(number: int, noise: float, seed: int, frames: int, objects: bool) -> Dataset:
    pixels = torch.randn(number, frames, 3, 32, 32, generator=torch.Generator().manual_seed(seed))

    def transform(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        images = [pixels[i] + noise * torch.randn(()) for i in batch["index"]]
        actions = [a if frames == 2 else torch.tensor([a, (a + 1) % 3]) for a in batch["action"]]
        extras = {"objects": [i % 5 for i in batch["index"]]} if objects else {}
        return {"pixel_values": images, "labels": actions, **extras}

    rows = {"action": [i % 3 for i in range(number)], "index": list(range(number))}
    return Dataset.from_dict(rows).with_transform(transform)


def quick(folder: Any, **options: Any) -> CDETrainingArguments:
    """Arguments of a short, silent run on the CPU in float32 that saves nothing."""
    settings: dict[str, Any] = {
        "use_cpu": True,
        "precision": "float32",
        "disable_tqdm": True,
        "max_steps": 3,
        "per_device_train_batch_size": 6,
        "per_device_eval_batch_size": 6,
        "logging_steps": 1,
        "learning_rate": 1e-2,
        "save_strategy": "no",
        "dataloader_num_workers": 0,
    }
    return CDETrainingArguments(str(folder), **(settings | options))
