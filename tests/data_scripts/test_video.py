"""Pictures at given times of a video: each frame carries its number, so every answer is exact."""

import random
import subprocess
import sys
from bisect import bisect_right
from fractions import Fraction
from pathlib import Path

import pytest

av = pytest.importorskip("av")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from data_scripts.video import VideoError, frame_times, iterate_frames, read_frames, video_info  # noqa: E402
from tests.data_scripts.tiny_video import number_of, numbered, write_video  # noqa: E402

NTSC = Fraction(60000, 1001)
MS = Fraction(1, 1000)


def numbers(video: Path, seconds) -> list[int]:
    return [number_of(picture) for picture in read_frames(video, seconds)]


def shown(times, second) -> int:
    """Naive reference: the last frame whose time, from the first frame on, is not later."""
    return max(k for k, time in enumerate(times) if time - times[0] <= second)


@pytest.mark.parametrize(
    ("name", "rate", "options"),
    [
        ("a.mp4", 60, {}),
        ("a.mp4", NTSC, {"start": Fraction(1, 3), "b_frames": 3}),
        ("a.mp4", 50, {"start": 2, "key_interval": 12}),
        ("a.mkv", Fraction(30000, 1001), {"start": 1, "key_interval": 40}),
        ("a.ts", NTSC, {"key_interval": 50, "b_frames": 3}),
        ("a.webm.mkv", 24, {"b_frames": 0}),
    ],
)
def test_every_frame_at_its_time_and_just_before_the_next(tmp_path, name, rate, options):
    times = write_video(tmp_path / name, 90, rate, **options)
    starts = [time - times[0] for time in times]
    # 1 ms is what Matroska rounds to.
    asked = sorted([start + MS for start in starts] + [start - MS for start in starts[1:]])
    assert numbers(tmp_path / name, asked) == [shown(times, second) for second in asked]


@pytest.mark.parametrize(
    ("name", "rate", "options"),
    [
        ("a.mp4", NTSC, {"start": Fraction(1, 3), "b_frames": 3}),
        ("a.mp4", 50, {"options": {"x264-params": "open-gop=1:bframes=3"}, "key_interval": 12}),
        ("a.mkv", Fraction(30000, 1001), {"start": 1, "key_interval": 40}),
        ("a.ts", NTSC, {"key_interval": 50, "b_frames": 3}),
    ],
)
def test_frames_are_found_by_number(tmp_path, name, rate, options):
    times = write_video(tmp_path / name, 90, rate, **options)
    found = frame_times(tmp_path / name)
    assert len(found) == 90 and max(abs(f - (t - times[0])) for f, t in zip(found, times, strict=True)) <= MS
    assert numbers(tmp_path / name, found) == list(range(90))


def test_a_cut_video_numbers_only_frames_without_a_gap(tmp_path):
    """B-frames follow in the file the frame that is shown after them: at the cut there would be holes."""
    video = tmp_path / "a.mp4"
    times = write_video(video, 90, 25, key_interval=7, b_frames=3, options={"container_movflags": "faststart"})
    content = video.read_bytes()
    for share in (0.75, 0.8, 0.85, 0.9, 0.95):
        video.write_bytes(content[: int(len(content) * share)])
        found = frame_times(video)
        assert found == times[: len(found)] and 0 < len(found) < 90


@pytest.fixture(scope="module")
def long_videos(tmp_path_factory):
    """Two kinds of containers, key frames a second apart, groups of pictures closed and open."""
    folder = tmp_path_factory.mktemp("long")
    videos = {}
    for name, options in {
        "closed.mp4": {},
        "open.mp4": {"x264-params": "open-gop=1:bframes=3"},
        "closed.mkv": {},
        "open.ts": {"x264-params": "open-gop=1:bframes=3"},
    }.items():
        path = folder / name
        videos[name] = path, write_video(path, 1500, NTSC, key_interval=60, b_frames=3, size=(64, 32), options=options)
    return videos


@pytest.mark.parametrize("name", ["closed.mp4", "open.mp4", "closed.mkv", "open.ts"])
@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(0, 1499), min_size=1, max_size=6))
def test_few_frames_far_apart(long_videos, name, wanted):
    path, times = long_videos[name]
    wanted = sorted(wanted)
    assert numbers(path, [times[k] - times[0] + MS for k in wanted]) == wanted


def test_seeking_skips_what_nobody_asked_for(long_videos, monkeypatch):
    """A seek is only worth something if few frames are decoded."""
    path, times = long_videos["closed.mp4"]
    import data_scripts.video as module

    decoded = []
    original = module._Reader._decode

    def counted(self, *arguments, **options):
        for frame in original(self, *arguments, **options):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(module._Reader, "_decode", counted)
    assert numbers(path, [times[k] + MS for k in (5, 700, 1499)]) == [5, 700, 1499]
    assert len(decoded) < 3 * 62


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 9000), min_size=1, max_size=25), st.integers(0, 3), st.data())
def test_variable_rates(tmp_path_factory, steps, b_frames, data):
    """Frames any time apart, asked for at any times."""
    path = tmp_path_factory.mktemp("variable") / "a.mp4"
    times = [Fraction(0)]
    for step in steps:
        times.append(times[-1] + Fraction(step, 3000))
    times = write_video(path, len(times), 30, times=times, b_frames=b_frames, size=(64, 32))
    asked = sorted(data.draw(st.lists(st.fractions(0, times[-1]), min_size=1, max_size=10)))
    assert numbers(path, asked) == [bisect_right(times, second) - 1 for second in asked]


def test_times_may_repeat_be_floats_and_must_ascend(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, 30, 30)
    assert numbers(path, [0, 0.0, 0.5, 0.5, 0.51]) == [0, 0, 15, 15, 15]
    assert read_frames(path, []) == []
    for times in ([0.5, 0.4], [-0.1]):
        with pytest.raises(VideoError, match="ascend"):
            read_frames(path, times)


def test_time_0_is_the_start_of_the_first_stream(tmp_path):
    """Sound that begins a second before the picture: as in a player, the first frame stands until then."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=48000)
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        import numpy as np

        for number in range(50):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 48000, number * 1024
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            frame.pts = number + 30
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        late = container.streams.video[0].start_time * container.streams.video[0].time_base
    assert late >= 1
    assert numbers(path, [0, 0.9, late + Fraction(1, 100), late + Fraction(5, 30) + MS]) == [0, 0, 0, 5]


def test_the_end(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, 30, 30)
    assert numbers(path, [Fraction(29, 30), Fraction(30, 30) - MS]) == [29, 29]
    with pytest.raises(VideoError, match=r"no frame at 1.000 s, its last one ends at 1.000 s\.$"):
        read_frames(path, [1])
    # The others come out all the same.
    first, missing = iterate_frames(path, [0.5, 7])
    assert number_of(first) == 15 and isinstance(missing, VideoError)


def test_info(tmp_path):
    write_video(tmp_path / "a.mp4", 60, NTSC, size=(96, 64))
    info = video_info(tmp_path / "a.mp4")
    assert (info.width, info.height) == (96, 64)
    assert abs(float(info.rate) - 59.94) < 0.01 and abs(float(info.seconds) - 1.001) < 0.02


def test_turned_videos_come_out_upright(tmp_path):
    path, turned = tmp_path / "a.mp4", tmp_path / "b.mp4"
    write_video(path, 5, 30)
    with av.open(str(path)) as source, av.open(str(turned), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        if not hasattr(stream, "set_display_rotation"):
            pytest.skip("this PyAV cannot mark a video as turned")
        stream.set_display_rotation(90)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    (picture,) = read_frames(turned, [0])
    with av.open(str(turned)) as container:
        angle = next(container.decode(video=0)).rotation
    assert angle in (90, -90) and picture.size == (64, 128)
    assert number_of(picture.rotate(-angle, expand=True)) == 0


def test_a_truncated_video_gives_what_it_has_and_says_where_it_ends(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, 900, 30, key_interval=30, options={"container_movflags": "faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    first, last = iterate_frames(path, [0.5, 29])
    assert number_of(first) == 15
    assert isinstance(last, VideoError) and "download it again" in str(last), last
    path.write_bytes(content[:200])  # not even the header is whole
    with pytest.raises(VideoError, match="cannot be opened|no video stream"):
        read_frames(path, [0])


def test_damage_is_named_and_all_other_frames_are_right(tmp_path):
    """Bytes overwritten anywhere: each frame asked for is the right one, or an error; frames far away are right."""
    path = tmp_path / "a.mp4"
    times = write_video(path, 300, 30, key_interval=30, options={"container_movflags": "faststart"})
    content = path.read_bytes()
    middle = len(content) // 2
    rng = random.Random(0)
    path.write_bytes(content[:middle] + rng.randbytes(400) + content[middle + 400 :])
    answers = list(iterate_frames(path, [time + MS for time in times]))
    errors = [k for k, answer in enumerate(answers) if isinstance(answer, VideoError)]
    assert errors and len(errors) < 100
    assert "damaged" in str(answers[errors[0]])
    assert all(number_of(answer) == k for k, answer in enumerate(answers) if k not in errors)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mp4", None, "There is no video"),
        ("a.mp4", b"", "cannot be opened"),
        ("a.mp4", b"no video at all" * 100, "cannot be opened"),
        ("a.avi", b"RIFF\x00\x01\x00\x00AVI LIST" * 9, "cannot be opened as an MP4"),
        ("list.m3u8", b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\n/etc/passwd\n", "cannot be opened"),
        ("list.ffconcat", b"ffconcat version 1.0\nfile /etc/passwd\n", "cannot be opened"),
    ],
)
def test_what_is_no_video(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VideoError, match=message) as error:
        read_frames(path, [0])
    assert str(path) in str(error.value)


def test_a_file_with_sound_only(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        import numpy as np

        sound = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 48000
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    with pytest.raises(VideoError, match="no video stream"):
        read_frames(path, [0])


def test_a_name_with_a_colon_is_a_file(tmp_path):
    path = tmp_path / "http:a.mp4"
    write_video(path, 3, 30)
    assert numbers(path, [0]) == [0]


def test_importing_it_does_not_load_av():
    command = "import sys, data_scripts.video; assert 'av' not in sys.modules"
    subprocess.run([sys.executable, "-c", command], check=True, cwd=Path(__file__).parents[2])
