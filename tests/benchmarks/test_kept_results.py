"""What README and the kept tables say is what the kept results give, and each was made by the recipe of today."""

from pathlib import Path

import pytest

from benchmarks.paper.plan import make_plan
from benchmarks.paper.recipe import load_recipe
from benchmarks.paper.run import read_result
from modeling_cde.analysis.compare.comparison_tables import header_and_rows, markdown_table
from modeling_cde.analysis.compare.pairing import compare
from modeling_cde.analysis.results import load_results

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "benchmarks" / "results"
PAGES = {"dino": ROOT / "README.md", "rooms": ROOT / "docs" / "benchmark.md"}


@pytest.mark.parametrize("name", PAGES)
def test_the_tables_come_from_the_kept_results(name):
    table = compare(load_results(KEPT / name), reference="concatenation")
    first, differences = (markdown_table(*header_and_rows(table, differences=which)) for which in (False, True))
    assert first in PAGES[name].read_text(encoding="utf-8")
    beside = (KEPT / name / "comparison" / "table.md").read_text(encoding="utf-8")
    assert first in beside and differences in beside


@pytest.mark.parametrize(
    ("name", "runs", "criterion"), [("dino", 24, None), ("rooms", 9, "eval_validation_cross_entropy")]
)
def test_every_run_of_the_recipe_has_a_result_and_was_made_by_its_command(name, runs, criterion, monkeypatch):
    monkeypatch.chdir(ROOT)
    plan = make_plan(load_recipe(Path(f"configs/benchmark_{name}.yaml")))
    assert len(plan) == runs
    for run in plan:
        result = read_result(run)  # refuses a result of other settings
        assert result is not None and result["command"] == run.command()
        assert result["uncommitted"] == [] and result["selected"]["criterion"] == criterion
