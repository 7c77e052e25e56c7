"""Shared fixtures: everything runs offline on tiny models that are built from their configuration, on one thread."""

import gc
import os
import sys

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("HF_EVALUATE_OFFLINE", "1")
# Tests run side by side, one on each core. With more threads than cores they wait for each other, mostly by spinning:
# tiny models take a multiple of their time. Read where torch is imported, also by child processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(autouse=True, scope="module")
def imports_are_no_garbage():
    """Transformers' Trainer collects garbage before it trains: half a second for all that was imported, every time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def one_thread():
    """A training in the test's process takes all cores; what follows it gets one again."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and os.environ["OMP_NUM_THREADS"] == "1" and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
