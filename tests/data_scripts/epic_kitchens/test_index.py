"""From the official tables to an index: every check of a row, every condition, the real numbers."""

import ast
import csv
import dataclasses
import json
import os
import pickle
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_scripts.epic_kitchens.__main__ import main
from data_scripts.epic_kitchens.annotations import Segment, read_segments
from data_scripts.epic_kitchens.csv_tables import TableError, read_classes, read_rows
from data_scripts.epic_kitchens.filters import overlap_shares
from data_scripts.epic_kitchens.frame_numbers import nominal_rate, start_frame, stop_frame, timestamp_seconds
from data_scripts.epic_kitchens.index import build_index
from data_scripts.epic_kitchens.listing import index_csv, read_index
from data_scripts.epic_kitchens.scores import ScoreFile
from data_scripts.epic_kitchens.verbs import CAUSAL_TRIPLET_VERBS, choose_verbs
from tests.cards.hub_rules import problems
from tests.data_scripts.tiny_epic import HEADER, flags, row, write_csv, write_tables
from tests.hub_client import HubClient
from tests.hub_server import HubServer, Repository
from tests.real_data import real_data

SECONDS = {"P01_01": 100.0, "P01_102": 40.0, "P22_07": 500.5}


@pytest.fixture
def tables(tmp_path):
    rows = [
        row("P01_01", 0, 0.0, 1.89),
        row("P01_01", 1, 2.5, 4.0, verb=4),
        row("P01_01", 2, 3.9, 5.0, verb=0, noun=8),  # take: not chosen, but overlaps the one before
        row("P01_102", 0, 10.0, 10.5, verb=36, noun=24),
        row("P22_07", 5, 400.0, 500.49, verb=41, noun=0),
    ]
    return write_tables(tmp_path / "tables", rows, SECONDS)


def one(tmp_path, *rows, seconds=SECONDS, **options):
    return build_index(**write_tables(tmp_path / "one", rows, seconds), **options)


def test_the_index_of_a_small_table(tables):
    index = build_index(**tables)
    found = [(s.narration_id, s.before_frame, s.after_frame, s.rate, s.verb, s.noun) for s in index.segments]
    assert found == [
        ("P01_01_0", 1, 113, 60, "open", "drawer"),
        ("P01_01_1", 150, 240, 60, "close", "drawer"),
        ("P01_102_0", 500, 525, 50, "wrap", "bottle"),
        ("P22_07_5", 24000, 30029, 60, "hang", "tap"),
    ]
    assert index.rows == 5 and not index.faults and index.left_out == {"verb not chosen": 1}


def test_wrap_and_hang_are_two_of_25_verbs():
    assert len(CAUSAL_TRIPLET_VERBS) == len(set(CAUSAL_TRIPLET_VERBS)) == 25
    assert {"wrap", "hang"} <= set(CAUSAL_TRIPLET_VERBS)


FAULTS = {
    "bad narration_id": {"narration_id": "P01_01_x"},
    "wrong video": {"narration_id": "P01_02_7"},
    "wrong participant": {"participant_id": "P02"},
    "bad number": {"start_frame": "1.5"},
    "frame below 1": {"start_frame": "0"},
    "start not before stop": {"start_frame": "113"},
    "bad time stamp": {"stop_timestamp": "0:01.89"},
    "frames and times disagree": {"stop_frame": "112"},
    "unknown verb class": {"verb_class": "97"},
    "unknown noun class": {"noun_class": "300"},
    "bad list": {"all_nouns": "['drawer'"},
}


@pytest.mark.parametrize("reason", sorted(FAULTS))
def test_a_faulty_row_is_named_and_counted(tmp_path, reason):
    bad = row("P01_01", 7, 0.0, 1.89, **FAULTS[reason])
    index = one(tmp_path, row("P01_01", 1, 2.0, 3.0), bad, row("P01_01", 2, 5.0, 6.0))
    assert [s.narration_id for s in index.segments] == ["P01_01_1", "P01_01_2"]
    assert [fault.reason for fault in index.faults] == [reason]
    assert index.faults[0].sentence.startswith(f"EPIC_100_validation.csv, line 3, {bad[0]}: ")
    with pytest.raises(TableError) as stopped:
        one(tmp_path, row("P01_01", 1, 2.0, 3.0), bad, strict=True)
    assert str(stopped.value) == index.faults[0].sentence


def reasons(index):
    return [fault.reason for fault in index.faults]


def test_faults_that_need_more_than_a_changed_value(tmp_path):
    assert reasons(one(tmp_path, row("P03_01", 0, 1, 2))) == ["unknown video"]
    assert reasons(one(tmp_path, row("P01_102", 0, 39.0, 40.1))) == ["beyond the video's end"]
    assert reasons(one(tmp_path, row("P01_102", 0, 39.0, 40.0))) == []
    assert reasons(one(tmp_path, row("P01_01", 0, 1, 2)[:-1])) == ["wrong number of columns"]
    assert reasons(one(tmp_path, [*row("P01_01", 0, 1, 2), "more"])) == ["wrong number of columns"]
    twice = one(tmp_path, row("P01_01", 0, 1, 2), row("P01_01", 0, 3, 4))
    assert reasons(twice) == ["duplicate"] and len(twice.segments) == 1
    assert "line 3" in twice.faults[0].sentence and "line 2" in twice.faults[0].sentence


@pytest.mark.parametrize(
    "text",
    [
        "[" * 9000 + "]" * 9000,
        "[" * 4000,
        "__import__('os').system('false')",
        "('drawer',)",
        "[1]",
        "'" + "a" * 20000,
        "['a', 'b']",
        "",
    ],
)
def test_lists_are_literals_of_limited_length(tmp_path, text):
    assert reasons(one(tmp_path, row("P01_01", 0, 1, 2, all_nouns=text))) == ["bad list"]


def test_times_at_50_per_second_in_the_videos_of_2020(tmp_path):
    sixty = row("P01_102", 0, 10.0, 11.0, start_frame=600, stop_frame=660)
    assert reasons(one(tmp_path, sixty)) == ["frames and times disagree"]


def test_conditions(tmp_path, tables):
    def ids(**options):
        index = build_index(**tables, **options)
        assert index.rows == len(index.segments) + sum(index.left_out.values())
        return [s.narration_id for s in index.segments], index.left_out

    assert ids(verbs=["wrap"])[0] == ["P01_102_0"]
    assert len(ids(verbs=["all"])[0]) == 5
    assert ids(min_seconds=0.5)[1] == {"verb not chosen": 1}
    assert ids(min_seconds=0.51)[1] == {"verb not chosen": 1, "too short": 1}
    assert ids(min_frames=91)[0] == ["P01_01_0", "P22_07_5"]
    # 6 of the 90 frames of P01_01_1 belong to another action.
    assert ids(max_overlap=0.05)[1] == {"verb not chosen": 1, "overlaps another action": 1}
    assert ids(max_overlap=0.07)[1] == {"verb not chosen": 1}
    scores = ScoreFile(
        write_csv(
            tmp_path / "scores.csv",
            ("narration_id", "start_score", "stop_score"),
            [("P01_01_0", 0.51, 0.9), ("P01_01_1", 0.5, 1), ("P22_07_5", 1, 0.2)],
        )
    )
    assert ids(score=scores) == (["P01_01_0"], {"verb not chosen": 1, "no score": 1, "low score": 2})
    assert ids(score=lambda segment: (segment.seconds, 2.0), min_score=1.6)[0] == ["P01_01_0", "P22_07_5"]
    for wrong in (
        {"min_seconds": -1},
        {"min_frames": 0},
        {"max_overlap": 1.5},
        {"min_score": float("nan")},
        {"verbs": []},
    ):
        with pytest.raises(ValueError):
            build_index(**tables, **wrong)
    with pytest.raises(ValueError, match="did you mean 'close'"):
        choose_verbs(["closes"], {"open", "close"})


segment_frames = st.tuples(st.integers(1, 40), st.integers(1, 12), st.sampled_from(["open", "close", "cut"]))


@settings(max_examples=150, deadline=None)
@given(st.lists(segment_frames, min_size=1, max_size=7))
def test_overlap_is_the_share_of_frames_that_another_action_has_too(drawn):
    segments = [
        Segment(f"P01_01_{i}", "P01", "P01_01", start, start + length, 60, verb, "drawer", 99.0, 59.94)
        for i, (start, length, verb) in enumerate(drawn)
    ]
    shares = overlap_shares(segments, {"open", "close"})
    for segment in segments:
        others = [o for o in segments if o.verb != segment.verb]
        frames = range(segment.before_frame, segment.after_frame)
        shared = sum(any(o.before_frame <= f < o.after_frame for o in others) for f in frames)
        if segment.verb == "cut":
            assert segment.narration_id not in shares
        else:
            assert shares[segment.narration_id] == pytest.approx(shared / len(frames))


def test_an_index_is_read_as_it_was_written(tmp_path, tables):
    segments = build_index(**tables).segments
    path = tmp_path / "index.csv"
    segments[0] = dataclasses.replace(segments[0], verb="=1+1")  # a class of a stranger's table
    path.write_text(index_csv(segments))
    assert "'=1+1" in path.read_text()
    again = read_index(path)
    assert again[0].verb == "=1+1"
    assert index_csv(again) == path.read_text()
    assert [(s.narration_id, s.before_frame, s.after_frame) for s in again] == [
        (s.narration_id, s.before_frame, s.after_frame) for s in segments
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("P01,P01_01", "P01,P01_01/../.."),
        ("P01_01_0", "P02_01_0"),
        (",1,113,60", ",113,1,60"),
        (",1,113,60", ",0,113,60"),
        (",1,113,60", ",1,113,50"),
        (",1,113,60", ",1,x,60"),
        ("100.000000", "nan"),
        (",1,113,60", ",1_0,113,60"),
        ("P01_01_0", "P01_01_../../0"),
        ("open,drawer", "open,"),
        ("open,drawer", '"open[2J",drawer'),
    ],
)
def test_an_index_that_was_changed_is_refused_by_line(tmp_path, tables, old, new):
    path = tmp_path / "index.csv"
    text = index_csv(build_index(**tables).segments)
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(TableError, match="line 2") as refused:
        read_index(path)
    assert "invalid literal" not in str(refused.value)


class Bomb:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("protocol", range(0, 6))
@pytest.mark.parametrize("name", ["EPIC_100_train.pkl", "EPIC_100_train.csv"])
def test_pickles_are_refused_and_never_loaded(tmp_path, tables, name, protocol):
    mark = tmp_path / "exploded"
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Bomb(mark), protocol))
    with pytest.raises(TableError) as error:
        build_index(**(tables | {"annotations": [path]}))
    assert not mark.exists() and str(path) in str(error.value)
    if name.endswith(".pkl") or protocol >= 2:
        assert "can run any code" in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.hdf", b"anything", "can run any code"),
        ("a.csv", b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5.*can run any code"),
        ("a.csv", b"\x1f\x8b" + bytes(100), "a gzip file"),
        ("a.csv", b"narration_id,video_id\n\0", "binary"),
        ("a.csv", b"", "no column"),
        ("a.csv", b"id,key\n1,\xff\xfe\n", "UTF-8"),
        ("a.csv", b'id,key\n1,"open\n', "not a CSV"),
        ("a.csv", b"id,key\n1," + b"x" * 200_000 + b"\n", "not a CSV"),
        ("a.csv", b"id,id,key\n1,1,x\n", "two columns"),
        ("a.csv", b"id,key\n1,open\n1,close\n", "line 3.*twice"),
        ("a.csv", b"id,key\n1,open\n2,open\n", "line 3.*twice"),
        ("a.csv", b"id,key\nx,open\n", "line 2"),
        ("a.csv", b"id,key\n1\n", "line 2"),
        ("a.csv", b"id,key\n", "no classes"),
        ("a.csv", None, "There is no table"),
    ],
)
def test_what_is_no_table(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=message):
        read_classes(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encodings_quotes_and_line_ends(tmp_path, encoding, newline):
    path = tmp_path / "a.csv"
    path.write_bytes(newline.join(["id,key", '1,"crème, ""brûlée"""', "", '2,"two', 'lines"', ""]).encode(encoding))
    rows = list(read_rows(path, ("id", "key")))
    assert [(r.number, r.values["key"]) for r in rows] == [(2, 'crème, "brûlée"'), (5, f"two{newline}lines")]


@pytest.mark.parametrize("places", [("noun_classes", "noun_classes"), ("verb_classes", "verb_classes"), None])
def test_class_tables_in_each_others_place_are_refused(tables, places):
    verbs, nouns = places or ("noun_classes", "verb_classes")
    with pytest.raises(TableError, match="class 0 is '(take|tap)'"):
        build_index(**(tables | {"verb_classes": tables[verbs], "noun_classes": tables[nouns]}), verbs=["all"])


def test_an_output_that_is_a_file(tmp_path, tables):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(SystemExit, match="is a file: give a folder"):
        main(["index", *flags(tables), "--output", str(tmp_path / "taken")])
    assert (tmp_path / "taken").read_text() == "mine"


def test_the_test_set_has_no_labels(tmp_path, tables):
    header = [name for name in HEADER if "verb" not in name and "noun" not in name]
    path = write_csv(tmp_path / "EPIC_100_test_timestamps.csv", header, [])
    with pytest.raises(TableError, match="not public"):
        build_index(**(tables | {"annotations": [path]}))


def test_command_line(tmp_path, tables, capsys):
    output = tmp_path / "index"
    main(["index", *flags(tables), "--output", str(output), "--max_overlap", "0"])
    printed = capsys.readouterr().out
    assert "3 of 5 segments" in printed and "overlaps another action 1" in printed
    first = {path.name: path.read_bytes() for path in output.iterdir()}
    assert sorted(first) == ["README.md", "index.csv", "report.json"]
    report = json.loads(first["report.json"])
    assert report["segments"] == 3 and report["verbs"] == {"hang": 1, "open": 1, "wrap": 1}
    card = first["README.md"].decode()
    for needed in (
        "license: cc-by-nc-4.0",
        "by-nc/4.0",
        "NonCommercial",
        "Damen",
        "Changes to the original",
        "no frames",
    ):
        assert needed in card
    assert str(tmp_path) not in card + first["report.json"].decode()
    main(["index", *flags(tables), "--output", str(output), "--max_overlap", "0"])
    assert {path.name: path.read_bytes() for path in output.iterdir()} == first


def test_the_card_is_one_that_the_hub_and_datasets_read(tmp_path, tables):
    main(["index", *flags(tables), "--output", str(tmp_path / "index")])
    from datasets import load_dataset
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCard

    data = DatasetCard.load(tmp_path / "index" / "README.md", ignore_metadata_errors=False).data
    assert not problems(data.to_dict(), "dataset")
    assert data.license == "cc-by-nc-4.0" and data.size_categories == ["n<1K"]
    table = load_dataset(str(tmp_path / "index"), cache_dir=str(tmp_path / "cache"), split="train")
    assert table.num_rows == 4 and table[0]["narration_id"] == "P01_01_0" and table[0]["after_frame"] == 113
    info = DatasetInfosDict.from_dataset_card_data(data)["default"]
    assert info.features == table.features and info.splits["train"].num_examples == 4
    assert info.features["seconds"].dtype == "float64" and info.features["rate"].dtype == "int64"
    assert info.download_size == (tmp_path / "index" / "index.csv").stat().st_size
    assert info.dataset_size == info.splits["train"].num_bytes == table.data.nbytes


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--verbs", "opne"], "did you mean 'open'"),
        (["--verbs", "put-down"], "raw verbs of the annotations are not keys"),
        (["--verbs", "pull-open"], "'pull-open' is not a key of the .* verb classes; it is under 'open', so name that"),
        (["--verbs", "Shut"], "it is under 'close'"),
        (["--min_score", "0.7"], "only works with --scores"),
        (["--annotations", "."], "a folder: name the .csv file"),
        (["--verbs", "cut"], "No segments are left"),
        (["--min_seconds", "-1"], "min_seconds"),
        (["--scores", "nothing.csv"], "There is no table nothing.csv"),
        (["--annotations", "EPIC_100_train.pkl"], "can run any code"),
    ],
)
def test_errors_are_one_sentence(tmp_path, tables, extra, message):
    with pytest.raises(SystemExit, match=message):
        main(["index", *flags(tables), "--output", str(tmp_path / "index"), *extra])
    assert not (tmp_path / "index").exists()


def test_an_index_does_not_replace_the_card_of_a_build(tmp_path, tables):
    (tmp_path / "build" / "manifests").mkdir(parents=True)
    with pytest.raises(SystemExit, match="choose another folder"):
        main(["index", *flags(tables), "--output", str(tmp_path / "build")])


def test_push(tmp_path, tables):
    """What is sent is index, card and report, in one commit; a repository of pairs is left alone."""
    output = tmp_path / "index"
    push = ["index", *flags(tables), "--output", str(output), "--push"]
    run = "from data_scripts.epic_kitchens.__main__ import main; main({!r})".format
    with HubServer() as hub, HubClient(hub, tmp_path / "home") as client:
        assert client.run(run([*push, "someone/epic-index", "--private"])) == {"result": None}
        repository = hub.repositories["dataset", "someone/epic-index"]
        sent = {name: content for name, content in repository.files().items() if name != ".gitattributes"}
        assert sent == {path.name: path.read_bytes() for path in output.iterdir()}
        assert repository.private and len(repository.commits) == 2  # the first is the Hub's own

        answer = client.run(run([*push, "epic"]))
        assert answer["error"] == "SystemExit" and "ORG/NAME" in answer["message"]
        hub.repositories["dataset", "someone/pairs"] = Repository()
        hub.repositories["dataset", "someone/pairs"].commit({"multi/train-0.parquet": b""}, "pairs")
        answer = client.run(run([*push, "someone/pairs"]))
        assert "has other data" in answer["message"] and len(hub.repositories["dataset", "someone/pairs"].commits) == 1
        hub.failures["/commit/"] = 403
        answer = client.run(run([*push, "someone/epic-index", "--min_frames", "30"]))
        assert "has no write access to someone/epic-index" in answer["message"] and "\n" not in answer["message"]


def real_tables():
    folder = "epic-kitchens-100"
    return {
        "annotations": [real_data(folder, "EPIC_100_validation_P01-P12.csv")],
        "verb_classes": real_data(folder, "EPIC_100_verb_classes.csv"),
        "noun_classes": real_data(folder, "EPIC_100_noun_classes.csv"),
        "video_info": real_data(folder, "EPIC_100_video_info.csv"),
    }


def test_real_annotations_pass_every_check_and_keep_their_frames():
    tables = real_tables()
    with tables["annotations"][0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    with tables["verb_classes"].open(newline="") as file:
        keys = {r["id"]: r["key"] for r in csv.DictReader(file)}
    index = build_index(**tables)
    assert not index.faults and index.rows == len(rows)
    wanted = {
        r["narration_id"]: (int(r["start_frame"]), int(r["stop_frame"]), keys[r["verb_class"]])
        for r in rows
        if keys[r["verb_class"]] in CAUSAL_TRIPLET_VERBS
    }
    assert {s.narration_id: (s.before_frame, s.after_frame, s.verb) for s in index.segments} == wanted
    if len(rows) == 4173:
        assert len(wanted) == 1005  # of this piece; of the whole table it is 2,347 of 9,668
    # By the raw verb, which is not what counts, it would be other segments.
    assert {r["narration_id"] for r in rows if r["verb"] in CAUSAL_TRIPLET_VERBS} != wanted.keys()


def test_real_frame_numbers_follow_the_rule():
    with real_data("epic-kitchens-100", "EPIC_100_validation_P01-P12.csv").open(newline="") as file:
        for r in csv.DictReader(file):
            rate = nominal_rate(r["video_id"])
            assert int(r["start_frame"]) == start_frame(timestamp_seconds(r["start_timestamp"]), rate)
            assert int(r["stop_frame"]) == stop_frame(timestamp_seconds(r["stop_timestamp"]), rate)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_no_byte_changed_in_real_tables_gets_past_unnamed(tmp_path_factory, data):
    """A byte of a real row is changed: the row is a fault, its table is refused, or its segment says what it says."""
    tables = real_tables()
    lines = tables["annotations"][0].read_bytes().splitlines(keepends=True)[:4]
    content = bytearray(b"".join(lines))
    place = data.draw(st.integers(len(lines[0]), len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("changed") / "changed.csv"
    path.write_bytes(bytes(content))
    verbs, nouns = read_classes(tables["verb_classes"]), read_classes(tables["noun_classes"])
    from data_scripts.epic_kitchens.csv_tables import read_videos

    videos = read_videos(tables["video_info"])
    try:
        found = list(read_segments([path], verbs, nouns, videos))
    except TableError as error:
        assert str(path) in str(error)
        return
    for item in found:
        if isinstance(item, Segment):
            assert item.video_id in videos and 1 <= item.before_frame < item.after_frame
        else:
            assert "changed.csv, line" in item.sentence


def test_nothing_in_the_package_unpickles():
    """Names that load what can run code do not occur."""
    folder = Path(__file__).parents[3] / "data_scripts" / "epic_kitchens"
    for file in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"pickle", "pandas", "h5py", "joblib"} & {name.split(".")[0] for name in names}, file
            assert not (isinstance(node, ast.Name) and node.id in ("eval", "exec", "__import__")), file


def test_help_is_quick_and_loads_nothing_heavy(tmp_path):
    import subprocess

    code = (
        "import sys\nfrom data_scripts.epic_kitchens.__main__ import main\n"
        "for command in ('index', 'extract'):\n"
        "    try: main([command, '--help'])\n    except SystemExit: pass\n"
        "heavy = {'av', 'datasets', 'torch', 'pyarrow', 'ray'} & set(sys.modules)\nassert not heavy, heavy"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, env=dict(os.environ), capture_output=True)
