"""Which epoch a run ends with: the one that validation selects, and optionally the last one beside it.

The recipe names the criterion (`metric_for_best_model`), a metric of a `validation...` part: only those reach the
trainer (`training_data`), and a test split is refused (`CDETrainingArguments.refuse_selection_on_test`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import Trainer

from ..evaluation.metrics import compute_action_metrics
from ..models.rejection_cde import drop_thresholds


def check_last_is_kept(args: Any) -> None:
    """Raise ValueError for `evaluate_last_checkpoint` if the best epoch is loaded and the last may not be saved."""
    kept = ("epoch", "steps")  # Transformers saves the last step with either
    if args.evaluate_last_checkpoint and args.load_best_model_at_end and args.save_strategy not in kept:
        raise ValueError(
            f"evaluate_last_checkpoint needs save_strategy=epoch or steps, not {args.save_strategy.value}: only these "
            "always save the last epoch."
        )


def selected_epoch(trainer: Trainer) -> dict[str, Any]:
    """The step and the epoch of the model that training ended with, and the criterion that selected it.

    Returns:
        `step` (int), `epoch` (float), and `criterion`: the metric of `metric_for_best_model`, or None if the model is
        that of the last step.
    """
    state, args = trainer.state, trainer.args
    # The best step may have been evaluated but not saved.
    chosen = args.load_best_model_at_end and state.best_model_checkpoint is not None
    step = int(state.best_model_checkpoint.rpartition("-")[2]) if chosen else state.global_step
    return {
        "step": step,
        "epoch": round(state.epoch * step / state.global_step, 2) if state.global_step else 0.0,
        "criterion": args.metric_for_best_model if chosen else None,
    }


def restore_last(trainer: Any) -> dict[str, Any]:
    """Load the last weights into a `CDETrainer` that has loaded the best ones; returns what `selected_epoch` does.

    Raises:
        ValueError: the checkpoint is damaged.
    """
    state = trainer.state
    if selected_epoch(trainer)["step"] != state.global_step:
        drop_thresholds(trainer.model)  # which were those of the best weights
        trainer.restore(str(Path(trainer.args.output_dir) / f"checkpoint-{state.global_step}"))
    return {"step": state.global_step, "epoch": round(state.epoch, 2), "criterion": None}


def selection_metrics(actions: Sequence[str]) -> Callable[[Any], dict[str, float]]:
    """A `compute_metrics` for `transformers.Trainer`: `accuracy`, and `never_predicted`, a number of actions.

    It serves the validation parts during training, in the precision of training; final scores are float32.
    """

    def compute(prediction: Any) -> dict[str, float]:
        predicted = prediction.predictions.argmax(-1).tolist()
        metrics = compute_action_metrics(predicted, prediction.label_ids.tolist(), actions)
        return {"accuracy": metrics["accuracy"], "never_predicted": len(metrics["never_predicted"])}

    return compute
