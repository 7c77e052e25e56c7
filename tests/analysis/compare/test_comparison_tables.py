"""Markdown, CSV and LaTeX say the same, and what they say can be recomputed from the records."""

import csv
import io
import shutil
import subprocess

import pytest

from modeling_cde.analysis.compare.comparison_tables import signed, to_csv, to_latex, to_markdown
from modeling_cde.analysis.compare.pairing import compare
from modeling_cde.analysis.results import from_record
from tests.analysis.synthetic_results import record

OURS, VANILLA = (0.90, 0.92, 0.97), (0.80, 0.86, 0.80)


@pytest.fixture
def table():
    records = [record("concatenation", seed, value, value) for seed, value in enumerate(VANILLA)]
    records += [record("cde", seed, value, value - 0.02) for seed, value in enumerate(OURS)]
    return compare([from_record(one, one["run"]) for one in records])


def lines_of(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_markdown_holds_figures_and_paired_differences(table):
    """Means .93 and .82; differences .10, .06, .17, whose mean is .11 and whose range is the interval of three."""
    rows = lines_of(to_markdown(table))
    assert rows[0][:4] == ["method", "seeds", "IID, validation-selected", "IID, last epoch"]
    assert rows[2][:4] == ["title of concatenation", "3", "82.0 ± 3.5", "82.0 ± 3.5"]
    assert rows[3][:4] == ["title of cde", "3", "93.0 ± 3.6", "91.0 ± 3.6"]
    assert rows[6][1:4] == ["3", "reference", "reference"]
    assert rows[7][1:4] == ["3", "+11.0 [+6.0, +17.0]", "+9.0 [+4.0, +15.0]"]
    assert len({len(row) for row in rows}) == 1


def test_csv_is_complete_and_exact(table):
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert len(rows) == 2 * 3 * 2  # methods, splits, rules
    (row,) = [r for r in rows if (r["method"], r["split"], r["selection"]) == ("cde", "test_comp", "last")]
    scores = [value - 0.02 - 0.1 for value in OURS]
    differences = [ours - 0.02 - theirs for ours, theirs in zip(OURS, VANILLA, strict=True)]
    assert float(row["mean"]) == pytest.approx(sum(scores) / 3, abs=1e-12)
    assert float(row["std"]) == pytest.approx((sum((s - sum(scores) / 3) ** 2 for s in scores) / 2) ** 0.5, abs=1e-12)
    assert float(row["difference_mean"]) == pytest.approx(sum(differences) / 3, abs=1e-12)
    assert float(row["difference_low"]) == pytest.approx(min(differences))
    assert float(row["difference_high"]) == pytest.approx(max(differences))
    assert (row["seeds"], row["runs"], row["pairs"], row["level"]) == ("0 1 2", "3", "3", "0.95")
    assert (row["reference"], row["metric"], row["view"], row["shift"]) == (
        "concatenation",
        "accuracy",
        "single",
        "both",
    )
    (own,) = [r for r in rows if (r["method"], r["split"], r["selection"]) == ("concatenation", "test", "last")]
    assert own["reference"] == own["difference_mean"] == ""


def test_settings_are_columns_and_what_is_missing_is_a_dash():
    grid = [record("cde", 0, 0.5, setting={"seed_like": value}) for value in (0.1, 0.2)]
    lone = record("concatenation", 1, 0.5, last=None)
    table = compare([from_record(one, one["run"]) for one in [lone, *grid]])
    rows = lines_of(to_markdown(table))
    assert rows[0][1] == "seed_like" and [row[1] for row in rows[2:5]] == ["–", "0.1", "0.2"]
    assert rows[2][4] == "–"  # the last epoch of the lone run
    assert rows[-1][3] == "–"  # no partner
    assert "seed_like" in to_csv(table).splitlines()[0]


def test_no_cell_of_the_csv_is_a_formula():
    """A result file may be a stranger's."""
    runs = [record("concatenation", 0, 0.5), record("cde", 0, 0.75, setting={"=1+1": "@now"})]
    rows = list(csv.reader(io.StringIO(to_csv(compare([from_record(one, one["run"]) for one in runs])))))
    assert "setting.=1+1" in rows[0] and "'@now" in rows[-1]
    assert not [cell for row in rows for cell in row if cell[:1] in ("=", "@", "\t", "\r")]
    for cell in (cell for row in rows for cell in row if cell[:1] in ("+", "-")):
        float(cell)


def test_one_seed_has_no_spread_and_one_pair_no_interval():
    runs = [record("concatenation", 0, 0.5), record("cde", 0, 0.75), record("cde", 1, 0.75)]
    rows = lines_of(to_markdown(compare([from_record(one, one["run"]) for one in runs])))
    assert rows[2][2] == "50.0" and rows[3][2] == "75.0 ± 0.0"
    assert rows[-1][2] == "+25.0 [one pair] (1 of 2 seeds)"


def test_a_pipe_in_a_title_does_not_break_the_table():
    run = record("cde", title="a | b")
    assert "a \\| b" in to_markdown(compare([from_record(run, "x")]))


def test_nothing_in_a_title_is_taken_for_markup():
    run = record("own", title="[x](y) <img src=z>\n# *a* \\| b `c`")
    text = to_markdown(compare([from_record(run, "x")]))
    row = next(line for line in text.splitlines() if line.startswith("| [x"))
    assert row.startswith(r"| [x]\(y) &lt;img src=z> # \*a\* \\\| b \`c\` | 1 |")
    assert "<img" not in text


@pytest.mark.parametrize("title", ["[2cm] b", "*b"])
def test_a_title_is_no_argument_of_the_command_before_it(title):
    """LaTeX takes a star or a bracket after the end of a row for a part of the command that ends it."""
    text = to_latex(compare([from_record(record("own", title=f"{title}\n% c"), "x")]))
    assert f"\n{{}}{title} \\% c & 1 &" in text


@pytest.mark.parametrize(("value", "text"), [(0.0151, "+1.5"), (-0.2, "−20.0"), (0.0004, "0.0"), (-0.0004, "0.0")])
def test_differences_carry_their_sign(value, text):
    assert signed(value) == text


def test_latex_has_a_heading_over_the_rules_and_escapes_what_is_special(table):
    run = record("own", title="100 % of a_b & {c} ~ ± \\")
    text = to_latex(compare([from_record(run, "x")]))
    assert r"100 \% of a\_b \& \{c\} \textasciitilde{} $\pm$ \textbackslash{}" in text
    text = to_latex(table)
    assert text.count("\\toprule") == text.count("\\bottomrule") == 2
    assert r"\multicolumn{2}{c}{OOD systematic}" in text and r"\cmidrule(lr){7-8}" in text
    for part in text.split("\\begin{tabular}")[1:]:
        body = part.split("\\midrule")[1].split("\\bottomrule")[0].strip().splitlines()
        assert all(line.count(" & ") == 7 and line.endswith("\\\\") for line in body)
    assert r"+11.0 [+6.0, +17.0]" in text and r"$-$" not in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_latex_compiles(table, tmp_path):
    whole = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + to_latex(table) + "\\end{document}"
    (tmp_path / "t.tex").write_text(whole)
    made = subprocess.run(["pdflatex", "-interaction=batchmode", "t.tex"], cwd=tmp_path, capture_output=True)
    assert made.returncode == 0
