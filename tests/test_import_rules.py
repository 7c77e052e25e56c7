"""Who may import whom: one direction, so that each part can be read, tested and shipped by itself."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "modeling_cde"
HUB_FILES = tuple(
    f"models.{name}_cde"
    for name in "field_rules vision_config configuration backbones checks loading pretrained modeling pictures "
    "image_processing pipeline".split()
)
BASELINES = tuple(
    f"models.modeling_{name}"
    for name in "baseline concatenation icm_sms joint neighbours oracle_mask token_matching".split()
)
# What a machine has that can load a checkpoint: Transformers brings numpy and safetensors.
HUB_LIBRARIES = {"torch", "transformers", "numpy", "PIL", "safetensors", *sys.stdlib_module_names}

MODELS = {f"{PACKAGE}.{name}" for name in (*HUB_FILES, *BASELINES, "models.load_model", "training.new_model")}
# What a module may import of the package, with what is below it.
MAY_IMPORT = {
    "methods": ("models.configuration_cde",),  # for type checks alone: the models are imported by their names
    "models.load_model": (
        "methods",
        "models.image_processing_cde",
        "training.checkpoints.adapter_files",
        "training.lora",
    ),
    "training.new_model": ("methods", "models", "training.arguments", "training.lora", "data.splits"),
    "training.checkpoints.adapter_files": ("training.lora",),
    "cards.pushing": ("cards.hub", "training.lora", "cards.checkpoint_files"),
    "training.checkpoints.checkpoint_folder": ("whole_files",),
    "training.checkpoints.checkpointing": (
        "cards.pushing",
        "data.streaming.parquet_rows",
        "training.checkpoints",
        "training.distributed",
        "training.lora",
        "training.sharding",
        "training.stream_training",
        "whole_files",
    ),
    "training.checkpoints.sharded_checkpoints": ("training.checkpoints.state_file",),
    "training.sharding": ("data.sampler", "training.distributed", "training.lora"),
    "training.stopping": ("whole_files",),
    "training.losses": ("training.contrastive", "training.distributed"),
    "training.stream_training": ("data.streaming", "training.stopping"),
    "training.trainer": (
        "data.sampler",
        "data.streaming",
        "training.checkpoints.checkpointing",
        "training.distributed",
        "training.losses",
        "training.training_args",
    ),
    "training.feature_cache": ("data.collator", "data.transforms", "training.feature_files", "training.lora"),
    "training.feature_files": ("whole_files",),
    "training.training_data": ("data", "training.arguments", "training.feature_cache", "training.training_args"),
    "training.selected_epoch": ("metrics",),
    "training.run_record": ("data.load_splits", "training.arguments", "training.lora", "training.training_args"),
    "evaluation.predictions": ("data", "metrics"),
    "evaluation.gallery": ("data", "evaluation.predictions", "whole_files"),
    "evaluation.evaluate": ("methods", "models", "data", "evaluation", "metrics", "whole_files"),
    "export": ("models.load_model",),
}


def file_of(name: str) -> Path:
    return (ROOT / PACKAGE / name.replace(".", "/")).with_suffix(".py")


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> set[str]:
    """Absolute names of the modules that a file imports anywhere, also inside of functions and type checks."""
    package = module_name(file) if file.name == "__init__.py" else module_name(file).rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parent, base] if base else parent)
            submodules = {f"{base}.{alias.name}" for alias in node.names}
            files = {name for name in submodules if is_module(name)}
            found |= files if files == submodules else files | {base}
    return found


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def local(file: Path) -> set[str]:
    return {name for name in imports(file) if name.split(".")[0] in (PACKAGE, "data_scripts", "train")}


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def within(name: str, *allowed: str) -> bool:
    return any(name == item or name.startswith(f"{item}.") for item in allowed)


@pytest.mark.parametrize(
    "name",
    [
        "models.field_rules_cde",
        "training.contrastive",
        "training.distributed",
        "metrics",
        "training.lora",
        "cards.hub",
        "kept_files",
        "training.checkpoints.run_lock",
        "training.checkpoints.state_file",
        "whole_files",
    ],
)
def test_imports_nothing_local(name):
    assert local(file_of(name)) == set()


def test_splits_are_pure():
    """They import each other, the standard library and NumPy: what a split is can be read and run by itself."""
    files = sources(f"{PACKAGE}/data/splits")
    assert len(files) > 4
    for file in files:
        assert all(within(name, f"{PACKAGE}.data.splits", f"{PACKAGE}.whole_files") for name in local(file)), file
        assert {name.split(".")[0] for name in imports(file)} <= {PACKAGE, "numpy", *sys.stdlib_module_names}, file


@pytest.mark.parametrize("name", HUB_FILES)
def test_hub_files_import_only_each_other(name):
    file = file_of(name)
    assert local(file) <= {f"{PACKAGE}.{other}" for other in HUB_FILES}
    assert {item.split(".")[0] for item in imports(file)} <= HUB_LIBRARIES | {PACKAGE}
    # Transformers copies what this expression finds in the text, docstrings included, flat from the same folder.
    copied = re.findall(r"^\s*from\s+\.(\S*)\s+import", file.read_text(), flags=re.MULTILINE)
    assert {f"models.{other}" for other in copied} <= set(HUB_FILES)
    assert f"import {PACKAGE}" not in file.read_text() and f"from {PACKAGE}" not in file.read_text()


@pytest.mark.parametrize("name", BASELINES)
def test_the_other_models_are_built_on_the_hub_files(name):
    assert local(file_of(name)) <= {f"{PACKAGE}.{other}" for other in (*HUB_FILES, *BASELINES)}


@pytest.mark.parametrize(("name", "allowed"), MAY_IMPORT.items())
def test_a_module_imports_only_what_it_is_made_of(name, allowed):
    found = local(file_of(name))
    assert not {item for item in found if not within(item, *(f"{PACKAGE}.{other}" for other in allowed))}


@pytest.mark.parametrize("folder", ["analysis", "cards"])
def test_readers_of_files_import_no_model(folder):
    forbidden = MODELS | {f"{PACKAGE}.{name}" for name in ("training.trainer", "evaluation.evaluate")} | {PACKAGE}
    for file in sources(f"{PACKAGE}/{folder}"):
        assert not local(file) & forbidden, file


def test_data_scripts_import_only_the_data_package_and_the_way_to_the_hub():
    for file in sources("data_scripts"):
        package = [f"{PACKAGE}.{name}" for name in ("data", "cards.hub", "whole_files", "models.pictures_cde")]
        wrong = {name for name in local(file) if not within(name, *package, "data_scripts")}
        assert not wrong, (file, wrong)


def test_the_package_never_imports_data_scripts_and_nothing_imports_train():
    for file in sources(PACKAGE):
        assert not {name for name in local(file) if within(name, "data_scripts")}, file
    for file in [*sources(PACKAGE), *sources("data_scripts"), *sources("benchmarks")]:
        assert "train" not in local(file), file


def test_the_rules_see_every_kind_of_import(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / PACKAGE / "data").mkdir(parents=True)
    for name in ("__init__", "losses", "trainer", "data/__init__", "data/schema"):
        (tmp_path / PACKAGE / f"{name}.py").touch()
    file = tmp_path / PACKAGE / "data" / "loading.py"
    file.write_text(
        "import train\nfrom .schema import X\nfrom .. import losses\n"
        "def f():\n    from ..trainer import Y\n    import data_scripts.rooms\n    from modeling_cde import CDEModel\n"
    )
    expected = {"train", "data_scripts.rooms", PACKAGE}
    assert local(file) == expected | {f"{PACKAGE}.{name}" for name in ("data.schema", "losses", "trainer")}
