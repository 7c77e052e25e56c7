"""Streams: every pair once an epoch, equal shares, and the same batches after a stop, however it was stopped."""

from __future__ import annotations

import copy
import json
import threading
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
from huggingface_hub import HfFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_cde.data.building.build import assemble
from modeling_cde.data.collator import PairCollator
from modeling_cde.data.load_splits import load_shifts
from modeling_cde.data.loading import load_pairs
from modeling_cde.data.schema import SPLITS, pair_features
from modeling_cde.data.streaming import batches as stream_batches
from modeling_cde.data.streaming import parquet_rows
from modeling_cde.data.streaming.batches import StreamedBatches
from modeling_cde.data.streaming.order import Leg, StreamOrder, cut
from modeling_cde.data.streaming.pair_stream import PairStream, stream_pairs
from modeling_cde.data.streaming.parquet_rows import ParquetRows, StreamError
from modeling_cde.training.trainer import CDETrainer
from tests.data.streamed_pairs import SIZES, batches_of, named, stream_of, write_files
from tests.data.tiny_pairs import ACTIONS, OBJECTS, write_shards
from tests.hub_client import spoken_to
from tests.hub_server import Failure, HubServer, Repository
from tests.tiny_models import tiny_cde
from tests.tiny_pairs import pairs, quick

NUMBER = 53
READ = ParquetRows.read


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("streamed"))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "pairs"
    write_shards(folder, "multi", units=4, pairs=60)
    assemble(folder, "multi", seed=0, progress=False)
    return folder


# The order, as arithmetic


def positions_of(order: StreamOrder, epoch: int, legs: list[Leg], process: int, worker: int) -> list[tuple[int, int]]:
    """(row group, row) of all that one worker reads in the last leg, in its order."""
    leg = legs[-1]
    start, stop = order.share(leg, process, worker)
    pieces = cut(order.pieces(epoch, legs), start, stop)
    found = []
    for at in range(0, stop - start, order.block(leg)):
        block = [(n, row) for n, *span in cut(pieces, at, at + order.block(leg)) for row in range(*span)]
        found += [block[number] for number in order.shuffled(epoch, leg, start + at, len(block))]
    return found


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    global_batch=st.sampled_from([2, 4, 6]),
    splits=st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(1, 3), st.integers(0, 4)), min_size=1, max_size=3),
    buffer=st.integers(1, 12),
    epoch=st.integers(0, 3),
)
def test_every_pair_comes_once_whatever_numbers_a_run_goes_on_with(rows, global_batch, splits, buffer, epoch):
    """An epoch in legs, each with other numbers of processes and workers, and stopped at any batch."""
    order = StreamOrder(tuple(rows), 7, buffer)
    batches = order.batches(global_batch, 1)
    legs: list[Leg] = []
    seen: list[tuple[int, int]] = []
    done = 0
    for number, (processes, workers, more) in enumerate(splits):
        legs.append(Leg(done, global_batch // processes, processes, workers))
        upto = batches if number == len(splits) - 1 else min(done + more, batches)
        for process in range(processes):
            shares = [positions_of(order, epoch, legs, process, worker) for worker in range(workers)]
            assert sum(map(len, shares)) == (batches - done) * legs[-1].batch_size  # all processes: equally many
            for worker, share in enumerate(shares):
                taken = len(range(worker, upto - done, workers)) * legs[-1].batch_size
                seen += share[:taken]
        done = upto
    assert len(seen) == len(set(seen)) == batches * global_batch  # once each; left out is less than one batch
    assert set(seen) <= {(number, row) for number, size in enumerate(rows) for row in range(size)}


def test_epochs_differ_in_order_and_in_what_is_left_out():
    order = StreamOrder((10, 10, 10, 10), 0, 20)
    leg = Leg(0, 7, 1, 1)
    epochs = [positions_of(order, epoch, [leg], 0, 0) for epoch in range(4)]
    assert len({tuple(epoch) for epoch in epochs}) == 4 and len({frozenset(epoch) for epoch in epochs}) > 1
    assert (
        epochs[1] == positions_of(order, 1, [leg], 0, 0) != positions_of(StreamOrder((10,) * 4, 1, 20), 1, [leg], 0, 0)
    )
    in_one_group = [positions_of(StreamOrder((40,), seed, 20), 0, [leg], 0, 0) for seed in (0, 1)]
    assert in_one_group[0] != in_one_group[1]
    neighbours = sum(a[0] == b[0] and abs(a[1] - b[1]) == 1 for a, b in zip(epochs[0], epochs[0][1:], strict=False))
    assert neighbours < 10  # of 34, where files read in order have 32


# Files


@pytest.mark.parametrize(("processes", "workers"), [(1, 0), (2, 0), (3, 2)])
def test_shares_are_equal_and_a_resumed_epoch_goes_on(paths, monkeypatch, processes, workers):
    stream = PairStream(ParquetRows(paths), pair_features(ACTIONS, OBJECTS), buffer=10)

    def epoch(resumed=None):
        found = []
        for process in range(processes):
            batches = StreamedBatches(stream, named, 4, 0, process, processes, workers)
            if resumed is not None:
                batches.go_on(*resumed)
            batches.set_epoch(2)
            parts = []
            for worker in range(max(1, workers)):
                info = SimpleNamespace(id=worker, num_workers=workers) if workers else None
                monkeypatch.setattr(stream_batches, "get_worker_info", lambda info=info: info)
                parts.append(list(batches))
            # As a loader takes batches from its workers in turn.
            found.append([parts[i % len(parts)][i // len(parts)] for i in range(sum(map(len, parts)))])
        return found, batches.state()

    whole, state = epoch()
    each = NUMBER // (4 * processes)
    assert [len(batches) for batches in whole] == [each] * processes
    seen = [pair for batches in whole for batch in batches for pair in batch]
    assert len(set(seen)) == len(seen) == each * 4 * processes
    for done in (1, 2, each):
        again, _ = epoch((2, done, json.loads(json.dumps(state))))
        assert all(not batch for batches in again for batch in batches[:done])
        assert [batches[done:] for batches in again] == [batches[done:] for batches in whole]


def test_a_loader_with_workers_and_one_that_has_others_after_a_stop(paths):
    stream = stream_of(paths)
    whole, state = batches_of(stream, workers=2)
    assert len({pair for batch in whole for pair in batch}) == 52
    assert batches_of(stream, workers=2, resumed=(0, 3, state))[0][3:] == whole[3:]
    other, _ = batches_of(stream, resumed=(0, 3, state))  # without workers, now
    assert other[3:] != whole[3:]
    assert sorted(sum(whole[:3] + other[3:], [])) == sorted(sum(whole, []))
    # And once more with two: what each worker had given by then is known again.
    alone, state = batches_of(stream)
    pair, state = batches_of(stream, workers=2, resumed=(0, 3, json.loads(json.dumps(state))))
    again, _ = batches_of(stream, resumed=(0, 8, json.loads(json.dumps(state))))
    assert sorted(sum(alone[:3] + pair[3:8] + again[8:], [])) == sorted(sum(alone, []))


def test_a_resumed_stream_reads_no_more_than_the_block_it_stopped_in(paths, monkeypatch):
    stream = stream_of(paths, buffer=8)
    read: list[int] = []
    monkeypatch.setattr(
        ParquetRows,
        "read",
        lambda self, group, columns, closing=None: read.append(group.rows) or READ(self, group, columns, closing),
    )
    _, state = batches_of(stream)
    read.clear()
    batches_of(stream, resumed=(0, 12, state))  # one batch of 13 is left
    assert sum(read) <= 8 + 10


def test_only_the_columns_that_are_needed_are_read(paths):
    assert stream_of(paths).columns == ["before", "after", "action", "pair_id", "box"]
    assert PairStream(ParquetRows(paths), pair_features(ACTIONS, OBJECTS)).columns == list(
        pair_features(ACTIONS, OBJECTS)
    )
    transform = SimpleNamespace(extras=("objects", "masks"))
    assert set(stream_of(paths).with_transform(transform).columns) - set(stream_of(paths).columns) == {
        "object", "mask_before", "mask_after",
    }  # fmt: skip


def test_streamed_pairs_are_those_that_are_loaded(built, tmp_path):
    loaded = load_pairs(built, "multi_syst", "train", cache_dir=tmp_path)
    stream = stream_pairs(built, "multi_syst", buffer=16)
    assert len(stream) == len(loaded) and stream.features["action"].names == loaded.features["action"].names
    assert stream["pair_id"] == loaded["pair_id"][:]
    found = [row for batch in StreamedBatches(stream, list, 1) for row in batch]
    key = {row["pair_id"]: row for row in loaded}
    assert len(found) == len(loaded) and all(key[row["pair_id"]] == row for row in found)
    assert copy.deepcopy(stream.rows).groups == stream.rows.groups  # an open file does not go to a new process
    sample = stream.sample(20)
    assert len(sample) == 20 and all(key[row["pair_id"]] == row for row in sample)
    assert len(stream.sample(10_000)) == len(loaded)


def test_only_the_training_part_is_streamed(built, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    splits = load_shifts(str(built), "multi", stream_buffer=16)
    assert isinstance(splits["train"], PairStream) and len(splits) == 7
    assert all(len(rows) > 0 for rows in splits.values())
    copied = [path.name for path in (tmp_path / "cache").rglob("*.arrow")]
    assert copied and not [name for name in copied if "train" in name]
    parts = load_pairs(built, "multi_comp", [name for name in SPLITS if name != "train"], cache_dir=tmp_path)
    assert tuple(parts) == SPLITS[1:]


# Training


def train(folder, paths, resume=None, **options):
    model = tiny_cde("vit", seed=0 if resume is None else 1, projector_dropout=0.2, id2label=dict(enumerate(ACTIONS)))
    settings = {"per_device_train_batch_size": 4, "max_steps": 16, "dataloader_num_workers": 0}  # 13 steps an epoch
    trainer = CDETrainer(
        model, quick(folder, **settings | options), train_dataset=stream_of(paths), data_collator=PairCollator()
    )
    if resume is not None:
        torch.manual_seed(99)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


SAVING = {"save_strategy": "steps", "save_steps": 12}


@pytest.fixture(scope="module")
def whole(paths, tmp_path_factory):
    """A training that was not stopped, its checkpoint after 12 of 16 steps, and its weights."""
    folder = tmp_path_factory.mktemp("whole")
    trainer = train(folder, paths, **SAVING)
    assert trainer.num_examples(trainer.get_train_dataloader()) == NUMBER
    return str(folder / "checkpoint-12"), trainer.model.state_dict()


def assert_same(weights, trainer):
    found = trainer.model.state_dict()
    assert [name for name, value in weights.items() if not torch.equal(value, found[name])] == []


def test_a_resumed_training_ends_with_the_same_bits(tmp_path, paths, whole):
    checkpoint, weights = whole
    resumed = train(tmp_path, paths, checkpoint)
    assert resumed.state.global_step == 16
    assert_same(weights, resumed)


@pytest.mark.parametrize(
    "options",
    [
        {"gradient_accumulation_steps": 2, "max_steps": 11, "save_steps": 8},  # 7 steps an epoch
        {"dataloader_num_workers": 2, "dataloader_multiprocessing_context": "fork", "max_steps": 14},
    ],
)
def test_a_resumed_training_with_other_settings(tmp_path, paths, options):
    first = train(tmp_path, paths, **SAVING | options)
    checkpoint = str(tmp_path / f"checkpoint-{options.get('save_steps', 12)}")
    assert_same(first.model.state_dict(), train(tmp_path / "again", paths, checkpoint, **options))


def test_a_stream_that_breaks_off_leaves_a_checkpoint_from_which_training_goes_on(tmp_path, paths, whole, monkeypatch):
    last = ParquetRows(paths).groups[3]

    def broken(self, group, columns, closing=None):
        if group == last:
            raise StreamError(f"{group.path} could not be read (a test).")
        return READ(self, group, columns, closing)

    with monkeypatch.context() as patch:
        patch.setattr(ParquetRows, "read", broken)
        with pytest.raises(StreamError, match=r"\(a test\); step \d+ is saved: resume with"):
            train(tmp_path, paths)
        (checkpoint,) = tmp_path.glob("checkpoint-*")
        with pytest.raises(StreamError, match="keeps its checkpoints: resume with"):  # and it stays as it was
            train(tmp_path, paths, str(checkpoint))
    assert_same(whole[1], train(tmp_path, paths, str(checkpoint)))


def test_a_streamed_training_is_not_taken_for_a_loaded_one(tmp_path, whole):
    args = quick(tmp_path, per_device_train_batch_size=4, max_steps=16)
    model = tiny_cde("vit", projector_dropout=0.2, id2label=dict(enumerate(ACTIONS)))
    with pytest.raises(ValueError, match=r"data.streaming: true -> false; data.rows: 53 -> 64\)"):
        CDETrainer(model, args, train_dataset=pairs(64)).train(resume_from_checkpoint=whole[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "streamed with seed = 1; resume with that, not 0"),
        ({"buffer": 20}, "streamed with stream_buffer = 20; resume with that, not 10"),
        ({"fingerprint": "0"}, "files of the training part have changed"),
        (
            {"legs": [{"first": 0, "batch_size": 4, "processes": 2, "workers": 1}]},
            "per_device_train_batch_size times the number of processes = 8; resume with that, not 4",
        ),
        (None, "to a training without streaming: resume it without --streaming"),
    ],
)
def test_another_stream_is_not_taken_for_the_same(paths, change, message):
    batches = StreamedBatches(stream_of(paths), named, 4)
    state = None if change is None else batches.state() | change
    with pytest.raises(ValueError, match=message):
        batches.go_on(0, 3, state)


def test_a_stream_of_fewer_pairs_than_a_batch_is_trained_on_in_one(tmp_path, paths):
    trainer = train(tmp_path, paths, per_device_train_batch_size=64, max_steps=1)
    assert trainer.smaller_batch == "53 training pairs are fewer than a batch of 64, so a batch has 53."
    assert trainer.state.epoch == 1 and trainer.state.train_batch_size == 53


# What is wrong


def test_what_cannot_be_streamed_gets_one_sentence(built, tmp_path, paths):
    with pytest.raises(ValueError, match="has no split 'tests'; it has train, "):
        stream_pairs(built, "multi_syst", "tests")
    with pytest.raises(ValueError, match="no configuration 'single_syst'"):
        stream_pairs(built, "single_syst")
    with pytest.raises(FileNotFoundError, match="neither a folder nor a data set repository"):
        stream_pairs(tmp_path / "nowhere", "multi_syst")
    with pytest.raises(ValueError, match="stream_buffer=0 must be at least 1"):
        stream_pairs(built, "multi_syst", buffer=0)
    with pytest.raises(ValueError, match=r"53 training pairs are fewer than a batch of 30 for each of 2 processes"):
        StreamedBatches(stream_of(paths), list, 30, processes=2)
    with pytest.raises(ValueError, match="dataloader_drop_last=True"):
        train(tmp_path, paths, dataloader_drop_last=False)
    with pytest.raises(TypeError, match="A stream gives no pair by number: use it for training"):
        stream_of(paths)[3]
    with pytest.raises(ValueError, match="A stream can be trained on but not evaluated"):
        evaluated = {"validation": stream_of(paths)}
        CDETrainer(tiny_cde("vit"), quick(tmp_path), train_dataset=pairs(12), eval_dataset=evaluated).train()
    empty = write_files(tmp_path / "empty", ((),))
    with pytest.raises(ValueError, match="contain no pairs"):
        PairStream(ParquetRows(empty), pair_features(ACTIONS, OBJECTS))


def test_damaged_files_and_rows_are_named(tmp_path):
    (path,) = write_files(tmp_path, ((6, 6),))
    rows = ParquetRows([path])
    content = bytearray(open(path, "rb").read())
    with open(path, "wb") as file:
        file.write(content[: len(content) // 2])
    with pytest.raises(ValueError, match="train-0.parquet is damaged or not a Parquet file .*; build or download"):
        ParquetRows([path])
    with pytest.raises(ValueError, match="train-0.parquet is damaged or not a Parquet file"):
        rows.read(rows.groups[1], ["action"])
    (path,) = write_files(tmp_path, ((6, 6),))
    table = parquet.read_table(path)
    actions = pa.array([0] * 11 + [99], table.schema.field("action").type)
    parquet.write_table(table.set_column(2, table.schema.field("action"), actions), path, row_group_size=6)
    with pytest.raises(ValueError, match="train-0.parquet: the action of pair pair00011 is 99; it must be one"):
        list(StreamedBatches(stream_of([path]), list, 3))


def test_the_fingerprint_is_of_what_is_in_the_files_and_not_of_where_they_lie(tmp_path, paths):
    found = {}
    for name, sizes in (("same", SIZES), ("other", ((7, 7, 3), (10, 1), (6, 6, 7, 6)))):
        found[name] = stream_of(write_files(tmp_path / name, sizes)).fingerprint
    assert found["same"] == stream_of(paths).fingerprint != found["other"]
    path = write_files(tmp_path / "again")[2]
    table = parquet.read_table(path)
    changed = table.set_column(4, table.schema.field("scene"), pa.array(["another scene"] * len(table)))
    parquet.write_table(changed, path, row_group_size=7)
    assert stream_of(write_files(tmp_path / "same")).fingerprint == found["same"]
    assert stream_of([path]).fingerprint != stream_of([paths[2]]).fingerprint


def test_what_breaks_off_is_read_again_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_rows, "WAITS", (0.01,) * 3)
    files = write_files(tmp_path)
    repository = Repository()
    sha = repository.commit({f"x/{n}.parquet": open(path, "rb").read() for n, path in enumerate(files)}, "files")
    whole = batches_of(stream_of(files))[0]
    HfFileSystem.clear_instance_cache()
    with HubServer() as hub, spoken_to(hub):
        hub.repositories["dataset", "org/streamed"] = repository
        there = [f"hf://datasets/org/streamed@{sha}/x/{n}.parquet" for n in range(len(files))]
        stream = stream_of(there)
        hub.calls.clear()
        hub.failures["/resolve/"] = Failure(0, after=3, times=3)
        assert batches_of(stream)[0] == whole
        assert hub.failures["/resolve/"].times < 0
        hub.failures["/resolve/"] = Failure(0, after=3)
        with pytest.raises(StreamError, match=r"x/\d.parquet could not be read 4 times in .* minutes \("):
            batches_of(stream_of(there))
        hub.failures["/resolve/"] = Failure(404)
        with pytest.raises(StreamError, match=r"x/\d.parquet could not be read \("):
            stream_of(there)
        monkeypatch.setattr(parquet_rows, "WAITS", (60,))
        hub.failures["/resolve/"] = Failure(503)
        closing = threading.Event()
        closing.set()  # as when the training has ended meanwhile: no waiting
        with pytest.raises(StreamError, match="before the stream was closed"):
            stream.rows._last = (None, None)
            stream.rows.read(stream.rows.groups[0], ["action"], closing)
    HfFileSystem.clear_instance_cache()
