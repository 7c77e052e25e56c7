"""Frames of EPIC-KITCHENS-100's numbering out of tars, folders and videos; every picture tells its own number."""

import io
import json
import random
import shutil
import tarfile
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_scripts.builds.work_units import StopBuildError
from data_scripts.epic_kitchens import terms
from data_scripts.epic_kitchens.__main__ import main
from data_scripts.epic_kitchens.frame_numbers import frame_time, nominal_rate
from data_scripts.epic_kitchens.frames import FramesError, Video, check_rate
from data_scripts.epic_kitchens.index import build_index
from data_scripts.epic_kitchens.listing import index_csv
from data_scripts.epic_kitchens.source import EpicSource
from modeling_cde.models.limits_cde import MOST_MEMBER_BYTES
from tests.data_scripts.fake_source import sent
from tests.data_scripts.tiny_epic import NOUNS, frame, row, write_frames, write_tables, write_tar

NTSC = Fraction(60000, 1001)


def make_index(tmp_path, rows, seconds) -> Path:
    path = tmp_path / "index.csv"
    path.write_text(index_csv(build_index(**write_tables(tmp_path / "tables", rows, seconds)).segments))
    return path


def numbers(source: EpicSource, unit: str) -> dict[str, tuple[int, int]]:
    """The numbers that the stored pictures of each pair show."""
    from tests.data_scripts.tiny_video import number_of

    def shown(column) -> int:
        return number_of(Image.open(io.BytesIO(column["bytes"])))

    return {row["pair_id"]: (shown(row["before"]), shown(row["after"])) for row in source.build(unit).rows}


def wanted(source: EpicSource, unit: str) -> dict[str, tuple[int, int]]:
    return {s.narration_id: (s.before_frame, s.after_frame) for s in source.segments[unit]}


@pytest.fixture(scope="module")
def five_seconds(tmp_path_factory):
    """An index of two videos of five seconds with overlapping segments, and all of their frames."""
    folder = tmp_path_factory.mktemp("five")
    rows = [
        row("P01_01", 0, 0.0, 1.5),
        row("P01_01", 1, 1.0, 1.5, verb=4),  # ends where the first ends
        row("P01_01", 2, 1.5, 4.9, noun=8),  # begins there
        row("P01_01", 3, 1.6, 2.0, verb=4, noun=8),
        row("P02_102", 0, 0.5, 5.0, verb=36, noun=24),
    ]
    index = make_index(folder, rows, {"P01_01": 5.0, "P02_102": 5.0})
    write_frames(folder / "frames" / "P01_01", range(1, 301))
    write_frames(folder / "frames" / "P02_102", range(1, 251))
    return index, folder / "frames"


def arrange(frames: Path, root: Path, layout: str) -> Path:
    """The frames in one of the layouts that are looked for."""
    for name, count in (("P01_01", 300), ("P02_102", 250)):
        official = root / name[:3] / "rgb_frames"
        if layout == "official tars":
            order = list(range(1, count + 1))
            random.Random(0).shuffle(order)  # tar takes them as the disk lists them
            write_tar(official / f"{name}.tar", order)
        elif layout == "official folders":
            shutil.copytree(frames / name, official / name)
        elif layout == "flat folders":
            shutil.copytree(frames / name, root / name)
        else:
            root.mkdir(exist_ok=True)
            with tarfile.open(root / f"{name}.tar", "w") as tar:  # packed with their folder
                tar.add(frames / name, name)
    return root


@pytest.mark.parametrize("layout", ["official tars", "official folders", "flat folders", "flat tars"])
def test_every_layout_gives_the_same_pairs(tmp_path, five_seconds, layout):
    index, frames = five_seconds
    source = EpicSource(index, arrange(frames, tmp_path / "root", layout), "frames", None)
    source = sent(source)
    assert source.units() == ["P01_01", "P02_102"] and source.missing == []
    for unit in source.units():
        built = source.build(unit)
        assert built.rejected == {} and built.problems == []
        assert numbers(source, unit) == wanted(source, unit)
        for pair in built.rows:
            before, after = wanted(source, unit)[pair["pair_id"]]
            # Nothing is scaled, so the files' own bytes are stored.
            assert pair["before"]["bytes"] == (frames / unit / f"frame_{before:010d}.jpg").read_bytes()
            assert pair["after"]["bytes"] == (frames / unit / f"frame_{after:010d}.jpg").read_bytes()
        assert built.rows == EpicSource(index, source.root, "frames", None).build(unit).rows


def test_rows_are_complete(five_seconds):
    index, frames = five_seconds
    source = EpicSource(index, frames, "frames")
    assert source.features["action"].names == ["close", "open", "wrap"]
    assert source.features["object"].names == ["bottle", "cupboard", "drawer"]
    (pair,) = source.build("P02_102").rows
    assert set(pair) == set(source.features)
    assert (pair["action"], pair["object"], pair["scene"], pair["pair_id"]) == (2, 0, "P02", "P02_102_0")
    assert pair["box"] is pair["mask_before"] is pair["mask_after"] is None
    assert pair["before"]["path"] is None
    by_video = EpicSource(index, frames, "frames", scene="video").build("P02_102").rows[0]
    assert by_video["scene"] == "P02_102"
    ids = [pair["pair_id"] for pair in source.build("P01_01").rows]
    assert ids == ["P01_01_0", "P01_01_1", "P01_01_2", "P01_01_3"]
    assert source.settings() == EpicSource(index, frames, "frames").settings()
    assert source.settings() != EpicSource(index, frames, "frames", 100).settings()
    json.dumps(source.settings())


def test_larger_frames_are_scaled_down(tmp_path, five_seconds):
    index, frames = five_seconds
    (small,) = EpicSource(index, frames, "frames", 32).build("P02_102").rows
    assert Image.open(io.BytesIO(small["before"]["bytes"])).size == (64, 32)
    assert numbers(EpicSource(index, frames, "frames", 32), "P01_01") == wanted(
        EpicSource(index, frames, "frames"), "P01_01"
    )


def faulty(tmp_path, five_seconds, change) -> EpicSource:
    """The frames of P01_01 in a folder, changed by a function."""
    index, frames = five_seconds
    folder = tmp_path / "root" / "P01" / "rgb_frames" / "P01_01"
    shutil.copytree(frames / "P01_01", folder)
    change(folder)
    return EpicSource(index, tmp_path / "root", "frames", None)


@pytest.mark.parametrize(
    ("reason", "change", "named"),
    [
        ("frame missing", lambda f: (f / "frame_0000000060.jpg").unlink(), {"P01_01_1"}),
        ("frame missing", lambda f: (f / "frame_0000000090.jpg").unlink(), {"P01_01_0", "P01_01_1", "P01_01_2"}),
        (
            "broken picture",
            lambda f: (f / "frame_0000000096.jpg").write_bytes(frame(96)[:400]),
            {"P01_01_3"},
        ),
        ("broken picture", lambda f: (f / "frame_0000000120.jpg").write_bytes(b""), {"P01_01_3"}),
        (
            "identical pictures",
            lambda f: shutil.copy(f / "frame_0000000096.jpg", f / "frame_0000000120.jpg"),
            {"P01_01_3"},
        ),
        (
            "pictures differ in size",
            lambda f: (f / "frame_0000000294.jpg").write_bytes(frame(294, (64, 64))),
            {"P01_01_2"},
        ),
        (
            "frame unreadable",
            lambda f: (f / "frame_0000000294.jpg").write_bytes(bytes(MOST_MEMBER_BYTES)),
            {"P01_01_2"},
        ),
    ],
)
def test_defects_are_named_by_segment_and_the_rest_goes_on(tmp_path, five_seconds, reason, change, named):
    source = faulty(tmp_path, five_seconds, change)
    built = source.build("P01_01")
    assert built.rejected == {reason: len(named)}
    assert {pair["pair_id"] for pair in built.rows} == wanted(source, "P01_01").keys() - named
    for name, problem in zip(sorted(named), built.problems, strict=True):
        assert problem.startswith(f"P01_01, {name} (") and problem.endswith(".") and "\n" not in problem
        assert str(tmp_path) not in problem
    strict = EpicSource(five_seconds[0], source.root, "frames", None, strict=True)
    with pytest.raises(StopBuildError) as stopped:
        strict.build("P01_01")
    assert str(stopped.value) in built.problems


def test_a_tar_that_is_cut_short_fails_its_video_and_names_the_segments(tmp_path, five_seconds):
    index, frames = five_seconds
    root = arrange(frames, tmp_path / "root", "official tars")
    path = root / "P01" / "rgb_frames" / "P01_01.tar"
    path.write_bytes(path.read_bytes()[:100_000])
    source = EpicSource(index, root, "frames")
    with pytest.raises(
        FramesError, match=r"^P01/rgb_frames/P01_01\.tar is damaged or cut short.*4 segments, P01_01_0, P01_01_1"
    ):
        source.build("P01_01")
    assert len(source.build("P02_102").rows) == 1


def test_hostile_and_foreign_tars(tmp_path, five_seconds):
    index, _ = five_seconds
    root = tmp_path / "root"
    root.mkdir()
    with tarfile.open(root / "P01_01.tar", "w") as tar:
        link = tarfile.TarInfo("frame_0000000001.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(FramesError, match="a link"):
        EpicSource(index, root, "frames").build("P01_01")
    (root / "P01_01.tar").write_bytes(b"not a tar" * 100)
    with pytest.raises(FramesError, match="nor a tar.*4 segments"):
        EpicSource(index, root, "frames").build("P01_01")
    write_tar(root / "P01_01.tar", [])
    with pytest.raises(FramesError, match="no frames named like"):
        EpicSource(index, root, "frames").build("P01_01")
    write_tar(root / "P01_01.tar", range(300))
    with pytest.raises(FramesError, match="counts its frames from 0"):
        EpicSource(index, root, "frames").build("P01_01")
    write_frames(root / "P02_102" / "one", [1, 2])
    write_frames(root / "P02_102" / "two", [2, 3])
    with pytest.raises(FramesError, match="two frames 2"):
        EpicSource(index, root, "frames").build("P02_102")


def test_the_rate_of_frames_is_told_by_their_highest_number():
    """Numbers of real videos and of the official tars (which hold a few frames more than length·rate)."""
    official = [
        ("P01_04", 105.238467, 59.94, 6320),
        ("P09_08", 126.459667, 29.97, 7599),
        ("P17_02", 545.774396, 47.952, 32754),
        ("P18_09", 276.811111, 90.0, 16622),
        ("P02_130", 1083.46, 50.0, 54177),
        ("P08_05", 1753.76933, 59.94, 105232),
    ]
    for name, seconds, fps, last in official:
        video = Video(name, nominal_rate(name), seconds, fps)
        check_rate(Path(name), video, last)
        check_rate(Path(name), video, int(0.63 * last))  # cut short, at no rate: its missing frames will tell
        for other in {30, 25, 15, 1, 50, 60, 90, fps} - {video.rate, 59.94}:
            with pytest.raises(FramesError, match=f"-r {video.rate}"):
                check_rate(Path(name), video, int(other * seconds))
    # 59.94 against 60: a matter of 105 frames in half an hour.
    with pytest.raises(FramesError, match="as at 59.94 per second"):
        check_rate(Path("x"), Video("P08_05", 60, 1753.76933, 59.94006), int(1753.76933 * 59.94006))


@pytest.mark.parametrize(
    ("rate", "native"),
    [(60, 60), (60, NTSC), (60, 50), (50, 50), (60, 30), (60, NTSC / 2), (60, NTSC * 4 / 5), (60, 90), (60, 24)],
)
def test_frame_numbers_of_a_video_are_those_of_ffmpegs_conversion(tmp_path, rate, native):
    """Every frame of FFmpeg's own conversion to a constant rate, for each native rate that occurs; 24 gives halves."""
    pytest.importorskip("av")
    from data_scripts.video import VideoError, iterate_frames
    from tests.data_scripts.tiny_video import fps_filter, number_of, write_video

    path = tmp_path / "a.mp4"
    count = 1100 if native == NTSC else 150
    write_video(path, count, native, start=Fraction(1, 2), key_interval=70, b_frames=3, size=(64, 32))
    reference = fps_filter(path, rate)
    assert abs(len(reference) - count / native * rate) <= 1
    found = list(iterate_frames(path, [frame_time(n, rate) for n in range(1, len(reference) + 2)]))
    assert [number_of(picture) for picture in found[:-1]] == reference
    assert isinstance(found[-1], VideoError)  # there is no frame after the last


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10**7), st.sampled_from([50, 60]), st.fractions(1, 240, max_denominator=1001))
def test_frame_time_is_in_the_slot_that_ffmpeg_rounds_to(number, rate, native):
    """The native frame that begins last before `frame_time` is the last one whose start rounds to its slot or less."""
    time = frame_time(number, rate)
    k = int(time * native)  # starts at k / native <= time
    assert (k / native * rate + Fraction(1, 2)) // 1 <= number - 1
    assert ((k + 1) / native * rate + Fraction(1, 2)) // 1 > number - 1


def write_videos(root: Path, layout: str, **options) -> Path:
    from tests.data_scripts.tiny_video import write_video

    for name, native in (("P01_01", NTSC), ("P02_102", 50)):
        path = root / (f"{name[:3]}/videos/{name}.MP4" if layout == "official" else f"{name}.mp4")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, int(5 * native), native, size=(128, 64), key_interval=30, **options)
    return root


@pytest.mark.parametrize("layout", ["official", "flat"])
def test_pairs_straight_from_the_videos(tmp_path, five_seconds, layout):
    pytest.importorskip("av")
    index, _ = five_seconds
    source = EpicSource(index, write_videos(tmp_path / "root", layout), "videos", None)
    assert source.missing == []
    # Native frames count from 0: at 50 it is n - 1, at 59.94 the one that begins before the middle of the slot.
    assert numbers(source, "P02_102") == {"P02_102_0": (24, 249)}
    expected = {
        name: tuple(int(frame_time(n, 60) * NTSC) for n in pair) for name, pair in wanted(source, "P01_01").items()
    }
    assert numbers(source, "P01_01") == expected
    built = source.build("P01_01")
    assert built.rejected == {} and built.rows == source.build("P01_01").rows
    assert all(pair["before"]["bytes"].startswith(b"\xff\xd8") for pair in built.rows)  # JPEG


def test_defects_of_videos(tmp_path, five_seconds):
    pytest.importorskip("av")
    from tests.data_scripts.tiny_video import write_video

    index, _ = five_seconds
    root = write_videos(tmp_path / "root", "official", options={"container_movflags": "faststart"})
    path = root / "P01/videos/P01_01.MP4"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 8 // 10])
    built = EpicSource(index, root, "videos").build("P01_01")
    assert built.rejected == {"frame not in the video": 1}
    assert "P01_01_2" in built.problems[0] and "download it again" in built.problems[0]
    assert len(built.rows) == 3

    path.write_bytes(content[:60])
    with pytest.raises(FramesError, match="4 segments, P01_01_0"):
        EpicSource(index, root, "videos").build("P01_01")
    write_video(path, 120, NTSC)
    with pytest.raises(FramesError, match="2.00 s long and P01_01 5.00 s"):
        EpicSource(index, root, "videos").build("P01_01")
    # One still picture nearly to the end: the same native frame before and after.
    write_video(path, 2, 30, times=[Fraction(0), Fraction(495, 100)])
    built = EpicSource(index, root, "videos").build("P01_01")
    assert built.rejected == {"identical pictures": 4} and built.rows == []


def command(index: Path, output: Path, *more: str) -> list[str]:
    return ["extract", "--index", str(index), "--output", str(output), "--workers", "1", *more]


@pytest.fixture(scope="module")
def kitchens(tmp_path_factory):
    """Twelve participants with pairs enough for splits."""
    folder = tmp_path_factory.mktemp("kitchens")
    rng = random.Random(1)
    rows, seconds = [], {}
    for person in range(1, 13):
        video = f"P{person:02d}_01"
        seconds[video] = 2.0
        for number in range(12):
            start = rng.randrange(100) / 100
            verb, noun = rng.choice([3, 4]), rng.choice(sorted(NOUNS))
            rows.append(row(video, number, start, start + 0.5, verb=verb, noun=noun))
        write_tar(folder / f"P{person:02d}" / "rgb_frames" / f"{video}.tar", range(1, 121))
    return make_index(folder, rows, seconds), folder


def test_command_line(tmp_path, kitchens, capsys, monkeypatch):
    index, root = kitchens
    output = tmp_path / "epic"
    main(command(index, output, "--frames", str(root)))
    printed = capsys.readouterr().out
    assert "144 segments in 12 videos" in printed and "12 as .tar" in printed
    from modeling_cde.data import load_pairs

    train = load_pairs(output, "multi_syst", "train")
    assert train.features["action"].names == ["close", "open"] and len(train) > 10
    card = (output / "README.md").read_text()
    for needed in (
        "license: cc-by-nc-4.0",
        "creativecommons.org/licenses/by-nc/4.0",
        "Damen",
        "Changes to the original",
    ):
        assert needed in card
    shards = {path.name: path.read_bytes() for path in (output / "shards" / "multi").glob("*.parquet")}
    assert len(shards) == 12
    # What is published by hand later is refused too, and why stands there.
    from modeling_cde.data.building.publishing import check_publishable

    with pytest.raises(PermissionError, match="CC BY-NC"):
        check_publishable(output)
    # The same command again does nothing; after a loss it builds what is lost, the same.
    (output / "shards" / "multi" / "P03_01.json").unlink()
    (output / "shards" / "multi" / "P03_01.parquet").unlink()
    main(command(index, output, "--frames", str(root)))
    assert {path.name: path.read_bytes() for path in (output / "shards" / "multi").glob("*.parquet")} == shards
    # The user's statement takes the mark away again, also where the same command publishes.
    published = []
    monkeypatch.setattr(
        "modeling_cde.data.building.publishing.push_to_hub", lambda folder, name, **_: published.append(name)
    )
    main(command(index, output, "--frames", str(root), "--licence_allows_frames", "--push", "a/b"))
    check_publishable(output)
    assert published == ["a/b"]


def test_splits_keep_kitchens_apart(tmp_path, kitchens):
    index, root = kitchens
    output = tmp_path / "epic"
    main(command(index, output, "--frames", str(root), "--shift", "syst", "--group_by", "scene"))
    parts = json.loads((output / "manifests" / "multi_syst.json").read_text())["parts"]
    people = {part: {pair_id[:3] for pair_id in ids} for part, ids in parts.items()}
    assert people["train"] and people["test"] and not people["train"] & people["test"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--frames", "ROOT", "--push", "a/b"], "licence_allows_frames"),
        (["--frames", "ROOT", "--view", "single"], "--view multi"),
        (["--frames", "nowhere"], "no folder nowhere"),
        (["--frames", "ROOT", "--image_size", "0"], "image_size"),
        (["--videos", "ROOT"], "12 of 12 videos.*Searched in.*P01/videos/P01_01.MP4"),
    ],
)
def test_errors_come_before_work_and_are_one_sentence(tmp_path, kitchens, more, message):
    index, root = kitchens
    more = [str(root) if word == "ROOT" else word for word in more]
    with pytest.raises(SystemExit, match=message) as error:
        main(command(index, tmp_path / "epic", *more))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "epic").exists()


def test_missing_videos_are_named_up_front(tmp_path, kitchens, capsys):
    index, root = kitchens
    some = tmp_path / "some"
    for person in ("P01", "P02", "P05"):
        shutil.copytree(root / person, some / person)
    with pytest.raises(SystemExit, match="9 of 12 videos, with 108 segments, are missing: P03_01.*--skip_missing"):
        main(command(index, tmp_path / "epic", "--frames", str(some)))
    assert not (tmp_path / "epic").exists()
    main(command(index, tmp_path / "epic", "--frames", str(some), "--skip_missing", "--no_split"))
    assert sorted(path.name for path in (tmp_path / "epic/shards/multi").glob("*.parquet")) == [
        "P01_01.parquet",
        "P02_01.parquet",
        "P05_01.parquet",
    ]
    # What came later is built into the same folder.
    shutil.copytree(root / "P03", some / "P03")
    main(command(index, tmp_path / "epic", "--frames", str(some), "--skip_missing", "--no_split"))
    assert (tmp_path / "epic/shards/multi/P03_01.parquet").exists()


def test_the_index_is_not_overwritten(tmp_path, kitchens):
    index, root = kitchens
    with pytest.raises(SystemExit, match="choose another --output"):
        main(command(index, index.parent, "--frames", str(root)))


def test_what_is_said_of_the_licence():
    for text in (terms.TERMS, terms.NOT_PUBLISHABLE):
        assert "\n\n" not in text
    assert terms.LICENSE_LINK in terms.TERMS and "commercial" in terms.TERMS and "credit" in terms.TERMS
    assert "say what was changed" in " ".join(terms.TERMS.split())
