"""Law 5: a fresh process without the package loads a saved folder, and a Hub repository, with identical outputs."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset
from transformers import PreTrainedModel, Trainer, TrainingArguments, pipeline

from modeling_cde import CDEForActionClassification, CDEImageProcessor
from modeling_cde.methods import METHODS
from tests.tiny_models import FAMILY_NAMES, backbone_config, clips, tiny_cde

HUB_FILES = {"configuration_cde.py", "backbones_cde.py", "modeling_cde.py"}

# Run with -I: neither the current folder nor PYTHONPATH is searched; an installed package is blocked by name.
CHECK = """
import json, sys
from pathlib import Path

class Block:
    def find_spec(self, name, path=None, target=None):
        if name == "modeling_cde":
            raise ModuleNotFoundError("No module named 'modeling_cde'")

sys.meta_path.insert(0, Block())
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModel, pipeline
from transformers.dynamic_module_utils import get_class_from_dynamic_module

root = Path(sys.argv[1])
x = torch.load(root / "x.pt")
wrong = []
for folder in json.loads((root / "folders.json").read_text()):
    expected = torch.load(root / folder / "expected.pt")
    config = AutoConfig.from_pretrained(root / folder, trust_remote_code=True)
    encoder = AutoModel.from_pretrained(root / folder, trust_remote_code=True)
    reference = config.auto_map.get("AutoModelForActionClassification", config.auto_map["AutoModel"])
    task = get_class_from_dynamic_module(reference, root / folder).from_pretrained(root / folder)
    extra = expected["extra"]
    with torch.no_grad():
        same = torch.equal(task(x, **extra).logits, expected["logits"])
        same = same and torch.equal(encoder(x, **extra).delta, expected["delta"])
    if not same or type(task).__module__.split(".")[0] != "transformers_modules":
        wrong.append(folder)
assert not wrong, wrong

before, after = str(root / "before.png"), str(root / "after.png")
for name in (str(root / "pipeline"), "someone/tiny-cde"):
    processor = AutoImageProcessor.from_pretrained(name, trust_remote_code=True)
    assert torch.equal(processor(before, after)["pixel_values"], torch.load(root / "pixel_values.pt"))
    pipe = pipeline("action-classification", model=name, trust_remote_code=True, device="cpu")
    found, expected = pipe(before, after), json.loads((root / "answers.json").read_text())
    assert [f["label"] for f in found] == [e["label"] for e in expected], found
    assert all(abs(f["score"] - e["score"]) < 1e-6 for f, e in zip(found, expected)), found
    pipe.save_pretrained(root / "again" / name.replace("/", "_"))
assert not [name for name in sys.modules if name.split(".")[0] == "modeling_cde"]
print("all equal")
"""


class Pairs(Dataset):
    """Eight random pairs with labels."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return {"pixel_values": clips(1, seed=index)[0], "labels": index % 3}


def trainer(folder, batch_size, accumulation, model):
    arguments = TrainingArguments(
        str(folder),
        use_cpu=True,
        max_steps=2,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
        learning_rate=0.1,
        optim="sgd",
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        save_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=0,
    )
    return Trainer(model=model, args=arguments, train_dataset=Pairs(), eval_dataset=Pairs())


def baselines() -> dict[str, PreTrainedModel]:
    """A tiny model of every method that CDE is compared with; the bank of neighbours is not empty."""
    own = {"cde-icm": {"num_objects": 4}, "cde-sms": {"action_blocks": [0, 0, 1]}, "cde-neighbours": {"bank_size": 4}}
    models = {}
    for method in METHODS.values():
        if method.model is not CDEForActionClassification:
            name = method.model.config_class.model_type
            options = {"delta_dim": 16, "num_labels": 3} | own.get(name, {})
            models[name] = method.model.from_backbone(backbone_config("resnet"), **options)
    models["cde-neighbours"].train()(clips(3, seed=7), labels=torch.arange(3))
    assert len(models) == 7
    return {name: model.eval() for name, model in models.items()}


def test_a_fresh_process_without_the_package(tmp_path):
    x = clips(2, 3)
    torch.save(x, tmp_path / "x.pt")
    models = {f"{family}-global": tiny_cde(family) for family in FAMILY_NAMES}
    models |= {
        f"{family}-patch": tiny_cde(family, delta_mode="patch") for family in ("vit_mae", "dinov3_vit", "siglip")
    }
    models |= baselines()
    trained = trainer(tmp_path / "trained", 4, 1, tiny_cde("vit", delta_mode="patch"))
    trained.train()
    trained.save_model()
    models["trained"] = trained.model.eval()
    for name, model in models.items():
        model.save_pretrained(tmp_path / name) if name != "trained" else None
        extra = {"masks": (x[:, :, 0] > 0).float()} if "masks" in model.extra_inputs else {}
        with torch.no_grad():
            output = model(x, **extra)
        expected = {"logits": output.logits, "delta": output.delta, "extra": extra}
        torch.save(expected, tmp_path / name / "expected.pt")
        assert {file.name for file in (tmp_path / name).glob("*.py")} >= HUB_FILES
    (tmp_path / "folders.json").write_text(json.dumps(list(models)))

    images = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3), dtype=np.uint8)
    before, after = (Image.fromarray(image) for image in images)
    before.save(tmp_path / "before.png")
    after.save(tmp_path / "after.png")
    processor = CDEImageProcessor(size=32)
    torch.save(processor(before, after)["pixel_values"], tmp_path / "pixel_values.pt")
    tiny_cde("vit").save_pretrained(tmp_path / "local")
    pipe = pipeline(
        "action-classification",
        model=CDEForActionClassification.from_pretrained(tmp_path / "local"),
        image_processor=processor,
        device="cpu",
    )
    pipe.save_pretrained(tmp_path / "pipeline")
    (tmp_path / "answers.json").write_text(json.dumps(pipe(before, after)))
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "home" / "hub" / "models--someone--tiny-cde"
    shutil.copytree(tmp_path / "pipeline", cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)

    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHON"))}
    environment |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, "-I", "-c", CHECK, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert run.returncode == 0 and "all equal" in run.stdout, run.stderr[-4000:]
    for again in (tmp_path / "again").iterdir():
        assert {file.name for file in again.glob("*.py")} == HUB_FILES | {"pipeline_cde.py", "image_processing_cde.py"}


@pytest.mark.parametrize("mode", ["global", "patch"])
def test_a_plain_trainer_divides_by_the_accumulation_steps(mode, tmp_path):
    """Two steps of 4 samples, and two of 2 x 2: the same weights."""
    whole = trainer(tmp_path, 4, 1, tiny_cde("vit", delta_mode=mode))
    parts = trainer(tmp_path, 2, 2, tiny_cde("vit", delta_mode=mode))
    start = {name: value.clone() for name, value in whole.model.state_dict().items()}
    whole.train()
    parts.train()
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], value, atol=1e-5, rtol=1e-3)
    assert not torch.equal(whole.model.classifier.weight, start["classifier.weight"])
    predictions = whole.predict(Pairs()).predictions
    assert [array.shape for array in predictions] == [(8, 3), (8, 1, 16)]  # logits and delta
