"""Models on a small Hub, with the real client: published and pushed here, loaded in a process without the package."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel
from huggingface_hub import constants
from PIL import Image
from transformers import AutoModel, pipeline

from modeling_cde import CDEForActionClassification, CDEImageProcessor
from modeling_cde.cards.__main__ import main as cards
from modeling_cde.cards.hub import commit_files
from modeling_cde.cards.publishing import publish_run
from modeling_cde.training.arguments import ModelArguments
from modeling_cde.training.lora import add_lora
from modeling_cde.training.new_model import make_model
from modeling_cde.training.trainer import CDETrainer
from tests.hub_client import HubClient, spoken_to
from tests.hub_server import Failure, HubServer, Repository
from tests.tiny_models import backbone_config, tiny_cde
from tests.tiny_pairs import pairs, quick

NOT_INSTALLED = ("modeling_cde", "datasets", "accelerate", "evaluate", "peft")
READ = """
from transformers import pipeline
pipe = pipeline("action-classification", model={name!r}, revision={revision!r}, trust_remote_code=True, device="cpu")
result = pipe(*{images})
"""
METRICS = {
    "splits": {"test": {"n": 4, "accuracy": 0.75, "macro_accuracy": 0.5, "opposite_error_share": None}},
    "gap": {},
    "environment": {"device": "CPU", "cores": 2, "torch": "2", "transformers": "5"},
    "training": {
        "command": "accelerate launch train.py",
        "data": "data/rooms",
        "minutes": 1.5,
        "pairs": {"train": 9, "test": 4},
        "arguments": {"data": None, "image_size": 32, "view": "single", "seed": 0, "method": "cde", "rooms_pairs": 9},
    },
}


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with HubServer() as server, spoken_to(server):
        yield server


@pytest.fixture(autouse=True)
def all_is_well_again(request) -> Iterator[None]:
    yield
    if "hub" in request.fixturenames:
        request.getfixturevalue("hub").failures.clear()


@pytest.fixture(scope="module")
def reader(hub, tmp_path_factory) -> Iterator[HubClient]:
    with HubClient(hub, tmp_path_factory.mktemp("reader"), token="", without=NOT_INSTALLED) as client:
        yield client


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("images")
    for name, picture in zip(
        "ba", np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3), dtype=np.uint8), strict=True
    ):
        Image.fromarray(picture).save(folder / f"{name}.png")
    return [str(folder / "b.png"), str(folder / "a.png")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run as train.py leaves it, of a model that nobody trained."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    tiny_cde("vit", delta_mode="patch").save_pretrained(folder)
    CDEImageProcessor(size=32).save_pretrained(folder)
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    (folder / "pictures").mkdir()
    (folder / "pictures" / "cosines_test.png").write_bytes(b"picture")
    (folder / "training_args.bin").write_bytes(b"pickle")
    (folder / "checkpoint-3").mkdir()
    (folder / "checkpoint-3" / "optimizer.pt").write_bytes(b"pickle")
    return folder


@pytest.fixture
def run(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def stored(hub: HubServer, name: str) -> Repository:
    return hub.repositories["model", name]


def asked_here(folder: Path, images: list[str]) -> Any:
    model = CDEForActionClassification.from_pretrained(folder)
    processor = CDEImageProcessor.from_pretrained(folder)
    return pipeline("action-classification", model=model, image_processor=processor, device="cpu")(*images)


def same(answer: dict[str, Any], expected: list[dict[str, Any]]) -> bool:
    assert "result" in answer, answer
    found = [(item["label"], pytest.approx(item["score"], abs=1e-6)) for item in answer["result"]]
    return found == [(item["label"], item["score"]) for item in expected]


# A published run


def test_a_published_run_is_loaded_by_name_without_the_package(run, hub, reader, images):
    assert publish_run(run, "org/run") == f"{hub.url}/org/run"
    repository = stored(hub, "org/run")
    assert len(repository.commits) == 2 and repository.messages[1] == "Upload the run run"
    assert {"config.json", "model.safetensors", "metrics.json", "README.md", "pictures/cosines_test.png"} <= set(
        repository.files()
    )
    assert not [name for name in repository.files() if name.endswith((".bin", ".pt"))]
    assert 'model="org/run", trust_remote_code=True' in repository.files()["README.md"].decode()
    assert same(reader.run(READ.format(name="org/run", revision=None, images=images)), asked_here(run, images))
    answer = reader.run(
        """
from transformers import AutoConfig, AutoImageProcessor, AutoModel
kinds = (AutoConfig, AutoImageProcessor, AutoModel)
result = [type(kind.from_pretrained("org/run", trust_remote_code=True)).__name__ for kind in kinds]
import sys
assert not [name for name in sys.modules if name.split(".")[0] == "modeling_cde"]
"""
    )
    assert answer == {"result": ["CDEConfig", "CDEImageProcessor", "CDEModel"]}


def test_a_hub_that_fails_while_it_is_read_is_said_and_the_next_try_loads(run, hub, reader, images):
    publish_run(run, "org/read")
    read = READ.format(name="org/read", revision=None, images=images)
    # The client gives up after six tries; so that nobody waits, it may not wait here.
    reader.run(
        "import huggingface_hub.file_download as f, types, time\nf.time = types.SimpleNamespace(**vars(time))\n"
        "f.time.sleep = lambda seconds: None\nimport huggingface_hub.utils._http as h\nh.time = f.time"
    )
    load = 'from transformers import AutoModel\nAutoModel.from_pretrained("org/read", trust_remote_code=True)'
    for part, failure, sentence in (
        ("/config.json", Failure(500), "couldn't connect"),
        ("/model.safetensors", Failure(500), "couldn't connect"),
        ("/model.safetensors", Failure(0), "because the connection broke"),
    ):
        hub.failures[part] = failure
        answer = reader.run(load)
        assert answer.get("error") == "OSError" and sentence in answer["message"], (part, answer)
        hub.failures.clear()
    assert same(reader.run(read), asked_here(run, images))


# Failures while something is published


@pytest.mark.parametrize(
    ("part", "failure", "sentence"),
    [
        ("/api/repos/create", 500, "answered 500 (it was told to fail); nothing became visible"),
        ("/api/models/", 401, "does not accept the token"),
        ("/preupload/", 500, "answered 500"),
        ("/preupload/", 403, "has no write access to"),
        ("/objects/batch", 503, "answered 503"),
        ("/lfs/", 500, "answered 500"),
        ("/lfs/", Failure(0), "the connection broke"),
        ("/commit/", 500, "answered 500"),
        ("/commit/", 401, "does not accept the token"),
        ("/commit/", 409, "meanwhile (409), so nothing became visible"),
        ("/commit/", Failure(0), "has all files or none"),
    ],
)
def test_a_failure_leaves_the_earlier_state_and_the_second_try_succeeds(part, failure, sentence, hub):
    name = f"org/again-{len(hub.repositories)}"
    old = {"config.json": b"old", "model.safetensors": b"o" * 5000, "metrics.json": b"old"}
    new = {"config.json": b"new", "model.safetensors": name.encode() * 5000}
    commit_files(name, old, message="old")
    before = stored(hub, name).files()

    def push() -> str:
        return commit_files(name, new, message="new", delete=lambda names: ["metrics.json"])

    hub.failures[part] = failure
    with pytest.raises((ConnectionError, PermissionError)) as raised:
        push()
    assert sentence in str(raised.value) and name in str(raised.value) and "\n" not in str(raised.value)
    assert stored(hub, name).files() == before and len(stored(hub, name).commits) == 2
    hub.failures.clear()
    sent = len(hub.calls)
    push()
    assert stored(hub, name).files() == {".gitattributes": b""} | new
    again = [call for call in hub.calls[sent:] if call.startswith("PUT")]
    assert len(again) == (0 if part == "/commit/" else 1)


def test_a_commit_whose_answer_is_lost_is_there_and_is_not_made_twice(hub):
    hub.failures["/commit/"] = Failure(0, late=True)
    with pytest.raises(ConnectionError, match="org/late has all files or none"):
        commit_files("org/late", {"a.txt": b"a"}, message="once")
    assert stored(hub, "org/late").files()["a.txt"] == b"a"
    hub.failures.clear()
    commit_files("org/late", {"a.txt": b"a"}, message="twice")
    assert stored(hub, "org/late").messages[1:] == ["once"]


def test_what_the_repository_has_become_meanwhile_is_not_written_over(hub):
    commit_files("org/parent", {"a.txt": b"a"}, message="first")

    def someone_else_commits(names: list[str]) -> list[str]:
        stored(hub, "org/parent").commit({"a.txt": b"theirs"}, "theirs")
        return []

    with pytest.raises(ConnectionError, match="Somebody else changed"):
        commit_files("org/parent", {"a.txt": b"ours"}, message="ours", delete=someone_else_commits)
    assert stored(hub, "org/parent").files()["a.txt"] == b"theirs"


def test_weights_and_processor_of_a_backbone_are_of_one_commit(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    AutoModel.from_config(backbone_config("vit")).save_pretrained(tmp_path)
    files = {name: (tmp_path / name).read_bytes() for name in ("config.json", "model.safetensors")}
    settings = b'{"image_processor_type": "ViTImageProcessor", "image_mean": [%s, 0.1, 0.1]}'
    commit_files("org/vit", files | {"preprocessor_config.json": settings % b"0.1"}, message="first")
    head = stored(hub, "org/vit").head

    def then_moves(make: Any) -> Any:
        def moving(*args: Any, **kwargs: Any) -> Any:
            made = make(*args, **kwargs)
            new = {"preprocessor_config.json": settings % b"0.9", "config.json": files["config.json"] + b" "}
            stored(hub, "org/vit").commit(files | new, "second")
            return made

        return moving

    for part in (CDEForActionClassification, CDEImageProcessor):
        monkeypatch.setattr(part, "from_backbone", then_moves(part.from_backbone))
    features = {name: ClassLabel(names=["open", "close"]) for name in ("action", "object")}
    model, processor = make_model(ModelArguments(backbone="org/vit"), 32, features)
    assert model.config.backbone_revision == head != stored(hub, "org/vit").head
    assert processor.image_mean[0] == 0.1


def test_what_is_asked_wrongly_is_said(hub, run):
    with pytest.raises(ValueError, match="'run' is not a valid repository name; write ORG/NAME"):
        publish_run(run, "run")
    commit_files("org/public", {"a.txt": b"a"}, message="m")
    with pytest.raises(ValueError, match="org/public exists and is public"):
        commit_files("org/public", {"a.txt": b"a"}, message="m", private=True)
    with pytest.raises(ValueError, match="^org/public cannot be published: Invalid metadata in README.md"):
        commit_files("org/public", {"README.md": b"---\na: [\n---\n"}, message="m")
    with pytest.raises(FileNotFoundError, match=r"did not find org/public or its branch \(404: Revision not found\)"):
        commit_files("org/public", {"a.txt": b"b"}, message="m", revision="none")
    with pytest.raises(PermissionError, match="does not accept the token"):
        commit_files("org/public", {"a.txt": b"a"}, message="m", token="hf_wrong")


def test_a_failed_publication_of_a_run_names_the_command_that_does_it_later(run, hub):
    hub.failures["/commit/"] = 500
    with pytest.raises(ConnectionError) as raised:
        publish_run(run, "org/later", private=True, revision="main", name="My run")
    command = f"python -m modeling_cde.cards push {run} --push org/later --revision main --name 'My run' --private"
    assert str(raised.value).endswith(f"publish it with: {command}")
    hub.failures.clear()
    cards(shlex.split(command)[3:])
    assert "# My run" in stored(hub, "org/later").files()["README.md"].decode()
    assert (run / "README.md").is_file()


# Pushes during training


def pushing(folder: Path, name: str, **options: Any) -> CDETrainer:
    settings = {"save_strategy": "steps", "save_steps": 1, "push_to_hub": True, "hub_model_id": name}
    args = quick(folder, **(settings | {"hub_always_push": True} | options))
    model = options.pop("model", None) or tiny_cde("vit")
    return CDETrainer(model, args, train_dataset=pairs(), processing_class=CDEImageProcessor(size=32))


def move(trainer: CDETrainer) -> None:
    trainer.model.classifier.bias.data += torch.randn(3)


def test_every_push_of_a_training_loads_without_the_package(tmp_path, hub, reader, images):
    commit_files("org/training", {"metrics.json": b"{}", "pytorch_model.bin": b"x", "LICENSE": b"kept"}, message="old")
    trainer = pushing(tmp_path, "org/training")
    trainer.train()
    repository = stored(hub, "org/training")
    trainer.save_model()
    assert len(repository.commits) == 5  # what it would push is there
    move(trainer)
    trainer.save_model()
    steps = [f"Training in progress, step {step}" for step in (1, 2, 3)]
    assert repository.messages[2:] == [*steps, "Model save"]
    for step, commit in enumerate(list(repository.commits)[2:], 1):
        files = repository.files(commit)
        assert not [name for name in files if name.endswith((".bin", ".pt", ".pth", "metrics.json"))]
        assert f"This is step {min(step, 3)} of 3 of a training" in files["README.md"].decode()
        assert "LICENSE" in files
        answer = reader.run(READ.format(name="org/training", revision=commit, images=images))
        assert same(answer, asked_here(tmp_path / f"checkpoint-{step}" if step < 4 else tmp_path, images)), step
    assert not list(tmp_path.glob("_push_*"))
    move(trainer)
    assert trainer.push_to_hub("By hand") == f"{hub.url}/org/training" and repository.messages[-1] == "By hand"
    assert repository.files()["model.safetensors"] == (tmp_path / "model.safetensors").read_bytes()


def test_adapters_are_pushed_merged(tmp_path, hub, reader, images):
    model = add_lora(tiny_cde("vit"), rank=2)
    args = quick(tmp_path, save_strategy="steps", save_steps=3, push_to_hub=True, hub_model_id="org/lora")
    trainer = CDETrainer(model, args, train_dataset=pairs(), processing_class=CDEImageProcessor(size=32))
    trainer.train()
    repository = stored(hub, "org/lora")
    assert repository.messages[1:] == ["Training in progress, step 3"]
    pushed = reader.run(READ.format(name="org/lora", revision=None, images=images))
    trainer.push_to_hub("By hand")
    assert same(pushed, asked_here(tmp_path, images))
    trainer.processing_class = None
    with pytest.raises(FileNotFoundError, match="lacks preprocessor_config.json"):
        trainer._pushes.push(tmp_path, "Training in progress")


def test_a_push_that_fails_is_said_in_a_line_and_training_goes_on(tmp_path, hub, caplog):
    hub.failures["/commit/"] = Failure(500, after=1, times=1)
    trainer = pushing(tmp_path, "org/fails")
    trainer.train()
    assert trainer.state.global_step == 3
    assert stored(hub, "org/fails").messages[1:] == [f"Training in progress, step {step}" for step in (1, 3)]
    said = [record.getMessage() for record in caplog.records if record.name.startswith("modeling_cde")]
    assert len(said) == 1 and said[0].startswith("Not pushed, and training continues: The Hub answered 500")
    hub.failures["/commit/"] = Failure(0)
    move(trainer)
    trainer.save_model()
    assert (tmp_path / "model.safetensors").is_file()
    assert "the connection broke" in caplog.records[-1].getMessage()


@pytest.mark.parametrize(
    ("options", "failures", "kind", "sentence"),
    [
        ({"hub_token": "hf_wrong"}, {}, PermissionError, "does not accept the token for org/before"),
        ({}, {"/preupload/": 403}, PermissionError, "has no write access to org/before"),
        ({}, {"/api/repos/create": Failure(0)}, ConnectionError, "cannot be reached, or the connection broke"),
        ({"hub_model_id": "org/a b"}, {}, ValueError, "is not a valid repository name"),
        ({"hub_strategy": "checkpoint"}, {}, ValueError, "hub_strategy=checkpoint would publish the state of the"),
    ],
)
def test_what_cannot_be_pushed_is_said_before_training(tmp_path, hub, options, failures, kind, sentence):
    hub.failures |= failures
    with pytest.raises(kind, match=sentence):
        pushing(tmp_path, "org/before", **options)


def test_without_a_name_the_repository_has_the_folders(tmp_path, hub):
    trainer = pushing(tmp_path / "my-run", None, save_strategy="no")
    assert trainer.hub_model_id == "org/my-run" and ("model", "org/my-run") in hub.repositories
