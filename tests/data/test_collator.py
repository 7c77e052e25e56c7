"""Shapes and types of a batch, and the sentences for what cannot be stacked."""

from __future__ import annotations

import pytest
import torch

from modeling_cde.data.collator import PairCollator


def item(size: int = 4, frames: int = 2, labels=1) -> dict:
    return {"pixel_values": torch.rand(frames, 3, size, size), "labels": labels}


def test_a_batch_of_pairs():
    items = [item(labels=i) for i in range(3)]
    batch = PairCollator()(items)
    assert set(batch) == {"pixel_values", "labels"}
    assert batch["pixel_values"].shape == (3, 2, 3, 4, 4) and batch["pixel_values"].dtype == torch.float32
    assert batch["labels"].tolist() == [0, 1, 2] and batch["labels"].dtype == torch.int64
    assert torch.equal(batch["pixel_values"][1], items[1]["pixel_values"])


def test_clips_have_a_label_for_each_step():
    batch = PairCollator()([item(frames=3, labels=[0, 1]), item(frames=3, labels=[2, 1])])
    assert batch["pixel_values"].shape == (2, 3, 3, 4, 4) and batch["labels"].tolist() == [[0, 1], [2, 1]]


def test_no_labels_at_all():
    assert set(PairCollator()([{"pixel_values": torch.rand(2, 3, 4, 4)}])) == {"pixel_values"}


def test_extras_are_stacked():
    items = [item() | {"objects": i, "masks": torch.full((2, 4, 4), i % 2)} for i in range(3)]
    batch = PairCollator()(items)
    assert batch["objects"].tolist() == [0, 1, 2] and batch["objects"].dtype == torch.int64
    assert batch["masks"].shape == (3, 2, 4, 4) and batch["masks"][1].eq(1).all()
    assert set(PairCollator()([item() | {"objects": 4, "scene": "s"}])) == {"pixel_values", "labels", "objects"}


def test_errors_name_the_item():
    with pytest.raises(ValueError, match="Item 1 of the batch has no objects but others do; give it to all or none"):
        PairCollator()([item() | {"objects": 1}, item()])
    with pytest.raises(ValueError, match="Item 0 of the batch has no masks"):
        PairCollator()([item(), item() | {"masks": torch.ones(2, 4, 4)}])
    with pytest.raises(ValueError, match=r"Item 1 .* masks of shape \(2, 5, 5\), item 0 of \(2, 4, 4\)"):
        PairCollator()([item() | {"masks": torch.ones(2, side, side)} for side in (4, 5)])
    with pytest.raises(ValueError, match=r"Item 1 .* shape \(2, 3, 5, 5\), item 0 of \(2, 3, 4, 4\)"):
        PairCollator()([item(4), item(5)])
    with pytest.raises(ValueError, match="Item 1 of the batch has no labels"):
        PairCollator()([item(), item(labels=None)])
    with pytest.raises(ValueError, match="Item 0 .* no pixel_values; set a PairTransform"):
        PairCollator()([{"before": 1}])
    with pytest.raises(ValueError, match="batch is empty"):
        PairCollator()([])
