"""What SECURITY.md promises: nothing is unpickled, no code runs unasked.

One part reads every source, one part tries hostile files in every place where a file is read. What is sent, and what
the interpreter reports of a whole run of the commands: `test_network.py`.
"""

import ast
import json
import pickle
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("modeling_cde", "data_scripts", "benchmarks", "space", "metric", "fuzz", "train.py")

PICKLING = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
#: Calls that do not stand in the product; those that end in read_pickle, to_pickle and load_from_disk do not, either.
FORBIDDEN = ("torch.save", "np.load", "numpy.load", "yaml.load", "yaml.full_load", "yaml.unsafe_load", "os.system")
FORBIDDEN += ("pickle.load", "pickle.loads", "os.popen", "eval", "exec", "compile", "__import__")
#: Tests write what a stranger would, and load what they have just published; some files may more, and why is in them.
TESTS_MAY = {"import pickle", "torch.save", "trust_remote_code=True"}
#: A build hands its source to its own worker processes as a pickle. Nothing of that is read from a file.
SOME_SOURCES_MAY = {"data_scripts/builds/worker.py": {"import pickle"}}
SOME_TESTS_MAY = {
    "data_scripts/fake_source.py": {"pickle.loads"},  # a source as a worker gets it
    "features/test_store.py": {"pickle.loads"},  # parts as a loader's worker gets them
    "test_fuzz.py": {"pickle.loads"},  # in a reader that does what none may
    "training/test_distributed.py": {"torch.load"},  # what its own processes found
    "test_imports.py": {"exec", "pickle.loads"},  # of our own names and classes
    "hub_client.py": {"exec"},  # pieces of code for a client of the Hub, and what the documents show
    "data/building/test_publishing.py": {"exec"},
    "docs/reader.py": {"exec", "compile"},
    "cards/test_model_card.py": {"compile"},
    "analysis/plots/test_style.py": {"__import__"},
}


def sources(*names):
    """Every Python file below these folders, and these files."""
    found = [
        path for name in names for path in ([ROOT / name] if name.endswith(".py") else (ROOT / name).rglob("*.py"))
    ]
    assert found
    return sorted(found)


def called(node):
    """The dotted name that is called."""
    parts = []
    node = node.func
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([*([node.id] if isinstance(node, ast.Name) else [""]), *parts[::-1]])


def unsafe(text):
    """What of a Python file could run code that a file brings along."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found |= {f"import {name.split('.')[0]}" for name in names if name.split(".")[0] in PICKLING}
        elif isinstance(node, ast.Call):
            name = called(node)
            given = {word.arg: getattr(word.value, "value", ...) for word in node.keywords}
            if name in FORBIDDEN or name.split(".")[-1] in ("read_pickle", "to_pickle", "load_from_disk"):
                found.add(name)
            if name.endswith("torch.load") and given.get("weights_only") is not True:
                found.add("torch.load")
            for word, allowed in (("allow_pickle", False), ("shell", False), ("trust_remote_code", False)):
                if word in given and given[word] is not allowed and given[word] is not ...:
                    found.add(f"{word}={given[word]}")
    return found


def test_no_source_can_run_what_a_file_brings_along():
    for path in sources(*PRODUCT):
        assert unsafe(path.read_text()) <= SOME_SOURCES_MAY.get(path.relative_to(ROOT).as_posix(), set()), path
    for path in sources("tests"):
        allowed = TESTS_MAY | SOME_TESTS_MAY.get(path.relative_to(ROOT / "tests").as_posix(), set())
        assert unsafe(path.read_text()) <= allowed, path


def test_the_reading_of_sources_sees_what_it_should():
    bad = "import pickle", "from joblib import load", "torch.load(x)", "torch.load(x, weights_only=False)", "eval(x)"
    bad += "yaml.load(x)", "np.load(x, allow_pickle=True)", "subprocess.run(x, shell=True)", "pd.read_pickle(x)"
    bad += "AutoModel.from_pretrained(x, trust_remote_code=True)", "np.load(x)", "torch.save(x, y)", "__import__(x)"
    assert all(unsafe(line) for line in bad)
    good = "yaml.safe_load(x)", "torch.load(x, weights_only=True)", "model.eval()", "f(trust_remote_code=False)"
    assert not any(unsafe(line) for line in (*good, "re.compile(x)", "torch.compile(x)", "f(trust_remote_code=trust)"))


def test_wherever_remote_code_is_shown_the_page_says_to_read_and_pin_it():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("model_cards/*/README.md")]
    pages += [*ROOT.glob("modeling_cde/cards/*.md"), *ROOT.glob("space/*.md")]
    shown = [page for page in pages if "trust_remote_code=True" in page.read_text()]
    assert len(shown) >= 10
    for page in shown:
        assert re.search(r"`?revision`?", page.read_text()), f"{page} shows trust_remote_code=True and no revision"


# --- what is tried ----------------------------------------------------------------------------------------------


class Bomb:
    """Makes a folder where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.mark),)


@pytest.fixture
def bomb(tmp_path):
    """Bytes that leave a mark where they are unpickled, as a plain pickle and as `torch.save` writes them."""
    import io

    import torch

    mark = tmp_path / "mark"
    file = io.BytesIO()
    torch.save(Bomb(mark), file)
    yield pickle.dumps(Bomb(mark)), file.getvalue()
    assert not mark.exists(), "a hostile pickle was read"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "adapter_model.bin", "model.safetensors", "training_args.bin"])
def test_a_pickle_among_a_checkpoints_files_is_never_read(checkpoint, tmp_path, bomb, name):
    from modeling_cde import CDEForActionClassification
    from modeling_cde.models.load_model import load_action_model

    folder = tmp_path / "hostile"
    shutil.copytree(checkpoint, folder)
    if name == "adapter_model.bin":
        (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "x"}))
    if name != "training_args.bin":
        (folder / "model.safetensors").unlink()
    for content in bomb:
        (folder / name).write_bytes(content)
        for load in (CDEForActionClassification.from_pretrained, load_action_model):
            try:
                load(str(folder))
            except (OSError, ValueError) as error:
                assert len(str(error).splitlines()) == 1, error
            else:
                assert name == "training_args.bin"


def test_a_pickle_among_data_files_is_never_read(tmp_path, bomb):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    from data_scripts.epic_kitchens.csv_tables import read_rows
    from data_scripts.episodes.listing import read_listing
    from modeling_cde.data import load_pairs
    from modeling_cde.training.checkpoints.state_file import read_state

    for content in bomb:
        for name in ("a.pkl", "a.npy", "a.npz", "a.pt", "a.csv", "a.parquet", "a.jsonl", "a.h5", "a.joblib"):
            path = tmp_path / name
            path.write_bytes(content)
            for read in (read_listing, lambda path: list(read_rows(path, ("narration_id",))), read_state):
                with pytest.raises(ValueError):
                    read(path)
        folder = tmp_path / "folder"
        for name in ("train.pkl", "train.pickle", "single/train-00000.parquet", "data.tar"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        with pytest.raises((ValueError, OSError)):
            load_pairs(folder, "single_comp", cache_dir=tmp_path / "cache")
        shutil.rmtree(folder)

    # An extension type that older versions of Arrow unpickled when they read a schema.
    told = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": bomb[0]}
    schema = pa.schema([pa.field("before", pa.string(), metadata=told)])
    table = tmp_path / "pairs.parquet"
    parquet.write_table(pa.table({"before": ["a.png"]}, schema=schema), table)
    with pytest.raises(ValueError):
        read_listing(table)
