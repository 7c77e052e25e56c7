"""The concatenation baseline: same inputs and outputs as CDE."""

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModel

from modeling_cde import CDEModel, ConcatenationForActionClassification
from tests.tiny_models import backbone_config, clips, excite, tiny_cde


def tiny(family: str = "vit", **options) -> ConcatenationForActionClassification:
    torch.manual_seed(0)
    options = {"delta_dim": 16, "id2label": {0: "open", 1: "close", 2: "break"}} | options
    model = ConcatenationForActionClassification.from_backbone(backbone_config(family), **options)
    excite(model)
    return model.eval()


@pytest.mark.parametrize("family", ["vit", "dinov2", "siglip", "resnet"])
@pytest.mark.parametrize("head_inputs", ["delta", "z_after"])
def test_logits_are_the_head_on_both_states(family, head_inputs, tmp_path):
    model = tiny(family, head_inputs=head_inputs, head_hidden_dim=24)
    labels = torch.tensor([0, 1, 2])
    with torch.no_grad():
        output = model(clips(3), labels=labels)
        z, after = output.states[:, 0], output.states[:, 1]
        torch.testing.assert_close(output.delta[:, 0], after - z)
        expected = model.head(torch.cat([z, after - z if head_inputs == "delta" else after], dim=1))
        torch.testing.assert_close(output.logits, expected)
        torch.testing.assert_close(output.loss, F.cross_entropy(expected, labels))
        clip = model(clips(3, 4), labels=labels[:, None].expand(3, 3))
    assert clip.logits.shape == (3, 3, 3) and clip.delta.shape == (3, 3, 16)
    model.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path)
    assert type(again) is ConcatenationForActionClassification
    with torch.no_grad():
        assert torch.equal(again(clips(3)).logits, output.logits)

    assert model.head[0].out_features == 24
    model.train()(clips(3), labels=labels).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_encoder_and_outputs_are_those_of_cde():
    """With the same backbone and projector the states and deltas are equal: only the head differs."""
    model, cde = tiny(), tiny_cde("vit")
    assert isinstance(model.cde, CDEModel) and model.config.delta_dim == cde.config.delta_dim
    model.cde.load_state_dict(cde.cde.state_dict())
    with torch.no_grad():
        ours, theirs = model(clips()), cde(clips())
    assert torch.equal(ours.states, theirs.states) and torch.equal(ours.delta, theirs.delta)
    assert type(ours) is type(theirs)
    model.freeze_backbone()
    assert not any(p.requires_grad for p in model.cde.backbone.parameters())
