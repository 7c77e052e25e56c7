"""Strangers' weights that are no weights: files elsewhere, whole numbers, values that overflow, NaN in the scores."""

import json
import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from modeling_cde import ActionClassificationPipeline, CDEForActionClassification, CDEImageProcessor, CDEModel
from modeling_cde.data.load_splits import load_shifts
from modeling_cde.data.transforms import PairTransform
from modeling_cde.evaluation.evaluate import evaluate_splits
from modeling_cde.evaluation.onnx_export import export_program
from modeling_cde.models.load_model import load_action_model
from modeling_cde.training.checkpoints.adapter_files import load_lora, save_adapter
from modeling_cde.training.lora import add_lora
from tests.drawn_pairs import ACTIONS
from tests.tiny_models import IMAGE, backbone_config, tiny_cde

LOADERS = {"cde": CDEForActionClassification.from_pretrained, "vit": CDEModel.from_backbone}
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a task model and a backbone, which no test changes."""
    folder = tmp_path_factory.mktemp("saved")
    tiny_cde("vit", id2label=dict(enumerate(ACTIONS))).save_pretrained(folder / "cde")
    CDEImageProcessor(size=IMAGE).save_pretrained(folder / "cde")
    torch.manual_seed(0)
    AutoModel.from_config(backbone_config("vit")).save_pretrained(folder / "vit")
    return folder


@pytest.fixture(params=LOADERS)
def copied(saved, tmp_path, request):
    """A copy of one of them, and how it is loaded."""
    shutil.copytree(saved / request.param, tmp_path / request.param)
    return tmp_path / request.param, LOADERS[request.param]


def rewrite(folder, change, which=all):
    """Changes tensors of a file of weights: all, or the first whose name contains `which`."""
    weights = load_file(folder / WEIGHTS)
    chosen = set(weights) if which is all else {next(name for name in sorted(weights) if which in name)}
    changed = {name: change(tensor) if name in chosen else tensor for name, tensor in weights.items()}
    save_file(changed, folder / WEIGHTS, metadata={"format": "pt"})


def write_index(folder, target):
    names = list(load_file(folder / WEIGHTS))
    (folder / WEIGHTS).rename(folder / "moved.safetensors")
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, target)}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


def test_an_index_names_only_files_beside_it(copied, tmp_path):
    folder, load = copied
    shutil.copy(folder / WEIGHTS, tmp_path / "secret.safetensors")
    write_index(folder, "moved.safetensors")
    load(folder)
    index = folder / f"{WEIGHTS}.index.json"
    text = index.read_text()
    (folder / "sub").mkdir()
    shutil.copy(tmp_path / "secret.safetensors", folder / "sub" / "a.safetensors")
    for target in ("../secret.safetensors", str(tmp_path / "secret.safetensors"), "sub/a.safetensors"):
        index.write_text(text.replace("moved.safetensors", target))
        with pytest.raises(OSError, match=f"{folder.name} names weights outside of its folder \\('{target}'\\): put"):
            load(folder)
    damaged = ("{", "[]", "{}", '{"weight_map": {"a": 3}, "metadata": {}}', '{"weight_map": {"a": "b.safetensors"}}')
    for content in damaged:
        index.write_text(content)
        with pytest.raises(OSError, match=f"{folder.name} has a damaged {WEIGHTS}.index.json: download or save"):
            load(folder)


def test_a_backbone_whose_config_names_its_weights_is_refused(saved, tmp_path):
    folder = tmp_path / "vit"
    shutil.copytree(saved / "vit", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"transformers_weights": "adapter_model.bin"}))
    torch.save(load_file(folder / WEIGHTS), folder / "adapter_model.bin")
    with pytest.raises(OSError, match="names its file of weights in config.json: rename the file to model.safetensors"):
        CDEModel.from_backbone(folder)


@pytest.mark.parametrize("kind", [torch.int64, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_weights_that_are_no_floats_are_refused(copied, kind):
    folder, load = copied
    rewrite(folder, lambda tensor: tensor.to(kind), "attention" if kind == torch.int64 else all)
    with pytest.raises(ValueError, match=f"{folder.name}: the weight .* holds .* in place of floats .*: save"):
        load(folder)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_floats_of_every_size_are_read(copied, kind):
    folder, load = copied
    rewrite(folder, lambda tensor: tensor.to(kind))
    load(folder)


def test_whole_numbers_that_are_no_weights_are_read(tmp_path):
    """Counters of batch norm, and positions that older files keep."""
    for family in ("resnet", "clip_vision_model"):
        torch.manual_seed(0)
        AutoModel.from_config(backbone_config(family)).save_pretrained(tmp_path / family)
        weights = load_file(tmp_path / family / WEIGHTS)
        weights["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
        save_file(weights, tmp_path / family / WEIGHTS, metadata={"format": "pt"})
        model = CDEModel.from_backbone(tmp_path / family)
        model.save_pretrained(tmp_path / "cde")
        CDEModel.from_pretrained(tmp_path / "cde")


@pytest.mark.parametrize(
    ("value", "words"), [(1e30, "holds 1e\\+30, far more than any"), (torch.inf, "holds NaN or inf")]
)
def test_values_that_make_every_score_nan_are_refused(copied, value, words):
    folder, load = copied
    rewrite(folder, lambda tensor: tensor.index_fill(0, torch.tensor([0]), -value), "attention")
    with pytest.raises(ValueError, match=f"{folder.name}: the weight .* {words}"):
        load(folder)


@pytest.mark.parametrize("name", ["running_mean", "running_var"])
def test_statistics_that_are_not_finite_are_refused(name, tmp_path):
    """They are no parameters, and every output of a ResNet depends on them. Large ones may be right."""
    tiny_cde("resnet").save_pretrained(tmp_path / "cde")
    for value, words in ((torch.nan, "holds NaN"), (torch.inf, "holds NaN or infinity"), (1e20, None)):
        rewrite(tmp_path / "cde", lambda tensor, value=value: torch.full_like(tensor, value), name)
        if words is None:
            CDEForActionClassification.from_pretrained(tmp_path / "cde")
            continue
        with pytest.raises(ValueError, match=f"cde: the weight .*{name} {words}"):
            CDEForActionClassification.from_pretrained(tmp_path / "cde")


def test_scores_that_are_not_finite_are_an_error_wherever_they_come_from(saved, data, tmp_path):
    """Weights that overflow only together load: what they give is looked at."""
    folder = tmp_path / "cde"
    shutil.copytree(saved / "cde", folder)
    rewrite(folder, lambda tensor: torch.full_like(tensor, 1e14))
    model, processor = load_action_model(str(folder))
    black = Image.new("RGB", (IMAGE, IMAGE))
    pipe = ActionClassificationPipeline(model=model, image_processor=processor, device="cpu")
    said = "cde gives NaN or infinite logits {}: load it in float32 if it was in half precision, else use another"
    for given in ((black, black), [(black, black)]):
        with pytest.raises(ValueError, match=said.format("for this pair of pictures")):
            pipe(*given) if isinstance(given, tuple) else pipe(given)
    splits = {"test": load_shifts(str(data))["test"]}
    transform = PairTransform.from_processor(processor)
    with pytest.raises(ValueError, match=said.format("while evaluating test")):
        evaluate_splits(model, splits, transform, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match=said.format("for a pair of zeros")):
        export_program(model, IMAGE, IMAGE)


def test_adapters_are_finite_floats(tmp_path):
    pytest.importorskip("peft")
    base = tiny_cde("vit")
    base.save_pretrained(tmp_path / "base")
    base = CDEForActionClassification.from_pretrained(tmp_path / "base")
    save_adapter(add_lora(base, rank=2), tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if "lora_A" in name)
    for wrong, words in (
        (weights[name].long(), "differ in name, shape or type"),
        (weights[name] / 0, "NaN or infinity"),
    ):
        save_file(weights | {name: wrong}, file)
        with pytest.raises(ValueError, match=words):
            load_lora(tmp_path / "adapter", CDEForActionClassification.from_pretrained(tmp_path / "base"))
