"""What README and the kept tables say is what the kept results give, and each was made by the recipe of today."""

from pathlib import Path

import pytest

from benchmarks.paper.plan import make_plan
from benchmarks.paper.recipe import load_recipe
from benchmarks.paper.run import read_result
from benchmarks.study.results import Results, show_table
from modeling_cde.analysis.compare.comparison_tables import header_and_rows, markdown_table
from modeling_cde.analysis.compare.pairing import compare
from modeling_cde.analysis.results import load_results

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "benchmarks" / "results"
PAGES = {
    "dino": ROOT / "docs" / "results.md",
    "dino_patches": ROOT / "docs" / "causes.md",
    "dino_multi": ROOT / "docs" / "causes.md",
    "mechanisms": ROOT / "docs" / "open_questions.md",
    "rooms": ROOT / "docs" / "benchmark.md",
}
DRAWN = ("kinds", "numbers", "layers")  # the page has a picture in place of a table
STUDY = sorted((KEPT / "study").glob("*/*.json"))


@pytest.mark.parametrize("name", PAGES)
def test_the_tables_come_from_the_kept_results(name):
    recipe = load_recipe(ROOT / "configs" / f"benchmark_{name}.yaml")
    table = compare(load_results(KEPT / name), reference=recipe.reference)
    first, differences = (markdown_table(*header_and_rows(table, differences=which)) for which in (False, True))
    assert first in PAGES[name].read_text(encoding="utf-8")
    beside = (KEPT / name / "comparison" / "table.md").read_text(encoding="utf-8")
    assert first in beside and differences in beside


def test_readme_has_rows_of_the_whole_table():
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Results")[2].partition("## A few")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    page = [row.split("|") for row in PAGES["dino"].read_text(encoding="utf-8").splitlines()]
    whole = {"|".join([*cells[:2], *cells[3:]]) for cells in page}  # without the number of seeds, for a phone
    assert len(rows) >= 6 and set(rows[2:]) <= whole and rows[0].replace("<br>", " ") in whole


@pytest.mark.parametrize("path", STUDY, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_study_s_tables_come_from_its_results(path):
    chosen = path.stem == "choices"
    pages = ["experiments.md"] if chosen else ["results.md", "causes.md"]
    said = "".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in pages)
    on = "validation_syst" if chosen else "elsewhere" if path.stem.startswith("transfer") else "test_syst"
    seeds = range(100, 120) if chosen else range(40, 60)  # those below were looked at before a choice
    results = Results.load(path)
    assert {head["fit"]["seed"] for head in results.heads} <= set(seeds)
    if path.stem in DRAWN:
        return
    tables = show_table(results, seeds, on).split("\n\n")
    if path.stem == "left_out":  # the kinds are in a picture
        tables = [tables[0], tables[2]] if path.parent.name == "rooms" else tables[:1]
    assert all(table in said for table in tables)


@pytest.mark.parametrize(
    ("name", "runs", "criterion"),
    [
        ("dino", 300, None),
        ("dino_patches", 12, None),
        ("dino_multi", 15, None),
        ("mechanisms", 60, None),
        ("rooms", 9, "eval_validation_cross_entropy"),
    ],
)
def test_every_run_of_the_recipe_has_a_result_and_was_made_by_its_command(name, runs, criterion, monkeypatch):
    monkeypatch.chdir(ROOT)
    plan = make_plan(load_recipe(Path(f"configs/benchmark_{name}.yaml")))
    assert len(plan) == runs
    for run in plan:
        result = read_result(run)  # refuses a result of other settings
        assert result is not None and result["command"] == run.command()
        assert result["uncommitted"] == [] and result["selected"]["criterion"] == criterion
