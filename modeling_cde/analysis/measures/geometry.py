"""The geometry of a run's deltas, as numbers: every metric of every split, in one file.

    python -m modeling_cde.analysis.measures.geometry runs/quickstart

reads `deltas.safetensors`, writes `geometry.json` beside it and prints a table. The modules of the measures state
their formulas and ranges: cosines, variance, transfer, sparsity, probes, neighbours, calibration and patches. The k-NN
bank and the prototypes come from the training pairs; everything else is measured within one split, and the probes are
cross-validated there.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...data.splits.titles import split_title
from ...whole_files import as_they_were_written, in_one_sentence, write_whole
from ..delta_set import TRAIN_SPLIT, DeltaSet, deltas_path, load_delta_sets
from .calibration import BINS, measure_calibration
from .cosines import measure_cosines, measure_opposites
from .figures import MEASURES, measured, shown
from .neighbours import NEIGHBOURS, measure_neighbours
from .patches import measure_patches
from .permutation_test import PERMUTATIONS
from .probes import FOLDS, SHRINKAGE, measure_probes
from .sparsity import NEAR_ZERO, measure_sparsity
from .transfer import measure_transfer
from .variance import mechanism_shares, shares_by_chance, variance_shares

GEOMETRY_FILE = "geometry.json"
SEED = 0
_DIGITS = 6


def measure(run: str | Path) -> dict[str, Any]:
    """Measure every split of a run but the training pairs, and write `geometry.json`.

    Equal files give equal results. On one core of an AMD EPYC a split of 2,000 pairs with D = 256, 40 objects and a
    bank of 10,000 takes about 5 seconds, and one of 10,000 pairs with D = 512, 97 actions and 300 objects 4 minutes,
    most of them for fitting one probe for each object held out.

    Args:
        run: folder that holds `deltas.safetensors`, or the path of such a file.

    Returns:
        What the file holds: "splits" (name -> `measure_split`), "bank" ({"split", "n"} of the training pairs, or
        None) and "settings" (seed, folds and other choices of ours). Numbers are rounded to six digits; a figure that
        cannot be measured on a split is None, and its "notes" say why.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the evaluation did not write the file, or it holds deltas that are not finite.
    """
    path = deltas_path(run)
    sets = load_delta_sets(path)
    for part in sets.values():
        _check(path, part)
    train = sets.pop(TRAIN_SPLIT, None)
    if not any(len(part) for part in sets.values()):
        raise ValueError(f"{path}: there is no split with pairs to measure: evaluate at least one split.")
    result: dict[str, Any] = {
        "splits": {name: measure_split(part, train) for name, part in sets.items() if len(part)},
        "bank": None if train is None else {"split": TRAIN_SPLIT, "n": len(train)},
        "settings": {
            "seed": SEED,
            "permutations": PERMUTATIONS,
            "near_zero_threshold": NEAR_ZERO,
            "probe_folds": FOLDS,
            "probe_shrinkage": SHRINKAGE,
            "neighbours": NEIGHBOURS,
            "calibration_bins": BINS,
        },
    }
    result = _rounded(result)
    text = json.dumps(result, indent=1, allow_nan=False, ensure_ascii=False)
    with write_whole(path.parent / GEOMETRY_FILE) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return result


def measure_split(part: DeltaSet, train: DeltaSet | None = None) -> dict[str, Any]:
    """All metrics of one split.

    Args:
        part: the split, of at least one pair.
        train: the bank of k-NN and prototypes; None for the split itself, where each pair is compared with the others.

    Returns:
        "n" and "dimensions"; "cosines", "opposites", "variance" and "variance_by_chance" (the shares of pure noise),
        the same as "mechanism_variance" and "mechanism_variance_by_chance" (None without mechanisms), "transfer",
        "sparsity", "probes", "neighbours", "calibration" and "patches", as described in the modules of
        these names; "notes": sentences on what could not be measured.
    """
    known = part.objects >= 0
    actions, objects = part.labels[known], part.objects[known]
    variance = variance_shares(part.delta[known], actions, objects)
    by_mechanism, by_mechanism_by_chance = mechanism_shares(part.delta, part.labels, part.mechanisms)
    result: dict[str, Any] = {
        "n": len(part),
        "dimensions": part.delta.shape[1],
        "cosines": measure_cosines(part),
        "opposites": measure_opposites(part, seed=SEED),
        "variance": variance,
        "variance_by_chance": variance and shares_by_chance(actions, objects),
        "mechanism_variance": by_mechanism,
        "mechanism_variance_by_chance": by_mechanism_by_chance,
        "transfer": measure_transfer(part, seed=SEED),
        "sparsity": measure_sparsity(part),
        "probes": measure_probes(part, seed=SEED),
        "neighbours": measure_neighbours(part, train),
        "calibration": measure_calibration(part),
        "patches": measure_patches(part, seed=SEED),
    }
    result["notes"] = _notes(part, result)
    return result


def summary_table(geometry: Mapping[str, Any]) -> str:
    """The figures that every table shows, as Markdown: a row for each, a column for each split.

    Args:
        geometry: what `measure` returned.
    """
    splits: Mapping[str, Any] = geometry["splits"]
    with_patches = any(values.get("patches") for values in splits.values())
    lines = [["", *map(split_title, splits)], ["---", *("---:" for _ in splits)]]
    lines.append(["pairs", *(str(one["n"]) for one in splits.values())])
    lines += [
        [title, *(shown(measured(values, place)) for values in splits.values())]
        for title, place in MEASURES.items()
        if with_patches or not place.startswith("patches.")
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def notes_by_text(geometry: Mapping[str, Any]) -> dict[str, list[str]]:
    """Each note once, with the splits that it applies to."""
    found: dict[str, list[str]] = {}
    for name, values in geometry["splits"].items():
        for note in values["notes"]:
            found.setdefault(note, []).append(name)
    return found


def _check(path: Path, part: DeltaSet) -> None:
    """Refuse numbers that cannot be measured."""
    wrong = ~(np.isfinite(part.delta).all(axis=1) & np.isfinite(part.states).all(axis=(1, 2)))
    # A score of -inf is a probability of 0 and allowed, unless the row has no other score.
    wrong |= np.isnan(part.logits).any(axis=1) | ~np.isfinite(part.logits.max(axis=1, initial=-np.inf))
    if part.patch_delta is not None:
        wrong |= ~np.isfinite(part.patch_delta).all(axis=(1, 2))
    if wrong.any():
        raise ValueError(
            f"{path}: {wrong.sum()} of {len(part)} pairs of split {part.split!r} have deltas, states or scores that "
            "are not finite, so the training diverged: lower the learning rate and train again."
        )


def _notes(part: DeltaSet, result: Mapping[str, Any]) -> list[str]:
    notes = []
    if result["opposites"] is None:
        notes.append("This split has no two opposite actions, so there is no anti-parallelism to measure.")
    elif result["opposites"]["smallest_p"] > 0.05:
        number = result["opposites"]["permutations"]
        arrangements = "arrangement" if number == 1 else "arrangements"
        notes.append(f"With {number} possible {arrangements} of the actions, p cannot fall below {1 / number:.2f}.")
    if result["variance"] is None and (part.objects < 0).all():
        notes.append("The object of every pair is unknown, so there are no shares of variance.")
    elif result["variance"] is None:
        notes.append("The deltas do not vary, so there are no shares of variance.")
    if result["transfer"] is None:
        notes.append("No action occurs on two objects, so generalisation to an object held out cannot be measured.")
    if result["sparsity"] is None:
        notes.append("All deltas are zero or have one dimension, so there is no sparsity to measure.")
    for name in ("object", "scene"):
        if result["probes"][name] is None:
            notes.append(f"Fewer than two {name}s have {FOLDS} pairs each, so no probe can read the {name}.")
    if result["neighbours"] is None:
        notes.append("There is no other pair to compare with, so k-NN and prototypes cannot be measured.")
    elif result["neighbours"]["bank"] != TRAIN_SPLIT:
        notes.append(
            "The file has no training pairs: k-NN and prototypes compare each pair with the rest of its split."
        )
    unknown = int((part.objects < 0).sum())
    if unknown:
        notes.append(f"{unknown} pairs have an unknown object and are left out of variance, generalisation and probes.")
    if result["patches"] is not None and part.patch_delta is None:
        notes.append("The file has no deltas of single patches: evaluate the checkpoint again to measure them.")
    return notes


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS) + 0.0  # no -0.0
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def main(arguments: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m modeling_cde.analysis.measures.geometry", description="Measure the geometry of a run's deltas."
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder with deltas.safetensors")
    for run in parser.parse_args(arguments).runs:
        try:
            with as_they_were_written(run):
                geometry = measure(run)
        except (ValueError, OSError, ModuleNotFoundError) as error:
            sys.exit(f"{parser.prog}: {error}")
        print(f"{summary_table(geometry)}\n")
        for note, splits in notes_by_text(geometry).items():
            print(f"- {note} ({', '.join(map(split_title, splits))})")
        print(f"\n{deltas_path(run).parent / GEOMETRY_FILE} holds all figures.")


if __name__ == "__main__":
    with in_one_sentence("modeling_cde.analysis.measures.geometry"):
        main()
