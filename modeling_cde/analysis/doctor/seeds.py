"""Runs that differ in their seed: which belong together, and how far their accuracies lie apart."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..delta_set import TRAIN_SPLIT
from .findings import Finding
from .signs import seed_variance


def examine_runs(results: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Look for signs that only several runs together show: a large spread over seeds.

    Result files of a benchmark, or contents of `metrics.json`, are compared if they agree in method, setting, view and
    shift; of each seed the first one counts. There is at most one finding for each such group, of the split with the
    largest spread.
    """
    found = []
    for by_seed in group_by_seed(results):
        runs = [by_seed[seed] for seed in sorted(by_seed)]
        splits = [run["selected"]["splits"] for run in runs]
        common_splits = [name for name in splits[0] if all(name in other for other in splits) and name != TRAIN_SPLIT]
        accuracies = {name: [float(split[name]["accuracy"]) for split in splits] for name in common_splits}
        setting = ", ".join(f"{key} {value}" for key, value in (runs[0].get("setting") or {}).items())
        name = str(runs[0].get("title") or runs[0].get("method")) + (f" ({setting})" if setting else "")
        differing = [key for key in ("split_seed", "commit") if len({str(run.get(key)) for run in runs}) > 1]
        note = f" (the runs differ in {' and '.join(differing)}, too)" if differing else ""
        found.append(seed_variance(accuracies, name, note))
    return [finding for finding in found if finding]


def group_by_seed(results: Sequence[Mapping[str, Any]]) -> list[dict[int, Mapping[str, Any]]]:
    """The results by what they have in common, those of a group by seed."""
    groups: dict[str, dict[int, Mapping[str, Any]]] = {}
    for raw in results:
        result = as_result(raw)
        common = [result.get(key) for key in ("method", "setting", "view", "shift", "arguments")]
        groups.setdefault(json.dumps(common, sort_keys=True), {}).setdefault(int(result["seed"]), result)
    return list(groups.values())


def as_result(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """A result as benchmarks keep it, made of the contents of a `metrics.json` where it is one.

    Raises:
        ValueError: if it is neither.
    """
    if "selected" in raw and "seed" in raw:
        return raw
    try:
        arguments = dict(raw["training"]["arguments"])
        seed = arguments.pop("seed")
        method = arguments.pop("method")
        known = {"method": method, "seed": seed, "view": arguments.pop("view"), "shift": arguments.pop("shift")}
        return {**known, "commit": raw.get("commit"), "arguments": arguments, "selected": {"splits": raw["splits"]}}
    except (KeyError, TypeError):
        raise ValueError("neither a benchmark's result nor a metrics.json of train.py: it names no seed.") from None
