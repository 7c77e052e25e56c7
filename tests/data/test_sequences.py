"""Sequences as rows, clips and padded batches."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modeling_cde.data import PairTransform, SequenceCollator, SequenceTransform, load_sequences, sequence_features
from modeling_cde.data.building.card import DatasetCard
from modeling_cde.data.building.sequence_card import render_sequence_card
from modeling_cde.data.building.shards import encode_shard
from modeling_cde.data.sequence_schema import step_classes
from modeling_cde.data.sequences import NOTHING

ACTIONS, OBJECTS = ["open", "close", "fill"], ["Box", "Cup"]


def picture(seed: int, size: tuple[int, int] = (24, 20)) -> dict[str, Any]:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def row(frames: int, acts: list[tuple[int, int, int, int]], name: str = "one", **changes: Any) -> dict[str, Any]:
    columns = dict(zip(("actions", "objects", "onset", "end"), step_classes(frames, acts), strict=True))
    amount = [[min(max((t - a) / (b - a), 0.0), 1.0) for t in range(frames)] for _, _, a, b in acts]
    given = {"frames": [picture(t) for t in range(frames)], "amount": amount, "box": [4, 2, 19, 17]}
    return columns | given | {"scene": name, "sequence_id": name} | changes


def write(folder: Path, rows: list[dict[str, Any]], name: str = "unit-0", actions: list[str] = ACTIONS) -> Path:
    (folder / "sequences").mkdir(exist_ok=True)
    shard = encode_shard(rows, sequence_features(actions, OBJECTS).arrow_schema)
    (folder / "sequences" / f"{name}.parquet").write_bytes(shard)
    return folder


def test_steps_are_named_from_onset_to_end() -> None:
    actions, objects, onset, end = step_classes(7, [(2, 0, 1, 3), (0, 1, 5, 6)])
    assert actions == [None, 2, 2, None, None, 0] and objects == [None, 0, 0, None, None, 1]
    assert (onset, end) == ([1, 5], [3, 6])


@pytest.mark.parametrize("acts", ([(0, 0, 2, 2)], [(0, 0, 1, 4)], [(0, 0, 0, 2), (0, 0, 1, 3)], [(0, 0, -1, 1)]))
def test_actions_outside_the_frames_or_at_one_time_are_refused(acts: Any) -> None:
    with pytest.raises(ValueError, match="does not follow"):
        step_classes(4, acts)


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [row(4, [(1, 0, 0, 2)], "a"), row(3, [], "b", box=None), row(2, [(0, 1, 0, 1)], "c", amount=None)]
    loaded = load_sequences(write(tmp_path, rows), cache_dir=tmp_path / "cache")
    assert [loaded[k] for k in range(3)] == rows
    assert load_sequences(tmp_path, decode=True, cache_dir=tmp_path / "cache")[0]["frames"][0].size == (24, 20)


def test_loading_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no sequences: build them"):
        load_sequences(tmp_path)
    write(write(tmp_path, [row(2, [])]), [row(2, [])], "unit-1", actions=["other"])
    with pytest.raises(ValueError, match=r"unit-1.parquet has other columns or classes than unit-0.parquet"):
        load_sequences(tmp_path)
    (tmp_path / "sequences" / "unit-0.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"unit-0.parquet cannot be read as Parquet"):
        load_sequences(tmp_path)


@pytest.mark.parametrize("crop", ["box", "none"])
@pytest.mark.parametrize("augment", [None, True])
def test_two_frames_are_shown_as_a_pair_is(crop: str, augment: bool | None) -> None:
    shown = PairTransform((16, 16), crop=crop, augment=augment, seed=3)
    item = row(2, [(0, 0, 0, 1)])
    pair = shown.pixel_values(*item["frames"], box=item["box"], pair_id="one")
    assert torch.equal(SequenceTransform(shown).clip(item["frames"], item["box"], "one"), pair)


def test_the_transform_gives_tensors_by_row(tmp_path: Path) -> None:
    write(tmp_path, [row(4, [(2, 1, 1, 3)], "a"), row(2, [], "b", amount=None)])
    transform = SequenceTransform(PairTransform((8, 8)))
    rows = load_sequences(tmp_path, cache_dir=tmp_path / "cache").with_transform(transform)
    first, second = rows[0], rows[1]
    assert first["pixel_values"].shape == (4, 3, 8, 8) and second["pixel_values"].shape == (2, 3, 8, 8)
    assert first["labels"].tolist() == [NOTHING, 2, 2] and first["objects"].tolist() == [NOTHING, 1, 1]
    assert first["onset"].tolist() == [1] and first["end"].tolist() == [3]
    assert first["amount"].tolist() == [[0.0, 0.0, 0.5, 1.0]]
    assert second["amount"].shape == (0, 2) and second["labels"].tolist() == [NOTHING]


def test_batches_are_padded_at_their_ends() -> None:
    transform = SequenceTransform(PairTransform((8, 8)))
    rows = [row(5, [(0, 0, 0, 1), (1, 0, 2, 4)], "a"), row(3, [(2, 1, 1, 2)], "b", amount=None), row(2, [], "c")]
    items = [transform.row(one) for one in rows]
    batch = SequenceCollator()(items)
    assert batch["pixel_values"].shape == (3, 5, 3, 8, 8)
    assert batch["frame_mask"].sum(dim=1).tolist() == [5, 3, 2]
    for b, item in enumerate(items):
        frames, acts = len(item["pixel_values"]), len(item["onset"])
        assert torch.equal(batch["pixel_values"][b, :frames], item["pixel_values"])
        assert batch["pixel_values"][b, frames:].abs().sum() == 0
        assert batch["frame_mask"][b].tolist() == [True] * frames + [False] * (5 - frames)
        for name in ("labels", "objects"):
            assert batch[name][b].tolist() == item[name].tolist() + [NOTHING] * (5 - frames)
        for name in ("onset", "end"):
            assert batch[name][b].tolist() == item[name].tolist() + [-1] * (2 - acts)
        assert torch.equal(batch["amount"][b, :acts, :frames], item["amount"]) or b == 1
    assert batch["amount"][1].isnan().all() and batch["amount"][2].isnan().all()


def test_bad_sequences_are_named() -> None:
    transform = SequenceTransform(PairTransform((8, 8)))
    item = row(3, [])
    with pytest.raises(ValueError, match="The sequence one has 1 frames"):
        transform.clip(item["frames"][:1], item["box"], "one")
    with pytest.raises(ValueError, match="The frames of sequence one have different sizes"):
        transform.clip([*item["frames"], picture(0, (8, 8))], item["box"], "one")
    with pytest.raises(ValueError, match="'frame 1' of pair one"):
        transform.clip([item["frames"][0], {"bytes": b"no", "path": None}], item["box"], "one")
    with pytest.raises(ValueError, match="The batch is empty"):
        SequenceCollator()([])
    other = SequenceTransform(PairTransform((9, 9)))
    with pytest.raises(ValueError, match="different sizes"):
        SequenceCollator()([transform.row(item), other.row(item)])


def test_the_card_says_what_a_row_is_and_its_header_loads(tmp_path: Path) -> None:
    import datasets

    write(tmp_path, [row(3, [(0, 0, 0, 1)])])
    text = render_sequence_card(tmp_path, DatasetCard("Cups", license="cc0-1.0", command="make cups"))
    (tmp_path / "README.md").write_text(text)
    loaded = datasets.load_dataset(str(tmp_path), "sequences", cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].num_rows == 1
    assert "Sequences: 1. Objects: 2. Actions: open, close, fill." in text and "make cups" in text
    assert "what is going on in each step" in text
