"""Where a training continues: which checkpoint it resumes, and what is checked and restored before its first step."""

from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast
from transformers import TrainerCallback
from transformers.utils import logging

from ...whole_files import check_writable, read_object
from ..stream_training import find_place
from .changed_settings import check_settings, recorded, say_changes, selects_anew
from .checkpoint_folder import STATE, best_of, checkpoints, find_damage, find_lost_best, newest_complete, tidy
from .resume_state import go_on_with_loss, load_optimizer
from .settings import read_settings, settings_of

logger = logging.get_logger(__name__)


def find_checkpoint(args: Any, wanted: str | bool | None) -> str | None:
    """The folder to resume from; the first process looks, and tells the others the step.

    `wanted` is a checkpoint's folder, True (also as text) for the newest complete one of the output folder, or None.

    Raises:
        ValueError: the named checkpoint is not complete.
        OSError: the output folder cannot be written to.
    """
    newest = str(wanted).lower() == "true"
    run = Path(args.output_dir)
    damage, step = None, None
    if args.process_index == 0:
        if args.save_strategy != "no":
            check_writable(run)
        for path in tidy(run):
            logger.warning(f"{path} was left unfinished by an earlier run; it is removed.")
        if newest:
            step, passed_over = newest_complete(run, with_best=args.load_best_model_at_end)
            for sentence in passed_over:
                logger.warning(sentence)
        elif wanted:
            damage = find_damage(Path(str(wanted)))
    told = broadcast(torch.tensor([-1 if step is None else step, damage is not None], device=args.device))
    if told[1]:
        hint = " or true, which takes the newest complete one" if checkpoints(run) else ""
        raise ValueError(
            f"resume_from_checkpoint={wanted}: {damage or 'it is not complete'}; name another checkpoint{hint}."
        )
    if not newest:
        return str(wanted) if wanted else None
    if told[0] < 0:
        logger.warning(f"{run} has no complete checkpoint to resume from: training starts from the beginning.")
        return None
    return str(checkpoints(run)[int(told[0])])


def compare_settings(trainer: Any) -> None:
    """Compare a training's settings with those of the checkpoint that it resumes, if any, and give it what was changed.

    Raises:
        ValueError: see `check_settings`.
    """
    trainer.settings, trainer.changes, trainer.changed_settings = settings_of(trainer), [], []
    if trainer.resumed is None:
        return
    checkpoint, config = Path(trainer.resumed), getattr(trainer.model, "config", None)
    trainer.changes = check_settings(checkpoint, trainer.settings, trainer.args.allow_changed_settings, config)
    if trainer.is_world_process_zero():
        say_changes(checkpoint, trainer.settings, trainer.changes, config)
    _, trainer.changed_settings = read_settings(checkpoint)
    if kept := recorded(trainer.changes):
        step = read_object(checkpoint / STATE)["global_step"]
        trainer.changed_settings.append({"after_step": step, "settings": kept})


class ResumeCallback(TrainerCallback):  # type: ignore[misc]
    """Checks a training's place in its data, and restores what `Trainer` itself would read from pickles."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **kwargs: Any) -> None:
        """See `transformers.TrainerCallback.on_train_begin`."""
        trainer, kept = self._trainer, state.stateful_callbacks  # goes into trainer_state.json
        find_place(train_dataloader.dataset, args, state)
        trainer.seconds_before = float(kept.get("seconds", 0.0))
        if trainer.resumed is not None:
            _find_best(Path(trainer.resumed), args, state, selects_anew(trainer.changes))
            load_optimizer(trainer, Path(trainer.resumed))
            go_on_with_loss(trainer, kept.get("train_loss"))
            state.compute_steps(args, state.max_steps)  # how often is logged, evaluated and saved from now on
        if 0 < state.max_steps <= state.global_step:  # 0: it was asked for without any
            logger.warning(f"The training was finished at step {state.global_step}: there is nothing left to train.")


def _find_best(resumed: Path, args: Any, state: Any, anew: bool) -> None:
    """Record where the best checkpoint is now; if it is lost or by another score, those to come are selected from."""
    best = best_of(resumed)
    if anew:
        logger.warning(f"{resumed} was scored otherwise: the best checkpoint is selected among those to come.")
        state.best_model_checkpoint = state.best_global_step = state.best_metric = None
    elif args.load_best_model_at_end and (lost := find_lost_best(resumed)):
        logger.warning(f"{resumed} continues without its best checkpoint and selects among those to come: {lost}.")
        state.best_model_checkpoint = state.best_global_step = state.best_metric = None
    elif best is not None and best.is_dir():
        state.best_model_checkpoint = str(best)
