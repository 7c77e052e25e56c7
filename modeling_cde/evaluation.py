"""Evaluate a checkpoint on named splits: one call, two files.

    python -m modeling_cde.evaluation --model runs/quickstart --data data/rooms --output runs/quickstart

writes `metrics.json` (accuracy per split, action and object; the gap to the in-distribution split) and
`deltas.safetensors` (delta, states, logits and labels of every pair). Everything that comes after, pictures, geometry,
cards, reads those two files and needs no model. Under `accelerate launch` the splits are divided among the processes
and every pair is still counted exactly once.
"""

import argparse
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accelerate
import datasets
import torch
import transformers
from datasets.utils import tqdm
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from .data.collator import PairCollator
from .data.schema import OPPOSITES
from .data.transforms import PairTransform
from .metrics import ActionMetrics, accuracy_gap

METRICS_FILE = "metrics.json"
DELTAS_FILE = "deltas.safetensors"


@dataclass
class Predictions:
    """What a model says of one split, in the split's row order, on the CPU in float32.

    Attributes:
        logits: (n, A).
        delta: (n, D), the delta of each pair.
        states: (n, 2, D), the states before and after.
        labels: (n,) int64 action ids.
        patch_indices: (n, k) int64 row-major positions of the kept patches, or None in global mode.
    """

    logits: torch.Tensor
    delta: torch.Tensor
    states: torch.Tensor
    labels: torch.Tensor
    patch_indices: torch.Tensor | None

    def tensors(self) -> dict[str, torch.Tensor]:
        """The fields by name, without those that are None."""
        return {name: value for name, value in vars(self).items() if value is not None}


@torch.no_grad()
def predict(
    model: torch.nn.Module,
    dataset: datasets.Dataset,
    transform: PairTransform,
    batch_size: int = 64,
    description: str = "evaluating",
    accelerator: accelerate.Accelerator | None = None,
) -> Predictions:
    """Run a model over every pair of a split.

    Args:
        model: any model whose outputs have `logits`, `delta` and `states` for two frames.
        dataset: n rows with the columns of `modeling_cde.data.schema`.
        transform: turns rows into pixel values; must not augment.
        batch_size: pairs per forward pass and process.
        description: what the progress bar says.
        accelerator: the processes to share the work with; made when None.

    Returns:
        The predictions of all n pairs, the same on every process.
    """
    accelerator = accelerator or accelerate.Accelerator()
    loader = DataLoader(
        dataset.with_transform(transform), batch_size=batch_size, collate_fn=PairCollator(), shuffle=False
    )
    loader = accelerator.prepare_data_loader(loader)
    model = model.to(accelerator.device)
    was_training = model.training
    model.eval()
    chunks: list[dict[str, torch.Tensor]] = []
    for batch in tqdm(loader, desc=description, leave=False, disable=not accelerator.is_main_process):
        outputs = model(pixel_values=batch["pixel_values"])
        chunk = {
            "logits": outputs.logits.float(),  # (b, A)
            "delta": outputs.delta[:, 0].float(),  # (b, 1, D) -> (b, D)
            "states": outputs.states.float(),  # (b, 2, D)
            "labels": batch["labels"],  # (b,)
        }
        if getattr(outputs, "patch_indices", None) is not None:
            chunk["patch_indices"] = outputs.patch_indices[:, 0].contiguous()  # (b, 1, k) -> (b, k)
        # The last batch is padded with repeats so that all processes take part; this drops the repeats again.
        chunks.append({name: value.cpu() for name, value in accelerator.gather_for_metrics(chunk).items()})
    model.train(was_training)
    joined = {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}
    patch_indices = joined.pop("patch_indices", None)
    return Predictions(patch_indices=patch_indices, **joined)


def split_metrics(predictions: Predictions, dataset: datasets.Dataset) -> dict[str, Any]:
    """The metrics of one split: `compute_action_metrics` and the mean cross-entropy in nats."""
    action_names = dataset.features["action"].names
    object_feature = dataset.features["object"]
    objects = [object_feature.int2str(i) for i in dataset.with_format(None)["object"]]
    result: dict[str, Any] = ActionMetrics(keep_in_memory=True).compute(
        predictions=predictions.logits.argmax(dim=-1).tolist(),
        references=predictions.labels.tolist(),
        objects=objects,
        action_names=action_names,
        opposites=OPPOSITES,
    )
    result["cross_entropy"] = cross_entropy(predictions.logits, predictions.labels).item()
    return result


def environment() -> dict[str, Any]:
    """Versions and hardware, so that a number can be traced to what produced it."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "CPU"
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": device,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }


def evaluate_splits(
    model: torch.nn.Module,
    splits: Mapping[str, datasets.Dataset],
    transform: PairTransform,
    output: str | Path,
    batch_size: int = 64,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Evaluate a model on named splits and write `metrics.json` and `deltas.safetensors`.

    Args:
        model: see `predict`.
        splits: name -> rows; "test" is the in-distribution one that the gap of every other "test_*" refers to.
        transform: see `predict`.
        output: folder for the two files; made if absent.
        batch_size: pairs per forward pass and process.
        extra: further entries of `metrics.json`, such as the command and the duration of the training.

    Returns:
        What `metrics.json` holds: `splits` (name -> metrics), `gap` (name -> accuracy lost against "test"),
        `environment` and the entries of `extra`.

    Raises:
        ValueError: if there is no split, or one of them is empty.
    """
    if not splits:
        raise ValueError("splits is empty: name at least one split to evaluate.")
    empty = [name for name, rows in splits.items() if len(rows) == 0]
    if empty:
        raise ValueError(f"the split {empty[0]!r} has no pairs: leave it out or build the data set with more pairs.")
    accelerator = accelerate.Accelerator()
    metrics: dict[str, Any] = {"splits": {}, "gap": {}, "environment": environment(), **(extra or {})}
    tensors: dict[str, torch.Tensor] = {}
    names: dict[str, Any] = {}
    for name, rows in splits.items():
        predictions = predict(model, rows, transform, batch_size, f"evaluating {name}", accelerator)
        metrics["splits"][name] = split_metrics(predictions, rows)
        columns = rows.with_format(None)
        tensors |= {f"{name}/{key}": value.contiguous() for key, value in predictions.tensors().items()}
        tensors[f"{name}/objects"] = torch.tensor(columns["object"][:])
        names[name] = {"pair_id": columns["pair_id"][:], "scene": columns["scene"][:]}
    if "test" in metrics["splits"]:
        in_distribution = metrics["splits"]["test"]["accuracy"]
        metrics["gap"] = {
            name: accuracy_gap(in_distribution, values["accuracy"])
            for name, values in metrics["splits"].items()
            if name.startswith("test_")
        }
    if accelerator.is_main_process:
        folder = Path(output)
        folder.mkdir(parents=True, exist_ok=True)
        features = next(iter(splits.values())).features
        header = {
            "actions": json.dumps(features["action"].names),
            "objects": json.dumps(features["object"].names),
            "rows": json.dumps(names),
        }
        save_file(tensors, folder / DELTAS_FILE, metadata=header)
        (folder / METRICS_FILE).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    accelerator.wait_for_everyone()
    return metrics


def results_table(metrics: Mapping[str, Any]) -> str:
    """A small Markdown table of `metrics.json`: a row per split."""
    lines = [
        "| split | pairs | accuracy | macro | errors that are the opposite |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, values in metrics["splits"].items():
        share = values["opposite_error_share"]
        opposite = "–" if share is None else f"{share:.2f}"
        lines.append(
            f"| {name} | {values['n']} | {values['accuracy']:.3f} | {values['macro_accuracy']:.3f} | {opposite} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    from .data.shifts import load_shifts, reported_splits
    from .methods import load_action_model

    parser = argparse.ArgumentParser(prog="python -m modeling_cde.evaluation", description=__doc__)
    parser.add_argument("--model", required=True, help="folder or repository of a trained checkpoint")
    parser.add_argument("--data", required=True, help="folder or repository of a data set of pairs")
    parser.add_argument("--view", default="single", choices=("single", "multi"), help="crops, or whole views")
    parser.add_argument("--shift", default="both", choices=("comp", "syst", "both"), help="which shifts to test")
    parser.add_argument("--output", required=True, help="folder for metrics.json and deltas.safetensors")
    parser.add_argument("--batch_size", type=int, default=64, help="pairs per forward pass")
    options = parser.parse_args(arguments)
    model, processor = load_action_model(options.model)
    splits = reported_splits(load_shifts(options.data, options.view, options.shift))
    transform = PairTransform.from_processor(processor, crop="box" if options.view == "single" else "none")
    metrics = evaluate_splits(model, splits, transform, options.output, options.batch_size)
    print(results_table(metrics))


if __name__ == "__main__":
    main()
