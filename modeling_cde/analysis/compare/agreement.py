"""Whether runs may be compared in one table: where they come from, and every difference besides the method.

Each disagreement becomes a sentence in the report.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..results import REPEATED, RULES, Result, by_row, name_row, setting_key, setting_value


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
    parts = (cpu, cores and f"{cores} cores", device)
    return ", ".join(str(part) for part in parts if part) or "not recorded"


def disagreements(results: Sequence[Result]) -> list[str]:
    """Every difference between runs besides their method, setting and seed.

    Args:
        results: the runs of one table.

    Returns:
        Sentences, the most serious first; none for runs that can be compared without reservation.
    """
    found = [*_chosen_by_test(results), *_tested_on_other_pairs(results)]
    found += [*_several("criterion of selection", results, lambda run: run.selected.criterion)]
    found += [*_several("commit", results, lambda run: run.commit or None)]
    found += [*_several("hardware", results, lambda run: describe_machine(run.record.get("machine")))]
    found += [*_arguments_within_rows(results), *_recorded_troubles(results)]
    if unknown := [result.run for result in results if not result.manifests]:
        names = _names(unknown, len(results))
        found.append(f"No split manifest is recorded for {names}: their pairs are assumed equal.")
    return found


def _chosen_by_test(results: Sequence[Result]) -> Iterable[str]:
    for rule in RULES:
        wrong = [run.run for run in results if "test" in str((run.selection(rule) or run.selected).criterion)]
        if wrong:
            yield f"Chosen by a test split, so the scores are not valid: {_names(wrong, len(results))}."
            return


def _tested_on_other_pairs(results: Sequence[Result]) -> Iterable[str]:
    """Within one place (view, shift, split seed) and setting this is an error; between settings readers must know."""
    places: Any = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))  # place -> setting -> pairs -> runs
    for run in results:
        tested = {split: run.pairs(split) for split in run.selected.splits if split.startswith("test")}
        key = json.dumps([dict(run.manifests), tested], sort_keys=True)
        places[run.view, run.shift, run.split_seed][setting_key(run.setting)][key].append(run.run)
    between = False
    for (view, shift, split_seed), settings in places.items():
        for kinds in settings.values():
            if len(kinds) > 1:
                groups = "; ".join(", ".join(runs) for runs in kinds.values())
                where = f"{view} {shift}, split {split_seed}"
                yield f"Not the same pairs, so not comparable ({where}; manifests or sizes differ): {groups}."
        # Methods without the setting (vanilla has no temperature) are outside the grid.
        inside = [set(kinds) for key, kinds in settings.items() if key != "{}"]
        between = between or any(kinds != inside[0] for kinds in inside)
    if between:
        yield "Runs with different settings were tested on different pairs: only compare methods within a setting."


def _several(what: str, results: Sequence[Result], get: Callable[[Result], str | None]) -> Iterable[str]:
    groups: dict[str, list[str]] = defaultdict(list)
    for run in results:
        groups[get(run) or "not recorded"].append(run.run)
    if len(groups) > 1:
        told = "; ".join(f"{value}: {_names(runs, len(results))}" for value, runs in groups.items())
        yield f"The {what} is not the same for all runs. {told}."


def _arguments_within_rows(results: Sequence[Result]) -> Iterable[str]:
    for runs in by_row(results):
        for name, values in varying_arguments(runs).items():
            told = ", ".join(f"{run.run}: {value}" for run, value in zip(runs, values, strict=True))
            row = name_row(runs[0].method, runs[0].setting)
            yield f"The runs of {row} differ in {name} ({told}), so more than the seed causes their spread."


def varying_arguments(runs: Sequence[Result]) -> dict[str, list[str]]:
    """Training arguments that are not the same for all runs.

    Args:
        runs: in the order of the values that come back.

    Returns:
        Argument -> its value in each run as text, "–" where it was not recorded. Seeds, folders and what the columns
        of a table show are left out.
    """
    every = [(run.record.get("training") or {}).get("arguments") or {} for run in runs]
    names = sorted({name for arguments in every for name in arguments} - REPEATED)
    texts = {name: [setting_value(one[name]) if name in one else "–" for one in every] for name in names}
    return {name: values for name, values in texts.items() if len(set(values)) > 1}


def _recorded_troubles(results: Sequence[Result]) -> Iterable[str]:
    """What the benchmark recorded about single runs."""
    changed: dict[str, list[str]] = defaultdict(list)
    for run in results:
        files = run.record.get("uncommitted")
        if files:
            text = ", ".join(map(str, files)) if isinstance(files, list) else str(files)
            changed[text].append(run.run)
        if run.record.get("geometry_problem"):
            yield f"{run.run} has no geometry: {str(run.record['geometry_problem']).rstrip('.')}."
        twice = (run.record.get("training") or {}).get("pairs_used_twice")
        if twice:
            counts = ", ".join(f"{number} of {split}" for split, number in twice.items())
            yield f"{run.run}: a validation split also holds pairs of a test split ({counts})."
    for files, runs in changed.items():
        yield f"The code had uncommitted changes ({files}): {_names(runs, len(results))}."


def _names(runs: Sequence[str], of: int) -> str:
    """The names, "all runs" for all of them, and a number in place of those beyond six."""
    if len(runs) == of:
        return "all runs"
    return ", ".join(runs) if len(runs) <= 6 else f"{', '.join(runs[:5])} and {len(runs) - 5} more"
