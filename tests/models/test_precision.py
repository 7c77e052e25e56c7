"""What is computed in which precision: under autocast, of weights in half precision, in what is exported and piped."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from modeling_cde import ActionClassificationPipeline, CDEImageProcessor
from modeling_cde.evaluation.onnx_export import export_program
from modeling_cde.models.change_pooling_cde import pool_changed
from modeling_cde.models.methods import METHODS
from modeling_cde.models.projector_cde import largest_deltas
from tests.tiny_models import backbone_config, clips, excite, tiny_cde

LABELS, OBJECTS = torch.tensor([0, 1, 2, 0]), torch.tensor([3, 0, 4, 1])
OPTIONS = {
    "icm": {"num_objects": 5, "critic_weight": 0.3},
    "sms": {"action_blocks": [0, 0, 1], "block_weight": 2.5},
    "token_matching": {"position_weight": 0.3},
    "neighbours": {"num_neighbours": 3, "bank_size": 8},
    "cde": {"delta_mode": "patch", "top_k_patches": 4},
}


def tiny(method, **options):
    torch.manual_seed(0)
    settings = {"id2label": {0: "open", 1: "close", 2: "break"}, "delta_dim": 16} | OPTIONS.get(method, {}) | options
    model = METHODS[method].model_class.from_backbone(backbone_config("vit"), **settings)
    excite(model)
    if method == "neighbours":
        model.train()(clips(8, seed=3), labels=torch.arange(8) % 3)
    return model.eval()


def extra(model):
    """What a method takes beside the pictures."""
    masks = torch.zeros(4, 2, 32, 32)
    masks[:, :, 4:20, 8:20] = 1
    given = {"objects": OBJECTS, "masks": masks}
    return {name: given[name] for name in model.extra_inputs}


def features_of(model, seed=0):
    with torch.no_grad():
        encoded = model.base_model.encode(clips(4, seed=seed))[0]
    return encoded.reshape(4, 2, *encoded.shape[1:])


@pytest.mark.parametrize("method", METHODS)
def test_parts_that_run_in_lower_precision_are_those_of_many_tokens(method):
    """Projector, norm and heads run as their weights do; the joint layers and the patches' hidden layers do not."""
    model = tiny(method)
    lower, ran = set(), set()
    for name, module in model.named_modules():
        if not list(module.children()) and ".backbone." not in f".{name}":

            def look(*_, name=name):
                ran.add(name)
                if torch.is_autocast_enabled("cpu"):
                    lower.add(name)

            module.register_forward_pre_hook(look)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = model(clips(4), labels=LABELS, **extra(model))
    leaves = {name for name in ran if "projector" in name}
    last = max(leaves, default=None, key=lambda name: int(name.rpartition(".")[2]))
    allowed = {
        "joint": {"input_norm"} | {name for name in ran if name.startswith("layers.")},
        "cde": leaves - {last},
    }
    assert lower == allowed.get(method, set()) and (ran - lower or method == "neighbours")
    assert {output[name].dtype for name in ("loss", "logits", "delta", "states")} == {torch.float32}


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("cde", "joint")])
def test_autocast_changes_nothing_that_is_computed_of_features(method):
    model = tiny(method)
    features = features_of(model)
    with torch.no_grad():
        plain = model(features=features, labels=LABELS, **extra(model))
        with torch.autocast("cpu", torch.bfloat16):
            under = model(features=features, labels=LABELS, **extra(model))
    assert plain.keys() == under.keys()
    for name, value in plain.items():
        assert torch.equal(value, under[name]), name


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("method", METHODS)
def test_losses_of_other_weights_are_float32_or_better(method, kind):
    model = tiny(method)
    features = features_of(model).to(kind)
    model = model.to(kind)
    with torch.no_grad():
        output = model(features=features, labels=LABELS, **extra(model))
    scores, labels = output.logits, LABELS
    if output.get("patch_logits") is not None:
        scores, labels = output.patch_logits[:, 0].flatten(0, 1), LABELS.repeat_interleave(4)
    expected = F.cross_entropy(scores.float(), labels)
    auxiliary = output.get("auxiliary_loss")
    if method == "sms":
        own = torch.tensor([[1] * 8 + [0] * 8] * 2 + [[0] * 8 + [1] * 8])[LABELS]
        torch.testing.assert_close(auxiliary.float(), 2.5 * (output.delta[:, 0].float() * (1 - own)).square().mean())
    assert auxiliary is not None or method not in ("icm", "sms", "low_rank")
    assert output.loss.dtype in (torch.float32, torch.float64)
    assert auxiliary is None or auxiliary.dtype in (torch.float32, torch.float64)
    torch.testing.assert_close(output.loss.float(), expected + (0 if auxiliary is None else auxiliary.float()))


def test_norms_of_deltas_do_not_overflow():
    """Two patches whose lengths are beyond the largest number of float16: the longer one is kept."""
    delta = torch.full((1, 1, 3, 16), 30_000.0).half()
    delta[0, 0, 1] = 20_000.0
    delta[0, 0, 2] = 40_000.0
    assert largest_deltas(delta, 3)[1].tolist() == [[[2, 0, 1]]]


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_patches_are_pooled_in_float32_or_better(kind):
    features = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(0)).to(kind)
    wide = torch.promote_types(kind, torch.float32)
    for found, expected in zip(pool_changed(features, [4, 2]), pool_changed(features.to(wide), [4, 2]), strict=True):
        assert found.dtype == wide and torch.equal(found, expected)


def test_layers_of_half_precision_are_normed_in_float32():
    model = tiny_cde("vit", feature_layers=[1, -1]).to(torch.bfloat16)
    with torch.no_grad():
        encoded, _ = model.cde.encode(clips(1).bfloat16())
    assert encoded.dtype == torch.float32
    for layer in encoded.split(32, dim=-1):
        torch.testing.assert_close(layer.square().mean(-1), torch.ones(2), atol=1e-3, rtol=0)


@pytest.mark.parametrize("mode", ["global", "patch"])
def test_a_piped_model_in_half_precision_gives_probabilities_of_float32(mode):
    model = tiny_cde("vit", delta_mode=mode).to(torch.bfloat16)
    pipe = ActionClassificationPipeline(model=model, image_processor=CDEImageProcessor(size=32), device="cpu")
    seen, pictures = [], [Image.fromarray(np.full((40, 40, 3), tone, np.uint8)) for tone in (30, 200)]
    model.register_forward_pre_hook(lambda _, __, given: seen.append(given["pixel_values"]), with_kwargs=True)
    found = pipe(*pictures, return_delta=True, return_patches=mode == "patch")
    assert [values.dtype for values in seen] == [torch.bfloat16]
    with torch.no_grad():
        output = model(pixel_values=seen[0])
    scores = {item["label"]: item["score"] for item in found["actions"]}
    expected = output.logits[0].float().softmax(0).tolist()
    assert [scores[name] for name in ("open", "close", "break")] == pytest.approx(expected, rel=1e-6)
    assert sum(scores.values()) == pytest.approx(1, abs=1e-6) and found["delta"] == output.delta[0, 0].tolist()
    if mode == "patch":
        lengths = output.patch_delta[0, 0].float().norm(dim=-1).tolist()
        assert [patch["norm"] for patch in found["patches"]] == pytest.approx(lengths, rel=1e-6)


def test_an_exported_model_keeps_its_precision():
    model, x = tiny_cde("resnet").to(torch.bfloat16), clips(3).bfloat16()
    program = export_program(model, 32, 32)
    (taken,) = [node.meta["val"] for node in program.graph.nodes if node.name == "pixel_values"]
    with torch.no_grad():
        found, expected = program.module()(x), model(x)
    assert taken.dtype == found["logits"].dtype == torch.bfloat16
    assert torch.equal(found["logits"], expected.logits) and torch.equal(found["delta"], expected.delta[:, 0])
