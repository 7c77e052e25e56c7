"""Layers of a backbone, and the pooling of patches where the picture changed."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_cde import CDEConfig, CDEForActionClassification, CDEModel
from modeling_cde.models.change_pooling_cde import change_weights, pool_changed
from tests.tiny_models import FAMILY_NAMES, backbone_config, clips, tiny_cde

CONVOLUTIONAL = ("resnet", "convnext", "convnextv2", "dinov3_convnext")
POOLINGS = ("cls", "mean", "change")


def naive(features, widths):
    """The formula of `pool_changed`, in loops of Python numbers."""
    clip_states, maps = [], []
    for clip in features.double().tolist():  # T x N x D
        frames, patches = len(clip), len(clip[0])
        states, total = [[] for _ in clip], [0.0] * patches
        start = 0
        for width in widths:
            part = [[patch[start : start + width] for patch in frame] for frame in clip]
            start += width
            change = [sum(math.dist(part[t + 1][n], part[t][n]) for t in range(frames - 1)) for n in range(patches)]
            mean = sum(change) / patches
            powers = [math.exp(2 * (c / mean if mean else 1.0)) for c in change]
            weights = [power / sum(powers) for power in powers]
            for n in range(patches):
                total[n] += weights[n] / len(widths)
            for t in range(frames):
                states[t] += [sum(weights[n] * part[t][n][d] for n in range(patches)) for d in range(width)]
        clip_states.append(states)
        maps.append(total)
    return torch.tensor(clip_states), torch.tensor(maps)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(2, 4), st.integers(1, 6), st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_pooling_is_the_naive_one(batch, frames, patches, widths):
    features = torch.randn(batch, frames, patches, sum(widths), generator=torch.Generator().manual_seed(0))
    states, weights = pool_changed(features, widths)
    expected_states, expected_weights = naive(features, widths)
    torch.testing.assert_close(states, expected_states.float())
    torch.testing.assert_close(weights, expected_weights.float())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_equal_frames_give_uniform_weights_and_no_delta(dtype):
    frame = torch.randn(2, 1, 5, 6).to(dtype)
    states, weights = pool_changed(frame.expand(-1, 2, -1, -1), [4, 2])
    assert torch.equal(states[:, 0], states[:, 1])
    torch.testing.assert_close(weights, torch.full_like(weights, 1 / 5))
    partly = torch.stack([torch.zeros(5, 6), torch.ones(5, 6)]).to(dtype)[None] * 1e-4  # tiny, but a change
    assert pool_changed(partly, [4, 2])[0].isfinite().all()


def test_weights_follow_the_change():
    before = torch.zeros(1, 4, 3)
    after = before.clone()
    after[0, 2] = 1.0
    weights = change_weights(torch.stack([before, after], dim=1))[0]
    assert weights.argmax() == 2
    # One of four patches changed: its change is 4 times the mean.
    torch.testing.assert_close(weights[2], torch.tensor(math.exp(8) / (math.exp(8) + 3)))


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_laws_of_the_delta_hold_for_every_family_and_reading(family, pooling):
    if pooling == "cls" and (family in CONVOLUTIONAL or "siglip" in family):
        pytest.skip("without a CLS token")
    model = tiny_cde(family, pooling=pooling, feature_layers=[1, -1])
    pair = clips(3)
    with torch.no_grad():
        delta = model(pair).delta
        assert torch.equal(model(pair.flip(1)).delta, -delta)
        assert not model(pair[:, :1].expand(-1, 2, -1, -1, -1)).delta.any()
        order = torch.tensor([2, 0, 1])
        torch.testing.assert_close(model(pair[order]).delta, delta[order])
        clip = torch.cat([pair, clips(3, 1, seed=5)], dim=1)
        states = model(clip).states
        torch.testing.assert_close(model(clip).delta.sum(dim=1), states[:, -1] - states[:, 0])
    assert delta.abs().max() > 1e-4


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_trainable_parameter_gets_a_gradient_whatever_is_read(family, tmp_path):
    for options in ({"pooling": "change"}, {"pooling": "mean", "feature_layers": [1]}, {"feature_layers": [-1, 1]}):
        tiny_cde(family, **options).save_pretrained(tmp_path)
        model = CDEForActionClassification.from_pretrained(tmp_path).train()
        model(clips(4), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
        trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
        assert not [name for name, gradient in trained.items() if gradient is None], options
        assert any("backbone" in name and gradient.any() for name, gradient in trained.items())


@pytest.mark.parametrize("family", ["vit", "dinov2_with_registers", "resnet"])
def test_a_layer_is_the_normed_hidden_state(family):
    model = CDEModel.from_backbone(backbone_config(family), feature_layers=[2, 1], pooling="mean", delta_dim=8).eval()
    images = clips(3)[:, 0]
    with torch.no_grad():
        found, _ = model.reader(model.backbone, images)
        hidden = model.backbone(images, output_hidden_states=True).hidden_states
    parts = []
    for state in (hidden[2], hidden[1]):
        if state.ndim == 4:  # 4x4 cells are the coarsest grid
            side = state.shape[2] // 4
            state = state.unfold(2, side, side).unfold(3, side, side).mean(dim=(4, 5)).flatten(2).transpose(1, 2)
        tokens = state[:, model.reader.num_prefix_tokens :]
        centred = tokens - tokens.mean(-1, keepdim=True)
        parts.append((centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()).mean(dim=1))
    torch.testing.assert_close(found, torch.cat(parts, dim=-1), rtol=1e-4, atol=1e-5)
    assert found.shape[-1] == model.reader.feature_dim == sum(model.reader.layer_widths)


def test_negative_layers_count_from_the_end():
    by_place = tiny_cde(feature_layers=[0, 2])
    from_end = tiny_cde(feature_layers=[0, -1])
    from_end.load_state_dict(by_place.state_dict())
    with torch.no_grad():
        assert torch.equal(by_place(clips()).delta, from_end(clips()).delta)


@pytest.mark.parametrize(
    ("family", "layers", "words"),
    [
        ("vit", [3], "names 3, but 'vit' has the layers 0 to 2, which are also -3 to -1"),
        ("dinov2", [-4], "names -4, but"),
        ("resnet", [0], "names 0, but 'resnet' has the stages 1 to 2, which are also -2 to -1"),
        ("vit", [2, -1], "names layer 2 twice"),
    ],
)
def test_a_layer_that_does_not_exist_is_an_error_that_names_the_range(family, layers, words):
    with pytest.raises(ValueError, match=words):
        tiny_cde(family, feature_layers=layers)


def test_the_pooler_does_not_read_layers():
    with pytest.raises(ValueError, match="leave out feature_layers"):
        tiny_cde("siglip", pooling="pooler", feature_layers=[1])


def test_patch_mode_reads_layers():
    output = tiny_cde(delta_mode="patch", feature_layers=[1, 2])(clips())
    assert output.patch_delta.shape == (2, 1, 4, 16)


def test_weights_are_returned_and_sum_to_one():
    output = tiny_cde(pooling="change", feature_layers=[1, 2])(clips(2, 3))
    assert output.patch_weights.shape == (2, 16)
    torch.testing.assert_close(output.patch_weights.sum(dim=-1), torch.ones(2))
    assert tiny_cde(pooling="mean")(clips()).patch_weights is None


def test_kept_features_give_the_same_as_pictures():
    model = tiny_cde(pooling="change", feature_layers=[1, 2])
    with torch.no_grad():
        features = model.cde.encode(clips())[0].reshape(2, 2, -1)
        assert torch.equal(model(features=features).logits, model(clips()).logits)


def test_older_names_of_fields_are_read():
    assert CDEConfig(backbone_config("vit"), global_feature="mean").pooling == "mean"
    from modeling_cde import TokenMatchingConfig

    old = TokenMatchingConfig(backbone_config("vit"), pooling="max", global_feature="mean")
    assert (old.match_pooling, old.pooling) == ("max", "mean")
