"""The training curve: each loss term and the validation accuracy over the steps of a run.

    python -m modeling_cde.analysis.curves runs/quickstart

reads `trainer_state.json`, which the trainer writes beside the checkpoint, and writes `training_curve.png`.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

STATE_FILE = "trainer_state.json"
CURVE_FILE = "training_curve.png"

# Okabe and Ito's palette, told apart with any common colour-vision deficiency; the markers help in greyscale.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_LEGEND = {"fontsize": "small", "handlelength": 1.2, "columnspacing": 1.0}
_TERMS = ("cross_entropy", "contrastive", "sparsity")


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


def plot_training_curve(run: str | Path) -> Path:
    """Draw the loss terms and the accuracy on the validation splits.

    Args:
        run: folder of a run, holding `trainer_state.json`.

    Returns:
        The path of the picture.

    Raises:
        FileNotFoundError: if the run has no trainer state.
    """
    import matplotlib

    matplotlib.use("Agg")  # no display is needed, or asked for
    from matplotlib import pyplot

    folder = Path(run)
    if not (folder / STATE_FILE).is_file():
        raise FileNotFoundError(f"{folder / STATE_FILE} is missing: give the output folder of a finished run.")
    history = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))["log_history"]

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), dpi=120, layout="constrained")
    for colour, term in zip(COLOURS, _TERMS, strict=False):
        steps, values = series(history, term)
        if steps:
            left.plot(steps, values, color=colour, marker=".", markersize=3, label=term.replace("_", "-"))
    left.set(xlabel="step", ylabel="loss term, unweighted", yscale="log", title="training")

    keys = sorted({key for entry in history for key in entry if key.endswith("_accuracy") and "macro" not in key})
    for colour, marker, key in zip(COLOURS, "osd^v<", keys, strict=False):
        steps, values = series(history, key)
        name = key.removeprefix("eval_").removesuffix("_accuracy").replace("accuracy", "") or "validation"
        right.plot(steps, values, color=colour, marker=marker, markersize=4, label=name)
    right.set(xlabel="step", ylabel="accuracy", ylim=(0, 1), title="validation")
    for axis in (left, right):
        if axis.lines:  # below the axes, where no curve can run
            axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=3, **_LEGEND)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    path = folder / CURVE_FILE
    figure.savefig(path)
    pyplot.close(figure)
    return path


def main(arguments: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m modeling_cde.analysis.curves", description=__doc__)
    parser.add_argument("run", help="output folder of a run")
    print(plot_training_curve(parser.parse_args(arguments).run))


if __name__ == "__main__":
    main()
