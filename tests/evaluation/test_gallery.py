"""The gallery: training pairs spread over actions and objects, the same bytes again, with the model's own deltas."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from modeling_cde.data.transforms import PairTransform
from modeling_cde.evaluation.evaluate import evaluate_splits
from modeling_cde.evaluation.gallery import read_gallery, write_gallery
from modeling_cde.evaluation.predictions import predict
from tests.drawn_pairs import ACTIONS
from tests.tiny_models import tiny_cde

TRANSFORM = PairTransform(size=(32, 32), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), crop="box")


@pytest.fixture(scope="module")
def rows(splits):
    return splits


@pytest.fixture(scope="module")
def model():
    return tiny_cde(id2label=dict(enumerate(ACTIONS)))


def test_pairs_are_spread_and_have_their_deltas_and_pictures(rows, model, tmp_path):
    train = rows["train"]
    path = write_gallery(model, train, TRANSFORM, tmp_path / "new" / "gallery.parquet", pairs_kept=30, side=24)
    gallery = read_gallery(path)
    assert len(gallery) == 30 and gallery.features["action"].names == ACTIONS
    assert max(Counter(gallery["action"]).values()) - min(Counter(gallery["action"]).values()) <= 1
    present = {(row["action"], row["object"]) for row in train.with_format(None).remove_columns(["before", "after"])}
    assert set(zip(gallery["action"], gallery["object"], strict=True)) == present
    everything = predict(model, train, TRANSFORM)
    place = {pair_id: i for i, pair_id in enumerate(train.with_format(None)["pair_id"])}
    bare = PairTransform(size=(24, 24), crop="box")
    for row in gallery:
        index = place[row["pair_id"]]
        assert torch.allclose(torch.tensor(row["delta"]), everything.delta[index], atol=1e-5)
        source = train.with_format(None)[index]
        assert (source["action"], source["object"]) == (row["action"], row["object"])
        seen = bare.pictures(bare.pixel_values(source["before"], source["after"], source["box"]))
        seen = seen.numpy().astype(int)
        for own, other, column in ((seen[0], seen[1], "before"), (seen[1], seen[0], "after")):
            stored = np.asarray(row[column], dtype=int)
            assert stored.shape == (24, 24, 3)
            assert np.abs(stored - own).mean() < min(20, np.abs(stored - other).mean())  # a JPEG changes a little


def test_equal_pairs_equal_bytes_and_known_deltas_are_taken(rows, model, tmp_path):
    train = rows["train"].select(range(20))
    delta = predict(model, train, TRANSFORM).delta
    first = write_gallery(model, train, TRANSFORM, tmp_path / "a.parquet", pairs_kept=8, delta=delta)
    again = write_gallery(model, train, TRANSFORM, tmp_path / "b.parquet", pairs_kept=8, delta=delta)
    assert first.read_bytes() == again.read_bytes()
    other = write_gallery(model, train, TRANSFORM, tmp_path / "c.parquet", pairs_kept=8, delta=delta + 1)
    moved = torch.tensor(read_gallery(other)["delta"][:]) - torch.tensor(read_gallery(first)["delta"][:])
    assert torch.allclose(moved, torch.ones(8, 16), atol=1e-5)
    with pytest.raises(ValueError, match="delta has 3 rows for 20 pairs"):
        write_gallery(model, train, TRANSFORM, tmp_path / "d.parquet", delta=delta[:3])
    with pytest.raises(ValueError, match="gallery of 0 of 20 pairs"):
        write_gallery(model, train, TRANSFORM, tmp_path / "d.parquet", pairs_kept=0)


def test_evaluation_writes_it_where_it_has_a_bank(rows, model, tmp_path):
    splits = {"test": rows["test"]}
    evaluate_splits(model, splits, TRANSFORM, tmp_path / "without")
    assert not (tmp_path / "without" / "gallery.parquet").exists()
    evaluate_splits(model, splits, TRANSFORM, tmp_path / "run", bank=rows["train"], bank_rows=10)
    assert len(read_gallery(tmp_path / "run" / "gallery.parquet")) == 10


def test_what_is_no_gallery_is_told(tmp_path):
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(ValueError, match="text.parquet cannot be read as a gallery"):
        read_gallery(tmp_path / "text.parquet")
    pq.write_table(pa.table({"before": [b""]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="other.parquet is not a gallery, the column action is missing"):
        read_gallery(tmp_path / "other.parquet")


def test_a_strangers_gallery_opens_no_file_and_no_address(rows, model, tmp_path):
    train = rows["train"].select(range(6))
    table = pq.read_table(write_gallery(model, train, TRANSFORM, tmp_path / "good.parquet", delta=torch.ones(6, 16)))

    def with_column(name, values, kind=None):
        place = table.column_names.index(name)
        return table.set_column(place, name, pa.array(values, kind or table.schema.field(name).type))

    picture = table["before"][0].as_py()["bytes"]
    for changed, words in (
        (with_column("before", [{"bytes": None, "path": "http://192.0.2.1/a.png"}] * 6), "row names a file"),
        (with_column("after", [{"bytes": None, "path": str(tmp_path / "good.parquet")}] * 6), "row names a file"),
        (with_column("after", [{"bytes": b"%!PS-Adobe-3.0 EPSF-3.0", "path": None}] * 6), "no picture format that is"),
        (with_column("before", [picture] * 6, pa.binary()), "the column before is .* must be Image"),
        (with_column("action", [99] * 6), "the action of pair [\\w-]+ is 99"),
        (with_column("pair_id", [None] * 6), "row 0 has no pair_id"),
        (with_column("delta", [[1.0] * (2 + i % 2) for i in range(6)]), "its deltas are not finite numbers"),
        (with_column("delta", [[float("nan")] * 16] * 6), "its deltas are not finite numbers"),
    ):
        pq.write_table(changed, tmp_path / "bad.parquet")
        with pytest.raises(ValueError, match=f"bad.parquet.*{words}"):
            read_gallery(tmp_path / "bad.parquet")
