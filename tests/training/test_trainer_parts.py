"""Parts of the trainer by themselves, also of processes that are not there: weights, shares of batches, blocks."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from modeling_cde.training.losses import TermMeans
from modeling_cde.training.trainer import CDETrainer, _begins_frozen, _trainable
from tests.tiny_models import tiny_cde
from tests.tiny_pairs import pairs, quick


class OneOf:
    """An accelerator as it is in one of several processes, in the last round of a loader."""

    def __init__(self, real, index, processes, remainder, last=True):
        self._real, self.process_index, self.num_processes = real, index, processes
        self.gradient_state = SimpleNamespace(end_of_dataloader=last, remainder=remainder)

    def __getattr__(self, name):
        return getattr(self._real, name)


@pytest.fixture(scope="module")
def evaluating(tmp_path_factory):
    trainer = CDETrainer(tiny_cde(), quick(tmp_path_factory.mktemp("parts")))
    rows = pairs(4).__getitems__(list(range(4)))
    batch = {"pixel_values": torch.stack([row["pixel_values"] for row in rows])}
    return trainer, batch | {"labels": torch.tensor([row["labels"] for row in rows])}


def stepped(evaluating, monkeypatch, *place, last=True):
    """What one process counts of four rows, and what it hands over."""
    trainer, batch = evaluating
    monkeypatch.setattr(trainer, "accelerator", OneOf(trainer.accelerator, *place, last=last))
    trainer._evaluated = TermMeans()
    loss, logits, labels = trainer.prediction_step(trainer.model, dict(batch), False)
    monkeypatch.undo()
    sums = {name: pair.tolist() for name, pair in trainer._evaluated.sums().items()}
    return loss, logits, labels, sums


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("remainder", [1, 3, 4, 5, 8, 11, 12])
def test_a_last_round_counts_the_samples_that_are_no_repetitions(evaluating, monkeypatch, index, remainder):
    new = sum(place < remainder for place in range(4 * index, 4 * index + 4))  # a round is one process after another
    loss, logits, labels, sums = stepped(evaluating, monkeypatch, index, 3, remainder)
    assert (sums["loss"][1], sums["cross_entropy"][1], sums["sparsity"][1]) == (new, new, new)
    assert sums["contrastive"][1] <= new
    kept = max(new, 1)
    whole, _ = logits_of(evaluating)
    torch.testing.assert_close(logits, whole[[*range(kept), *[kept - 1] * (4 - kept)]])  # all hand over equally many
    assert labels.tolist() == evaluating[1]["labels"][[*range(kept), *[kept - 1] * (4 - kept)]].tolist()
    if new:
        assert sums["loss"][0] == pytest.approx(loss.item() * new, rel=1e-5)


def logits_of(evaluating):
    trainer, batch = evaluating
    with torch.no_grad():
        outputs = trainer.model.eval()(**batch)
    return outputs.logits, outputs


@pytest.mark.parametrize("place", [(0, 1, 2, True), (1, 3, 5, False), (1, 3, 0, True), (2, 3, -1, True)])
def test_any_other_round_counts_as_a_whole(evaluating, monkeypatch, place):
    """Of one process, before the last, and one that is even."""
    *place, last = place
    _, logits, labels, sums = stepped(evaluating, monkeypatch, *place, last=last)
    assert sums["loss"][1] == 4 and len(logits) == 4 and labels.tolist() == evaluating[1]["labels"].tolist()


def test_predictions_are_the_logits_alone(tmp_path):
    """Whatever else a model gives would be gathered for `compute_metrics`."""
    model = tiny_cde(delta_mode="patch")
    trainer = CDETrainer(model, quick(tmp_path))
    batch = {"pixel_values": torch.zeros(2, 2, 3, 32, 32), "labels": torch.tensor([0, 1])}
    assert isinstance(trainer.prediction_step(model, batch, False)[1], torch.Tensor)
    model.config.keys_to_ignore_at_inference = ["logits"]
    assert trainer.prediction_step(model, dict(batch), False)[1] == ()


@settings(deadline=None, max_examples=200)
@given(
    n=st.integers(0, 40),
    asked=st.integers(1, 12),
    processes=st.integers(1, 4),
    least=st.integers(1, 6),
    aware=st.booleans(),
    drop=st.booleans(),
)
def test_a_batch_is_made_smaller_where_the_pairs_fill_none_and_smaller_ones_do(n, asked, processes, least, aware, drop):
    settings = {"dataloader_drop_last": drop, "class_aware_sampling": aware, "min_samples_per_class": least}
    trainer = SimpleNamespace(
        train_dataset=range(n), _train_batch_size=asked, args=SimpleNamespace(world_size=processes, **settings)
    )
    said = CDETrainer._fit_batch(trainer)
    fitting = n // processes
    needed = max(least if aware else 1, processes)
    if drop and fitting < asked and fitting * processes >= needed:
        where = f" in each of {processes} processes" if processes > 1 else ""
        assert said == f"{n} training pairs are fewer than a batch of {asked}{where}, so a batch has {fitting}{where}."
        assert trainer._train_batch_size == fitting
    else:
        assert said is None and trainer._train_batch_size == asked


@pytest.mark.parametrize(
    ("weights", "step", "expected"),
    [
        (None, 5, {"sparsity": 0.5, "a": 1.0, "b": 1.0}),
        ({"sparsity": 4.0, "a": 2.0}, 0, {"sparsity": 0.0, "a": 2.0}),
        ({"sparsity": 4.0, "a": 2.0}, 5, {"sparsity": 2.0, "a": 2.0}),
        ({"sparsity": 4.0, "a": 2.0}, 10, {"sparsity": 4.0, "a": 2.0}),
        ({"sparsity": 4.0, "a": 2.0}, 25, {"sparsity": 4.0, "a": 2.0}),
        ({"a": 2.0}, 5, {"a": 2.0}),
    ],
)
def test_sparsity_grows_to_its_weight_in_the_first_steps_of_a_training(weights, step, expected):
    loss = SimpleNamespace() if weights is None else SimpleNamespace(weights=weights)
    state = SimpleNamespace(max_steps=40, global_step=step)
    trainer = SimpleNamespace(loss=loss, state=state, args=SimpleNamespace(sparsity_warmup_ratio=0.25))
    names = ["sparsity", "a", "b"]
    assert CDETrainer._weights_of(trainer, names, True) == expected
    whole = dict.fromkeys(names, 1.0) if weights is None else weights
    assert CDETrainer._weights_of(trainer, names) == {name: whole[name] for name in names if name in whole}
    trainer.args.sparsity_warmup_ratio = 0.0
    assert CDETrainer._weights_of(trainer, names, True) == CDETrainer._weights_of(trainer, names)


def blocks(*trained):
    """A model of an embedding, two blocks and a head that is trained; the others are or not."""
    model = nn.Module()
    model.embedding, model.layers = nn.Linear(1, 1), nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])
    model.head = nn.Linear(1, 1)
    for part, one in zip((model.embedding, *model.layers), trained, strict=True):
        part.requires_grad_(one)
    return model


@pytest.mark.parametrize(
    ("trained", "expected"),
    [
        ((True, True, True), False),
        ((True, False, True), False),
        ((False, True, True), True),
        ((False, False, True), True),
        ((False, False, False), False),  # nothing in the blocks is trained
    ],
)
def test_blocks_behind_frozen_parameters_are_found(trained, expected):
    assert _begins_frozen(blocks(*trained)) is expected
    assert not _begins_frozen(nn.Linear(1, 1).requires_grad_(trained[0]))  # no blocks at all


def test_a_function_has_no_parameters_and_a_module_those_that_are_trained():
    module = nn.Linear(1, 1)
    module.bias.requires_grad_(False)
    assert _trainable(lambda outputs, labels: {}) == [] and _trainable(module) == [module.weight]
