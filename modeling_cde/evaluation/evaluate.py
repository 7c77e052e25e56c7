"""Evaluates a model on named splits and writes its numbers: see `evaluate_splits`."""

import json
import logging
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import accelerate
import datasets
import torch
import transformers
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy

from ..cli.verbs import command
from ..data.chosen_rows import evenly_spaced
from ..data.coverage import target_coverage
from ..data.schema import OPPOSITES
from ..data.splits import MECHANISM
from ..data.splits.titles import split_title
from ..data.transforms import PairTransform
from ..features.keep import FeatureKeeper
from ..whole_files import without_places, write_text_whole, write_whole
from .action_names import action_names, check_matched, match_actions, own_accuracy, unknown_lines, unknown_rows
from .examples import choose_examples
from .gallery import GALLERY_FILE, write_gallery
from .metrics import accuracy_by, accuracy_gap, compute_action_metrics
from .predictions import Precision, Predictions, patch_grid, predict
from .rejections import calibrate_model, can_reject, has_thresholds, measure_rejections, pairs_of_one_picture

logger = logging.getLogger(__name__)

METRICS_FILE = "metrics.json"
DELTAS_FILE = "deltas.safetensors"


def split_metrics(predictions: Predictions, dataset: datasets.Dataset) -> dict[str, Any]:
    """The result of `compute_action_metrics` for one split, and the mean `cross_entropy` in nats.

    Where the data have the column mechanism, also `accuracy_by_mechanism`, by names such as "open, drawer".
    """
    objects = dataset.features["object"].int2str(dataset.with_format(None)["object"][:])
    predicted, labels = predictions.logits.argmax(dim=-1).tolist(), predictions.labels.tolist()
    actions = dataset.features["action"].names
    result = compute_action_metrics(predicted, labels, actions, objects, OPPOSITES)
    if (mechanisms := _mechanisms(dataset)) is not None:
        groups = [f"{actions[label]}, {name}" for label, name in zip(labels, mechanisms, strict=True)]
        correct = [one == other for one, other in zip(predicted, labels, strict=True)]
        result["accuracy_by_mechanism"] = accuracy_by(groups, correct)
    return result | {"cross_entropy": cross_entropy(predictions.logits, predictions.labels).item()}


def _mechanisms(dataset: datasets.Dataset) -> list[str] | None:
    """How the action of each pair is done, "unknown" where the row does not say; None for data without the column."""
    if MECHANISM not in dataset.column_names:
        return None
    return [name or "unknown" for name in dataset.with_format(None)[MECHANISM][:]]


def environment() -> dict[str, Any]:
    """Versions and hardware, to trace a number to its source."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "CPU",
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
    bank: datasets.Dataset | None = None,
    bank_rows: int = 10_000,
    examples: int = 12,
    precision: Precision = "float32",
    keep: FeatureKeeper | None = None,
    strict: bool = False,
    calibrate: bool = False,
) -> dict[str, Any]:
    """Evaluate a model on named splits; write `metrics.json`, `deltas.safetensors`, and with a bank `gallery.parquet`.

    Actions are matched by name. Where a split lists other actions than the model, or lists them in another order, its
    pairs get the model's ids, and those whose action the model does not know are left out and named in the log. Objects
    need not be known to the model.

    `deltas.safetensors` has, for each split and for the bank under the name "train", the fields of `Predictions`,
    `objects` (n,) int64, and for a patch-wise model the result of `target_coverage`; for example `test/delta`. It also
    has `examples/pictures` (m, 2, H, W, 3) uint8: pictures of test splits as the model sees them; for a model with
    `pooling="change"` also `examples/patch_weights` (m, N) float32, and the result of `target_coverage` for the
    examples. Its header has JSON strings: `actions` and `objects` (names by class id), `opposites` (action ->
    opposite), `rows` (split -> `pair_id`, `scene` and, where there is one, `mechanism` of each row), `examples` (split,
    row, pair_id, action and object of each example), and for a model that selects or weighs patches `patch_grid` (rows
    and columns).

    Args:
        model, transform: see `predict`.
        splits: name -> rows; "test" is the in-distribution split, against which each "test_*" has its gap. With a bank
            it may be empty, as for a model that was trained on all pairs.
        output: folder for the files; created if absent.
        batch_size: pairs per forward pass and process.
        extra: further entries of `metrics.json`, such as the command and the duration of the training; files are named
            without their folders on this machine, see `without_places`.
        bank: the training part, to compare with (nearest neighbours, prototypes); its metrics are kept apart from those
            of the splits.
        bank_rows: largest number of rows taken from the bank, evenly spaced.
        examples: largest number of pairs with pictures per test split, spread over actions and objects.
        precision: of the scores; see `predict`. A model with half-precision weights keeps them.
        keep: gives splits the kept features of their pictures; None: the model reads pictures.
        strict: whether a pair whose action the model does not know is an error.
        calibrate: whether a CDE model gets the thresholds of `rejection_cde.py`, from the bank and the splits
            "validation...". The caller saves the model.

    Returns:
        The content of `metrics.json`: `splits` (name -> metrics), `gap` (name -> accuracy lost against "test"),
        `precision` of the scores, `environment`, with a bank `train` (its metrics), with `keep` also `features` (see
        `FeatureKeeper.record`), for a model with thresholds `rejections`
        (`measure_rejections`, and `calibrate_model` if that was asked for), and the entries of `extra`. The
        metrics of a split are those of `split_metrics`, and where its list of actions differs from the model's also
        `accuracy_own_actions`, for which only the scores of actions in the split's list compete, and `left_out`
        (action -> number of pairs). Splits of which no pair is left are under `splits_left_out` (name -> `left_out`).

    Raises:
        ValueError: if there is neither a split nor a bank, a split is empty, there is both a bank and a split "train",
            no pair has an action of the model, or `strict` and some pair has none.
    """
    parts = dict(splits)
    if not parts and bank is None:
        raise ValueError("splits is empty: name at least one split to evaluate.")
    if bank is not None:
        if "train" in parts:
            raise ValueError("splits has a split 'train', which is the bank's name: pass the training part only once.")
        parts["train"] = bank
    known = action_names(model)
    matched = match_actions(known, parts)
    parts = matched.splits
    if bank is not None and "train" in parts:
        parts["train"] = parts["train"].select(evenly_spaced(len(parts["train"]), bank_rows))
    if empty := [name for name, rows in parts.items() if len(rows) == 0]:
        raise ValueError(f"the split {empty[0]!r} has no pairs: leave it out or build the data set with more pairs.")
    check_matched(matched, known, splits or {"train": bank}, strict)
    accelerator = accelerate.Accelerator()
    for line in unknown_lines(matched.left_out, known) if accelerator.is_main_process else ():
        logger.warning("%s They are left out.", line)
    weights = str(next(model.parameters()).dtype).removeprefix("torch.")
    scores = {"precision": precision if weights == "float32" else weights, "environment": environment()}
    metrics: dict[str, Any] = {"splits": {}, "gap": {}, **scores, **without_places(extra or {})}
    predictions: dict[str, Predictions] = {}
    shown = parts if keep is None else keep(parts)
    if keep is not None:
        metrics["features"] = keep.record()
    for name, rows in parts.items():
        what = f"evaluating {name}"
        predictions[name] = predict(model, shown[name], transform, batch_size, what, accelerator, precision)
        scored = split_metrics(predictions[name], rows)
        if name in matched.own_ids:
            own = own_accuracy(predictions[name].logits, predictions[name].labels, matched.own_ids[name])
            scored |= {"accuracy_own_actions": own, "left_out": matched.left_out[name]}
        (metrics["splits"] if name in splits else metrics)[name] = scored
    if gone := {name: counts for name, counts in matched.left_out.items() if name not in parts}:
        metrics["splits_left_out"] = gone
    accuracies = {name: values["accuracy"] for name, values in metrics["splits"].items()}
    if "test" in accuracies:
        shifted = [name for name in accuracies if name.startswith("test_")]
        metrics["gap"] = {name: accuracy_gap(accuracies["test"], accuracies[name]) for name in shifted}
    if calibrate and can_reject(model) and "train" in predictions:
        if held_out := {name: found for name, found in predictions.items() if name.startswith("validation")}:
            metrics["rejections"] = calibrate_model(model, predictions["train"], held_out)
    if has_thresholds(model):
        unknown = {}
        for name, rows in unknown_rows(known, splits).items():
            found = predict(model, rows if keep is None else keep({name: rows})[name], transform, batch_size,
                            f"evaluating {name}", accelerator, precision)  # fmt: skip
            names = rows.features["action"].names
            unknown[name] = {names[i]: found.delta[found.labels == i] for i in sorted(set(found.labels.tolist()))}
        tested = {name: predictions[name] for name in metrics["splits"]}
        still = pairs_of_one_picture(next(iter(parts.values())), transform)
        measured = measure_rejections(model, tested, unknown, still, precision if keep is None else keep.precision)
        metrics["rejections"] = metrics.get("rejections", {}) | measured
    if accelerator.is_main_process:
        folder = Path(output)
        grid = patch_grid(model, transform.size)
        read = precision if keep is None else keep.precision
        chosen = choose_examples(model, parts, transform, examples, grid, min(batch_size, 16), read)
        _write_deltas(folder / DELTAS_FILE, predictions, parts, transform, grid, *chosen)
        if bank is not None and "train" in parts:
            write_gallery(model, parts["train"], transform, folder / GALLERY_FILE, delta=predictions["train"].delta)
        write_text_whole(folder / METRICS_FILE, json.dumps(metrics, indent=2) + "\n")
    accelerator.wait_for_everyone()
    return metrics


def _write_deltas(
    path: Path,
    predictions: Mapping[str, Predictions],
    parts: Mapping[str, datasets.Dataset],
    transform: PairTransform,
    grid: tuple[int, int] | None,
    examples: Mapping[str, torch.Tensor],
    described: list[dict[str, Any]],
) -> None:
    """Write `deltas.safetensors`; see `evaluate_splits` for its content."""
    tensors = {f"examples/{key}": value for key, value in examples.items()}
    row_names: dict[str, Any] = {}
    for name, rows in parts.items():
        columns = rows.with_format(None)
        found = predictions[name].tensors() | {"objects": torch.tensor(columns["object"][:])}
        if grid is not None and predictions[name].patch_indices is not None:
            shares = target_coverage(rows, transform, grid)
            found |= {key: torch.from_numpy(value) for key, value in shares.items()}
        tensors |= {f"{name}/{key}": value.contiguous() for key, value in found.items()}
        row_names[name] = {"pair_id": columns["pair_id"][:], "scene": columns["scene"][:]}
        if (mechanisms := _mechanisms(rows)) is not None:
            row_names[name] |= {MECHANISM: mechanisms}
    features = next(iter(parts.values())).features
    actions, objects = features["action"].names, features["object"].names
    header: dict[str, Any] = {
        "actions": actions,
        "objects": objects,
        "opposites": {name: OPPOSITES[name] for name in actions if OPPOSITES.get(name) in actions},
        "rows": row_names,
        "examples": described,
    }
    if grid is not None:
        header["patch_grid"] = grid
    with write_whole(path) as temporary:
        save_file(tensors, temporary, metadata={key: json.dumps(value) for key, value in header.items()})
        _sort_metadata(temporary)


def _sort_metadata(path: Path) -> None:
    """Put the metadata of a safetensors file in the order of its keys: it is written in another one every time."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(size)
        if len(text) > size:
            raise ValueError(f"The header of {path} does not fit in its place: update safetensors.")
        file.seek(8)
        file.write(text)


def results_table(metrics: Mapping[str, Any]) -> str:
    """A small Markdown table of `metrics.json`: a row per split.

    Where the actions of a data set are not the model's, its splits keep their own names, and the table has the accuracy
    among the data set's actions and the number of pairs left out, too. Without splits it is a sentence.
    """
    if not metrics["splits"]:
        again = command("modeling_cde.evaluation")
        return f"All pairs were trained on, so nothing was tested; to test the model: {again}"
    headers = ["split", "pairs", "accuracy", "macro", "errors that are the opposite"]
    matched = any("accuracy_own_actions" in values for values in metrics["splits"].values())
    headers += ["accuracy among its own actions", "left out"] if matched else []
    lines = [f"| {' | '.join(headers)} |", "|---|" + "---:|" * (len(headers) - 1)]
    for name, values in metrics["splits"].items():
        share = values["opposite_error_share"]
        cells = [
            name if matched else split_title(name),
            str(values["n"]),
            f"{values['accuracy']:.3f}",
            f"{values['macro_accuracy']:.3f}",
        ]
        cells.append("–" if share is None else f"{share:.2f}")
        if matched:
            own = values.get("accuracy_own_actions", values["accuracy"])
            cells += [f"{own:.3f}", str(sum(values.get("left_out", {}).values()))]
        lines.append(f"| {' | '.join(cells)} |")
    if rejections := metrics.get("rejections"):
        lines += ["", rejection_sentence(rejections)]
    return "\n".join(lines)


def rejection_sentence(rejections: Mapping[str, Any]) -> str:
    """How often a model with thresholds names no action where one happened, and an action where none did."""
    missed = ", ".join(f"{100 * (1 - shares['action']):.1f} % on {n}" for n, shares in rejections["splits"].items())
    still = rejections["still"]
    return (
        f'"nothing changed" or "something else" although the action is known: {missed}. An action although nothing '
        f"happened: {100 * still['action']:.1f} % of {still['pairs']} pairs of one picture, shifted a little."
    )


def comparison_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table of the accuracies of several models: a row per test split, a column per title of a model.

    The models were tested on the same splits; `found` has title -> `metrics.json`.
    """
    titles = list(found)
    lines = [f"| split | pairs | {' | '.join(titles)} |", "|---|---:|" + "---:|" * len(titles)]
    for name, values in found[titles[-1]]["splits"].items():
        if name.startswith("test"):
            accuracies = [f"{found[title]['splits'][name]['accuracy']:.3f}" for title in titles]
            lines.append(f"| {split_title(name)} | {values['n']} | {' | '.join(accuracies)} |")
    return "\n".join(lines)
