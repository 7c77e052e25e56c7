"""What one run of a benchmark measured, read from its JSON, from a run's folder, or from a kept `metrics.json`.

    load_results("benchmarks/results/rooms")        # one JSON per run, as benchmarks.causal_triplet writes them
    load_results("runs/quickstart", "runs/vanilla")  # output folders of train.py

Reading checks what every table relies on, and says in one sentence what is wrong with which file.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..methods import METHODS

METRICS_FILE = "metrics.json"
GEOMETRY_FILE = "geometry.json"

# The two rules by which a checkpoint of a run is chosen -> how they are called. Neither looks at a test split.
RULES = {"selected": "validation-selected", "last": "last epoch"}

# In the order of the rows of a table; what begins with none of these names follows in alphabetical order.
METHOD_TITLES = {name: method.title for name, method in METHODS.items()}

SPLIT_TITLES = {
    "test": "IID",
    "test_comp": "OOD compositional",
    "test_syst": "OOD systematic",
    "validation_comp": "validation compositional",
    "validation_syst": "validation systematic",
}

# Arguments that may differ among runs of one row: what is repeated, and where it is written or read.
REPEATED = frozenset({"seed", "output_dir", "data", "rooms_folder", "rooms_workers", "shift", "view", "method"})


@dataclass(frozen=True)
class Selection:
    """The checkpoint that one rule chose, and what it scored.

    Attributes:
        epoch: when it was saved, or None where that was not recorded.
        step: the same in optimizer steps.
        criterion: what chose it, such as "eval_validation_cross_entropy"; None where that was not recorded.
        splits: split -> its entry in `metrics.json` ("n", "accuracy", ...).
    """

    epoch: float | None
    step: int | None
    criterion: str | None
    splits: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
        run: its name, unique among the results.
        method: key of the method, which the reference is named by.
        title: the method for readers.
        setting: what a grid varied beside method and seed, by flag; empty in a main table.
        view: "single" or "multi".
        shift: "comp", "syst" or "both": what the run was trained for and tested on.
        seed: of the training; runs are paired by it.
        split_seed: of the split; runs are paired by it, too.
        selected: the checkpoint that the validation split chose.
        last: that of the last epoch, or None where it was not evaluated.
        geometry: `geometry.json` without matrices, or None.
        manifests: name -> SHA-256 of the split manifests; empty where they were not recorded.
        commit: of the code, "" where it was not recorded.
        record: the JSON itself, with everything else ("minutes", "command", "machine", "training", ...).
    """

    run: str
    method: str
    title: str
    setting: Mapping[str, Any]
    view: str
    shift: str
    seed: int
    split_seed: int
    selected: Selection
    last: Selection | None
    geometry: Mapping[str, Any] | None
    manifests: Mapping[str, str]
    commit: str
    record: Mapping[str, Any] = field(repr=False)

    def selection(self, rule: str) -> Selection | None:
        """What `rule` ("selected" or "last") chose."""
        return self.selected if rule == "selected" else self.last

    def value(self, split: str, rule: str, metric: str = "accuracy") -> float | None:
        """One figure of a run.

        Args:
            split: name of a split.
            rule: "selected" or "last".
            metric: a number in the split's entry, or "gap": accuracy on "test" minus that on the split, in [-1, 1].

        Returns:
            The figure, None where the run has none.
        """
        selection = self.selection(rule)
        if selection is None or split not in selection.splits:
            return None
        if metric == "gap":
            within = selection.splits.get("test")
            return None if within is None or split == "test" else within["accuracy"] - self.value(split, rule)
        figure = selection.splits[split].get(metric)
        return None if figure is None or not math.isfinite(figure) else float(figure)

    def pairs(self, split: str) -> int | None:
        """How many pairs of a split the run was tested on, None where that was not recorded."""
        number = self.selected.splits.get(split, {}).get("n")
        return None if number is None else int(number)


def from_record(record: Mapping[str, Any], source: str) -> Result:
    """A result from its JSON.

    Args:
        record: what the JSON holds.
        source: the file, for messages.

    Raises:
        ValueError: if an entry is missing or cannot be.
    """
    try:
        for name in ("seed", "split_seed"):
            if not isinstance(record.get(name) or 0, int):
                raise TypeError(f"{name} is no integer")
        return Result(
            run=str(record["run"]),
            method=str(record["method"]),
            title=str(record.get("title") or METHOD_TITLES.get(record["method"], record["method"])),
            setting=dict(record.get("setting") or {}),
            view=str(record["view"]),
            shift=str(record["shift"]),
            seed=int(record["seed"]),
            split_seed=int(record.get("split_seed") or 0),
            selected=_selection(record["selected"], source),
            last=None if record.get("last") is None else _selection(record["last"], source),
            geometry=record.get("geometry"),
            manifests=dict(record.get("manifests") or {}),
            commit=str(record.get("commit") or ""),
            record=record,
        )
    except KeyError as error:
        raise ValueError(
            f"{source} has no entry {error.args[0]!r}, so it is no whole result: make it again, or leave it out."
        ) from error
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{source} is not in the format of a result: make it again, or leave it out.") from error


def _selection(entry: Mapping[str, Any], source: str) -> Selection:
    for split, values in entry["splits"].items():
        accuracy = values["accuracy"]
        if not 0 <= accuracy <= 1:
            raise ValueError(f"{source}: the accuracy on {split} is {accuracy}, which is no share in [0, 1].")
    return Selection(entry.get("epoch"), entry.get("step"), entry.get("criterion"), entry["splits"])


def from_metrics(metrics: Mapping[str, Any], name: str, source: str) -> dict[str, Any]:
    """The record of a run that `train.py` made by itself, from its `metrics.json`.

    Raises:
        ValueError: if the file tells no method, seed or splits, as that of `modeling_cde.evaluation` alone does not.
    """
    training = metrics.get("training") or {}
    arguments = training.get("arguments") or {}
    missing = [key for key in ("method", "seed") if key not in arguments]
    if missing or "splits" not in metrics:
        absent = "no splits" if not missing else f"neither of {', '.join(missing)} in training.arguments"
        raise ValueError(f"{source} has {absent}: give the output folder of train.py, or a result of a benchmark.")
    chosen = training.get("selected") or {}
    device = (metrics.get("environment") or {}).get("device")
    return {
        "run": name,
        "method": arguments["method"],
        "view": arguments.get("view", "single"),
        "shift": arguments.get("shift", "both"),
        "seed": arguments["seed"],
        "selected": {"criterion": arguments.get("metric_for_best_model"), **chosen, "splits": metrics["splits"]},
        "minutes": training.get("minutes"),
        "command": training.get("command"),
        "data": training.get("data"),
        "commit": metrics.get("commit", ""),
        "machine": {"cores": (metrics.get("environment") or {}).get("cores"), "device": device},
        "environment": metrics.get("environment") or {},
        "training": training,
    }


def _from_run_folder(folder: Path) -> dict[str, Any]:
    record = from_metrics(_read(folder / METRICS_FILE), folder.name, str(folder / METRICS_FILE))
    if (folder / "last" / METRICS_FILE).is_file():
        last = _read(folder / "last" / METRICS_FILE)
        record["last"] = {**((last.get("training") or {}).get("selected") or {}), "splits": last["splits"]}
    if (folder / GEOMETRY_FILE).is_file():
        record["geometry"] = _read(folder / GEOMETRY_FILE)
    copies = sorted(folder.glob("split_*.json"))
    record["manifests"] = {
        path.name.removeprefix("split_"): hashlib.sha256(path.read_bytes()).hexdigest() for path in copies
    }
    return record


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not readable as JSON ({error}): it may have been cut off; make it again."
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no result, which is a JSON object: leave it out.")
    return content


def load_results(*sources: str | Path) -> list[Result]:
    """Read results.

    Args:
        *sources: each a folder of result JSONs, one such JSON, the output folder of a run, or a folder of those.

    Returns:
        The results, ordered by method, setting, shift, split and seed. The setting of runs that no benchmark made is
        made of the training arguments in which the runs of one method differ, so that they are not taken for seeds.

    Raises:
        ValueError: if there is no result, a file cannot be read, or two are of the same method, setting and seed.
        FileNotFoundError: if a source does not exist.
    """
    made: list[Result] = []  # by a benchmark, which tells the setting
    plain: list[dict[str, Any]] = []
    for source in map(Path, sources):
        if not source.exists():
            raise FileNotFoundError(f"{source} does not exist: give a folder of results or the output folder of a run.")
        if source.is_dir() and (source / METRICS_FILE).is_file():
            plain.append(_from_run_folder(source))
            continue
        for path in sorted(source.glob("*.json")) if source.is_dir() else [source]:
            record = _read(path)
            if "selected" in record:
                made.append(from_record(record, str(path)))
            elif "splits" in record:
                plain.append(from_metrics(record, path.stem, str(path)))
        if source.is_dir():
            plain += [_from_run_folder(path.parent) for path in sorted(source.glob(f"*/{METRICS_FILE}"))]
    _tell_settings(plain)
    results = made + [from_record(record, record["run"]) for record in plain]
    if not results:
        places = ", ".join(map(str, sources))
        raise ValueError(
            f"{places}: no result is there; run a benchmark first, or give the output folders of train.py."
        )
    _refuse_repeated(results)
    return sorted(results, key=_order)


def _tell_settings(records: Sequence[dict[str, Any]]) -> None:
    """Give each record the arguments in which the runs of its method differ as its setting."""
    for method in {record["method"] for record in records}:
        runs = [record for record in records if record["method"] == method]
        arguments = [record["training"]["arguments"] for record in runs]
        keys = {key for one in arguments for key in one} - REPEATED
        varied = sorted(key for key in keys if len({json.dumps(one.get(key), sort_keys=True) for one in arguments}) > 1)
        for record, one in zip(runs, arguments, strict=True):
            record["setting"] = {key: one.get(key) for key in varied}


def _refuse_repeated(results: Sequence[Result]) -> None:
    seen: dict[tuple[Any, ...], str] = {}
    for result in results:
        key = (result.method, setting_key(result.setting), result.view, result.shift, result.seed, result.split_seed)
        if key in seen:
            raise ValueError(
                f"{seen[key]} and {result.run} are both {result.method} with seed {result.seed} and equal settings: "
                "compare one of them."
            )
        seen[key] = result.run


def setting_key(setting: Mapping[str, Any]) -> str:
    """A setting as text that is equal for equal settings."""
    return json.dumps(setting, sort_keys=True)


def setting_value(value: Any) -> str:
    """The value of a setting as a table shows it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return f"{value:g}"


def _order(result: Result) -> tuple[Any, ...]:
    # A variant such as cde_no_sparsity follows its method.
    place = max(
        (i for i, name in enumerate(METHOD_TITLES) if result.method.startswith(name)), default=len(METHOD_TITLES)
    )
    # Numbers in their own order, not as text: 2 before 10.
    values = [
        (0, value, "") if isinstance(value, (int, float)) else (1, 0, setting_value(value))
        for _, value in sorted(result.setting.items())
    ]
    return place, result.method, values, result.view, result.shift, result.split_seed, result.seed
