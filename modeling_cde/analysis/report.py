"""The report of a run: what it scored, how its deltas lie, its pictures and what looks wrong, on one HTML page.

The page is self-contained: it opens in any browser, from a file, without a network.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..kept_files import as_they_were_written, read_object
from ..whole_files import write_whole
from .delta_set import DELTAS_FILE, load_delta_sets, load_examples
from .doctor.diagnosis import METRICS_FILE, Examination, examine_run
from .geometry_sections import geometry_sections
from .measures.geometry import GEOMETRY_FILE, measure
from .page import Cell, Picture, Section, Table, as_data_uri, render_page
from .plots.run_plots import Pictures, draw_pictures, tests_first, title_of
from .results import METHOD_TITLES

__all__ = [
    "Picture",
    "REPORT_FILE",
    "Section",
    "Table",
    "WrittenReport",
    "analyse",
    "as_data_uri",
    "render_page",
    "write_report",
]

REPORT_FILE = "report.html"


@dataclass(frozen=True, eq=False)
class WrittenReport:
    """What `analyse` left behind.

    Attributes:
        path: of `report.html`.
        geometry: what `geometry.json` holds; None where it could not be measured.
        trouble: why it could not, else empty.
        pictures: what was drawn.
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

    A run whose deltas are not finite has no geometry, and is reported all the same: that is when it is read.

    Args:
        run: output folder of train.py or of modeling_cde.evaluation; holds `metrics.json` and `deltas.safetensors`, and
            after a training `trainer_state.json`.
        with_umap: whether to draw maps by UMAP where umap-learn is installed; they take longest.

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
    sections = [
        _results(metrics, geometry),
        _signs(examination),
        *_topic("Examples", "examples", pictures),
        _errors(metrics, pictures),
        *_topic("Training", "training", pictures),
        *(
            [Section("Geometry of the deltas", [trouble])]
            if geometry is None
            else geometry_sections(geometry, pictures)
        ),
        _origin(folder, metrics),
    ]
    path = folder / REPORT_FILE
    name = folder.resolve().name
    page = render_page(f"Run {name}", sections, _summary(metrics), "Made by python -m modeling_cde.analysis.")
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
        if not metrics["splits"] or not all("accuracy" in values for values in metrics["splits"].values()):
            raise KeyError("splits")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{path} holds no results of splits: evaluate the checkpoint again.") from None
    return metrics


def _summary(metrics: Mapping[str, Any]) -> str:
    tests = {name: values for name, values in metrics["splits"].items() if name.startswith("test")} or metrics["splits"]
    scores = ", ".join(f"{100 * values['accuracy']:.1f} % on {title_of(name)}" for name, values in tests.items())
    arguments = metrics.get("training", {}).get("arguments", {})
    method = arguments.get("method")
    made = f"{METHOD_TITLES.get(method, method)}, seed {arguments.get('seed')}. " if method else ""
    return f"{made}Accuracy: {scores}."


def _results(metrics: Mapping[str, Any], geometry: Mapping[str, Any] | None) -> Section:
    measured = {} if geometry is None else geometry["splits"]
    headers = ["split", "pairs", "accuracy", "macro accuracy", "gap to test", "cross-entropy", "calibration error"]
    rows: list[list[Cell]] = []
    for name in tests_first(metrics["splits"]):
        values = metrics["splits"][name]
        error = measured.get(name, {}).get("calibration", {}).get("ece")
        figures = (values["accuracy"], values.get("macro_accuracy"), metrics.get("gap", {}).get(name))
        share = values.get("opposite_error_share")
        rows.append([title_of(name), values.get("n"), *figures, values.get("cross_entropy"), error, share])
    text = (
        "Macro accuracy is the mean over the actions. The gap is what the shift costs: accuracy on test minus "
        "accuracy on the split. The last column is the share of errors that name the opposite action."
    )
    never = [
        f"{name}: never predicted, though it occurs: {', '.join(values['never_predicted'])}."
        for name, values in metrics["splits"].items()
        if values.get("never_predicted")
    ]
    return Section("Results", [text], [Table([*headers, "errors: opposite"], rows)], notes=never)


def _signs(examination: Examination) -> Section:
    if examination.findings:
        headers = ["sign", "severity", "what was seen", "what to try"]
        rows = [[found.sign, found.severity, found.sentence, found.advice] for found in examination.findings]
        tables, text = [Table(headers, rows)], []
    else:
        tables, text = [], ["No sign of trouble was found."]
    notes = [f"Looked for: {', '.join(examination.checked)}."] if examination.checked else []
    notes += [f"Could not look for {sign}: {reason}." for sign, reason in examination.skipped.items()]
    return Section("Signs of trouble", text, tables, notes=notes)


def _errors(metrics: Mapping[str, Any], pictures: Pictures) -> Section:
    tables = []
    for key, what in (("accuracy_by_action", "action"), ("accuracy_by_object", "object")):
        splits = {name: metrics["splits"][name].get(key) or {} for name in tests_first(metrics["splits"])}
        names = sorted({name for values in splits.values() for name in values})
        rows: list[list[Cell]] = [[name, *(values.get(name) for values in splits.values())] for name in names]
        tables += [Table([what, *splits], rows, f"Accuracy by {what}", folded=True)] if rows else []
    drawn, notes = pictures.of.get("confusion", ()), pictures.missing.get("confusion", ())
    return Section("Errors by action and object", (), tables, drawn, notes=notes)


def _topic(title: str, topic: str, pictures: Pictures) -> list[Section]:
    """A section of the pictures of a topic, or of why there are none; no section where there is neither."""
    drawn, missing = pictures.of.get(topic, ()), pictures.missing.get(topic, ())
    return [Section(title, pictures=drawn, notes=missing)] if drawn or missing else []


def _origin(folder: Path, metrics: Mapping[str, Any]) -> Section:
    """How the run was made: command, data, hardware, arguments."""
    training, environment = metrics.get("training", {}), metrics.get("environment", {})
    facts: list[list[Cell]] = [["folder", str(folder)]]
    facts += [[key, str(training[key])] for key in ("data", "minutes") if training.get(key) is not None]
    if training.get("pairs"):
        facts.append(["pairs", ", ".join(f"{name} {count}" for name, count in training["pairs"].items())])
    if training.get("selected"):
        facts.append(["selected checkpoint", ", ".join(f"{k} {v}" for k, v in training["selected"].items())])
    facts += [[key, str(value)] for key, value in environment.items()]
    tables = [Table(["", "value"], facts, "Run and machine")]
    arguments = [[key, str(value)] for key, value in sorted(training.get("arguments", {}).items()) if value is not None]
    tables += [Table(["argument", "value"], arguments, "Arguments of the training", folded=True)] if arguments else []
    code = [training["command"]] if training.get("command") else []
    notes = [
        f"Numbers are read from {METRICS_FILE} and {DELTAS_FILE}; those of the geometry are kept in {GEOMETRY_FILE}.",
        "Training refuses to choose a checkpoint by a test split, and nothing in this report is chosen by one.",
    ]
    code.append(f"python -m modeling_cde.analysis {shlex.quote(str(folder))}")
    return Section("How this was made", tables=tables, code=code, notes=notes)
