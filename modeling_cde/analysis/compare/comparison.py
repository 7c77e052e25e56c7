"""Compare runs: one table, one picture, one report.

    python -m modeling_cde.analysis compare benchmarks/results/rooms [--reference concatenation] [--output DIR]

reads the result of every run there (or the output folders of train.py), pairs the runs of each method with those of the
reference by seed, and writes into DIR (by default the folder `comparison` beside the results):

    table.md table.csv table.tex   accuracy and paired differences, both rules of selection side by side
    pictures/*.png, *.svg          every run as a dot; heat maps and curves where a grid varied settings
    report.html                    all of it on one page that needs no network
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...cli import verbs
from ...cli.project import find
from ...data.splits.titles import split_title
from ...whole_files import as_they_were_written, in_one_sentence
from ..page import Picture, Section, as_data_uri, render_page
from ..page import Table as PageTable
from ..results import METRICS_FILE, RULES, Result, by_row, load_results, name_row
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
from .geometry_table import geometry_splits, geometry_table
from .pairing import Table, compare

# What the CSV holds besides the accuracy.
_FURTHER_METRICS = ("macro_accuracy", "gap", "cross_entropy")
# A picture of more rows than this is not legible; the tables have them all.
_MOST_ROWS = 24


def write_comparison(
    results: Sequence[Result],
    output: str | Path,
    reference: str = "concatenation",
    order: Sequence[str] | None = None,
    title: str = "Comparison of runs",
    command: str = "",
    splits: Sequence[str] | None = None,
) -> Path:
    """Write tables, pictures and report.

    Args:
        results: the runs, as `load_results` gives them.
        output: folder for all files; made if absent.
        reference: key of the method that the others are compared with.
        order: keys of methods in the order of the rows.
        title: heading of the report and of the table.
        command: the command that makes the files again; shown in them.
        splits: names of the splits; by default those that begin with "test".

    Returns:
        The path of `report.html`.

    Raises:
        ValueError: if no run has one of the splits.
        ModuleNotFoundError: if a library of the extra "analysis" is not installed.
    """
    folder = Path(output)
    table = compare(results, reference, order=order, splits=splits)
    if not table.columns:
        wanted = 'whose name begins with "test"' if splits is None else f"called {' or '.join(splits)}"
        raise ValueError(f"no run has a split {wanted}, so there is nothing to compare: evaluate such a split.")
    further = [compare(results, reference, metric, order, splits) for metric in _FURTHER_METRICS]
    warnings = disagreements(results)
    folder.mkdir(parents=True, exist_ok=True)
    markdown = _markdown(title, table, further[1], provenance(results), warnings, command)
    (folder / "table.md").write_text(markdown, encoding="utf-8")
    (folder / "table.csv").write_text(to_csv(table, *further), encoding="utf-8")
    (folder / "table.tex").write_text(to_latex(table), encoding="utf-8")
    results_section, reading = _result_section(table, folder), _reading_section(table, warnings)
    # Warnings against comparing the runs come before their numbers.
    sections = [reading, results_section] if warnings else [results_section, reading]
    settings = _setting_sections(results, folder)
    # The picture of a large grid says more than its table.
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
        alternative = "Accuracy of each method on each test split, a dot for each run; the numbers are in the table."
        caption = "Each dot is a run, each bar a mean; each panel has its own scale."
        pictures.append(_picture(plot_seeds(table, folder / "pictures"), alternative, caption))
        if difference := plot_differences(table, folder / "pictures"):
            alternative = "Differences to the reference on each test split, a dot for each seed, with intervals."
            caption = "Each dot is the difference to the reference's run with the same seed; the line is the interval."
            pictures.append(_picture(difference, alternative, caption))
    figures, differences = captions(table)
    tables = [_page_table(table, figures)]
    if table.reference is not None:
        tables.append(_page_table(table, differences, differences=True))
    return Section("Results", tables=tables, pictures=pictures)


def _picture(path: Path, alternative: str, caption: str) -> Picture:
    return Picture(as_data_uri(path.with_suffix(".svg")), alternative, caption)


def _page_table(table: Table, caption: str, differences: bool = False) -> PageTable:
    headers, rows = header_and_rows(table, differences)
    return PageTable(headers, [[row[0], *map(_unbroken, row[1:])] for row in rows], caption=caption)


def _unbroken(text: str) -> str:
    """Text that a browser breaks neither between a figure and its spread nor within an interval."""
    return text.replace(" ± ", "\u00a0±\u00a0").replace(", ", ",\u00a0")


def _reading_section(table: Table, warnings: Sequence[str]) -> Section:
    agreement = (
        "All runs of a seed use the same split; commit, hardware and criterion of selection are the same for all runs."
    )
    rules = (
        "The validation-selected checkpoint is the one that the criterion chose on a validation split. The last epoch "
        "is shown beside it because a choice can favour one method. No test split chose a checkpoint or a setting."
    )
    paragraphs = [] if warnings else [agreement]
    paragraphs += [] if any("Chosen by a test" in warning for warning in warnings) else [rules]
    return Section("How to read this", text=paragraphs, notes=[*warnings, *notes(table)])


def _setting_sections(results: Sequence[Result], folder: Path) -> list[Section]:
    from ..plots.grid import plot_settings, varied_settings

    numbers, names = varied_settings(results)
    if not numbers and not names:
        return []
    drawn = [picture for rule in RULES for picture in plot_settings(results, folder / "pictures", rule)]
    pictures = [_picture(one.path, one.alternative, one.caption) for one in drawn]
    text = f"A picture cannot show {len(numbers) + len(names)} settings at once; the tables have every value."
    return [Section("Sensitivity", text=[] if drawn else [text], pictures=pictures)]


def _further_sections(tables: Sequence[Table]) -> list[Section]:
    further = [table for table in tables if table.columns and table.metric != "cross_entropy"]
    shown = [_page_table(table, captions(table)[0]) for table in further]
    return [Section("Further metrics", tables=shown)] if shown else []


def _geometry_sections(results: Sequence[Result]) -> list[Section]:
    tables = []
    for split in geometry_splits(results):
        headers, rows = geometry_table(results, split)
        if rows:
            tables.append(PageTable(headers, rows, f"{split_title(split)}: mean ± standard deviation over seeds."))
    text = "The modules in modeling_cde/analysis/measures explain each measure, with its formula and range."
    return [Section("Geometry of the deltas", text=[text], tables=tables)] if tables else []


def _doctor_section(results: Sequence[Result]) -> Section:
    from ..doctor.findings import FEWEST_SEEDS, SEED_SPREAD
    from ..doctor.seeds import examine_runs

    findings = [finding.line() for finding in examine_runs([dict(result.record) for result in results])]
    looked = (
        f"The doctor compares {FEWEST_SEEDS} or more runs that differ only in the seed: a standard deviation of the "
        f"accuracy above {100 * SEED_SPREAD:g} points on any split is a sign of trouble. Each run's own "
        "report examines that run."
    )
    text = [looked] if findings else [looked, "No signs of trouble were found."]
    return Section("Signs of trouble", text=text, notes=findings)


def _difference_section(results: Sequence[Result]) -> Section:
    """The training arguments in which rows differ, which may cause the differences between methods."""
    runs = [row[0] for row in by_row(results)]
    headers = ["argument", *(name_row(run.title, run.setting) for run in runs)]
    rows = [[name, *values] for name, values in varying_arguments(runs).items()]
    text = "Each recorded training argument that differs between methods, from the first run of each."
    text = text if rows else "Their recorded training arguments are the same."
    return Section("What the methods differ in", text=[text], tables=[PageTable(headers, rows)] if rows else [])


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
    """The folder `comparison` beside the results: with the JSON files, or in the parent of a run's folder."""
    beside = source.parent if source.is_file() or (source / METRICS_FILE).is_file() else source
    return beside / "comparison"


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=verbs.command("modeling_cde.analysis compare"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", nargs="+", type=Path, help="folder of results, result files, or run folders")
    parser.add_argument("--reference", default="concatenation", help="method to compare with (%(default)s)")
    parser.add_argument("--methods", nargs="+", help="only these methods, in this order")
    parser.add_argument("--splits", nargs="+", help="only these splits (the test splits)")
    parser.add_argument("--output", type=Path, help="folder for the files (comparison/ beside the results)")
    parser.add_argument("--title", help="heading of the table and the report")
    options = parser.parse_args(arguments)
    name = verbs.called("modeling_cde.analysis compare") or "compare"
    try:
        with as_they_were_written(", ".join(map(str, options.results))):
            results = load_results(*map(find, options.results))
            known = list(dict.fromkeys(result.method for result in results))
            unknown = [method for method in options.methods or () if method not in known]
            if unknown:
                raise ValueError(f"--methods {unknown[0]}: no run has that method; choose from {', '.join(known)}.")
            results = [result for result in results if options.methods is None or result.method in options.methods]
            output = options.output or default_output(options.results[0])
            title = options.title or f"Comparison: {', '.join(source.name for source in options.results)}"
            parts = [*map(str, options.results), "--reference", options.reference]
            parts += ["--methods", *options.methods] if options.methods else []
            parts += ["--splits", *options.splits] if options.splits else []
            command = verbs.command("modeling_cde.analysis compare", *parts)
            chosen = (options.reference, options.methods, title, command, options.splits)
            report = write_comparison(results, output, *chosen)
            text = to_markdown(compare(results, options.reference, order=options.methods, splits=options.splits))
    except OSError as error:  # with a file's name where the system raised it
        sys.exit(f"{name}: {error}" if error.filename is None else f"{name}: {error.filename}: {error.strerror}.")
    except (ValueError, ModuleNotFoundError) as error:
        sys.exit(f"{name}: {error}")
    print(text)
    print(f"{report}\n{report.parent}/table.md, table.csv, table.tex and pictures/")


if __name__ == "__main__":
    with in_one_sentence("modeling_cde.analysis.compare.comparison"):
        main()
