"""Damage to shards that the file system does not notice, by the checksums of their pages."""

import hashlib

import pytest

from modeling_cde.data.building.build import read_annotations, write_shard
from modeling_cde.data.building.part_files import write_parts
from modeling_cde.data.schema import pair_features
from tests.data.tiny_pairs import ACTIONS, OBJECTS, rows

FEATURES = pair_features(ACTIONS, OBJECTS)


def read(shard, folder):
    read_annotations([shard], shard.parent)


def write(shard, folder):
    folder.mkdir()
    write_parts([shard], FEATURES, FEATURES, {"train": ["pair00007"]}, folder, 10, progress=False)


@pytest.mark.parametrize(("step", "column"), [(read, "scene"), (read, "pair_id"), (write, "scene")])
def test_one_changed_letter_in_any_column_that_is_read_is_noticed(tmp_path, step, column):
    made = rows(12)
    for number, row in enumerate(made):  # texts that the file's compression leaves as they are
        row["scene"] = hashlib.sha256(f"scene {number}".encode()).hexdigest()
        row["pair_id"] = "pair00007" if number == 7 else hashlib.sha256(f"pair {number}".encode()).hexdigest()
    text = made[5]["pair_id" if column == "pair_id" else "scene"].encode()
    shard = tmp_path / "unit.parquet"
    write_shard(shard, made, FEATURES)
    step(shard, tmp_path / "whole")
    content = bytearray(shard.read_bytes())
    content[content.index(text[8:32])] ^= 1  # still a letter
    shard.write_bytes(content)
    with pytest.raises(ValueError, match="unit.parquet is not a readable shard .*; delete it and run the source again"):
        step(shard, tmp_path / "damaged")
