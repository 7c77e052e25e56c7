import gzip
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_scripts.archives import gzip_reader
from data_scripts.archives.gzip_reader import GzipReader


def plain_data(size: int, seed: int) -> bytes:
    """Stretches that compress well and stretches that do not."""
    generator = random.Random(seed)
    parts = []
    while sum(map(len, parts)) < size:
        parts.append(generator.choice([generator.randbytes(997), bytes(generator.randrange(5000)), b"abc" * 700]))
    return b"".join(parts)[:size]


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 60_000), min_size=1, max_size=3),
    padding=st.sampled_from([0, 1, 300]),
    steps=st.lists(st.tuples(st.integers(0, 190_000), st.integers(0, 20_000)), max_size=15),
    constants=st.sampled_from([(50, 700, 5000), (4096, 100, 1000), (100_000, 1 << 20, 30_000)]),
)
def test_reads_at_any_place_what_gzip_gives(sizes, padding, steps, constants, tmp_path_factory):
    parts = [plain_data(size, seed) for seed, size in enumerate(sizes)]
    path = tmp_path_factory.mktemp("gzip") / "a.gz"
    path.write_bytes(b"".join(gzip.compress(part, mtime=0) + bytes(padding) for part in parts))
    data = b"".join(parts)
    assert gzip.decompress(path.read_bytes()) == data
    with pytest.MonkeyPatch.context() as patch:
        for name, value in zip(("CHUNK", "BLOCK", "SPACING"), constants, strict=True):
            patch.setattr(gzip_reader, name, value)
        reader = GzipReader(path)
        for place, size in steps:
            assert reader.seek(place) == min(place, len(data)) == reader.tell()
            assert reader.read(size) == data[place : place + size]
        reader.seek(0)
        assert reader.read(len(data) + 1) == data
        reader.close()


def test_going_back_costs_the_way_from_the_mark_before(tmp_path, monkeypatch):
    monkeypatch.setattr(gzip_reader, "SPACING", 10_000)
    monkeypatch.setattr(gzip_reader, "BLOCK", 1_000)
    data = random.Random(0).randbytes(200_000)
    (tmp_path / "a.gz").write_bytes(gzip.compress(data))
    reader = GzipReader(tmp_path / "a.gz")
    reader.seek(190_000)
    filled = []
    fill = GzipReader._fill
    monkeypatch.setattr(GzipReader, "_fill", lambda self: filled.append(1) or fill(self))
    for place in (150_000, 5_000, 185_000, 0, 99_999):  # forwards too, where it has been before
        filled.clear()
        reader.seek(place)
        assert reader.read(10) == data[place : place + 10]
        assert len(filled) <= 14  # a mark's distance in blocks and a few; from the beginning it would be up to 185


def test_damage_is_an_error(tmp_path):
    path, whole = tmp_path / "a.gz", gzip.compress(plain_data(50_000, 0))
    for cut in (5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(EOFError):
            GzipReader(path).read(10**6)
    for place in (0, len(whole) // 2, len(whole) - 6):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with pytest.raises((EOFError, OSError, gzip.zlib.error)):
            GzipReader(path).read(10**6)
