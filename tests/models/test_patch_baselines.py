"""Oracle mask, token matching and joint encoder against naive references."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel

from modeling_cde.models.modeling_baseline import nearest_grid
from modeling_cde.models.modeling_joint import JointEncoderConfig, JointEncoderForActionClassification, sine_positions
from modeling_cde.models.modeling_oracle_mask import (
    OracleMaskConfig,
    OracleMaskForActionClassification,
    patch_shares,
    pool,
    usable_masks,
)
from modeling_cde.models.modeling_token_matching import TokenMatchingConfig, TokenMatchingForActionClassification
from tests.tiny_models import IMAGE, PATCH, backbone_config, clips, excite

LABELS = torch.tensor([0, 1, 2])
KINDS = (
    OracleMaskForActionClassification,
    TokenMatchingForActionClassification,
    JointEncoderForActionClassification,
)


def tiny(kind, family: str = "vit", **options):
    torch.manual_seed(0)
    options = {"delta_dim": 16, "id2label": {0: "open", 1: "close", 2: "break"}} | options
    model = kind.from_backbone(backbone_config(family), **options)
    excite(model)
    return model.eval()


def random_masks(batch: int, frames: int = 2, height: int = IMAGE, width: int = IMAGE, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(batch, frames, height, width, generator=generator) < 0.3).float()


def features_of(model, x: torch.Tensor) -> torch.Tensor:
    """Patch features (B, T, N, D_b), each image encoded by itself."""
    reader, backbone = model.cde.reader, model.cde.backbone
    assert reader.feature == "patches"
    return torch.stack([torch.stack([reader(backbone, frame[None])[0][0] for frame in clip]) for clip in x])


@pytest.mark.parametrize("family", ["vit", "clip_vision_model", "resnet"])
@pytest.mark.parametrize("kind", KINDS)
def test_clips_saving_autocast_and_gradients(kind, family, tmp_path):
    model, x = tiny(kind, family), clips(3, 4)
    extra = {"masks": random_masks(3, 4)} if model.extra_inputs else {}
    pair = {name: value[:, :2] for name, value in extra.items()}
    with torch.no_grad():
        output = model(x, labels=LABELS[:, None].expand(3, 3), **extra)
        assert output.logits.shape == (3, 3, 3) and output.delta.shape == (3, 3, 16)
        assert output.states.shape == (3, 4, 16) and output.auxiliary_loss is None
        torch.testing.assert_close(
            output.loss, F.cross_entropy(output.logits.flatten(0, 1), LABELS[:, None].expand(3, 3).flatten())
        )
        full = model(x[:, :2], labels=LABELS, **pair)
        torch.testing.assert_close(full.logits, output.logits[:, 0])
        torch.testing.assert_close(full.delta[:, 0], output.delta[:, 0])
        model.save_pretrained(tmp_path)
        again = AutoModel.from_pretrained(tmp_path)
        assert type(again) is kind and torch.equal(again(x, **extra).logits, output.logits)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = model(x[:, :2], labels=LABELS, **pair)
        assert half.loss.dtype == half.delta.dtype == half.states.dtype == torch.float32
        torch.testing.assert_close(half.loss, full.loss, atol=0.15, rtol=0.1)
        assert torch.equal(model(x[:, :2], return_dict=False, **pair)[0], full.logits)
    again.train()(x[:, :2], labels=LABELS, **pair).loss.backward()
    assert all(p.grad is not None for p in again.parameters() if p.requires_grad)
    again.freeze_backbone()
    assert not any(p.requires_grad for p in again.cde.backbone.parameters())


# Oracle mask


@pytest.mark.parametrize("family", ["vit", "resnet"])
@pytest.mark.parametrize("floor", [0.0, 0.2])
def test_a_state_is_pooled_under_the_mask(family, floor):
    model = tiny(OracleMaskForActionClassification, family, mask_floor=floor)
    x, masks = clips(2), torch.zeros(2, 2, IMAGE, IMAGE)
    masks[0, 0, :PATCH, :PATCH] = 1  # patch 0
    masks[0, 1, 4:12, 16:20] = 1  # a quarter each of patches 2 and 6
    masks[1, 0, 31, 31] = 1  # one pixel of patch 15; nothing in the other frame
    shares = torch.zeros(2, 2, 16)
    shares[0, 0, 0], shares[0, 1, 2], shares[0, 1, 6], shares[1, :, 15] = 1, 0.25, 0.25, 1 / 64
    weights = shares.clamp(min=floor)
    with torch.no_grad():
        output, features = model(x, masks=masks), features_of(model, x)
        for clip in range(2):
            for frame in range(2):
                w = weights[clip, frame]
                pooled = sum(w[n] * features[clip, frame, n] for n in range(16)) / w.sum()
                torch.testing.assert_close(
                    output.states[clip, frame], model.cde.projector(pooled), atol=1e-5, rtol=1e-4
                )
        z, after = output.states[:, 0], output.states[:, 1]
        torch.testing.assert_close(output.logits, model.head(torch.cat([z, after - z], 1)))
        torch.testing.assert_close(output.delta[:, 0], after - z)


def test_nothing_outside_of_the_mask_is_seen_and_no_mask_is_the_whole_picture():
    """Of a ResNet's map only the cells under the mask; of an empty mask their mean."""
    features = torch.randn(1, 2, 16, 5)
    masks = torch.zeros(1, 2, IMAGE, IMAGE)
    masks[:, :, 8:16, 8:24] = 1  # patches 5 and 6
    changed = features.clone()
    changed[:, :, [n for n in range(16) if n not in (5, 6)]] += 100
    shares = patch_shares(usable_masks(masks), 16)
    torch.testing.assert_close(pool(features, shares), pool(changed, shares))
    torch.testing.assert_close(pool(features, shares), features[:, :, 5:7].mean(2))
    empty = patch_shares(usable_masks(torch.zeros(1, 2, IMAGE, IMAGE)), 16)
    torch.testing.assert_close(pool(features, empty), features.mean(2))


def test_an_empty_mask_takes_those_of_the_other_frames():
    masks = torch.zeros(2, 3, 4, 4)
    masks[0, 0, 0, 0] = masks[0, 2, 3, 3] = 1
    usable = usable_masks(masks)
    assert torch.equal(usable[0, 0], masks[0, 0]) and torch.equal(usable[0, 2], masks[0, 2])
    assert torch.equal(usable[0, 1], masks[0, 0] + masks[0, 2])
    assert torch.all(usable[1] == 1)


def test_masks_have_to_be_there():
    model = tiny(OracleMaskForActionClassification)
    assert model.extra_inputs == ("masks",)
    with pytest.raises(ValueError, match="needs `masks`"):
        model(clips(2), labels=LABELS[:2])
    with pytest.raises(ValueError, match=r"masks must have the shape \(2, 2, 32, 32\)"):
        model(clips(2), masks=random_masks(2)[:, :1])


# Token matching


def naive_matching(model, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (B, A) and delta (B, D) of pairs, by loops over patches."""
    config, logits, deltas = model.config, [], []
    places = [(row / 4, column / 4) for row in range(4) for column in range(4)]
    for before, after in features_of(model, x):
        projected = [model.cde.projector(before), model.cde.projector(after)]

        def score(n: int, m: int, one: torch.Tensor = before, other: torch.Tensor = after) -> float:
            cosine = F.cosine_similarity(one[n], other[m], dim=0).item()
            return cosine - config.position_weight * math.dist(places[n], places[m])

        matches = [(n, max(range(16), key=lambda m: score(n, m))) for n in range(16)]  # noqa: B023
        if config.match_back:
            matches += [(max(range(16), key=lambda n: score(n, m)), m) for m in range(16)]  # noqa: B023
        differences = [projected[1][m] - projected[0][n] for n, m in matches]
        embedded = [
            model.pair_layer(torch.cat([projected[0][n], difference]))
            for (n, _), difference in zip(matches, differences, strict=True)
        ]
        mean, largest = torch.stack(embedded).mean(0), torch.stack(embedded).max(0).values
        read = {"mean": mean, "max": largest, "mean_max": torch.cat([mean, largest])}[config.match_pooling]
        logits.append(model.classifier(read))
        deltas.append(torch.stack(differences).mean(0))
    return torch.stack(logits), torch.stack(deltas)


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("vit", {}),
        ("resnet", {"match_pooling": "mean", "match_back": False}),
        ("dinov2", {"match_pooling": "max", "head_hidden_dim": 7}),
        ("vit", {"position_weight": 0.5}),
    ],
)
def test_matching_is_the_naive_one(family, options):
    model, x = tiny(TokenMatchingForActionClassification, family, **options), clips(3)
    x[:, 1] = x[:, 1] * 0.3 + x[:, 0].roll(PATCH, dims=-1)  # of which some patches moved
    with torch.no_grad():
        output = model(x)
        logits, delta = naive_matching(model, x)
    torch.testing.assert_close(output.logits, logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(output.delta[:, 0], delta, atol=1e-5, rtol=1e-4)


def test_deltas_of_matching_vanish_and_change_their_sign():
    model, x = tiny(TokenMatchingForActionClassification), clips(2)
    with torch.no_grad():
        forth, back = model(x).delta, model(x.flip(1)).delta
        still = model(x[:, :1].expand(-1, 2, -1, -1, -1)).delta
    torch.testing.assert_close(forth, -back)
    assert forth.abs().max() > 0.05 and still.abs().max() < 1e-5


def test_a_patch_that_moved_is_found_again():
    """Features of a shuffled grid: matched by similarity nothing has changed; matched by place everything has."""
    model = tiny(TokenMatchingForActionClassification)
    features = torch.randn(1, 1, 16, 32)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    moved = torch.cat([features, features[:, :, order]], dim=1)
    similarity = model._similarity(moved, (4, 4))
    assert torch.equal(similarity.argmax(3)[0, 0], order.argsort())
    assert torch.equal(similarity.argmax(2)[0, 0], order)
    model.config.position_weight = 100.0
    assert torch.equal(model._similarity(moved, (4, 4)).argmax(3)[0, 0], torch.arange(16))


# Joint encoder


@pytest.mark.parametrize("family", ["vit", "resnet"])
def test_the_joint_encoder_is_torchs_own_transformer_on_both_frames(family):
    """The same weights in torch.nn.TransformerEncoderLayer, on tokens put together by hand."""
    model, x = tiny(JointEncoderForActionClassification, family, joint_num_layers=2, joint_num_heads=2), clips(3)
    reference = []
    for layer in model.layers:
        theirs = torch.nn.TransformerEncoderLayer(
            16, 2, 64, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        names = {
            "norm1": layer.attention_norm, "self_attn.in_proj_": layer.query_key_value,
            "self_attn.out_proj": layer.attention_output, "norm2": layer.mlp[0],
            "linear1": layer.mlp[1], "linear2": layer.mlp[3],
        }  # fmt: skip
        weights = {
            f"{name}{'' if name.endswith('_') else '.'}{kind}": getattr(module, kind)
            for name, module in names.items()
            for kind in ("weight", "bias")
        }
        theirs.load_state_dict(weights)
        reference.append(theirs)
    with torch.no_grad():
        output = model(x)
        projected = model.cde.projector(features_of(model, x))  # (B, T, N, D)
        for clip in range(3):
            tokens = [model.kinds.weight[0]]
            for frame in range(2):
                for n in range(16):
                    token = model.input_norm(projected[clip, frame, n]) + sine_positions(4, 4, 16)[n]
                    tokens.append(token + model.kinds.weight[1 + frame])
            hidden = torch.stack(tokens)[None]
            for layer in reference:
                hidden = layer(hidden)
            delta = model.output_norm(hidden[0, 0])
            torch.testing.assert_close(output.delta[clip, 0], delta, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(output.logits[clip], model.classifier(delta), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(output.states, projected.mean(2), atol=1e-5, rtol=1e-4)


def test_the_joint_encoder_knows_the_order_and_place_of_what_it_sees():
    model, x = tiny(JointEncoderForActionClassification, "resnet"), clips(2)
    with torch.no_grad():
        assert not torch.allclose(model(x).delta, model(x.flip(1)).delta, atol=1e-2)
        assert not torch.allclose(model(x).delta, -model(x.flip(1)).delta, atol=1e-2)
        assert not torch.allclose(model(x).delta, model(x.flip(-1)).delta, atol=1e-2)


def test_frame_embeddings_start_as_large_as_positions():
    torch.manual_seed(0)
    model = JointEncoderForActionClassification.from_backbone(backbone_config("vit"), delta_dim=64)
    assert 0.5 < model.kinds.weight.std().item() < 0.9
    assert sine_positions(4, 4, 64).square().mean().sqrt().item() == pytest.approx(0.5**0.5, abs=1e-6)


@given(st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=16, deadline=None)
def test_positions_are_the_formula_and_all_different(rows, columns):
    found = sine_positions(rows, columns, 8)
    for n in range(rows * columns):
        row, column = divmod(n, columns)
        expected = [
            function(place * 10000 ** (-i / 2))
            for place, function in ((row, math.sin), (row, math.cos), (column, math.sin), (column, math.cos))
            for i in range(2)
        ]
        torch.testing.assert_close(found[n], torch.tensor(expected), atol=1e-6, rtol=1e-5)
    assert len({tuple(position.tolist()) for position in found}) == rows * columns


@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([4, 14, 16, 32]))
@settings(max_examples=50, deadline=None)
def test_the_grid_is_that_of_the_image(rows, columns, patch):
    assert nearest_grid(rows * columns, torch.empty(rows * patch, columns * patch)) == (rows, columns)


@pytest.mark.parametrize("size", [(32, 32), (64, 32), (40, 72)])
def test_the_grid_of_a_map_is_the_backbones(size):
    model = tiny(TokenMatchingForActionClassification, "resnet")
    feature_map = model.cde.backbone(clips(1, 2, *size)[0]).last_hidden_state
    assert nearest_grid(feature_map[0, 0].numel(), torch.empty(size)) == tuple(feature_map.shape[2:])


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (OracleMaskConfig, {"mask_floor": 1.5}, r"mask_floor must be in \[0, 1\]"),
        (OracleMaskConfig, {"delta_mode": "patch"}, "no patch-wise form"),
        (TokenMatchingConfig, {"match_pooling": "min"}, "pooling must be one of 'mean'"),
        (TokenMatchingConfig, {"position_weight": -1}, "position_weight must be a finite"),
        (JointEncoderConfig, {"joint_num_layers": 0}, "joint_num_layers must be a whole number of at least 1"),
        (JointEncoderConfig, {"joint_num_heads": 3}, r"multiple of joint_num_heads \(3\)"),
        (JointEncoderConfig, {"delta_dim": 6, "joint_num_heads": 3}, "multiple of 4"),
    ],
)
def test_wrong_options_are_named(config, options, message):
    with pytest.raises(ValueError, match=message):
        config(**options)
