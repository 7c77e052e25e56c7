"""Law 5: a fresh process without the package loads a saved folder, and a Hub repository, with identical outputs."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from PIL import Image
from torch.utils.data import Dataset
from transformers import AutoModel, PreTrainedModel, Trainer, TrainingArguments, pipeline
from transformers.dynamic_module_utils import get_imports

import modeling_cde
from modeling_cde import CDEImageProcessor
from modeling_cde.models.load_model import load_action_model
from modeling_cde.models.methods import by_model_type
from modeling_cde.models.rejection_cde import set_thresholds
from modeling_cde.training.new_model import options_from_data
from tests.hub_server import HubServer, Repository
from tests.tiny_models import FAMILY_NAMES, backbone_config, clips, tiny_cde

HUB_FILES = {file.name for file in Path(modeling_cde.__file__).parent.glob("models/*_cde.py")}

# Run by python -I -S: no site-packages, so that only what is linked into one folder is installed.
# What keeps the tests off the network comes by PYTHONPATH, which this process is not to have.
BLOCK = f"import runpy; runpy.run_path({str(Path(__file__).parents[1] / 'blocked_network' / 'sitecustomize.py')!r})\n"
CHECK = """
import json, sys
from pathlib import Path

root = Path(sys.argv[1])
sys.path.insert(0, str(root / "installed"))
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModel, pipeline
from transformers.dynamic_module_utils import get_class_from_dynamic_module

def load_all(folder):
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    encoder = AutoModel.from_pretrained(folder, trust_remote_code=True)
    reference = config.auto_map.get("AutoModelForActionClassification", config.auto_map["AutoModel"])
    return encoder, get_class_from_dynamic_module(reference, folder).from_pretrained(folder)

folders = json.loads((root / "folders.json").read_text())
x = torch.load(root / "x.pt")
wrong = []
for folder in folders:
    expected = torch.load(root / folder / "expected.pt")
    encoder, task = load_all(root / folder / "model")
    extra = expected["extra"]
    with torch.no_grad():
        same = torch.equal(task(x, **extra).logits, expected["logits"])
        same = same and torch.equal(encoder(x, **extra).delta, expected["delta"])
    if not same or type(task).__module__.split(".")[0] != "transformers_modules":
        wrong.append(folder)
assert not wrong, wrong

before, after = str(root / "before.png"), str(root / "after.png")
commits = json.loads(sys.argv[2])
hub = ("org/tiny-cde", "org/tiny-icm")
for name in (str(root / "whole"), *hub, str(root / "again" / "org_tiny-cde"), str(root / "again" / "org_tiny-icm")):
    pipe = pipeline("action-classification", model=name, trust_remote_code=True, device="cpu")
    expected = json.loads((root / f"{'icm' if 'icm' in name else 'whole'}.json").read_text())
    options = {"return_delta": True} if "icm" in name else {"return_delta": True, "return_patches": True}
    found = pipe([(before, after)], **options)[0]
    assert found.keys() == expected.keys()
    assert [item["label"] for item in found["actions"]] == [item["label"] for item in expected["actions"]], found
    assert [item["box"] for item in found.get("patches", [])] == [i["box"] for i in expected.get("patches", [])]
    assert torch.allclose(torch.tensor(found["delta"]), torch.tensor(expected["delta"]), atol=1e-5)
    assert pipe.model.name_or_path == name
    processor = AutoImageProcessor.from_pretrained(name, trust_remote_code=True, revision=commits.get(name))
    for each in (processor, pipe.image_processor):
        assert torch.equal(each(before, after)["pixel_values"], torch.load(root / "pixel_values.pt"))
    if name in hub:
        pipe.model.save_pretrained(root / "again" / name.replace("/", "_"))
        processor.save_pretrained(root / "again" / name.replace("/", "_"))
task = type(pipe.model).from_backbone("org/vit", num_objects=2)
assert task.config.backbone_revision == commits["org/vit"], task.config.backbone_revision
loaded = {name.split(".")[0] for name in sys.modules}
assert not loaded & {"modeling_cde", "datasets", "accelerate", "evaluate", "peft", "torchvision"}, loaded
print("all equal")
"""


class MovingHub(HubServer):
    """A Hub on which every repository gets a newer, broken commit as soon as its first file has been sent."""

    def __init__(self) -> None:
        super().__init__()
        hub, sent = self, set()

        class Calls(list):
            def append(self, call: str) -> None:
                super().append(call)
                for (_, name), repository in hub.repositories.items():
                    if name in sent and len(repository.commits) == 1:
                        repository.commit(dict.fromkeys(repository.files(), b"broken"), "second")
                    if call.startswith(f"GET /{name}/resolve/"):
                        sent.add(name)

        self.calls = Calls()

    def publish(self, name: str, folder: Path) -> str:
        """Makes a repository of what a folder has to be loaded by; returns its first commit."""
        repository = self.repositories["model", name] = Repository()
        files = [file for file in folder.iterdir() if file.suffix in (".json", ".py", ".safetensors")]
        return repository.commit({file.name: file.read_bytes() for file in files}, "first")


def link_installed(folder: Path, *names: str) -> None:
    """Links these distributions and all that they require into an empty folder, as if nothing else were installed."""
    folder.mkdir()
    todo, done = list(names), set()
    while todo:
        name = todo.pop().lower().replace("_", "-")
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # on other systems only
        if name in done:
            continue
        done.add(name)
        found = [Requirement(text) for text in distribution.requires or ()]
        todo += [item.name for item in found if item.marker is None or item.marker.evaluate({"extra": ""})]
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}:
            link = folder / top
            if not link.exists():
                link.symlink_to(Path(str(distribution.locate_file(top))))


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
    models = {}
    for name, method in by_model_type().items():
        if name != "cde":
            options = options_from_data(method.config_class, ["open", "close", "break"], ["cup", "door", "box", "bin"])
            options |= {"bank_size": 4} if name == "cde-neighbours" else {}
            models[name] = method.model_class.from_backbone(backbone_config("resnet"), delta_dim=16, **options)
    models["cde-neighbours"].train()(clips(3, seed=7), labels=torch.arange(3))
    return {name: model.eval() for name, model in models.items()}


def test_a_fresh_process_without_the_package(tmp_path):
    x = clips(2, 3)
    torch.save(x, tmp_path / "x.pt")
    models = {f"{family}-global": tiny_cde(family) for family in FAMILY_NAMES}
    models |= {
        f"{family}-patch": tiny_cde(family, delta_mode="patch") for family in ("vit_mae", "dinov3_vit", "siglip")
    }
    models |= baselines()
    set_thresholds(models["siglip-patch"], torch.zeros(3, 16), 0.0, 0.5)  # says "something else" of every pair
    trained = trainer(tmp_path / "trained" / "model", 4, 1, tiny_cde("vit", delta_mode="patch"))
    trained.train()
    trained.save_model()
    models["trained"] = trained.model.eval()
    for name, model in models.items():
        folder = tmp_path / name / "model"  # of one name, so that the code is read once for all
        model.save_pretrained(folder) if name != "trained" else None
        extra = {"masks": (x[:, :, 0] > 0).float()} if "masks" in model.extra_inputs else {}
        with torch.no_grad():
            output = model(x, **extra)
        expected = {"logits": output.logits, "delta": output.delta, "extra": extra}
        torch.save(expected, tmp_path / name / "expected.pt")
        assert {file.name for file in folder.glob("*.py")} >= HUB_FILES
    (tmp_path / "folders.json").write_text(json.dumps(list(models)))

    images = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3), dtype=np.uint8)
    before, after = (Image.fromarray(image) for image in images)
    before.save(tmp_path / "before.png")
    after.save(tmp_path / "after.png")
    processor = CDEImageProcessor(size=32)
    torch.save(processor(before, after)["pixel_values"], tmp_path / "pixel_values.pt")
    for name, model in (("whole", models["siglip-patch"]), ("icm", models["cde-icm"])):
        model.save_pretrained(tmp_path / name)
        processor.save_pretrained(tmp_path / name)
        pipe = pipeline("action-classification", model=model, image_processor=processor, device="cpu")
        answers = pipe(before, after, return_delta=True, **({"return_patches": True} if name == "whole" else {}))
        (tmp_path / f"{name}.json").write_text(json.dumps(answers))
        assert (answers["actions"][0]["label"] == "something else") == (name == "whole")
    torch.manual_seed(0)
    AutoModel.from_config(backbone_config("vit")).save_pretrained(tmp_path / "vit")
    link_installed(tmp_path / "installed", "torch", "transformers", "pillow")

    with MovingHub() as hub:
        published = {"org/tiny-cde": "whole", "org/tiny-icm": "icm", "org/vit": "vit"}
        commits = json.dumps({name: hub.publish(name, tmp_path / folder) for name, folder in published.items()})
        known = {name: value for name, value in hub.environment(tmp_path / "home").items() if name[:6] != "PYTHON"}
        run = subprocess.run(
            [sys.executable, "-I", "-S", "-c", BLOCK + CHECK, str(tmp_path), commits],
            capture_output=True,
            text=True,
            env=known,
            cwd=tmp_path,
        )
    assert run.returncode == 0 and "all equal" in run.stdout, run.stderr[-4000:]
    assert all(len(repository.commits) == 2 for repository in hub.repositories.values())
    for again in (tmp_path / "again").iterdir():
        assert {file.name for file in again.glob("*.py")} >= HUB_FILES


def test_models_are_loaded_without_pillow_too():
    """Transformers refuses a file whose imports, as this function of its own finds them, are not all installed."""
    for file in HUB_FILES:
        found = set(get_imports(Path(modeling_cde.__file__).with_name("models") / file)) - sys.stdlib_module_names
        assert found <= {"torch", "transformers", "numpy", "safetensors"}, file


def test_saving_again_writes_the_code_that_a_folder_lacks(tmp_path):
    """What is advised where weights and configuration are there and the code is not."""
    for name, model in (("icm", baselines()["cde-icm"]), ("cde", tiny_cde())):
        model.save_pretrained(tmp_path / name)
        CDEImageProcessor(size=32).save_pretrained(tmp_path / name)
        expected = {file.name: file.read_bytes() for file in (tmp_path / name).glob("*.py")}
        assert expected.keys() >= HUB_FILES
        for file in expected:
            (tmp_path / name / file).unlink()
        for part in load_action_model(str(tmp_path / name)):
            part.save_pretrained(tmp_path / name)
        assert {file.name: file.read_bytes() for file in (tmp_path / name).glob("*.py")} == expected


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
