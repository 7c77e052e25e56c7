"""What each run measured, read from the JSON of a benchmark, from a run's folder, or from a kept `metrics.json`.

    load_results("benchmarks/results/rooms")        # one JSON per run, as benchmarks.causal_triplet writes them
    load_results("runs/quickstart", "runs/vanilla")  # output folders of train.py

Reading checks what every table relies on; an error is one sentence that says what is wrong with which file.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..models.methods import METHODS
from ..whole_files import read_object

METRICS_FILE = "metrics.json"
GEOMETRY_FILE = "geometry.json"

# The two rules that choose a checkpoint of a run -> their names in tables. Neither looks at a test split.
RULES = {"selected": "validation-selected", "last": "last epoch"}

# In the order of the rows of a table; methods that begin with none of these names follow in alphabetical order.
METHOD_TITLES = {name: method.title for name, method in METHODS.items()}

# Arguments that may differ between runs of one row: seeds, folders and the split.
REPEATED = frozenset({"seed", "output_dir", "data", "rooms_folder", "rooms_workers", "shift", "view", "method"})


@dataclass(frozen=True)
class Selection:
    """The checkpoint that one rule chose, and its scores; None for what was not recorded.

    Attributes:
        epoch: when it was saved.
        step: the same in optimizer steps.
        criterion: the metric that chose it, such as "eval_validation_cross_entropy".
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
        method: key of the method.
        title: the name of the method in tables.
        setting: what a grid varied besides method and seed, by flag; empty in a main table.
        view: "single" or "multi".
        shift: "comp", "syst", "mech", "both" or "none": what the run was trained for and tested on.
        seed: seed of the training; runs are paired by it.
        split_seed: seed of the split; runs are paired by it, too.
        selected: the checkpoint that the validation split chose.
        last: the checkpoint of the last epoch, or None where it was not evaluated.
        geometry: `geometry.json` without matrices, or None.
        manifests: name -> SHA-256 of the split manifests; empty where they were not recorded.
        commit: commit of the code, "" where it was not recorded.
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
            metric: a number in the split's entry, or "gap": accuracy on "test" minus accuracy on the split.

        Returns:
            The figure, or None where the run lacks it.
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
        """Number of pairs of a split that the run was tested on, None where that was not recorded."""
        number = self.selected.splits.get(split, {}).get("n")
        return None if number is None else int(number)


def from_record(record: Mapping[str, Any], source: str) -> Result:
    """A result from its JSON.

    Args:
        record: what the JSON holds.
        source: the file, for messages.

    Raises:
        ValueError: if an entry is missing or invalid.
    """
    try:
        for name in ("seed", "split_seed"):
            if not isinstance(record.get(name) or 0, int):
                raise TypeError(f"{name} is not an integer")
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
            f"{source} has no entry {error.args[0]!r}, so the result is incomplete: make it again, or leave it out."
        ) from error
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{source} is not in the format of a result: make it again, or leave it out.") from error


def _selection(entry: Mapping[str, Any], source: str) -> Selection:
    for split, values in entry["splits"].items():
        accuracy = values["accuracy"]
        if not 0 <= accuracy <= 1:
            raise ValueError(f"{source}: the accuracy on {split} is {accuracy}, which is not in [0, 1]: make it again.")
    return Selection(entry.get("epoch"), entry.get("step"), entry.get("criterion"), entry["splits"])


def from_metrics(metrics: Mapping[str, Any], name: str, source: str) -> dict[str, Any]:
    """The record of a run of `train.py`, from its `metrics.json`.

    Raises:
        ValueError: if method, seed or splits are missing, as in a file that only `modeling_cde.evaluation` wrote.
    """
    training = metrics.get("training") or {}
    arguments = training.get("arguments") or {}
    missing = [f"training.arguments.{key}" for key in ("method", "seed") if key not in arguments]
    missing += [] if "splits" in metrics else ["splits"]
    if missing:
        raise ValueError(
            f"{source} lacks {', '.join(missing)}: give the output folder of train.py, or a result of a benchmark."
        )
    chosen, environment = training.get("selected") or {}, metrics.get("environment") or {}
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
        "machine": {"cores": environment.get("cores"), "device": environment.get("device")},
        "environment": environment,
        "training": training,
    }


def _from_run_folder(folder: Path) -> dict[str, Any]:
    record = from_metrics(read_object(folder / METRICS_FILE), folder.name, str(folder / METRICS_FILE))
    if (folder / "last" / METRICS_FILE).is_file():
        last = read_object(folder / "last" / METRICS_FILE)
        record["last"] = {**((last.get("training") or {}).get("selected") or {}), "splits": last["splits"]}
    if (folder / GEOMETRY_FILE).is_file():
        record["geometry"] = read_object(folder / GEOMETRY_FILE)
    record["manifests"] = {
        path.name.removeprefix("split_"): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("split_*.json"))
    }
    return record


def load_results(*sources: str | Path) -> list[Result]:
    """Read results.

    Args:
        *sources: each a folder of result JSONs, one such JSON, the output folder of a run, or a folder of those.

    Returns:
        The results, ordered by method, setting, shift, split and seed. The setting of runs outside of a benchmark is
        the training arguments in which the runs of one method differ, so that they are not averaged as if only the
        seed differed.

    Raises:
        ValueError: if there is no result, a file cannot be read, or two have the same method, setting and seed.
        FileNotFoundError: if a source does not exist.
    """
    made: list[Result] = []  # by a benchmark, which records the setting
    plain: list[dict[str, Any]] = []
    for source in map(Path, sources):
        if not source.exists():
            raise FileNotFoundError(f"{source} does not exist: give a folder of results or the output folder of a run.")
        if source.is_dir() and (source / METRICS_FILE).is_file():
            plain.append(_from_run_folder(source))
            continue
        for path in sorted(source.glob("*.json")) if source.is_dir() else [source]:
            record = read_object(path)
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
        raise ValueError(f"{places}: no results found; run a benchmark first, or give the output folders of train.py.")
    _refuse_repeated(results)
    return sorted(results, key=_order)


def _tell_settings(records: Sequence[dict[str, Any]]) -> None:
    """Set each record's setting to the arguments in which the runs of its method differ."""
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
                "leave one of them out."
            )
        seen[key] = result.run


def setting_key(setting: Mapping[str, Any]) -> str:
    """A setting as text that is equal for equal settings."""
    return json.dumps(setting, sort_keys=True)


def setting_value(value: Any) -> str:
    """The value of a setting as tables show it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return f"{value:g}"


def describe_setting(setting: Mapping[str, Any]) -> str:
    """A setting in words, empty for none."""
    return ", ".join(f"{name} {setting_value(value)}" for name, value in sorted(setting.items()))


def by_row(results: Sequence[Result]) -> list[list[Result]]:
    """The runs of each row of a table, which is a method with one setting, in the order of their first runs."""
    rows: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        rows.setdefault((result.method, setting_key(result.setting)), []).append(result)
    return list(rows.values())


def name_row(title: str, setting: Mapping[str, Any]) -> str:
    """The title of a method with its setting."""
    return f"{title} ({describe_setting(setting)})" if setting else title


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
