"""The head is trained first, and the backbone from the step on that is stated."""

import pytest
import torch
from transformers import TrainerCallback

from modeling_cde.training.trainer import CDETrainer
from tests.tiny_models import tiny_cde
from tests.tiny_pairs import pairs, quick


class Watch(TrainerCallback):
    def __init__(self):
        self.parts = {"backbone": [], "head": []}
        self.rates = {"backbone": [], "head": []}

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.before = {name: value.detach().clone() for name, value in model.named_parameters()}

    def on_optimizer_step(self, args, state, control, model=None, optimizer=None, **kwargs):
        for group in optimizer.param_groups:
            self.rates[group["name"].split(",")[0]].append(group["lr"])
        for part in self.parts:
            names = [name for name in self.before if ("backbone" in name.split(".")) == (part == "backbone")]
            now = dict(model.named_parameters())
            self.parts[part].append(any(not torch.equal(self.before[name], now[name]) for name in names))


def test_the_backbone_begins_after_its_share_of_the_steps(tmp_path):
    watch, options = Watch(), {"max_steps": 8, "warmup_steps": 0, "lr_scheduler_type": "linear"}
    args = quick(tmp_path, head_first_ratio=0.5, learning_rate=1e-2, backbone_learning_rate=1e-3, **options)
    CDETrainer(tiny_cde("vit"), args, train_dataset=pairs(), callbacks=[watch]).train()
    assert watch.parts["backbone"] == [False] * 4 + [True] * 4
    assert watch.parts["head"] == [True] * 8
    schedule = [1 - step / 8 for step in range(8)]
    assert watch.rates["head"][::2] == pytest.approx([1e-2 * factor for factor in schedule])
    assert watch.rates["backbone"][::2] == pytest.approx([0.0] * 4 + [1e-3 * factor for factor in schedule[4:]])


def test_a_schedule_without_factors_is_refused(tmp_path):
    args = quick(
        tmp_path, max_steps=2, head_first_ratio=0.5, lr_scheduler_type="reduce_lr_on_plateau", eval_strategy="steps",
        eval_steps=1, metric_for_best_model="loss",
    )  # fmt: skip
    trainer = CDETrainer(tiny_cde("vit"), args, train_dataset=pairs(), eval_dataset=pairs(6))
    with pytest.raises(ValueError, match="head_first_ratio does not work with ReduceLROnPlateau"):
        trainer.train()
