"""k-nearest neighbours: votes against a naive reference, and the bank that they come from."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier
from transformers import AutoModel

from modeling_cde.models.modeling_neighbours import NeighboursConfig, NeighboursForActionClassification
from tests.tiny_models import backbone_config, clips, excite

OPTIONS = {"id2label": {0: "open", 1: "close", 2: "break"}, "num_neighbours": 4, "bank_size": 32}


def tiny(family: str = "vit", **options) -> NeighboursForActionClassification:
    torch.manual_seed(0)
    model = NeighboursForActionClassification.from_backbone(backbone_config(family), **(OPTIONS | options))
    excite(model.cde)
    return model.eval()


def filled(model: NeighboursForActionClassification, batches: int = 3, size: int = 6) -> tuple[torch.Tensor, ...]:
    """Trains for some batches; returns what the model was shown."""
    generator = torch.Generator().manual_seed(2)
    x = torch.cat([clips(size, seed=10 + number) for number in range(batches)])
    labels = torch.randint(3, (len(x),), generator=generator)
    model.train()
    for rows, actions in zip(x.split(size), labels.split(size), strict=True):
        model(rows, labels=actions).loss.backward()
    model.eval()
    return x, labels


def naive_logits(
    keys: torch.Tensor, labels: torch.Tensor, query: torch.Tensor, k: int, temperature: float, actions: int = 3
) -> torch.Tensor:
    similar = sorted(
        ((F.cosine_similarity(key, query, dim=0).item(), int(y)) for key, y in zip(keys, labels, strict=True)),
        reverse=True,
    )[:k]
    votes = [0.0] * actions
    for similarity, action in similar:
        votes[action] += math.exp(similarity / temperature)
    total = sum(votes) or 1.0
    return torch.tensor([math.log((vote / total + 1e-3) / (1 + actions * 1e-3)) for vote in votes])


def keys_of(model: NeighboursForActionClassification, x: torch.Tensor) -> torch.Tensor:
    reader, backbone = model.cde.reader, model.cde.backbone
    with torch.no_grad():
        before, after = reader(backbone, x[:, 0])[0], reader(backbone, x[:, 1])[0]
    return after - before if model.config.features == "delta" else torch.cat([before, after - before], 1)


@pytest.mark.parametrize("family", ["vit", "siglip", "resnet"])
@pytest.mark.parametrize("features", ["delta", "concatenation"])
def test_the_nearest_of_what_was_seen_vote(family, features):
    model = tiny(family, features=features, vote_temperature=0.3)
    x, labels = filled(model)
    queries = clips(4, seed=99)
    output = model(queries, labels=torch.tensor([0, 1, 2, 0]))
    keys, asked = keys_of(model, x), keys_of(model, queries)
    for query, logits in zip(asked, output.logits, strict=True):
        torch.testing.assert_close(logits.detach(), naive_logits(keys, labels, query, 4, 0.3), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(output.loss, F.cross_entropy(output.logits, torch.tensor([0, 1, 2, 0])))
    torch.testing.assert_close(output.delta[:, 0], output.states[:, 1] - output.states[:, 0])
    assert output.states.shape == (4, 2, 32) and output.auxiliary_loss is None
    assert model.bank_count == 18 and torch.equal(model.bank_labels[:18], labels) and (model.bank_labels[18:] < 0).all()


def test_accuracy_is_that_of_another_implementation():
    """Scikit-learn's k-NN with cosine distance and the same weights predicts the same actions."""
    model = tiny("resnet", num_neighbours=5, bank_size=64)
    x, labels = filled(model, batches=8)
    queries = clips(40, seed=5)
    theirs = KNeighborsClassifier(5, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07))
    theirs.fit(keys_of(model, x).numpy(), labels.numpy())
    with torch.no_grad():
        ours = model(queries).logits.argmax(1)
    assert ours.tolist() == theirs.predict(keys_of(model, queries).numpy()).tolist()
    assert len(ours.unique()) == 3


def test_a_pair_does_not_vote_for_itself_and_the_empty_bank_knows_nothing():
    model = tiny().train()
    first = model(clips(2), labels=torch.tensor([0, 1]))
    torch.testing.assert_close(first.logits.softmax(1), torch.full((2, 3), 1 / 3))
    first.loss.backward()
    assert model.log_temperature.grad == 0
    second = model(clips(2, seed=1), labels=torch.tensor([2, 2]))
    assert second.logits.argmax(1).tolist() != [2, 2]  # the batch itself was not in the bank yet
    model.eval()
    known = model(clips(2, seed=1)).logits
    assert known.argmax(1).tolist() == [2, 2] and model.bank_count == 4


def test_the_bank_is_filled_by_training_alone_and_the_oldest_rows_give_way():
    model = tiny(bank_size=5)
    labels = torch.tensor([0, 1, 2])
    with torch.no_grad():
        model(clips(3), labels=labels)  # evaluation
        assert model.bank_count == 0
        model.train()(clips(3))  # no labels
        assert model.bank_count == 0
        for seed in range(3):
            model(clips(3, seed=seed), labels=labels)
        assert model.bank_count == 9 and sorted(model.bank_labels.tolist()) == [0, 1, 1, 2, 2]
        expected = F.normalize(torch.cat([keys_of(model, clips(3, seed=1))[1:], keys_of(model, clips(3, seed=2))]))
        torch.testing.assert_close(model.bank.sort(0).values, expected.sort(0).values)
        model(clips(12, seed=7), labels=torch.zeros(12, dtype=torch.long))
    assert model.bank_labels.tolist() == [0] * 5


def test_only_the_temperature_is_trained():
    model = tiny("resnet")
    before = {name: value.clone() for name, value in model.state_dict().items() if "bank" not in name}
    filled(model)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["log_temperature"]
    assert model.log_temperature.grad.abs() > 0
    assert not hasattr(model.cde, "projector")
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())  # also the batch norms' statistics


def test_the_bank_is_saved_with_the_model(tmp_path):
    model = tiny("resnet")
    filled(model)
    model.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path)
    assert type(again) is NeighboursForActionClassification
    with torch.no_grad():
        assert torch.equal(again(clips(3)).logits, model(clips(3)).logits)
    again.train()
    again(clips(3), labels=torch.tensor([0, 1, 2])).loss.backward()
    assert [name for name, p in again.named_parameters() if p.requires_grad] == ["log_temperature"]
    assert again.bank_count == 21 and not again.cde.backbone.training
    same = {name: value for name, value in model.state_dict().items() if "bank" not in name}
    assert all(torch.equal(again.state_dict()[name], value) for name, value in same.items())


def test_clips_and_autocast():
    model = tiny()
    model.train()(clips(2, 4), labels=torch.tensor([[0, 1, 2], [2, 1, 0]]))
    assert model.bank_labels[:6].tolist() == [0, 1, 2, 2, 1, 0]
    model.eval()
    x = clips(2, 4, seed=4)
    with torch.no_grad():
        output = model(x)
        assert output.logits.shape == (2, 3, 3) and output.delta.shape == (2, 3, 32)
        torch.testing.assert_close(model(x[:, 1:3]).logits, output.logits[:, 1])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = model(x)
    assert half.logits.dtype == half.delta.dtype == torch.float32
    torch.testing.assert_close(half.delta, output.delta, atol=0.1, rtol=0.1)


@given(st.integers(0, 12), st.integers(1, 8), st.sampled_from([0.02, 0.07, 1.0]), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_votes_of_any_bank(rows, k, temperature, seed):
    """Fewer rows than k, none at all, and keys of opposite directions."""
    generator = torch.Generator().manual_seed(seed)
    model = NeighboursForActionClassification.__new__(NeighboursForActionClassification)
    torch.nn.Module.__init__(model)
    model.config = NeighboursConfig(num_neighbours=k, bank_size=12)
    model.num_labels = 3
    model.log_temperature = torch.nn.Parameter(torch.tensor(temperature).log())
    model.bank, model.bank_labels = torch.zeros(12, 4), torch.full((12,), -1)
    model.bank[:rows] = F.normalize(torch.randn(rows, 4, generator=generator), dim=1)
    model.bank_labels[:rows] = torch.randint(3, (rows,), generator=generator)
    queries = F.normalize(torch.randn(3, 4, generator=generator), dim=1)
    if rows:
        queries[0] = -model.bank[0]
    found = model._votes(queries)
    for query, logits in zip(queries, found, strict=True):
        expected = naive_logits(model.bank[:rows], model.bank_labels[:rows], query, k, temperature)
        torch.testing.assert_close(logits.detach(), expected, atol=1e-3, rtol=1e-3)
    found.sum().backward()
    assert torch.isfinite(model.log_temperature.grad)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": "states"}, "features must be one of 'delta', 'concatenation'"),
        ({"num_neighbours": 0}, "num_neighbours must be a whole number of at least 1"),
        ({"bank_size": 1.5}, "bank_size must be a whole number"),
        ({"vote_temperature": 0}, "vote_temperature must be a finite number above 0"),
        ({"delta_mode": "patch"}, "no patch-wise form"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        NeighboursConfig(**options)
