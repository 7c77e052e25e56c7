"""The store on disk: parts are whole or absent, checked, found by their keys, and bounded."""

import hashlib
import json
import os
import pickle
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save

from modeling_cde.features import store as store_module
from modeling_cde.features.store import FeatureStore, Parts
from tests.features.stored_parts import DESCRIPTION, features, filled, found, keys, rows_at


def test_what_is_added_is_found_by_a_new_process_under_the_same_description_only(tmp_path):
    filled(tmp_path, (1, 2, 3), (4,))
    assert found(tmp_path, 4, 2, 9, 2) == [4, 2, None, 2]
    assert found(tmp_path, 1, description=DESCRIPTION | {"layers": [1]}) == [None]
    (told,) = tmp_path.glob("*/description.json")
    assert json.loads(told.read_text()) == DESCRIPTION
    assert FeatureStore(tmp_path).reading(DESCRIPTION).exists()
    assert not FeatureStore(tmp_path).reading({}).exists() and not FeatureStore(tmp_path / "none").reading({}).exists()


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    asked=st.lists(st.integers(0, 99), min_size=1, max_size=12),
)
def test_any_rows_in_any_order_are_those_of_the_parts(tmp_path_factory, sizes, asked):
    """Against parts that are read row by row."""
    folder, first = tmp_path_factory.mktemp("parts"), 0
    for size in sizes:
        filled(folder, range(first, first + size))
        first += size
    reading = FeatureStore(folder).reading(DESCRIPTION)
    wanted = keys(*(number % first for number in asked))
    reading.refresh(wanted)
    places = [reading.places[key] for key in wanted]
    expected = [load_file(reading.parts.files[part])["features"][row] for part, row in places]
    rows = rows_at(reading.parts, places)
    assert torch.equal(rows, torch.stack(expected))
    assert rows[:, 0, 0].tolist() == [number % first for number in asked]


@pytest.mark.parametrize("stop", range(1, 10))
def test_a_kill_at_any_write_leaves_whole_parts(tmp_path, monkeypatch, stop):
    """Description and two parts: each is flushed to the disk, named, and its name is flushed."""
    steps = []

    def counted(act):
        def step(*args):
            steps.append(act)
            if len(steps) == stop:
                raise KeyboardInterrupt
            return act(*args)

        return step

    from modeling_cde import whole_files

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(whole_files.os, "replace", counted(os.replace))
        patched.setattr(whole_files.os, "fsync", counted(os.fsync))
        filled(tmp_path, (1, 2), (3, 4))
        raise AssertionError("fewer writes than expected")
    there = found(tmp_path, 1, 2, 3, 4)
    assert there in ([None] * 4, [1, 2, None, None], [1, 2, 3, 4])
    filled(tmp_path, (1, 2), (3, 4))
    assert found(tmp_path, 1, 2, 3, 4) == [1, 2, 3, 4]


def test_a_flipped_bit_anywhere_is_noticed_and_costs_that_part_alone(tmp_path):
    first, second = filled(tmp_path, (1, 2), (3, 4))
    whole = second.read_bytes()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        second.write_bytes(damaged)
        with pytest.warns(UserWarning, match=f"{second.name} is damaged: it is removed"):
            assert found(tmp_path, 1, 2, 3, 4) == [1, 2, None, None]
        assert not second.exists() and first.exists()
    for short in (0, 5, len(whole) - 1):
        second.write_bytes(whole[:short])
        with pytest.warns(UserWarning, match="is damaged"):
            assert found(tmp_path, 3) == [None]


def test_what_is_open_can_be_read_after_another_process_has_removed_it(tmp_path):
    (path,) = filled(tmp_path, (1, 2))
    reading = FeatureStore(tmp_path).reading(DESCRIPTION)
    reading.refresh(keys(1))
    path.unlink()
    reading.refresh(keys(1, 2))
    assert rows_at(reading.parts, [reading.places[key] for key in keys(2, 1)])[:, 0, 0].tolist() == [2, 1]
    assert not path.exists()  # telling when it was read has not made it again


def test_what_was_removed_before_it_was_opened_is_absent(tmp_path):
    path, _ = filled(tmp_path, (1, 2), (3,))
    reading = FeatureStore(tmp_path).reading(DESCRIPTION)
    reading.refresh([])  # knows both parts, and has opened none
    path.unlink()
    reading.refresh(keys(1, 2, 3))
    assert set(reading.places) == set(keys(3)) and not path.exists()  # looking at it has not made it again


def test_worker_processes_get_names_of_files_and_no_numbers(tmp_path):
    (path,) = filled(tmp_path, range(100))
    parts = Parts([str(path)])
    parts.open(0)
    message = pickle.dumps(parts)
    assert len(message) < 300
    assert rows_at(pickle.loads(message), [(0, 7)])[0, 0, 0] == 7


def test_a_disk_that_is_full_gets_one_sentence_and_leaves_what_was_there(tmp_path, monkeypatch):
    filled(tmp_path, (1,))

    @contextmanager
    def full(path, shared):
        raise OSError(f"{path} could not be written (No space left on device): what was there before is unchanged.")
        yield

    with monkeypatch.context() as patched:
        patched.setattr(store_module, "write_whole", full)
        with pytest.raises(OSError, match="No space left"):
            filled(tmp_path, (2,))
    assert found(tmp_path, 1, 2) == [1, None]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_no_numbers_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match="NaN or infinite: check its weights and precision"):
        FeatureStore(tmp_path).reading(DESCRIPTION).add(keys(1), torch.tensor([[[value]]]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("spoil", "kept"),
    [
        (lambda table, values: (table, values * float("nan")), False),
        (lambda table, values: (table, values + float("inf")), False),
        (lambda table, values: (table, values[:1]), False),
        (lambda table, values: (table, values.fill_(2e38)), True),  # finite, and their sum is not
    ],
)
def test_a_part_that_another_program_wrote_is_read_if_it_has_a_finite_feature_for_each_key(tmp_path, spoil, kept):
    (path,) = filled(tmp_path, (1, 2))
    parts = load_file(path)
    table, values = spoil(parts["keys"], parts["features"])
    content = save({"keys": table, "features": values.contiguous()})
    path.unlink()
    path.with_name(f"{hashlib.sha256(content).hexdigest()}.safetensors").write_bytes(content)
    with nullcontext() if kept else pytest.warns(UserWarning, match="is damaged: it is removed"):
        assert (found(tmp_path, 1) != [None]) == kept


@pytest.mark.parametrize(("written", "other"), [("description.json", 2), ("safetensors", 1)])
def test_two_processes_that_write_the_same_file_do_not_disturb_each_other(tmp_path, monkeypatch, written, other):
    """The second process begins, and ends, before the first one has given its file the name."""
    write, nested = store_module.write_whole, []

    @contextmanager
    def interrupted(path, **options):
        with write(path, **options) as temporary:
            yield temporary
            if not nested and path.name.endswith(written):
                nested.append(True)
                filled(tmp_path, (other,))

    monkeypatch.setattr(store_module, "write_whole", interrupted)
    filled(tmp_path, (1,))
    assert found(tmp_path, 1, other) == [1, other] and nested


def test_a_store_lies_in_the_cache_and_holds_20_gb_where_nothing_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "cache_folder", lambda: tmp_path)
    store = FeatureStore()
    assert (store.folder, store.limit, store.encoded, store.found) == (tmp_path / "features", 20_000_000_000, 0, 0)
    assert FeatureStore(str(tmp_path), 0.5).folder == tmp_path and FeatureStore(tmp_path, 0.5).limit == 500_000_000


def test_a_description_is_what_it_says_and_not_how_it_is_written(tmp_path):
    store = FeatureStore(tmp_path)
    one = store.reading({"a": 1, "b": {"d": 2, "c": Path("x")}})
    assert store.reading({"b": {"c": "x", "d": 2}, "a": 1}) is one is not store.reading({"a": 2})
    assert one.folder.parent == tmp_path and len(one.folder.name) == 20
    assert FeatureStore(tmp_path).reading({"a": 1, "b": {"d": 2, "c": "x"}}).folder == one.folder


def test_a_store_that_another_version_has_filled_is_found(tmp_path):
    """Else what took hours would be encoded again: the names of folders and the form of parts stay."""
    (path,) = filled(tmp_path, (1, 2))
    assert path.parent.name == "dd307c87f57a63344c18"
    parts = load_file(path)
    assert parts["keys"].dtype == torch.uint8 and parts["keys"].shape == (2, 32)
    assert torch.equal(parts["features"], features(1, 2))


def test_a_pair_counts_once_however_often_a_run_asks_for_it(tmp_path):
    store = FeatureStore(tmp_path)
    store.count(keys(1, 2, 3), keys(1))
    assert (store.encoded, store.found) == (1, 2)
    store.count(keys(1, 2, 3), [])  # found again: the first time it was encoded
    store.count(keys(3, 4, 5), keys(5))
    assert (store.encoded, store.found) == (2, 3)


def test_what_is_wanted_is_opened_and_nothing_else(tmp_path):
    filled(tmp_path, (1, 2), (3,), (2, 4))
    reading = FeatureStore(tmp_path).reading(DESCRIPTION)
    reading.refresh([])
    assert set(reading.places) == set(keys(1, 2, 3, 4)) and not reading.used and not reading.parts._open
    before = dict(reading.places)
    reading.refresh(keys(3, 9))
    files = [str(path) for path in reading.used]
    assert files == [reading.parts.files[number] for number in reading.parts._open] and len(files) == 1
    assert reading.places == before and len(reading.parts.files) == 3  # known parts are not read again
    reading.refresh(keys(2))
    assert len(reading.used) == 2 and rows_at(reading.parts, [reading.places[keys(2)[0]]])[0, 0, 0] == 2


def test_a_store_that_may_only_be_read_is_read(tmp_path, monkeypatch):
    filled(tmp_path, (1,))

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store_module.os, "utime", refuse)
    assert found(tmp_path, 1) == [1]
