"""Result JSONs with known numbers, as the runner of the benchmarks writes them."""

import json
from pathlib import Path
from typing import Any

SPLITS = ("validation", "test", "validation_comp", "test_comp", "validation_syst", "test_syst")


def entry(accuracy: float, n: int = 200) -> dict[str, Any]:
    """The metrics of a split."""
    return {
        "n": n,
        "accuracy": accuracy,
        "macro_accuracy": accuracy / 2,
        "cross_entropy": 1 - accuracy,
        "accuracy_by_action": {"open": accuracy},
        "accuracy_by_object": {"box": accuracy},
        "opposite_error_share": None,
        "never_predicted": [],
    }


def record(
    method: str = "cde", seed: int = 0, accuracy: float = 0.5, last: float | None = 0.4, **changes: Any
) -> dict[str, Any]:
    """One result: `accuracy` on every split of the selected checkpoint and `last` on those of the last epoch.

    Splits other than "test" score a tenth less, so that there is a gap. `changes` replaces entries.
    """
    setting = changes.get("setting", {})
    shift = changes.get("shift", "both")
    told = "".join(f"-{name}{value}".replace("/", "_") for name, value in setting.items())
    names = [name for name in SPLITS if shift == "both" or name in ("validation", "test") or name.endswith(shift)]

    def selection(score: float, epoch: float) -> dict[str, Any]:
        splits = {name: entry(score if name == "test" else score - 0.1) for name in names}
        criterion = "eval_validation_cross_entropy"
        return {"epoch": epoch, "step": int(27 * epoch), "criterion": criterion, "splits": splits, "gap": {}}

    return {
        "run": f"{method}{told}-{shift}-seed{seed}",
        "method": method,
        "title": f"title of {method}",
        "setting": setting,
        "view": "single",
        "shift": shift,
        "seed": seed,
        "split_seed": None,
        "selected": selection(accuracy, 7.0),
        "last": None if last is None else selection(last, 8.0),
        "geometry": None,
        "minutes": 4.0,
        "command": f"accelerate launch train.py --method {method} --seed {seed}",
        "data": "data/rooms",
        "manifests": {"single_comp": "a" * 64, "single_syst": "b" * 64},
        "commit": "abc1234",
        "date": "2026-11-22",
        "machine": {"cpu": "a processor", "cores": 2, "device": "cpu"},
        "environment": {"torch": "2.13.0"},
        "training": {
            "arguments": {"method": method, "seed": seed, "learning_rate": 0.001, "output_dir": f"runs/{seed}"}
        },
        **changes,
    }


def write(folder: Path, *records: dict[str, Any]) -> Path:
    """One file for each record."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in records:
        (folder / f"{one['run']}.json").write_text(json.dumps(one), encoding="utf-8")
    return folder
