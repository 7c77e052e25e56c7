"""Which epoch a run ended with: the one that validation selected, and the last one beside it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import Trainer

from ..metrics import compute_action_metrics


def check_last_is_kept(args: Any) -> None:
    """Raise where `evaluate_last_checkpoint` asks for a checkpoint that training will not leave.

    Raises:
        ValueError: the best epoch is loaded at the end, and the last one would not be saved.
    """
    kept = ("epoch", "steps")  # Transformers saves the last step with either
    if args.evaluate_last_checkpoint and args.load_best_model_at_end and args.save_strategy not in kept:
        raise ValueError(
            f"evaluate_last_checkpoint needs save_strategy=epoch or steps, not {args.save_strategy.value}: only then "
            "has the last epoch a checkpoint for sure."
        )


def selected_epoch(trainer: Trainer) -> dict[str, Any]:
    """The step, the epoch and the criterion of the model that training ended with.

    Args:
        trainer: after `train`.

    Returns:
        `step` (int), `epoch` (float), and `criterion`: the metric of `metric_for_best_model`, or None where the model
        is simply that of the last step.
    """
    state, args = trainer.state, trainer.args
    # The best step may be one that was evaluated and not saved.
    chosen = args.load_best_model_at_end and state.best_model_checkpoint is not None
    step = int(state.best_model_checkpoint.rpartition("-")[2]) if chosen else state.global_step
    return {
        "step": step,
        "epoch": round(state.epoch * step / state.global_step, 2) if state.global_step else 0.0,
        "criterion": args.metric_for_best_model if chosen else None,
    }


def restore_last(trainer: Any) -> dict[str, Any]:
    """Put the weights of the last step into the model of a trainer that has loaded the best ones.

    Args:
        trainer: a `CDETrainer` after `train`.

    Returns:
        What `selected_epoch` says of a model that nothing has selected: the last step.

    Raises:
        ValueError: the model is sharded, so that its checkpoints cannot simply be read, or the checkpoint is damaged.
    """
    state = trainer.state
    if selected_epoch(trainer)["step"] != state.global_step:
        last = Path(trainer.args.output_dir) / f"checkpoint-{state.global_step}"
        if not trainer.restore(str(last)):
            raise ValueError(f"{last} is sharded: evaluate it by python -m modeling_cde.evaluation.")
    return {"step": state.global_step, "epoch": round(state.epoch, 2), "criterion": None}


def selection_metrics(actions: Sequence[str]) -> Callable[[Any], dict[str, float]]:
    """What is computed of each validation part while training goes on.

    Args:
        actions: names of the classes, by their ids.

    Returns:
        A `compute_metrics` for `transformers.Trainer`: `accuracy`, and `never_predicted`, a number of actions.
    """

    def compute(prediction: Any) -> dict[str, float]:
        predicted = prediction.predictions.argmax(-1).tolist()
        metrics = compute_action_metrics(predicted, prediction.label_ids.tolist(), actions)
        return {"accuracy": metrics["accuracy"], "never_predicted": len(metrics["never_predicted"])}

    return compute
