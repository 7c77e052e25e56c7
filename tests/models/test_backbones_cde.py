"""The table of families: features against each family's own, grids, image sizes, gradients, freezing."""

import huggingface_hub
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    BeitForImageClassification,
    Dinov2ForImageClassification,
    ResNetForImageClassification,
    ViTForImageClassification,
    ViTMAEForPreTraining,
)

from modeling_cde import CDEConfig, CDEForActionClassification, CDEModel
from tests.tiny_models import FAMILY_NAMES, GRIDS, backbone_config, clips, tiny_cde

TOKEN_FAMILIES = [name for name in FAMILY_NAMES if name not in ("resnet", "convnext", "convnextv2", "dinov3_convnext")]
INTERPOLATED = [name for name in TOKEN_FAMILIES if name not in ("clip", "siglip")]
MODES = ("global", "patch")


def unknown(model_type: str, **options: object) -> object:
    """Configuration of a tiny backbone of a family that is not in the table."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return AutoConfig.for_model(model_type, **(sizes | {"image_size": 32, "patch_size": 8} | options))


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_trainable_parameter_gets_a_gradient(family, tmp_path):
    for mode in MODES:
        model = tiny_cde(family, delta_mode=mode)
        model.save_pretrained(tmp_path)
        for case in (model, CDEForActionClassification.from_pretrained(tmp_path)):
            case.train()(clips(4), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
            without = [name for name, p in case.named_parameters() if p.requires_grad and p.grad is None]
            assert not without, (mode, without)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_the_default_feature_is_what_the_family_classifies_from(family):
    model = tiny_cde(family).cde
    images = clips(3)[:, 0]
    kwargs = {"noise": torch.arange(16.0).expand(3, -1)} if family == "vit_mae" else {}
    with torch.no_grad():
        feature, _ = model.reader(model.backbone, images)
        own = model.backbone(images, **kwargs)
    if family in ("vit", "vit_mae", "deit"):  # whose classifiers take the normed CLS token
        expected = own.last_hidden_state[:, 0]
    else:
        expected = own.pooler_output.flatten(1)
    torch.testing.assert_close(feature, expected)
    assert feature.shape == (3, model.reader.feature_dim)


@pytest.mark.parametrize("family", TOKEN_FAMILIES)
def test_patch_indices_point_into_the_row_major_grid(family):
    """A change inside one patch moves that patch most (two nearly idle layers mix the patches little)."""
    torch.manual_seed(0)
    config = backbone_config(family)
    model = CDEModel.from_backbone(config, delta_mode="patch", top_k_patches=1, delta_dim=16).eval()
    rows, columns = GRIDS[family]
    before = clips(rows * columns)[:, 0]
    after = before.clone()
    for index in range(rows * columns):
        y, x = 8 * (index // columns), 8 * (index % columns)
        after[index, :, y : y + 8, x : x + 8] *= -3.0
    with torch.no_grad():
        indices = model(torch.stack([before, after], dim=1)).patch_indices
    assert indices.flatten().tolist() == list(range(rows * columns))


@pytest.mark.parametrize("family", ["resnet", "convnext", "convnextv2"])
def test_grid_features_of_convolutions_are_row_major(family):
    torch.manual_seed(0)
    model = CDEModel.from_backbone(backbone_config(family), delta_mode="patch", top_k_patches=1).eval()
    before = clips(2, 2, 64, 96)[:, 0]  # 8 x 12 cells of stride 8
    after = before.clone()
    after[0, :, 16:24, 32:40] *= -3.0  # row 2, column 4
    after[1, :, 40:48, 80:88] *= -3.0  # row 5, column 10
    with torch.no_grad():
        indices = model(torch.stack([before, after], dim=1)).patch_indices.flatten()
    for index, (row, column) in zip(indices.tolist(), [(2, 4), (5, 10)], strict=True):
        assert abs(index // 12 - row) <= 1 and abs(index % 12 - column) <= 1  # receptive fields overlap


@pytest.mark.parametrize("family", INTERPOLATED)
@pytest.mark.parametrize(("height", "width"), [(48, 48), (24, 40)])
def test_positions_are_fitted_to_another_image_size(family, height, width):
    model = tiny_cde(family, delta_mode="patch", top_k_patches=(height // 8) * (width // 8))
    with torch.no_grad():
        output = model(clips(2, 2, height, width))
    assert sorted(output.patch_indices[0, 0].tolist()) == list(range((height // 8) * (width // 8)))
    assert output.logits.isfinite().all()


@pytest.mark.parametrize("family", TOKEN_FAMILIES + ["convnext"])
def test_a_side_that_patches_do_not_fill_is_an_error(family):
    with pytest.raises(ValueError, match="30x33 pixels, which patches of .* do not fill"):
        tiny_cde(family)(clips(1, 2, 30, 33))


@pytest.mark.parametrize("family", ["vit", "clip_vision_model", "siglip_vision_model"])
def test_positions_of_an_oblong_grid_cannot_be_fitted(family):
    model = CDEModel.from_backbone(backbone_config("vit", image_size=[32, 64])).eval()
    assert model(clips(1, 2, 32, 64)).delta.shape == (1, 1, 256)
    with pytest.raises(ValueError, match="32x64 pixels .* square grid"):
        model(clips(1, 2, 32, 32))


def test_more_patches_asked_than_there_are():
    model = tiny_cde("vit", delta_mode="patch", top_k_patches=17)
    with pytest.raises(ValueError, match="top_k_patches=17, but .* only 16 patches"):
        model(clips())


def test_an_unknown_family_needs_its_prefix_tokens():
    config = unknown("vit_msn")
    with pytest.raises(ValueError, match="'vit_msn' is not in the table.*num_prefix_tokens=1.*dinov2"):
        CDEModel(CDEConfig(config))
    model = CDEModel.from_backbone(config, num_prefix_tokens=1, delta_mode="patch", top_k_patches=16).eval()
    with torch.no_grad():
        output = model(clips(2, 3))
        assert sorted(output.patch_indices[0, 0].tolist()) == list(range(16))
        assert model(clips(1, 2, 48, 48)).delta.isfinite().all()
    assert model.config.projector_input_norm  # nothing is known of its norm
    with pytest.raises(ValueError, match="num_prefix_tokens=2 leaves 15 of the 17 tokens.*make 16"):
        CDEModel.from_backbone(config, num_prefix_tokens=2)(clips())


def test_an_unknown_pyramid_of_patches():
    swin = AutoConfig.for_model("swin", embed_dim=8, depths=[1, 1], num_heads=[1, 1], window_size=2, image_size=32)
    model = CDEModel.from_backbone(swin, num_prefix_tokens=0, delta_mode="patch", top_k_patches=16).eval()
    assert model(clips()).patch_delta.shape == (2, 1, 16, 256)
    assert CDEModel.from_backbone(swin, num_prefix_tokens=0).eval()(clips()).delta.shape == (2, 1, 256)


def test_poolings_by_name():
    images = clips(2)[:, 0]
    for family, feature in [("vit", "mean"), ("vit", "pooler"), ("clip_vision_model", "mean"), ("dinov2", "pooler")]:
        model = tiny_cde(family, pooling=feature)
        model.train()(clips(), labels=torch.tensor([0, 1])).loss.backward()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad), (family, feature)
        with torch.no_grad():
            own = model.cde.backbone(images)
            found, _ = model.cde.reader(model.cde.backbone, images)
        if feature == "pooler":
            torch.testing.assert_close(found, own.pooler_output)
        elif family == "vit":
            torch.testing.assert_close(found, own.last_hidden_state[:, 1:].mean(dim=1))
    with pytest.raises(ValueError, match='needs a CLS token.*"mean"'):
        tiny_cde("siglip_vision_model", pooling="cls")
    with pytest.raises(ValueError, match="needs a pooled output"):
        tiny_cde("vit_mae", pooling="pooler")(clips())


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_weights_are_taken_from_a_saved_backbone(family, tmp_path):
    """Also from the files of two towers, and under the older names that Transformers writes for some families."""
    torch.manual_seed(1)
    saved = AutoModel.from_config(backbone_config(family)).eval()
    saved.save_pretrained(tmp_path)
    model = CDEForActionClassification.from_backbone(tmp_path, num_labels=4, delta_dim=16)
    assert model.num_labels == 4 and model.dtype == torch.float32
    tower = getattr(saved, "vision_model", saved).state_dict()
    taken = model.cde.backbone.state_dict()
    assert taken and all(torch.equal(tower[name], value) for name, value in taken.items())
    # Saved, it needs that folder no more.
    for file in tmp_path.iterdir():
        file.unlink()
    model.save_pretrained(tmp_path)
    again = CDEForActionClassification.from_pretrained(tmp_path).cde.backbone.state_dict()
    assert all(torch.equal(taken[name], value) for name, value in again.items())


@pytest.mark.parametrize(
    ("family", "head"),
    [
        ("vit_mae", ViTMAEForPreTraining),
        ("vit", ViTForImageClassification),
        ("dinov2", Dinov2ForImageClassification),
        ("beit", BeitForImageClassification),
        ("resnet", ResNetForImageClassification),
    ],
)
def test_weights_are_taken_from_a_model_with_a_head(family, head, tmp_path):
    saved = head(backbone_config(family))
    saved.save_pretrained(tmp_path)
    model = CDEModel.from_backbone(tmp_path, attn_implementation=None if family == "resnet" else "eager")
    assert model.backbone.config._attn_implementation == "eager" and model.backbone.config.model_type == family
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(saved.base_model.state_dict()[name], value), name


def test_weights_are_taken_from_a_revision_on_the_hub(tmp_path, monkeypatch):
    commits = {"main": "0" * 40, "v2": "2" * 40}
    cached = tmp_path / "models--someone--vit"
    (cached / "refs").mkdir(parents=True)
    towers = {}
    for revision, commit in commits.items():
        towers[revision] = AutoModel.from_config(backbone_config("vit"))
        towers[revision].save_pretrained(cached / "snapshots" / commit)
        (cached / "refs" / revision).write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for revision in (None, "v2"):
        model = CDEModel.from_backbone("someone/vit", revision=revision)
        expected = towers[revision or "main"].state_dict()["embeddings.cls_token"]
        assert torch.equal(model.backbone.embeddings.cls_token, expected)
        assert model.config.backbone_config._name_or_path == "someone/vit"


@pytest.mark.parametrize(
    "options",
    [
        {"use_mean_pooling": False, "use_shared_relative_position_bias": True},
        {"use_mask_token": True, "use_absolute_position_embeddings": True},
    ],
)
def test_variants_of_beit(options):
    for mode in MODES:
        model = CDEModel.from_backbone(backbone_config("beit", **options), delta_mode=mode)
        mean = options.get("use_mean_pooling", True)
        assert model.reader.feature == ("patches" if mode == "patch" else "mean" if mean else "cls")
        model(clips(2)).delta.square().sum().backward()
        assert all(p.grad is not None for name, p in model.named_parameters() if p.requires_grad)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_freezing_the_backbone(family):
    model = tiny_cde(family).train()
    model.freeze_backbone(num_blocks=1)
    backbone = model.cde.backbone
    frozen = {name for name, p in backbone.named_parameters() if not p.requires_grad}
    blocks = next(name for name, m in backbone.named_modules() if isinstance(m, torch.nn.ModuleList))
    names = [name for name, _ in backbone.named_parameters()]
    assert all(name in frozen for name in names if name.startswith((f"{blocks}.0.", "embed")))
    assert all(name not in frozen for name in names if name.startswith(f"{blocks}.1."))
    before = {name: p.detach().clone() for name, p in model.state_dict().items()}
    model(clips(4), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)

    model.zero_grad()
    model.freeze_backbone()
    model.train()
    assert not backbone.training and model.cde.projector.training
    model(clips(4), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    assert all(p.grad is None for p in backbone.parameters())
    assert all(p.grad is not None for p in model.cde.projector.parameters())
    if family == "resnet":  # whose batch norms would go on counting
        model.eval()
        stem = "cde.backbone.embedder.embedder.normalization.running_mean"
        assert torch.equal(before[stem], model.state_dict()[stem])
    with pytest.raises(ValueError, match="num_blocks=9 must be in"):
        model.freeze_backbone(num_blocks=9)
