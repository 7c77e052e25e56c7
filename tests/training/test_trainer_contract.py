"""The private parts of Transformers' Trainer that CDETrainer needs are listed, and are as they were."""

import inspect
import re
from pathlib import Path

from transformers import Trainer

import modeling_cde.training.trainer as trainer_module
from modeling_cde.training.trainer import CDETrainer
from modeling_cde.training.trainer_contract import (
    PRIVATE_ATTRIBUTES,
    PRIVATE_CALLS,
    PRIVATE_OVERRIDES,
    broken_promises,
)

OURS = [kind for kind in CDETrainer.__mro__ if kind.__module__.startswith("modeling_cde")]


def test_trainer_is_as_it_was():
    assert broken_promises() == []


def test_the_tower_is_two_classes_high():
    assert len(OURS) == 2 and CDETrainer.__mro__[2] is Trainer


def test_every_private_override_is_listed_with_its_reason():
    own = {name for kind in OURS for name in vars(kind) if name.startswith("_") and not name.startswith("__")}
    of_trainer = {name for name in own if callable(getattr(Trainer, name, None))}
    assert of_trainer == PRIVATE_OVERRIDES.keys()
    assert all(reason for _, reason in PRIVATE_OVERRIDES.values())


def test_every_private_part_that_is_used_is_listed():
    """All names after `self._` and `trainer._` in the sources of the training that Trainer has and we do not."""
    source = "".join(path.read_text() for path in Path(trainer_module.__file__).parent.rglob("*.py"))
    used = set(re.findall(r"\b(?:self|trainer)\.(_\w+)", source))
    theirs = set(re.findall(r"self\.(_\w+)", inspect.getsource(Trainer))) | set(vars(Trainer))
    methods = {name for kind in OURS for name, value in vars(kind).items() if callable(value)}
    assert used & theirs - methods == set(PRIVATE_ATTRIBUTES) | PRIVATE_CALLS.keys()


def test_what_is_renamed_or_removed_is_reported():
    class Renamed(Trainer):
        _load_best_model = None

    method, *attributes = broken_promises(Renamed)
    assert method == (
        "Trainer._load_best_model no longer exists: CDETrainer overrides it because weights are read with older names "
        "of parameters, and exactly; Trainer only warns of missing ones. Adapt it and training/trainer_contract.py."
    )
    assert attributes[0].startswith("Trainer._train_batch_size no longer exists: CDETrainer uses it.")


def test_another_signature_is_reported():
    class Changed(Trainer):
        def _get_output_dir(self, trial, run): ...

    assert (
        "Trainer._get_output_dir now takes (trial run), not (trial): CDETrainer calls it. Adapt it and "
        "training/trainer_contract.py." in broken_promises(Changed)
    )
