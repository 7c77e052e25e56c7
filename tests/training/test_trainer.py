"""CDETrainer: the loss, what is logged, accumulation, evaluation, batches, optimizer. Resuming has its own file."""

import copy

import pytest
import torch
from datasets import Dataset
from torch import nn
from transformers import TrainerCallback, ViTConfig, ViTForImageClassification
from transformers.utils import ModelOutput

from modeling_cde.training.losses import CDELoss, weighted_sum
from modeling_cde.training.trainer import CDETrainer
from tests.models.auxiliary_model import tiny_auxiliary
from tests.tiny_models import tiny_cde
from tests.tiny_pairs import pairs, quick

SGD = {"optim": "sgd", "lr_scheduler_type": "constant", "warmup_steps": 0, "max_grad_norm": 0.0, "weight_decay": 0.0}
IN_ORDER = {"class_aware_sampling": False, "train_sampling_strategy": "sequential"}


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def batch_of(data, indices):
    rows = data.__getitems__(list(indices))
    return {
        "pixel_values": torch.stack([row["pixel_values"] for row in rows]),
        "labels": torch.tensor([row["labels"] for row in rows]),
    }


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("vit", {}),
        ("vit_mae", {"delta_mode": "patch"}),
        ("dinov2", {"delta_mode": "patch", "patch_loss": "aggregated"}),
        ("clip_vision_model", {}),
        ("resnet", {}),
    ],
)
def test_every_trainable_parameter_changes_and_every_term_is_logged(tmp_path, family, options):
    model = tiny_cde(family, **options)
    before, frozen = weights(model), {n for n, p in model.named_parameters() if not p.requires_grad}
    trainer = CDETrainer(model, quick(tmp_path), train_dataset=pairs())
    trainer.train()
    after = weights(model)
    assert [n for n in after if n not in frozen and torch.equal(before[n], after[n])] == []
    assert [n for n in frozen if not torch.equal(before[n], after[n])] == []
    logs = [log for log in trainer.state.log_history if "loss" in log]
    assert len(logs) == 3
    for log in logs:
        expected = log["cross_entropy"] + 2.0 * log["contrastive"] + 1.0 * log["sparsity"]
        assert log["loss"] == pytest.approx(expected, rel=1e-5)
        assert log["delta_norm"] > 0 and "auxiliary" not in log
        assert log["anchors_without_positive"] == 0.0


def test_the_loss_is_that_of_the_terms(tmp_path):
    for options in ({}, {"delta_mode": "patch"}, {"delta_mode": "patch", "patch_loss": "aggregated"}):
        model = tiny_cde("vit", **options)
        args = quick(tmp_path, contrastive_weight=0.7, sparsity_weight=0.3, temperature=0.4, sparsity_reduction="mean")
        trainer = CDETrainer(model, args)
        batch = batch_of(pairs(), range(8))
        loss, outputs = trainer.compute_loss(model, batch, return_outputs=True)
        terms = CDELoss(0.7, 0.3, 0.4, "mean", options.get("patch_loss", "per_patch"))(outputs, batch["labels"])
        expected = terms["cross_entropy"] + 0.7 * terms["contrastive"] + 0.3 * terms["sparsity"]
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_logs_are_means_over_the_window_and_over_accumulation(tmp_path):
    # 5 batches of 4 an epoch, two of them to a step: the third step of an epoch has one batch only.
    options = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "max_steps": 6,
        "sparsity_weight": 0.1,
    }
    logged = {}
    for every in (1, 3):
        model = tiny_cde("vit")
        trainer = CDETrainer(model, quick(tmp_path, logging_steps=every, **options), train_dataset=pairs(20))
        trainer.train()
        logged[every] = [log for log in trainer.state.log_history if "loss" in log]
    assert len(logged[1]) == 6 and len(logged[3]) == 2
    for name in ("loss", "cross_entropy", "contrastive", "sparsity"):
        assert logged[3][1][name] == pytest.approx(sum(log[name] for log in logged[1][3:]) / 3, rel=1e-5)
    for log in logged[1]:
        total = log["cross_entropy"] + 2 * log["contrastive"] + 0.1 * log["sparsity"]
        assert log["loss"] == pytest.approx(total, rel=1e-5)


def gradients(tmp_path, data, **options):
    """Of the first step, in the order of the data."""
    caught = {}

    class Catch(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            caught.update({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})

    args = quick(tmp_path, max_steps=1, **SGD, **IN_ORDER, **options)
    trainer = CDETrainer(tiny_cde("vit"), args, train_dataset=data, callbacks=[Catch()])
    trainer.train()
    assert caught
    return caught, trainer


def test_one_batch_of_8_equals_8_batches_of_1_in_cross_entropy(tmp_path):
    only_ce = {"contrastive_weight": 0.0, "sparsity_weight": 0.0}
    whole, a = gradients(tmp_path, pairs(8), per_device_train_batch_size=8, **only_ce)
    parts, b = gradients(
        tmp_path,
        pairs(8),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=8,
        min_samples_per_class=1,
        **only_ce,
    )
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-4, atol=1e-6)
    assert a.state.log_history[0]["loss"] == pytest.approx(b.state.log_history[0]["loss"], rel=1e-5)


@pytest.mark.parametrize("rows", [12, 9])  # 9: the second micro-batch is ragged
def test_accumulated_gradient_is_the_mean_over_micro_batches(tmp_path, rows):
    data = pairs(rows)
    options = {"per_device_train_batch_size": 6, "gradient_accumulation_steps": 2, "dataloader_drop_last": False}
    got, _ = gradients(tmp_path, data, **options)
    model = tiny_cde("vit").train()
    for indices in (range(6), range(6, rows)):
        batch = batch_of(data, indices)
        outputs = model(**batch)
        (weighted_sum(CDELoss()(outputs, batch["labels"]), CDELoss().weights) / 2).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(got[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_sparsity_weight_warms_up_with_the_global_step(tmp_path):
    args = quick(tmp_path, max_steps=8, sparsity_warmup_ratio=0.5, sparsity_weight=3.0, contrastive_weight=0.0)
    trainer = CDETrainer(tiny_cde("vit"), args, train_dataset=pairs(), eval_dataset=pairs(6))
    trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    scales = [(log["loss"] - log["cross_entropy"]) / (3.0 * log["sparsity"]) for log in logs]
    assert scales == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0], abs=1e-5)
    trainer.state.global_step = 0
    metrics = trainer.evaluate()  # with the full weight, so that evaluations can be compared
    assert metrics["eval_loss"] == pytest.approx(metrics["eval_cross_entropy"] + 3 * metrics["eval_sparsity"], rel=1e-5)


def test_evaluation_counts_every_sample_once_and_gives_the_logits_alone(tmp_path):
    seen = []

    def compute_metrics(prediction):
        assert not isinstance(prediction.predictions, tuple)
        seen.append(prediction.predictions.shape)
        return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}

    model = tiny_cde("vit", delta_mode="patch", patch_loss="aggregated")
    data = pairs(13)
    args = quick(tmp_path, per_device_eval_batch_size=5)
    trainer = CDETrainer(
        model, args, eval_dataset={"validation": data, "validation_ood": data}, compute_metrics=compute_metrics
    )
    metrics = trainer.evaluate()
    assert seen == [(13, 3), (13, 3)]
    batch = batch_of(data, range(13))
    with torch.no_grad():
        outputs = model.eval()(**batch)
        of_batch = [{"loss": outputs.loss, "delta": outputs.delta[i : i + 5]} for i in (0, 5, 10)]
        parts = [CDELoss()(part, batch["labels"][5 * i : 5 * i + 5]) for i, part in enumerate(of_batch)]
    contrastive = lonely = 0.0
    for part, size in zip(parts, (5, 5, 3), strict=True):
        share = part["anchors_without_positive"].item()
        lonely += size * share
        contrastive += size * (1 - share) * part["contrastive"].item()
    expected = {
        "cross_entropy": outputs.loss.item(),
        "sparsity": outputs.delta.abs().sum().item() / 13,
        "contrastive": contrastive / (13 - lonely),
        "anchors_without_positive": lonely / 13,
        "delta_norm": outputs.delta[:, 0].norm(dim=-1).mean().item(),
    }
    expected["loss"] = expected["cross_entropy"] + 2 * expected["contrastive"] + expected["sparsity"]
    assert 0 < lonely < 13
    for name, value in expected.items():
        assert metrics[f"eval_validation_{name}"] == pytest.approx(value, rel=1e-4), name
        assert metrics[f"eval_validation_ood_{name}"] == metrics[f"eval_validation_{name}"]
    assert trainer.predict(data).predictions.shape == (13, 3)
    assert args.dataloader_drop_last


def test_evaluation_does_not_change_training(tmp_path):
    results = []
    for evaluate in (False, True):
        options = {"eval_strategy": "steps", "eval_steps": 1} if evaluate else {}
        model = tiny_cde("vit", projector_dropout=0.3)
        CDETrainer(model, quick(tmp_path, **options), train_dataset=pairs(), eval_dataset=pairs(5, noise=0.1)).train()
        results.append(weights(model))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_a_seed_fixes_the_run(tmp_path):
    def run(seed):
        model = tiny_cde("vit", projector_dropout=0.3)
        CDETrainer(model, quick(tmp_path, seed=seed), train_dataset=pairs(noise=0.1)).train()
        return weights(model)

    first, same, other = run(1), run(1), run(2)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_training_batches_are_class_aware(tmp_path):
    data = pairs(50)
    args = quick(tmp_path, per_device_train_batch_size=8, min_samples_per_class=3)
    batches = [
        batch["labels"] for batch in CDETrainer(tiny_cde("vit"), args, train_dataset=data).get_train_dataloader()
    ]
    assert len(batches) == 6
    assert all(labels.bincount(minlength=3)[labels].min() >= 3 for labels in batches)


def test_data_without_columns_is_shuffled_and_streams_are_read(tmp_path):
    rows = [{"pixel_values": x["pixel_values"], "labels": x["labels"]} for x in pairs(12)]
    trainer = CDETrainer(tiny_cde("vit"), quick(tmp_path), train_dataset=rows)
    trainer.train()
    assert trainer.state.global_step == 3
    stream = (
        Dataset.from_dict({"action": [0, 1] * 20})
        .to_iterable_dataset()
        .map(
            lambda row: {"pixel_values": torch.zeros(2, 3, 32, 32) + row["action"], "labels": row["action"]},
            remove_columns="action",
        )
    )
    trainer = CDETrainer(tiny_cde("vit"), quick(tmp_path), train_dataset=stream.with_format("torch"))
    trainer.train()
    assert trainer.state.global_step == 3


def test_sequences_of_three_frames(tmp_path):
    trainer = CDETrainer(
        tiny_cde("vit"), quick(tmp_path), train_dataset=pairs(12, frames=3), eval_dataset=pairs(7, frames=3)
    )
    trainer.train()
    assert trainer.evaluate()["eval_loss"] > 0


def test_optimizer_has_two_learning_rates_on_one_cosine(tmp_path):
    args = quick(tmp_path, max_steps=4, learning_rate=1e-2, backbone_learning_rate=1e-3, warmup_steps=0)
    trainer = CDETrainer(tiny_cde("vit"), args, train_dataset=pairs())
    trainer.train()
    rates = {group["name"]: group["initial_lr"] for group in trainer.optimizer.param_groups}
    assert rates == {"head": 1e-2, "head, no decay": 1e-2, "backbone": 1e-3, "backbone, no decay": 1e-3}
    logged = [log["learning_rate"] for log in trainer.state.log_history if "loss" in log]
    assert logged == pytest.approx([1e-2 * f for f in (1.0, 0.853553, 0.5, 0.146447)], rel=1e-4)


def test_the_models_own_term_is_part_of_the_loss_and_logged_by_itself(tmp_path):
    options = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "logging_steps": 3}
    args = quick(tmp_path, per_device_eval_batch_size=5, sparsity_weight=0.1, **options)
    trainer = CDETrainer(tiny_auxiliary(), args, train_dataset=pairs(20, objects=True))
    trainer.train()
    log, model = trainer.state.log_history[0], trainer.model
    assert log["auxiliary"] > 0
    total = log["cross_entropy"] + log["auxiliary"] + 2 * log["contrastive"] + 0.1 * log["sparsity"]
    assert log["loss"] == pytest.approx(total, rel=1e-5)
    metrics = trainer.evaluate(pairs(13, objects=True))  # ragged: 5, 5 and 3
    batch = batch_of(pairs(13), range(13))
    with torch.no_grad():
        outputs = model.eval()(**batch, objects=torch.arange(13) % 5)
        plain = nn.functional.cross_entropy(outputs.logits, batch["labels"])
    expected = {"cross_entropy": plain.item(), "auxiliary": outputs.auxiliary_loss.item()}
    for name, value in expected.items():
        assert metrics[f"eval_{name}"] == pytest.approx(value, rel=1e-5), name
    total = sum(expected.values()) + 2 * metrics["eval_contrastive"] + 0.1 * metrics["eval_sparsity"]
    assert metrics["eval_loss"] == pytest.approx(total, rel=1e-5)
    without = trainer.evaluate(pairs(13))  # the model then has no such term
    assert "eval_auxiliary" not in without
    assert without["eval_cross_entropy"] == pytest.approx(plain.item(), rel=1e-5)


def test_the_models_own_term_has_its_gradient(tmp_path):
    batch = batch_of(pairs(8), range(8)) | {"objects": torch.arange(8) % 5}
    got, want = [], []
    for gradients, by_trainer in ((got, True), (want, False)):
        model = tiny_auxiliary().train()
        if by_trainer:
            loss = CDETrainer(model, quick(tmp_path)).compute_loss(model, batch)
        else:
            outputs = model(**batch)
            terms = CDELoss()({"loss": outputs.loss, "delta": outputs.delta}, batch["labels"])
            loss = weighted_sum(terms, CDELoss().weights)
        loss.backward()
        gradients += [p.grad for p in model.parameters() if p.grad is not None]
    assert got and len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_norm_is_that_of_the_deltas_in_the_loss(tmp_path):
    """Per patch of the patches, else of the pair's delta, which is their mean and shorter."""
    batch = batch_of(pairs(8), range(8))
    for options, name in (({}, "patch_delta"), ({"patch_loss": "aggregated"}, "delta")):
        model = tiny_cde("vit", delta_mode="patch", **options)
        trainer = CDETrainer(model, quick(tmp_path))
        with torch.no_grad():
            terms = trainer.loss(model(**batch), batch["labels"])
            expected = model(**batch)[name].norm(dim=-1).mean()
        torch.testing.assert_close(terms["delta_norm"], expected)
        assert not terms["delta_norm"].requires_grad


class Plain(nn.Module):
    """A classifier without deltas."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, pixel_values, labels=None):
        logits = self.head(pixel_values.mean((3, 4)).flatten(1))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return ModelOutput(loss=loss, logits=logits)


def test_a_model_without_deltas_is_trained_on_cross_entropy(tmp_path):
    args = quick(tmp_path, contrastive_weight=0.0, sparsity_weight=0.0, eval_strategy="steps", eval_steps=3)
    trainer = CDETrainer(Plain(), args, train_dataset=pairs(), eval_dataset=pairs(7))
    trainer.train()
    log, evaluation = trainer.state.log_history[0], trainer.evaluate()
    assert log["loss"] == pytest.approx(log["cross_entropy"]) and "contrastive" not in log
    assert evaluation["eval_loss"] == evaluation["eval_cross_entropy"]
    trainer.save_model(str(tmp_path / "saved"))
    again = CDETrainer(Plain(), args, eval_dataset=pairs(7))
    again.restore(str(tmp_path / "saved"))
    assert torch.equal(again.model.head.weight, trainer.model.head.weight)
    again.model.head = nn.Linear(5, 3)
    with pytest.raises(ValueError, match="does not hold exactly the weights of this model"):
        again.restore(str(tmp_path / "saved"))
    with pytest.raises(ValueError, match="the model's outputs have no `delta`; set contrastive_weight=0"):
        CDETrainer(Plain(), quick(tmp_path), train_dataset=pairs()).train()


def test_weights_0_train_on_cross_entropy_but_measure_the_terms(tmp_path):
    args = quick(tmp_path, contrastive_weight=0.0, sparsity_weight=0.0)
    trainer = CDETrainer(tiny_cde("vit"), args, train_dataset=pairs())
    trainer.train()
    log = trainer.state.log_history[0]
    assert log["loss"] == pytest.approx(log["cross_entropy"]) and log["contrastive"] > 0 and log["sparsity"] > 0


def test_a_model_of_transformers_itself(tmp_path):
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, num_labels=3
    )
    data = [{"pixel_values": x["pixel_values"][0], "labels": x["labels"]} for x in pairs(12)]
    args = quick(tmp_path, contrastive_weight=0.0, sparsity_weight=0.0)
    CDETrainer(ViTForImageClassification(config), args, train_dataset=data).train()


def test_bf16_on_the_cpu(tmp_path):
    model = tiny_cde("vit")
    trainer = CDETrainer(model, quick(tmp_path, precision="bf16", max_steps=2), train_dataset=pairs(6))
    dtypes = {}
    compute = trainer.loss.forward

    def spy(outputs, labels):
        terms = compute(outputs, labels)
        dtypes.update({name: value.dtype for name, value in terms.items()})
        return terms

    trainer.loss.forward = spy
    trainer.train()
    assert set(dtypes.values()) == {torch.float32}
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())


def test_torch_compile_is_passed_through(tmp_path):
    args = quick(tmp_path, torch_compile=True, torch_compile_backend="eager", max_steps=1)
    trainer = CDETrainer(tiny_cde("vit"), args, train_dataset=pairs(6), eval_dataset=pairs(6))
    trainer.train()
    assert type(trainer.model_wrapped).__name__ == "OptimizedModule"
    compiled = trainer.state.log_history[0]
    plain = CDETrainer(tiny_cde("vit"), quick(tmp_path, max_steps=1), train_dataset=pairs(6))
    plain.train()
    for name in ("loss", "cross_entropy", "contrastive", "sparsity"):
        assert compiled[name] == pytest.approx(plain.state.log_history[0][name], rel=1e-4)


@pytest.mark.parametrize(
    ("options", "data", "message"),
    [
        ({"label_column": "verb"}, pairs(12), "label_column='verb' is not a column"),
        ({}, pairs(1), "1 training samples are too few for 1 processes and min_samples_per_class=2: add some"),
        ({}, [{"pixel_values": torch.zeros(2, 3, 32, 32)}] * 12, "must hold `labels`"),
    ],
)
def test_wrong_training_data_is_named(tmp_path, options, data, message):
    with pytest.raises(ValueError, match=message):
        CDETrainer(tiny_cde("vit"), quick(tmp_path, **options), train_dataset=data).train()


@pytest.mark.parametrize("options", [{}, {"class_aware_sampling": False}, IN_ORDER])
def test_fewer_pairs_than_a_batch_make_smaller_batches_and_say_so(tmp_path, caplog, options):
    trainer = CDETrainer(tiny_cde("vit"), quick(tmp_path, **options), train_dataset=pairs(5))
    [said] = caplog.messages
    assert said == trainer.smaller_batch == "5 training pairs are fewer than a batch of 6, so a batch has 5."
    trainer.train()
    assert [log["epoch"] for log in trainer.state.log_history if "loss" in log] == [1, 2, 3]
    assert [len(batch["labels"]) for batch in trainer.get_train_dataloader()] == [5]
    assert trainer.args.per_device_train_batch_size == 6  # which a resumed run compares
    enough = CDETrainer(tiny_cde("vit"), quick(tmp_path, **options), train_dataset=pairs(6))
    assert enough.smaller_batch is None and len(caplog.messages) == 1
    # Where no sample is dropped, the last batch may be smaller anyway.
    kept = CDETrainer(tiny_cde("vit"), quick(tmp_path, dataloader_drop_last=False, **options), train_dataset=pairs(5))
    assert kept.smaller_batch is None and len(kept.get_train_dataloader()) == 1


def test_selection_on_a_test_split_is_refused(tmp_path):
    args = quick(tmp_path, metric_for_best_model="loss")
    data = pairs(6)
    data._split = "test"
    with pytest.raises(ValueError, match="on a test split"):
        CDETrainer(tiny_cde("vit"), args, eval_dataset=data)
    trainer = CDETrainer(tiny_cde("vit"), args, train_dataset=pairs(), eval_dataset=pairs(6))
    trainer.eval_dataset = data
    with pytest.raises(ValueError, match="on a test split"):
        trainer.train()
    with pytest.raises(ValueError, match="compute_loss_func"):
        CDETrainer(tiny_cde("vit"), quick(tmp_path), compute_loss_func=lambda *a, **k: 0)


def test_neither_arguments_nor_the_models_methods_are_changed_by_training(tmp_path, monkeypatch):
    """Not even for a moment: callbacks and other threads see them."""
    saves = {
        "save_strategy": "steps",
        "save_steps": 1,
        "save_total_limit": 1,
        "eval_strategy": "steps",
        "eval_steps": 1,
    }
    best = {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss", "greater_is_better": False}
    args, model = quick(tmp_path, precision="float32", **saves, **best), tiny_cde("vit")
    before, methods = copy.deepcopy(args.to_dict()), [name for name, value in vars(model).items() if callable(value)]
    trainer = CDETrainer(model, args, train_dataset=pairs(), eval_dataset=pairs(7))

    def refuse(own, name, value):
        assert own is not args, f"{name} is set to {value}"
        object.__setattr__(own, name, value)

    monkeypatch.setattr(type(args), "__setattr__", refuse)
    trainer.train()
    trainer.save_model()
    trainer.predict(pairs(7))
    assert trainer.args is args and args.to_dict() == before
    assert [name for name, value in vars(model).items() if callable(value)] == methods


def test_a_metric_that_does_not_exist_is_named(tmp_path):
    args = quick(tmp_path, eval_strategy="steps", eval_steps=1, metric_for_best_model="precission")
    with pytest.raises(ValueError, match="set to 'eval_precission', which is not found in the evaluation metrics"):
        CDETrainer(tiny_cde("vit"), args, train_dataset=pairs(), eval_dataset=pairs(6)).train()
