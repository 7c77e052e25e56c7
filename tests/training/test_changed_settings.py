"""A resumed training against its checkpoint: each kind of setting is refused, asked for or listed, and takes effect."""

import copy
import json

import pytest
import torch
from transformers import TrainerCallback

from modeling_cde.training.checkpoints import changed_settings, checkpoint_folder, resuming
from modeling_cde.training.checkpoints.changed_settings import compare
from modeling_cde.training.checkpoints.settings import read_settings
from modeling_cde.training.lora import add_lora
from modeling_cde.training.losses import CDELoss
from modeling_cde.training.trainer import CDETrainer
from tests.tiny_models import tiny_cde
from tests.tiny_pairs import pairs, quick

# 24 pairs in batches of 6: an epoch has 4 steps. The checkpoint lies in the middle of the first of two.
THEN = {
    "max_steps": -1,
    "num_train_epochs": 2,
    "save_strategy": "steps",
    "save_steps": 2,
    "logging_steps": 1,
    "lr_scheduler_type": "linear",
    "warmup_steps": 0,
    "learning_rate": 1e-3,
}
DATA = pairs(24)


def trainer(folder, data=None, evaluated=None, lora=None, loss=None, then=None, frozen=False, model=None, **changed):
    network = tiny_cde(**(model or {}))
    if lora is not None:
        network = add_lora(network, **lora)
    if frozen:
        network.freeze_backbone()
    args = quick(folder, **(then or THEN) | changed)
    return CDETrainer(network, args, train_dataset=DATA if data is None else data, eval_dataset=evaluated, loss=loss)


def resume(folder, checkpoint, steps=1, **changed):
    """Train on for some steps, by default one."""
    made = trainer(folder, **{"save_strategy": "no", **changed})

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step >= 2 + steps

    made.add_callback(Stop())
    made.train(resume_from_checkpoint=str(checkpoint))
    return made


def stopped(folder, **options):
    """The checkpoint of a training that was stopped after two steps."""

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == 2

    made = trainer(folder, **options)
    made.add_callback(Stop())
    made.train()
    return folder / "checkpoint-2"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return stopped(tmp_path_factory.mktemp("then"))


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory, checkpoint):
    return resume(tmp_path_factory.mktemp("now"), checkpoint)


@pytest.fixture
def warnings(monkeypatch):
    said = []
    for module in (resuming, changed_settings):
        monkeypatch.setattr(module.logger, "warning", said.append)
    return said


def found(folder, checkpoint, **changed):
    """The effect of each difference by its name."""
    made = trainer(folder, **changed)
    made.resumed = str(checkpoint)
    then, _ = read_settings(checkpoint)
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    settings = resuming.settings_of(made)
    return {change.name: change.effect for change in compare(then, settings, state)}


def test_rooms_count_only_where_they_are_trained_on():
    then, now = {"run.data": None, "run.rooms_seed": 0}, {"run.data": None, "run.rooms_seed": 1}
    assert [str(change) for change in compare(then, now, {})] == ["rooms_seed: 0 -> 1"]
    assert [change.effect for change in compare(then, now, {})] == ["refused"]
    given = {"run.data": "pairs"}
    assert [change.effect for change in compare(then | given, now | given, {})] == ["listed"]


# Effects


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        # Cannot take effect, or would make of the steps before those of another training.
        ({"seed": 1}, {"seed": "refused"}),
        ({"data_seed": 1}, {"data_seed": "refused"}),
        ({"optim": "sgd"}, {"optim": "refused"}),
        ({"class_aware_sampling": False}, {"class_aware_sampling": "refused"}),
        ({"min_samples_per_class": 3}, {"min_samples_per_class": "refused"}),
        ({"label_column": "index"}, {"label_column": "refused"}),
        ({"dataloader_drop_last": False}, {"dataloader_drop_last": "refused"}),
        ({"train_sampling_strategy": "sequential"}, {"train_sampling_strategy": "refused"}),
        ({"per_device_train_batch_size": 4}, {"per_device_train_batch_size": "refused"}),
        ({"gradient_accumulation_steps": 2}, {"gradient_accumulation_steps": "refused"}),
        (
            {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 2},  # as many to a step
            {"per_device_train_batch_size": "refused", "gradient_accumulation_steps": "refused"},
        ),
        ({"lr_scheduler_type": "reduce_lr_on_plateau", "eval_strategy": "epoch", "evaluated": DATA},
         {"lr_scheduler_type": "refused", "eval_strategy": "listed", "metric_for_best_model": "listed",
          "greater_is_better": "listed"}),
        ({"num_train_epochs": 0.25}, {"num_train_epochs": "refused"}),
        ({"max_steps": 1}, {"max_steps": "refused"}),
        ({"model": {"delta_dim": 8}}, {"model.delta_dim": "refused", "model.parameters": "refused",
                                       "model.trained_parameters": "refused"}),
        ({"model": {"projector_dropout": 0.1}}, {"model.projector_dropout": "refused"}),
        ({"model": {"id2label": {0: "close", 1: "open", 2: "break"}}},
         {"model.id2label": "refused", "model.label2id": "refused"}),
        ({"frozen": True}, {"model.trained_parameters": "refused"}),
        ({"data": pairs(30)},
         {"data.rows": "refused", "data.columns.action": "refused", "data.columns.index": "refused"}),
        ({"data": DATA.select(range(23, -1, -1))}, {"data.columns.action": "refused", "data.columns.index": "refused"}),
        ({"data": DATA.remove_columns("index")}, {"data.columns": "refused"}),
        # Takes effect and changes the training.
        ({"contrastive_weight": 1.0}, {"contrastive_weight": "asks"}),
        ({"sparsity_weight": 0.5}, {"sparsity_weight": "asks"}),
        ({"temperature": 0.5}, {"temperature": "asks"}),
        ({"sparsity_reduction": "mean"}, {"sparsity_reduction": "asks"}),
        ({"sparsity_warmup_ratio": 0.5}, {"sparsity_warmup_ratio": "asks"}),
        ({"head_first_ratio": 0.5}, {"head_first_ratio": "asks"}),
        ({"learning_rate": 2e-3, "backbone_learning_rate": 1e-4}, {"learning_rate": "asks"}),
        ({"backbone_learning_rate": 1e-3}, {"backbone_learning_rate": "asks"}),
        ({"weight_decay": 0.5}, {"weight_decay": "asks"}),
        ({"adam_beta1": 0.5}, {"adam_beta1": "asks"}),
        ({"adam_beta2": 0.5}, {"adam_beta2": "asks"}),
        ({"adam_epsilon": 1e-3}, {"adam_epsilon": "asks"}),
        ({"lr_scheduler_type": "cosine"}, {"lr_scheduler_type": "asks"}),
        ({"warmup_steps": 0.5}, {"warmup_steps": "asks"}),
        ({"max_grad_norm": 0.1}, {"max_grad_norm": "asks"}),
        ({"precision": "bf16"}, {"precision": "asks"}),
        ({"num_train_epochs": 1.5}, {"num_train_epochs": "asks"}),
        ({"max_steps": 5}, {"max_steps": "asks"}),
        ({"per_device_train_batch_size": 4, "ignore_data_skip": True},
         {"per_device_train_batch_size": "asks", "ignore_data_skip": "listed"}),
        ({"loss": lambda outputs, labels: {"a": outputs.loss}}, {"loss": "asks"}),
        # Takes effect, and no step computes anything else.
        ({"num_train_epochs": 3}, {"num_train_epochs": "listed"}),
        ({"max_steps": 9}, {"max_steps": "listed"}),
        ({"max_steps": 8}, {"max_steps": "listed"}),  # as many as two epochs have
        ({"logging_steps": 2}, {"logging_steps": "listed"}),
        ({"save_steps": 1, "save_total_limit": 1}, {"save_steps": "listed", "save_total_limit": "listed"}),
        ({"save_strategy": "epoch"}, {"save_strategy": "listed"}),
        ({"eval_strategy": "epoch", "evaluated": DATA}, {"eval_strategy": "listed"}),
        ({"per_device_eval_batch_size": 2}, {"per_device_eval_batch_size": "listed"}),
        ({"dataloader_num_workers": 1}, {"dataloader_num_workers": "listed"}),
        ({"disable_tqdm": False, "run_name": "x"}, {"disable_tqdm": "listed", "run_name": "listed"}),
        ({"resume_from_checkpoint": "true", "allow_changed_settings": True}, {}),
        ({}, {}),
    ],
)  # fmt: skip
def test_each_kind_of_change_has_its_effect(tmp_path, checkpoint, changed, expected):
    assert found(tmp_path, checkpoint, **changed) == expected


def test_a_loss_that_was_passed_has_settings_of_its_own(tmp_path):
    checkpoint = stopped(tmp_path, loss=CDELoss(temperature=0.7))
    assert found(tmp_path, checkpoint, loss=CDELoss(sparsity_weight=0.5, temperature=0.2)) == {
        "loss.weights.sparsity": "asks",
        "loss.temperature": "asks",
    }


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [
        ({"rank": 2}, {"rank": 4}, {"model.lora_rank", "model.lora_alpha", "model.parameters",
                                    "model.trained_parameters"}),
        ({"rank": 2}, {"rank": 2, "alpha": 8.0}, {"model.lora_alpha"}),
        ({"rank": 2}, {"rank": 2, "dropout": 0.1}, {"model.lora_dropout"}),
        ({"rank": 2}, None, {"model.parameters", "model.trained_parameters"}),
    ],
)  # fmt: skip
def test_other_adapters_are_another_model(tmp_path, then, now, expected):
    checkpoint = stopped(tmp_path, lora=then)
    assert found(tmp_path, checkpoint, lora=then) == {}
    assert found(tmp_path, checkpoint, lora=now) == dict.fromkeys(expected, "refused")


def test_one_sentence_lists_all_before_anything_is_done(tmp_path, checkpoint):
    made = trainer(tmp_path, seed=1, temperature=0.5, logging_steps=2)
    weights = copy.deepcopy(made.model.state_dict())
    with pytest.raises(ValueError) as error:
        made.train(resume_from_checkpoint=str(checkpoint))
    assert str(error.value) == (
        f"{checkpoint} was trained with other settings (logging_steps: 1 -> 2; seed: 42 -> 1; temperature: 0.1 -> "
        "0.5), and seed cannot change within a training, and to change temperature needs --allow_changed_settings "
        "true: resume it with its own settings, or begin a new training in another output_dir."
    )
    made.args.allow_changed_settings = True
    with pytest.raises(ValueError, match="seed cannot change within a training: resume it"):
        made.train(resume_from_checkpoint=str(checkpoint))
    assert all(torch.equal(value, weights[name]) for name, value in made.model.state_dict().items())


def test_what_is_listed_is_said_in_one_line_and_takes_effect(tmp_path, checkpoint, warnings):
    made = resume(tmp_path, checkpoint, 4, num_train_epochs=3, logging_steps=2, save_strategy="steps", save_steps=3)
    listed = "num_train_epochs: 2 -> 3; logging_steps: 1 -> 2; save_steps: 2 -> 3"
    assert warnings == [f"{checkpoint} goes on with other settings: {listed}."]
    assert [log["step"] for log in made.state.log_history if "loss" in log] == [1, 2, 4, 6]
    assert sorted(checkpoint_folder.checkpoints(tmp_path)) == [3, 6]
    assert made.state.max_steps == 12


# What asks takes effect


@pytest.mark.parametrize(
    "changed",
    [
        {"contrastive_weight": 1.0},
        {"sparsity_weight": 0.5},
        {"temperature": 0.5},
        {"sparsity_reduction": "mean"},
        {"sparsity_warmup_ratio": 0.5},
        {"learning_rate": 2e-3, "backbone_learning_rate": 2e-4},
        {"backbone_learning_rate": 1e-3},
        {"weight_decay": 0.5},
        {"adam_beta1": 0.5},
        {"adam_beta2": 0.5},
        {"adam_epsilon": 1e-3},
        {"lr_scheduler_type": "cosine"},
        {"warmup_steps": 0.5},
        {"num_train_epochs": 1.5},
        {"max_grad_norm": 0.1},
        {"precision": "bf16"},
    ],
)
def test_what_is_allowed_changes_the_next_step(tmp_path, checkpoint, unchanged, changed):
    made = resume(tmp_path, checkpoint, allow_changed_settings=True, **changed)
    before, after = unchanged.model.state_dict(), made.model.state_dict()
    assert made.state.global_step == unchanged.state.global_step == 3
    assert any(not torch.equal(before[name], after[name]) for name in before)
    # The learning rates are those of a training that had today's arguments from the start.
    fresh = trainer(tmp_path, **changed)
    fresh.create_optimizer_and_scheduler(made.state.max_steps)
    for _ in range(3):
        fresh.optimizer.step()
        fresh.lr_scheduler.step()
    for group, own in zip(made.optimizer.param_groups, fresh.optimizer.param_groups, strict=True):
        assert {k: v for k, v in group.items() if k != "params"} == {k: v for k, v in own.items() if k != "params"}
    assert made.changed_settings == [
        {
            "after_step": 2,
            "settings": {name: {"then": getattr(unchanged.args, name), "now": now} for name, now in changed.items()},
        }
    ]


def test_learning_rate_and_weight_decay_move_the_weights_as_they_say(tmp_path):
    """Plain gradient descent: w - lr (g + d w), with one g, whatever learning rate and decay."""
    then = THEN | {"optim": "sgd", "lr_scheduler_type": "constant", "weight_decay": 0.0, "max_grad_norm": 0.0}
    checkpoint = stopped(tmp_path / "then", then=then)
    start = type(tiny_cde()).from_pretrained(checkpoint).classifier.weight.detach()

    def moved(**changed):
        made = resume(tmp_path / "now", checkpoint, then=then, allow_changed_settings=True, **changed)
        return made.model.classifier.weight.detach() - start

    step = moved()
    torch.testing.assert_close(moved(learning_rate=2e-3), 2 * step, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(moved(weight_decay=3.0), step - 1e-3 * 3.0 * start, rtol=1e-3, atol=1e-6)


def test_another_score_selects_anew(tmp_path, warnings):
    """The best so far is of another score, with which those to come cannot be compared."""
    best = {"eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": True}
    first = {**best, "metric_for_best_model": "eval_loss", "evaluated": DATA}
    checkpoint = stopped(tmp_path / "then", **first)
    assert found(tmp_path, checkpoint, **first) == {}
    now = {**first, "metric_for_best_model": "eval_delta_norm", "greater_is_better": True, "save_strategy": "steps"}
    with pytest.raises(ValueError, match="to change metric_for_best_model and greater_is_better needs"):
        resume(tmp_path / "now", checkpoint, **now)
    made = resume(tmp_path / "now", checkpoint, 2, **now, allow_changed_settings=True)
    assert made.state.best_global_step == 4 and "selected among those to come" in warnings[-1]
    other = found(tmp_path, checkpoint, **first | {"evaluated": pairs(7)})
    assert other == {"validation.rows": "asks"}


# History


def test_each_checkpoint_keeps_which_settings_trained_which_steps(tmp_path):
    folder = tmp_path / "run"
    stopped(folder)
    for steps, temperature in ((2, 0.2), (4, 0.3)):
        resume(folder, folder / f"checkpoint-{steps}", steps, temperature=temperature, num_train_epochs=3,
               save_strategy="steps", allow_changed_settings=True)  # fmt: skip
    settings, history = read_settings(folder / "checkpoint-6")
    assert settings["temperature"] == 0.3 and history == [
        {
            "after_step": 2,
            "settings": {"num_train_epochs": {"then": 2, "now": 3}, "temperature": {"then": 0.1, "now": 0.2}},
        },
        {"after_step": 4, "settings": {"temperature": {"then": 0.2, "now": 0.3}}},
    ]


def test_a_checkpoint_of_an_earlier_version_is_compared_as_far_as_it_says(tmp_path, checkpoint, unchanged, warnings):
    old = tmp_path / "checkpoint-2"
    checkpoint_folder.begin(old)
    for file in checkpoint.iterdir():
        if file.name not in ("manifest.json", "settings.json"):
            (checkpoint_folder.temporary_of(old) / file.name).write_bytes(file.read_bytes())
    state = checkpoint_folder.temporary_of(old) / "trainer_state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "stateful_callbacks": {}}))
    checkpoint_folder.complete(old, processes=1)
    made = resume(tmp_path / "now", old, save_strategy="steps")
    assert warnings == [
        f"{old} does not say all that it was trained with, so the training data could not be compared: it goes on with "
        "those of today."
    ]
    for name, value in unchanged.model.state_dict().items():
        assert torch.equal(made.model.state_dict()[name], value)
    train_loss = [run.state.log_history[-1]["train_loss"] for run in (made, unchanged)]
    assert train_loss[0] == pytest.approx(train_loss[1])
    with pytest.raises(ValueError, match=r"\(seed: 42 -> 1; model.delta_dim: 16 -> 8\)"):
        resume(tmp_path / "now", old, seed=1, model={"delta_dim": 8}, save_strategy="steps")
