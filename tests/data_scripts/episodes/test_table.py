"""Tables and folders of pairs: every format gives the same rows, and every faulty row is named."""

import csv
import json
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_scripts.builds.work_units import StopBuildError
from data_scripts.episodes import table
from data_scripts.episodes.__main__ import main
from data_scripts.episodes.listing import Listed, Refused, parse_box, read_listing
from data_scripts.episodes.table import TableSource
from modeling_cde.data.building.build import read_annotations
from modeling_cde.data.loading import load_pairs
from tests.data.tiny_pairs import picture
from tests.data_scripts.fake_source import sent
from tests.drawn_pairs import ACTIONS, OBJECTS, draw_data_set

COLUMNS = ("before", "after", "action", "object", "group", "box", "mask_before", "mask_after", "pair_id")


def write_pictures(folder, count=4, **options):
    """Pictures 0_before.png, 0_after.png, ... and masks of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        for k, name in enumerate(("before", "after")):
            (folder / f"{i}_{name}.png").write_bytes(picture(2 * i + k, 20, 16, **options))
            (folder / f"{i}_{name}_mask.png").write_bytes(picture(i, 20, 16, mode="L"))


def rows_of(count=4):
    """Rows of all columns."""
    return [
        {
            "before": f"{i}_before.png",
            "after": f"{i}_after.png",
            "action": ("open", "close")[i % 2],
            "object": ("box", "door")[i // 2 % 2],
            "group": f"kitchen {i // 2}",
            "box": "1 2 8 9",
            "mask_before": f"{i}_before_mask.png",
            "mask_after": "",
            "pair_id": f"p{i}",
        }
        for i in range(count)
    ]


def write_table(path, rows, delimiter=",", encoding="utf-8"):
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def build(source):
    """All units of a source as one."""
    parts = [source.build(unit) for unit in source.units()]
    return [row for part in parts for row in part.rows], parts[0].rejected, [p for part in parts for p in part.problems]


def test_every_format_gives_the_same_rows(tmp_path):
    write_pictures(tmp_path)
    rows = rows_of()
    write_table(tmp_path / "a.csv", rows)
    write_table(tmp_path / "b.CSV", rows, encoding="utf-8-sig")
    write_table(tmp_path / "c.tsv", rows, delimiter="\t")
    lines = [{k: v for k, v in row.items() if v} | {"box": [1, 2, 8, 9]} for row in rows]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "e.parquet")
    four = [{k: v for k, v in row.items() if k != "box"} for row in rows]
    for row in four:
        row |= {"xmin": 1.0, "ymin": 2, "xmax": 8, "ymax": 9, "note": "x"}
    parquet.write_table(pa.Table.from_pylist(four), tmp_path / "f.parquet")
    write_table(tmp_path / "g.csv", [dict(reversed(row.items())) for row in four])
    built = [build(TableSource(path, image_size=None)) for path in sorted(tmp_path.glob("?.*"))]
    assert len(built) == 7 and all(one == built[0] for one in built)
    stored, rejected, problems = built[0]
    assert len(stored) == 4 and not rejected and not problems
    assert [(row["pair_id"], row["scene"], row["action"], row["object"]) for row in stored] == [
        ("p0", "kitchen 0", 1, 0), ("p1", "kitchen 0", 0, 0), ("p2", "kitchen 1", 1, 1), ("p3", "kitchen 1", 0, 1)
    ]  # fmt: skip
    assert stored[0]["before"]["bytes"] == (tmp_path / "0_before.png").read_bytes()
    assert stored[0]["box"] == [1, 2, 8, 9] and stored[0]["mask_before"] and stored[0]["mask_after"] is None
    listing = read_listing(tmp_path / "f.parquet")
    assert listing.unused == ("note",) and listing.has_groups


def test_what_may_be_left_out(tmp_path):
    write_pictures(tmp_path)
    rows = [{name: row[name] for name in ("before", "after", "action", "object")} for row in rows_of()]
    source = TableSource(write_table(tmp_path / "pairs.csv", rows), view="multi", image_size=8)
    stored, _, _ = build(source)
    assert (
        [row["pair_id"] for row in stored] == [row["scene"] for row in stored] == [f"row-{i:06d}" for i in range(1, 5)]
    )
    assert stored[0]["box"] is None and "No groups are given" in source.summary()
    with pytest.raises(ValueError, match="has no boxes.*--view multi.*--whole_picture_is_target"):
        TableSource(tmp_path / "pairs.csv")
    stored, _, _ = build(TableSource(tmp_path / "pairs.csv", image_size=8, whole_picture_is_target=True))
    assert stored[0]["box"] == [0, 0, 9, 7]  # 20x16 pixels, scaled to 10x8


FAULTS = [
    ({"before": ""}, "empty cell", "row 2: before is empty"),
    ({"object": "  "}, "empty cell", "row 2: object is empty"),
    ({"group": ""}, "empty cell", "row 2: group is empty"),
    ({"action": "NaN"}, "no name", "row 2: action is 'NaN', which names no class"),
    ({"object": " n / A "}, "no name", "row 2: object is 'n / A', which names no class"),
    ({"before": "nothing.png"}, "missing picture", "row 2: before 'nothing.png' does not exist"),
    ({"after": "."}, "missing picture", "row 2: after '.' is not a file"),
    ({"mask_before": "nothing.png"}, "missing picture", "row 2: mask_before 'nothing.png' does not exist"),
    ({"before": "../secret.png"}, "path leaves the folder", "row 2: before '../secret.png' leaves"),
    ({"before": "/etc/hostname"}, "path leaves the folder", "--root"),
    ({"after": "link.png"}, "path leaves the folder", "row 2: after 'link.png' leaves"),
    ({"before": "https://example.org/a.png"}, "path is a URL", "nothing is downloaded"),
    ({"before": "FILE:///etc/hostname"}, "path is a URL", "nothing is downloaded"),
    ({"before": "note.png"}, "broken picture", "row 2: the before picture cannot be read as an image"),
    ({"after": "small.png"}, "pictures differ in size", "row 2: the pictures differ in size"),
    ({"after": "1_before.png"}, "identical pictures", "row 2: before and after are the same picture, pixel for pixel"),
    ({"after": "again.png"}, "identical pictures", "row 2: before and after are the same picture"),
    ({"after": "elsewhere.png"}, "identical pictures", "row 2: before and after are the same picture"),
    ({"box": "1 2 3"}, "bad box", "row 2: the box '1 2 3' is not four whole numbers"),
    ({"box": "1 2 3 x"}, "bad box", "row 2"),
    ({"box": "1 2 3.5 4"}, "bad box", "row 2"),
    ({"box": "1 2 1e99 4"}, "bad box", "row 2"),
    ({"box": "1 2 30 9"}, "box outside the picture", "row 2: the box [1, 2, 30, 9]"),
    ({"box": "-1 2 8 9"}, "box outside the picture", "row 2: the box [-1, 2, 8, 9]"),
    ({"box": "8 2 1 9"}, "empty box", "row 2"),
    ({"box": ""}, "no box", "row 2: it has no box"),
    ({"pair_id": "p0"}, "duplicate pair_id", "row 2: the pair_id 'p0' is already in row 1"),
    ({"action": "op\x00en"}, "broken row", "control characters"),
    ({"object": "x" * 201}, "broken row", "too long"),
    (rows_of()[0] | {"pair_id": "other"}, "duplicate row", "row 2: it repeats row 1"),
]


@pytest.mark.parametrize(("change", "reason", "sentence"), FAULTS)
def test_a_faulty_row_is_named_counted_and_left_out(tmp_path, change, reason, sentence):
    folder = tmp_path / "in"
    write_pictures(folder)
    (tmp_path / "secret.png").write_bytes(picture(99, 20, 16))
    os.symlink(tmp_path / "secret.png", folder / "link.png")
    (folder / "note.png").write_text("no picture")
    (folder / "small.png").write_bytes(picture(3, 10, 8))
    with Image.open(folder / "1_before.png") as before:
        before.save(folder / "again.png", compress_level=0)
        before.putpixel((19, 15), (0, 0, 0))
        before.save(folder / "elsewhere.png")  # other only where the single view cuts it away
    rows = rows_of()
    rows[1] |= change
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    stored, rejected, problems = build(TableSource(folder / "pairs.jsonl", image_size=8))
    assert [row["pair_id"] for row in stored] == ["p0", "p2", "p3"]
    assert rejected == {reason: 1} and len(problems) == 1
    assert str(tmp_path) not in problems[0]  # what is stored does not depend on where it was built
    assert sentence in problems[0] and problems[0].startswith("pairs.jsonl, row 2: ") and "\n" not in problems[0]
    with pytest.raises(StopBuildError, match="pairs.jsonl, row 2: "):
        build(TableSource(folder / "pairs.jsonl", image_size=8, strict=True))


def test_root_widens_what_may_be_read_and_no_further(tmp_path):
    write_pictures(tmp_path / "pictures", 2)
    (tmp_path / "tables").mkdir()
    (tmp_path / "secret.png").write_bytes(picture(99, 20, 16))
    rows = rows_of(2)
    path = write_table(tmp_path / "tables" / "pairs.csv", rows)
    assert build(TableSource(path))[1] == {"missing picture": 2}
    assert len(build(TableSource(path, root=tmp_path / "pictures"))[0]) == 2
    rows[0]["before"] = "../secret.png"
    write_table(path, rows)
    assert build(TableSource(path, root=tmp_path / "pictures"))[1] == {"path leaves the folder": 1}
    with pytest.raises(ValueError, match="There is no folder .*, given by --root"):
        TableSource(path, root=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b"before,after,action\n", "no column object; it has"),
        ("a.csv", b"before,after,action\n", "add --object thing, and --shift none"),
        ("a.csv", b"before,after,action,obejct\n", "'obejct' may mean 'object'"),
        ("a.csv", b"before,after,verb,noun\n", "'verb' may mean 'action'; 'noun' may mean 'object'"),
        ("a.csv", b"Before,after,action,object\n", "'Before' may mean 'before'"),
        ("a.csv", b"before,after,action,object,mask_befor\n", "did you mean 'mask_before'"),
        ("a.csv", b"before,after,action,object,scene\n", "did you mean 'group'"),
        ("a.csv", b"before,after,action,object,object\n", "the column 'object' twice"),
        ("a.csv", b"before;after;action;object\n", "separated by semicolons"),
        ("a.csv", b"before\tafter\taction\tobject\n", "call the file .tsv"),
        ("a.csv", b"before,after,action,object,xmin,ymin\n", "four columns"),
        ("a.csv", b"before,after,action,object,box,xmin,ymin,xmax,ymax\n", "either one column box"),
        ("a.csv", b'before,after,action,object\n"a,b,c,d\n', "broken at line 2"),
        ("a.csv", b"before,after,action,object\n", "lists no usable pair"),
        ("a.csv", b"before,after,action,object\na,b,,d\n", "The first fault is in row 1: action is empty"),
        ("a.csv", b"before,after,action,object\na,b,c\n", "it has 3 cells under 4 columns"),
        ("a.csv", b"before,after,action,object\na,b,caf\xe9,d\n", "not in UTF-8 (line 2)"),
        ("a.csv", "before,after,action,object\n".encode("utf-16"), "UTF-16"),
        ("a.csv", b"before,after,action,object\na,b,open,d\nc,d,Open,d\n", "'open' (row 1) and 'Open' (row 2)"),
        ("a.csv", b"before,after,action,object\na,b,c,a box\nc,d,c,a_box\n", "'a box' (row 1) and 'a_box' (row 2)"),
        ("a.jsonl", b'{"before": 1\n[]\n', "no column before"),
        ("a.parquet", b"PAR1", "cannot be read as Parquet"),
        ("a.pkl", b"", "a pickle can run any code"),
        ("a.h5", b"", "HDF files"),
        ("a.json", b"[]", "one object per line"),
        ("a.xlsx", b"", "spreadsheets are not read"),
        ("a.txt", b"", "not a supported table"),
    ],
)
def test_a_broken_table_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        TableSource(tmp_path / name, view="multi")
    assert "\n" not in str(raised.value)


def test_pictures_inside_a_parquet_table_are_refused(tmp_path):
    rows = [{"before": {"bytes": b"x", "path": None}, "after": "b", "action": "open", "object": "box"}]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="has struct.* in the column before"):
        TableSource(tmp_path / "a.parquet")


CELL = st.one_of(st.text(max_size=8), st.none(), st.integers(), st.floats(), st.booleans(), st.lists(st.integers()))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), CELL), max_size=6))
def test_any_rows_are_listed_or_refused(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("any") / "pairs.jsonl"
    path.write_text(json.dumps(dict.fromkeys(COLUMNS[:4], "x")) + "\n" + "\n".join(map(json.dumps, rows)))
    listed = read_listing(path).rows
    assert len(listed) == len(rows) + 1
    for row in listed:
        if isinstance(row, Listed):
            assert all((row.before, row.after, row.action, row.object, row.scene, row.pair_id))
        else:
            assert isinstance(row, Refused) and row.reason and row.sentence.isprintable()
    good = [row for row in listed if isinstance(row, Listed)]
    assert len({row.pair_id for row in good}) == len(good)


@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=4, max_size=4), st.sampled_from([" ", ",", ", ", ";"]))
def test_boxes_are_read_back(bounds, separator):
    text = separator.join(map(str, bounds))
    assert parse_box(text) == parse_box(f"[{text}]") == tuple(bounds)


def test_units_are_ranges_of_rows(tmp_path, monkeypatch):
    write_pictures(tmp_path, 5)
    rows = rows_of(5)
    rows[3]["before"] = "nothing.png"
    source = TableSource(write_table(tmp_path / "pairs.csv", rows), image_size=8)
    whole = build(source)
    monkeypatch.setattr(table, "ROWS_PER_UNIT", 2)
    source = sent(source)
    assert source.units() == ["rows-0000001-0000002", "rows-0000003-0000004", "rows-0000005-0000005"]
    assert build(source)[0] == whole[0] and build(source)[2] == whole[2]


def test_settings_and_inputs_are_what_the_bytes_depend_on(tmp_path):
    texts = []
    for folder, count, options in (("a", 4, {}), ("b", 4, {}), ("a", 4, {"image_size": 8}), ("c", 3, {})):
        (tmp_path / folder).mkdir(exist_ok=True)
        path = write_table(tmp_path / folder / "pairs.csv", rows_of(count))
        source = TableSource(path, **options)
        texts.append(json.dumps([source.settings(), source.inputs(source.units()[0])], sort_keys=True))
    assert texts[0] == texts[1] and len(set(texts)) == 3 and not any(str(tmp_path) in text for text in texts)


def test_a_folder_needs_no_table(tmp_path):
    for place in ("open/box/hall", "open/box/attic", "close/box"):
        write_pictures(tmp_path / place, 2)
    (tmp_path / "close/box/1_after.png").rename(tmp_path / "close/box/1_after.jpg")  # any mixture of endings
    (tmp_path / "close/box/.hidden_before.png").write_text("")
    (tmp_path / "README.md").write_text("")
    for faulty in (
        "open/1_before.png",
        "open/box/hall/too/1_after.png",
        "open/box/hall/cat.png",
        "open/box/8_after.png",
    ):
        (tmp_path / faulty).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / faulty).write_bytes(picture(0))
    (tmp_path / "open/box/hall/0_before.jpg").write_bytes(picture(0))
    source = TableSource(tmp_path, view="multi", image_size=None)
    stored, rejected, problems = build(source)
    assert source.actions == ["close", "open"] and source.objects == ["box"]
    assert {row["pair_id"]: row["scene"] for row in stored} == {
        "close/box/0": "close/box/0", "close/box/1": "close/box/1", "open/box/attic/0": "attic",
        "open/box/attic/1": "attic", "open/box/hall/1": "hall",
    }  # fmt: skip
    assert all(row["mask_before"] for row in stored)
    assert rejected == {
        "misplaced picture": 2, "misnamed picture": 1, "picture without partner": 1, "duplicate picture": 1
    }  # fmt: skip
    assert any("hall/0_before.jpg and open/box/hall/0_before.png are the same picture" in p for p in problems)
    assert any("open/box/8: there is open/box/8_after.png but no picture _before next to it" in p for p in problems)
    with pytest.raises(StopBuildError):
        TableSource(tmp_path, view="multi", strict=True)


def test_a_folder_with_a_table_is_read_by_it(tmp_path):
    write_pictures(tmp_path)
    write_table(tmp_path / "metadata.csv", rows_of())
    assert len(build(TableSource(tmp_path))[0]) == 4
    (tmp_path / "pairs.jsonl").write_text("")
    with pytest.raises(ValueError, match="contains pairs.jsonl and metadata.csv; choose one"):
        TableSource(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="neither a table .* nor pictures"):
        TableSource(tmp_path / "empty")
    with pytest.raises(ValueError, match="no file or folder .*nowhere"):
        TableSource(tmp_path / "nowhere")


def test_drawn_pairs_as_a_table_come_out_as_they_were(tmp_path, capsys):
    """Pairs that another source stored, written as PNG files and a table: the same data set, byte for byte."""
    drawn = draw_data_set(tmp_path / "drawn")
    shard = drawn / "shards" / "single" / "unit-00000.parquet"
    rows, folder = parquet.read_table(shard).to_pylist(), tmp_path / "in"
    folder.mkdir()
    listed = []
    for row in rows:
        line = {"action": ACTIONS[row["action"]], "object": OBJECTS[row["object"]], "group": row["scene"]}
        for name in ("before", "after"):
            line[name] = f"{row['pair_id']} {name}.png"
            (folder / line[name]).write_bytes(row[name]["bytes"])
        listed.append(line | {"box": " ".join(map(str, row["box"])), "pair_id": row["pair_id"]})
    write_table(folder / "pairs.csv", listed)
    main(["table", "--input", str(folder), "--output", str(tmp_path / "out"), "--workers", "1", "--license", "mit"])
    assert "200 pairs" in capsys.readouterr().out
    shards = sorted((tmp_path / "out" / "shards" / "single").glob("*.parquet"))
    assert read_annotations(shards, tmp_path) == read_annotations([shard], tmp_path)  # features and labels
    for name in ("single/SHA256SUMS", "manifests/single_comp.json", "manifests/single_syst.json"):
        assert (tmp_path / "out" / name).read_bytes() == (drawn / name).read_bytes()
    pairs = load_pairs(tmp_path / "out", "single_syst", "train", decode=True, cache_dir=tmp_path / "cache")
    assert pairs[0]["before"].size == (32, 32) and pairs.features["object"].names == OBJECTS
    assert "license: mit" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strict"], "pairs.csv, row 3: before is empty."),
        (["--push", "me/mine"], "--license"),
        (["--license", "cc-by"], "not a licence identifier"),
        (["--image_size", "-1"], "--image_size is -1"),
        (["--root", "nowhere"], "given by --root"),
    ],
)
def test_wrong_commands_get_one_sentence(tmp_path, arguments, message):
    write_pictures(tmp_path)
    rows = rows_of()
    rows[2]["before"] = ""
    path = write_table(tmp_path / "pairs.csv", rows)
    with pytest.raises(SystemExit) as stopped:
        main(["table", "--input", str(path), "--output", str(tmp_path / "out"), *arguments])
    assert message in str(stopped.value.code) and "\n" not in str(stopped.value.code)
    assert not Path(tmp_path / "out" / "shards").exists()


def test_a_first_line_without_end_is_refused(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("before,after,action,object," + "n" * 300_000 + "\n")
    with pytest.raises(ValueError, match=r"pairs.csv has 300,028 characters and 5 columns, .*; its first line"):
        read_listing(path)


def test_one_name_stands_for_all_objects_of_a_table_without_them(tmp_path):
    path = write_table(tmp_path / "pairs.csv", [{"before": "a.png", "after": "b.png", "action": "open"}])
    for name, seed in (("a.png", 0), ("b.png", 1)):
        (tmp_path / name).write_bytes(picture(seed))
    source = TableSource(path, view="multi", object_name="thing")
    assert source.objects == ["thing"] and len(build(source)[0]) == 1
    other = write_table(tmp_path / "other.csv", [{"before": "a", "after": "b", "action": "open", "object": "box"}])
    with pytest.raises(ValueError, match="has a column object, so leave out --object thing"):
        TableSource(other, view="multi", object_name="thing")


@pytest.mark.skipif(os.name == "nt", reason="where such places exist")
@pytest.mark.parametrize("written", ["C:\\photos\\a.png", "d:/photos/a.png", "\\\\server\\photos\\a.png"])
def test_a_place_on_a_windows_machine_is_explained(tmp_path, written):
    row = {"before": written, "after": "b.png", "action": "open", "object": "box"}
    with pytest.raises(ValueError, match="of a Windows machine; write it relative to the table"):
        TableSource(write_table(tmp_path / "pairs.csv", [row]), view="multi")
