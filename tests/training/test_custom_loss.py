"""A loss of one's own: by `CDETrainer(loss=...)`, by a subclass of CDELoss, or by an overridden `compute_loss`."""

import pytest
import torch
from transformers import TrainerCallback

from modeling_cde.training.losses import CDELoss
from modeling_cde.training.trainer import CDETrainer
from tests.models.auxiliary_model import tiny_auxiliary
from tests.tiny_models import tiny_cde
from tests.tiny_pairs import pairs, quick
from tests.training.own_losses import OwnTrainer, Scaled

RAGGED = {"per_device_eval_batch_size": 5}  # of 13 samples: batches of 5, 5 and 3


class PlusHundred(CDETrainer):
    """Adds 100 to every loss, and 7 more for each sample of a batch."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        loss = loss + 100 + 7 * len(inputs["labels"])
        return (loss, outputs) if return_outputs else loss


def mean_of_batches(trainer, data, sizes=(5, 5, 3)):
    """The loss of each batch, weighted by its size; computed by hand."""
    total, start, model = 0.0, 0, trainer.model.eval()
    for size in sizes:
        rows = data.__getitems__(list(range(start, start + size)))
        batch = {"pixel_values": torch.stack([row["pixel_values"] for row in rows])}
        batch["labels"] = torch.tensor([row["labels"] for row in rows])
        with torch.no_grad():
            total += size * trainer.compute_loss(model, batch).item()
        start += size
    return total / sum(sizes)


@pytest.mark.parametrize("kind", [PlusHundred, OwnTrainer])
def test_an_overridden_compute_loss_is_evaluated_as_its_own_mean_over_samples(tmp_path, kind):
    args = quick(tmp_path, **RAGGED)
    data = pairs(13)
    trainer = kind(tiny_cde("vit"), args, train_dataset=pairs(), eval_dataset={"validation": data})
    trainer.train()
    metrics = trainer.evaluate()
    assert metrics["eval_validation_loss"] == pytest.approx(mean_of_batches(trainer, data), rel=1e-5)
    log = trainer.state.log_history[0]
    if kind is PlusHundred:
        assert log["loss"] > 142 and metrics["eval_validation_loss"] > 100
        assert metrics["eval_validation_contrastive"] > 0  # the terms are still measured
    else:
        assert "contrastive" not in log and "eval_validation_contrastive" not in metrics


def test_the_best_model_is_selected_by_an_overridden_compute_loss(tmp_path):
    class Growing(CDETrainer):
        """Worse with every step, whatever the terms say."""

        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
            loss = loss + 100 * self.state.global_step
            return (loss, outputs) if return_outputs else loss

    steps = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss", "learning_rate": 1e-2}
    trainer = Growing(tiny_cde("vit"), quick(tmp_path, **steps, **best), train_dataset=pairs(), eval_dataset=pairs(6))
    trainer.train()
    assert trainer.state.best_global_step == 1 and trainer.state.best_metric > 100


def test_a_replaced_method_counts_as_overridden(tmp_path):
    trainer = CDETrainer(tiny_cde("vit"), quick(tmp_path), eval_dataset=pairs(6))
    compute = trainer.compute_loss

    def plus_five(*args, return_outputs=False, **options):
        loss, outputs = compute(*args, return_outputs=True, **options)
        return (loss + 5, outputs) if return_outputs else loss + 5

    before = trainer.evaluate()["eval_loss"]
    trainer.compute_loss = plus_five
    assert trainer.evaluate()["eval_loss"] == pytest.approx(before + 5, rel=1e-5)


# loss=


def margin(outputs):
    top = outputs.logits.topk(2).values
    return (1 - top[:, 0] + top[:, 1]).clamp(min=0)  # (B,)


def plain(outputs, labels):
    """A function: each of its terms counts once."""
    return {"cross_entropy": outputs.loss, "margin": margin(outputs)}  # one value a sample is averaged


def weighted(outputs, labels):
    """A function with weights; what has none is only measured."""
    return {**plain(outputs, labels), "confidence": outputs.logits.softmax(-1).amax(-1).mean().detach()}


weighted.weights = {"cross_entropy": 1.0, "margin": 0.25}


class WithMargin(CDELoss):
    """The default loss and one term more."""

    def __init__(self, margin_weight=0.5, **options):
        super().__init__(**options)
        self.weights["margin"] = margin_weight

    def forward(self, outputs, labels):
        return {**super().forward(outputs, labels), "margin": margin(outputs).mean()}


DEFAULT = {"cross_entropy": 1.0, "contrastive": 2.0, "sparsity": 1.0}


@pytest.mark.parametrize(
    ("loss", "weights", "measured"),
    [
        (plain, {"cross_entropy": 1.0, "margin": 1.0}, set()),
        (weighted, weighted.weights, {"confidence"}),
        (WithMargin(), {**DEFAULT, "margin": 0.5}, {"anchors_without_positive", "delta_norm"}),
    ],
)
def test_a_loss_names_its_terms_and_weights_everywhere(tmp_path, loss, weights, measured):
    args = quick(tmp_path, **RAGGED, gradient_accumulation_steps=2, per_device_train_batch_size=4)
    trainer = CDETrainer(tiny_cde("vit"), args, loss=loss, train_dataset=pairs(20), eval_dataset=pairs(13))
    trainer.train()
    log = next(log for log in trainer.state.log_history if "loss" in log)
    own = {"loss", "grad_norm", "learning_rate", "epoch", "step"}
    assert set(log) == own | set(weights) | measured
    assert log["loss"] == pytest.approx(sum(weight * log[name] for name, weight in weights.items()), rel=1e-5)
    metrics = trainer.evaluate()
    assert {f"eval_{name}" for name in {*weights, *measured}} <= set(metrics)
    total = sum(weight * metrics[f"eval_{name}"] for name, weight in weights.items())
    assert metrics["eval_loss"] == pytest.approx(total, rel=1e-5)
    if loss is plain:
        assert metrics["eval_loss"] == pytest.approx(mean_of_batches(trainer, pairs(13)), rel=1e-5)
    assert trainer.state.stateful_callbacks["loss_weights"].items() >= weights.items()


def test_a_term_more_has_its_gradient(tmp_path):
    batch = {"pixel_values": torch.stack([row["pixel_values"] for row in pairs(8)]), "labels": torch.arange(8) % 3}
    gradients = []
    for loss in (WithMargin(0.5), CDELoss()):
        model = tiny_cde("vit").train()
        outputs = model(**batch)
        total = CDETrainer(model, quick(tmp_path), loss=loss).compute_loss(model, batch)
        if not isinstance(loss, WithMargin):
            total = total + 0.5 * margin(outputs).mean()
        total.backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_models_own_term_is_one_of_the_terms():
    model = tiny_auxiliary()
    x, labels = torch.randn(6, 2, 3, 32, 32), torch.arange(6) % 3
    outputs = model(x, labels, objects=torch.arange(6) % 5)
    terms = CDELoss()(outputs, labels)
    assert terms["auxiliary"] == outputs.auxiliary_loss
    assert CDELoss().weights == {**DEFAULT, "auxiliary": 1.0}
    torch.testing.assert_close(terms["cross_entropy"] + terms["auxiliary"], outputs.loss)


def test_the_warm_up_is_of_any_losss_sparsity_term(tmp_path):
    def own(outputs, labels):
        return {"cross_entropy": outputs.loss, "sparsity": outputs.delta.abs().mean()}

    own.weights = {"cross_entropy": 1.0, "sparsity": 3.0}
    args = quick(tmp_path, max_steps=4, sparsity_warmup_ratio=0.5)
    trainer = CDETrainer(tiny_cde("vit"), args, loss=own, train_dataset=pairs())
    trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    scales = [(log["loss"] - log["cross_entropy"]) / (3 * log["sparsity"]) for log in logs]
    assert scales == pytest.approx([0.0, 0.5, 1.0, 1.0], abs=1e-5)


@pytest.mark.parametrize(
    ("terms", "weights", "message"),
    [
        (lambda outputs: {"loss": outputs.loss}, None, "'loss' is the name of the weighted sum"),
        (lambda outputs: {"a": outputs.loss}, {}, "the term 'a' has a gradient and no weight"),
        (lambda outputs: outputs.loss, None, "a loss must return its terms by name"),
    ],
)
def test_what_a_loss_must_not_return_is_named(tmp_path, terms, weights, message):
    def loss(outputs, labels):
        return terms(outputs)

    if weights is not None:
        loss.weights = weights
    with pytest.raises(ValueError, match=message):
        CDETrainer(tiny_cde("vit"), quick(tmp_path), loss=loss, train_dataset=pairs()).train()


# A loss with parameters


def train_scaled(folder, **options):
    loss = Scaled()
    resume = options.pop("resume", None)
    args = quick(folder, learning_rate=0.1, **options)
    trainer = CDETrainer(tiny_cde("vit"), args, loss=loss, train_dataset=pairs(24), eval_dataset=pairs(6))
    trainer.train(resume_from_checkpoint=resume)
    return loss, trainer


def test_a_losss_own_parameters_are_trained_and_resumed_bit_for_bit(tmp_path):
    options = {"max_steps": 6, "gradient_accumulation_steps": 2, "save_strategy": "steps", "save_steps": 3}
    whole, trainer = train_scaled(tmp_path, **options)
    assert whole.log_temperature != 0 and whole.batches == 12
    groups = {group["name"]: group for group in trainer.optimizer.param_groups}
    assert groups["loss"]["params"] == [whole.log_temperature] and groups["loss"]["initial_lr"] == 0.1
    before = whole.log_temperature.item()
    trainer.evaluate()
    assert whole.batches == 12 and whole.log_temperature == before  # evaluation is in evaluation mode
    resumed, again = train_scaled(tmp_path, **options, resume=str(tmp_path / "checkpoint-3"))
    assert torch.equal(resumed.log_temperature, whole.log_temperature) and resumed.batches == 12
    weights = trainer.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in again.model.state_dict().items())
    assert not (tmp_path / "model.safetensors").exists()
    trainer.save_model(str(tmp_path / "saved"))
    assert not (tmp_path / "saved" / "loss.safetensors").exists()


def test_its_gradient_is_that_of_the_micro_batches_of_one_step(tmp_path):
    seen = []

    class Look(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            seen.append(loss.log_temperature.grad.clone())

    loss = Scaled()
    options = {"max_steps": 2, "learning_rate": 0.0, "backbone_learning_rate": 0.0, "class_aware_sampling": False}
    args = quick(tmp_path, **options, train_sampling_strategy="sequential")
    CDETrainer(tiny_cde("vit"), args, loss=loss, train_dataset=pairs(6), callbacks=[Look()]).train()
    assert torch.equal(seen[0], seen[1])  # nothing of the step before


def test_a_loss_without_state_leaves_nothing_in_a_checkpoint(tmp_path):
    args = quick(tmp_path, max_steps=1, save_strategy="steps", save_steps=1)
    CDETrainer(tiny_cde("vit"), args, train_dataset=pairs()).train()
    assert (tmp_path / "checkpoint-1").is_dir() and not (tmp_path / "checkpoint-1" / "loss.safetensors").exists()
