"""What the contrastive term costs as the gathered batch grows: time and peak memory, loss and gradient.

    python -m benchmarks.speed.contrastive_scale [--quick]

Up to 2^21 similarities are held at once, more are taken in chunks of anchors (`modeling_cde/training/contrastive.py`).
Three comparisons with all at once at 4,096 deltas, in turns with it: the chunks at 4,096; the chunks at 16,384, for
each of the sixteen times as many similarities; and what one of 16 processes has to do where each brings 1,024 of 16,384
deltas, which is exactly as many similarities. Memory is the peak of a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import torch

from benchmarks.speed.measured import Target, keep_result, ratio, script_parser, seconds_in_turns, targets_table
from benchmarks.speed.peak_memory import peak_in_fork
from modeling_cde.training.losses import supervised_contrastive_loss
from modeling_cde.whole_files import in_one_sentence

ACTIONS = 20
PROCESSES = 16  # of the gathered comparison
SIZES: tuple[int, ...] = (1024, 2048, 4096, 8192, 16384)
AT_ONCE = 4096  # what the targets are stated against


def contrastive_step(deltas: int, dimensions: int, at_once: bool = False, processes: int = 1) -> Callable[[], None]:
    """A function that computes the loss and its gradient on random deltas, on the GPU where there is one.

    Args:
        deltas: N, of all processes.
        dimensions: D of a delta.
        at_once: hold all similarities, whatever their number; else the loss chooses.
        processes: of these the first, with N / processes anchors; the deltas of the others are there already.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = torch.Generator().manual_seed(0)
    everyone = torch.randn(deltas, dimensions, generator=generator).to(device)
    labels = torch.randint(ACTIONS, (deltas,), generator=generator).to(device)
    own = deltas // processes
    leaf = everyone[:own].clone().requires_grad_()
    others = torch.nn.functional.normalize(everyone[own:])  # directions are what is gathered

    def gather(rows: torch.Tensor) -> tuple[torch.Tensor, int, int]:
        return torch.cat([rows, others if rows.is_floating_point() else labels[own:]]), 0, processes

    def step() -> None:
        loss = supervised_contrastive_loss(
            leaf, labels[:own], gather=gather if processes > 1 else None, chunk=own if at_once else None
        )
        loss.backward()  # type: ignore[no-untyped-call]
        leaf.grad = None
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def measure_times(
    sizes: Sequence[int], at_once: int, dimensions: int, seconds: float, turns: int
) -> dict[str, list[float]]:
    """Seconds of a loss with its gradient: "at once", "gathered" and each size by its number, (turns,) each."""
    steps = {
        "at once": contrastive_step(at_once, dimensions, at_once=True),
        "gathered": contrastive_step(max(sizes), dimensions, processes=PROCESSES),
        **{str(size): contrastive_step(size, dimensions) for size in {*sizes, at_once}},
    }
    return seconds_in_turns(steps, seconds, turns)


def memory_of(deltas: int, dimensions: int, at_once: bool = False) -> float:
    """Peak MiB of one step in a fork of this process; arguments as of `contrastive_step`."""
    return peak_in_fork(lambda: contrastive_step(64, 8)(), lambda: contrastive_step(deltas, dimensions, at_once))


def summary(
    times: Mapping[str, Sequence[float]], memory: Mapping[str, float], sizes: Sequence[int], at_once: int
) -> tuple[list[Target], dict[str, Any]]:
    """The targets, and per size the seconds and MiB, from `measure_times` and MiB by size and "at once"."""
    small, large = at_once, max(sizes)
    work = (large / small) ** 2
    forms = {
        f"in chunks / at once, {small:,} deltas": times[str(small)],
        f"{large:,} deltas in chunks / {small:,} at once, time per similarity": [t / work for t in times[str(large)]],
        f"{large // PROCESSES:,} anchors against {large:,} gathered / {small:,} at once": times["gathered"],
    }
    targets = []
    for what, seconds in forms.items():
        found = ratio(seconds, times["at once"])
        quartiles = f"quartiles {found['low']:.3f} to {found['high']:.3f}"
        targets.append(Target.of(f"contrastive term: {what}", "<= 1.3", found["median"], quartiles))
    growth = memory[str(large)] / memory[str(small)]
    held = f"{memory[str(large)]:.0f} and {memory[str(small)]:.0f} MiB; {small:,} at once: {memory['at once']:.0f} MiB"
    what = f"contrastive term: peak memory of {large:,} deltas / of {small:,}"
    targets.append(Target.of(what, f"<= {large / small:g}", round(growth, 4), held))
    curve = [
        {"deltas": size, "seconds": round(median(times[str(size)]), 5), "peak_mib": round(memory[str(size)], 1)}
        for size in sizes
    ]
    reference = {"seconds": round(median(times["at once"]), 5), "peak_mib": round(memory["at once"], 1)}
    return targets, {"curve": curve, "at_once": {"deltas": small} | reference}


def curve_table(details: Mapping[str, Any]) -> str:
    """Time and memory by size as a Markdown table."""
    lines = ["| deltas | seconds | peak MiB |", "|---:|---:|---:|"]
    lines += [f"| {row['deltas']:,} | {row['seconds']:.3g} | {row['peak_mib']:.0f} |" for row in details["curve"]]
    row = details["at_once"]
    lines.append(f"| {row['deltas']:,}, at once | {row['seconds']:.3g} | {row['peak_mib']:.0f} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write the JSON."""
    parser = script_parser(
        "contrastive_scale",
        __doc__,
        dimensions=(256, "of a delta"),
        seconds=(1.0, "of each measurement, one step at the least"),
        turns=(7, "measurements of each size; the median ratio counts"),
    )
    options = parser.parse_args(arguments)
    sizes, at_once, seconds, turns = SIZES, AT_ONCE, options.seconds, options.turns
    if options.quick:
        sizes, at_once, seconds, turns = (256, 1536), 384, 0.01, 2
    # Before anything is computed here.
    memory = {str(size): memory_of(size, options.dimensions) for size in {*sizes, at_once}}
    memory["at once"] = memory_of(at_once, options.dimensions, at_once=True)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    times = measure_times(sizes, at_once, options.dimensions, seconds, turns)
    targets, details = summary(times, memory, sizes, at_once)
    settings = {"dimensions": options.dimensions, "actions": ACTIONS, "seconds": seconds, "turns": turns}
    print(f"{targets_table(targets)}\n\n{curve_table(details)}")
    keep_result(options, targets, details | settings)


if __name__ == "__main__":
    with in_one_sentence("benchmarks.speed.contrastive_scale"):
        main()
