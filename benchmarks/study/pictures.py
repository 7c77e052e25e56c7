"""Draw the study's three pictures from what its experiments measured.

    python -m benchmarks.study.pictures [--results benchmarks/results/study/rooms] [--output docs/images]

Writes study_kinds (accuracy on each kind that was left out), study_variety (against the number of training kinds) and
study_layers (by the layer that is read), each as PNG and SVG.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.study.power_law import errors_by_number, power_law
from benchmarks.study.results import Results, hits_of
from modeling_cde.whole_files import in_one_sentence


def draw_kinds(results: Results, output: Path) -> Path:
    """Accuracy on each kind, for the plain baseline and for the best head, the worst kind first."""
    from modeling_cde.analysis.plots.style import LINES, drawing, save, tidy

    right: dict[str, dict[str, float]] = defaultdict(dict)
    for head in results.heads:
        right[head["fit"]["row"]][head["kind"]] = 100 * mean(hits_of(head["answers"]))
    shown = ["CLS, concatenation", "changed patches, CDE"]
    kinds = sorted(right[shown[1]], key=lambda kind: right[shown[1]][kind])
    with drawing(8.0, 0.17 * len(kinds) + 0.9) as figure:
        axes = figure.subplots()
        for row, marker, colour in zip(shown, "sD", LINES, strict=False):
            axes.plot([right[row][kind] for kind in kinds], range(len(kinds)), marker, ms=5, color=colour, label=row)
        axes.set(yticks=range(len(kinds)), yticklabels=kinds, xlim=(-3, 103), ylim=(len(kinds) - 0.5, -0.5))
        axes.tick_params(axis="y", labelsize=8)
        axes.set_xlabel("accuracy on a kind that training did not have, %")
        tidy(axes)
        axes.legend(loc="lower left")
        return save(figure, output, "study_kinds")


def draw_variety(kinds: Results, numbers: Results, output: Path) -> Path:
    """Accuracy on kinds never seen against the number of training kinds, of equally many pairs, and of pairs.

    Dashed: the power law of `power_law`, whose text is in the legend.
    """
    from modeling_cde.analysis.plots.style import LINES, MARKERS, drawing, save, tidy

    panels = ((kinds, "kinds of things in training, 500 pairs in all"), (numbers, "training pairs, of the same kinds"))
    with drawing(11.0, 4.4) as figure:
        for (results, label), axes in zip(panels, figure.subplots(1, 2, sharey=True), strict=True):
            for (row, errors), marker, colour in zip(errors_by_number(results).items(), MARKERS, LINES, strict=False):
                x = sorted(errors)
                law = power_law(errors)
                values = [[100 - error for error in errors[n].values()] for n in x]
                _line(axes, x, values, f"{row}: {law.sentence()}", marker, colour, ls="none")
                axes.plot(x, [100 - law.at(n) for n in x], "--", color=colour, lw=1)
            axes.set_xscale("log")
            ticks = x if len(x) < 7 else x[::2]
            axes.set_xticks(ticks, [str(n) for n in ticks])
            axes.minorticks_off()
            axes.set_xlabel(label)
            tidy(axes)
            axes.legend(fontsize=8, loc="lower right")
        figure.axes[0].set_ylabel("accuracy on kinds never seen, %")
        figure.axes[0].set_ylim(bottom=25)  # room for the legends
        return save(figure, output, "study_variety")


def draw_layers(results: Results, output: Path) -> Path:
    """Accuracy on kinds never seen by the layer whose changed patches are read, beside sets of layers."""
    from modeling_cde.analysis.plots.style import LINES, drawing, save, tidy

    found: dict[str, list[float]] = defaultdict(list)
    for head in results.heads:
        found[head["fit"]["row"]].append(100 * head["accuracy"]["test_syst"])
    numbers = [n for n in range(1, 13) if f"layer{n}" in found]
    titles = {"change": "changed patches, layers 6 8 10 12", "cls": "CLS, layer 12", "cls4": "CLS, layers 6 8 10 12"}
    with drawing(8.0, 4.2) as figure:
        axes = figure.subplots()
        values = [found[f"layer{n}"] for n in numbers]
        _line(axes, numbers, values, "changed patches, one layer", "o", LINES[0])
        for (name, title), colour, dash in zip(titles.items(), LINES[1:], ("-", ":", "--"), strict=False):
            if name in found:
                axes.axhline(mean(found[name]), color=colour, ls=dash, label=title)
        axes.set(xticks=numbers, xlabel="layer of the ViT-S/14", ylabel="accuracy on kinds never seen, %")
        tidy(axes)
        axes.legend(loc="lower right")
        return save(figure, output, "study_layers")


def _line(
    axes: Any, x: Sequence[int], values: Sequence[Sequence[float]], label: str, marker: str, colour: str, ls: str = "-"
) -> None:
    """Means with standard errors."""
    errors = [stdev(some) / len(some) ** 0.5 if len(some) > 1 else 0.0 for some in values]
    axes.errorbar(
        x, [mean(some) for some in values], errors, marker=marker, color=colour, label=label, capsize=3, ls=ls
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.study.pictures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/study/rooms"), help="(%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("docs/images"), help="(%(default)s)")
    options = parser.parse_args(arguments)
    found = {
        name: Results.load(options.results / f"{name}.json") for name in ("left_out", "kinds", "numbers", "layers")
    }
    if found["left_out"].heads:
        print(draw_kinds(found["left_out"], options.output))
    if found["kinds"].heads and found["numbers"].heads:
        print(draw_variety(found["kinds"], found["numbers"], options.output))
    if found["layers"].heads:
        print(draw_layers(found["layers"], options.output))


if __name__ == "__main__":
    with in_one_sentence("benchmarks.study.pictures"):
        main()
