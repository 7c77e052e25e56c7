import csv
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from data_scripts.causal_triplet_layout import FIELDS, first_of, write_houses
from data_scripts.procthor.reader import HousesSource
from modeling_cde.data.building.build import write_shard
from modeling_cde.data.schema import pair_features
from tests.data_scripts.drawn_houses import NOUNS, VERBS, draw_houses, draw_pair, png
from tests.real_data import real_data


def shard(path: Path, scenes: list[str], masks: bool = True, start: int = 0, **changes) -> Path:
    """A shard of drawn pairs, one for each scene given; the box is that after the action."""
    rows = []
    for i, scene in enumerate(scenes, start=start):
        made, _, box = draw_pair(i)
        rows.append(
            {name: {"bytes": content, "path": None} for name, content in made.items()}
            | ({} if masks else {"mask_before": None, "mask_after": None})
            | {"action": i % len(VERBS), "object": i % len(NOUNS), "scene": scene, "pair_id": f"pair-{i}"}
            | {"box": list(box)}
            | changes
        )
    write_shard(path, rows, pair_features(VERBS, NOUNS))
    return path


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def original_rows(root: Path) -> list[dict]:
    """By the original reader's rules: tables sorted, joined, `none` and `cook` dropped; files named by the figure."""
    rows = []
    for table in sorted(root.glob("proc_*/annotations.csv"), key=str):
        with table.open(newline="") as file:
            for values in csv.reader(file):
                row = dict(zip(FIELDS, values, strict=True))
                if row["verb"] not in ("none", "cook"):
                    folder = root / row["scene"] / "color"
                    row["before"] = folder / (row["figure"].split("second")[0] + "first.png")
                    row["after"] = folder / (row["figure"] + ".png")
                    rows.append(row)
    return rows


def test_layout_is_that_of_the_real_sample(tmp_path):
    """The real sample, through reader and writer, is the real sample again, bytes of the tables included."""
    sample = real_data("procthor-sample")
    source = HousesSource(sample, "multi", None, progress=False)
    write_shard(tmp_path / "a.parquet", source.build("proc_00001").rows, source.features)
    assert write_houses([tmp_path / "a.parquet"], tmp_path / "houses") == 2
    assert tree(tmp_path / "houses") == {
        name: content for name, content in tree(sample).items() if name.startswith("proc_")
    }


@pytest.mark.parametrize("masks", [True, False])
def test_drawn_pairs_come_back_the_same_through_shards_houses_and_reader(masks, tmp_path):
    houses = draw_houses(tmp_path / "drawn", masks=masks)
    source = HousesSource(houses, "multi", None, progress=False)
    shards = []
    for unit in source.units():
        shards.append(tmp_path / f"{unit}.parquet")
        write_shard(shards[-1], source.build(unit).rows, source.features)
    assert write_houses(shards, tmp_path / "written") == 7
    if masks:
        assert tree(tmp_path / "written") == tree(houses)
    again = HousesSource(tmp_path / "written", "multi", None, progress=False)
    assert (again.actions, again.objects, again.units()) == (source.actions, source.objects, source.units())
    for unit in source.units():
        assert again.build(unit) == source.build(unit)


def test_the_original_reader_finds_every_picture(tmp_path):
    scenes = ["room-00003"] * 3 + ["room-00001"] * 2
    one, two = shard(tmp_path / "1.parquet", scenes), shard(tmp_path / "2.parquet", ["room-00001"], start=5)
    assert write_houses([one, two], tmp_path / "houses") == 6
    rows = original_rows(tmp_path / "houses")
    assert [(row["scene"], row["idx"]) for row in rows] == [
        ("proc_00001", "1"), ("proc_00001", "2"), ("proc_00001", "3"),
        ("proc_00003", "1"), ("proc_00003", "2"), ("proc_00003", "3"),
    ]  # fmt: skip
    for row, i in zip(rows, (3, 4, 5, 0, 1, 2), strict=True):
        made, _, box = draw_pair(i)
        assert row["before"].read_bytes() == made["before"] and row["after"].read_bytes() == made["after"]
        assert (row["noun"], row["verb"]) == (NOUNS[i % 5], VERBS[i % 5])
        assert tuple(int(row[name]) for name in FIELDS[5:]) == box
        assert not row["figure"].endswith(".png")
    table = (tmp_path / "houses" / "proc_00001" / "annotations.csv").read_bytes()
    assert table.startswith(b"proc_00001,1,00001_first,Mug,none,") and table.count(b"\r\n") == 6
    for name in ("color", "mask", "bbox"):
        assert (tmp_path / "houses" / "proc_00001" / name).is_dir()


def test_boxes_are_those_of_the_masks_and_else_the_pairs(tmp_path):
    """The masks' boxes before and after differ, as when a door opens."""
    _, before, after = draw_pair(0)
    assert before != after
    write_houses([shard(tmp_path / "1.parquet", ["a-1"], box=[0, 0, 1, 1])], tmp_path / "masks")
    write_houses([shard(tmp_path / "2.parquet", ["a-1"], masks=False, box=[0, 0, 1, 1])], tmp_path / "boxes")
    empty = {"bytes": png(Image.new("L", (64, 64))), "path": None}
    write_houses([shard(tmp_path / "3.parquet", ["a-1"], box=[3, 3, 4, 4], mask_after=empty)], tmp_path / "empty")
    found = {}
    for name in ("masks", "boxes", "empty"):
        lines = (tmp_path / name / "proc_00001" / "annotations.csv").read_text().split()
        found[name] = [tuple(map(int, line.split(",")[5:])) for line in lines]
    assert found == {
        "masks": [before, after],
        "boxes": [(0, 0, 1, 1)] * 2,
        "empty": [before, (3, 3, 4, 4)],
    }


@pytest.mark.parametrize(
    ("scenes", "houses"),
    [
        (["proc_00012", "proc_100000"], ["proc_00012", "proc_100000"]),
        (["room-00007", "room-12"], ["proc_00007", "proc_00012"]),
        (["P01_01", "P02_01"], ["proc_00000", "proc_00001"]),  # the numbers are not the scenes' own
        (["kitchen", "hall"], ["proc_00000", "proc_00001"]),
        (["proc_00001", "room-1"], ["proc_00000", "proc_00001"]),
    ],
)
def test_names_of_houses(scenes, houses, tmp_path):
    write_houses([shard(tmp_path / "1.parquet", scenes)], tmp_path / "houses")
    assert sorted(path.name for path in (tmp_path / "houses").iterdir()) == houses


def test_a_house_that_is_there_is_replaced(tmp_path):
    write_houses([shard(tmp_path / "1.parquet", ["proc_00001"] * 4)], tmp_path / "houses")
    (tmp_path / "houses" / "tmp-proc_00001").mkdir()  # of a run that was killed
    write_houses([shard(tmp_path / "2.parquet", ["proc_00001"] * 2)], tmp_path / "houses")
    assert [path.name for path in (tmp_path / "houses").iterdir()] == ["proc_00001"]
    assert len(list((tmp_path / "houses").rglob("*.png"))) == 8


def test_pictures_that_are_no_png_become_png(tmp_path):
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 30).convert("RGB").save(buffer, "JPEG")
    jpeg = {"bytes": buffer.getvalue(), "path": None}
    write_houses([shard(tmp_path / "1.parquet", ["proc_00001"], before=jpeg)], tmp_path / "houses")
    with Image.open(tmp_path / "houses/proc_00001/color/00001_first.png") as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(jpeg["bytes"]))))


def test_what_the_layout_cannot_hold_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="pair-0 has neither a box nor a mask"):
        write_houses([shard(tmp_path / "1.parquet", ["a"], masks=False, box=None)], tmp_path / "houses")
    table = parquet.read_table(shard(tmp_path / "2.parquet", ["a"])).to_pylist()
    for wrong in ("a/b", "..\\b", "none", "a\nb", "=1+1", "@open"):
        write_shard(tmp_path / "3.parquet", table, pair_features([wrong, *VERBS], NOUNS))
        with pytest.raises(ValueError, match="cannot be part of a file name"):
            write_houses([tmp_path / "3.parquet"], tmp_path / "houses")
    assert not list((tmp_path / "houses").glob("proc_*"))


def test_first_of():
    assert first_of("00012_second_Safe_open") == "00012_first"
    assert first_of("00012_second_second_Safe_open") == "00012_first"
