"""What ONNX Runtime and int8 do to a model's speed and accuracy on the CPU, all measured in one run.

    python -m benchmarks.speed.export_speed --model runs/from_scratch --data data/rooms
    python -m benchmarks.speed.export_speed --untrained

The same pairs go through PyTorch (eager, float32) and three ONNX files: float32, int8 in the linear layers, and int8 in
the convolutions too. Speed: pairs per second on pictures that are loaded already, each engine on the same number of
threads, in turns, so that all meet the machine in the same state; the median of the turns counts. Accuracy: all pairs
of each test split; beside it the share of pairs that an engine answers otherwise than PyTorch does.

`--untrained` measures the speed alone, of a ViT-S/16 at 224 px with random weights. What int8 gains depends on the
processor: those with VNNI multiply int8 faster. The result says whether this one has it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets
import torch
from torch.utils.data import DataLoader

from benchmarks.speed.measured import seconds_in_turns, write_json
from benchmarks.speed.training_steps import VIT_S16, Case
from modeling_cde.data import PairCollator, PairTransform
from modeling_cde.data.load_splits import load_shifts, reported_splits
from modeling_cde.evaluation.evaluate import environment
from modeling_cde.evaluation.onnx_export import PairOutputs, export_onnx, quantize_onnx, run_session, start_session
from modeling_cde.models.load_model import load_action_model
from modeling_cde.whole_files import in_one_sentence

RESULTS = Path(__file__).parents[1] / "results" / "export"
EAGER = "PyTorch float32"
Engine = Callable[[torch.Tensor], Mapping[str, torch.Tensor]]


def make_engines(model: torch.nn.Module, size: tuple[int, int], folder: Path, threads: int) -> dict[str, Engine]:
    """PyTorch and the three ONNX files, by name; `folder` is where these go, `size` (H, W) in pixels."""
    torch.set_num_threads(threads)
    exported = export_onnx(model, folder / "float32.onnx", *size)
    files = {
        "ONNX float32": exported,
        "ONNX int8, linear layers": quantize_onnx(exported, folder / "linear.onnx"),
        "ONNX int8, convolutions too": quantize_onnx(exported, folder / "all.onnx", convolutions=True),
    }
    sessions = {name: start_session(path, threads) for name, path in files.items()}
    return {EAGER: PairOutputs(model), **{name: partial(run_session, one) for name, one in sessions.items()}}


def speeds(engines: Mapping[str, Engine], batch: torch.Tensor, seconds: float, turns: int) -> dict[str, Any]:
    """Pairs per second of each engine on one batch (B, 2, C, H, W), measured in turns; the medians and their ratios."""
    calls = {name: partial(engine, batch) for name, engine in engines.items()}
    taken = seconds_in_turns(calls, seconds, turns, settle=True)
    medians = {name: statistics.median([len(batch) / one for one in values]) for name, values in taken.items()}
    return {
        name: {"pairs_per_second": round(value, 2), "ratio": round(value / medians[EAGER], 3)}
        for name, value in medians.items()
    }


def accuracies(engines: Mapping[str, Engine], rows: datasets.Dataset, transform: PairTransform) -> dict[str, Any]:
    """Accuracy of each engine on one split, and how it differs from PyTorch's."""
    loader = DataLoader(rows.with_transform(transform), batch_size=64, collate_fn=PairCollator())
    answers: dict[str, list[torch.Tensor]] = {name: [] for name in engines}
    labels, furthest = [], dict.fromkeys(engines, 0.0)
    for batch in loader:
        labels.append(batch["labels"])
        expected = engines[EAGER](batch["pixel_values"])["logits"]
        for name, engine in engines.items():
            logits = expected if name == EAGER else engine(batch["pixel_values"])["logits"]  # (b, A)
            answers[name].append(logits.argmax(dim=-1))
            furthest[name] = max(furthest[name], float((logits - expected).abs().max()))
    truth, eager = torch.cat(labels), torch.cat(answers[EAGER])
    result = {}
    for name, parts in answers.items():
        found = torch.cat(parts)
        result[name] = {
            "accuracy": float((found == truth).float().mean()),
            "other_answers": float((found != eager).float().mean()),
            "largest_logit_difference": furthest[name],
        }
    return {"pairs": len(truth), "engines": result}


@torch.no_grad()
def measure(
    model: torch.nn.Module,
    transform: PairTransform,
    splits: Mapping[str, datasets.Dataset],
    batch_sizes: Sequence[int],
    seconds: float,
    turns: int,
) -> dict[str, Any]:
    """What the JSON holds of one model; for the numbers see the command's flags.

    Args:
        model: A classifier, float32, on the CPU, in evaluation mode.
        transform: Makes its pictures; says their size.
        splits: To measure the accuracy on, by name; may be empty.
    """
    size = transform.size
    load = os.getloadavg()[0]  # over the last minute: well over 0, and others took part of the machine
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        engines = make_engines(model, size, Path(folder), threads)
        sizes = {file.stem: round(file.stat().st_size / 1e6, 2) for file in sorted(Path(folder).iterdir())}
    generator = torch.Generator().manual_seed(0)
    pairs = {batch: torch.randn(batch, 2, 3, *size, generator=generator) for batch in batch_sizes}
    cpu = Path("/proc/cpuinfo")
    processor = {"onnxruntime": version("onnxruntime"), "vnni": cpu.exists() and "vnni" in cpu.read_text()}
    return {
        "backbone": model.config.backbone_config.model_type,  # type: ignore[union-attr]
        "delta_mode": model.config.delta_mode,  # type: ignore[union-attr]
        "image_size": size,
        "threads": threads,
        "megabytes": sizes,
        "speed": {str(batch): speeds(engines, values, seconds, turns) for batch, values in pairs.items()},
        "splits": {name: accuracies(engines, rows, transform) for name, rows in splits.items()},
        "seconds": seconds,
        "turns": turns,
        "environment": environment() | processor | {"load_before": round(load, 2)},
    }


def table(result: Mapping[str, Any]) -> str:
    """The result as Markdown: a row for each engine."""
    batches, splits = list(result["speed"]), list(result["splits"])
    heads = [f"pairs/s, batch {batch} (ratio)" for batch in batches]
    heads += [f"accuracy {name} (other answers)" for name in splits]
    lines = ["| engine | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for engine in result["speed"][batches[0]]:
        speed = [result["speed"][batch][engine] for batch in batches]
        found = [result["splits"][name]["engines"][engine] for name in splits]
        cells = [f"{one['pairs_per_second']:.1f} ({one['ratio']:.2f})" for one in speed]
        cells += [f"{one['accuracy']:.3f} ({one['other_answers']:.3f})" for one in found]
        lines.append(f"| {engine} | " + " | ".join(cells) + " |")
    sizes = ", ".join(f"{name} {size} MB" for name, size in result["megabytes"].items())
    vnni = "with" if result["environment"]["vnni"] else "without"
    title = f"{result['model']} ({result['backbone']}, {result['delta_mode']}), "
    title += f"{result['threads']} threads, {vnni} VNNI"
    load = f"Load average before: {result['environment']['load_before']}."
    return "\n".join([title, "", *lines, "", f"Files: {sizes}. {load}"])


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.export_speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", help="folder or repository of a trained checkpoint")
    which.add_argument("--untrained", action="store_true", help="a ViT-S/16 with random weights, speed alone")
    parser.add_argument("--data", default="data/rooms", help="folder or repository of a data set of pairs")
    parser.add_argument("--view", default="single", choices=("single", "multi"), help="crops, or whole views")
    parser.add_argument("--shift", default="both", choices=("comp", "syst", "both"), help="which shifts to test")
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[1, 32], help="pairs per call, for the speed")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement of speed")
    parser.add_argument("--turns", type=int, default=4, help="measurements of each engine; the median counts")
    parser.add_argument("--output", type=Path, help="where the JSON goes; default: in benchmarks/results/export")
    options = parser.parse_args(arguments)
    model: torch.nn.Module
    splits: dict[str, datasets.Dataset] = {}
    if options.untrained:
        name = "vit_s16_untrained"
        model = Case(name, VIT_S16, 224, 1).model().eval()
        transform = PairTransform((224, 224))
    else:
        try:
            model, processor = load_action_model(options.model)
            found = reported_splits(load_shifts(options.data, options.view, options.shift))
        except (ValueError, OSError) as error:
            sys.exit(f"benchmarks.speed.export_speed: {error}")
        name = Path(options.model).name
        splits = {split: rows for split, rows in found.items() if split.startswith("test")}
        transform = PairTransform.from_processor(processor, crop="box" if options.view == "single" else "none")
    measured = measure(model.float(), transform, splits, options.batch_sizes, options.seconds, options.turns)
    result = {"model": name} | measured
    print(table(result))
    print(f"\nWritten to {write_json(options.output or RESULTS / f'{name}.json', result)}.")


if __name__ == "__main__":
    with in_one_sentence("benchmarks.speed.export_speed"):
        main()
