"""Runs that are stopped, run out of room, or share a store with others lose nothing and wait for nobody for ever."""

import copy
import multiprocessing
import os
import socket

import pytest
import torch
from accelerate import PartialState
from safetensors.torch import load_file, save_file

from modeling_cde.features import keep as keep_module
from modeling_cde.features.kept_pairs import pair_keys
from modeling_cde.features.store import FeatureStore, Reading
from tests.features.stored_pairs import WHOLE, expected, features, frozen, kept, pairs


def test_a_run_that_is_stopped_goes_on_with_what_is_missing(tmp_path, monkeypatch, encoded):
    monkeypatch.setattr(keep_module, "PART_ROWS", 5)
    add, added = Reading.add, []

    def stopping(self, *args):
        if len(added) == 3:
            raise KeyboardInterrupt
        added.append(args)
        add(self, *args)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Reading, "add", stopping)
        kept(frozen(), pairs(), FeatureStore(tmp_path), batch_size=5)
    parts = sorted(tmp_path.glob("*/*.safetensors"))
    assert len(parts) == 3
    parts[1].write_bytes(parts[1].read_bytes()[:-3])
    encoded.clear()
    with pytest.warns(UserWarning, match="is damaged"):
        read = kept(frozen(), pairs(), FeatureStore(tmp_path), batch_size=5)
    assert sum(encoded) == 24 - 2 * 5
    assert torch.allclose(features(read), expected(frozen(), pairs()), atol=1e-6)


def test_pairs_that_do_not_fit_are_refused_before_any_is_encoded(tmp_path, encoded):
    kept(frozen(), pairs(4), FeatureStore(tmp_path))
    used = sum(path.stat().st_size for path in tmp_path.glob("*/*.safetensors"))
    encoded.clear()
    small = FeatureStore(tmp_path, limit_gb=(used + 19 * 2 * 32 * 4) / 1e9)
    with pytest.raises(ValueError, match=r"may take 6.*e-06 GB: raise --feature_store_gb") as error:
        kept(frozen(), pairs(), small)
    assert "\n" not in str(error.value) and not encoded
    kept(frozen(), pairs(23), FeatureStore(tmp_path, limit_gb=small.limit / 1e9))
    assert sum(encoded) == 19


def test_the_limit_removes_another_reading_and_what_it_held_is_encoded_again(tmp_path, encoded):
    kept(frozen(), pairs(), FeatureStore(tmp_path))
    kept(frozen(pooling="mean"), pairs(), FeatureStore(tmp_path, limit_gb=1e-5))
    assert len(list(tmp_path.glob("*/*.safetensors"))) == 1
    kept(frozen(pooling="mean"), pairs(), FeatureStore(tmp_path, limit_gb=1e-5))
    assert sum(encoded) == 48
    kept(frozen(), pairs(), FeatureStore(tmp_path))
    assert sum(encoded) == 72


def test_features_can_be_read_after_another_run_has_removed_them(tmp_path):
    read = kept(frozen(), pairs(), FeatureStore(tmp_path))
    for path in tmp_path.glob("*/*"):
        path.unlink()
    for rows in (read.select(range(24)), copy.deepcopy(read)):
        assert torch.allclose(features(rows), expected(frozen(), pairs()), atol=1e-6)


def test_what_one_process_lacks_all_encode(tmp_path, monkeypatch, encoded):
    """Else they would share the work differently, and wait for each other for ever."""
    kept(frozen(), pairs(6), FeatureStore(tmp_path))
    others = [[pair_keys(pairs(6), WHOLE)[4]], []]
    monkeypatch.setattr(keep_module, "gather_object", lambda own: own + others.pop(0))
    kept(frozen(), pairs(7), FeatureStore(tmp_path))
    assert sum(encoded) == 6 + 2 and not others


def test_what_another_run_removes_meanwhile_is_encoded_again_and_not_for_ever(tmp_path, monkeypatch, encoded):
    store, rows = FeatureStore(tmp_path), pairs(6)
    encode, times = keep_module._encode_missing, []

    def emptied(*args):
        encode(*args)
        if len(times) < monkeypatch_until:
            times.append(1)
            for path in tmp_path.glob("*/*.safetensors"):
                path.unlink()

    monkeypatch.setattr(keep_module, "_encode_missing", emptied)
    monkeypatch_until = 1
    assert torch.allclose(features(kept(frozen(), rows, store)), expected(frozen(), rows), atol=1e-6)
    assert sum(encoded) == 12
    monkeypatch_until = 99
    with pytest.raises(OSError, match="a folder by --feature_store that all processes share"):
        kept(frozen(pooling="mean"), rows, store)


def fill(folder, name, environment):
    """One of two processes: what it read, the number of clips that it encoded, and what it counted."""
    os.environ |= environment
    PartialState._reset_state()
    torch.set_num_threads(1)
    keep_module.PART_ROWS = 3  # many parts, so that the two get into each other's way
    clips, call = [], keep_module.Encoder.__call__
    keep_module.Encoder.__call__ = lambda self, pixels: clips.append(len(pixels)) or call(self, pixels)
    store = FeatureStore(folder / "store")
    rows = kept(frozen(), pairs(41), store, batch_size=4)
    found = {"features": features(rows), "clips": sum(clips), "counted": [store.encoded, store.found]}
    kept(frozen(), pairs(41), FeatureStore(folder / "store"))
    counts = torch.tensor([found["clips"], *found["counted"], sum(clips) - found["clips"]])
    save_file({"features": found["features"], "counts": counts}, folder / f"{name}.safetensors")


def filled_by_two(folder, **shared):
    """What two processes found that worked at the same time; forked, because importing takes longer than the test."""
    fork = multiprocessing.get_context("fork")
    ranks = [shared and {"RANK": name, "LOCAL_RANK": name} for name in ("0", "1")]
    both = [fork.Process(target=fill, args=(folder, name, shared | ranks[name])) for name in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
        process.kill()
    assert [process.exitcode for process in both] == [0, 0]
    assert not list((folder / "store").glob("*/tmp-*"))
    answers = [load_file(folder / f"{name}.safetensors") for name in (0, 1)]
    counted = [(answer["features"], answer["counts"].tolist()) for answer in answers]
    return [
        {"features": read, "clips": clips, "counted": [encoded, found], "again": again}
        for read, (clips, encoded, found, again) in counted
    ]


def test_two_runs_fill_one_store_at_the_same_time(tmp_path):
    right = expected(frozen(), pairs(41))
    for found in filled_by_two(tmp_path):
        assert torch.allclose(found["features"], right, atol=1e-6) and found["again"] == 0


def test_two_processes_of_a_run_share_the_work_and_get_the_same_rows(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    first, second = filled_by_two(tmp_path, **shared, ACCELERATE_USE_CPU="true")
    assert torch.equal(first["features"], second["features"])
    assert torch.allclose(first["features"], expected(frozen(), pairs(41)), atol=1e-6)
    assert sorted([first["clips"], second["clips"]]) == [20 + 1, 21 + 1]  # and a black one each that tells the size
    assert first["counted"] == second["counted"] == [41, 0]
    assert first["again"] == second["again"] == 0
