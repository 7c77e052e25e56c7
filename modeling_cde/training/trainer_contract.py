"""What `CDETrainer` relies on in `transformers.Trainer` beside its documented methods.

Private methods can change in any release of Transformers. All that are overridden or called are listed here, with the
parameters that they had when they were last checked (5.20 to 5.24), and `broken_promises` compares them.
"""

import inspect
import re

from transformers import Trainer

_EXACT = "weights are read with older names of parameters, and exactly; Trainer only warns of missing ones"
# Overridden: parameters, and why no callback, argument or public method does the same.
PRIVATE_OVERRIDES: dict[str, tuple[str, str]] = {
    "_save_checkpoint": (
        "model trial",
        "a checkpoint is written aside, described by a manifest and renamed, without pickle; Trainer writes in place",
    ),
    "_load_from_checkpoint": ("resume_from_checkpoint model", _EXACT),
    "_load_best_model": ("", _EXACT),
    "_load_rng_state": (
        "checkpoint",
        "called where random generators have to be restored, after the first batch is read; no event lies there",
    ),
    "_run_epoch": (
        "model epoch train_dataloader steps_in_epoch num_update_steps_per_epoch trial ignore_keys_for_eval start_time "
        "resume_from_checkpoint epochs_trained steps_trained_in_current_epoch",
        "a training that ended within an epoch would do one more step when it is resumed, whatever callbacks say",
    ),
    "_finalize_training": (
        "trial num_train_samples start_time",
        "with save_total_limit=1 Trainer removes the last checkpoint, which shows that a run is finished",
    ),
}
# Called, with their parameters.
PRIVATE_CALLS: dict[str, str] = {
    "_get_output_dir": "trial",
    "_get_collator_with_removed_columns": "data_collator description",
}
# Read or set.
PRIVATE_ATTRIBUTES = (
    "_train_batch_size",
    "_initial_global_step",
    "_tr_loss",
    "_total_loss_scalar",
    "_globalstep_last_logged",
)


def broken_promises(trainer: type = Trainer) -> list[str]:
    """A sentence for each private method or attribute of `trainer` that is not as it was when this was written."""
    recorded = {name: parameters for name, (parameters, _) in PRIVATE_OVERRIDES.items()} | PRIVATE_CALLS
    found = []
    for name, parameters in recorded.items():
        method = getattr(trainer, name, None)
        now = method and " ".join(list(inspect.signature(method).parameters)[1:])
        if now != parameters:
            what = "no longer exists" if now is None else f"now takes ({now}), not ({parameters})"
            use = f"overrides it because {PRIVATE_OVERRIDES[name][1]}" if name in PRIVATE_OVERRIDES else "calls it"
            found.append(f"Trainer.{name} {what}: CDETrainer {use}. Adapt it and training/trainer_contract.py.")
    source = inspect.getsource(trainer)
    return found + [
        f"Trainer.{name} no longer exists: CDETrainer uses it. Adapt it and training/trainer_contract.py."
        for name in PRIVATE_ATTRIBUTES
        if not re.search(rf"self\.{name}\b", source)
    ]
