"""Shared fixtures: everything runs offline on tiny models that are built from their configuration, on one thread.

Offline is enforced: no test, and no process that a test starts, reaches another machine (`blocked_network`).
"""

import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path
from unittest import mock

import hypothesis
import pytest

from tests.blocked_network import sitecustomize as blocked_network

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("HF_EVALUATE_OFFLINE", "1")
# Else evaluate.load, also of a folder, asks a server to count it.
os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
# As a build sets it before it imports Ray: whichever test imports Ray first, it listens to this machine alone.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
# Tests run side by side, one on each core. With more threads than cores they wait for each other, mostly by spinning:
# tiny models take a multiple of their time. Read where torch is imported, also by child processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# `--precision auto` asks the hardware; the tests state the answer, so that they check the same on every processor. Both
# answers hold: CDE_NATIVE_BF16=1 pytest. Where precision matters, a test states it.
os.environ.setdefault("CDE_NATIVE_BF16", "0")

# Children are kept off the network, too; every pytest process has a list of its own of what was tried.
BLOCKED = str(Path(__file__).with_name("blocked_network"))
if BLOCKED not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [BLOCKED, os.environ.get("PYTHONPATH")]))
OWN = Path(tempfile.mkdtemp(prefix="tests-"))
TRIES = OWN / "network"
os.environ[blocked_network.LOG] = str(TRIES)
# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")
# What the tests keep of features and weights goes to no user's cache.
os.environ["XDG_CACHE_HOME"] = str(OWN / "cache")

# Files that take long, for whatever they start: first, so that no worker is left alone with one of them at the end.
LONG = ("test_train.py", "test_distributed.py", "test_ray_tasks.py", "test_remote_code.py", "test_hub.py", "docs/")
LONG += ("space/", "test_publishing.py", "test_export.py", "test_lora.py", "test_run_units.py", "test_modeling_cde.py")


def pytest_configure(config):
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # pytest-xdist's own order: by the number of tests


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not any(name in item.nodeid.partition("::")[0] for name in LONG))


@pytest.fixture(autouse=True, scope="module")
def imports_are_no_garbage():
    """Transformers' Trainer collects garbage before it trains: half a second for all that was imported, every time."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
    shutil.rmtree(OWN, ignore_errors=True)


@pytest.fixture(autouse=True)
def nothing_calls_out():
    """Fails a test during which something tried to reach another machine, also where the error was swallowed."""
    yield
    if TRIES.exists():
        tried = TRIES.read_text(encoding="utf-8")
        TRIES.unlink()
        pytest.fail(f"something tried to reach another machine:\n{tried}")


@pytest.fixture(autouse=True, scope="session")
def a_disk_need_not_be_waited_for():
    """No test cuts the power. Files are there without it, also after a process was killed."""
    with mock.patch.object(os, "fsync"):
        yield


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """The folder of a data set of drawn pairs, which no test changes."""
    from tests.drawn_pairs import draw_data_set

    return draw_data_set(tmp_path_factory.mktemp("drawn"), pairs_of_each=6)


@pytest.fixture(scope="session")
def splits(data):
    """The parts of `data`, as a training loads them."""
    from modeling_cde.data.load_splits import load_shifts

    return load_shifts(str(data))


@pytest.fixture(autouse=True)
def one_thread():
    """A training in the test's process takes all cores; what follows it gets one again."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and os.environ["OMP_NUM_THREADS"] == "1" and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small checkpoint and its processor."""
    from modeling_cde import CDEImageProcessor
    from tests.tiny_models import tiny_cde

    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_cde("vit").save_pretrained(folder)
    CDEImageProcessor(size=32).save_pretrained(folder)
    return folder
