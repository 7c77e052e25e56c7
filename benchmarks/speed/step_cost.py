"""How the cost of a training step grows with batch, image size, k, frames and actions: time and peak memory.

    python -m benchmarks.speed.step_cost [--quick]

One thing is varied at a time, around a small ViT and from_scratch's ResNet in the shape of the recipes. Times of a
curve are measured in turns within one process; memory is the peak of a process of its own. The
law of growth is the exponent e of cost ~ size^e, the slope of a line through the logarithms; that between the two
largest sizes is stated beside it, since a fixed part hides the growth at the small end.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

import torch
from transformers import AutoConfig

from benchmarks.speed.measured import ROOT, keep_result, script_parser, seconds_in_turns
from benchmarks.speed.peak_memory import peak_in_fork
from benchmarks.speed.training_steps import TINY, full_step, recipe_case
from modeling_cde import CDEForActionClassification
from modeling_cde.whole_files import in_one_sentence

PICTURES = ROOT / "docs" / "images"
# A quarter of ViT-S/16's width: its curves bend at the same numbers of patches, and a CPU measures them in minutes.
VIT: dict[str, Any] = {
    "model_type": "vit", "hidden_size": 192, "num_hidden_layers": 6, "num_attention_heads": 3,
    "intermediate_size": 768, "patch_size": 16, "image_size": 96,
}  # fmt: skip
AXES = {
    "batch": "pairs of a batch",
    "image_size": "image side in pixels",
    "top_k_patches": "patches kept (k)",
    "frames": "frames of a clip (T)",
    "actions": "actions",
}
VALUES: dict[str, tuple[int, ...]] = {
    "batch": (8, 16, 32, 64, 128, 256),
    "image_size": (64, 96, 128, 192, 256, 320),
    "top_k_patches": (1, 4, 9, 18, 36),
    "frames": (2, 3, 4, 6, 8),
    "actions": (10, 100, 1000, 10000, 100000),
}


@dataclass(frozen=True)
class Point:
    """One training step.

    Attributes:
        backbone: a name in `backbones`.
        batch: clips B.
        image_size: height and width in pixels.
        top_k_patches: k of patch mode; 0 is global mode.
        frames: T >= 2 of a clip.
        actions: classes A of the classifier.
    """

    backbone: str
    batch: int = 32
    image_size: int = 96
    top_k_patches: int = 0
    frames: int = 2
    actions: int = 10

    def step(self) -> Callable[[], None]:
        """A function that makes one whole training step, on the GPU where there is one."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(0)
        k = self.top_k_patches
        options: dict[str, Any] = {"delta_mode": "patch", "top_k_patches": k} if k else {"delta_mode": "global"}
        config = AutoConfig.for_model(**backbones()[self.backbone])
        if hasattr(config, "image_size"):
            config.image_size = self.image_size
        names = {i: f"action{i}" for i in range(self.actions)}
        model = CDEForActionClassification.from_backbone(config, id2label=names, **options).to(device).train()
        pixels = torch.randn(self.batch, self.frames, 3, self.image_size, self.image_size)
        # As many actions in the batch as in the recipes, each several times: what varies is the classifier.
        labels = torch.arange(self.batch * (self.frames - 1)) % min(self.actions, 10)
        if self.frames > 2:
            labels = labels.reshape(self.batch, self.frames - 1)
        return full_step(model, {"pixel_values": pixels.to(device), "labels": labels.to(device)})


@cache
def backbones() -> dict[str, dict[str, Any]]:
    """Configurations by the names that points have; the two ResNets are those of the recipes."""
    recipes = {"resnet": "from_scratch.yaml", "resnet (patch)": "from_scratch_patch.yaml"}
    read = {name: recipe_case(ROOT / "configs" / file, name).backbone for name, file in recipes.items()}
    return {"vit": VIT, **read, "tiny": TINY}


def curve_points(backbone: str, axis: str) -> list[Point]:
    """One point for each value of an axis; k is varied in patch mode, all else in global mode."""
    name = "resnet (patch)" if (backbone, axis) == ("resnet", "top_k_patches") else backbone
    changes: list[dict[str, Any]] = [{axis: value} for value in VALUES[axis]]
    return [replace(Point(name), **change) for change in changes]


def memory_of(point: Point) -> float:
    """Peak MiB of all that a training needs, in a fork of this process.

    Weights, gradients, the optimizer's state, the batch and activations: of the second step, which has them all.
    """

    def train() -> None:
        step = point.step()
        step()
        step()

    return peak_in_fork(lambda: replace(point, batch=2, actions=10).step()(), lambda: train)


def exponents(sizes: Sequence[float], costs: Sequence[float]) -> dict[str, float]:
    """e of cost ~ size^e: `all` by least squares over the logarithms, `end` between the two largest sizes.

    Args:
        sizes: rising, > 0; two at the least.
        costs: > 0, one for each size.
    """
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    slope = linear_regression(x, y).slope
    return {"all": round(slope, 3), "end": round((y[-1] - y[-2]) / (x[-1] - x[-2]), 3)}


def measure_curve(
    points: Sequence[Point], axis: str, seconds: float, turns: int, peaks: Sequence[float]
) -> dict[str, Any]:
    """Time and memory along an axis (a field of `Point`), and how they grow; see `seconds_in_turns` for the time.

    Args:
        points: that differ in the axis only, rising.
        peaks: MiB of each point, as of `memory_of`.
    """
    values = [int(getattr(point, axis)) for point in points]
    times = seconds_in_turns({str(v): p.step() for v, p in zip(values, points, strict=True)}, seconds, turns)
    medians = [median(times[str(value)]) for value in values]
    return {
        "backbone": points[0].backbone,
        "axis": axis,
        "values": values,
        "seconds": [round(second, 5) for second in medians],
        "peak_mib": [round(peak, 1) for peak in peaks],
        "time_grows": exponents(values, medians),
        "memory_grows": exponents(values, peaks),
        "base": asdict(points[0]) | {axis: None},
    }


def curves_table(result: Mapping[str, Any]) -> str:
    """The exponents of all curves of a result as a Markdown table."""
    lines = ["| grows with | backbone | from, to | time × | exponent, at the end | memory × | exponent, at the end |"]
    lines.append("|---|---|---|---:|---:|---:|---:|")
    for curve in result["curves"]:
        values, seconds, peaks = curve["values"], curve["seconds"], curve["peak_mib"]
        time, memory = curve["time_grows"], curve["memory_grows"]
        lines.append(
            f"| {AXES[curve['axis']]} | {curve['backbone']} | {values[0]:,}, {values[-1]:,} "
            f"| {seconds[-1] / seconds[0]:.3g} | {time['all']:.2f}, {time['end']:.2f} "
            f"| {peaks[-1] / peaks[0]:.3g} | {memory['all']:.2f}, {memory['end']:.2f} |"
        )
    return "\n".join(lines)


def draw(curves: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """One panel for each axis, both scales logarithmic: time and memory as multiples of those at the smallest size."""
    from modeling_cde.analysis.plots.style import LINES, drawing, save, tidy

    names = dict.fromkeys(curve["backbone"].split()[0] for curve in curves)
    colours = dict(zip(names, LINES, strict=False))
    kinds = (("seconds", "time", "-", "o"), ("peak_mib", "memory", "--", "s"))
    with drawing(8.0, 5.4) as figure:
        panels = figure.subplots(2, 3).flatten()
        for panel, axis in zip(panels, AXES, strict=False):
            shown = [curve for curve in curves if curve["axis"] == axis]
            for curve in shown:
                name = curve["backbone"].split()[0]
                for key, kind, line, marker in kinds:
                    costs = [cost / curve[key][0] for cost in curve[key]]
                    style = {"marker": marker, "ms": 4, "color": colours[name], "label": f"{name}, {kind}"}
                    panel.plot(curve["values"], costs, line, **style)
            panel.set_xscale("log")
            panel.set_yscale("log", base=2)
            panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            panel.set_xlabel(AXES[axis])
            if shown:
                sizes = shown[0]["values"]
                panel.plot(sizes, [size / sizes[0] for size in sizes], ":", color="#9fa2a9", label="as the size")
                most = max(max(curve[key]) / curve[key][0] for curve in shown for key, *_ in kinds)
                panel.set_ylim(0.8, max(1.3 * most, 2.5))
                ticks = sizes[:: 2 if len(sizes) > 5 else 1]
                panel.set_xticks(ticks, [f"{size // 1000}k" if size >= 1000 else str(size) for size in ticks])
            panel.minorticks_off()
            tidy(panel)
        for panel in panels[::3]:
            panel.set_ylabel("cost / cost at the smallest")
        handles: dict[str, Any] = {}
        for panel in panels:
            drawn, labels = panel.get_legend_handles_labels()
            handles |= dict(zip(labels, drawn, strict=True))
        panels[-1].axis("off")
        panels[-1].legend(handles.values(), handles.keys(), loc="center", handlelength=2.8)
        return save(figure, folder, "step_cost")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, draw the picture and write the JSON."""
    parser = script_parser(
        "step_cost",
        __doc__,
        seconds=(1.0, "of each measurement, one step at the least"),
        turns=(5, "measurements of each point; the median counts"),
    )
    parser.add_argument("--pictures", type=Path, help="folder of step_cost.png and .svg (docs/images; quick: none)")
    options = parser.parse_args(arguments)
    plan = [(curve_points(name, axis), axis) for name in ("vit", "resnet") for axis in AXES]
    seconds, turns = options.seconds, options.turns
    if options.quick:
        plan, seconds, turns = [([Point("tiny", batch=size, image_size=32) for size in (4, 8)], "batch")], 0.01, 2
    backbones()  # read once, for all forks
    memory = []
    for points, axis in plan:  # before anything is computed here
        memory.append([memory_of(point) for point in points])
        print(f"memory, {points[0].backbone}, {AXES[axis]}: {[round(peak) for peak in memory[-1]]} MiB", flush=True)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    curves = []
    for (points, axis), peaks in zip(plan, memory, strict=True):
        curves.append(measure_curve(points, axis, seconds, turns, peaks))
        print(curves_table({"curves": curves[-1:]}).splitlines()[-1], flush=True)
    print(f"\n{curves_table({'curves': curves})}\n")
    keep_result(options, [], {"curves": curves, "seconds": seconds, "turns": turns}, "turns")
    if pictures := options.pictures or (None if options.quick else PICTURES):
        print(f"Drawn to {draw(curves, pictures)}.")


if __name__ == "__main__":
    with in_one_sentence("benchmarks.speed.step_cost"):
        main()
