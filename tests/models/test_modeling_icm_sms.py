"""Concatenation, ICM and SMS: same inputs and outputs as CDE, and each term against a naive reference."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel

from modeling_cde import CDEModel
from modeling_cde.models.modeling_icm_sms import (
    ConcatenationForActionClassification,
    ICMConfig,
    ICMForActionClassification,
    SMSConfig,
    SMSForActionClassification,
    block_of_dimensions,
    reverse_gradient,
)
from tests.tiny_models import backbone_config, clips, excite, tiny_cde

LABELS = torch.tensor([0, 1, 2])
OBJECTS = torch.tensor([3, 0, 4])
OPTIONS = {
    ConcatenationForActionClassification: {},
    ICMForActionClassification: {"num_objects": 5, "critic_weight": 0.3},
    SMSForActionClassification: {"action_blocks": [0, 0, 1], "block_weight": 2.5},
}


def tiny(kind=ConcatenationForActionClassification, family: str = "vit", **options):
    torch.manual_seed(0)
    options = {"delta_dim": 16, "id2label": {0: "open", 1: "close", 2: "break"}} | OPTIONS[kind] | options
    model = kind.from_backbone(backbone_config(family), **options)
    excite(model)
    return model.eval()


@pytest.mark.parametrize("family", ["vit", "siglip", "resnet"])
@pytest.mark.parametrize("head_inputs", ["delta", "z_after"])
def test_logits_are_the_head_on_both_states(family, head_inputs):
    model = tiny(family=family, head_inputs=head_inputs, head_hidden_dim=24)
    with torch.no_grad():
        output = model(clips(3), labels=LABELS)
        z, after = output.states[:, 0], output.states[:, 1]
        torch.testing.assert_close(output.delta[:, 0], after - z)
        expected = model.head(torch.cat([z, after - z if head_inputs == "delta" else after], dim=1))
        torch.testing.assert_close(output.logits, expected)
        torch.testing.assert_close(output.loss, F.cross_entropy(expected, LABELS))
    assert output.auxiliary_loss is None and model.head[0].out_features == 24


@pytest.mark.parametrize("family", ["vit", "dinov2", "resnet"])
@pytest.mark.parametrize("kind", list(OPTIONS))
def test_clips_saving_autocast_and_gradients(kind, family, tmp_path):
    model, x = tiny(kind, family), clips(3, 4)
    extra = {"objects": OBJECTS} if model.extra_inputs else {}
    with torch.no_grad():
        output = model(x, labels=LABELS[:, None].expand(3, 3), **extra)
        assert output.logits.shape == (3, 3, 3) and output.delta.shape == (3, 3, 16)
        assert output.states.shape == (3, 4, 16)
        model.save_pretrained(tmp_path)
        again = AutoModel.from_pretrained(tmp_path)
        assert type(again) is kind and again.config.option_names() >= {"delta_dim", "head_inputs", *OPTIONS[kind]}
        repeated = again(x, labels=LABELS[:, None].expand(3, 3), **extra)
        assert torch.equal(repeated.logits, output.logits) and torch.equal(repeated.loss, output.loss)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = model(clips(3), labels=LABELS, **extra)
        full = model(clips(3), labels=LABELS, **extra)
        torch.testing.assert_close(half.loss, full.loss, atol=0.1, rtol=0.1)
        assert half.loss.dtype == half.delta.dtype == torch.float32
        as_tuple = model(clips(3), labels=LABELS, return_dict=False, **extra)
        assert torch.equal(as_tuple[0], full.loss)
    again.train()(clips(3), labels=LABELS, **extra).loss.backward()
    assert all(p.grad is not None for p in again.parameters() if p.requires_grad)


def test_encoder_and_outputs_are_those_of_cde():
    """With the same backbone and projector the states and deltas are equal: only the head differs."""
    model, cde = tiny(), tiny_cde("vit")
    assert isinstance(model.cde, CDEModel) and model.config.delta_dim == cde.config.delta_dim
    model.cde.load_state_dict(cde.cde.state_dict())
    with torch.no_grad():
        ours, theirs = model(clips()), cde(clips())
    assert torch.equal(ours.states, theirs.states) and torch.equal(ours.delta, theirs.delta)
    assert isinstance(ours, type(theirs)) and set(theirs) <= set(ours)
    model.freeze_backbone()
    assert not any(p.requires_grad for p in model.cde.backbone.parameters())


# ICM


@pytest.mark.parametrize("critic_inputs", ["action", "delta", "states"])
def test_the_critic_learns_the_object_and_the_model_unlearns_it(critic_inputs):
    """Gradients against two plain cross-entropies: + C for the critic, CE - λ C for the rest."""
    model = tiny(ICMForActionClassification, critic_inputs=critic_inputs, critic_hidden_dim=7, head_hidden_dim=24)
    x = clips(3)
    output = model(x, labels=LABELS, objects=OBJECTS)
    output.loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    states = model.cde(x).states
    z, after = states[:, 0], states[:, 1]
    first, last = model.head[0], model.head[2]
    hidden = F.gelu(torch.cat([z, after - z], 1) @ first.weight.T + first.bias)
    action_loss = F.cross_entropy(hidden @ last.weight.T + last.bias, LABELS)
    read = {"action": hidden, "delta": after - z, "states": torch.cat([z, after])}[critic_inputs]
    objects = torch.cat([OBJECTS, OBJECTS]) if critic_inputs == "states" else OBJECTS
    inner, outer = model.critic[0], model.critic[2]
    critic_loss = F.cross_entropy(torch.relu(read @ inner.weight.T + inner.bias) @ outer.weight.T + outer.bias, objects)
    torch.testing.assert_close(output.loss, action_loss + critic_loss)
    torch.testing.assert_close(output.auxiliary_loss, critic_loss)
    assert inner.weight.shape == (7, read.shape[1])

    critic = {name: p for name, p in model.named_parameters() if name.startswith("critic")}
    others = {name: p for name, p in model.named_parameters() if name in found and name not in critic}
    for loss, parameters in ((critic_loss, critic), (action_loss - 0.3 * critic_loss, others)):
        gradients = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-3, msg=name)
    assert found.keys() == critic.keys() | others.keys() and len(critic) == 4


def test_objects_are_only_for_the_critic():
    model = tiny(ICMForActionClassification)
    assert model.extra_inputs == ("objects",)
    with torch.no_grad():
        without, with_objects = model(clips(3), labels=LABELS), model(clips(3), labels=LABELS, objects=OBJECTS)
        unlabelled = model(clips(3), objects=OBJECTS)
    assert without.auxiliary_loss is None and unlabelled.loss is None and unlabelled.auxiliary_loss is None
    assert torch.equal(without.logits, with_objects.logits)
    torch.testing.assert_close(with_objects.loss - with_objects.auxiliary_loss, without.loss)
    with pytest.raises(ValueError, match=r"objects must have the shape \(3,\)"):
        model(clips(3), labels=LABELS, objects=OBJECTS[:2])


def test_an_adversary_hides_the_object():
    """Points that tell action and object: reversed, the critic ends at chance, log 2; else it reads the object."""

    def train(weight: float) -> tuple[float, float]:
        generator = torch.Generator().manual_seed(0)
        action, thing = torch.randint(2, (2, 256), generator=generator)
        points = torch.stack([action, thing], 1) * 2.0 - 1 + 0.05 * torch.randn(256, 2, generator=generator)
        torch.manual_seed(0)
        encoder, head, critic = (torch.nn.Linear(2, 2) for _ in range(3))
        optimizer = torch.optim.SGD([*encoder.parameters(), *head.parameters(), *critic.parameters()], lr=0.3)
        for _ in range(200):
            z = encoder(points)
            critic_loss = F.cross_entropy(critic(reverse_gradient(z, weight)), thing)
            optimizer.zero_grad()
            (F.cross_entropy(head(z), action) + critic_loss).backward()
            optimizer.step()
        return (head(z).argmax(1) == action).float().mean().item(), critic_loss.item()

    accuracy, critic_loss = train(1.0)
    assert accuracy == 1.0 and critic_loss > 0.65
    assert train(0.0)[1] < 0.2


# SMS


def naive_block_loss(delta: torch.Tensor, labels: torch.Tensor, blocks: list[int], weight: float) -> float:
    rows, dimensions = delta.shape
    width, total = dimensions // len(set(blocks)), 0.0
    for row in range(rows):
        for dimension in range(dimensions):
            block = min(dimension // width, len(set(blocks)) - 1)
            if block != blocks[labels[row]]:
                total += delta[row, dimension].item() ** 2
    return weight * total / (rows * dimensions)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(0, 7), st.integers(2, 4), st.integers(0, 1000))
def test_the_block_term_is_the_naive_one(blocks, more, frames, seed):
    """Also where the blocks do not divide the dimensions, and for clips."""
    generator = torch.Generator().manual_seed(seed)
    of_action = [*range(blocks), *torch.randint(blocks, (3,), generator=generator).tolist()]
    delta = torch.randn(4, frames - 1, blocks + more, generator=generator)
    labels = torch.randint(len(of_action), (4, frames - 1), generator=generator)
    model = SMSForActionClassification.__new__(SMSForActionClassification)
    torch.nn.Module.__init__(model)
    model.config = SMSConfig(
        action_blocks=of_action, block_weight=0.7, num_labels=len(of_action), delta_dim=delta.shape[-1]
    )
    expected = naive_block_loss(delta.flatten(0, 1), labels.flatten(), of_action, 0.7)
    assert model._auxiliary_loss(delta, labels).item() == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_the_block_term_is_added_and_moves_only_other_blocks():
    model = tiny(SMSForActionClassification)
    output = model(clips(3), labels=LABELS)
    expected = naive_block_loss(output.delta[:, 0], LABELS, [0, 0, 1], 2.5)
    assert output.auxiliary_loss.item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(output.loss - output.auxiliary_loss, F.cross_entropy(output.logits, LABELS))
    (gradient,) = torch.autograd.grad(output.auxiliary_loss, output.delta)
    own = torch.tensor([[True] * 8 + [False] * 8] * 2 + [[False] * 8 + [True] * 8])
    assert torch.all(gradient[:, 0][own] == 0) and torch.all(gradient[:, 0][~own] != 0)
    assert model(clips(3)).auxiliary_loss is None
    assert block_of_dimensions(8, 3).tolist() == [0, 0, 1, 1, 2, 2, 2, 2]
    with pytest.raises(ValueError, match="one action for each delta"):
        model(clips(3), labels=LABELS[:2])


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (SMSConfig, {"action_blocks": [0, 1], "num_labels": 3}, "2 blocks for 3 actions"),
        (SMSConfig, {"action_blocks": [0, 2, 2], "num_labels": 3}, "without a gap"),
        (SMSConfig, {"action_blocks": [0, 1, 2], "num_labels": 3, "delta_dim": 2}, "more than delta_dim=2"),
        (SMSConfig, {"action_blocks": [0, "x"], "num_labels": 2}, r"must be whole numbers, .* not \[0, 'x'\]"),
        (SMSConfig, {"action_blocks": [0.0, 1.0], "num_labels": 2}, "must be whole numbers"),
        (SMSConfig, {"action_blocks": 3}, "must be whole numbers, .* not 3"),
        (SMSConfig, {"block_weight": -1.0}, "block_weight must be a finite number"),
        (ICMConfig, {"num_objects": 0}, "num_objects must be a whole number of at least 1"),
        (ICMConfig, {"critic_weight": float("nan")}, "critic_weight must be a finite number"),
        (ICMConfig, {"critic_inputs": "z"}, "critic_inputs must be"),
        (ICMConfig, {"delta_mode": "patch"}, "no patch-wise form"),
        (ICMConfig, {"head_inputs": "z"}, "ICMConfig.head_inputs"),
    ],
)
def test_wrong_options_are_named(config, options, message):
    with pytest.raises(ValueError, match=message):
        config(**options)


def test_what_the_data_set_has_to_say():
    with pytest.raises(ValueError, match="num_objects is missing"):
        ICMForActionClassification.from_backbone(backbone_config("vit"))
    with pytest.raises(ValueError, match="action_blocks is missing"):
        SMSForActionClassification.from_backbone(backbone_config("vit"))
    with pytest.raises(TypeError, match=r"no field 'critic'.*critic_weight.*delta_dim.*head_inputs"):
        ICMForActionClassification.from_backbone(backbone_config("vit"), critic=1)
