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
KEPT = ROOT / "benchmarks" / "results" / "rooms"


@pytest.mark.parametrize("file", [ROOT / "README.md", KEPT / "comparison" / "table.md"])
def test_the_tables_come_from_the_kept_results(file):
    table = compare(load_results(KEPT), reference="concatenation")
    text = file.read_text(encoding="utf-8")
    for differences in (False,) if file.name == "README.md" else (False, True):  # README shows the first alone
        assert markdown_table(*header_and_rows(table, differences=differences)) in text


def test_every_run_of_the_recipe_has_a_result_and_was_made_by_its_command(monkeypatch):
    monkeypatch.chdir(ROOT)
    plan = make_plan(load_recipe(Path("configs/benchmark_rooms.yaml")))
    assert len(plan) == 9
    for run in plan:
        result = read_result(run)  # refuses a result of other settings
        assert result is not None and result["command"] == run.command()
        assert result["uncommitted"] == [] and result["selected"]["criterion"] == "eval_validation_cross_entropy"
