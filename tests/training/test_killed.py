"""Kill a training anywhere, and it goes on from a whole checkpoint to the same bits; nothing is pickled on the way."""

import errno
import fcntl
import json
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerCallback

from benchmarks.safety import kill_switch
from modeling_cde.training.checkpoints.checkpoint_folder import (
    checkpoints,
    find_damage,
)
from modeling_cde.training.checkpoints.resuming import find_checkpoint
from modeling_cde.training.checkpoints.run_lock import alone_in
from modeling_cde.training.model_selection import selected_epoch
from modeling_cde.training.stopping import stoppable
from modeling_cde.training.trainer import CDETrainer
from modeling_cde.whole_files import NotWritten, write_files_whole, write_whole
from tests.tiny_models import tiny_cde
from tests.tiny_pairs import pairs, quick
from tests.training.damage import cut, flip

# Seven steps, three to an epoch: a checkpoint and an evaluation at each, of which the best and the last stay.
RUN = {
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "max_steps": 7,
    "eval_strategy": "steps",
    "eval_steps": 1,
    "save_strategy": "steps",
    "save_steps": 1,
    "save_total_limit": 2,
    "load_best_model_at_end": True,
    "metric_for_best_model": "eval_loss",
    "greater_is_better": False,
}


class At(TrainerCallback):
    """Does something after a step."""

    def __init__(self, step, do):
        self.step, self.do = step, do

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            self.do()


def train(folder, *callbacks, **options):
    """Train, or go on, and save what train.py saves of a model."""
    data = pairs(24, noise=0.1)
    model = tiny_cde("vit", projector_dropout=0.2)
    trainer = CDETrainer(
        model, quick(folder, **RUN | options), train_dataset=data, eval_dataset=pairs(6), callbacks=list(callbacks)
    )
    trainer.train(resume_from_checkpoint="true")
    trainer.save_model()
    trainer.save_state()
    return trainer


def end(folder):
    state = json.loads((folder / "trainer_state.json").read_text())
    logs = [{k: v for k, v in log.items() if not k.endswith(("runtime", "second"))} for log in state["log_history"]]
    return (folder / "model.safetensors").read_bytes(), state["best_global_step"], state["best_metric"], logs


def in_a_child(folder, do, seconds=None):
    """Exit status of a copy of this process that does something, negative for a signal, and what it said."""
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        said = os.open(f"{folder}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1), os.dup2(said, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        status = 70
        try:
            do()
            status = 0
        except SystemExit as error:
            if isinstance(error.code, str):
                print(error.code, file=sys.stderr, flush=True)
            status = error.code if isinstance(error.code, int) else 1
        finally:
            os._exit(status)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, Path(f"{folder}.log").read_text()


def killed_train(folder, operation, note=lambda line: None):
    kill_switch.arm(folder, operation, note)
    train(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that was left alone: its end, and each operation on its files."""
    folder, lines = tmp_path_factory.mktemp("whole") / "run", []

    def noted():
        killed_train(folder, 0, lines.append)
        Path(f"{folder}.operations").write_text("\n".join(lines))

    status, said = in_a_child(folder, noted)
    assert status == 0, said
    return SimpleNamespace(
        folder=folder, end=end(folder), operations=Path(f"{folder}.operations").read_text().split("\n")
    )


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("half tmp-checkpoint-1/model.safetensors", 0),  # before there is any checkpoint
        ("half tmp-checkpoint-4/optimizer.safetensors", 0),
        ("os.rename tmp-checkpoint-5", 0),  # everything is written, and has no name
        ("os.remove tmp-old-checkpoint-", 9),  # a checkpoint of before is half removed
        ("os.rename tmp-files/", 3),  # some of the files that a run ends with are in their place
    ],
)
def test_a_training_that_is_killed_ends_like_one_that_was_left_alone(whole, tmp_path, moment, number):
    found = [i for i, line in enumerate(whole.operations, 1) if line.startswith(moment)]
    folder = tmp_path / "run"
    status, _ = in_a_child(folder, lambda: killed_train(folder, found[number]))
    assert status == -signal.SIGKILL and not (folder / "trainer_state.json").exists()
    assert all(find_damage(path) is None for path in checkpoints(folder).values())
    train(folder)
    assert end(folder) == whole.end
    assert not [path.name for path in folder.iterdir() if path.name.startswith("tmp-")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_checkpoint_and_a_sentence(whole, tmp_path, number):
    folder = tmp_path / "run"

    def stopped():
        with stoppable("train.py") as stop:
            # Within an epoch, no checkpoint is due, and the epoch that is cut short must not be evaluated.
            train(folder, At(4, lambda: os.kill(os.getpid(), number)), stop, save_steps=3, eval_steps=3)

    status, said = in_a_child(folder, stopped)
    assert status == 128 + number
    assert f"train.py: stopped by {number.name} at step 4 of 7, with a checkpoint: resume with" in said
    assert sorted(checkpoints(folder)) == [3, 4] and "Traceback" not in said
    state = json.loads((folder / "checkpoint-4" / "trainer_state.json").read_text())
    assert [log["step"] for log in state["log_history"] if "eval_loss" in log] == [3]
    train(folder)
    assert (folder / "checkpoint-7" / "model.safetensors").read_bytes() == (
        whole.folder / "checkpoint-7" / "model.safetensors"
    ).read_bytes()


def test_a_signal_in_the_last_step_leaves_out_no_evaluation(tmp_path):
    """Four steps of three to an epoch: the second epoch ends early, and is evaluated."""
    folder = tmp_path / "run"

    def stopped():
        with stoppable("train.py") as stop:
            by_epoch = {"max_steps": 4, "eval_strategy": "epoch", "save_strategy": "epoch"}
            train(folder, At(4, lambda: os.kill(os.getpid(), signal.SIGTERM)), stop, **by_epoch)

    status, said = in_a_child(folder, stopped)
    assert status == 128 + signal.SIGTERM and "at its last step, 4, with a checkpoint" in said
    state = json.loads((folder / "checkpoint-4" / "trainer_state.json").read_text())
    assert [log["step"] for log in state["log_history"] if "eval_loss" in log] == [3, 4]


def test_a_signal_before_and_after_the_training_ends_at_once(tmp_path):
    def stopped():
        with stoppable("train.py"):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)

    status, said = in_a_child(tmp_path / "x", stopped)
    assert (status, said) == (130, "\ntrain.py: stopped by SIGINT before the training.\n")


def test_a_training_ends_with_the_launcher_that_started_it(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    ready, log = tmp_path / "ready", tmp_path / "x.log"

    def launched():
        if os.fork() == 0:
            with stoppable("train.py"):
                ready.touch()
                time.sleep(20)
        while not ready.exists():
            time.sleep(0.01)

    assert in_a_child(tmp_path / "x", launched)[0] == 0
    until = time.monotonic() + 15
    while not log.read_text() and time.monotonic() < until:
        time.sleep(0.02)
    assert "train.py: stopped by SIGTERM" in log.read_text()


def test_a_second_training_waits_for_the_first_in_the_same_folder(tmp_path, caplog):
    ready = tmp_path / "ready"
    if (child := os.fork()) == 0:
        with alone_in(tmp_path):
            ready.touch()
            time.sleep(1)
        os._exit(0)
    while not ready.exists():
        time.sleep(0.01)
    with pytest.raises(ValueError, match="another training writes to .*: end it, or choose another output_dir"):
        with alone_in(tmp_path, seconds=0.1):
            pass
    with alone_in(tmp_path, seconds=10):
        assert os.waitpid(child, 0)[1] == 0
        with pytest.raises(ValueError, match="another training"), alone_in(tmp_path, seconds=0):
            pass
    with alone_in(tmp_path, seconds=0):
        pass


def test_a_file_system_without_locks_is_trained_on(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with alone_in(tmp_path):
        pass


def test_a_training_holds_its_folder_until_all_is_written(tmp_path):
    trainer = CDETrainer(tiny_cde("vit"), quick(tmp_path, max_steps=1, save_strategy="steps"), train_dataset=pairs(6))
    with trainer.alone():
        trainer.train()
        with pytest.raises(ValueError, match="another training"), alone_in(tmp_path, seconds=0):
            pass
    with pytest.raises(ValueError, match="has checkpoints of an earlier training"), trainer.alone():
        pass


def test_a_file_system_without_locks_stops_no_training(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with alone_in(tmp_path, seconds=0):
        pass


def test_a_file_that_cannot_be_written_ends_it_in_a_sentence(tmp_path):
    """A limit on the size of files stands for a disk that is full: it needs no rights."""
    folder = tmp_path / "run"

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        full = At(2, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY)))
        with stoppable("train.py"):
            train(folder, full)

    status, said = in_a_child(folder, limited)
    assert status == 1 and "Traceback" not in said
    sentence = said.strip().split("\n")[-1]
    assert sentence.startswith(f"train.py: {folder / 'checkpoint-2'} could not be written (") and "large" in sentence
    assert [path.name for path in folder.iterdir()] == ["checkpoint-1"] and find_damage(folder / "checkpoint-1") is None


def test_a_training_does_not_end_with_a_best_checkpoint_that_is_damaged(tmp_path, caplog):
    options = {"save_total_limit": 1, "learning_rate": 2.0}  # so high that the first step is the best
    assert selected_epoch(train(tmp_path, max_steps=3, **options))["step"] == 1
    assert checkpoints(tmp_path).keys() == {1, 3}  # the best, and the one by which it is known to be finished
    flip(tmp_path / "checkpoint-1" / "model.safetensors")
    caplog.clear()
    trainer = train(tmp_path, max_steps=5, **options)
    assert "checkpoint-3 continues without its best checkpoint and selects among those to come: the best" in caplog.text
    assert selected_epoch(trainer)["step"] == trainer.state.best_global_step > 3


def test_a_training_passes_damaged_checkpoints_over_and_refuses_a_named_one(whole, tmp_path, caplog):
    train(tmp_path, max_steps=3, save_total_limit=3)
    for step, name in ((3, "random_state-0.safetensors"), (2, "optimizer.safetensors")):
        cut(tmp_path / f"checkpoint-{step}" / name)
    trainer = CDETrainer(tiny_cde("vit"), quick(tmp_path, **RUN), train_dataset=pairs(24), eval_dataset=pairs(6))
    with pytest.raises(ValueError, match=r"checkpoint-3: random_state-0.safetensors has .* bytes instead of .*; name"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert checkpoints(tmp_path).keys() == {1, 2, 3}
    caplog.clear()
    assert find_checkpoint(trainer.args, True) == str(tmp_path / "checkpoint-1")
    train(tmp_path)
    assert end(tmp_path)[0] == whole.end[0]
    assert all(find_damage(path) is None for path in checkpoints(tmp_path).values())


def test_a_folder_that_nothing_can_be_written_to_is_said_before_the_first_step(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    began = At(1, lambda: pytest.fail("it trained"))
    with pytest.raises(NotWritten, match=rf"{tmp_path} could not be written \(Read-only file system\)"):
        train(tmp_path, began)


def test_a_finished_training_that_is_resumed_does_no_further_step(whole):
    before = end(whole.folder)
    assert train(whole.folder).state.global_step == 7  # within the third epoch
    assert end(whole.folder) == before


def test_no_pickle_is_written_or_read(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a pickle")

    for module, name in ((torch, "save"), (torch, "load"), (pickle, "dumps"), (pickle, "loads"), (pickle, "load")):
        monkeypatch.setattr(module, name, refuse)
    train(tmp_path, max_steps=1)
    train(tmp_path, max_steps=2)
    endings = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert endings == {".safetensors", ".json", ".py"}


def test_a_file_is_whole_or_as_before(tmp_path):
    path = tmp_path / "folder" / "numbers.json"
    with write_whole(path) as temporary:
        temporary.write_text("1")
    with pytest.raises(ZeroDivisionError), write_whole(path) as temporary:
        temporary.write_text("half")
        1 / 0  # noqa: B018
    assert path.read_text() == "1" and [p.name for p in path.parent.iterdir()] == ["numbers.json"]
    with pytest.raises(ZeroDivisionError), write_files_whole(path.parent, last="b") as temporary:
        (temporary / "numbers.json").write_text("half")
        1 / 0  # noqa: B018
    assert path.read_text() == "1" and [p.name for p in path.parent.iterdir()] == ["numbers.json"]
    with pytest.raises(NotWritten, match=r"numbers.json.x could not be written \(.*\): what was there"):
        with write_whole(path / "x") as temporary:
            pass
