"""What share of a GPU's matrix units a training step uses.

    python -m benchmarks.speed.gpu_utilisation [--pairs 64]

The operations of a step's matrix products (forward, loss and backward, counted by PyTorch's formulas; nothing is
counted twice and no optimizer) over its seconds, against the best rate of a bf16 matrix product that this card reaches
in this very run. The step is the whole one: compiled model, bf16 autocast, three terms, clipping, fused AdamW; on
random pictures of 224 px that are on the card already. Needs an NVIDIA GPU.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.flops import step_flops
from benchmarks.speed.measured import RESULTS, Target, seconds_in_turns, targets_table, write_result
from benchmarks.speed.training_steps import VIT_B16, VIT_S16, Case, full_step, wait

BOUNDS = {"ViT-B/16": ">= 0.45", "ViT-S/16": ">= 0.30"}
COUNTED_PAIRS = 2  # a batch whose operations are counted on the CPU; they grow with the pairs


def matmul_peak(device: torch.device, sizes: Sequence[int] = (4096, 8192, 12288), repeats: int = 20) -> float:
    """Operations a second of the fastest bf16 product of square matrices of these sizes."""
    best = 0.0
    for size in sizes:
        a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
        for _ in range(3):
            a @ b
        wait(device)
        began = time.perf_counter()
        for _ in range(repeats):
            a @ b
        wait(device)
        best = max(best, 2 * size**3 * repeats / (time.perf_counter() - began))
    return best


def operations(case: Case) -> int:
    """Operations of the matrix products of one training step of a case, counted on a small batch."""
    small = replace(case, pairs=min(case.pairs, COUNTED_PAIRS))
    return sum(step_flops(small, bf16=False).values()) * case.pairs // small.pairs


def measure(case: Case, device: torch.device, compiled: bool, repeats: int, turns: int) -> dict[str, Any]:
    """One case: seconds of a step, and operations a second.

    Args:
        case: What is trained.
        device: Where.
        compiled: Whether the model goes through `torch.compile`, as with `--torch_compile true`.
        repeats: Steps between two waits for the device.
        turns: Measurements; the median counts.
    """
    model: Any = case.model(device)
    if compiled:
        torch._dynamo.reset()
        model = torch.compile(model)
    step = full_step(model, case.batch(device), bf16=True, repeats=repeats)
    for _ in range(2):
        step()
    found = sorted(seconds_in_turns({"step": step}, 1.0, turns)["step"])
    seconds = found[len(found) // 2] / repeats
    rate = operations(case) / seconds
    return {
        "case": case.name,
        "mode": case.options.get("delta_mode", "global"),
        "pairs": case.pairs,
        "seconds_a_step": seconds,
        "pairs_per_second": case.pairs / seconds,
        "operations_per_second": rate,
    }


def targets(measured: Sequence[dict[str, Any]], peak: float, card: str) -> list[Target]:
    """The share of the peak of each case; the modes have one bound."""
    return [
        Target.of(
            f"share of the bf16 matmul peak: {run['case']} at 224 px, {run['mode']}, {run['pairs']} pairs, compiled",
            BOUNDS[run["case"]],
            round(run["operations_per_second"] / peak, 4),
            f"{card}: {run['operations_per_second'] / 1e12:.0f} of {peak / 1e12:.0f} TFLOP/s, "
            f"{run['pairs_per_second']:.0f} pairs/s",
        )
        for run in measured
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.gpu_utilisation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pairs", type=int, default=128, help="of a batch")
    parser.add_argument("--repeats", type=int, default=10, help="steps between two waits for the card")
    parser.add_argument("--turns", type=int, default=7, help="measurements; the median counts")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the JSON")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        sys.exit(
            "benchmarks.speed.gpu_utilisation: there is no NVIDIA GPU here that PyTorch can use; run it where one is."
        )
    device, card = torch.device("cuda"), torch.cuda.get_device_name()
    measured = []
    for name, backbone in (("ViT-S/16", VIT_S16), ("ViT-B/16", VIT_B16)):
        for mode in ("global", "patch"):
            case = Case(name, backbone, 224, options.pairs, {"delta_mode": mode})
            measured.append(measure(case, device, True, options.repeats, options.turns))
    peak = matmul_peak(device)
    found = targets(measured, peak, card)
    details = {"card": card, "matmul_peak": peak, "cases": measured, "repeats": options.repeats}
    command = f"python -m benchmarks.speed.gpu_utilisation --pairs {options.pairs}"
    path = write_result("gpu_utilisation", command, found, details, options.output)
    print(f"{targets_table(found)}\n\nWritten to {path}.")


if __name__ == "__main__":
    main()
