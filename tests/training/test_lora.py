"""LoRA: what is trained, saved, loaded, merged and resumed, and the run of train.py that it ends in."""

import json
import re
import shutil
import sys
from copy import deepcopy
from pathlib import Path

import huggingface_hub
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, ViTImageProcessor

from modeling_cde import (
    CDEForActionClassification,
    CDEModel,
    ConcatenationConfig,
    ConcatenationForActionClassification,
    ICMConfig,
    ICMForActionClassification,
    JointEncoderConfig,
    JointEncoderForActionClassification,
    NeighboursConfig,
    NeighboursForActionClassification,
)
from modeling_cde.models.load_model import load_action_model
from modeling_cde.training.checkpoints.adapter_files import load_adapter_weights, load_lora, save_adapter
from modeling_cde.training.lora import add_lora, base_of, description, is_adapted, merged
from modeling_cde.training.trainer import CDETrainer
from tests import small_runs
from tests.tiny_models import FAMILY_NAMES, backbone_config, clips, tiny_cde
from tests.tiny_pairs import pairs, quick

ROOT = Path(__file__).parents[2]
CONVOLUTIONAL = ("resnet", "convnext", "convnextv2", "dinov3_convnext")
TWO_TOWERS = ("clip", "siglip")  # their vision towers are families of their own
TRANSFORMERS = [name for name in FAMILY_NAMES if name not in CONVOLUTIONAL + TWO_TOWERS]


@torch.no_grad()
def disturb(model, scale=0.1):
    """Moves every trained parameter, so that the adapters do something."""
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@torch.no_grad()
def outputs(model):
    found = model.eval()(clips())
    return {name: found[name] for name in ("logits", "delta", "states") if name in found}


def assert_close(a, b, tolerance=1e-5):
    assert a.keys() == b.keys() and a
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=0, atol=tolerance, msg=name)


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.mark.parametrize("mode", ["global", "patch"])
@pytest.mark.parametrize("family", TRANSFORMERS)
def test_every_transformer_is_adapted_saved_loaded_and_merged(tmp_path, family, mode):
    base = tiny_cde(family, delta_mode=mode)
    plain_keys, before = set(base.state_dict()), outputs(base)
    model = add_lora(base, rank=2)
    assert_close(outputs(model), before, 0)  # B = 0
    disturb(model)
    moved = outputs(model)
    assert (moved["delta"] - before["delta"]).abs().max() > 1e-2

    plain = merged(model)
    assert type(plain) is CDEForActionClassification and not is_adapted(plain)
    assert_close(outputs(plain), moved)
    plain.save_pretrained(tmp_path / "plain")
    reloaded = CDEForActionClassification.from_pretrained(tmp_path / "plain")
    assert set(reloaded.state_dict()) == plain_keys
    assert_close(outputs(reloaded), moved)
    assert_close(outputs(model), moved, 0)  # the adapted model is left as it was

    save_adapter(model, tmp_path / "adapter")
    assert_close(outputs(load_lora(tmp_path / "adapter", tiny_cde(family, delta_mode=mode))), moved, 0)


def test_the_scale_of_the_adapters_is_alpha_over_rank():
    base = tiny_cde("vit")
    weight = base.cde.backbone.layers[0].attention.q_proj.weight.detach().clone()
    model = disturb(add_lora(base, rank=2, alpha=6))
    layer = model.get_base_model().cde.backbone.layers[0].attention.q_proj
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    expected = weight + 6 / 2 * b @ a
    torch.testing.assert_close(merged(model).cde.backbone.layers[0].attention.q_proj.weight, expected)


def test_adapters_projector_and_heads_are_trained_and_nothing_else(tmp_path):
    model = add_lora(tiny_cde("vit"), rank=2)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    CDETrainer(model, quick(tmp_path), train_dataset=pairs()).train()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, start[name])}
    assert changed == {n for n in start if ".lora_" in n or ".modules_to_save." in n}
    assert {n for n, p in model.named_parameters() if p.requires_grad} == changed
    assert sum("lora_A" in name for name in changed) == 4  # query and value of two layers
    heads = {name.split(".modules_to_save.")[0] for name in changed if ".modules_to_save." in name}
    layers = ("cde.projector.0", "cde.projector.1", "cde.projector.3", "classifier")
    assert heads == {f"base_model.model.{name}" for name in layers}
    trained = sum(start[name].numel() for name in changed)
    total = sum(p.numel() for p in tiny_cde("vit").parameters()) + 2 * 4 * (32 + 32)
    assert f"LoRA of rank 2 on 4 linear layers of the backbone (q_proj, v_proj): {trained:,} of {total:,}" in (
        description(model)
    )


def test_adapters_take_the_learning_rate_of_the_head(tmp_path):
    model = add_lora(tiny_cde("vit"), rank=2)
    groups = quick(tmp_path, learning_rate=1e-2).parameter_groups(model)
    assert {group["lr"] for group in groups} == {1e-2}
    assert sum(len(group["params"]) for group in groups) == sum(p.requires_grad for p in model.parameters())


def test_no_method_of_the_model_is_replaced():
    base = tiny_cde("vit")
    model = add_lora(base, rank=2)
    assert [name for part in (base, model) for name in vars(part) if callable(getattr(type(part), name, None))] == []


def test_targets_can_be_named(tmp_path):
    model = disturb(add_lora(tiny_cde("clip"), rank=2, targets=["fc1", "k_proj"]))
    names = {name.split(".lora_A")[0].split(".")[-1] for name, _ in model.named_parameters() if "lora_A" in name}
    assert names == {"fc1", "k_proj"}
    save_adapter(model, tmp_path)
    assert_close(outputs(load_lora(tmp_path, tiny_cde("clip"))), outputs(model), 0)


def baseline(kind, config_class, **options):
    torch.manual_seed(0)
    names = {0: "open", 1: "close", 2: "break"}
    config = config_class(backbone_config=backbone_config("vit"), delta_dim=16, id2label=names, **options)
    return kind(config).eval()


@pytest.mark.parametrize(
    ("kind", "config_class", "options"),
    [
        (ConcatenationForActionClassification, ConcatenationConfig, {}),
        (ICMForActionClassification, ICMConfig, {"num_objects": 5}),
        (JointEncoderForActionClassification, JointEncoderConfig, {"joint_num_heads": 2}),
    ],
)
def test_baselines_are_adapted_too(tmp_path, kind, config_class, options):
    base = baseline(kind, config_class, **options)
    trained_before = {n for n, p in base.named_parameters() if p.requires_grad and "backbone" not in n.split(".")}
    model = add_lora(base, rank=2)
    own = {
        name.removeprefix("base_model.model.").replace(".modules_to_save.default", "")
        for name, p in model.named_parameters()
        if p.requires_grad and ".lora_" not in name
    }
    assert own == trained_before
    args = quick(tmp_path / "run", contrastive_weight=0, sparsity_weight=0)
    CDETrainer(model, args, train_dataset=pairs(objects="objects" in kind.extra_inputs)).train()
    assert_close(outputs(merged(model)), outputs(model))
    save_adapter(model, tmp_path / "adapter")
    again = load_lora(tmp_path / "adapter", baseline(kind, config_class, **options))
    assert_close(outputs(again), outputs(model), 0)


def test_a_model_without_head_is_adapted_too(tmp_path):
    torch.manual_seed(0)
    base = CDEModel.from_backbone(backbone_config("vit"), delta_dim=16)
    model = disturb(add_lora(deepcopy(base)))
    save_adapter(model, tmp_path)
    assert_close(outputs(load_lora(tmp_path, base)), outputs(model), 0)
    assert type(merged(model)) is CDEModel


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda: tiny_cde("resnet"), {}, "attention layers, which the backbone 'resnet' does not have"),
        (lambda: tiny_cde("convnext"), {}, "pwconv1, pwconv2"),
        (lambda: tiny_cde("vit"), {"rank": 0}, "lora_rank=0 must be at least 1"),
        (lambda: tiny_cde("vit"), {"alpha": 0}, "lora_alpha=0 must be greater than 0"),
        (lambda: tiny_cde("vit"), {"dropout": 1}, r"lora_dropout=1 must be in \[0, 1\)"),
        (lambda: tiny_cde("vit"), {"targets": ["query"]}, "no linear layer named 'query'; it has fc1, fc2, k_proj"),
        (lambda: add_lora(tiny_cde("vit")), {}, "already has adapters"),
        (
            lambda: baseline(NeighboursForActionClassification, NeighboursConfig),
            {},
            "NeighboursForActionClassification keeps log_temperature",
        ),
    ],
)
def test_what_cannot_be_adapted_is_refused_in_a_sentence(make, options, message):
    with pytest.raises(ValueError, match=message) as refused:
        add_lora(make(), **options)
    assert "\n" not in str(refused.value)


def test_without_peft_the_pip_line_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match=r"LoRA needs PEFT, which is not installed: pip install .*\[lora\]"):
        add_lora(tiny_cde("vit"))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A folder with a pretrained backbone."""
    folder = tmp_path_factory.mktemp("backbones") / "tiny-vit"
    torch.manual_seed(0)
    AutoModel.from_config(backbone_config("vit", num_hidden_layers=1)).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_the_adapter_names_its_base_without_a_path(tmp_path, backbone, monkeypatch):
    names = {0: "open", 1: "close", 2: "break"}
    settings = {"id2label": names, "delta_dim": 16, "projector_num_layers": 1}
    base = CDEForActionClassification.from_backbone(backbone, **settings)
    assert base_of(base) == ("tiny-vit", None)
    model = disturb(add_lora(base, rank=2))
    save_adapter(model, tmp_path / "adapter")
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "config.json", "README.md",
    }  # fmt: skip
    for name in ("adapter_config.json", "config.json", "README.md"):
        assert str(backbone.parent) not in (tmp_path / "adapter" / name).read_text()
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == (
        "tiny-vit"
    )
    # PEFT's own call
    base = CDEForActionClassification.from_backbone(backbone, **settings)
    assert_close(outputs(peft.PeftModel.from_pretrained(base, tmp_path / "adapter")), outputs(model), 0)
    # By the name alone: where a folder (or repository) of this name is found.
    with pytest.raises(ValueError, match=r"where to find its base 'tiny-vit': build it and pass it"):
        load_lora(tmp_path / "adapter")
    monkeypatch.chdir(backbone.parent)
    again = load_lora(tmp_path / "adapter")
    assert_close(outputs(again), outputs(model), 0)
    assert [n for n, p in again.named_parameters() if p.requires_grad] == []
    # On a CDE checkpoint
    base = CDEForActionClassification.from_backbone(backbone, **settings)
    base.save_pretrained(tmp_path / "cde-tiny")
    model = disturb(add_lora(CDEForActionClassification.from_pretrained(tmp_path / "cde-tiny"), rank=2), 0.2)
    save_adapter(model, tmp_path / "second")
    monkeypatch.chdir(tmp_path)
    assert_close(outputs(load_lora("second")), outputs(model), 0)
    plain = CDEForActionClassification.from_pretrained("cde-tiny")
    plain.load_adapter("second")  # Transformers' own call
    assert_close(outputs(plain), outputs(model), 0)
    assert str(plain.loaded_from) == "cde-tiny"
    with pytest.raises(ValueError, match="second was trained on cde-tiny, not on tiny-vit: pass that"):
        load_lora("second", CDEForActionClassification.from_backbone(backbone, **settings))


def test_adapter_and_base_are_found_by_repository_at_the_commit_that_was_adapted(tmp_path, backbone, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    old, new = "a" * 40, "b" * 40

    def put(name, folder, commit):
        place = tmp_path / "hub" / f"models--org--{name}"
        shutil.copytree(folder, place / "snapshots" / commit)
        (place / "refs").mkdir(exist_ok=True)
        (place / "refs" / "main").write_text(commit)

    put("tiny-vit", backbone, old)
    base = CDEForActionClassification.from_backbone("org/tiny-vit", delta_dim=16, num_labels=3)
    assert base_of(base) == ("org/tiny-vit", old)
    model = disturb(add_lora(base, rank=2))
    save_adapter(model, tmp_path / "run" / "adapter")
    merged(model).save_pretrained(tmp_path / "run")
    put("run", tmp_path / "run", old)
    AutoModel.from_config(backbone_config("vit", num_hidden_layers=1)).save_pretrained(tmp_path / "other")
    put("tiny-vit", tmp_path / "other", new)  # the repository goes on
    again = load_lora("org/run")
    assert_close(outputs(again), outputs(model), 0)
    plain = CDEForActionClassification.from_pretrained("org/run")
    assert base_of(plain) == ("org/run", old)
    assert_close(outputs(plain), outputs(model))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "have exactly the adapters"),
        ("unexpected", "have exactly the adapters"),
        ("shape", "have exactly the adapters"),
        ("no file", "has no adapter_model.safetensors"),
        ("no folder", "has no adapter "),
    ],
)
def test_a_damaged_adapter_is_refused(tmp_path, change, message):
    save_adapter(add_lora(tiny_cde("vit"), rank=2), tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(iter(tensors))
    if change == "missing":
        tensors.pop(name)
    elif change == "unexpected":
        tensors["something.weight"] = torch.zeros(2)
    elif change == "shape":
        tensors[name] = torch.zeros(2)
    file.unlink()
    if change != "no file":
        save_file(tensors, file)
    with pytest.raises(ValueError, match=message) as refused:
        load_lora(tmp_path / "nothing" if change == "no folder" else tmp_path, tiny_cde("vit"))
    assert "\n" not in str(refused.value)


RUN = {
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "num_train_epochs": 2,
    "max_steps": -1,
    "save_strategy": "steps",
    "save_steps": 2,
}


def train(folder, family, resume=None, model_options=None, **options):
    base = tiny_cde(family, projector_dropout=0.2, **(model_options or {}))
    torch.manual_seed(0 if resume is None else 99)  # other adapters to begin with when resuming
    model = add_lora(base, rank=2, dropout=0.1)
    data = pairs(24, noise=0.1)
    trainer = CDETrainer(model, quick(folder, **RUN | options), train_dataset=data, eval_dataset=pairs(7, noise=0.1))
    if resume is not None:
        torch.manual_seed(99)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


@pytest.mark.parametrize(
    ("family", "model_options", "options"),
    [
        ("vit", {}, {}),
        ("dinov3_vit", {"delta_mode": "patch"}, {"eval_strategy": "epoch"}),
        ("clip", {}, {"gradient_checkpointing": True}),
    ],
)
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, family, model_options, options):
    whole = train(tmp_path, family, None, model_options, **options)
    checkpoint = tmp_path / "checkpoint-2"
    assert not (checkpoint / "model.safetensors").exists()  # the adapters alone, with what they belong to
    assert "base_model_name_or_path" in (checkpoint / "adapter_config.json").read_text()
    options = options | {"save_strategy": "no"}
    resumed = train(tmp_path / "again", family, str(checkpoint), model_options, **options)
    assert whole.state.global_step == resumed.state.global_step == 6
    assert_same(whole.model.state_dict(), resumed.model.state_dict())
    # The checkpoint can be used by itself.
    at_two = load_lora(checkpoint, tiny_cde(family, projector_dropout=0.2, **model_options))
    load_adapter_weights(whole.model, checkpoint)
    assert_close(outputs(at_two), outputs(whole.model), 0)


@pytest.fixture(scope="module")
def run(backbone, data, tmp_path_factory):
    """A run of train.py; the learning rate of the later epochs ruins the weights, so the first is the best."""
    folder = tmp_path_factory.mktemp("lora")
    tiny = ["--image_size=32", "--delta_dim=16", "--use_cpu=true", "--per_device_train_batch_size=16"]
    lora = ["--backbone", str(backbone), "--lora_rank=2", "--learning_rate=3", "--warmup_steps=0.7"]
    lora += ["--precision=float32"]  # else validation and final scores differ by rounding
    epochs = ["--num_train_epochs=3", "--evaluate_last_checkpoint=true"]
    places = ["--data", str(data), "--output_dir", str(folder / "run")]
    small_runs.train("from_scratch.yaml", *tiny, *lora, *epochs, *places)
    return folder / "run", data


def test_a_run_leaves_a_plain_checkpoint_and_the_adapter_beside_it(run, backbone, monkeypatch):
    output, _ = run
    model, _ = load_action_model(str(output))
    assert type(model) is CDEForActionClassification
    assert not any("lora" in name for name in model.state_dict())
    monkeypatch.chdir(backbone.parent)
    assert_close(outputs(merged(load_lora(output))), outputs(model))
    record = json.loads((output / "metrics.json").read_text())["training"]
    assert record["lora"].startswith("LoRA of rank 2 on 2 linear layers of the backbone (q_proj, v_proj)")
    assert record["arguments"]["lora_rank"] == 2
    # Nothing that is loaded or published names PEFT.
    assert "peft" not in (output / "config.json").read_text() and (output / "model.safetensors").is_file()
    files = small_runs.published(output)
    assert "adapter/adapter_config.json" in files and small_runs.places_in(files) == []


def test_the_best_epoch_is_merged_and_the_last_one_evaluated(run):
    output, _ = run
    state = json.loads((output / "trainer_state.json").read_text())
    selected, last = (json.loads((output / name / "metrics.json").read_text()) for name in ("", "last"))
    assert selected["training"]["selected"]["step"] == state["best_global_step"] < state["global_step"]
    assert last["training"]["selected"]["step"] == state["global_step"]
    losses = {
        log["step"]: log["eval_validation_cross_entropy"]
        for log in state["log_history"]
        if "eval_validation_cross_entropy" in log
    }
    for metrics, step in ((selected, state["best_global_step"]), (last, state["global_step"])):
        assert metrics["splits"]["validation"]["cross_entropy"] == pytest.approx(losses[step], rel=1e-4)


def test_the_run_loads_and_computes_where_peft_is_absent(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    model, _ = load_action_model(str(run[0]))
    assert outputs(model)["logits"].shape == (2, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lora_rank=-1"], "lora_rank=-1 must be at least 1, or 0"),
        (["--lora_alpha=3"], "lora_alpha needs lora_rank"),
        (["--lora_rank=2"], "lora_rank needs --backbone"),
        (["--lora_rank=2", "--backbone=B", "--freeze_blocks=1"], "leave out freeze_backbone and freeze_blocks"),
        (["--lora_rank=2", "--backbone=B", "--lora_targets=q"], "lora_targets=q: the backbone 'vit' has no linear"),
        (["--lora_rank=2", "--backbone=B", "--method=neighbours"], "NeighboursForActionClassification keeps"),
    ],
)
def test_wrong_arguments_get_one_sentence(run, backbone, tmp_path, arguments, message):
    recipe = ["--image_size=32", "--use_cpu=true", "--data", str(run[1]), "--output_dir", str(tmp_path / "run")]
    given = [argument.replace("=B", f"={backbone}") for argument in arguments]
    with pytest.raises(SystemExit) as stopped:
        small_runs.train("from_scratch.yaml", *recipe, *given)
    assert re.fullmatch(rf"train\.py: [^\n]*{re.escape(message)}[^\n]*", str(stopped.value.code))
