"""CDEModel and CDEForActionClassification: the laws of the delta, losses against naive references, round trips."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForImageClassification, AutoModelForVideoClassification

from modeling_cde import CDEConfig, CDEForActionClassification, CDEModel
from modeling_cde.models.modeling_cde import action_loss
from modeling_cde.models.projector_cde import largest_deltas
from tests.tiny_models import FAMILY_NAMES, GRIDS, backbone_config, clips, excite, tiny_cde

MODES = ("global", "patch")
ZERO = 1e-5  # libraries may round the rows of one matrix product differently
CLOSE = {"atol": 2e-5, "rtol": 1e-4}


def pair(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    return torch.stack([before, after], dim=1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_law_1(family, mode):
    """δ(x, x) = 0, δ(x, y) = −δ(y, x), and in global mode δ(x, z) = δ(x, y) + δ(y, z); on several kinds of images."""
    model = tiny_cde(family, delta_mode=mode)
    noise = clips(3, 3)
    edited = noise.clone()
    edited[:, 1, :, 8:16, 8:16] += 1.0  # y differs from x in one patch
    for frames in (noise, 20 * noise, torch.zeros_like(noise), edited, torch.full_like(noise, -1.5)):
        x, y, z = frames.unbind(dim=1)
        with torch.no_grad():
            same, there, back = model(pair(x, x)), model(pair(x, y)), model(pair(y, x))
            clip = model(frames)
        assert same.delta.abs().max() < ZERO
        torch.testing.assert_close(back.delta, -there.delta, **CLOSE)
        torch.testing.assert_close(clip.delta[:, :1], there.delta, **CLOSE)
        if mode == "global":
            torch.testing.assert_close(clip.delta.sum(dim=1), model(pair(x, z)).delta[:, 0], **CLOSE)
            torch.testing.assert_close(clip.delta, clip.states[:, 1:] - clip.states[:, :-1])
        else:
            assert same.patch_delta.abs().max() < ZERO
            torch.testing.assert_close(clip.delta, clip.patch_delta.mean(dim=2))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_shapes_and_one_call_of_the_backbone(family, mode):
    model = tiny_cde(family, delta_mode=mode)
    k = model.config.top_k_patches
    calls = []
    model.cde.backbone.register_forward_pre_hook(lambda _, args: calls.append(args[0].shape[0]))
    for frames, labels in ((2, torch.tensor([0, 2])), (3, torch.tensor([[0, 2], [1, 1]]))):
        calls.clear()
        with torch.no_grad():
            output = model(clips(2, frames), labels=labels)
        assert calls == [2 * frames]  # T encodings a clip, in one call
        assert output.logits.shape == ((2, 3) if frames == 2 else (2, frames - 1, 3))
        assert output.delta.shape == (2, frames - 1, 16) and output.states.shape == (2, frames, 16)
        assert output.loss.shape == () and output.loss.dtype == torch.float32
        if mode == "patch":
            assert output.patch_delta.shape == (2, frames - 1, k, 16)
            assert output.patch_logits.shape == (2, frames - 1, k, 3)
            assert output.patch_indices.shape == (2, frames - 1, k) and output.patch_indices.dtype == torch.int64
            assert 0 <= output.patch_indices.min() and output.patch_indices.max() < math.prod(GRIDS[family])
        else:
            assert output.patch_delta is output.patch_indices is output.patch_logits is None


@pytest.mark.parametrize(("family", "mode"), [*((name, "patch") for name in FAMILY_NAMES), ("vit", "global")])
def test_a_saved_model_gives_the_same_outputs(family, mode, tmp_path):
    model = tiny_cde(family, delta_mode=mode)
    model.save_pretrained(tmp_path / "task")
    again, info = CDEForActionClassification.from_pretrained(tmp_path / "task", output_loading_info=True)
    assert not any(info.values()), info
    encoder, info = AutoModel.from_pretrained(tmp_path / "task", output_loading_info=True)
    assert type(encoder) is CDEModel and not info["missing_keys"], info
    encoder.save_pretrained(tmp_path / "encoder")
    new_task, info = CDEForActionClassification.from_pretrained(tmp_path / "encoder", output_loading_info=True)
    assert info["missing_keys"] == {"classifier.weight", "classifier.bias"}
    x = clips(2, 3, seed=1)
    with torch.no_grad():
        output = model(x)
        assert torch.equal(again(x).logits, output.logits)
        assert torch.equal(encoder(x).delta, output.delta)
        assert torch.equal(new_task(x).delta, output.delta)
    # The weights keep their names: loaders that do not rename must find them (Trainer's resume).
    assert set(load_file(tmp_path / "task" / "model.safetensors")) == set(model.state_dict())


def test_every_parameter_moves_in_training():
    model = tiny_cde("vit", delta_mode="patch").train()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    x, y = clips(6), torch.tensor([0, 1, 2, 0, 1, 2])
    losses = []
    for _ in range(30):
        loss = model(x, labels=y).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    for name, value in model.state_dict().items():  # biases of keys cancel in the softmax
        assert not torch.equal(value, before[name]) or name.endswith("k_proj.bias"), name


@pytest.mark.parametrize("frames", [2, 4])
@pytest.mark.parametrize("patch_loss", ["per_patch", "aggregated"])
def test_cross_entropy_is_that_of_a_naive_loop(patch_loss, frames):
    model = tiny_cde("vit", delta_mode="patch", patch_loss=patch_loss)
    labels = torch.randint(0, 3, (5,) if frames == 2 else (5, frames - 1), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output = model(clips(5, frames), labels=labels)
    weight, bias = model.classifier.weight, model.classifier.bias
    losses = []
    for i in range(5):
        for t in range(frames - 1):
            label = labels.reshape(5, frames - 1)[i, t]
            if patch_loss == "per_patch":
                scores = [output.patch_delta[i, t, j] @ weight.T + bias for j in range(4)]
            else:
                scores = [sum(output.patch_delta[i, t, j] for j in range(4)) / 4 @ weight.T + bias]
            losses += [-score.log_softmax(dim=-1)[label] for score in scores]
    torch.testing.assert_close(output.loss, torch.stack(losses).mean())


def test_cross_entropy_in_global_mode_and_closed_form():
    model = tiny_cde("vit")
    x, labels = clips(5), torch.tensor([0, 1, 2, 2, 1])
    with torch.no_grad():
        output = model(x, labels=labels)
        torch.testing.assert_close(output.logits, model.classifier(output.delta[:, 0]))
        torch.testing.assert_close(output.loss, F.cross_entropy(output.logits, labels))
        model.classifier.weight.zero_()
        model.classifier.bias.zero_()
        for mode_loss in (model(x, labels=labels).loss, model(x, labels=labels[:, None]).loss):
            torch.testing.assert_close(mode_loss, torch.tensor(math.log(3)))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10_000))
def test_top_k_is_that_of_a_naive_loop(k, extra, seed):
    generator = torch.Generator().manual_seed(seed)
    delta = torch.randn(2, 3, k + extra, 5, generator=generator) * 10 ** torch.randn(1, generator=generator)
    kept, indices = largest_deltas(delta, k)
    for i in range(2):
        for t in range(3):
            norms = [sum(float(value) ** 2 for value in delta[i, t, n]) for n in range(k + extra)]
            order = sorted(range(k + extra), key=lambda n, norms=norms: -norms[n])[:k]
            assert indices[i, t].tolist() == order
            assert torch.equal(kept[i, t], delta[i, t, order])


@pytest.mark.parametrize("family", ["dinov3_vit", "vit", "siglip_vision_model"])
def test_equal_images_give_no_delta_in_training_mode_either(family):
    """DINOv3 jitters its rotary positions in training, by a draw for each call: both images must be in one."""
    config = backbone_config(family)
    if family == "dinov3_vit":
        config.pos_embed_shift, config.pos_embed_jitter, config.pos_embed_rescale = 0.5, 1.5, 2.0
    model = CDEModel.from_backbone(config, delta_mode="patch").train()
    x = clips(3)[:, 0]
    first, second = model(pair(x, x)), model(pair(x, x))
    assert first.delta.abs().max() < ZERO
    assert torch.equal(first.states, second.states) == (family != "dinov3_vit")


def test_wrong_inputs_are_answered():
    model = tiny_cde("vit")
    with pytest.raises(ValueError, match=r"torch.stack\(\[before, after\], dim=1\)"):
        model(torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match="frames >= 2"):
        model(clips(2, 1))
    with pytest.raises(ValueError, match=r"shape \(4,\) for 2 frames, not \(3,\)"):
        model(clips(4), labels=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"shape \(4, 2\) for 3 frames, not \(4,\)"):
        action_loss(torch.zeros(4, 2, 3), torch.zeros(4, dtype=torch.int64), frames=3)
    with pytest.raises(TypeError, match="no field 'delta_dims'"):
        CDEModel.from_backbone(backbone_config("vit"), delta_dims=3)
    with pytest.raises(ValueError, match="delta_mode"):
        model.config.delta_mode = "both"
        CDEModel(model.config)


def test_a_cde_checkpoint_is_no_backbone(tmp_path):
    tiny_cde("vit").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a CDE checkpoint: load it by CDEModel.from_pretrained"):
        CDEModel.from_backbone(tmp_path)


@pytest.mark.parametrize("mode", MODES)
def test_bfloat16_weights(mode, tmp_path):
    model = tiny_cde("vit", delta_mode=mode)
    model.save_pretrained(tmp_path)
    half = CDEForActionClassification.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    x, labels = clips(4), torch.tensor([0, 1, 2, 0])
    with torch.no_grad():
        output, full = half(x, labels=labels), model(x, labels=labels)
        assert half(pair(x[:, 0], x[:, 0])).delta.abs().max() < 0.05
    assert output.delta.dtype == torch.bfloat16 and output.loss.dtype == torch.float32
    assert abs(output.loss - full.loss) < 0.1
    half.save_pretrained(tmp_path)
    assert CDEForActionClassification.from_pretrained(tmp_path).dtype == torch.bfloat16
    assert CDEForActionClassification.from_pretrained(tmp_path, dtype=torch.float32).dtype == torch.float32


@pytest.mark.parametrize("mode", MODES)
def test_autocast_leaves_the_delta_in_float32(mode):
    model = tiny_cde("vit", delta_mode=mode)
    x = clips(4)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(x, labels=torch.tensor([0, 1, 2, 0]))
        assert model(pair(x[:, 0], x[:, 0])).delta.abs().max() < 0.05
    assert {output.delta.dtype, output.states.dtype, output.logits.dtype, output.loss.dtype} == {torch.float32}


def test_attention_maps_and_hidden_states(tmp_path):
    tiny_cde("vit").save_pretrained(tmp_path)
    model = CDEForActionClassification.from_pretrained(tmp_path)
    assert model.cde.backbone.config._attn_implementation == "sdpa"
    with pytest.raises(ValueError, match='attn_implementation="eager"'):
        model(clips(), output_attentions=True)
    eager = CDEForActionClassification.from_pretrained(tmp_path, attn_implementation="eager")
    with torch.no_grad():
        output = eager(clips(3), output_attentions=True, output_hidden_states=True)
        torch.testing.assert_close(output.logits, model(clips(3)).logits)
    assert [a.shape for a in output.attentions] == [(6, 2, 17, 17)] * 2
    assert len(output.hidden_states) == 3 and output.hidden_states[0].shape == (6, 17, 32)
    fresh = CDEModel.from_backbone(backbone_config("vit"), attn_implementation="eager")
    assert fresh.backbone.config._attn_implementation == "eager"


@pytest.mark.parametrize("family", ["vit", "clip_vision_model", "dinov2", "dinov3_vit", "siglip_vision_model", "beit"])
def test_gradient_checkpointing_changes_no_gradient(family):
    model = tiny_cde(family).train()
    gradients = []
    for _ in range(2):
        torch.manual_seed(0)
        model(clips(3), labels=torch.tensor([0, 1, 2])).loss.backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
        model.zero_grad()
        model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value)


def test_gradient_checkpointing_where_the_backbone_has_none():
    with pytest.raises(ValueError, match="not support"):
        tiny_cde("resnet").gradient_checkpointing_enable()


def shallow(family: str, **options: object) -> CDEForActionClassification:
    """A model to compile, with one layer: every further one is traced anew and finds what the first did."""
    torch._dynamo.reset()
    depth = {"depths": [1, 1]} if family in ("resnet", "convnext") else {"num_hidden_layers": 1}
    config = backbone_config(family, **depth)
    model = CDEForActionClassification.from_backbone(config, num_labels=3, delta_dim=16, top_k_patches=4, **options)
    excite(model)
    return model.eval()


@pytest.mark.parametrize(
    ("family", "options"),
    [("vit", {}), ("clip", {}), ("resnet", {})]
    + [(family, {"delta_mode": "patch"}) for family in ("vit_mae", "dinov3_vit", "beit", "convnext")]
    + [(family, {"pooling": "change", "feature_layers": [-1, -2]}) for family in ("vit", "dinov2", "resnet")],
)
def test_forward_compiles_without_graph_breaks(family, options):
    model = shallow(family, **options)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    x, labels = clips(2), torch.tensor([0, 1])
    with torch.no_grad():
        torch.testing.assert_close(compiled(x, labels=labels).loss, model(x, labels=labels).loss)


def test_forward_compiles_in_training_under_autocast_and_at_another_size():
    model = shallow("vit", delta_mode="patch").train()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = compiled(clips(2, 2, 48, 48), labels=torch.tensor([0, 1])).loss
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_the_projector_and_its_scale():
    model = CDEModel(CDEConfig(backbone_config("vit"), projector_num_layers=3, projector_hidden_dim=48, delta_dim=64))
    linears = [module for module in model.projector if isinstance(module, torch.nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linears] == [(32, 48), (48, 48), (48, 64)]
    for linear in linears:
        assert 0.8 < linear.weight.std() * linear.in_features**0.5 < 1.2
    assert [m.bias is None for m in linears] == [False, False, True]  # the last one cancels in every delta
    assert all(linear.bias.abs().max() == 0 for linear in linears[:-1])
    plain = CDEModel(CDEConfig(backbone_config("resnet"), projector_num_layers=1, projector_dropout=0.1))
    assert [type(module).__name__ for module in plain.projector] == ["LayerNorm", "Linear"]
    dropout = CDEModel(CDEConfig(backbone_config("vit"), projector_dropout=0.1))
    assert [type(m).__name__ for m in dropout.projector] == ["LayerNorm", "Linear", "GELU", "Dropout", "Linear"]
    layers = CDEModel(CDEConfig(backbone_config("vit"), feature_layers=[1, 2]))  # which are normed already
    assert [type(m).__name__ for m in layers.projector] == ["Linear", "GELU", "Linear"]


def test_what_is_saved_is_safetensors_also_in_shards(tmp_path):
    model = tiny_cde("dinov3_vit")
    model.save_pretrained(tmp_path, max_shard_size="30KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    with torch.no_grad():
        expected = model(clips())
        assert torch.equal(CDEForActionClassification.from_pretrained(tmp_path)(clips()).logits, expected.logits)
        assert torch.equal(CDEModel.from_pretrained(tmp_path)(clips()).delta, expected.delta)
    for file in tmp_path.glob("*.safetensors*"):
        file.unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(OSError, match="model.safetensors"):
        CDEForActionClassification.from_pretrained(tmp_path)


def test_no_other_task_is_claimed(tmp_path):
    tiny_cde("vit").save_pretrained(tmp_path)
    for auto in (AutoModelForImageClassification, AutoModelForVideoClassification):
        with pytest.raises(ValueError, match="Unrecognized configuration class"):
            auto.from_pretrained(tmp_path)


def test_weights_missing_from_a_checkpoint_are_initialised(tmp_path):
    """`from_pretrained` builds on the meta device: what `_init_weights` does not set would be garbage."""
    AutoModel.from_config(backbone_config("vit")).save_pretrained(tmp_path)
    tiny_cde("vit").cde.save_pretrained(tmp_path)
    model = CDEForActionClassification.from_pretrained(tmp_path, id2label={i: str(i) for i in range(200)})
    assert model.classifier.weight.shape == (200, 16)
    assert 0.8 < model.classifier.weight.std() * 16**0.5 < 1.2 and model.classifier.bias.abs().max() == 0


def test_what_trainer_needs_to_know():
    model = tiny_cde("vit", delta_mode="patch")
    output = model(clips(), labels=torch.tensor([0, 1]))
    kept = [name for name in output if name not in (*model.config.keys_to_ignore_at_inference, "loss")]
    assert kept == ["logits", "delta"]
    assert model.accepts_loss_kwargs is False
    assert model.get_input_embeddings() is model.cde.backbone.embeddings.patch_embeddings
    assert len(model(clips(), return_dict=False)) == 6


def test_a_copy_keeps_its_frozen_backbone_frozen():
    model = tiny_cde("resnet")
    model.freeze_backbone()
    twin = copy.deepcopy(model).train()
    assert not twin.cde.backbone.training and twin.cde.projector.training
