"""The room that a store takes: what is removed for it, in which order, and what stays."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from modeling_cde.features import store as store_module
from modeling_cde.features.store import FeatureStore
from tests.features.stored_parts import DESCRIPTION, aged, filled, found, keys


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
    filled(tmp_path, (1,))
    with pytest.raises(ValueError, match="has 1e-08 GB left"):
        FeatureStore(tmp_path).make_room(11)


def test_what_another_process_has_just_removed_is_gone(tmp_path, monkeypatch):
    (path,) = filled(tmp_path, (1,))
    path.with_name("gone.safetensors").symlink_to("nothing")  # as a file between its listing and a look at it
    unlink = Path.unlink

    def late(own, missing_ok=False):
        os.remove(own)
        unlink(own, missing_ok)

    monkeypatch.setattr(Path, "unlink", late)
    FeatureStore(tmp_path, limit_gb=1e-9).make_room(1)
    assert not path.exists()
    os.remove(path.with_name("gone.safetensors"))
    (path,) = filled(tmp_path, (2,))
    path.write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="is damaged"):
        assert found(tmp_path, 2) == [None]


@pytest.mark.parametrize(("hours", "stays"), [(23.9, True), (24.1, False)])
def test_a_temporary_file_is_left_alone_for_a_day(tmp_path, hours, stays):
    (part,) = filled(tmp_path, (1,))
    path = part.with_name("tmp-1.safetensors")
    path.touch()
    for file in (path, part):
        os.utime(file, (time.time() - hours * 3600,) * 2)
    FeatureStore(tmp_path).make_room(1)
    assert path.exists() == stays and part.exists()
