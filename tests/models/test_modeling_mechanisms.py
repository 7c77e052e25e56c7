"""Several prototypes per action and object-dependent deltas, each against a naive reference."""

import math

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModel

from modeling_cde.models.modeling_mechanisms import (
    LowRankConfig,
    LowRankForActionClassification,
    PrototypesConfig,
    PrototypesForActionClassification,
)
from tests.tiny_models import backbone_config, clips, excite, tiny_cde

LABELS = torch.tensor([0, 1, 2])
KINDS = (PrototypesForActionClassification, LowRankForActionClassification)


def tiny(kind, family="vit", excited=True, **options):
    torch.manual_seed(0)
    options = {"delta_dim": 16, "id2label": {0: "open", 1: "close", 2: "break"}} | options
    model = kind.from_backbone(backbone_config(family), **options)
    if excited:
        excite(model)
    return model.eval()


@pytest.mark.parametrize("score", ["logsumexp", "max"])
@pytest.mark.parametrize("k", [1, 3])
def test_an_action_scores_by_its_prototypes(score, k):
    model = tiny(PrototypesForActionClassification, prototypes_per_action=k, prototype_score=score)
    with torch.no_grad():
        output = model(clips(3), labels=LABELS)
    weight, bias = model.prototypes.weight.detach(), model.prototypes.bias.detach()
    for pair in range(3):
        for action in range(3):
            rows = range(k * action, k * action + k)
            scores = [float(weight[j].double() @ output.delta[pair, 0].double() + bias[j]) for j in rows]
            expected = max(scores) if score == "max" else math.log(sum(map(math.exp, scores)))
            assert float(output.logits[pair, action]) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    torch.testing.assert_close(output.loss, F.cross_entropy(output.logits, LABELS))
    assert output.auxiliary_loss is None


def test_one_prototype_is_cde():
    model, cde = tiny(PrototypesForActionClassification, prototypes_per_action=1), tiny_cde("vit")
    model.cde.load_state_dict(cde.cde.state_dict())
    model.prototypes.load_state_dict(cde.classifier.state_dict())
    with torch.no_grad():
        assert torch.equal(model(clips()).logits, cde(clips()).logits)


def test_the_best_prototype_alone_gets_a_gradient_where_the_score_is_the_maximum():
    for score, learning in (("max", 1), ("logsumexp", 4)):
        model = tiny(PrototypesForActionClassification, prototype_score=score)
        model(clips(1), labels=LABELS[:1]).logits[0, 0].backward()
        assert int((model.prototypes.bias.grad != 0).sum()) == learning


def test_the_nearest_mean_given_the_state_before_scores_best():
    model = tiny(LowRankForActionClassification, context_rank=2, context_weight=0.3)
    head = model.conditioned
    with torch.no_grad():
        output = model(clips(3), labels=LABELS)
        moves = head.moves.weight.double().reshape(3, 16, 2)
        expected, penalty = torch.zeros(3, 3, dtype=torch.float64), 0.0
        for pair in range(3):
            before, delta = output.states[pair, 0].double(), output.delta[pair, 0].double()
            context = (before - before.mean()) / (before.var(unbiased=False) + 1e-5).sqrt()
            for action in range(3):
                moved = moves[action] @ (head.read.weight.double() @ context)
                distance = delta - head.means.weight[action].double() - moved
                expected[pair, action] = -(distance @ distance) / 2 + delta @ delta / 2
                penalty += 0.3 * float(moved @ moved) / 9
    torch.testing.assert_close(output.logits.double(), expected, rtol=1e-4, atol=1e-4)
    assert float(output.auxiliary_loss) == pytest.approx(penalty, rel=1e-4) and penalty > 1e-3
    torch.testing.assert_close(output.loss, F.cross_entropy(output.logits, LABELS) + output.auxiliary_loss)


def test_a_new_model_depends_on_no_object_until_it_has_learned():
    model = tiny(LowRankForActionClassification, excited=False)
    with torch.no_grad():
        output = model(clips(3), labels=LABELS)
        means = model.conditioned(output.states[:, 0])
    assert float(output.auxiliary_loss) == 0.0 and torch.equal(means, model.conditioned.means.weight.expand(3, 3, 16))
    model(clips(3), labels=LABELS).loss.backward()
    assert model.conditioned.moves.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("family", ["vit", "resnet"])
@pytest.mark.parametrize("kind", KINDS)
def test_clips_saving_autocast_and_gradients(kind, family, tmp_path):
    model, x = tiny(kind, family), clips(3, 4)
    labels = LABELS[:, None].expand(3, 3)
    with torch.no_grad():
        output = model(x, labels=labels)
        assert output.logits.shape == (3, 3, 3) and output.delta.shape == (3, 3, 16)
        model.save_pretrained(tmp_path)
        again = AutoModel.from_pretrained(tmp_path)
        assert type(again) is kind
        repeated = again(x, labels=labels)
        assert torch.equal(repeated.logits, output.logits) and torch.equal(repeated.loss, output.loss)
        pair, swapped, same = clips(3), clips(3).flip(1), clips(3)[:, :1].expand(-1, 2, -1, -1, -1)
        torch.testing.assert_close(model(swapped).delta, -model(pair).delta)
        assert not model(same).delta.any()
        full = model(pair, labels=LABELS)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = model(pair, labels=LABELS)
        torch.testing.assert_close(half.loss, full.loss, atol=0.1, rtol=0.1)
        assert half.loss.dtype == half.logits.dtype == torch.float32
        assert torch.equal(model(pair, labels=LABELS, return_dict=False)[0], full.loss)
    again.train()(pair, labels=LABELS).loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in again.parameters() if p.requires_grad and p.ndim > 1)


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        (PrototypesConfig, "prototypes_per_action", 0),
        (PrototypesConfig, "prototype_score", "mean"),
        (LowRankConfig, "context_rank", 0),
        (LowRankConfig, "context_weight", -0.1),
        (LowRankConfig, "context_weight", float("inf")),
    ],
)
def test_a_wrong_field_is_named(config, field, value):
    with pytest.raises(ValueError, match=f"{config.__name__}.{field} must be"):
        config(**{field: value})
