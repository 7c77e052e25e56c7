"""What of a run, of the demo and of the metric is published, and what is refused before anything is sent."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, SpaceCard
from safetensors.numpy import save_file

from modeling_cde import CDEImageProcessor
from modeling_cde.cards.checkpoint_files import model_files, of_an_earlier_upload, provisional_card
from modeling_cde.cards.publishing import main, publish_run
from tests.cards.hub_rules import problems
from tests.cards.test_model_card import run_folder
from tests.hub_client import spoken_to
from tests.hub_server import HubServer, Repository
from tests.test_commands import ROOT
from tests.tiny_models import tiny_cde

TOKEN = "hf_" + "a" * 34


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "saved"
    tiny_cde("resnet").save_pretrained(folder)
    config = (folder / "config.json").read_text()
    CDEImageProcessor(size=32).save_pretrained(folder)
    run_folder(folder)  # the numbers of a run
    (folder / "config.json").write_text(config)
    return folder


@pytest.fixture
def run(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "run"))


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with HubServer() as server, spoken_to(server):
        yield server


def shard(folder: Path) -> None:
    weights = folder / "model.safetensors"
    shutil.copy(weights, folder / "model-00001-of-00002.safetensors")
    weights.rename(folder / "model-00002-of-00002.safetensors")
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}
    index["weight_map"]["b"] = "model-00002-of-00002.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def without_custom_pipeline(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["custom_pipelines"]
    (folder / "config.json").write_text(json.dumps(config))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("spoil", "kind", "sentence"),
    [
        (lambda f: shutil.rmtree(f), FileNotFoundError, "has no checkpoint"),
        (
            lambda f: (f / "metrics.json").unlink(),
            FileNotFoundError,
            "metrics.json is missing, so the card has no numbers",
        ),
        (lambda f: (f / "metrics.json").write_text("{"), ValueError, "metrics.json is not JSON"),
        (lambda f: (f / "model.safetensors").unlink(), FileNotFoundError, "lacks model.safetensors, which others need"),
        (lambda f: cut(f / "model.safetensors"), ValueError, "model.safetensors is damaged"),
        (lambda f: (f / "preprocessor_config.json").unlink(), FileNotFoundError, "lacks preprocessor_config.json"),
        (lambda f: (f / "backbones_cde.py").unlink(), FileNotFoundError, "lacks backbones_cde.py"),
        (without_custom_pipeline, FileNotFoundError, "lacks custom_pipelines in config.json"),
        (
            lambda f: shard(f) or (f / "model-00001-of-00002.safetensors").unlink(),
            FileNotFoundError,
            "lacks model-00001",
        ),
        (lambda f: (f / "report.html").write_text(f"--hub_token {TOKEN}"), ValueError, "report.html contains a token"),
    ],
)
def test_a_run_that_nobody_could_load_or_should_see_is_refused(run, hub, spoil, kind, sentence):
    spoil(run)
    asked = len(hub.calls)
    with pytest.raises(kind, match=sentence):
        publish_run(run, "org/never")
    assert len(hub.calls) == asked


def test_what_of_a_run_is_published(run, hub):
    shard(run)
    (run / "pictures" / "deep").mkdir(parents=True)
    (run / "last").mkdir()
    (run / "adapter").mkdir()
    save_file({}, run / "deltas.safetensors")
    for name in ("geometry.json", "report.html", "training_curve.svg", "split_single_comp.json", "gallery.parquet"):
        (run / name).write_text("{}")
    for name in (
        "adapter/adapter_config.json",
        "pictures/a.png",
        "pictures/deep/b.png",
        "last/metrics.json",
        "notes.txt",
    ):
        (run / name).write_text("{}")
    for name in ("training_args.bin", "trainer_state.json", "optimizer.pt"):
        (run / name).write_bytes(b"{}")
    publish_run(run, "org/all")
    files = hub.repositories["model", "org/all"].files()
    left_out = {"notes.txt", "training_args.bin", "trainer_state.json", "optimizer.pt"}
    left_out |= {"pictures/deep/b.png", "last/metrics.json"}
    there = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert set(files) == there - left_out | {".gitattributes"}
    assert not problems(ModelCard(files["README.md"].decode()).data.to_dict())


def test_a_run_that_recorded_places_is_published_without_them(run, hub):
    """As runs did before."""
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["training"]["data"] = metrics["training"]["arguments"]["data"] = "/home/ann/pairs"
    metrics["training"]["command"] = "accelerate launch train.py --data '/home/ann/pairs' --seed 1"
    metrics["training"]["manifests"] = ["/home/ann/pairs/manifests/single_comp.json"]
    (run / "metrics.json").write_text(json.dumps(metrics))
    publish_run(run, "org/placeless")
    files = hub.repositories["model", "org/placeless"].files()
    assert "accelerate launch train.py --data pairs --seed 1\n" in files["README.md"].decode()
    assert not [name for name, content in files.items() if b"/home/ann" in content]
    sent = json.loads(files["metrics.json"])
    assert sent["training"]["data"] == "pairs" and sent["splits"] == metrics["splits"]


def test_a_missing_or_older_report_is_written_first(run, hub, monkeypatch):
    written = []

    def analyse(folder, with_umap):
        written.append(with_umap)
        (folder / "report.html").write_text(f"report {len(written)}")

    monkeypatch.setattr("modeling_cde.analysis.report.analyse", analyse)
    save_file({}, run / "deltas.safetensors")
    for _ in range(2):
        publish_run(run, "org/reported")
        assert (run / "report.html").read_text() == "report 1"
    later = (run / "report.html").stat().st_mtime + 1
    os.utime(run / "deltas.safetensors", (later, later))
    publish_run(run, "org/reported")
    assert hub.repositories["model", "org/reported"].files()["report.html"] == b"report 2"
    assert written == [False, False]


def test_another_run_takes_the_place_of_the_one_that_is_there(run, saved, hub):
    shard(run)
    (run / "pictures").mkdir()
    (run / "pictures" / "old.png").touch()
    publish_run(run, "org/again")
    publish_run(saved, "org/again", commit_message="New run", name="A name")
    repository = hub.repositories["model", "org/again"]
    assert repository.messages[1:] == ["Upload the run run", "New run"]
    gone = {"pictures/old.png", "model.safetensors.index.json"}
    gone |= {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    old, new = (repository.files(commit) for commit in list(repository.commits)[1:])
    assert set(old) - set(new) == gone and set(new) - set(old) == {"model.safetensors"}
    assert "# A name" in new["README.md"].decode()
    assert of_an_earlier_upload(["LICENSE", "my.py", "onnx/model.onnx", "sub/metrics.json", "pytorch_model.bin"]) == [
        "onnx/model.onnx",
        "pytorch_model.bin",
    ]


def test_the_card_of_an_unfinished_training_has_valid_metadata_and_no_results(run):
    config = json.loads((run / "config.json").read_text())
    card = ModelCard(provisional_card(config, "org/name", "This is step 1 of 3 of a training.").decode())
    assert not problems(card.data.to_dict()) and card.data.eval_results is None
    assert "# name\n\nThis is step 1 of 3 of a training. This checkpoint is not evaluated" in card.text
    assert 'model="org/name", trust_remote_code=True' in card.text and "open, close, break" in card.text
    assert model_files(run).keys() >= {"modeling_cde.py", "pipeline_cde.py", "image_processing_cde.py"}


def test_the_demo_is_published_with_the_packages_source(hub, capsys):
    for name in ("org/all", "org/another"):
        hub.repositories["model", name] = Repository()
        hub.repositories["model", name].commits["abc"] = {}
    main(["space", "--push", "org/demo", "--model", "org/all", "--revision", "abc"])
    assert capsys.readouterr().out == f"Published the space at {hub.url}/spaces/org/demo\n"
    repository = hub.repositories["space", "org/demo"]
    files = repository.files()
    assert len(repository.commits) == 2
    assert {"app.py", "requirements.txt", "modeling_cde/models/modeling_cde.py", "modeling_cde/data/loading.py"} <= set(
        files
    )
    assert {"modeling_cde/cards/model_card.md", "modeling_cde/analysis/report.html", "modeling_cde/py.typed"} <= set(
        files
    )
    assert not [name for name in files if "__pycache__" in name or name.endswith(".pyc")]
    assert json.loads(files["model.json"]) == {"model": "org/all", "revision": "abc"}
    card = SpaceCard(files["README.md"].decode())
    assert card.data.sdk == "gradio" and card.data.models == ["org/all"]
    assert not problems(card.data.to_dict(), "space")
    main(["space", "--push", "org/demo", "--model", "org/another"])
    assert json.loads(repository.files()["model.json"]) == {"model": "org/another", "revision": None}


def test_the_demo_asks_for_the_hardware_and_the_libraries_that_it_needs():
    """Those of the package, whose source it gets, since a package index need not have the package itself."""
    card = SpaceCard.load(ROOT / "space" / "README.md").data
    assert card.suggested_hardware == "cpu-basic"
    assert f"gradio=={card.sdk_version}" in (ROOT / "constraints.txt").read_text().split()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={card.python_version}"
    wanted = [*project["dependencies"], *project["optional-dependencies"]["heic"]]
    assert (ROOT / "space" / "requirements.txt").read_text().splitlines() == wanted


def test_the_metric_is_published_under_the_name_that_evaluate_looks_for(hub, capsys):
    main(["metric", "--push", "org/action_accuracy"])
    assert "action_accuracy.py" in hub.repositories["space", "org/action_accuracy"].files()
    with pytest.raises(SystemExit, match="name the Space org/action_accuracy"):
        main(["metric", "--push", "org/other"])


def test_what_is_asked_wrongly_is_said(hub, tmp_path):
    with pytest.raises(SystemExit, match="publishing space: The Hub has no model org/nowhere that"):
        main(["space", "--push", "org/demo", "--model", "org/nowhere"])
    hub.repositories["model", "org/there"] = Repository()
    with pytest.raises(SystemExit, match="publishing space: The Hub has no model org/there at abc that"):
        main(["space", "--push", "org/demo", "--model", "org/there", "--revision", "abc"])
    with pytest.raises(SystemExit, match="publishing space: 'runs/a/b' is not a valid repository name"):
        main(["space", "--push", "org/demo", "--model", "runs/a/b"])
