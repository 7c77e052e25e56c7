"""The store on disk: parts are whole or absent, checked, found by their keys, and bounded."""

import hashlib
import json
import os
import pickle
from contextlib import contextmanager, nullcontext
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
