"""What the features of frozen backbones are, and everything that they depend on."""

import inspect
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import AutoModel

from modeling_cde import CDEForActionClassification
from modeling_cde.data import PairTransform
from modeling_cde.features import encoder as encoder_module
from modeling_cde.features.encoder import Encoder, PackedLinear, description
from tests.features.stored_pairs import LABELS, WHOLE, frozen
from tests.tiny_models import backbone_config, clips

CPU = torch.device("cpu")
READINGS = [{}, {"delta_mode": "patch"}, {"pooling": "change"}, {"pooling": "mean", "feature_layers": [1, 2]}]


def count_passes(backbone):
    """A list that grows by the number of images of each pass of the backbone."""
    passes = []
    backbone.register_forward_pre_hook(lambda module, args: passes.append(len(args[0])))
    return passes


@pytest.mark.parametrize("options", READINGS, ids=str)
@pytest.mark.parametrize("family", ["vit", "dinov2", "resnet"])
def test_features_are_what_the_model_reads(family, options):
    model = frozen(family, **options).cde
    (found,) = Encoder([model], "float32", CPU)(clips(3))
    with torch.no_grad():
        expected = model.encode(clips(3))[0].unflatten(0, (3, 2))
    assert torch.equal(found, expected) and found.dtype == torch.float32


def test_several_readings_come_from_one_pass():
    models = [frozen(**options).cde for options in READINGS]
    passes = count_passes(models[0].backbone)
    found = Encoder(models, "float32", CPU)(clips(3))
    assert passes == [6]
    for model, features in zip(models, found, strict=True):
        with torch.no_grad():
            assert torch.equal(features, model.encode(clips(3))[0].unflatten(0, (3, 2)))


def test_bf16_is_close_and_leaves_the_model_as_it_was():
    model = frozen(pooling="change", feature_layers=[1, 2]).cde
    (exact,) = Encoder([model], "float32", CPU)(clips(3))
    (found,) = Encoder([model], "bf16", CPU)(clips(3))
    assert found.dtype == torch.float32 and 1e-6 < ((found - exact).norm() / exact.norm()).item() < 0.02
    assert model.backbone.dtype == torch.float32
    assert torch.equal(Encoder([model], "float32", CPU)(clips(3))[0], exact)


@pytest.mark.skipif(not PackedLinear.works_here(), reason="this processor has no bf16 products in oneDNN")
@pytest.mark.parametrize("bias", [True, False])
def test_packed_weights_compute_what_linear_does(bias):
    linear = nn.Linear(24, 40, bias=bias).bfloat16()
    for shape in ((24,), (1, 24), (7, 24), (3, 5, 24)):
        x = torch.randn(shape).bfloat16()
        packed, exact = PackedLinear(linear)(x), linear.float()(x.float())
        assert packed.shape == exact.shape and packed.dtype == torch.bfloat16
        assert torch.allclose(packed.float(), exact, rtol=0.01, atol=0.01)
        linear.bfloat16()


def test_only_plain_layers_in_bf16_are_packed(monkeypatch):
    class Scaled(nn.Linear):
        pass

    monkeypatch.setattr(PackedLinear, "__init__", lambda self, linear: nn.Module.__init__(self))
    model = nn.Sequential(nn.Linear(2, 2).bfloat16(), nn.Linear(2, 2), Scaled(2, 2).bfloat16())
    attention = nn.MultiheadAttention(4, 2).bfloat16()  # reads the weights of its own layers
    model.append(attention)
    PackedLinear.replace_in(model)
    assert [type(layer) for layer in model[:3]] == [PackedLinear, nn.Linear, Scaled]
    assert not any(isinstance(layer, PackedLinear) for layer in attention.modules())


def test_precision_is_what_is_said_under_anyone_s_autocast():
    model = frozen().cde
    (expected,) = Encoder([model], "float32", CPU)(clips(3))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(Encoder([model], "float32", CPU)(clips(3))[0], expected)


def told(model, transform=WHOLE, precision="float32", device="cpu"):
    return description(model.base_model, transform, precision, device)


def test_a_checkpoint_has_the_description_of_the_model_that_was_saved(tmp_path):
    """Else its evaluation would encode what its training has kept."""
    AutoModel.from_config(backbone_config("dinov2")).save_pretrained(tmp_path / "backbone")
    reading = {"pooling": "change", "feature_layers": [1, -1]}
    model = CDEForActionClassification.from_backbone(str(tmp_path / "backbone"), id2label=LABELS, **reading)
    model.freeze_backbone()
    before = told(model)
    with torch.no_grad():
        model.classifier.weight += 1  # comes after the features
    model.save_pretrained(tmp_path / "model")
    assert told(model) == told(CDEForActionClassification.from_pretrained(tmp_path / "model")) == before


def test_the_same_weights_from_elsewhere_are_the_same_weights(tmp_path):
    AutoModel.from_config(backbone_config("dinov2")).save_pretrained(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    config = tmp_path / "other" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"architectures": ["Dinov2ForImageClassification"]}))
    found = [CDEForActionClassification.from_backbone(str(tmp_path / name)) for name in ("one", "other")]
    assert told(found[0]) == told(found[1])


def test_other_weights_configuration_layers_pooling_precision_or_device_are_another_description():
    changed = frozen()
    with torch.no_grad():
        next(changed.cde.backbone.parameters()).view(-1)[0] += 1e-3
    buffer = frozen("resnet")
    next(module for module in buffer.modules() if isinstance(module, nn.BatchNorm2d)).running_mean[0] += 1e-3
    eps = frozen()
    eps.cde.backbone.config.layer_norm_eps *= 2
    eager = frozen()
    eager.cde.backbone.set_attn_implementation("eager")
    found = [told(frozen()), told(frozen("resnet")), told(changed), told(buffer), told(eps), told(eager)]
    found += [told(frozen(**options)) for options in READINGS[1:]]
    found += [told(frozen(pooling="mean", feature_layers=layers)) for layers in ([2, 1], [1], [2])]
    found += [told(frozen(), precision="bf16"), told(frozen(), device="cuda")]
    assert all(one != other for place, one in enumerate(found) for other in found[:place])
    assert told(frozen()) == found[0]


OTHER = {
    "size": (16, 32),
    "mean": (0.4, 0.5, 0.5),
    "std": (0.5, 0.5, 0.4),
    "crop": "box",
    "crop_margin": 0.2,
    "resample": 0,
    "resize": 40,
    "rescale_factor": 1 / 127.5,
}
NO_MATTER = {"augment", "seed", "extras"}  # keep_features refuses augment, which alone draws; extras add to the row


def test_every_setting_of_the_transform_that_changes_the_picture_is_told():
    """Also one that is added in future: it must be in one of the two lists above."""
    assert set(inspect.signature(PairTransform).parameters) == {*OTHER, *NO_MATTER}
    usual = {"size": (32, 32), "crop": "none"}
    for name, value in OTHER.items():
        assert told(frozen(), PairTransform(**(usual | {name: value}))) != told(frozen()), name
    assert told(frozen(), PairTransform(**usual, seed=7, extras=("objects",))) == told(frozen())


def test_the_code_that_makes_features_is_told(monkeypatch):
    before = told(frozen())
    assert all((Path(encoder_module.__file__).parents[1] / f"{name}.py").is_file() for name in encoder_module._FILES)
    monkeypatch.setattr(encoder_module, "_FILES", encoder_module._FILES[1:])  # as if one had another content
    assert told(frozen()) != before


def of_tensors(feature="last_hidden_state", layers=(1,), prefix=1, attention="sdpa", config=None, **tensors):
    """The description of a backbone of these tensors."""
    settings = SimpleNamespace(to_dict=lambda: {"model_type": "x", **(config or {})}, _attn_implementation=attention)
    reader = SimpleNamespace(feature=feature, layers=layers, num_prefix_tokens=prefix)
    backbone = SimpleNamespace(state_dict=lambda: tensors, config=settings)
    return description(SimpleNamespace(backbone=backbone, reader=reader), WHOLE, "float32", "cpu")


def test_names_types_shapes_and_bytes_of_all_tensors_are_told_and_not_their_order():
    a, b = torch.zeros(2, 3), torch.arange(2.0)
    known = of_tensors(a=a, b=b)
    assert known == of_tensors(b=b, a=a) == of_tensors(a=torch.zeros(3, 2).T, b=b.clone().requires_grad_())
    others = [{"a": a, "c": b}, {"a": a.view(torch.int32), "b": b}, {"a": a.T, "b": b}, {"a": a, "b": b + 1}, {"a": a}]
    assert all(of_tensors(**other)["weights"] != known["weights"] for other in others)


@pytest.mark.parametrize(
    "change",
    [
        {"feature": "pooler_output"},
        {"layers": (1, 2)},
        {"layers": ()},
        {"prefix": 5},
        {"attention": "eager"},
        {"config": {"patch_size": 8}},
    ],
    ids=str,
)
def test_each_fact_about_the_reading_is_told(change):
    x = torch.ones(2)
    then, now = of_tensors(x=x), of_tensors(x=x, **change)
    assert sum(then[name] != now[name] for name in then) == 1 and then.keys() == now.keys()
    where = {"config": {"_name_or_path": "/elsewhere", "architectures": ["Other"]}}
    assert of_tensors(x=x, **where) == then


@pytest.mark.parametrize("library", ["torch", "transformers", "PIL"])
def test_the_versions_of_what_makes_features_are_told(library, monkeypatch):
    before = of_tensors(x=torch.ones(1))["versions"]
    monkeypatch.setattr(f"{library}.__version__", "0.0.1")
    assert of_tensors(x=torch.ones(1))["versions"] == before | {library: "0.0.1"}


@pytest.mark.parametrize(("answer", "native"), [("0", False), ("1", True), ("false", False), ("true", True)])
def test_the_environment_answers_in_place_of_the_hardware(monkeypatch, answer, native):
    monkeypatch.setenv("CDE_NATIVE_BF16", answer)
    assert encoder_module.native_bf16() is native is encoder_module.native_bf16(use_cpu=True)


@pytest.mark.parametrize(("avx512", "amx"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("gpu", [None, False, True])
def test_the_device_that_is_used_is_asked(monkeypatch, gpu, avx512, amx):
    """`gpu`: None without one, else whether it has bf16. A CPU is asked where it is asked for, by either word."""
    monkeypatch.delenv("CDE_NATIVE_BF16")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation and gpu)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: gpu is not None)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert encoder_module.native_bf16() is (avx512 or amx if gpu is None else gpu)
    assert encoder_module.native_bf16(use_cpu=True) is (avx512 or amx)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert encoder_module.native_bf16() is (avx512 or amx)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "false")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # another accelerator
    assert encoder_module.native_bf16() is (False if gpu is not None else avx512 or amx)


def test_only_the_encoder_s_own_copy_attends_otherwise_and_only_to_few_patches():
    def attention(model, precision, size):
        encoder = Encoder([model], precision, CPU)
        encoder._choose_attention(size, size)
        return encoder.backbone.config._attn_implementation

    model = frozen().cde
    model.backbone.set_attn_implementation("sdpa")
    patch = model.reader.patch_size()[0]
    assert attention(model, "float32", 32) == "sdpa" and attention(model, "bf16", 32) == "eager"
    assert attention(model, "bf16", 16 * patch) == "eager" and attention(model, "bf16", 17 * patch) == "sdpa"
    assert model.backbone.config._attn_implementation == "sdpa"
    model.backbone.set_attn_implementation("eager")
    assert attention(model, "bf16", 17 * patch) == "eager"


def test_the_backbone_is_in_evaluation_mode_and_keeps_no_gradient():
    model = frozen().cde.train()
    encoder = Encoder([model], "float32", CPU)
    assert not encoder.backbone.training
    (found,) = encoder(clips(2))
    assert not found.requires_grad and torch.equal(found, encoder(clips(2))[0])
