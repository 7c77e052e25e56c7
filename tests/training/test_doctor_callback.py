"""The doctor in real, tiny trainings: each trouble is provoked, said once and in one line; a healthy run is silent."""

import math

import pytest
import torch
from datasets import Dataset
from transformers import TrainerCallback, TrainerControl, TrainerState

from modeling_cde.analysis.doctor import findings
from modeling_cde.analysis.doctor.diagnosis import examine
from modeling_cde.training.doctor_callback import DoctorCallback, has_finite_weights
from modeling_cde.training.trainer import CDETrainer
from tests.tiny_models import tiny_cde
from tests.tiny_pairs import pairs, quick

STEPS = {"max_steps": 24, "logging_steps": 3, "sparsity_weight": 0.01}
FAST = {"learning_rate": 1e-2, "backbone_learning_rate": 1e-2}


def clear_pairs(number=24, seed=0, shift=0):
    """Random pictures, of which each action changes the colour in its own way, or with a shift in that of another."""
    before = torch.randn(number, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    change = 2 * torch.randn(3, 3, 1, 1, generator=torch.Generator().manual_seed(0)).roll(shift, 0)

    def transform(batch):
        rows = zip(batch["index"], batch["action"], strict=True)
        return {
            "pixel_values": [torch.stack([before[i], before[i] + change[action]]) for i, action in rows],
            "labels": batch["action"],
        }

    rows = {"action": [i % 3 for i in range(number)], "index": list(range(number))}
    return Dataset.from_dict(rows).with_transform(transform)


def measured(prediction):
    """What train.py measures at an evaluation."""
    guesses, labels = prediction.predictions.argmax(-1), prediction.label_ids
    return {"accuracy": float((guesses == labels).mean()), "never_predicted": len(set(labels) - set(guesses))}


def train(folder, data=None, family="resnet", evaluated=None, **options):
    """A tiny training under the doctor's eyes: the trainer and the doctor."""
    doctor = DoctorCallback()
    args = quick(folder, **(STEPS | options))
    data = clear_pairs() if data is None else data
    more = {"eval_dataset": evaluated, "compute_metrics": measured} if evaluated else {}
    trainer = CDETrainer(tiny_cde(family), args, train_dataset=data, callbacks=[doctor], **more)
    trainer.train()
    return trainer, doctor


def said(doctor):
    """What was said while it trained; that all trainings here are too short is said at their end."""
    return [(f.sign, f.subject) for f in doctor.findings if f.sign != findings.TOO_SHORT]


@pytest.mark.parametrize("family", ["resnet", "vit"])
def test_a_healthy_training_is_silent(tmp_path, capsys, family):
    often = {"eval_strategy": "steps", "eval_steps": 6}
    evaluated = {"validation": clear_pairs(seed=1), "validation_syst": clear_pairs(seed=2)}
    trainer, doctor = train(tmp_path, family=family, evaluated=evaluated, **often)
    accuracies = [log[key] for log in trainer.state.log_history if (key := "eval_validation_accuracy") in log]
    assert len(accuracies) == 4 and accuracies[-1] > 0.9  # it was healthy indeed
    assert doctor.findings == [] and doctor.stopped is None
    assert "doctor:" not in capsys.readouterr().out


@pytest.mark.parametrize("family", ["resnet", "vit"])
def test_a_huge_sparsity_weight_collapses_the_deltas(tmp_path, capsys, family):
    trainer, doctor = train(tmp_path, family=family, sparsity_weight=100.0, max_steps=32, **FAST)
    collapse = [finding for finding in doctor.findings if finding.sign == findings.COLLAPSED]
    lengths = [log["delta_norm"] for log in trainer.state.log_history if "delta_norm" in log]
    at = [log["step"] for log in trainer.state.log_history if "delta_norm" in log].index(collapse[0].step)
    assert collapse[0].value == pytest.approx(lengths[at] / max(lengths)) and collapse[0].value < findings.SHRUNKEN
    if family == "resnet":  # the cause is said before the deltas are gone
        assert said(doctor)[0] == (findings.DOMINANT, "sparsity") and doctor.findings[0].step < collapse[0].step
    assert len(collapse) <= 2 and doctor.stopped is None and trainer.state.global_step == 32
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("doctor:")]
    assert lines == [f"doctor: {finding.line()}" for finding in doctor.findings]
    assert "Try: a tenth of --sparsity_weight (now 100)" in "".join(lines)
    trainer.save_state()
    assert findings.COLLAPSED in [finding.sign for finding in examine(tmp_path)]  # the finished run shows it, too


def test_terms_that_hardly_count_are_said(tmp_path):
    _, doctor = train(tmp_path, sparsity_weight=1e-6, contrastive_weight=1e-6, learning_rate=1e-4)
    assert said(doctor)[0] == (findings.DOMINANT, "cross_entropy")


def test_a_contrastive_term_that_cannot_move_is_idle(tmp_path):
    # At this temperature all similarities are one: the term stays at the logarithm of the 5 others.
    trainer, doctor = train(tmp_path, temperature=1e6, sparsity_weight=0.0, **FAST)
    assert trainer.state.log_history[-2]["contrastive"] == pytest.approx(math.log(5), rel=1e-3)
    assert said(doctor) == [(findings.IDLE_CONTRASTIVE, "")]


def test_batches_of_distinct_actions_have_no_positives(tmp_path, capsys):
    in_order = {"class_aware_sampling": False, "train_sampling_strategy": "sequential", "min_samples_per_class": 1}
    _, doctor = train(tmp_path, per_device_train_batch_size=3, **in_order)
    first = doctor.findings[0]
    assert (first.sign, first.severity, first.value) == (findings.NO_POSITIVES, "error", 1.0)
    assert capsys.readouterr().out.count(findings.NO_POSITIVES) == 1


def test_a_learning_rate_that_is_far_too_low_learns_nothing(tmp_path):
    _, doctor = train(tmp_path, family="vit", learning_rate=1e-9, backbone_learning_rate=1e-9)
    assert said(doctor) == [(findings.NOT_LEARNING, "")] * 2  # a warning half-way, an error at the end
    assert [finding.severity for finding in doctor.findings] == ["warning", "error", "warning"]
    assert doctor.findings[-1].sign == findings.TOO_SHORT and "24 steps" in doctor.findings[-1].sentence


def test_changes_never_seen_diverge_and_an_action_never_seen_is_dead(tmp_path):
    known, other = clear_pairs(), clear_pairs(seed=1, shift=1)
    two = known.select([i for i in range(24) if i % 3 != 2])
    often = {"eval_strategy": "steps", "eval_steps": 6}
    _, doctor = train(tmp_path, evaluated={"validation": known, "validation_syst": other}, **often)
    assert said(doctor) == [(findings.DIVERGENCE, "validation_syst")]
    # The change of another action is taken for that action.
    assert doctor.findings[0].value > 0.5 and doctor.findings[0].step == 12
    _, doctor = train(tmp_path, two, evaluated={"validation": known}, **often)
    assert said(doctor) == [(findings.DEAD_CLASSES, "validation")]
    assert doctor.findings[0].value >= 1 and doctor.findings[0].step == 12  # half-way


# Numbers that are not finite


class InfiniteRate(TrainerCallback):
    """Makes the learning rate of step 5 infinite."""

    def on_step_begin(self, args, state, control, optimizer=None, **kwargs):
        if state.global_step == 4:
            for group in optimizer.param_groups:
                group["lr"] = math.inf


@pytest.mark.parametrize(
    ("save_steps", "stopped_at", "where"),
    [
        (1, 5, "in the model"),  # before the ruined weights are saved
        (4, 6, "in the log"),  # nothing was to be saved: the next log shows it
    ],
)
def test_a_ruined_training_stops_and_leaves_the_checkpoint_of_before(tmp_path, capsys, save_steps, stopped_at, where):
    options = {"max_steps": 8, "logging_steps": 1, "save_strategy": "steps", "save_total_limit": 1}
    args = quick(tmp_path, save_steps=save_steps, **options)
    doctor = DoctorCallback()
    trainer = CDETrainer(tiny_cde("resnet"), args, train_dataset=pairs(), callbacks=[InfiniteRate(), doctor])
    trainer.train()
    assert not has_finite_weights(trainer.model)
    assert trainer.state.global_step == stopped_at == doctor.stopped.step
    assert doctor.stopped.sign == findings.NOT_FINITE and where in doctor.stopped.sentence
    printed = capsys.readouterr().out
    assert printed.count("doctor: error") == 1 and printed.count("doctor: the training stops here") == 1
    # What is left is whole: a training goes on from it to its end.
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-4"]
    doctor = DoctorCallback()
    again = CDETrainer(tiny_cde("resnet"), args, train_dataset=pairs(), callbacks=[doctor])
    again.train(resume_from_checkpoint=True)
    assert has_finite_weights(again.model) and again.state.global_step == 8 and doctor.stopped is None


def test_the_end_of_an_epoch_saves_no_ruined_weights(tmp_path):
    by_epoch = {"save_strategy": "epoch", "eval_strategy": "epoch", "load_best_model_at_end": True}
    by_epoch["metric_for_best_model"] = "eval_loss"
    args = quick(tmp_path, max_steps=12, logging_steps=1, **by_epoch)  # an epoch has 4 steps
    doctor = DoctorCallback()
    callbacks = [InfiniteRate(), doctor]
    trainer = CDETrainer(tiny_cde("resnet"), args, train_dataset=pairs(), eval_dataset=pairs(6), callbacks=callbacks)
    trainer.train()
    assert doctor.stopped is not None and trainer.state.global_step == 6
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-4"]
    assert has_finite_weights(trainer.model)  # the best one of before, as asked


def test_a_nan_in_a_running_statistic_counts_too():
    model = tiny_cde("resnet")
    assert has_finite_weights(model)
    next(buffer for name, buffer in model.named_buffers() if name.endswith("running_mean"))[0] = math.nan
    assert not has_finite_weights(model)


def state_of(history, main=True):
    return TrainerState(global_step=history[-1]["step"], max_steps=100, log_history=history, is_world_process_zero=main)


def test_only_the_main_process_writes_but_all_stop_alike(tmp_path, capsys):
    history = [{"step": 1, "loss": math.nan}]
    for main in (True, False):
        doctor, control = DoctorCallback(), TrainerControl(should_save=True, should_evaluate=True)
        doctor.on_log(quick(tmp_path), state_of(history, main), control)
        assert control.should_training_stop and not control.should_save and not control.should_evaluate
        assert bool(capsys.readouterr().out) is main


def test_a_sign_is_said_again_when_it_got_much_worse(tmp_path, capsys):
    doctor, history = DoctorCallback(), []
    for step, share in enumerate([0.4, 0.4, 0.4, 0.5, 0.4, 0.9, 0.9, 0.9, 0.9], 1):
        history.append({"step": 10 * step, "loss": 1.0, "cross_entropy": 1.0, "anchors_without_positive": share})
        doctor.on_log(quick(tmp_path), state_of(history), TrainerControl())
    assert [finding.step for finding in doctor.findings] == [30, 70]  # means of 0.40 and 0.56; at 60 it was 0.50
    assert capsys.readouterr().out.count("doctor: warning") == 2
    doctor.on_train_begin(None, None, None)
    assert doctor.findings == []
