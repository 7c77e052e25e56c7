"""The training curve: each loss term and the validation accuracy over the steps of a run.

    python -m modeling_cde.analysis.plots.curves runs/quickstart

reads `trainer_state.json`, which the trainer writes beside the checkpoint, and writes `training_curve.png` and `.svg`.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from ...data.splits.titles import split_title
from ...whole_files import as_they_were_written, in_one_sentence, read_object
from ..loss_terms import logged_terms, title
from .style import LINES, MARKERS, drawing, save, tidy

STATE_FILE = "trainer_state.json"
CURVE_FILE = "training_curve.png"


def series(history: Sequence[Mapping[str, Any]], key: str) -> tuple[list[int], list[float]]:
    """Steps and values at which a key was logged.

    Args:
        history: `log_history` of a trainer state.
        key: the name of a logged value.

    Returns:
        Two lists of equal length, empty if the key was never logged.
    """
    points = [(entry["step"], float(entry[key])) for entry in history if key in entry]
    return [step for step, _ in points], [value for _, value in points]


def load_history(run: str | Path) -> list[dict[str, Any]]:
    """What a run logged, in the order of the steps.

    Raises:
        FileNotFoundError: if the run has no trainer state.
        ValueError: if the file is not a trainer state.
    """
    path = Path(run) / STATE_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: give the output folder of a finished run.")
    history = read_object(path).get("log_history")
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        raise ValueError(f"{path} is not a trainer state: train again, or give the folder of another run.")
    return history


def plot_training_curve(run: str | Path, path: str | Path | None = None) -> Path:
    """Draw all terms of the loss that were logged, without their weights, and the accuracy on the validation splits.

    The length of the deltas is drawn with the terms: it shows whether the deltas collapse.

    Args:
        run: folder of a run, with its `trainer_state.json`.
        path: name of the PNG, which is returned; by default `training_curve.png` in the run's folder.

    Raises:
        FileNotFoundError, ValueError: see `load_history`.
    """
    history = load_history(run)
    path = Path(run) / CURVE_FILE if path is None else Path(path)
    with as_they_were_written(Path(run) / STATE_FILE), drawing(8, 4.3) as figure:
        keys = sorted({key for entry in history for key in entry if _is_accuracy(key)})
        left, *others = figure.subplots(1, 2 if keys else 1, sharex=True, squeeze=False)[0]
        terms = [name for name in logged_terms(history) if name != "anchors_without_positive"]
        for colour, marker, term in zip(cycle(LINES), cycle(MARKERS), terms, strict=False):
            steps, values = series(history, term)
            style = {"color": colour, "marker": marker, "markersize": 4.5, "markevery": max(len(steps) // 12, 1)}
            left.plot(steps, values, label=title(term), **style)
        # A term may be negative, or 0 throughout: a logarithm shows neither.
        positive = all(value > 0 for line in left.lines for value in line.get_ydata())
        scale = "log" if left.lines and positive else "symlog"
        left.set(xlabel="step", ylabel="value, without its weight", yscale=scale, title="terms of the loss, training")
        _write_numbers(left.yaxis)

        for colour, marker, key in zip(LINES, MARKERS, keys, strict=False):
            steps, values = series(history, key)
            name = key.removeprefix("eval_").removesuffix("_accuracy").replace("accuracy", "") or "validation"
            others[0].plot(steps, values, color=colour, marker=marker, markersize=4, label=split_title(name))
            others[0].set(xlabel="step", ylabel="accuracy", ylim=(0, 1.02), title="validation")
        for axes in (left, *others):
            if axes.lines:  # below the axes, where no curve can run
                axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=2, columnspacing=1.0)
            tidy(axes)
        return save(figure, path.parent, path.name.removesuffix(".png"))


def _write_numbers(axis: Any) -> None:
    """Label a logarithmic axis by 0.1, 1 and 10, where Matplotlib would write powers in its mathematical markup."""
    from matplotlib.ticker import LogFormatter

    class Numbers(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    axis.set_major_formatter(Numbers())
    if axis.get_scale() == "log":  # the numbers between, where the axis spans less than a power of ten
        axis.set_minor_formatter(Numbers())


def _is_accuracy(key: str) -> bool:
    return key.startswith("eval_") and key.endswith("accuracy") and "macro" not in key


def main(arguments: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m modeling_cde.analysis.plots.curves", description=__doc__)
    parser.add_argument("run", help="output folder of a run")
    options = parser.parse_args(arguments)
    try:
        print(plot_training_curve(options.run))
    except (OSError, ValueError, ModuleNotFoundError) as error:
        sys.exit(f"python -m modeling_cde.analysis.plots.curves: {error}")


if __name__ == "__main__":
    with in_one_sentence("modeling_cde.analysis.plots.curves"):
        main()
