"""Gradient checkpointing saves memory and changes no gradient, also behind frozen blocks and of adapters."""

import pytest
import torch
from transformers import TrainerCallback

from modeling_cde.training.lora import add_lora
from modeling_cde.training.trainer import CDETrainer
from tests.tiny_models import tiny_cde
from tests.tiny_pairs import pairs, quick


class Gradients(TrainerCallback):
    """Keeps the gradients of the first step."""

    def __init__(self):
        self.found = {}

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def trainer_of(folder, family, trained, **options):
    torch.manual_seed(0)
    model = tiny_cde(family)
    if trained == "lora":
        model = add_lora(model, rank=2)
        for name, parameter in model.named_parameters():
            if ".lora_B" in name:  # which starts at 0, and so gives A no gradient
                torch.nn.init.normal_(parameter)
    elif trained == "last block":
        model.freeze_backbone(1)
    elif trained == "head":
        model.freeze_backbone()
    kept = Gradients()
    args = quick(folder, max_steps=1, **options)
    return CDETrainer(model, args, train_dataset=pairs(), callbacks=[kept]), kept


def gradients(*given, **options):
    trainer, kept = trainer_of(*given, **options)
    trainer.train()
    return kept.found


@pytest.mark.parametrize("family", ["vit", "clip_vision_model"])
@pytest.mark.parametrize("trained", ["lora", "last block", "head"])
def test_it_changes_no_gradient_of_what_is_trained(tmp_path, family, trained):
    plain = gradients(tmp_path, family, trained)
    assert any("backbone" in name for name in plain) == (trained != "head")
    for options in (None, {"every_n_layers": 2}, {"preserve_rng_state": False}, {"use_reentrant": False}):
        settings = {"activation_checkpointing": True, "activation_checkpointing_kwargs": options}
        found = gradients(tmp_path, family, trained, **settings)
        assert found.keys() == plain.keys(), options
        for name, gradient in plain.items():
            torch.testing.assert_close(found[name], gradient, msg=f"{options}: {name}")


@pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning")
@pytest.mark.parametrize("prefix", ["activation", "gradient"])  # the new name and the old one
def test_what_would_train_next_to_nothing_is_refused(tmp_path, prefix):
    settings = {f"{prefix}_checkpointing": True, f"{prefix}_checkpointing_kwargs": {"use_reentrant": True}}
    for family in ("vit", "dinov2", "clip_vision_model"):
        for trained in ("lora", "last block"):
            with pytest.raises(ValueError, match="gives no gradients to LoRA or to blocks after frozen ones: leave"):
                trainer_of(tmp_path, family, trained, **settings)
    for trained in ("all", "head"):  # where it is right
        plain, found = gradients(tmp_path, "vit", trained), gradients(tmp_path, "vit", trained, **settings)
        assert found.keys() == plain.keys()
        for name, gradient in plain.items():
            torch.testing.assert_close(found[name], gradient)
