"""The report of a run holds its numbers, pictures and findings, needs nothing else, and is written of broken runs."""

import json

import numpy as np
import pytest

from modeling_cde.analysis import report
from modeling_cde.analysis.__main__ import main
from modeling_cde.analysis.delta_set import load_delta_sets, load_examples
from modeling_cde.analysis.measures.geometry import measure_split
from modeling_cde.analysis.plots import run_plots as pictures
from modeling_cde.analysis.plots.run_plots import shown_splits
from modeling_cde.cli.extras import install
from modeling_cde.data.splits.titles import split_title
from tests.analysis.drawn_run import drawn_run, drawn_set
from tests.analysis.synthetic_deltas import save_sets
from tests.analysis.test_page import Reader


def cells(reader):
    """The tables of a page: a list of rows of texts for each."""
    tables = []
    for element in reader.elements:
        if element["tag"] == "table":
            tables.append([])
        elif element["tag"] == "tr":
            tables[-1].append([])
        elif element["tag"] in ("th", "td"):
            tables[-1][-1].append(element["text"])
    return tables


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run with one test split, analysed by the command."""
    run = drawn_run(tmp_path_factory.mktemp("runs") / "first", splits=("train", "test"), n=60)
    with pytest.raises(SystemExit) as ended:
        main([str(run), "--no_umap"])
    assert ended.value.code == 0
    return run


def test_the_command_leaves_numbers_pictures_and_a_report(written):
    names = {path.name for path in (written / "pictures").iterdir()}
    stems = (
        "training_curve",
        "examples_test",
        "confusion_test",
        "cosines_test",
        "map_pca_test",
        "sparsity",
        "reliability",
    )
    assert names == {f"{stem}{ending}" for stem in stems for ending in (".png", ".svg")}
    assert (written / "geometry.json").is_file() and (written / "report.html").is_file()


def test_the_report_shows_what_the_files_hold(written):
    reader = Reader((written / "report.html").read_text(encoding="utf-8"))
    assert reader.texts("h1") == ["Run first"]
    metrics = json.loads((written / "metrics.json").read_text())["splits"]["test"]
    geometry = json.loads((written / "geometry.json").read_text())["splits"]["test"]
    tables = cells(reader)
    results = dict(zip(*tables[0], strict=True))
    assert results["split"] == "IID" and results["pairs"] == "60"
    assert results["accuracy"] == f"{metrics['accuracy']:.3f}"
    assert results["calibration error"] == f"{geometry['calibration']['ece']:.3f}"
    rows = {row[0]: row[1] for table in tables for row in table if len(row) == 2}
    assert rows["cosine of opposite actions"] == f"{geometry['opposites']['mean']:.3f}".replace("-", "−")
    assert rows["sparsity (Hoyer)"] == f"{geometry['sparsity']['hoyer']:.3f}"
    by_object = dict(next(table for table in tables if table[0] == ["object", "IID"])[1:])
    assert by_object == {name: f"{value:.3f}" for name, value in metrics["accuracy_by_object"].items()}
    assert rows["contrastive_weight"] == "2.0"
    assert any("accelerate launch train.py" in text for text in reader.texts("code"))


def test_the_report_is_one_file_with_all_pictures_and_says_what_is_not_there(written):
    page = (written / "report.html").read_text(encoding="utf-8")
    reader = Reader(page)
    assert len(reader.all("img")) == 7
    assert all(picture["src"].startswith("data:image/") and picture["alt"] for picture in reader.all("img"))
    assert "The UMAP maps were switched off." in reader.texts("li")


def test_each_finding_of_the_doctor_is_on_the_page(written):
    from modeling_cde.analysis.doctor.diagnosis import examine

    page = Reader((written / "report.html").read_text(encoding="utf-8"))
    shown = [row for table in cells(page) for row in table]
    for finding in examine(written):
        assert [finding.sign, finding.severity, finding.sentence, finding.advice] in shown
    assert any(text.startswith("Looked for: ") for text in page.texts("li"))


@pytest.fixture
def unpainted(monkeypatch):
    """Reports without the cost of painting."""
    monkeypatch.setattr(report, "draw_pictures", lambda *_, **__: pictures.Pictures())


def test_the_report_names_files_without_their_places(tmp_path, unpainted):
    run = drawn_run(tmp_path / "placed", n=40)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["training"]["command"] += f" --data {tmp_path / 'pairs'}"
    metrics["training"]["data"] = metrics["training"]["arguments"]["data"] = str(tmp_path / "pairs")
    (run / "metrics.json").write_text(json.dumps(metrics))
    page = report.write_report(run).read_text(encoding="utf-8")
    assert str(tmp_path) not in page and str(tmp_path) not in (run / "geometry.json").read_text()
    assert "from_scratch.yaml --data pairs" in page and "python -m modeling_cde.analysis placed" in page


def test_a_run_that_diverged_is_reported(tmp_path, unpainted):
    run = drawn_run(tmp_path / "broken", n=40)
    part = drawn_set("test", n=40)
    part.delta[3] = np.nan
    save_sets(run, part)
    done = report.analyse(run)
    assert done.geometry is None and "not finite" in done.trouble
    page = Reader(done.path.read_text(encoding="utf-8"))
    assert done.trouble in page.texts("p") and any(row[1] == "error" for row in cells(page)[1][1:])


def test_an_evaluation_without_training_is_reported(tmp_path, unpainted):
    run = drawn_run(tmp_path / "evaluated", splits=("validation", "test_syst"), n=40)
    metrics = json.loads((run / "metrics.json").read_text())
    del metrics["training"]
    (run / "metrics.json").write_text(json.dumps(metrics))
    (run / "trainer_state.json").unlink()
    assert "Arguments of the training" not in report.write_report(run).read_text(encoding="utf-8")


def test_pictures_that_cannot_be_drawn_are_said_and_cost_no_other(tmp_path, monkeypatch):
    drawn = []
    for name in ("plot_confusion", "plot_delta_map", "plot_cosines", "plot_sparsity", "plot_reliability"):
        monkeypatch.setattr(pictures, name, lambda *_, name=name, **__: drawn.append(name) or tmp_path / "x.png")
    (tmp_path / "x.svg").write_text("<svg/>")
    monkeypatch.setattr(pictures, "has_umap", lambda: False)

    def fails(*_, **__):
        raise ValueError("it has 1 pairs")

    monkeypatch.setattr(pictures, "plot_delta_map", fails)
    part = drawn_set("test")
    found = pictures.draw_pictures(tmp_path, {"test": part}, None, {"splits": {"test": measure_split(part)}})
    assert found.missing["map"] == ["it has 1 pairs", f"UMAP maps need umap-learn: {install('umap')}"]
    assert found.missing["training"] == ["The run has no trainer_state.json, so there is no training curve."]
    assert drawn == ["plot_confusion", "plot_cosines", "plot_sparsity", "plot_reliability"]


def test_alternative_texts_carry_the_numbers():
    part = drawn_set("test", n=80)
    wrong = int((part.predictions != part.labels).sum())
    text = pictures._describe_errors(part)
    assert f"{wrong} of 80 pairs are wrong" in text and " mistaken for " in text
    measured = measure_split(part)
    assert "clean and dirty −".replace("−", "-") in pictures._describe_cosines(measured)
    assert "no opposite actions" in pictures._describe_cosines(measured | {"opposites": None})


def test_splits_with_pictures_are_the_tests():
    assert shown_splits({"validation": 0, "test": 1, "train": 2, "test_syst": 3}) == ["test", "test_syst"]
    assert shown_splits({"validation": 0, "train": 2}) == ["validation"]
    assert split_title("test_comp") == "OOD compositional" and split_title("kitchens") == "kitchens"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: (run / "metrics.json").unlink(), "metrics.json is missing: give the output folder"),
        (lambda run: (run / "deltas.safetensors").unlink(), "deltas.safetensors is missing: give the output folder"),
        (lambda run: (run / "metrics.json").write_text("{"), "metrics.json has no scores of any split"),
        (lambda run: (run / "metrics.json").write_text('{"splits": {}}'), "metrics.json has no scores of any split"),
        (
            lambda run: (run / "metrics.json").write_text('{"splits": {"test": {}}}'),
            "metrics.json has no scores of any split",
        ),
        (lambda run: (run / "deltas.safetensors").write_bytes(b"12"), "not a complete safetensors file"),
    ],
)
def test_a_folder_that_is_no_run_is_one_sentence_and_the_others_go_on(
    tmp_path, capsys, unpainted, monkeypatch, spoil, message
):
    bad, good = drawn_run(tmp_path / "bad", n=20), drawn_run(tmp_path / "good", n=20)
    spoil(bad)
    with pytest.raises(SystemExit) as ended:
        main([str(bad), str(good)])
    said = capsys.readouterr()
    assert ended.value.code == 1 and message in said.err and len(said.err.strip().splitlines()) == 1
    assert (good / "report.html").is_file() and "accuracy" not in said.err


def test_captions_say_what_weights_mean_and_how_much_of_them_is_on_the_target(tmp_path, monkeypatch):
    plots = ("confusion", "delta_map", "cosines", "sparsity", "reliability", "training_curve", "examples")
    for name in plots:
        monkeypatch.setattr(pictures, f"plot_{name}", lambda *_: tmp_path / "x.png")
    (tmp_path / "x.svg").write_text("<svg/>")
    captions = []
    for weights in (True, False):
        run = drawn_run(tmp_path / str(weights), splits=("test",), n=20, patches=False, weights=weights)
        drawn = pictures.draw_pictures(run, load_delta_sets(run), load_examples(run), None, with_umap=False)
        captions += [one.caption for one in drawn.of["examples"]]
    assert "0.25 of the weight lies in the target's mask, which covers 0.06 of the picture." in captions[0]
    assert "eight" not in captions[1]


def test_compare_goes_to_the_comparison(monkeypatch):
    from modeling_cde.analysis.compare import comparison

    asked = []
    monkeypatch.setattr(comparison, "main", asked.append)
    main(["compare", "results", "--reference", "cde"])
    assert asked == [["results", "--reference", "cde"]]
