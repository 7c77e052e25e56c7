"""Compare runs: one table, one picture, one report.

    python -m modeling_cde.analysis compare benchmarks/results/rooms [--reference concatenation] [--output DIR]

reads the result of every run there (or the output folders of train.py), pairs the runs of each method with those of the
reference by seed, and writes into DIR (by default the folder `comparison` beside the results):

    table.md table.csv table.tex   accuracy and paired differences, both rules of selection side by side
    pictures/*.png, *.svg          every run as a dot; surfaces and curves where a grid varied settings
    report.html                    all of it on one page that needs no network
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...kept_files import as_they_were_written
from ..page import Picture, Section, as_data_uri, render_page
from ..page import Table as PageTable
from ..results import METRICS_FILE, RULES, Result, load_results, setting_key
from .agreement import disagreements, provenance, varying_arguments
from .comparison_tables import (
    captions,
    header_and_rows,
    markdown_table,
    notes,
    plain_markdown,
    to_csv,
    to_latex,
    to_markdown,
)
from .geometry_table import geometry_splits, geometry_table, split_title
from .pairing import Table, compare, describe_setting

# What the CSV holds beside the accuracy.
_FURTHER_METRICS = ("macro_accuracy", "gap", "cross_entropy")
# More rows than this make no picture that can be read; the tables have them all.
_MOST_ROWS = 24


def write_comparison(
    results: Sequence[Result],
    output: str | Path,
    reference: str = "concatenation",
    order: Sequence[str] | None = None,
    title: str = "Comparison of runs",
    command: str = "",
) -> Path:
    """Write tables, pictures and report.

    Args:
        results: the runs, as `load_results` gives them.
        output: folder for all files; made if absent.
        reference: key of the method that the others are compared with.
        order: keys of methods in the order of the rows.
        title: of the report and the table.
        command: what makes the files again; shown in them.

    Returns:
        The path of `report.html`.

    Raises:
        ValueError: if no run has a test split.
        ModuleNotFoundError: if a library of the extra "analysis" is not installed.
    """
    folder = Path(output)
    table = compare(results, reference, order=order)
    if not table.columns:
        raise ValueError('no run has a split whose name begins with "test", so there is nothing to compare.')
    further = [compare(results, reference, metric, order) for metric in _FURTHER_METRICS]
    warnings = disagreements(results)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "table.md": _markdown(title, table, further[1], provenance(results), warnings, command),
        "table.csv": to_csv(table, *further),
        "table.tex": to_latex(table),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    results_section, reading = _result_section(table, folder), _reading_section(table, warnings)
    # What speaks against comparing the runs comes before their numbers.
    sections = [reading, results_section] if warnings else [results_section, reading]
    settings = _setting_sections(results, folder)
    # Of a large grid the picture says more than the table.
    sections = settings + sections if len(table.rows) > _MOST_ROWS else sections + settings
    sections += [*_further_sections(further), *_geometry_sections(results)]
    sections += [_doctor_section(results), _difference_section(results), _runs_section(results, command)]
    report = folder / "report.html"
    report.write_text(render_page(title, sections, summary=provenance(results)), encoding="utf-8")
    return report


def _markdown(title: str, table: Table, gaps: Table, origin: str, warnings: Sequence[str], command: str) -> str:
    said = "\n".join(f"- {plain_markdown(sentence)}" for sentence in warnings)
    parts = [f"# {plain_markdown(title)}", plain_markdown(origin), said, to_markdown(table).rstrip()]
    if gaps.columns:
        parts += [captions(gaps)[0], markdown_table(*header_and_rows(gaps))]
    parts += [f"```bash\n{command}\n```"] if command else []
    return "\n\n".join(part for part in parts if part) + "\n"


def _result_section(table: Table, folder: Path) -> Section:
    from ..plots.seed_dots import plot_differences, plot_seeds

    pictures = []
    if len(table.rows) <= _MOST_ROWS:
        path = plot_seeds(table, folder / "pictures")
        alternative = "Accuracy of each method on each test split, a dot for each run; the numbers are in the table."
        pictures.append(
            Picture(
                as_data_uri(path.with_suffix(".svg")),
                alternative,
                "Every dot is a run, a bar the mean; every panel has its own scale.",
            )
        )
        difference = plot_differences(table, folder / "pictures")
        if difference is not None:
            alternative = "Differences to the reference on each test split, a dot for each seed, with intervals."
            caption = (
                "Every dot is one seed's difference to the reference's run with that seed; the line is the interval."
            )
            pictures.append(Picture(as_data_uri(difference.with_suffix(".svg")), alternative, caption))
    figures, differences = captions(table)
    tables = [_page_table(table, figures)]
    if table.reference is not None:
        tables.append(_page_table(table, differences, differences=True))
    return Section("Results", tables=tables, pictures=pictures)


def _page_table(table: Table, caption: str, differences: bool = False) -> PageTable:
    headers, rows = header_and_rows(table, differences)
    return PageTable(headers, [[row[0], *map(_unbroken, row[1:])] for row in rows], caption=caption)


def _unbroken(text: str) -> str:
    """Text that no browser breaks between a figure and its spread, or within an interval."""
    return text.replace(" ± ", "\u00a0±\u00a0").replace(", ", ",\u00a0")


def _reading_section(table: Table, warnings: Sequence[str]) -> Section:
    text = (
        ""
        if warnings
        else "Runs of one seed have one split; commit, hardware and criterion of selection are the same for all."
    )
    rules = (
        "The validation-selected checkpoint is the one that the criterion chose on a validation split; the last epoch "
        "is shown beside it because a choice may favour one method. No test split chose a checkpoint or a setting."
    )
    paragraphs = [text, *([] if any("Chosen by a test" in warning for warning in warnings) else [rules])]
    return Section("How to read this", text=[p for p in paragraphs if p], notes=[*warnings, *notes(table)])


def _setting_sections(results: Sequence[Result], folder: Path) -> list[Section]:
    from ..plots.grid import plot_settings, varied_settings

    numbers, names = varied_settings(results)
    if not numbers and not names:
        return []
    drawn = [picture for rule in RULES for picture in plot_settings(results, folder / "pictures", rule)]
    pictures = [Picture(as_data_uri(one.path.with_suffix(".svg")), one.alternative, one.caption) for one in drawn]
    text = (
        "" if drawn else f"No picture shows {len(numbers) + len(names)} settings at once; the tables have every value."
    )
    return [Section("Sensitivity", text=[text] if text else [], pictures=pictures)]


def _further_sections(tables: Sequence[Table]) -> list[Section]:
    shown = []
    for table in tables:
        if table.columns and table.metric != "cross_entropy":
            shown.append(_page_table(table, captions(table)[0]))
    return [Section("Further metrics", tables=shown)] if shown else []


def _geometry_sections(results: Sequence[Result]) -> list[Section]:
    tables = []
    for split in geometry_splits(results):
        headers, rows = geometry_table(results, split)
        if rows:
            tables.append(
                PageTable(headers, rows, caption=f"{split_title(split)}: mean ± standard deviation over seeds.")
            )
    text = "Each measure is explained, with formula and range, where it is computed: "
    text += "modeling_cde/analysis/measures/geometry.py."
    return [Section("Geometry of the deltas", text=[text], tables=tables)] if tables else []


def _doctor_section(results: Sequence[Result]) -> Section:
    from ..doctor.findings import FEWEST_SEEDS, SEED_SPREAD
    from ..doctor.seeds import examine_runs

    findings = [finding.line() for finding in examine_runs([dict(result.record) for result in results])]
    looked = (
        f"The doctor compares runs that differ in the seed alone, where there are {FEWEST_SEEDS} or more: a standard "
        f"deviation of the accuracy above {100 * SEED_SPREAD:g} points on any split is a sign of trouble. Each run by "
        "itself is examined in its own report."
    )
    return Section("Signs of trouble", text=[looked, *([] if findings else ["Nothing was found."])], notes=findings)


def _difference_section(results: Sequence[Result]) -> Section:
    """The training arguments in which rows differ: what a difference between methods may come from."""
    rows: dict[tuple[str, str], Result] = {}
    for result in results:
        rows.setdefault((result.method, setting_key(result.setting)), result)
    runs = list(rows.values())
    varying = varying_arguments(runs)
    headers = ["argument", *(_row_name(run) for run in runs)]
    table = PageTable(headers, [[name, *values] for name, values in varying.items()])
    if not varying:
        return Section("What the methods differ in", text=["Their recorded training arguments are the same."])
    text = "Every recorded training argument that is not the same for all, from the first run of each."
    return Section("What the methods differ in", text=[text], tables=[table])


def _row_name(run: Result) -> str:
    return run.title + (f" ({describe_setting(run.setting)})" if run.setting else "")


def _runs_section(results: Sequence[Result], command: str) -> Section:
    headers = ["run", "seed", "split seed", "shift", "selected epoch", "criterion", "minutes", "commit", "date"]
    rows: list[list[Any]] = []
    for run in results:
        epoch = None if run.selected.epoch is None else f"{run.selected.epoch:g}"
        minutes = run.record.get("minutes")
        row = [run.run, str(run.seed), str(run.split_seed), run.shift, epoch, run.selected.criterion]
        date = str(run.record.get("date") or "–").replace("-", "\u2011")  # hyphens at which no line breaks
        rows.append([*row, None if minutes is None else f"{minutes:.1f}", run.commit or None, date])
    commands = [str(run.record["command"]) for run in results if run.record.get("command")]
    code = [*([command] if command else []), *commands]
    return Section("Runs", tables=[PageTable(headers, rows)], code=code)


def default_output(source: Path) -> Path:
    """`comparison` beside the results: in the folder of the JSONs, or in that which holds the run's folder."""
    beside = source.parent if source.is_file() or (source / METRICS_FILE).is_file() else source
    return beside / "comparison"


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m modeling_cde.analysis compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", nargs="+", type=Path, help="folder of results, result files, or run folders")
    parser.add_argument("--reference", default="concatenation", help="method to take differences to (concatenation)")
    parser.add_argument("--methods", nargs="+", help="only these methods, in this order")
    parser.add_argument("--output", type=Path, help="folder for what is written (comparison/ beside the results)")
    parser.add_argument("--title", help="heading of table and report")
    options = parser.parse_args(arguments)
    try:
        with as_they_were_written(", ".join(map(str, options.results))):
            results = load_results(*options.results)
            known = list(dict.fromkeys(result.method for result in results))
            unknown = [method for method in options.methods or () if method not in known]
            if unknown:
                raise ValueError(f"--methods {unknown[0]}: no run is of that method; there are {', '.join(known)}.")
            results = [result for result in results if options.methods is None or result.method in options.methods]
            output = options.output or default_output(options.results[0])
            title = options.title or f"Comparison: {', '.join(source.name for source in options.results)}"
            parts = [*map(str, options.results), "--reference", options.reference]
            parts += ["--methods", *options.methods] if options.methods else []
            command = f"python -m modeling_cde.analysis compare {shlex.join(parts)}"
            report = write_comparison(results, output, options.reference, options.methods, title, command)
            text = to_markdown(compare(results, options.reference, order=options.methods))
    except OSError as error:  # of the system where it has a file's name, else ours
        sys.exit(f"compare: {error}" if error.filename is None else f"compare: {error.filename}: {error.strerror}.")
    except (ValueError, ModuleNotFoundError) as error:
        sys.exit(f"compare: {error}")
    print(text)
    print(f"{report}\n{report.parent}/table.md, table.csv, table.tex and pictures/")


if __name__ == "__main__":
    main()
