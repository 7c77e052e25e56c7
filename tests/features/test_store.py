"""The store on disk: parts are whole or absent, checked, found by their keys, and bounded."""

import hashlib
import json
import os
import pickle
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save

from modeling_cde.features import store as store_module
from modeling_cde.features.store import FeatureStore, Parts

DESCRIPTION = {"weights": "1", "layers": [1, 2]}


def keys(*numbers):
    return [hashlib.sha256(str(number).encode()).digest() for number in numbers]


def features(*numbers):
    """What is kept of the clip with a number: (2, 3) of it."""
    return torch.tensor(numbers, dtype=torch.float32)[:, None, None].expand(-1, 2, 3).contiguous()


def rows_at(parts, places):
    """The features at places of a part's number and a row each."""
    return parts.rows(*torch.tensor(places).unbind(1))


def filled(folder, *parts, description=DESCRIPTION):
    """A store with parts of these numbers."""
    reading = FeatureStore(folder).reading(description)
    for numbers in parts:
        reading.add(keys(*numbers), features(*numbers))
    return sorted(folder.glob("*/*.safetensors"), key=lambda path: path.stat().st_mtime_ns)


def found(folder, *numbers, description=DESCRIPTION):
    """The features of clips that a new process finds, in this order; None for what is absent."""
    reading = FeatureStore(folder).reading(description)
    reading.refresh(keys(*numbers))
    places = [reading.places.get(key) for key in keys(*numbers)]
    return [place and rows_at(reading.parts, [place])[0, 0, 0].item() for place in places]


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


def aged(*paths):
    """The first was read longest ago."""
    for age, path in enumerate(reversed(paths)):
        os.utime(path, (1e9 - age, 1e9 - age))


def test_what_was_read_longest_ago_is_removed_first_and_never_what_is_used(tmp_path):
    files = filled(tmp_path, (1,), (2,), (3,), (4,))
    aged(*files)
    size = files[0].stat().st_size
    store = FeatureStore(tmp_path, limit_gb=4.5 * size / 1e9)
    store.reading(DESCRIPTION).refresh(keys(1))  # used now
    aged(*files)  # as by a clock that is late
    store.make_room(size)
    assert [path.exists() for path in files] == [True, False, True, True]
    store.make_room(3 * size)
    assert [path.exists() for path in files] == [True, False, False, False]
    with pytest.raises(ValueError, match="raise --feature_store_gb, or set it to 0") as error:
        store.make_room(4 * size)
    assert "\n" not in str(error.value) and files[0].exists()


def test_reading_is_what_keeps_a_part_from_being_removed_and_not_looking_at_it(tmp_path):
    files = filled(tmp_path, (1,), (2,))
    aged(*files)
    found(tmp_path, 1)
    size = files[0].stat().st_size
    FeatureStore(tmp_path, limit_gb=2 * size / 1e9).make_room(size)
    assert [path.exists() for path in files] == [True, False]


def test_files_of_killed_processes_go_after_a_day_and_those_of_running_ones_stay(tmp_path):
    (part,) = filled(tmp_path, (1,))
    old, young = part.with_name("tmp-1.tmp"), part.with_name("tmp-2.tmp")
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    FeatureStore(tmp_path).make_room(1)
    assert part.exists() and young.exists() and not old.exists()


def test_a_disk_without_room_is_found_before(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(ValueError, match=f"{tmp_path} has 1e-08 GB left: give another folder by --feature_store"):
        FeatureStore(tmp_path / "not" / "yet").make_room(11)


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


def test_two_descriptions_written_at_the_same_time_do_not_disturb_each_other(tmp_path, monkeypatch):
    """The second process begins, and ends, before the first one has given its description the name."""
    write, nested = store_module.write_whole, []

    @contextmanager
    def interrupted(path, **options):
        with write(path, **options) as temporary:
            yield temporary
            if not nested:
                nested.append(True)
                filled(tmp_path, (2,))

    monkeypatch.setattr(store_module, "write_whole", interrupted)
    filled(tmp_path, (1,))
    assert found(tmp_path, 1, 2) == [1, 2]


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


def test_a_pair_counts_once_however_often_a_run_asks_for_it(tmp_path):
    store = FeatureStore(tmp_path)
    store.count(keys(1, 2, 3), keys(1))
    assert (store.encoded, store.found) == (1, 2)
    store.count(keys(1, 2, 3), [])  # found again: the first time it was encoded
    store.count(keys(3, 4, 5), keys(5))
    assert (store.encoded, store.found) == (2, 3)


def test_the_limit_may_be_reached_and_not_exceeded(tmp_path):
    files = filled(tmp_path, (1,), (2,))
    aged(*files)
    size = files[0].stat().st_size
    (files[0].parent / "notes.txt").write_text("of someone")  # counts for nothing, and stays
    store = FeatureStore(tmp_path)
    store.reading(DESCRIPTION).refresh(keys(1))
    store.limit = 3 * size
    store.make_room(size)
    assert all(path.exists() for path in files)
    store.make_room(size + 1)
    assert [path.exists() for path in files] == [True, False]
    store.make_room(2 * size)
    said = rf"take {(3 * size + 1) / 1e9:.2g} GB, and the store .* may take {3 * size / 1e9:g} GB: raise --feature_st"
    with pytest.raises(ValueError, match=said):
        store.make_room(2 * size + 1)
    assert files[0].exists() and (files[0].parent / "notes.txt").exists()


def test_the_disk_may_be_filled(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda path: asked.append(path) or SimpleNamespace(free=10))
    FeatureStore(tmp_path / "not" / "yet").make_room(10)
    FeatureStore(tmp_path).make_room(10)
    assert asked == [tmp_path, tmp_path]


@pytest.mark.parametrize(("hours", "stays"), [(23.9, True), (24.1, False)])
def test_a_temporary_file_is_left_alone_for_a_day(tmp_path, hours, stays):
    (part,) = filled(tmp_path, (1,))
    path = part.with_name("tmp-1.safetensors")
    path.touch()
    for file in (path, part):
        os.utime(file, (time.time() - hours * 3600,) * 2)
    FeatureStore(tmp_path).make_room(1)
    assert path.exists() == stays and part.exists()


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
