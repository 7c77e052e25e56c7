"""Where a training continues: which checkpoint it resumes, and what is checked and restored before its first step."""

from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast
from transformers import TrainerCallback
from transformers.utils import logging

from ...whole_files import check_writable, read_object
from ..stream_training import find_place
from .checkpoint_folder import best_of, checkpoints, find_damage, find_lost_best, newest_complete, tidy
from .resume_state import load_optimizer

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


def check_backbone(model: Any, checkpoint: str) -> None:
    """Raise ValueError if a checkpoint was trained on another pretrained backbone than the model's.

    Its weights would take over, or with LoRA its adapters would sit on a foreign backbone, while everything that is
    recorded names the model's.
    """
    file = Path(checkpoint, "config.json")
    own = getattr(getattr(model, "config", None), "backbone_config", None)
    if own is None or not file.is_file():
        return
    then = str((read_object(file).get("backbone_config") or {}).get("_name_or_path") or "")
    now = str(own._name_or_path or "")
    if then and now and Path(then).name != Path(now).name:  # a folder can be a copy of a repository
        raise ValueError(
            f"{checkpoint} was trained on the backbone {then}, not on {now}: resume it with --backbone {then} (its "
            "folder, if that is no repository), or begin a new training in another output_dir."
        )


class ResumeCallback(TrainerCallback):  # type: ignore[misc]
    """Checks a training's place in its data, and restores what `Trainer` itself would read from pickles."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **kwargs: Any) -> None:
        """See `transformers.TrainerCallback.on_train_begin`."""
        trainer, kept = self._trainer, state.stateful_callbacks  # goes into trainer_state.json
        _check_samples_per_step(args, kept)
        find_place(train_dataloader.dataset, args, state)
        trainer.seconds_before = float(kept.get("seconds", 0.0))
        if trainer.resumed is not None:
            _find_best(Path(trainer.resumed), args, state)
            load_optimizer(trainer, Path(trainer.resumed))
        if 0 < state.max_steps <= state.global_step:  # 0: it was asked for without any
            logger.warning(f"The training was finished at step {state.global_step}: there is nothing left to train.")


def _check_samples_per_step(args: Any, kept: dict[str, Any]) -> None:
    now = args.per_device_train_batch_size * args.world_size * args.gradient_accumulation_steps
    then = kept.get("samples_per_step", now)
    if then != now and not args.ignore_data_skip:
        raise ValueError(
            f"The checkpoint was trained with {then} samples a step, and here a step has {now} "
            f"({args.per_device_train_batch_size} on each of {args.world_size} processes, "
            f"{args.gradient_accumulation_steps} times), so its place in the data is unknown: change "
            "per_device_train_batch_size or gradient_accumulation_steps."
        )
    kept["samples_per_step"] = now


def _find_best(resumed: Path, args: Any, state: Any) -> None:
    """Record where the best checkpoint is now; if it is lost, the best of those to come is selected."""
    best = best_of(resumed)
    if args.load_best_model_at_end and (lost := find_lost_best(resumed)):
        logger.warning(f"{resumed} continues without its best checkpoint and selects among those to come: {lost}.")
        state.best_model_checkpoint = state.best_global_step = state.best_metric = None
    elif best is not None and best.is_dir():
        state.best_model_checkpoint = str(best)
