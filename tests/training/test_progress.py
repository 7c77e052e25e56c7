"""The lines of a training's progress."""

from types import SimpleNamespace

import pytest
from transformers import PrinterCallback, ProgressCallback, TrainerState

from modeling_cde.training.progress import CDELinesCallback, CDEProgressCallback, format_log, show_progress

LOG = {"loss": 3.25, "grad_norm": 1.0, "learning_rate": 0.1, "epoch": 1.5, "step": 30}
LOG |= {"cross_entropy": 1.0, "contrastive": 0.6251, "sparsity": 1.0, "delta_norm": 7.0}


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (LOG, "loss 3.250  cross-entropy 1.000  contrastive 0.625  sparsity 1.000"),
        (LOG | {"anchors_without_positive": 0.0}, "loss 3.250  cross-entropy 1.000  contrastive 0.625  sparsity 1.000"),
        (
            LOG | {"anchors_without_positive": 0.254},
            "loss 3.250  cross-entropy 1.000  contrastive 0.625  sparsity 1.000  anchors without positive 25%",
        ),
        (
            {"eval_validation_comp_accuracy": 0.5, "eval_validation_comp_macro_accuracy": 0.1, "eval_x_loss": 2.0},
            "validation_comp accuracy 0.500",
        ),
        ({"eval_a_accuracy": 0.25, "eval_b_accuracy": 1.0}, "a accuracy 0.250  b accuracy 1.000"),
        ({"train_accuracy": 0.5, "eval_runtime": 3.0}, ""),
        ({"train_runtime": 3.0}, ""),
    ],
)
def test_a_log_in_one_line(log, line):
    assert format_log(log) == line


@pytest.mark.parametrize("first", [True, False])
def test_the_first_process_writes_above_its_bar(first):
    written = []
    callback, state = CDEProgressCallback(), TrainerState(epoch=1.5, global_step=30, is_world_process_zero=first)
    callback.on_log(None, state, None, logs=LOG)  # before the bar is there
    callback.training_bar = SimpleNamespace(write=written.append)
    for logs in (LOG, None, {}, {"train_runtime": 3.0}):
        callback.on_log(None, state, None, logs=logs)
    line = "epoch  1.50  step    30  loss 3.250  cross-entropy 1.000  contrastive 0.625  sparsity 1.000"
    assert written == ([line] if first else [])


@pytest.mark.parametrize("hidden", [True, False])
def test_it_takes_the_place_of_the_trainer_s_own_unless_bars_are_hidden(hidden):
    removed, added, args = [], [], SimpleNamespace(disable_tqdm=hidden)
    show_progress(SimpleNamespace(remove_callback=removed.append, add_callback=added.append, args=args))
    assert set(removed) == {ProgressCallback, PrinterCallback}
    assert added == [CDELinesCallback if hidden else CDEProgressCallback]
