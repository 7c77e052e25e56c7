"""What a checkpoint holds beside the model: each part is written, and comes back where it was."""

import itertools
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from modeling_cde.training.checkpoints import checkpointing
from modeling_cde.training.checkpoints.resume_state import (
    SCALER,
    go_on_with_loss,
    load_optimizer,
    load_random_state,
    save_resume_state,
)
from modeling_cde.training.checkpoints.state_file import read_state, write_state
from modeling_cde.training.trainer import CDETrainer
from tests.tiny_models import tiny_cde
from tests.tiny_pairs import pairs, quick


def draws():
    return random.random(), float(np.random.rand()), torch.rand(()).item()


def made(folder, scale=None, **options):
    """A trainer as within a training, whose last log was after step 4."""
    trainer = CDETrainer(tiny_cde(), quick(folder, **options), eval_dataset=pairs(6))
    trainer.create_optimizer_and_scheduler(10)
    trainer._tr_loss, trainer._globalstep_last_logged = torch.tensor(1.5), 4
    trainer._trained.add({"sparsity": torch.tensor(2.0)}, 3.0)
    trainer.accelerator.scaler = scale and torch.amp.GradScaler("cpu", init_scale=scale)
    return trainer


def blank(folder, **options):
    """A trainer that has trained nothing yet."""
    trainer = made(folder, **options)
    trainer._tr_loss.zero_()
    trainer._trained.pop()
    trainer._globalstep_last_logged = 0
    return trainer


def since_log(trainer):
    return trainer._tr_loss.item(), trainer._globalstep_last_logged, trainer._trained.pop()


WHOLE = (1.5, 4, {"sparsity": 2.0})
NOTHING = (0.0, 0, {})


def test_each_generator_goes_on_where_it_was(tmp_path):
    trainer = made(tmp_path)
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    np.random.standard_normal()  # half of a pair, which the state keeps
    save_resume_state(trainer, tmp_path)
    expected = draws(), np.random.standard_normal()
    random.seed(4), np.random.seed(5), torch.manual_seed(6)
    assert not set(draws()) & set(expected[0])
    load_random_state(trainer, tmp_path)
    assert (draws(), np.random.standard_normal()) == expected


def test_a_resumed_training_draws_what_the_whole_one_drew(tmp_path):
    class Drawing(TrainerCallback):
        def __init__(self):
            self.drawn = {}

        def on_step_end(self, args, state, control, **kwargs):
            self.drawn[state.global_step] = draws()

    found = []
    for resumed in (None, str(tmp_path / "checkpoint-1")):
        drawing = Drawing()
        random.seed(len(found)), np.random.seed(len(found))
        args = quick(tmp_path, save_strategy="no" if resumed else "steps", save_steps=1)
        CDETrainer(tiny_cde(), args, train_dataset=pairs(), callbacks=[drawing]).train(resume_from_checkpoint=resumed)
        found.append(drawing.drawn)
    assert found[0].keys() == {1, 2, 3} and found[1] == {step: found[0][step] for step in (2, 3)}


def test_the_sums_since_the_last_log_go_on(tmp_path):
    save_resume_state(made(tmp_path), tmp_path)
    again = blank(tmp_path)
    load_random_state(again, tmp_path)
    assert since_log(again) == WHOLE


@pytest.mark.parametrize("processes", [2, None])
def test_sums_of_another_number_of_processes_do_not(tmp_path, processes):
    """Each process had another share of the steps since the last log, and an older version has kept none."""
    save_resume_state(made(tmp_path), tmp_path)
    file = tmp_path / "random_state-0.safetensors"
    state = read_state(file)
    state["numpy"] = np.random.get_state()
    if processes is None:
        del state["since_log"]
    else:
        state["since_log"]["processes"] = processes
    random.seed(7)
    write_state(file, state | {"python": random.getstate()})
    expected, again = random.random(), blank(tmp_path)
    load_random_state(again, tmp_path)
    assert since_log(again) == NOTHING and random.random() == expected


def test_a_process_that_was_not_there_keeps_its_own_generators(tmp_path):
    trainer = blank(tmp_path)
    random.seed(8)
    expected, _ = random.random(), random.seed(8)
    load_random_state(trainer, tmp_path)
    assert random.random() == expected and since_log(trainer) == NOTHING


def test_the_scale_of_gradients_goes_on_if_there_is_one(tmp_path):
    save_resume_state(made(tmp_path, scale=8.0), tmp_path)
    again = made(tmp_path, scale=2.0)
    load_optimizer(again, tmp_path)
    assert again.accelerator.scaler.get_scale() == 8.0
    (tmp_path / SCALER).unlink()  # a training that began in another precision
    again = made(tmp_path, scale=2.0)
    load_optimizer(again, tmp_path)
    assert again.accelerator.scaler.get_scale() == 2.0
    save_resume_state(made(tmp_path), tmp_path)
    assert not (tmp_path / SCALER).exists()


def test_optimizer_and_schedule_go_on(tmp_path):
    trainer = made(tmp_path, lr_scheduler_type="linear", warmup_steps=0)
    for parameter in trainer.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    trainer.optimizer.step()
    trainer.lr_scheduler.step()
    save_resume_state(trainer, tmp_path)
    again = made(tmp_path, lr_scheduler_type="linear", warmup_steps=0)
    load_optimizer(again, tmp_path)
    assert again.lr_scheduler.last_epoch == 1
    assert again.optimizer.param_groups[0]["lr"] == trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.009)
    kept, loaded = (one.optimizer.state_dict()["state"] for one in (trainer, again))
    assert kept.keys() == loaded.keys() and all(torch.equal(kept[n]["exp_avg"], loaded[n]["exp_avg"]) for n in kept)


@pytest.mark.parametrize(
    ("changed", "lr", "decay"),
    [([], 0.009, 0.1), (["seed"], 0.009, 0.1), (["learning_rate"], 0.018, 0.3), (["lr_scheduler_type"], 0.018, 0.3)]
    + [(["max_steps", "seed"], 0.018, 0.3)],
)
def test_what_was_changed_takes_effect_and_else_the_checkpoint_s_values_do(tmp_path, changed, lr, decay):
    linear = {"lr_scheduler_type": "linear", "warmup_steps": 0}
    trainer = made(tmp_path, **linear, learning_rate=0.01, backbone_learning_rate=0.1, weight_decay=0.1)
    trainer.optimizer.step()
    trainer.lr_scheduler.step()
    save_resume_state(trainer, tmp_path)
    again = made(tmp_path, **linear, learning_rate=0.02, backbone_learning_rate=0.2, weight_decay=0.3)
    again.changes = [SimpleNamespace(name=name) for name in changed]
    load_optimizer(again, tmp_path)
    groups = {group["name"]: group for group in again.optimizer.param_groups}
    rates = [group["lr"] for group in again.optimizer.param_groups]
    assert groups["head"]["lr"] == pytest.approx(lr) and groups["backbone"]["lr"] == pytest.approx(10 * lr)
    assert (groups["head"]["weight_decay"], groups["head, no decay"]["weight_decay"]) == (decay, 0.0)
    assert again.lr_scheduler.get_last_lr() == rates
    again.optimizer.step()
    again.lr_scheduler.step()
    assert groups["backbone"]["lr"] == pytest.approx(10 * lr * 0.8 / 0.9)


def test_a_schedule_that_follows_the_validation_keeps_the_rate_that_it_has_reached(tmp_path):
    plateau = {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_strategy": "steps"}
    trainer = made(tmp_path, **plateau, weight_decay=0.1)
    for group in trainer.optimizer.param_groups:
        group["lr"] = 0.001
    save_resume_state(trainer, tmp_path)
    again = made(tmp_path, **plateau, weight_decay=0.3)
    again.changes = [SimpleNamespace(name="weight_decay")]
    load_optimizer(again, tmp_path)
    assert {group["lr"] for group in again.optimizer.param_groups} == {0.001}
    assert {group["weight_decay"] for group in again.optimizer.param_groups} == {0.3, 0.0}


@pytest.mark.parametrize(("number", "devices"), [(1, [torch.device("cuda")]), (2, [0, 1])])
def test_each_gpu_goes_on_where_it_was(tmp_path, monkeypatch, number, devices):
    args = {"should_save": False, "device": torch.device("cuda"), "n_gpu": number, "process_index": 0, "world_size": 1}
    trainer = SimpleNamespace(
        is_fsdp_enabled=False,
        args=SimpleNamespace(**args),
        _since_log=lambda: {"processes": 2},
    )
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.tensor(devices.index(device) + 7))
    save_resume_state(trainer, tmp_path)
    got = []
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: got.append((state.item(), device)))
    load_random_state(trainer, tmp_path)
    assert got == [(place + 7, device) for place, device in enumerate(devices)]
    trainer.args.device = torch.device("cpu")  # a checkpoint of a CPU has none
    save_resume_state(trainer, tmp_path)
    trainer.args.device = torch.device("cuda")
    load_random_state(trainer, tmp_path)
    assert len(got) == number


def test_the_duration_is_that_of_all_parts_of_a_training(tmp_path, monkeypatch):
    clock = itertools.count(0, 10)
    monkeypatch.setattr(checkpointing, "time", SimpleNamespace(monotonic=lambda: next(clock)))

    def trained(resume=None):
        args = quick(tmp_path, max_steps=2, save_strategy="steps", save_steps=1)
        trainer = CDETrainer(tiny_cde(), args, train_dataset=pairs())
        trainer.train(resume_from_checkpoint=resume)
        return trainer.state.stateful_callbacks["seconds"]

    assert trained() == 20.0  # asked when it begins, and for each checkpoint
    assert trained(str(tmp_path / "checkpoint-1")) == 10.0 + 10.0
    assert trained(str(tmp_path / "checkpoint-1")) == 10.0 + 10.0


@pytest.mark.parametrize("since", [0.0, 3.0])
def test_the_mean_loss_goes_on_also_of_a_checkpoint_of_an_earlier_version(since):
    def trainer():
        history = [{"step": 2, "loss": 4.0}, {"step": 3, "eval_loss": 9.0}, {"step": 5, "loss": 1.0}]
        return SimpleNamespace(_tr_loss=torch.tensor(0.0), state=SimpleNamespace(log_history=history))

    kept = trainer()
    go_on_with_loss(kept, {"logged": 11.0, "since": since, "step": 5})
    assert (kept._total_loss_scalar, kept._tr_loss.item(), kept._globalstep_last_logged) == (11.0, since, 5)
    old = trainer()
    go_on_with_loss(old, None)  # two steps of 4, three of 1; what came after the last log is not known
    assert (old._total_loss_scalar, old._tr_loss.item(), old._globalstep_last_logged) == (11.0, 0.0, 5)
