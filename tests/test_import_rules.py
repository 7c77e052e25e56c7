"""Who may import whom: one direction and no circles, so that each part can be read, tested and shipped by itself."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "modeling_cde"
FOLDERS = (PACKAGE, "data_scripts", "benchmarks")

# What a module may import of this project, by the longest beginning of its name that stands here. Names on the right
# include what is below them.
MAY_IMPORT = {
    "modeling_cde": ["modeling_cde"],  # the lazy public names; a new file of the package gets a line of its own here
    "modeling_cde.cli": ["modeling_cde", "modeling_cde.cli"],  # it runs all others by name, and imports none of them
    "modeling_cde.cli.verbs": [],
    "modeling_cde.whole_files": ["modeling_cde.models.limits_cde", "modeling_cde.cli.verbs"],
    "modeling_cde.models": ["modeling_cde.models"],
    "modeling_cde.data": [
        "modeling_cde.data",
        "modeling_cde.models.limits_cde",
        "modeling_cde.models.pictures_cde",
        "modeling_cde.models.preprocessing_cde",
        "modeling_cde.models.regions_cde",
        "modeling_cde.cards.hub",
        "modeling_cde.whole_files",
    ],
    "modeling_cde.data.splits": [
        "modeling_cde.data.splits",
        "modeling_cde.models.limits_cde",
        "modeling_cde.whole_files",
    ],
    "modeling_cde.models.methods": [
        "modeling_cde.models.configuration_cde"
    ],  # for type checks: models are loaded by name
    "modeling_cde.models.registration": ["modeling_cde.models.methods", "modeling_cde.models"],
    "modeling_cde.models.load_model": [
        "modeling_cde.models.methods",
        "modeling_cde.models",
        "modeling_cde.training.checkpoints.adapter_files",
        "modeling_cde.training.lora",
    ],
    "modeling_cde.features": ["modeling_cde.features", "modeling_cde.data", "modeling_cde.whole_files"],
    "modeling_cde.training": [
        "modeling_cde.training",
        "modeling_cde.features",
        "modeling_cde.models.methods",
        "modeling_cde.models",
        "modeling_cde.data",
        "modeling_cde.evaluation.metrics",
        "modeling_cde.analysis.doctor",
        "modeling_cde.analysis.loss_terms",
        "modeling_cde.cards.pushing",
        "modeling_cde.whole_files",
        "modeling_cde.cli",
    ],
    "modeling_cde.training.contrastive": [],
    "modeling_cde.training.distributed": ["modeling_cde.cli.verbs"],
    "modeling_cde.training.lora": ["modeling_cde.cli.extras"],
    "modeling_cde.training.checkpoints.run_lock": [],
    "modeling_cde.training.checkpoints.state_file": [],
    "modeling_cde.evaluation": [
        "modeling_cde.evaluation",
        "modeling_cde.features",
        "modeling_cde.models.methods",
        "modeling_cde.models",
        "modeling_cde.data",
        "modeling_cde.whole_files",
        "modeling_cde.cli",
    ],
    "modeling_cde.evaluation.metrics": [],
    "modeling_cde.fit": [
        "modeling_cde.fit",
        "modeling_cde.training",
        "modeling_cde.features",
        "modeling_cde.evaluation",
        "modeling_cde.models",
        "modeling_cde.data",
        "modeling_cde.cards",
        "modeling_cde.whole_files",
        "modeling_cde.cli",
    ],
    "modeling_cde.analysis": [
        "modeling_cde.analysis",
        "modeling_cde.models.methods",
        "modeling_cde.data.splits",
        "modeling_cde.evaluation.metrics",
        "modeling_cde.whole_files",
        "modeling_cde.cli",
    ],
    "modeling_cde.cards": [
        "modeling_cde.cards",
        "modeling_cde.data.splits.titles",
        "modeling_cde.models.methods",
        "modeling_cde.analysis",
        "modeling_cde.whole_files",
        "modeling_cde.cli",
    ],
    "modeling_cde.cards.hub": [],
    "modeling_cde.cards.pushing": [
        "modeling_cde.cards.hub",
        "modeling_cde.cards.checkpoint_files",
        "modeling_cde.training.lora",
    ],
    "data_scripts": [
        "data_scripts",
        "modeling_cde.models.limits_cde",
        "modeling_cde.data",
        "modeling_cde.cards.hub",
        "modeling_cde.models.pictures_cde",
        "modeling_cde.whole_files",
        "modeling_cde.cli",
    ],
    # What is done to episodes with a trained model; no build needs one.
    "data_scripts.episodes.label": ["data_scripts", "modeling_cde.models"],
    "data_scripts.episodes.audit": ["data_scripts", "modeling_cde.analysis.page", "modeling_cde.whole_files"],
    "benchmarks": ["benchmarks", "data_scripts", "modeling_cde"],
}

# What a machine has that can load a checkpoint: Transformers brings numpy and safetensors.
HUB_LIBRARIES = {"torch", "transformers", "numpy", "PIL", "safetensors", *sys.stdlib_module_names}
HUB_FILES = sorted((ROOT / PACKAGE / "models").glob("*_cde.py"))


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
    return {name for name in imports(file) if name.split(".")[0] in (*FOLDERS, "train", "fit")}


def sources(*folders: str) -> list[Path]:
    return [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]


def within(name: str, *allowed: str) -> bool:
    return any(name == item or name.startswith(f"{item}.") for item in allowed)


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The sets of two or more modules that each import all others of their set, directly or by way of others."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        found, waiting = set(), [start]
        while waiting:
            new = graph.get(waiting.pop(), set()) - found
            found |= new
            waiting += new
        reached[start] = found
    sets = {frozenset({a, *(b for b in reached[a] if a in reached.get(b, ()))}) for a in graph if a in reached[a]}
    return [set(item) for item in sets if len(item) > 1]


@pytest.mark.parametrize("file", sources(*FOLDERS), ids=module_name)
def test_a_module_imports_only_what_its_wing_may(file):
    name = module_name(file)
    rule = max((key for key in MAY_IMPORT if within(name, key)), key=len)
    if rule == PACKAGE:
        assert name == PACKAGE, f"give {name} a line in MAY_IMPORT"
    wrong = {item for item in local(file) if not within(item, *MAY_IMPORT[rule])}
    assert not wrong, f"{name} imports {', '.join(sorted(wrong))}, which {rule} may not"


def test_every_rule_is_of_a_module():
    assert not [name for name in MAY_IMPORT if not is_module(name)]
    assert not [name for names in MAY_IMPORT.values() for name in names if not is_module(name)]


def test_nothing_imports_in_circles():
    """Also not inside of functions, nor for type checks alone: what is read together belongs together."""
    graph = {module_name(file): local(file) for file in sources(*FOLDERS)}
    found = circles(graph)
    assert not found, "; ".join(", ".join(sorted(circle)) for circle in found)


def test_splits_are_pure():
    """Beside this project they import the standard library and NumPy: a split can be read and run by itself."""
    files = sources(f"{PACKAGE}/data/splits")
    assert len(files) > 4
    for file in files:
        assert {name.split(".")[0] for name in imports(file)} <= {PACKAGE, "numpy", *sys.stdlib_module_names}, file


@pytest.mark.parametrize("file", HUB_FILES, ids=module_name)
def test_hub_files_import_only_each_other(file):
    hub_files = {module_name(other) for other in HUB_FILES}
    assert local(file) <= hub_files
    assert {item.split(".")[0] for item in imports(file)} <= HUB_LIBRARIES | {PACKAGE}
    # Transformers copies what this expression finds in the text, docstrings included, flat from the same folder.
    copied = re.findall(r"^\s*from\s+\.(\S*)\s+import", file.read_text(), flags=re.MULTILINE)
    assert {f"{PACKAGE}.models.{other}" for other in copied} <= hub_files
    assert f"import {PACKAGE}" not in file.read_text() and f"from {PACKAGE}" not in file.read_text()


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


def test_circles_are_found_however_long():
    chain = {"a": {"b"}, "b": {"c", "x"}, "c": {"a"}, "x": {"y"}, "y": set(), "itself": {"itself"}}
    assert circles(chain) == [{"a", "b", "c"}]
    assert circles({**chain, "c": set()}) == []
    assert circles({**chain, "y": {"x"}}) in ([{"a", "b", "c"}, {"x", "y"}], [{"x", "y"}, {"a", "b", "c"}])
