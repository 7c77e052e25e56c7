"""Whether runs may be put in one table: what they were made from, and every way in which they differ beside the method.

Nothing is left out here; each disagreement becomes a sentence below the table.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..results import REPEATED, RULES, Result, setting_key, setting_value
from .pairing import describe_setting


def provenance(results: Sequence[Result]) -> str:
    """One sentence: how many runs, when, on what hardware, from which commit and data."""
    dates = sorted({str(result.record["date"]) for result in results if result.record.get("date")})
    days = "" if not dates else f" of {dates[0]}" + (f" to {dates[-1]}" if len(dates) > 1 else "")
    minutes = [float(result.record["minutes"]) for result in results if result.record.get("minutes") is not None]
    spent = f" ({sum(minutes) / 60:.1f} hours of training and testing)" if minutes else ""
    commits = sorted({result.commit or "not recorded" for result in results})
    machines = sorted({describe_machine(result.record.get("machine")) for result in results})
    data = sorted({str(result.record.get("data") or "not recorded") for result in results})
    runs = f"{len(results)} runs" if len(results) != 1 else "1 run"
    return (
        f"{runs}{days}{spent}; hardware: {'; '.join(machines)}; commit: {', '.join(commits)}; data: {', '.join(data)}."
    )


def describe_machine(machine: Any) -> str:
    """A machine of a record in words."""
    if not isinstance(machine, Mapping):
        return str(machine or "not recorded")
    cpu, cores, device = (machine.get(key) for key in ("cpu", "cores", "device"))
    device = None if str(device).lower() in ("cpu", str(cpu).lower()) else device
    parts = [str(cpu)] if cpu else []
    parts += [f"{cores} cores"] if cores else []
    parts += [str(device)] if device else []
    return ", ".join(parts) or "not recorded"


def disagreements(results: Sequence[Result]) -> list[str]:
    """Every way in which runs differ that their method, setting and seed do not tell.

    Args:
        results: the runs of one table.

    Returns:
        Sentences, the gravest first; none for runs that may be compared without reserve.
    """
    found = [*_chosen_by_test(results), *_tested_on_other_pairs(results)]
    found += [*_several("criterion of selection", results, lambda run: run.selected.criterion)]
    found += [*_several("commit", results, lambda run: run.commit or None)]
    found += [*_several("hardware", results, lambda run: describe_machine(run.record.get("machine")))]
    found += [*_arguments_within_rows(results), *_recorded_troubles(results)]
    unknown = [result.run for result in results if not result.manifests]
    if unknown:
        found.append(
            f"No manifest of a split is recorded for {_names(unknown, len(results))}: equal pairs are assumed."
        )
    return found


def _chosen_by_test(results: Sequence[Result]) -> Iterable[str]:
    for rule in RULES:
        wrong = [run.run for run in results if "test" in str((run.selection(rule) or run.selected).criterion)]
        if wrong:
            yield f"Chosen by a test split, so no measure of anything: {_names(wrong, len(results))}."
            return


def _tested_on_other_pairs(results: Sequence[Result]) -> Iterable[str]:
    """Within one place (view, shift, split seed) and setting this is an error; between settings it has to be known."""
    places: dict[tuple[Any, ...], dict[str, dict[str, list[Result]]]] = {}
    for run in results:
        tested = {split: run.pairs(split) for split in run.selected.splits if split.startswith("test")}
        key = json.dumps([dict(run.manifests), tested], sort_keys=True)
        place = places.setdefault((run.view, run.shift, run.split_seed), {})
        place.setdefault(setting_key(run.setting), {}).setdefault(key, []).append(run)
    between = False
    for (view, shift, split_seed), settings in places.items():
        for kinds in settings.values():
            if len(kinds) > 1:
                groups = "; ".join(", ".join(run.run for run in runs) for runs in kinds.values())
                where = f"{view} {shift}, split {split_seed}"
                yield f"Not the same pairs, so not to be compared ({where}; manifests or numbers differ): {groups}."
        # Methods without the setting (vanilla has no temperature) stand outside of the grid.
        inside = [set(kinds) for key, kinds in settings.items() if key != "{}"]
        between = between or any(kinds != inside[0] for kinds in inside)
    if between:
        yield "Runs with different settings were tested on different pairs: compare methods within a setting only."


def _several(what: str, results: Sequence[Result], get: Callable[[Result], str | None]) -> Iterable[str]:
    groups: dict[str, list[str]] = {}
    for run in results:
        groups.setdefault(get(run) or "not recorded", []).append(run.run)
    if len(groups) > 1:
        told = "; ".join(f"{value}: {_names(runs, len(results))}" for value, runs in groups.items())
        yield f"The {what} is not the same for all runs. {told}."


def _arguments_within_rows(results: Sequence[Result]) -> Iterable[str]:
    rows: dict[tuple[str, str], list[Result]] = {}
    for run in results:
        rows.setdefault((run.method, setting_key(run.setting)), []).append(run)
    for (method, _), runs in rows.items():
        for name, values in varying_arguments(runs).items():
            told = ", ".join(f"{run.run}: {value}" for run, value in zip(runs, values, strict=True))
            setting = describe_setting(runs[0].setting)
            row = f"{method} ({setting})" if setting else method
            yield f"The runs of {row} differ in {name} ({told}), so their spread is not that of seeds alone."


def varying_arguments(runs: Sequence[Result]) -> dict[str, list[str]]:
    """Training arguments that are not the same for all runs.

    Args:
        runs: in the order of the values that come back.

    Returns:
        Argument -> its value in each run as text, "–" where it was not recorded. Left out: seeds, folders, and what the
        columns of a table tell.
    """
    every = [(run.record.get("training") or {}).get("arguments") or {} for run in runs]
    names = sorted({name for arguments in every for name in arguments} - REPEATED)
    texts = {name: [setting_value(one[name]) if name in one else "–" for one in every] for name in names}
    return {name: values for name, values in texts.items() if len(set(values)) > 1}


def _recorded_troubles(results: Sequence[Result]) -> Iterable[str]:
    """What the runner wrote down about single runs."""
    changed: dict[str, list[str]] = {}
    for run in results:
        files = run.record.get("uncommitted")
        if files:
            changed.setdefault(", ".join(map(str, files)) if isinstance(files, list) else str(files), []).append(
                run.run
            )
        if run.record.get("geometry_problem"):
            yield f"{run.run} has no geometry: {str(run.record['geometry_problem']).rstrip('.')}."
        twice = (run.record.get("training") or {}).get("pairs_used_twice")
        if twice:
            counts = ", ".join(f"{number} of {split}" for split, number in twice.items())
            yield f"{run.run}: pairs of a test split are in a validation split, too ({counts})."
    for files, runs in changed.items():
        yield f"The code had changes that were not committed ({files}): {_names(runs, len(results))}."


def _names(runs: Sequence[str], of: int) -> str:
    """Names in a row; "all runs" where they are as many, and a number in place of what exceeds six."""
    if len(runs) == of:
        return "all runs"
    return ", ".join(runs) if len(runs) <= 6 else f"{', '.join(runs[:5])} and {len(runs) - 5} more"
