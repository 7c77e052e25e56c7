"""Which step a run ends with, by what it was selected, and what is measured for the selection."""

from types import SimpleNamespace

import numpy as np
import pytest
from transformers.trainer_utils import SaveStrategy

from modeling_cde.training.model_selection import (
    check_last_is_kept,
    restore_last,
    selected_epoch,
    selection_metrics,
)


def trainer_at(step, epoch, best=None, selects=True, output="run"):
    restored = []
    state = SimpleNamespace(global_step=step, epoch=epoch, best_model_checkpoint=best)
    args = SimpleNamespace(load_best_model_at_end=selects, metric_for_best_model="eval_x", output_dir=output)
    model = SimpleNamespace(config=SimpleNamespace())
    return SimpleNamespace(state=state, args=args, model=model, restore=restored.append, restored=restored)


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        (trainer_at(60, 3.0, "my-runs/checkpoint-40"), {"step": 40, "epoch": 2.0, "criterion": "eval_x"}),
        (trainer_at(60, 3.0, "run/checkpoint-50"), {"step": 50, "epoch": 2.5, "criterion": "eval_x"}),
        (trainer_at(70, 3.0, "run/checkpoint-50"), {"step": 50, "epoch": 2.14, "criterion": "eval_x"}),
        (trainer_at(60, 3.0, "run/checkpoint-40", selects=False), {"step": 60, "epoch": 3.0, "criterion": None}),
        (trainer_at(60, 3.0), {"step": 60, "epoch": 3.0, "criterion": None}),  # evaluated, and never saved
        (trainer_at(1, 0.5), {"step": 1, "epoch": 0.5, "criterion": None}),
        (trainer_at(0, 0.0), {"step": 0, "epoch": 0.0, "criterion": None}),
    ],
)
def test_the_step_and_the_epoch_that_a_training_ends_with(trainer, expected):
    assert selected_epoch(trainer) == expected


def test_the_last_weights_are_read_where_the_best_ones_were():
    best = trainer_at(60, 2.999, "run/checkpoint-40")
    assert restore_last(best) == {"step": 60, "epoch": 3.0, "criterion": None} and best.restored == [
        "run/checkpoint-60"
    ]
    last = trainer_at(60, 3.0, "run/checkpoint-60")
    assert restore_last(last) == {"step": 60, "epoch": 3.0, "criterion": None} and last.restored == []


@pytest.mark.parametrize("strategy", list(SaveStrategy))
def test_the_last_epoch_is_evaluated_only_where_it_is_always_saved(strategy):
    def check(evaluates=True, selects=True):
        settings = {"evaluate_last_checkpoint": evaluates, "load_best_model_at_end": selects}
        check_last_is_kept(SimpleNamespace(save_strategy=strategy, **settings))

    check(evaluates=False)
    check(selects=False)
    if strategy in ("epoch", "steps"):
        check()
    else:
        said = f"evaluate_last_checkpoint needs save_strategy=epoch or steps, not {strategy.value}: "
        with pytest.raises(ValueError, match=said):
            check()


def test_accuracy_and_actions_that_are_never_predicted_are_measured():
    logits = np.array([[3.0, 1, 2, 0], [0, 0, 9, 1], [1, 0, 0, 0], [5, 0, 1, 2]])
    prediction = SimpleNamespace(predictions=logits, label_ids=np.array([0, 2, 1, 3]))
    assert selection_metrics(["a", "b", "c", "d"])(prediction) == {"accuracy": 0.5, "never_predicted": 2}
