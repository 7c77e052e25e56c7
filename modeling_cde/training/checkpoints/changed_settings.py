"""What a resumed training has changed of its settings, and whether it may.

listed     it takes effect, and no step computes anything else: logging, saving, evaluation, workers, more epochs
asks       it takes effect and changes the training: loss, learning rate, precision, ...; --allow_changed_settings
refused    it cannot take effect, or the steps before would be those of another training: seed, data, model, ...
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from transformers.utils import logging

from ...whole_files import as_they_were_written, read_object
from .checkpoint_folder import STATE, checkpoints
from .settings import SETTINGS, read_settings

logger = logging.get_logger(__name__)

Effect = Literal["listed", "asks", "refused"]

_LISTED = (
    "logging_* log_* eval_* save_* hub_* trackio_* ddp_* dataloader_* fsdp* include_* *_full_eval report_to run_name "
    "project disable_tqdm push_to_hub per_device_eval_batch_size prediction_loss_only batch_eval_metrics debug "
    "load_best_model_at_end evaluate_last_checkpoint skip_memory_metrics ignore_data_skip enable_jit_checkpoint "
    "restore_callback_states_from_checkpoint torch_empty_cache_steps average_tokens_across_devices processes "
    "run.compare_with run.rooms_workers "
    "run.data run.rooms_folder run.shift"  # data.* says whether the training pairs are the same
).split()
_REFUSED = (
    "seed data_seed optim optim_args optim_target_modules class_aware_sampling min_samples_per_class label_column "
    "dataloader_drop_last train_sampling_strategy length_column_name accelerator_config remove_unused_columns "
    "auto_find_batch_size loss.parameters model.* data.* pairs.* run.*"
).split()
# What the state of the optimizer has, too: `follow_arguments` gives it today's values.
OF_OPTIMIZER = {"learning_rate", "backbone_learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon"}
OF_SCHEDULE = {"lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"}
LENGTH = {"num_train_epochs", "max_steps"}
OF_SELECTION = {"metric_for_best_model", "greater_is_better"}
# What `fitting_arguments` may set by the data, so that only the trainer knows it.
_FITTED = {
    "class_aware_sampling", "per_device_train_batch_size", "gradient_accumulation_steps", "dataloader_num_workers",
    *OF_SELECTION,
}  # fmt: skip
_BATCH = {"per_device_train_batch_size", "gradient_accumulation_steps", "processes"}
# Schedules that follow what they have seen, and keep their own settings in their state.
_STATEFUL = {"reduce_lr_on_plateau", "greedy"}
# Parts of the settings by the beginning of their names.
_PARTS = {
    "seed": "the training arguments",
    "model.": "the model",
    "data.": "the training data",
    "run.": "the arguments about model and data",
}


@dataclass(frozen=True)
class Change:
    """One setting that differs.

    Attributes:
        name: As in settings.json.
        then, now: Its value in the checkpoint and in this training.
        effect: See the module.
    """

    name: str
    then: Any
    now: Any
    effect: Effect

    @property
    def label(self) -> str:
        """The name of a flag, or of a part of model or data."""
        return self.name.removeprefix("run.")

    def __str__(self) -> str:
        return f"{self.label}: {_shown(self.then)} -> {_shown(self.now)}"


def selects_anew(changes: Iterable[Change]) -> bool:
    """Whether the best score so far cannot be compared with those to come."""
    return any(change.name in OF_SELECTION or change.name.startswith("validation.") for change in changes)


def check_settings(checkpoint: Path, now: Mapping[str, Any], allowed: bool, config: Any = None) -> list[Change]:
    """Compare the settings of a checkpoint with those in `now`, as far as both have them.

    Args:
        checkpoint: A complete one.
        now: Settings of the training that resumes it; see settings.py.
        allowed: Whether changes may be made that change the training.
        config: The model's, to read the configuration of a checkpoint of an earlier version.

    Returns:
        What differs, all of which takes effect.

    Raises:
        ValueError: Something else differs; the message lists every difference.
    """
    then, _ = read_settings(checkpoint, config)
    with as_they_were_written(checkpoint):
        changes = compare(then, now, read_object(checkpoint / STATE))
    refused = [change.label for change in changes if change.effect == "refused"]
    asking = [change.label for change in changes if change.effect == "asks" and not allowed]
    if refused or asking:
        why = [f"{_listed(refused)} cannot change within a training"] if refused else []
        if _BATCH & {*refused}:  # processes may change, for example, if the batch of each does
            size = then["per_device_train_batch_size"] * then["processes"]
            why[0] += f" (per_device_train_batch_size times processes must stay {size})"
        if asking:
            why.append(f"to change {_listed(asking)} needs --allow_changed_settings true")
        raise ValueError(
            f"{checkpoint} was trained with other settings ({'; '.join(map(str, changes))}), and "
            f"{', and '.join(why)}: resume it with its own settings, or begin a new training in another output_dir."
        )
    return changes


def say_changes(checkpoint: Path, now: Mapping[str, Any], changes: list[Change], config: Any = None) -> None:
    """Warn in one line of what differs, and in one of what an earlier version has not written."""
    if changes:
        logger.warning(f"{checkpoint} goes on with other settings: {'; '.join(map(str, changes))}.")
    then, _ = read_settings(checkpoint, config)
    lacking = [
        what
        for start, what in _PARTS.items()
        if any(name.startswith(start) for name in now) and not any(name.startswith(start) for name in then)
    ]
    if lacking:
        logger.warning(
            f"{checkpoint} does not say all that it was trained with, so {_listed(lacking)} could not be compared: it "
            "goes on with those of today."
        )


def check_newest(args: Any, now: Mapping[str, Any]) -> None:
    """Raise the error of `check_settings` before the trainer is made, by the settings that are known by then.

    It reads the newest checkpoint as it is; which one is complete is found out when the training begins.
    """
    wanted = args.resume_from_checkpoint
    if not wanted:
        return
    named = [Path(str(wanted))] if str(wanted).lower() != "true" else list(checkpoints(Path(args.output_dir)).values())
    if named and all((named[0] / file).is_file() for file in (SETTINGS, STATE)):
        known = {name: value for name, value in now.items() if name not in _FITTED}
        check_settings(named[0], known, args.allow_changed_settings)


def compare(then: Mapping[str, Any], now: Mapping[str, Any], state: Mapping[str, Any]) -> list[Change]:
    """What differs of the settings that both have; `state` is the checkpoint's trainer_state.json."""
    differ = [name for name in now if name in then and then[name] != now[name]]
    if "model.backbone" in differ:
        names = [Path(settings["model.backbone"]).name for settings in (then, now)]
        if not all(names) or names[0] == names[1]:  # built from a configuration, or from a copy of the repository
            differ.remove("model.backbone")
    return [Change(name, then[name], now[name], _effect(name, then, now, state)) for name in differ]


def _effect(name: str, then: Mapping[str, Any], now: Mapping[str, Any], state: Mapping[str, Any]) -> Effect:
    if name in LENGTH:
        return _length(then, now, state)
    if name in _BATCH:
        return _batch(then, now)
    if name in OF_SCHEDULE | {"learning_rate", "backbone_learning_rate"}:
        kept = {str(settings.get("lr_scheduler_type")) for settings in (then, now)} & _STATEFUL
        return "refused" if kept else "asks"
    if name in OF_SELECTION or name.startswith("validation."):
        return "asks" if now.get("load_best_model_at_end") else "listed"
    if name.startswith("run.rooms_") and now["run.data"] or name == "run.stream_buffer" and not now["run.streaming"]:
        return "listed"  # there are no rooms, and no stream
    if any(fnmatchcase(name, pattern) for pattern in _REFUSED) and name not in _LISTED:
        return "refused"
    return "listed" if any(fnmatchcase(name, pattern) for pattern in _LISTED) else "asks"


def _length(then: Mapping[str, Any], now: Mapping[str, Any], state: Mapping[str, Any]) -> Effect:
    """A longer training is listed, a shorter one asks; one that would have ended before the checkpoint is refused."""
    if then["max_steps"] <= 0 and now["max_steps"] <= 0:
        before, after, done = then["num_train_epochs"], now["num_train_epochs"], state.get("epoch") or 0.0
    else:  # in steps, of which an epoch had as many before the checkpoint
        step, epoch = state.get("global_step") or 0, state.get("epoch") or 0.0
        done, before = step, state.get("max_steps") or 0
        after = now["max_steps"] if now["max_steps"] > 0 else now["num_train_epochs"] * (step / epoch if epoch else 0)
    if after < done:
        return "refused"
    return "listed" if after >= before else "asks"


def _batch(then: Mapping[str, Any], now: Mapping[str, Any]) -> Effect:
    """The order of the data is fixed by the pairs that all processes take at once, and by how many make a step."""
    if now.get("ignore_data_skip"):
        return "asks"
    sizes = [
        (settings["per_device_train_batch_size"] * settings["processes"], settings["gradient_accumulation_steps"])
        for settings in (then, now)
    ]
    return "listed" if sizes[0] == sizes[1] else "refused"


def recorded(changes: Iterable[Change]) -> dict[str, dict[str, Any]]:
    """What the record of a training keeps: the changes that bear upon its weights, by label."""
    kept = (change for change in changes if change.effect == "asks" or change.name in LENGTH | _BATCH)
    return {change.label: {"then": change.then, "now": change.now} for change in kept}


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
