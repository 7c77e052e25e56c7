"""load_pairs: what comes back, and which sentence answers what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasets
import pyarrow.parquet as parquet
import pytest
import torch

from modeling_cde.data.building.build import assemble
from modeling_cde.data.collator import PairCollator
from modeling_cde.data.loading import UnknownConfigError, load_pairs, transform_pairs
from modeling_cde.data.schema import SPLITS, pair_features
from modeling_cde.data.transforms import PairTransform
from tests.data.tiny_pairs import ACTIONS, OBJECTS, write_shards


@pytest.fixture
def built(tmp_path) -> Path:
    folder = tmp_path / "pairs"
    write_shards(folder)
    assemble(folder, "single", seed=0, progress=False)
    return folder


def test_pictures_stay_encoded_unless_asked_for(built, tmp_path):
    encoded = load_pairs(built, "single_syst", "test", cache_dir=tmp_path / "cache")
    assert set(encoded[0]["before"]) == {"bytes", "path"}
    decoded = load_pairs(built, "single_syst", "test", decode=True, cache_dir=tmp_path / "cache")
    assert decoded.features == pair_features(ACTIONS, OBJECTS)
    assert decoded[0]["after"].size == (12, 12)


def test_all_splits_one_split_and_a_slice(built, tmp_path):
    cache = tmp_path / "cache"
    everything = load_pairs(str(built), "single_comp", cache_dir=cache)
    assert tuple(everything) == SPLITS
    one = load_pairs(built, "single_comp", "train", cache_dir=cache)
    assert one["pair_id"][:] == everything["train"]["pair_id"][:]
    assert len(load_pairs(built, "single_comp", "train[:7]", cache_dir=cache)) == 7


def test_a_stream_gives_the_same_rows_and_takes_the_transform(built, tmp_path):
    rows = load_pairs(built, "single_syst", "train", cache_dir=tmp_path / "cache")
    stream = load_pairs(built, "single_syst", "train", streaming=True)
    assert [row["pair_id"] for row in stream] == rows["pair_id"][:]
    assert next(iter(stream)) == rows[0]
    assert set(load_pairs(built, "single_syst", streaming=True)) == set(SPLITS)


def test_transformed_pairs_are_the_same_loaded_and_streamed(built, tmp_path):
    rows = load_pairs(built, "single_syst", "train", cache_dir=tmp_path / "cache")
    stream = load_pairs(built, "single_syst", "train", streaming=True)
    transform = PairTransform((8, 8), crop="none", augment=True)
    loaded, streamed = transform_pairs(rows, transform), transform_pairs(stream, transform, batch_size=7)
    for epoch in (0, 3):
        transform.set_epoch(epoch)
        wanted = [loaded[i] for i in range(len(rows))]
        for one, other in zip(wanted, streamed, strict=True):
            assert set(other) == {"pixel_values", "labels"} and one["labels"] == other["labels"]
            assert other["pixel_values"].shape == (2, 3, 8, 8) and torch.equal(
                one["pixel_values"], other["pixel_values"]
            )
    batches = torch.utils.data.DataLoader(streamed, batch_size=50, num_workers=1, collate_fn=PairCollator())
    assert torch.equal(torch.cat([batch["pixel_values"] for batch in batches]), PairCollator()(wanted)["pixel_values"])


def test_a_stream_is_transformed_a_batch_at_a_time(built):
    asked = []

    transform = PairTransform((8, 8), crop="none")

    def counting(batch):
        asked.append(len(batch["before"]))
        return transform(batch)

    stream = load_pairs(built, "single_syst", "train", streaming=True)
    pairs = iter(transform_pairs(stream, counting, batch_size=4))
    for _ in range(5):
        next(pairs)
    assert max(asked) == 4 and sum(asked) <= 12
    assert 5 + len(list(pairs)) == sum(asked)


def test_a_data_set_without_a_validation_part_says_so(built, tmp_path):
    """As the causal_triplet protocol makes them."""
    for path in (built / "single").glob("validation-*.parquet"):
        path.unlink()
    readme = (built / "README.md").read_text()
    part = "  - split: validation\n    path: single/validation-*.parquet\n"
    assert readme.count(part) == 2
    (built / "README.md").write_text(readme.replace(part, ""))
    for streaming in (False, True):
        with pytest.raises(
            ValueError, match="single_syst has no split 'validation'; it has train, test, validation_ood, "
        ):
            load_pairs(built, "single_syst", "validation", streaming, cache_dir=tmp_path / "cache")
    with pytest.raises(ValueError, match="has no split 'validation'"):
        load_pairs(built, "single_syst", "train+validation[:3]", cache_dir=tmp_path / "cache")
    parts = load_pairs(built, "single_syst", cache_dir=tmp_path / "cache")
    assert tuple(parts) == ("train", "test", "validation_ood", "test_ood")


def test_errors_say_what_there_is(built, tmp_path):
    with pytest.raises(ValueError, match="no configuration 'multi_syst'; it has single_comp, single_syst"):
        load_pairs(built, "multi_syst")
    with pytest.raises(ValueError, match="no split 'tests'; the splits are train, "):
        load_pairs(built, "single_syst", "tests")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no finished data set"):
        load_pairs(tmp_path / "empty", "single_syst")
    write_shards(tmp_path / "shards only", units=1, pairs=2)
    with pytest.raises(FileNotFoundError, match="holds no finished data set"):
        load_pairs(tmp_path / "shards only", "single_syst")
    with pytest.raises(FileNotFoundError, match="neither a folder here nor a data set repository"):
        load_pairs(tmp_path / "nowhere", "single_syst")


def rewrite(path: Path, change) -> None:
    dataset = datasets.Dataset(parquet.read_table(path))
    table = change(dataset).with_format("arrow")[:]
    parquet.write_table(table, path)


def every(folder: Path, pattern: str, change) -> None:
    for path in folder.glob(pattern):
        rewrite(path, change)


def test_missing_and_mistyped_columns_are_named(built, tmp_path):
    cache = tmp_path / "cache"
    every(built, "single/*.parquet", lambda rows: rows.cast_column("action", datasets.Value("int64")))
    with pytest.raises(ValueError, match="column action is .* has to be ClassLabel"):
        load_pairs(built, "single_syst", cache_dir=cache)
    every(built, "single/*.parquet", lambda rows: rows.remove_columns(["scene", "box"]))
    with pytest.raises(ValueError, match="column scene is missing"):
        load_pairs(built, "single_syst", cache_dir=cache)


def test_classes_that_differ_between_files_are_named(built, tmp_path):
    turned = datasets.ClassLabel(names=OBJECTS[::-1])
    (path,) = (built / "single").glob("test_syst-*.parquet")
    table = parquet.read_table(path)
    features = datasets.Features({**datasets.Features.from_arrow_schema(table.schema), "object": turned})
    parquet.write_table(table.cast(features.arrow_schema), path)
    with pytest.raises(ValueError, match="test_syst-00000-of-00001.parquet and .* different classes of object"):
        load_pairs(built, "single_syst", cache_dir=tmp_path / "cache")
    load_pairs(built, "single_comp", cache_dir=tmp_path / "cache")  # does not use that file


def test_no_server_counts_a_load_and_the_users_setting_stays(built, tmp_path, monkeypatch):
    code = "import datasets, modeling_cde.data.loading; print(datasets.config.HF_UPDATE_DOWNLOAD_COUNTS)"
    environment = os.environ | {"HF_UPDATE_DOWNLOAD_COUNTS": "1"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.stdout.strip() == "True", run.stderr

    seen = []
    monkeypatch.setattr(datasets.load, "increase_load_count", lambda _: seen.append(counts()))

    def counts():
        return datasets.config.HF_UPDATE_DOWNLOAD_COUNTS

    for setting in (True, False):
        monkeypatch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", setting)
        assert len(load_pairs(built, "single_syst", "test", cache_dir=tmp_path)) and counts() is setting
        with pytest.raises(UnknownConfigError):
            load_pairs(built, "multi_syst", cache_dir=tmp_path)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: load_pairs(built, "single_syst", "test", cache_dir=tmp_path), range(8)))
        assert counts() is setting
    assert seen and not any(seen)
