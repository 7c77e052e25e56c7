"""A state in one safetensors file: bit for bit, whatever its depth, and never a pickle."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from modeling_cde.training.checkpoints.state_file import read_state, write_state


def test_a_state_comes_back_bit_for_bit(tmp_path):
    shared = torch.randn(3)
    state = {
        "state": {0: {"step": torch.tensor(3.0), "exp_avg": shared, "same": shared}, 1: {"half": shared.bfloat16()}},
        "param_groups": [{"lr": 0.1 + 0.2, "betas": (0.9, 0.999), "foreach": None, "big": 2**70, "name": "ä"}],
        "numpy": np.random.get_state(),
        "empty": {"<tensor>": torch.zeros(0), "not": [float("inf")]},
        "a.b": torch.ones(1),
        "a": {"b": torch.zeros(1)},
        "scalar": np.float64(0.1),
    }
    write_state(tmp_path / "x.safetensors", state)
    back = read_state(tmp_path / "x.safetensors")
    assert back["param_groups"] == state["param_groups"] and back["scalar"] == 0.1
    assert back["state"].keys() == {0, 1} and torch.equal(back["state"][0]["same"], shared)
    assert torch.equal(back["state"][1]["half"], shared.bfloat16())
    assert np.array_equal(back["numpy"][1], state["numpy"][1]) and isinstance(back["numpy"], tuple)
    assert back["empty"]["<tensor>"].shape == (0,) and back["empty"]["not"] == [float("inf")]
    assert (back["a.b"], back["a"]["b"]) == (1, 0)


def test_a_state_that_only_a_pickle_could_hold_is_refused(tmp_path):
    with pytest.raises(TypeError, match="groups.0.lr is a function, which cannot be saved without pickle"):
        write_state(tmp_path / "x.safetensors", {"groups": [{"lr": lambda: 1}]})
    (tmp_path / "y.safetensors").write_bytes(pickle.dumps({"state": {}}))
    for name in ("y.safetensors", "none.safetensors"):
        with pytest.raises(ValueError, match=f"{name} has no readable state of a training"):
            read_state(tmp_path / name)


KEYS = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=3)
KEYS |= st.sampled_from(["<tensor>", "<tuple>", "<items>", "a.b", "a"])
TENSORS = st.sampled_from([torch.zeros(0), torch.tensor(1), torch.ones(2, 3).bfloat16(), torch.arange(6).view(2, 3).T])
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
STATES = st.recursive(
    PLAIN | TENSORS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)


def same(one, other):
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(
            type(a) is type(b) and same(one[a], other[b]) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@settings(max_examples=80, deadline=None)
@given(state=STATES)
def test_any_state_comes_back_as_it_was(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("states") / "x.safetensors"
    write_state(path, state)
    assert same(state, read_state(path))


def test_tensors_are_named_by_their_places_and_kept_on_the_cpu(tmp_path):
    path, x = tmp_path / "x.safetensors", torch.randn(3, requires_grad=True)
    write_state(path, {"state": {0: [x, (x,)]}, "state.0.0": x, "": [x]})
    with safe_open(path, "pt") as file:
        names = set(file.keys())
    assert {"state.0.0", "state.0.1.0"} < names and len(names) == 4
    assert not read_state(path)["state"][0][0].requires_grad


@pytest.mark.parametrize(("value", "place"), [(object(), "the state"), ([object()], "0"), ((1, {2: set()}), "1.2")])
def test_what_cannot_be_saved_is_said_with_its_place(tmp_path, value, place):
    with pytest.raises(TypeError, match=f"^{place} is a (object|set), which cannot be saved without pickle"):
        write_state(tmp_path / "x.safetensors", value)
    with pytest.raises(TypeError, match="a.b is a dict"):
        write_state(tmp_path / "x.safetensors", {"a": {"b": {(1, 2): 3}}})
    assert not list(tmp_path.iterdir())
