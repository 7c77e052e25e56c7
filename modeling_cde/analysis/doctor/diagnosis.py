"""The doctor: signs of trouble in finished runs, one line each: what it saw, the number behind it, what to try.

    python -m modeling_cde.analysis.doctor runs/quickstart [runs/another ...]

reads `trainer_state.json`, `metrics.json` and `deltas.safetensors`, as many of them as there are. It also compares
several runs that differ only in their seed, or a folder of result files of a benchmark. The exit code is 1 if something
makes a result worthless, 2 if a folder cannot be read. What each sign means: docs/doctor.md.

It looks at validation splits, so that following its advice selects nothing on a test split; at a test split only if a
run has no validation split of that kind.
"""

import argparse
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...cli.verbs import called, command
from ...data.splits.titles import split_title
from ...whole_files import as_they_were_written, read_object
from ..delta_set import DELTAS_FILE, DeltaSet, load_delta_sets
from . import findings, signs
from .findings import Finding, Settings
from .seeds import as_result, examine_runs, group_by_seed
from .training_log import FEWEST_LOGS, TrainingLog, examine_log

STATE_FILE = "trainer_state.json"
METRICS_FILE = "metrics.json"


@dataclass
class Examination:
    """What was found in a run.

    Attributes:
        findings: the signs of trouble, errors first.
        checked: the signs that were looked for.
        skipped: the signs that could not be looked for, with the reason.
    """

    findings: list[Finding] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def examine(run: str | Path) -> list[Finding]:
    """The signs of trouble in a finished run; see `examine_run`."""
    return examine_run(run).findings


def examine_run(run: str | Path) -> Examination:
    """Look for every sign that the files of a run show: the output folder of train.py or of modeling_cde.evaluation.

    Raises:
        FileNotFoundError: if the folder has none of the three files.
        ValueError: if one of them cannot be read.
    """
    folder = Path(run)
    state, metrics = _read_json(folder / STATE_FILE), _read_json(folder / METRICS_FILE)
    sets = load_delta_sets(folder) if (folder / DELTAS_FILE).is_file() else {}
    if state is None and metrics is None and not sets:
        raise FileNotFoundError(
            f"{folder} has no {STATE_FILE}, {METRICS_FILE} or {DELTAS_FILE}: give the output folder of train.py or of "
            "modeling_cde.evaluation."
        )
    with as_they_were_written(folder):
        return _examined(state, metrics, sets)


def _examined(
    state: Mapping[str, Any] | None, metrics: Mapping[str, Any] | None, sets: Mapping[str, DeltaSet]
) -> Examination:
    """`examine_run`, given the contents of the files."""
    settings = settings_of(state, metrics, sets)
    splits: dict[str, Any] = (metrics or {}).get("splits", {})
    result = Examination()
    found: list[Finding | None] = []

    # Results of the checkpoint that was kept.
    broken = _not_finite(splits, sets)
    found += broken
    _note(result, findings.NOT_FINITE)
    usable = {name: values for name, values in sets.items() if len(values) and not _broken_arrays(values)}
    iid = next((name for name in ("validation", "test") if name in usable), None)
    if iid is not None:
        found += _of_arrays(usable[iid], settings)
    reason = "" if iid else f"no {DELTAS_FILE} with finite numbers of a split named validation or test"
    for sign in (findings.COLLAPSED, findings.VANISHED):
        _note(result, sign, reason)
    scored = next((name for name in ("validation", "test") if "never_predicted" in splits.get(name, {})), None)
    if scored is not None and iid is None and not any(broken):
        dead = splits[scored]["never_predicted"]
        found.append(signs.dead_classes(len(dead), settings.num_actions, scored, dead))
    _note(result, findings.DEAD_CLASSES, "" if iid or scored else "no scores of a split named validation or test")
    shifted_splits = shifted_pairs(splits)
    large = {name for name, values in splits.items() if values.get("n", math.inf) >= findings.FEWEST_IN_SPLIT}
    gaps = [pair for pair in shifted_splits if large.issuperset(pair)]
    for iid_name, shifted in gaps:
        accuracies = splits[iid_name]["accuracy"], splits[shifted]["accuracy"]
        found.append(signs.divergence(*accuracies, (iid_name, shifted), settings))
    reason = f"splits of fewer than {findings.FEWEST_IN_SPLIT} pairs" if shifted_splits else ""
    reason = reason or f"no shifted split beside its own in {METRICS_FILE}"
    _note(result, findings.DIVERGENCE, "" if gaps else reason)

    found += _of_sizes(splits, sets, settings, large)
    _note(result, findings.AT_CHANCE, "" if _counted(splits) else f"no accuracy of a split in {METRICS_FILE}")
    _note(result, findings.TOO_SMALL, "" if _counted(splits) else f"no accuracy of a split in {METRICS_FILE}")

    # The way there.
    history = (state or {}).get("log_history", [])
    log = TrainingLog(history)
    found += examine_log(history, settings, evaluations=not splits)
    steps = int((state or {}).get("global_step") or log.step)
    if steps and not log.broken():
        found.append(signs.too_short(log.values("cross_entropy"), steps, settings))
    _note(result, findings.TOO_SHORT, "" if steps else f"no steps in {STATE_FILE}")
    reason = "" if log.is_long_enough else f"fewer than {FEWEST_LOGS} logs of training"
    reason = f"no {STATE_FILE}" if state is None else reason
    if not reason:
        _note(result, findings.COLLAPSED)
    own = "" if settings.has("contrastive") else "the loss has no contrastive term"
    unknown = {
        findings.DOMINANT: "" if settings.weights else f"the weights of the loss are not in {METRICS_FILE}",
        findings.NO_POSITIVES: own,
        findings.IDLE_CONTRASTIVE: own
        or ("" if settings.contrastive_samples else f"the batch size is not in {METRICS_FILE}"),
        findings.NOT_LEARNING: "" if log.values("cross_entropy") else "the loss has no cross-entropy",
    }
    for sign, unknown_reason in unknown.items():
        _note(result, sign, reason or unknown_reason)
    for sign in (findings.DEAD_CLASSES, findings.DIVERGENCE):
        if not splits and log.evaluations:  # a run that was stopped before it was evaluated
            _note(result, sign)

    seen: set[tuple[str, str]] = set()
    for finding in sorted((item for item in found if item), key=lambda item: item.severity != "error"):
        if (finding.sign, finding.subject) not in seen:  # what results and log both show is reported once
            seen.add((finding.sign, finding.subject))
            result.findings.append(finding)
    return result


def settings_of(
    state: Mapping[str, Any] | None, metrics: Mapping[str, Any] | None, sets: Mapping[str, DeltaSet]
) -> Settings:
    """What a run's files say about its training."""
    arguments: dict[str, Any] = ((metrics or {}).get("training") or {}).get("arguments", {})
    splits: dict[str, Any] = (metrics or {}).get("splits", {})
    named = {name for split in splits.values() for name in split.get("accuracy_by_action", {})}
    actions = next((len(values.actions) for values in sets.values()), None) or len(named) or None
    kept, max_steps = (state or {}).get("stateful_callbacks", {}), (state or {}).get("max_steps")
    return Settings.of(arguments, kept, num_actions=actions, max_steps=max_steps)  # of one process, as far as is known


def shifted_pairs(splits: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(in-distribution split, shifted split) by shift: its validation split, or its test split if it has no other."""
    iid = next((name for name in ("validation", "test") if "accuracy" in splits.get(name, {})), None)
    pairs = []
    for name in (name for name, values in splits.items() if "accuracy" in values):
        part, _, shift = name.partition("_")
        if iid and shift and (part == "validation" or (part == "test" and f"validation_{shift}" not in splits)):
            pairs.append((part if part in splits else iid, name))
    return pairs


def _counted(splits: Mapping[str, Any]) -> dict[str, tuple[float, int]]:
    """Split -> accuracy and number of pairs, where both are known."""
    return {
        name: (values["accuracy"], values["n"]) for name, values in splits.items() if {"accuracy", "n"} <= set(values)
    }


def _of_sizes(
    splits: Mapping[str, Any], sets: Mapping[str, DeltaSet], settings: Settings, large: set[str]
) -> list[Finding | None]:
    """Signs in accuracies and the numbers of pairs that they are of."""
    import numpy as np

    counted = _counted(splits)
    judged: list[str] = [name for name in ("validation", "test") if name in counted]  # the first that is large enough
    judged = [name for name in judged if name in large][:1] or judged[-1:]
    judged += [shifted for _, shifted in shifted_pairs(splits) if shifted in counted and shifted in large]
    found: list[Finding | None] = []
    for name in judged:
        guessing = 1 / settings.num_actions if settings.num_actions else 1.0
        if name in sets and len(sets[name]):
            guessing = max(guessing, float(np.bincount(sets[name].labels).max() / len(sets[name])))
        found += [signs.at_chance(*counted[name], guessing, name)] if guessing < 1 else []
    tests = {name: one for name, one in counted.items() if name.startswith("test")} or counted
    return [*found, signs.too_small(tests)]


def _not_finite(splits: Mapping[str, Any], sets: Mapping[str, DeltaSet]) -> list[Finding | None]:
    """One finding for all splits that have the same trouble."""
    where: dict[tuple[str, ...], list[str]] = {}
    for name in dict.fromkeys([*sets, *splits]):
        broken = _broken_arrays(sets[name]) if name in sets else []
        if not math.isfinite(splits.get(name, {}).get("cross_entropy") or 0.0):
            broken.append("cross_entropy")
        if broken:
            where.setdefault(tuple(broken), []).append(name)
    return [signs.not_finite(broken, f"in {', '.join(map(split_title, names))}") for broken, names in where.items()]


def _broken_arrays(values: DeltaSet) -> list[str]:
    import numpy as np

    return [kind for kind in ("delta", "states", "logits") if not np.isfinite(getattr(values, kind)).all()]


def _of_arrays(values: DeltaSet, settings: Settings) -> list[Finding | None]:
    """Signs in the deltas and scores of one in-distribution split."""
    import numpy as np

    lengths = np.linalg.norm(values.delta, axis=1)  # (n,)
    right = values.predictions == values.labels  # (n,)
    scores = values.logits.astype(np.float64)  # (n, A)
    of_label = scores[np.arange(len(scores)), values.labels]  # (n,)
    cross_entropy = float((np.logaddexp.reduce(scores, axis=1) - of_label).mean())
    rows = {values.actions[i]: values.labels == i for i in np.unique(values.labels)}
    pairs = {name: int(chosen.sum()) for name, chosen in rows.items()}
    predicted = {values.actions[i] for i in np.unique(values.predictions)}
    dead = [name for name in rows if name not in predicted and pairs[name] >= findings.FEWEST_PAIRS]
    length_of_states = float(np.linalg.norm(values.states, axis=-1).mean())
    return [
        signs.collapsed(float(lengths.mean()), length_of_states, "states", cross_entropy, settings, split=values.split),
        signs.vanished(
            {name: float(lengths[chosen].mean()) for name, chosen in rows.items()},
            {name: float(right[chosen].mean()) for name, chosen in rows.items()},
            pairs,
            values.split,
            settings,
        ),
        signs.dead_classes(len(dead), len(rows), values.split, [f"{name} ({pairs[name]} pairs)" for name in dead]),
    ]


def _note(result: Examination, sign: str, reason: str = "") -> None:
    if reason:
        result.skipped[sign] = reason
    elif sign not in result.checked:
        result.skipped.pop(sign, None)
        result.checked.append(sign)


def _read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file, None if there is no such file."""
    return read_object(path) if path.exists() else None


def _results(paths: list[Path]) -> list[Mapping[str, Any]]:
    """The results of training in files; a run of the evaluation alone has nothing to compare."""
    results = []
    for path in paths:
        content = _read_json(path)
        if content is None or (path.name == METRICS_FILE and "training" not in content):
            continue
        try:
            results.append(as_result(content))
        except ValueError as error:
            raise ValueError(f"{path} is {error}") from None
    return results


def _report(name: str, examination: Examination) -> None:
    print(name)
    for finding in examination.findings:
        print(f"  {finding.line()}")
    if not examination.findings and examination.checked:
        print(f"  nothing found; checked: {', '.join(examination.checked)}")
    for sign, reason in examination.skipped.items():
        print(f"  not checked: {sign} ({reason})")


def main(arguments: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    about = "Signs of trouble in finished runs: what was seen, the number behind it, what to try."
    parser = argparse.ArgumentParser(prog=command("modeling_cde.analysis.doctor"), description=about)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="output folder of a run, or a folder of result files")
    options = parser.parse_args(arguments)
    errors, compared, results = False, len(options.runs) > 1, []
    try:
        for run in map(Path, options.runs):
            is_run = any((run / name).is_file() for name in (STATE_FILE, METRICS_FILE, DELTAS_FILE))
            kept = [] if is_run else sorted(run.glob("*.json"))
            if not kept:
                examination = examine_run(run)
                errors = errors or any(finding.severity == "error" for finding in examination.findings)
                _report(str(run), examination)
            results += _results(kept or [run / METRICS_FILE])
            compared = compared or bool(kept)
        if compared and results:
            with as_they_were_written(", ".join(options.runs)):
                together = Examination(examine_runs(results))
            few = max(map(len, group_by_seed(results))) < findings.FEWEST_SEEDS
            reason = f"fewer than {findings.FEWEST_SEEDS} seeds of runs that differ in nothing else" if few else ""
            _note(together, findings.SEED_VARIANCE, reason)
            _report(f"{len(results)} runs together", together)
    except (ValueError, OSError) as error:
        print(f"{called('modeling_cde.analysis.doctor') or 'doctor'}: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(1 if errors else 0)
