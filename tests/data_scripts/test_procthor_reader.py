import hashlib
import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_scripts.archives.archive import ArchiveError
from data_scripts.builds.work_units import StopBuildError
from data_scripts.procthor.__main__ import main
from data_scripts.procthor.annotations import read_annotations
from data_scripts.procthor.reader import HousesSource
from modeling_cde.data.building.build import write_shard
from modeling_cde.data.transforms import PairTransform
from tests.data_scripts.drawn_houses import NOUNS, VERBS, draw_houses, png
from tests.data_scripts.fake_source import sent
from tests.data_scripts.test_causal_triplet_layout import original_rows
from tests.real_data import real_data


def all_rows(source: HousesSource) -> list[dict]:
    return [row for unit in source.units() for row in source.build(unit).rows]


def source_of(path: Path, view: str = "multi", image_size: int | None = None, **options) -> HousesSource:
    return HousesSource(path, view, image_size, progress=False, **options)


@pytest.fixture(scope="module")
def houses(tmp_path_factory) -> Path:
    return draw_houses(tmp_path_factory.mktemp("houses") / "data", houses=3)


@pytest.fixture
def house(tmp_path) -> Path:
    """One house of two pairs that a test may spoil."""
    return draw_houses(tmp_path / "data", houses=1, pairs=1)


def table_of(house: Path) -> Path:
    return house / "proc_00000" / "annotations.csv"


# What good data give


def test_the_digest_of_the_tables_is_of_every_byte_and_of_the_houses_names(tmp_path):
    def told(folder):
        return source_of(folder).tables_sha256

    known = told(draw_houses(tmp_path / "one", houses=2))
    assert known == told(draw_houses(tmp_path / "same", houses=2)) != hashlib.sha256().hexdigest()
    assert known != told(draw_houses(tmp_path / "more", houses=3))
    table = table_of(tmp_path / "same")
    table.write_bytes(table.read_bytes() + b"\n")
    changed = told(tmp_path / "same")
    (tmp_path / "one" / "proc_00001").rename(tmp_path / "one" / "proc_00002")
    assert len({known, changed, told(tmp_path / "one")}) == 3


def test_real_pairs_come_out_right():
    sample = real_data("procthor-sample")
    before, after = (
        (sample / "proc_00001" / "color" / name).read_bytes()
        for name in ("00002_first.png", "00002_second_Safe_open.png")
    )
    source = source_of(sample)
    assert source.units() == ["proc_00001"] and source.pairs == 2
    assert (source.actions, source.objects) == (["open"], ["Drawer", "Safe"])
    built = source.build("proc_00001")
    assert not built.rejected and not built.problems
    drawer, safe = built.rows
    assert (safe["before"]["bytes"], safe["after"]["bytes"]) == (before, after)
    assert (safe["box"], drawer["box"]) == ([119, 287, 190, 369], [394, 421, 671, 623])
    assert (safe["pair_id"], safe["scene"]) == ("proc_00001-00002_second_Safe_open", "proc_00001")
    assert (safe["action"], safe["object"], safe["mask_before"], safe["mask_after"]) == (0, 1, None, None)

    transform = PairTransform((224, 224))
    for image_size, expected_sizes in ((256, [(256, 256), (126, 125)]), (None, [(672, 672)] * 2)):
        single = source_of(sample, "single", image_size).build("proc_00001").rows
        for row, original, size in zip(single, (drawer, safe), expected_sizes, strict=True):
            with Image.open(io.BytesIO(row["after"]["bytes"])) as image:
                assert image.size == size
            values = transform.pixel_values(row["before"], row["after"], row["box"])
            wanted = transform.pixel_values(original["before"], original["after"], original["box"])
            assert (values - wanted).abs().mean() < 0.06  # of 2; the drawer is shown from 205 pixels instead of 334
    multi = source_of(sample, "multi", 256).build("proc_00001").rows[1]
    assert multi["box"] == [45, 109, 72, 140]  # 119·256/672 = 45.3, 191·256/672 = 72.8, ...


@pytest.mark.parametrize("view", ["single", "multi"])
def test_rows_are_those_of_the_original_reader_in_its_order(view, houses):
    source = source_of(houses, view)
    rows = all_rows(source)
    expected = original_rows(houses)
    assert len(rows) == len(expected) == source.pairs == 10
    for row, wanted in zip(rows, expected, strict=True):
        assert row["pair_id"] == f"{wanted['scene']}-{wanted['figure']}" and row["scene"] == wanted["scene"]
        assert source.actions[row["action"]] == wanted["verb"] and source.objects[row["object"]] == wanted["noun"]
        assert row["before"]["bytes"] == wanted["before"].read_bytes()
        assert row["after"]["bytes"] == wanted["after"].read_bytes()
        assert row["box"] == [int(wanted[name]) for name in ("xmin", "ymin", "xmax", "ymax")]
        for when, name in (("before", wanted["before"]), ("after", wanted["after"])):
            assert row[f"mask_{when}"]["bytes"] == (name.parent.parent / "mask" / name.name).read_bytes()
    assert source.actions == sorted(set(VERBS)) and source.objects == sorted(NOUNS)
    assert len({row["pair_id"] for row in rows}) == 10


def pack(houses: Path, path: Path, prefix: str, order: int = 1) -> Path:
    """The houses below a prefix, with junk, in sorted order or the other way round."""
    members = sorted(path for path in houses.rglob("*") if path.is_file())[::order]
    names = {f"{prefix}{file.relative_to(houses)}": file.read_bytes() for file in members}
    names |= {"__MACOSX/proc_00009/annotations.csv": b"junk", f"{prefix}proc_00000/color/._x.png": b"junk"}
    names[f"{prefix}annotations.csv"] = (
        b"scene,idx,figure,noun_class,verb_class,xmin,ymin,xmax,ymax\n"  # a reader's cache
    )
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            for name, content in names.items():
                file.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as file:
            for name, content in names.items():
                info = tarfile.TarInfo("./" + name)
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
@pytest.mark.parametrize(("prefix", "order"), [("", 1), ("some/where/", -1)])
def test_archives_give_the_rows_of_the_folder(name, prefix, order, houses, tmp_path):
    folder = source_of(houses, "single", 40)
    archive = source_of(pack(houses, tmp_path / name, prefix, order), "single", 40)
    assert archive.settings() == folder.settings() and archive.units() == folder.units()
    worker = sent(archive)
    for unit in archive.units():
        assert worker.build(unit) == folder.build(unit)
    worker.close()
    archive.close()
    assert bool(archive.files.cost) == name.endswith("gz")


def test_a_unit_depends_on_nothing_but_settings_and_name(houses, tmp_path):
    source = source_of(houses, "single", 40)
    rows = [source.build(unit).rows for unit in ("proc_00002", "proc_00000", "proc_00002")]
    assert rows[0] == rows[2]
    for name, one in (("1", source), ("2", sent(source))):
        write_shard(tmp_path / name, one.build("proc_00001").rows, one.features)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_settings_name_what_was_chosen(houses):
    settings_of = [
        source_of(houses, "single", 40).settings(),
        source_of(houses, "multi", 40).settings(),
        source_of(houses, "single", 41).settings(),
        source_of(houses, "single", None).settings(),
        source_of(houses, "single", 40, verbs=["open", "close"]).settings(),
    ]
    assert len({str(one) for one in settings_of}) == len(settings_of)
    assert source_of(houses, "single", 40, strict=True).settings() == settings_of[0]


def test_masks_may_be_missing_altogether_or_one_by_one(house):
    (house / "proc_00000/mask/00001_first.png").unlink()
    rows = all_rows(source_of(house, "single", 20))
    assert rows[0]["mask_before"] is None and rows[0]["mask_after"] is not None
    shutil.rmtree(house / "proc_00000/mask")
    rows = all_rows(source_of(house, "single", 20))
    assert len(rows) == 2 and all(row["mask_after"] is None for row in rows)


def test_verbs_can_be_chosen_and_cook_is_never_used(house):
    table = table_of(house)
    color = house / "proc_00000/color"
    table.write_text(table.read_text().replace("_open,", "_cook,").replace(",open,", ",cook,"))
    (color / "00001_second_Drawer_open.png").rename(color / "00001_second_Drawer_cook.png")
    source = source_of(house)
    assert source.actions == ["turnon"] and source.objects == ["Safe"]
    built = source.build("proc_00000")
    assert len(built.rows) == 1 and built.rejected == {"verb not used": 1} and not built.problems
    assert source_of(house, strict=True).build("proc_00000") == built  # not wanted is not wrong
    assert source_of(house, verbs=["cook", "fly"]).actions == ["cook"]


# What bad data give: each is counted by reason, reported by scene and row, and the other pair is kept


def spoil_line(number: int, old: str, new: str):
    def spoil(house: Path) -> None:
        lines = table_of(house).read_text().splitlines()
        assert old in lines[number - 1]
        lines[number - 1] = lines[number - 1].replace(old, new)
        table_of(house).write_text("\n".join(lines) + "\n")

    return spoil


def spoil_box(number: int, box: str):
    def spoil(house: Path) -> None:
        lines = table_of(house).read_text().splitlines()
        lines[number - 1] = ",".join([*lines[number - 1].split(",")[:5], box])
        table_of(house).write_text("\n".join(lines) + "\n")

    return spoil


def drop_line(number: int):
    def spoil(house: Path) -> None:
        lines = table_of(house).read_text().splitlines()
        table_of(house).write_text("\n".join(lines[: number - 1] + lines[number:]) + "\n")

    return spoil


def spoil_file(name: str, change):
    def spoil(house: Path) -> None:
        path = house / "proc_00000" / name
        content = change(path.read_bytes())
        path.unlink() if content is None else path.write_bytes(content)

    return spoil


FIRST, SECOND = "color/00001_first.png", "color/00001_second_Drawer_open.png"
BAD = {
    "missing before": (spoil_file(FIRST, lambda _: None), "missing file", 2, "00001_first.png is missing"),
    "missing after": (spoil_file(SECOND, lambda _: None), "missing file", 2, "_open.png is missing"),
    "broken": (spoil_file(SECOND, lambda data: data[:99]), "broken picture", 2, "after picture cannot be read"),
    "empty file": (spoil_file(FIRST, lambda _: b""), "broken picture", 2, "before picture cannot be read"),
    "no picture": (spoil_file(FIRST, lambda _: b"<html>"), "broken picture", 2, "before picture cannot be read"),
    "sizes": (
        spoil_file(FIRST, lambda _: png(Image.new("RGB", (64, 63)))), "pictures differ in size", 2, "64x63 before"
    ),
    "no change": (
        lambda house: shutil.copy(house / "proc_00000" / FIRST, house / "proc_00000" / SECOND),
        "identical pictures", 2, "before and after are the same picture"
    ),
    "broken mask": (spoil_file("mask/00001_first.png", lambda _: b"x"), "broken picture", 2, "before mask cannot"),
    "mask size": (
        spoil_file("mask/00001_first.png", lambda _: png(Image.new("L", (9, 9)))), "mask of another size", 2, "9x9"
    ),
    "box outside": (spoil_box(2, "0,0,64,9"), "box outside the picture", 2, "0, 0, 64, 9"),
    "negative box": (spoil_box(2, "-1,0,6,9"), "box outside the picture", 2, "-1, 0, 6, 9"),
    "before box outside": (spoil_box(1, "0,0,9,64"), "box outside the picture", 1, "0, 0, 9, 64"),
    "empty box": (spoil_box(2, "9,0,8,9"), "empty box", 2, "9, 0, 8, 9"),
    "empty before box": (spoil_box(1, "0,9,8,8"), "empty box", 1, "0, 9, 8, 8"),
    "no number": (spoil_box(2, "1,2,x,4"), "no whole number", 2, "xmax is 'x'"),
    "fraction": (spoil_box(2, "1,2,3.5,4"), "no whole number", 2, "xmax is '3.5'"),
    "no index": (spoil_line(2, ",1,", ",one,"), "no whole number", 2, "idx is 'one'"),
    "too few fields": (spoil_line(2, "proc_00000,", ""), "wrong number of fields", 2, "8 fields"),
    "too many fields": (spoil_line(1, "proc_00000,", "proc_00000,,"), "wrong number of fields", 1, "10 fields"),
    "quotes": (spoil_line(2, "Drawer,open", '"Drawer,open'), "broken row", 2, "not CSV"),
    "unknown verb": (spoil_line(2, ",open", ",opened"), "unknown verb", 2, "'opened' is unknown"),
    "noun differs": (spoil_line(2, ",Drawer", ",Safe"), "figure does not fit", 2, "does not fit noun 'Safe'"),
    "verb differs": (spoil_line(2, ",open", ",close"), "figure does not fit", 2, "verb 'close'"),
    "before noun differs": (spoil_line(1, ",Drawer", ",Safe"), "conflicting rows", 2, "not that of row 1"),
    "figure with ending": (spoil_line(2, "_open,", "_open.png,"), "figure does not fit", 2, "_open.png"),
    "no noun": (
        lambda house: [spoil(house) for spoil in (spoil_line(2, "Drawer,", ","), spoil_line(2, "_Drawer_", "__"))],
        "no name", 2, "noun is empty"
    ),
    "noun NaN": (
        lambda house: [spoil_line(2, old, old.replace("Drawer", "NaN"))(house) for old in ("Drawer,", "_Drawer_")],
        "no name", 2, "noun is 'NaN', which names no class"
    ),
    "before figure": (spoil_line(1, "00001_first", "00001_fist"), "figure does not fit", 1, "00001_fist"),
    "path in figure": (spoil_line(1, "00001_first", "../00001_first"), "figure does not fit", 1, "../00001_first"),
    "other scene": (spoil_line(2, "proc_00000", "proc_00007"), "other scene", 2, "'proc_00007'"),
    "no before row": (drop_line(1), "no before row", 1, "its before row 00001_first is missing"),
    "no after row": (drop_line(2), "no after row", 1, "no row for the picture after 00001_first"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_bad_rows_are_counted_reported_and_left_out(fault, house):
    spoil, reason, row, words = BAD[fault]
    spoil(house)
    built = source_of(house).build("proc_00000")
    assert [row["pair_id"] for row in built.rows] == ["proc_00000-00002_second_Safe_turnon"]
    # A figure of no number cannot be told to be the one that the after row lacks.
    assert built.rejected == {reason: 1} | ({"no before row": 1} if fault == "before figure" else {})
    (problem,) = [problem for problem in built.problems if f"row {row}:" in problem]
    assert problem.startswith(f"proc_00000, row {row}: ") and words in problem
    assert len(built.problems) == sum(built.rejected.values())
    with pytest.raises(StopBuildError, match="--strict") as stopped:
        source_of(house, strict=True).build("proc_00000")
    assert str(stopped.value).startswith(built.problems[0])


def test_rows_that_are_there_twice_count_once(house):
    """An interrupted generator that was started again has appended the same rows."""
    whole = source_of(house).build("proc_00000")
    table_of(house).write_bytes(table_of(house).read_bytes() * 3)
    built = source_of(house).build("proc_00000")
    assert built.rows == whole.rows and built.rejected == {"duplicate row": 8}
    assert built.problems[0] == "proc_00000, row 5: it repeats row 1 (00001_first)."
    with pytest.raises(StopBuildError, match="row 5"):
        source_of(house, strict=True)


@pytest.mark.parametrize(
    "more",
    [
        ["proc_00000,1,00001_second_Safe_close,Safe,close,1,1,9,9"],  # other pictures now lie under 00001_first.png
        ["proc_00000,1,00001_second_Drawer_open,Drawer,open,1,1,9,9"],
        ["proc_00000,1,00001_first,Drawer,none,1,1,9,9"],
    ],
)
def test_rows_that_contradict_each_other_are_all_left_out(more, house):
    with table_of(house).open("a") as file:
        file.write("\n".join(more) + "\n")
    built = source_of(house).build("proc_00000")
    assert [row["pair_id"] for row in built.rows] == ["proc_00000-00002_second_Safe_turnon"]
    assert built.rejected == {"conflicting rows": 3}
    assert all("rows 1, 2, 5 differ but share the picture 00001_first.png" in problem for problem in built.problems)


def test_tables_that_are_no_text_or_empty_give_no_pairs(houses, tmp_path):
    shutil.copytree(houses, tmp_path / "data")
    (tmp_path / "data/proc_00000/annotations.csv").write_bytes(b"\xff\xfe\0p\0r")
    (tmp_path / "data/proc_00001/annotations.csv").write_bytes(b"")
    source = source_of(tmp_path / "data")
    assert source.units() == ["proc_00000", "proc_00001", "proc_00002"] and source.pairs == 4
    assert source.build("proc_00000").rejected == {"unreadable table": 1}
    assert source.build("proc_00001").rows == []


def test_a_byte_order_mark_and_other_line_ends_are_read(house):
    whole = source_of(house).build("proc_00000")
    content = table_of(house).read_bytes()
    for changed in (b"\xef\xbb\xbf" + content, content.replace(b"\r\n", b"\n"), content.replace(b"\r\n", b"\n\n")):
        table_of(house).write_bytes(changed)
        assert source_of(house).build("proc_00000") == whole


GOOD = [f"proc_00000,{n},{n:05d}_first,Mug,none,1,2,30,40" for n in range(1, 7)]
GOOD_AFTER = [f"proc_00000,{n},{n:05d}_second_Mug_open,Mug,open,1,2,30,{40 + n}" for n in range(1, 7)]


@settings(max_examples=150)
@given(
    present=st.lists(st.sampled_from([(n, side) for n in range(6) for side in (0, 1)]), max_size=16),
    noise=st.lists(st.text(max_size=30), max_size=5),
    data=st.data(),
)
def test_whatever_a_table_holds_every_whole_pair_is_read_once(present, noise, data):
    lines = [(GOOD, GOOD_AFTER)[side][n] for n, side in present]
    lines += [line for line in noise if "_first" not in line and "_second" not in line]
    lines = data.draw(st.permutations(lines))
    house = read_annotations("\n".join(lines).encode("utf-8", "ignore"), "proc_00000")
    expected = {n for n in range(6) if (n, 0) in present and (n, 1) in present}
    assert {int(pair.second[:5]) - 1 for pair in house.pairs} == expected and len(house.pairs) == len(expected)
    assert [pair.row for pair in house.pairs] == sorted(pair.row for pair in house.pairs)
    for pair in house.pairs:
        assert pair.box == (1, 2, 30, 40 + int(pair.second[:5])) and pair.box_before == (1, 2, 30, 40)
    # Every line is a part of a pair, blank, or counted.
    assert house.rejected["duplicate row"] == len(present) - len(set(present))
    lone = len(set(present)) - 2 * len(expected)
    assert house.rejected["no before row"] + house.rejected["no after row"] == lone


def test_a_table_of_a_million_faults_is_counted_and_not_listed():
    house = read_annotations(b"bad\n" * 20_000, "proc_00000")
    assert house.rejected == {"wrong number of fields": 20_000} and len(house.problems) <= 200


def test_a_table_of_many_rows_for_one_picture_is_read_in_a_moment():
    """Minutes, if each row were looked for among all others, and if each sentence named them all."""
    lines = [f"proc_00000,1,00001_first,Mug,none,1,2,30,{40 + n}" for n in range(20_000)] + GOOD_AFTER[:1]
    house = read_annotations("\n".join(lines).encode(), "proc_00000")
    assert not house.pairs and house.rejected == {"conflicting rows": 20_001}
    assert house.problems[0].startswith("proc_00000, row 1: rows 1, 2, 3, 4, 5 and 19996 more differ")


def test_sentences_stay_short_whatever_a_field_holds():
    house = read_annotations(GOOD[0].replace("00001_first", "x" * 100_000).encode(), "proc_00000")
    (problem,) = house.problems
    assert problem.startswith("proc_00000, row 1: the figure 'xxx") and problem.endswith("x ...") and len(problem) < 500


# What is refused altogether


def test_inputs_without_houses_or_pairs_are_refused(house, tmp_path):
    (tmp_path / "empty" / "proc_00001" / "color").mkdir(parents=True)
    with pytest.raises(ValueError, match="has no houses: no file proc_XXXXX/annotations.csv"):
        source_of(tmp_path / "empty")
    with pytest.raises(ValueError, match="is itself a house: give the folder"):
        source_of(house / "proc_00000")
    with pytest.raises(ValueError, match="have no pairs of the verbs close"):
        source_of(house, verbs=["close"])
    shutil.copytree(house, house / "again")
    with pytest.raises(ValueError, match="proc_00000 twice, as again/proc_00000 and as proc_00000"):
        source_of(house)


@pytest.mark.parametrize("name", ["proc_7", "proc_0012", "proc_123456"])
def test_house_numbers_may_have_any_number_of_digits(name, house):
    whole = source_of(house).build("proc_00000").rows
    table_of(house).write_text(table_of(house).read_text().replace("proc_00000", name))
    (house / "proc_00000").rename(house / name)
    source = source_of(house)
    assert source.units() == [name]
    expected = [row | {"scene": name, "pair_id": row["pair_id"].replace("proc_00000", name)} for row in whole]
    assert source.build(name).rows == expected


def test_houses_without_a_table_are_counted(house):
    shutil.copytree(house / "proc_00000", house / "proc_00005")
    (house / "proc_00005" / "annotations.csv").unlink()
    source = source_of(house)
    assert source.without_table == 1 and source.units() == ["proc_00000"]


def test_hostile_archives_are_refused_before_any_work(house, tmp_path):
    path = pack(house, tmp_path / "a.zip", "data/")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("data/proc_00000/color/../../../../evil.png", b"x")
    with pytest.raises(ArchiveError, match="evil.png' that leaves"):
        source_of(path)
    with pytest.raises(SystemExit, match="leaves its folder"):
        main(["read", "--input", str(path), "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


# The command line


def test_read_command_builds_shards_that_can_be_looked_at(house, tmp_path, capsys):
    spoil_file(FIRST, lambda _: None)(house)
    main(f"read --input {house} --output {tmp_path / 'out'} --image_size 32 --workers 1 --no_split".split())
    shards = sorted((tmp_path / "out/shards/single").glob("*.parquet"))
    assert [path.name for path in shards] == ["proc_00000.parquet"]
    told = capsys.readouterr().out
    assert "2 pairs in the tables of 1 houses: 2 actions (open, turnon) of 2 kinds of objects." in told
    assert "missing file 1" in told and "proc_00000, row 2: " in told
    import pyarrow.parquet as parquet

    (row,) = parquet.read_table(shards[0]).to_pylist()
    with Image.open(io.BytesIO(row["before"]["bytes"])) as image:
        assert min(image.size) <= 32 and np.asarray(image).ndim == 3


def test_the_card_says_what_the_user_states_and_else_unknown(tmp_path, capsys):
    houses = draw_houses(tmp_path / "mine", houses=8, pairs=10)
    arguments = f"read --input {houses} --output {tmp_path / 'out'} --view multi --workers 1 --shift none".split()
    main(arguments)

    def card() -> tuple[dict, str]:
        header, text = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)[1:]
        return yaml.safe_load(header), text

    header, text = card()
    assert header["license"] == "unknown" and header["pretty_name"] == "Before/after pairs of mine"
    assert "Licence: unknown" in text and "- Where the pairs come from is unknown: nobody has stated it." in text
    assert "apache" not in text.lower() and "ProcTHOR-10K" not in text and "procthor" not in header["tags"]
    assert "--license" in (tmp_path / "out" / "NOT_FOR_PUBLISHING.txt").read_text()
    with pytest.raises(SystemExit, match="Say with --license under which licence"):
        main([*arguments, "--push", "me/mine"])

    stated = ["--license", "other", "--license_terms", "For my class.", "--credit", "By Ada.", "--title", "Cups"]
    capsys.readouterr()
    main([*arguments, *stated, "--provenance", "my kitchen", "camera A"])
    assert "this run built 0" in capsys.readouterr().out  # only the card is written again
    header, text = card()
    assert header["license"] == "other" and header["pretty_name"] == "Cups"
    for words in ("- my kitchen\n- camera A\n- Read from mine", "Licence: `other`.\n\nFor my class.\n\nBy Ada."):
        assert words in text
    assert "unknown" not in text and not (tmp_path / "out" / "NOT_FOR_PUBLISHING.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "Give a command"),
        ("write", "Unknown command 'write'"),
        ("read --input {tmp}/nothing --output {tmp}/out", "nothing does not exist"),
        ("read --input {tmp} --output {tmp}/out", "has no houses"),
        ("read --input {tmp} --output {tmp}/out --image_size 0", "image_size is 0"),
    ],
)
def test_wrong_commands_end_with_a_sentence(arguments, words, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(arguments.format(tmp=tmp_path).split())
    assert words in str(ended.value)
    assert not (tmp_path / "out").exists()
