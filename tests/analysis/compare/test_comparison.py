"""The command: files that agree with the records, a page that needs nothing else, plain words for bad input."""

import csv
import json
import re
import statistics

import pytest

from modeling_cde.analysis.compare.comparison import default_output, main
from modeling_cde.analysis.compare.geometry_table import geometry_table
from modeling_cde.analysis.plots import style
from modeling_cde.analysis.results import from_record, load_results
from tests.analysis.synthetic_results import record, write


@pytest.fixture(scope="module", autouse=True)
def small_pictures():
    """A quarter of the pixels: nothing here looks at them, and most of the time goes into them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style._RC, "savefig.dpi", 50)
        yield


def geometry(hoyer):
    return {"splits": {"test": {"n": 200, "sparsity": {"hoyer": hoyer}, "opposites": None}}}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for seed in range(3):
        write(folder, record("concatenation", seed, 0.5 + 0.02 * seed, 0.5, title="plain & <b>"))
        write(folder, record("cde", seed, 0.7 + 0.01 * seed, 0.6, geometry=geometry(0.5 + seed / 10)))
    write(folder, record("icm", 0, 0.6, commit="fedcba9"))
    main([str(folder), "--title", "Three methods"])
    return folder


def test_every_file_is_there(compared):
    made = {path.name for path in (compared / "comparison").rglob("*.*")}
    assert {"table.md", "table.csv", "table.tex", "report.html", "accuracy.png", "accuracy.svg"} <= made
    assert {"differences.png", "differences.svg"} <= made


def test_the_tables_can_be_recomputed_from_the_json_files(compared):
    runs = [json.loads(path.read_text()) for path in compared.glob("*.json")]
    rows = list(csv.DictReader((compared / "comparison" / "table.csv").open()))
    assert {row["metric"] for row in rows} == {"accuracy", "macro_accuracy", "gap", "cross_entropy"}
    for row in rows:
        own = {
            run["seed"]: run[row["selection"]]["splits"]
            for run in runs
            if run["method"] == row["method"] and run[row["selection"]]
        }
        plain = {run["seed"]: run[row["selection"]]["splits"] for run in runs if run["method"] == "concatenation"}

        def figure(splits, row=row):
            if row["metric"] == "gap":
                return splits["test"]["accuracy"] - splits[row["split"]]["accuracy"]
            return splits[row["split"]][row["metric"]]

        assert float(row["mean"]) == pytest.approx(statistics.fmean(map(figure, own.values())))
        if row["method"] != "concatenation":
            differences = [figure(splits) - figure(plain[seed]) for seed, splits in own.items()]
            assert float(row["difference_mean"]) == pytest.approx(statistics.fmean(differences), abs=1e-12)


def test_the_table_says_where_it_comes_from_and_what_differs(compared):
    text = (compared / "comparison" / "table.md").read_text()
    assert text.startswith("# Three methods") and "7 runs of 2026-11-22" in text and "a processor, 2 cores" in text
    assert "commit is not the same for all runs. abc1234" in text and "title of icm has no run" in text
    assert "python -m modeling_cde.analysis compare" in text


def test_the_page_needs_no_network_and_shows_everything(compared):
    page = (compared / "comparison" / "report.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page) and "<script" not in page
    assert "plain &amp; &lt;b&gt;" in page and "<b>" not in page
    for heading in ("Results", "How to read this", "Geometry of the deltas", "Signs of trouble", "Runs"):
        assert f">{heading}</h2>" in page
    assert "0.600 ± 0.100" in page  # Hoyer, .5 to .7
    assert "accelerate launch train.py --method cde --seed 2" in page


def test_equal_results_give_equal_files(compared, tmp_path):
    main([str(compared), "--title", "Three methods", "--output", str(tmp_path)])
    for name in ("table.md", "table.csv", "table.tex", "report.html", "pictures/accuracy.png"):
        assert (tmp_path / name).read_bytes() == (compared / "comparison" / name).read_bytes()


def test_methods_can_be_chosen_and_another_reference_taken(compared, tmp_path, capsys):
    arguments = ["--methods", "cde", "icm", "--reference", "cde", "--output", str(tmp_path)]
    main([str(compared), *arguments])
    printed = capsys.readouterr().out
    assert "Difference to title of cde" in printed and "plain" not in printed
    assert f"{tmp_path}/report.html" in printed


def test_a_grid_shows_its_surface(tmp_path):
    grid = [record("cde", 0, 0.5, None, setting={"a": x, "b": y}) for x in (0, 1) for y in (0, 1)]
    write(tmp_path, *grid)
    main([str(tmp_path)])
    assert (tmp_path / "comparison" / "pictures" / "surface_cde_selected.svg").is_file()
    page = (tmp_path / "comparison" / "report.html").read_text()
    assert ">Sensitivity</h2>" in page and "Heat maps of the accuracy" in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "compare: nowhere does not exist"),
        (["{empty}"], "no results found"),
        (["{results}", "--output", "{results}/cde-both-seed0.json"], "cde-both-seed0.json: File exists."),
        (["{results}", "--methods", "cdee"], "--methods cdee: no run has that method; choose from concatenation"),
    ],
)
def test_bad_input_gets_one_sentence(compared, tmp_path, arguments, said):
    filled = [one.format(empty=tmp_path, results=compared) for one in arguments]
    with pytest.raises(SystemExit, match=re.escape(said)):
        main(filled)


def test_runs_without_a_test_split_are_refused(tmp_path):
    one = record()
    for rule in ("selected", "last"):
        one[rule]["splits"] = {"validation": one[rule]["splits"]["validation"]}
    write(tmp_path, one)
    with pytest.raises(SystemExit, match='no run has a split whose name begins with "test"'):
        main([str(tmp_path)])


def test_where_files_go(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.json").write_text("{}")
    assert default_output(tmp_path) == tmp_path / "comparison"
    assert default_output(tmp_path / "run") == tmp_path / "comparison"
    assert default_output(tmp_path / "run" / "metrics.json").name == "comparison"


def test_geometry_is_averaged_over_seeds_and_says_of_how_many():
    runs = [from_record(record("cde", seed, geometry=geometry(0.5 + seed / 10)), "x") for seed in range(2)]
    runs += [from_record(record("cde", 2), "x"), from_record(record("icm", 0), "x")]
    headers, rows = geometry_table(runs, "test")
    assert headers == ["measure", "title of cde", "title of icm"]
    assert rows == [["sparsity (Hoyer)", f"0.550 ± {statistics.stdev([0.5, 0.6]):.3f} (2 of 3)", "–"]]


def test_what_was_written_is_not_taken_for_a_result(compared):
    assert len(load_results(compared)) == 7
