"""Reading in the middle of a gzip tar: from any offset what gzip gives, at little cost, and every damage noticed."""

import gzip
import importlib.util
import io
import random
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_scripts.archives import tar_files
from data_scripts.archives.archive import ArchiveError
from data_scripts.archives.open_files import open_files


def plain_data(size: int, seed: int) -> bytes:
    """Stretches that compress well and stretches that do not."""
    generator = random.Random(seed)
    parts = []
    while sum(map(len, parts)) < size:
        parts.append(generator.choice([generator.randbytes(997), bytes(generator.randrange(5000)), b"abc" * 700]))
    return b"".join(parts)[:size]


def tar_of(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 60_000), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 300_000), max_size=3),
    padding=st.sampled_from([0, 1, 300]),
    order=st.lists(st.integers(0, 5), max_size=15),
    spacing=st.sampled_from([40_000, 100_000, 1 << 25]),
)
def test_members_are_read_in_any_order_also_from_several_streams(
    sizes, cuts, padding, order, spacing, tmp_path_factory
):
    contents = {f"{number}.bin": plain_data(size, number) for number, size in enumerate(sizes)}
    data = tar_of(contents)
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    path = tmp_path_factory.mktemp("gzip") / "a.tar.gz"
    streams = [gzip.compress(data[a:b], mtime=0) + bytes(padding) for a, b in zip(bounds, bounds[1:], strict=False)]
    path.write_bytes(b"".join(streams))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tar_files, "SPACING", spacing)
        files = open_files(path)
        assert files.names() == sorted(contents)
        for number in order:
            name = f"{number % len(sizes)}.bin"
            assert files.read(name, 60_000) == contents[name]
        files.close()


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def test_going_back_costs_the_way_from_the_point_before(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_files, "SPACING", 2**16)
    contents = {f"{number:03d}.bin": random.Random(number).randbytes(2**15) for number in range(256)}  # 8 MiB
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar_of(contents)))
    files = open_files(tmp_path / "a.tar.gz")
    files.names()
    assert files.read("255.bin", 2**15) == contents["255.bin"]
    for number in (150, 5, 220, 0, 99):  # forwards too, where it has been before
        before = bytes_read()
        assert files.read(f"{number:03d}.bin", 2**15) == contents[f"{number:03d}.bin"]
        assert bytes_read() - before < 2 * 2**20  # the reader's buffer and little more; from the beginning up to 7 MiB


def test_damage_and_a_missing_end_refuse_the_archive(tmp_path):
    path = tmp_path / "a.tar.gz"
    whole = gzip.compress(tar_of({"a.png": plain_data(50_000, 0), "b.png": b"b"}))
    for cut in (600, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ArchiveError, match="cut short"):
            open_files(path).names()
    for place in (12, len(whole) // 3, len(whole) // 2, len(whole) - 6, len(whole) - 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with pytest.raises(ArchiveError, match="damaged"):
            open_files(path).names()


def test_damage_after_the_listing_is_no_other_error_than_ours(tmp_path):
    path, data = tmp_path / "a.tar.gz", random.Random(0).randbytes(50_000)
    whole = gzip.compress(tar_of({"a.png": data}))
    for place in range(600, len(whole), 997):
        path.write_bytes(whole)
        files = open_files(path)
        files.names()
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with suppress(ArchiveError):  # or what was read before the damage
            assert len(files.read("a.png", 50_000)) == 50_000


def test_without_indexed_gzip_the_sentence_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar_of({"a.png": b"x"})))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ArchiveError, match=r"indexed_gzip can seek in: unpack it, or pip install .*\[archives\]"):
        open_files(tmp_path / "a.tar.gz")
