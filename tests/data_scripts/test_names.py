"""Names as other machines and programs write them, through every source; and no class without a pair."""

import csv
import io
import unicodedata
import zipfile
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from datasets import Features

from data_scripts.archives.archive import ArchiveError
from data_scripts.archives.open_files import open_files
from data_scripts.builds.work_units import BadPairError
from data_scripts.episodes.__main__ import main as episodes
from data_scripts.episodes.readings import Readings, read_known
from data_scripts.episodes.table import TableSource
from data_scripts.names import class_name, find_file
from data_scripts.procthor.__main__ import main as procthor
from data_scripts.procthor.reader import HousesSource
from data_scripts.splits import main as splits
from tests.data.tiny_pairs import picture
from tests.data_scripts.drawn_houses import draw_houses

NFC, NFD = "cr\u00e8me", "cre\u0300me"


def write_pairs(folder: Path, rows: list[dict[str, str]], first: bytes = b"") -> Path:
    """Pictures and a table of pairs; `before` and `after` of a row may name other files."""
    folder.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, ["before", "after", "action", "object", "group"], lineterminator="\n")
    writer.writeheader()
    for number, row in enumerate(rows):
        for k, name in enumerate(("before", "after")):
            if name not in row:
                (folder / f"{number}_{name}.png").write_bytes(picture(2 * number + k, 20, 16))
        writer.writerow({"before": f"{number}_before.png", "after": f"{number}_after.png", "group": number} | row)
    (folder / "pairs.csv").write_bytes(first + text.getvalue().encode())
    return folder / "pairs.csv"


def build(source):
    """Rows, the counts of what was rejected, and the sentences."""
    parts = [source.build(unit) for unit in source.units()]
    rejected = {reason: n for part in parts for reason, n in part.rejected.items()}
    return [row for part in parts for row in part.rows], rejected, [text for part in parts for text in part.problems]


@pytest.mark.parametrize("name", ["NaN", "nan", "None", " NULL ", "n/a", "N / A", "<NA>", "#N/A", "", "  "])
def test_what_stands_for_a_missing_name_names_nothing(name):
    with pytest.raises(BadPairError) as refused:
        class_name(name, "object")
    assert refused.value.reason == "no name" and str(refused.value).startswith("object is ")
    assert class_name(" Nancy ", "object") == "Nancy" and class_name("none of these", "object") == "none of these"


def test_rejected_rows_give_no_class(tmp_path):
    """Two actions of rows without a name, one of a row without its picture: none is a class of the data set."""
    rows = [{"action": a, "object": o} for a in ("open", "close") for o in ("box", "door", "bag") for _ in range(3)]
    rows += [{"action": "NaN", "object": "box"}, {"action": "open", "object": "None"}]
    rows += [{"action": "push", "object": "trolley", "before": "lost.png"}]
    table = write_pairs(tmp_path / "in", rows)
    arguments = ["table", "--input", str(table), "--output", str(tmp_path / "out"), "--view", "multi", "--workers", "1"]
    episodes([*arguments, "--shift", "none"])

    def classes() -> tuple[list[str], list[str], int]:
        (train,) = (tmp_path / "out" / "multi_none").glob("train-*.parquet")
        features = Features.from_arrow_schema(parquet.read_schema(train))
        labels = parquet.read_table(train, columns=["action", "object", "pair_id"]).to_pylist()
        for row in labels:  # the numbers were changed with the names
            listed = rows[int(row["pair_id"][-6:]) - 1]
            assert features["action"].int2str(row["action"]) == listed["action"]
            assert features["object"].int2str(row["object"]) == listed["object"]
        return features["action"].names, features["object"].names, len(labels)

    assert classes() == (["close", "open"], ["bag", "box", "door"], 13)
    told = (tmp_path / "out" / "README.md").read_text()
    assert "no name (2)" in told and "missing picture (1)" in told and "trolley" not in told.partition("Settings")[0]
    splits(["--data", str(tmp_path / "out"), "--view", "multi", "--shift", "none", "--seed", "1"])
    assert classes()[:2] == (["close", "open"], ["bag", "box", "door"])


def test_a_folder_or_a_reading_without_a_name_is_refused(tmp_path):
    for place in ("open/box", "NaN/box", "open/null"):
        (tmp_path / place).mkdir(parents=True)
        for k, when in enumerate(("before", "after")):
            (tmp_path / place / f"1_{when}.png").write_bytes(picture(k))
    rows, rejected, problems = build(TableSource(tmp_path, view="multi"))
    assert [row["pair_id"] for row in rows] == ["open/box/1"] and rejected == {"no name": 2}
    assert any("NaN/box/1: the folder of the action is 'NaN', which names no class" in text for text in problems)
    known = tmp_path / "known.csv"
    known.write_text("instruction,action,object\nopen it,open,NaN\n")
    with pytest.raises(ValueError, match="'nan' cannot name a class"):
        read_known(known)
    assert getattr(Readings().read("open the null"), "reason", None) == "no name"


def test_one_name_in_two_spellings_is_one_class_and_one_group(tmp_path):
    rows = [{"action": "open", "object": NFC, "group": NFD}, {"action": "open", "object": NFD, "group": NFC}]
    source = TableSource(write_pairs(tmp_path, rows), view="multi")
    assert source.objects == [NFC] and [row["scene"] for row in build(source)[0]] == [NFC, NFC]


@pytest.mark.parametrize(("on_disk", "listed"), [(NFD, NFC), (NFC, NFD)])
def test_pictures_are_found_in_either_spelling_and_behind_backslashes(tmp_path, on_disk, listed):
    (tmp_path / "rooms" / on_disk).mkdir(parents=True)
    for k, when in enumerate(("before", "after")):
        (tmp_path / "rooms" / on_disk / f"{on_disk}_{when}.png").write_bytes(picture(k, 20, 16))
    row = {"before": f"rooms\\{listed}\\{listed}_before.png", "after": f"rooms/{listed}/{listed}_after.png"}
    table = write_pairs(tmp_path, [row | {"action": "open", "object": "box"}])
    rows, rejected, _ = build(TableSource(table, view="multi"))
    assert len(rows) == 1 and not rejected
    assert rows[0]["before"]["bytes"] == picture(0, 20, 16) and rows[0]["after"]["bytes"] == picture(1, 20, 16)


def test_backslashes_do_not_lead_out_of_the_folder(tmp_path):
    (tmp_path / "secret.png").write_bytes(picture(0))
    table = write_pairs(tmp_path / "in", [{"before": "..\\secret.png", "action": "open", "object": "box"}])
    assert build(TableSource(table, view="multi"))[1] == {"path leaves the folder": 1}
    (tmp_path / "in" / "a\\b.png").write_bytes(b"")  # a name of its own where backslashes are letters
    assert find_file(tmp_path / "in", "a\\b.png").name == "a\\b.png"


def test_a_folder_written_on_a_mac(tmp_path):
    (tmp_path / "open" / NFD).mkdir(parents=True)
    for spelling, when in ((NFD, "before"), (NFC, "after")):
        (tmp_path / "open" / NFD / f"{spelling}_{when}.png").write_bytes(picture(len(when)))
    source = TableSource(tmp_path, view="multi")
    assert source.objects == [NFC] and [row["pair_id"] for row in build(source)[0]] == [f"open/{NFC}/{NFC}"]


def test_pictures_in_other_formats_are_named_and_counted(tmp_path):
    (tmp_path / "open" / "box").mkdir(parents=True)
    for k, when in enumerate(("before", "after")):
        (tmp_path / "open" / "box" / f"1_{when}.gif").write_bytes(picture(k, format="GIF"))
        (tmp_path / "open" / "box" / f"2_{when}.AVIF").write_bytes(b"avif")
        (tmp_path / "open" / "box" / f"3_{when}.xyz").write_bytes(b"xyz")
    (tmp_path / "open" / "box" / "cover.jxl").write_bytes(b"jxl")
    (tmp_path / "open" / "box" / "notes.txt").write_text("no picture")
    rows, rejected, problems = build(TableSource(tmp_path, view="multi"))
    assert [row["pair_id"] for row in rows] == ["open/box/1"]
    assert rejected == {"other picture format": 5}
    assert any("open/box/2_before.AVIF: pictures in .avif are not read; save it as PNG or JPEG" in p for p in problems)


def test_a_folder_of_nothing_but_other_formats_says_so(tmp_path):
    (tmp_path / "open" / "box").mkdir(parents=True)
    (tmp_path / "open" / "box" / "2_before.avif").write_bytes(b"avif")
    with pytest.raises(
        ValueError, match="The first fault is in open/box/2_before.avif: pictures in .avif are not read"
    ):
        TableSource(tmp_path, view="multi")


@pytest.mark.parametrize("first", [b"sep=,\n", b'"sep=,"\r\n', b"\xef\xbb\xbfSEP=,\n"])
def test_a_first_line_that_names_the_separator_is_no_row(tmp_path, first):
    rows = [{"action": "open", "object": "box"}, {"action": "close", "object": "box", "before": "lost.png"}]
    stored, rejected, problems = build(TableSource(write_pairs(tmp_path, rows, first), view="multi"))
    assert len(stored) == 1 and rejected == {"missing picture": 1} and "pairs.csv, row 2: " in problems[0]


def test_the_named_separator_is_used(tmp_path):
    table = write_pairs(tmp_path, [{"action": "open", "object": "box"}])
    table.write_bytes(b"sep=;\n" + table.read_bytes().replace(b",", b";"))
    assert len(build(TableSource(table, view="multi"))[0]) == 1


@pytest.fixture
def mac_houses(tmp_path) -> Path:
    """Two pairs of which one has a noun with an accent: its table in NFC, its pictures in NFD."""
    houses = draw_houses(tmp_path / "data", houses=1, pairs=1)
    table = houses / "proc_00000" / "annotations.csv"
    table.write_text(table.read_text().replace("Drawer", NFC))
    for path in list((houses / "proc_00000").glob("*/*_Drawer_*")):
        path.rename(path.with_name(path.name.replace("Drawer", NFD)))
    return houses


def test_houses_from_a_mac(mac_houses, tmp_path):
    with zipfile.ZipFile(tmp_path / "mac.zip", "w") as file:
        for path in sorted(path for path in mac_houses.rglob("*") if path.is_file()):
            file.write(path, unicodedata.normalize("NFD", str(path.relative_to(mac_houses))))
    folder, archive = (HousesSource(path, "multi", None, progress=False) for path in (mac_houses, tmp_path / "mac.zip"))
    assert folder.objects == archive.objects == ["Safe", NFC]
    rows, rejected, _ = build(folder)
    assert len(rows) == 2 and not rejected and build(archive)[0] == rows
    assert all(row["mask_before"] and row["mask_after"] for row in rows)


def test_two_files_of_one_name_are_refused(tmp_path):
    for name in (NFC, NFD):
        (tmp_path / f"{name}.png").write_bytes(b"")
    with pytest.raises(ArchiveError, match="two files .*keep one"):
        open_files(tmp_path).names()


def test_a_table_of_houses_that_excel_or_pandas_saved(tmp_path):
    houses = draw_houses(tmp_path / "data", houses=1, pairs=1)
    whole = build(HousesSource(houses, "multi", None, progress=False))
    table = houses / "proc_00000" / "annotations.csv"
    lines = [line.split(",") for line in table.read_text().split()]
    floats = [
        ",".join([*line[:1], f"{line[1]}.0", *line[2:5], *(f"{bound}.0" for bound in line[5:])]) for line in lines
    ]
    table.write_text("sep=,\n" + "\n".join(floats))
    assert build(HousesSource(houses, "multi", None, progress=False)) == whole
    with pytest.raises(SystemExit, match="--verbs is 'None', which names no class"):
        procthor(["read", "--input", str(houses), "--output", str(tmp_path / "out"), "--verbs", "open", "None"])


@pytest.mark.parametrize("first", ["sep=,", '"sep=,"', "SEP=,"])
def test_readings_that_excel_saved(tmp_path, first):
    known = tmp_path / "known.csv"
    known.write_text(f"{first}\ninstruction,action,object\nopen it,open,box\n")
    assert list(read_known(known).values()) == [("open", "box")]
    known.write_text("sep=;\ninstruction;action;object\nopen it;open;box\n")
    assert list(read_known(known).values()) == [("open", "box")]
