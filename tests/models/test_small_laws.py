"""Laws of the methods that no example of theirs shows: whose backbone they keep, what they have, and shapes."""

import warnings
from importlib import import_module

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import AutoModel

from modeling_cde.models.checks_cde import parse_json
from modeling_cde.models.image_processing_cde import CDEImageProcessor
from modeling_cde.models.methods import METHODS
from modeling_cde.models.modeling_joint import JointEncoderConfig, JointEncoderForActionClassification
from modeling_cde.models.modeling_mechanisms import ConditionedMeans, LowRankConfig
from modeling_cde.models.modeling_oracle_mask import OracleMaskConfig, OracleMaskForActionClassification, patch_shares
from modeling_cde.models.modeling_token_matching import TokenMatchingConfig, TokenMatchingForActionClassification
from modeling_cde.models.outputs_cde import CDEModelOutput
from modeling_cde.models.preprocessing_cde import Preprocessing, plain_settings
from modeling_cde.models.regions_cde import checked_box
from modeling_cde.models.rejection_cde import rejected
from tests.tiny_models import backbone_config, tiny_cde

MORE = {"num_objects": 2, "action_blocks": [0, 0, 1], "delta_dim": 16}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_model_keeps_the_backbone_that_it_is_given(name: str) -> None:
    kind = getattr(import_module(f"modeling_cde.models.{METHODS[name].file}"), METHODS[name].model)
    config = backbone_config("vit")
    backbone = AutoModel.from_config(config)
    known = {field: value for field, value in MORE.items() if hasattr(kind.config_class(), field)}
    options = known | {"id2label": {0: "open", 1: "close", 2: "break"}}
    model = kind(kind.config_class(backbone_config=config, **options), backbone=backbone)
    assert model.cde.backbone is backbone


def test_conditioned_means_have_three_matrices_and_no_bias() -> None:
    means = ConditionedMeans(LowRankConfig(delta_dim=16, num_labels=3))
    assert sorted(name for name, _ in means.named_parameters()) == ["means.weight", "moves.weight", "read.weight"]


def test_conditioned_means_read_each_state_by_itself() -> None:
    means = ConditionedMeans(LowRankConfig(delta_dim=16, num_labels=3))
    before = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0))
    for clip in range(2):
        for step in range(3):
            torch.testing.assert_close(means(before)[clip, step], means(before[clip, step]))


@given(st.sampled_from([(1, 16), (2, 8), (8, 2), (4, 4)]), st.integers(0, 99))
def test_shares_of_masks_that_are_no_squares(grid: tuple[int, int], seed: int) -> None:
    rows, columns = grid
    mask = (torch.rand(rows * 4, columns * 4, generator=torch.Generator().manual_seed(seed)) < 0.3).float()
    expected = [
        mask[4 * row : 4 * row + 4, 4 * column : 4 * column + 4].mean()
        for row in range(rows)
        for column in range(columns)
    ]
    torch.testing.assert_close(patch_shares(mask[None, None], 16)[0, 0], torch.stack(expected))


def test_matched_pairs_are_embedded_by_one_gelu_layer() -> None:
    config = TokenMatchingConfig(backbone_config=backbone_config("vit"), delta_dim=16, head_hidden_dim=7)
    layer = TokenMatchingForActionClassification(config).pair_layer
    pairs = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer(pairs), F.gelu(pairs @ layer[0].weight.T + layer[0].bias))


def test_equal_pictures_are_rejected_one_by_one() -> None:
    nothing, other = rejected(tiny_cde(), torch.ones(3, 16), torch.tensor([False, True, False]))
    assert nothing.tolist() == [False, True, False] and not other.any()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ('{"a": 1, "a": 2}', "the key 'a' twice"),
        ("[NaN]", "contains NaN"),
        ("[" * 100_000, "deeply"),
    ],
)
def test_json_that_a_person_wrote_is_checked(text: str, told: str) -> None:
    assert parse_json('{"a": [1, {"b": null}]}', "options") == {"a": [1, {"b": None}]}
    with pytest.raises(ValueError, match=f"options .*{told}"):
        parse_json(text, "options")


def test_deltas_are_differences_of_neighbouring_states_and_the_encoders_layers_are_passed_on() -> None:
    config = OracleMaskConfig(backbone_config=backbone_config("vit"), delta_dim=16)
    states = torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(0))
    layers = (torch.zeros(1),)
    output = OracleMaskForActionClassification(config)._output(
        torch.zeros(2, 3, 2), states, None, encoder=CDEModelOutput(hidden_states=layers)
    )
    for step in range(3):
        torch.testing.assert_close(output.delta[:, step], states[:, step + 1] - states[:, step])
    assert output.hidden_states is layers


def test_blocks_that_were_frozen_before_stay_in_evaluation_mode() -> None:
    model = tiny_cde().cde
    model._freeze(1)
    model._freeze(0)
    model.train()
    block = next(module for module in model.backbone.modules() if isinstance(module, torch.nn.ModuleList))[0]
    assert not block.training and not any(weight.requires_grad for weight in block.parameters())


def test_kinds_of_tokens_are_three() -> None:
    config = JointEncoderConfig(backbone_config=backbone_config("vit"), delta_dim=16)
    assert JointEncoderForActionClassification(config).kinds.weight.shape == (3, 16)


@given(*[st.integers(-1, 4)] * 4)
def test_a_box_is_accepted_if_all_its_pixels_are_in_the_picture(left: int, top: int, right: int, bottom: int) -> None:
    inside = left <= right and top <= bottom and {left, right} <= set(range(3)) and {top, bottom} <= set(range(4))
    if inside:
        assert checked_box((left, top, right, bottom), (3, 4)) == (left, top, right, bottom)
    else:
        with pytest.raises(ValueError, match=r"^The box \[[-0-9, ]*\] is not inside its picture of 3x4 pixels"):
            checked_box((left, top, right, bottom), (3, 4))


def test_settings_of_a_processor_are_kept_and_checked() -> None:
    with pytest.raises(ValueError, match="rescale_factor must be a number above 0"):
        CDEImageProcessor(rescale_factor=0)
    assert Preprocessing.of(CDEImageProcessor(rescale_factor=0.5)).rescale_factor == 0.5
    crop = plain_settings({"size": 8, "crop_size": {"height": 4.0, "width": 5.0, "shortest_edge": None}})["crop_size"]
    assert crop == {"height": 4, "width": 5} and all(type(side) is int for side in crop.values())


def test_pictures_of_one_shape_give_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CDEImageProcessor(size=8)(Image.new("RGB", (30, 20)), Image.new("RGB", (60, 40)))
