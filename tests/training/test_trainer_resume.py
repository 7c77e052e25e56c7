"""Stop at any step and resume: the same weights as an uninterrupted run, bit for bit. And the best model in full."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, ViTConfig, ViTForImageClassification

from modeling_cde.training.lora import add_lora
from modeling_cde.training.trainer import CDETrainer
from tests.tiny_models import tiny_cde
from tests.tiny_pairs import pairs, quick

# 24 pairs in batches of 4, two to a step: 3 steps an epoch, so the checkpoints lie within epochs and at their ends.
RUN = {
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "num_train_epochs": 3,
    "max_steps": -1,
    "sparsity_warmup_ratio": 0.6,
    "head_first_ratio": 0.3,
    "warmup_steps": 0.3,
    "save_strategy": "steps",
    "save_steps": 1,
}


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def train(folder, family="vit", resume=None, model_options=None, data=None, **options):
    options = {"projector_dropout": 0.2, **(model_options or {})}, {**RUN, **options}
    # Other initial weights and another state of the generators when resuming: all has to come from the checkpoint.
    model = tiny_cde(family, seed=0 if resume is None else 1, **options[0])
    data = pairs(24, noise=0.1) if data is None else data
    trainer = CDETrainer(model, quick(folder, **options[1]), train_dataset=data, eval_dataset=pairs(7, noise=0.1))
    if resume is not None:
        torch.manual_seed(99)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


@pytest.mark.parametrize(
    ("family", "model_options", "steps"),
    [
        ("vit", {}, (1, 2, 3, 5, 8)),
        ("vit_mae", {"delta_mode": "patch"}, (2,)),
        ("clip_vision_model", {}, (4,)),
        ("dinov3_vit", {"delta_mode": "patch", "patch_loss": "aggregated"}, (5,)),
        ("resnet", {}, (1,)),
    ],
)
def test_resumed_run_ends_with_the_same_bits(tmp_path, family, model_options, steps):
    often = {"logging_steps": 2}  # most checkpoints lie between two logs
    whole = train(tmp_path, family, model_options=model_options, save_steps=steps[0], **often)
    assert whole.state.global_step == 9
    logs = [log for log in whole.state.log_history if "loss" in log]
    for step in steps:
        resumed = train(
            tmp_path / "again", family, str(tmp_path / f"checkpoint-{step}"), model_options, save_strategy="no", **often
        )
        assert_same(state(whole.model), state(resumed.model))
        assert [log for log in resumed.state.log_history if "loss" in log] == logs
        # The mean of all nine steps, of which the last is not logged.
        assert resumed.state.log_history[-1]["train_loss"] == whole.state.log_history[-1]["train_loss"]


def test_the_mean_loss_is_that_of_all_steps_also_of_a_finished_run(tmp_path):
    each = train(tmp_path, num_train_epochs=1)
    losses = [log["loss"] for log in each.state.log_history if "loss" in log]
    assert each.state.log_history[-1]["train_loss"] == pytest.approx(sum(losses) / 3) and len(losses) == 3
    train(tmp_path / "whole", num_train_epochs=1, logging_steps=2)  # the last step is not logged
    for folder, step in (("finished", 3), ("within", 1)):
        args = quick(tmp_path / folder, **RUN | {"num_train_epochs": 1, "logging_steps": 2})
        resumed = CDETrainer(tiny_cde(projector_dropout=0.2), args, train_dataset=pairs(24, noise=0.1))
        output = resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{step}"))
        assert output.training_loss == output.metrics["train_loss"] == resumed.state.log_history[-1]["train_loss"]
        assert output.training_loss == pytest.approx(sum(losses) / 3)


@pytest.mark.parametrize(
    ("options", "step"),
    [
        ({"dataloader_num_workers": 1, "dataloader_multiprocessing_context": "fork"}, 4),
        ({"eval_strategy": "epoch"}, 3),  # the checkpoint is written before the evaluation at the end of the epoch
        ({"dataloader_drop_last": False, "per_device_train_batch_size": 5, "gradient_accumulation_steps": 3}, 3),
        ({"class_aware_sampling": False}, 4),
        ({"precision": "bf16"}, 4),
    ],
)
def test_resumed_run_with_other_settings(tmp_path, options, step):
    whole = train(tmp_path, **options, save_steps=step, num_train_epochs=2)
    checkpoint = str(tmp_path / f"checkpoint-{step}")
    resumed = train(tmp_path / "again", resume=checkpoint, **options | {"save_strategy": "no", "num_train_epochs": 2})
    assert whole.state.global_step == resumed.state.global_step > step
    assert_same(state(whole.model), state(resumed.model))


@pytest.mark.parametrize("lora", [False, True])
def test_a_run_on_another_backbone_is_not_resumed(tmp_path, lora):
    def trainer(backbone):
        model = tiny_cde()
        model.config.backbone_config._name_or_path = backbone
        return CDETrainer(
            add_lora(model, rank=2) if lora else model,
            quick(tmp_path, **RUN | {"max_steps": 2}),
            train_dataset=pairs(24),
            eval_dataset=pairs(7),
        )

    trainer("dinov2-packed").train()
    with pytest.raises(
        ValueError,
        match=r"checkpoint-2 was trained with other settings \(model.backbone: dinov2-packed -> org/dinov2\), and "
        "model.backbone cannot change within a training",
    ):
        trainer("org/dinov2").train(resume_from_checkpoint=True)
    trainer("some/where/dinov2-packed").train(resume_from_checkpoint=True)  # a copy
    trainer("").train(resume_from_checkpoint=True)  # built from a configuration: all comes from the checkpoint


def test_a_run_that_was_stopped_resumes_from_its_last_checkpoint(tmp_path):
    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == 4

    whole = train(tmp_path / "whole", save_strategy="no")
    model = tiny_cde("vit", projector_dropout=0.2)
    args = quick(tmp_path / "stopped", **RUN | {"save_steps": 2})
    data = pairs(24, noise=0.1)
    CDETrainer(model, args, train_dataset=data, eval_dataset=data, callbacks=[Stop()]).train()
    resumed = train(tmp_path / "stopped", resume=True)
    assert_same(state(whole.model), state(resumed.model))


@pytest.mark.parametrize("family", ["vit", "vit_mae", "deit", "dinov2"])
@pytest.mark.parametrize("older_names", [False, True])
def test_no_key_is_lost_on_loading(tmp_path, family, older_names):
    saved = tiny_cde(family, seed=0)
    saved.save_pretrained(tmp_path, save_original_format=older_names)
    model = tiny_cde(family, seed=1)
    kept = {name: p.requires_grad for name, p in model.named_parameters()}
    CDETrainer(model, quick(tmp_path))._load_from_checkpoint(str(tmp_path))
    assert_same(state(model), state(saved))
    assert {name: p.requires_grad for name, p in model.named_parameters()} == kept


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_a_checkpoint_with_other_keys_is_refused(tmp_path, change):
    tiny_cde("vit").save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if "backbone" in name and name.endswith("weight"))
    if change == "missing":
        tensors.pop(name)
    else:
        name = "cde.backbone.something.weight"
        tensors[name] = torch.zeros(3)
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises((ValueError, OSError), match=f"(lacks the weight|no place .* for the weight) {name}"):
        CDETrainer(tiny_cde("vit"), quick(tmp_path))._load_from_checkpoint(str(tmp_path))


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_a_model_of_transformers_itself_takes_its_own_weights_alone(tmp_path, change):
    """Which only warns where a weight is absent, and goes on with a random one."""
    config = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=32)
    original, model = ViTForImageClassification(config), ViTForImageClassification(config)
    original.save_pretrained(tmp_path)
    trainer = CDETrainer(model, quick(tmp_path, contrastive_weight=0.0, sparsity_weight=0.0))
    trainer.restore(str(tmp_path))
    assert_same(state(model), state(original))
    tensors = load_file(tmp_path / "model.safetensors")
    if change == "missing":
        del tensors["classifier.bias"]
    else:
        tensors["more"] = torch.zeros(1)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"not hold exactly the weights of this model: .'{change}_keys': "):
        trainer.restore(str(tmp_path))
    assert_same(state(model), state(original))


@pytest.mark.parametrize("family", ["vit", "vit_mae"])
def test_the_best_model_is_restored_in_full(tmp_path, family):
    class Worsen(TrainerCallback):
        """The first evaluation is the best."""

        def on_evaluate(self, args, state, control, metrics=None, **kwargs):
            metrics["eval_validation_loss"] = float(state.global_step)

    args = quick(
        tmp_path,
        max_steps=4,
        save_strategy="steps",
        save_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="validation_loss",
        logging_steps=2,
    )
    model = tiny_cde(family)
    splits = {"validation": pairs(6), "test": pairs(6)}
    trainer = CDETrainer(model, args, train_dataset=pairs(), eval_dataset=splits, callbacks=[Worsen()])
    trainer.train()
    assert trainer.state.best_model_checkpoint == str(tmp_path / "checkpoint-2")
    best, last = (type(model).from_pretrained(tmp_path / f"checkpoint-{step}") for step in (2, 4))
    assert_same(state(trainer.model), state(best))
    assert any(not torch.equal(a, b) for a, b in zip(best.parameters(), last.parameters(), strict=True))


def test_sparsity_warm_up_continues_where_it_was(tmp_path):
    whole = train(tmp_path, data=pairs(24), model_options={"projector_dropout": 0.0}, save_steps=2)
    resumed = train(
        tmp_path / "again",
        resume=str(tmp_path / "checkpoint-2"),
        data=pairs(24),
        model_options={"projector_dropout": 0.0},
        save_strategy="no",
    )
    for logs in (whole.state.log_history, resumed.state.log_history):
        weights = [
            (log["loss"] - log["cross_entropy"] - 2 * log["contrastive"]) / log["sparsity"]
            for log in logs
            if "loss" in log
        ]
        assert weights == pytest.approx([min(1.0, step / 5.4) for step in range(9)], abs=1e-4)
