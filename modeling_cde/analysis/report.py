"""The report of a run: its scores, the geometry of its deltas, its pictures and signs of trouble, on one HTML page.

The page is self-contained: it opens in any browser, from a file, without a network.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.splits.titles import SPLIT_TITLES, split_title
from ..whole_files import as_they_were_written, command_without_places, read_object, without_places, write_whole
from .delta_set import DELTAS_FILE, load_delta_sets, load_examples
from .doctor.diagnosis import METRICS_FILE, Examination, examine_run
from .geometry_sections import geometry_sections
from .measures.geometry import GEOMETRY_FILE, measure
from .page import Cell, Section, Table, render_page
from .plots.run_plots import Pictures, draw_pictures, tests_first
from .results import METHOD_TITLES

REPORT_FILE = "report.html"


@dataclass(frozen=True, eq=False)
class WrittenReport:
    """What `analyse` wrote and found.

    Attributes:
        path: path of `report.html`.
        geometry: what `geometry.json` holds; None if it could not be measured.
        trouble: why it could not be measured, or empty.
        pictures: the pictures that were drawn.
        examination: what the doctor found.
    """

    path: Path
    geometry: dict[str, Any] | None
    trouble: str
    pictures: Pictures
    examination: Examination


def write_report(run: str | Path, with_umap: bool = True) -> Path:
    """Measure and draw a run and write its report; see `analyse`. Returns the path of `report.html`."""
    return analyse(run, with_umap).path


def analyse(run: str | Path, with_umap: bool = True) -> WrittenReport:
    """Write `geometry.json`, `pictures/*.png` and `.svg`, and `report.html` into a run's folder.

    A run whose deltas are not finite has no geometry but still gets a report, because that is when one needs it.

    Args:
        run: output folder of train.py or of modeling_cde.evaluation; holds `metrics.json` and `deltas.safetensors`, and
            after a training `trainer_state.json`.
        with_umap: whether to draw the UMAP maps if umap-learn is installed; they take longest.

    Returns:
        What was written and found.

    Raises:
        FileNotFoundError: if one of the two files is missing.
        ValueError: if a file cannot be read.
        ModuleNotFoundError: if a library of the extra "analysis" is not installed.
    """
    folder = Path(run)
    with as_they_were_written(folder):
        return _analysed(folder, with_umap)


def _analysed(folder: Path, with_umap: bool) -> WrittenReport:
    metrics = _load_metrics(folder)
    sets = load_delta_sets(folder)
    examples = load_examples(folder)
    examination = examine_run(folder)
    geometry, trouble = None, ""
    try:
        geometry = measure(folder)
    except ValueError as error:
        trouble = str(error)
    pictures = draw_pictures(folder, sets, examples, geometry, with_umap)
    geometry_parts = (
        geometry_sections(geometry, pictures) if geometry else [Section("Geometry of the deltas", [trouble])]
    )
    sections = [
        _results(metrics, geometry),
        _signs(examination),
        pictures.section("Examples", "examples", level=2),
        pictures.section("Errors by action and object", "confusion", tables=_error_tables(metrics), level=2),
        pictures.section("Training", "training", level=2),
        *geometry_parts,
        _origin(folder, metrics),
    ]
    sections = [one for one in sections if one.text or one.tables or one.pictures or one.notes]
    path = folder / REPORT_FILE
    page = render_page(
        f"Run {folder.resolve().name}", sections, _summary(metrics), "Made by python -m modeling_cde.analysis."
    )
    with write_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return WrittenReport(path, geometry, trouble, pictures, examination)


def _load_metrics(folder: Path) -> dict[str, Any]:
    path = folder / METRICS_FILE
    for file in (path, folder / DELTAS_FILE):
        if not file.is_file():
            raise FileNotFoundError(
                f"{file} is missing: give the output folder of train.py or of python -m modeling_cde.evaluation."
            )
    try:
        metrics = read_object(path)
        untested = metrics["splits"] == {} and "train" in metrics
        if not (metrics["splits"] or untested) or not all(
            "accuracy" in values for values in metrics["splits"].values()
        ):
            raise KeyError("splits")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{path} has no scores of any split: evaluate the checkpoint again.") from None
    if untested:
        raise ValueError(
            f"{folder} was trained on all pairs, so there are no scores to report: test the checkpoint on others with "
            "python -m modeling_cde.evaluation, and give the output folder of that."
        )
    return metrics


def _summary(metrics: Mapping[str, Any]) -> str:
    tests = {name: values for name, values in metrics["splits"].items() if name.startswith("test")} or metrics["splits"]
    scores = ", ".join(f"{100 * values['accuracy']:.1f} % on {split_title(name)}" for name, values in tests.items())
    arguments = metrics.get("training", {}).get("arguments", {})
    method = arguments.get("method")
    made = f"{METHOD_TITLES.get(method, method)}, seed {arguments.get('seed')}. " if method else ""
    return f"{made}Accuracy: {scores}."


def _results(metrics: Mapping[str, Any], geometry: Mapping[str, Any] | None) -> Section:
    measured = {} if geometry is None else geometry["splits"]
    headers = ["split", "pairs", "accuracy", "macro accuracy", "gap to IID", "cross-entropy", "calibration error"]
    headers.append("errors: opposite")
    matched = any("accuracy_own_actions" in values for values in metrics["splits"].values())
    headers += ["accuracy among its own actions"] if matched else []
    rows: list[list[Cell]] = []
    for name in tests_first(metrics["splits"]):
        values = metrics["splits"][name]
        error = measured.get(name, {}).get("calibration", {}).get("ece")
        figures = (values["accuracy"], values.get("macro_accuracy"), metrics.get("gap", {}).get(name))
        share = values.get("opposite_error_share")
        rows.append([split_title(name), values.get("n"), *figures, values.get("cross_entropy"), error, share])
        rows[-1] += [values.get("accuracy_own_actions")] if matched else []
    text = (
        "Macro accuracy is the mean over the actions. The gap is the cost of the shift: accuracy on IID minus accuracy "
        "on the split. The share of errors that name the opposite action has a column of its own."
    )
    keys = [f"{title} is {name}" for name, title in SPLIT_TITLES.items() if name in metrics["splits"]]
    text += f" In {METRICS_FILE}, {', '.join(keys)}." if keys else ""
    notes = [
        f"{split_title(name)}: pairs left out because the model does not know their action: "
        f"{', '.join(f'{action} {number}' for action, number in values['left_out'].items())}."
        for name, values in metrics["splits"].items()
        if values.get("left_out")
    ]
    notes += [
        f"{split_title(name)}: actions that occur but were never predicted: {', '.join(values['never_predicted'])}."
        for name, values in metrics["splits"].items()
        if values.get("never_predicted")
    ]
    return Section("Results", [text], [Table(headers, rows)], notes=notes)


def _signs(examination: Examination) -> Section:
    headers = ["sign", "severity", "what was seen", "what to try"]
    rows = [[found.sign, found.severity, found.sentence, found.advice] for found in examination.findings]
    text, tables = ([], [Table(headers, rows)]) if rows else (["No signs of trouble were found."], [])
    notes = [f"Looked for: {', '.join(examination.checked)}."] if examination.checked else []
    notes += [f"Could not look for {sign}: {reason}." for sign, reason in examination.skipped.items()]
    return Section("Signs of trouble", text, tables, notes=notes)


def _error_tables(metrics: Mapping[str, Any]) -> list[Table]:
    tables, order = [], tests_first(metrics["splits"])
    for what in ("action", "object"):
        splits = {name: metrics["splits"][name].get(f"accuracy_by_{what}") or {} for name in order}
        names = sorted({name for values in splits.values() for name in values})
        rows: list[list[Cell]] = [[name, *(values.get(name) for values in splits.values())] for name in names]
        tables += [Table([what, *map(split_title, splits)], rows, f"Accuracy by {what}", folded=True)] if rows else []
    return tables


def _origin(folder: Path, metrics: Mapping[str, Any]) -> Section:
    """How the run was made: command, data, hardware, arguments."""
    training, environment = metrics.get("training", {}), metrics.get("environment", {})
    training = without_places(training)  # the page is published with the run
    facts: list[list[Cell]] = [["folder", without_places(str(folder))]]
    facts += [[key, str(training[key])] for key in ("data", "minutes") if training.get(key) is not None]
    if training.get("pairs"):
        facts.append(["pairs", ", ".join(f"{name} {count}" for name, count in training["pairs"].items())])
    if training.get("selected"):
        facts.append(["selected checkpoint", ", ".join(f"{k} {v}" for k, v in training["selected"].items())])
    facts += [[key, str(value)] for key, value in environment.items()]
    tables = [Table(["", "value"], facts, "Run and machine")]
    arguments = [[key, str(value)] for key, value in sorted(training.get("arguments", {}).items()) if value is not None]
    tables += [Table(["argument", "value"], arguments, "Arguments of the training", folded=True)] if arguments else []
    code = [command_without_places(training["command"])] if training.get("command") else []
    notes = [
        f"The numbers come from {METRICS_FILE} and {DELTAS_FILE}; {GEOMETRY_FILE} holds those of the geometry.",
        "No test split chose a checkpoint or anything in this report; training refuses to choose by one.",
    ]
    code.append(f"python -m modeling_cde.analysis {shlex.quote(without_places(str(folder)))}")
    return Section("How this was made", tables=tables, code=code, notes=notes)
