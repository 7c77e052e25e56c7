"""Files of houses: hashed, scanned, read forward; every way in which one can be bad is named."""

import gzip
import hashlib
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_scripts.procthor import houses
from data_scripts.procthor.houses import REVISION, HouseFile, HouseReader, HousesError, scan_houses
from tests.data_scripts.fake_ai2thor import make_house


def write(path: Path, lines: list[str], packed: bool = False) -> Path:
    content = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("houses") / "train.jsonl.gz"
    return write(path, [json.dumps(make_house(number)) for number in range(5)], packed=True)


def test_a_file_is_hashed_counted_and_its_types_are_found(five: Path, tmp_path: Path) -> None:
    plain = tmp_path / "train.jsonl"
    plain.write_bytes(gzip.decompress(five.read_bytes()))
    ticks: list[int] = []
    for path in (five, plain):  # by content, not by name
        found = scan_houses(path, tick=lambda: ticks.append(1))
        assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert found.count == 5 and found.problems == {} and found.revision is None
        # Apple, Mug and so on are children of other objects.
        assert found.object_types == tuple(
            sorted("Fridge FloorLamp Bed Apple TissueBox Vase Laptop Mug Drawer".split())
        )
    assert len(ticks) == 10


def test_types_are_the_first_part_of_ids_at_any_depth() -> None:
    house = {
        "objects": [
            {
                "id": "DiningTable|2|0",
                "children": [{"id": "Plate|surface|2|1", "children": [{"id": "Egg|surface|2|2"}]}],
            },
            {"id": "door|1|2"},
            {"id": "TVStand|3|4|5", "children": None},
        ]
    }
    assert houses.object_types(house) == {"DiningTable", "Plate", "Egg", "TVStand"}


def test_bad_lines_are_named_and_the_others_used(tmp_path: Path) -> None:
    good = json.dumps(make_house(0, "Safe Bed"))
    old = {**make_house(0), "metadata": {"schema": "0.0.1"}}
    bad = ["{broken", "[1, 2]", "", '{"objects": [{"assetId": "x"}]}', '{"objects": [7]}', json.dumps(old), "\udcff"]
    path = tmp_path / "train.jsonl"
    path.write_bytes("\n".join([good, *bad, good, "", ""]).encode("utf-8", "surrogateescape"))
    found = scan_houses(path)
    assert found.count == 9 and sorted(found.problems) == [1, 2, 3, 4, 5, 6, 7]
    assert found.object_types == ("Bed", "Safe")
    assert "train.jsonl, line 2 (house 1): it is not JSON" in found.problems[1]
    assert 'no list "objects"' in found.problems[2] and "not JSON" in found.problems[3]
    assert 'no "id"' in found.problems[4] and 'no "id"' in found.problems[5]
    assert "old format 0.0.1" in found.problems[6] and REVISION in found.problems[6]
    reader = HouseReader(found)
    assert reader.read(8)["number"] == 0
    with pytest.raises(HousesError, match="not JSON"):
        reader.read(1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n", "only a Git LFS pointer.*git lfs pull"),
        (b"", "no usable house .it is empty"),
        (b"no json\n", "no usable house .*line 1"),
        (gzip.compress(b'{"objects": []}\n' * 1000, mtime=0)[:40], "is damaged"),
        (gzip.compress(b"{}", mtime=0)[:12] + b"\xff" * 40, "is damaged"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "train.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(HousesError, match=message):
        scan_houses(path)


def test_missing_pinned_and_endless_files(five: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HousesError, match="cannot be read: .*nowhere.*No such file"):
        scan_houses(tmp_path / "nowhere")
    digest = hashlib.sha256(five.read_bytes()).hexdigest()
    assert scan_houses(five, digest.upper()).sha256 == digest
    with pytest.raises(HousesError, match=f"has the SHA-256 {digest}, but --houses_sha256 pins abc"):
        scan_houses(five, "abc")
    monkeypatch.setattr(houses, "MOST_HOUSE_BYTES", 100)
    with pytest.raises(HousesError, match="a line of more than"):
        scan_houses(five)


def test_known_files_tell_their_revision() -> None:
    for digest in houses.KNOWN_FILES:
        assert len(bytes.fromhex(digest)) == 32
        assert HouseFile(Path("train.jsonl.gz"), digest, 1, ()).revision == REVISION


@settings(max_examples=30, deadline=None)
@given(numbers=st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_houses_are_read_in_any_order(five: Path, numbers: list[int]) -> None:
    reader = HouseReader(scan_houses(five))
    assert [reader.read(number) for number in numbers] == [make_house(number) for number in numbers]


def test_reading_forward_unpacks_the_file_once(five: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = HouseReader(scan_houses(five))
    real, passes = houses._lines, []
    monkeypatch.setattr(houses, "_lines", lambda path: passes.append(path) or real(path))
    for number in range(5):
        reader.read(number)
    assert len(passes) == 1
    reader.read(2)
    assert len(passes) == 2
    reader.close()
    assert reader.read(4) == make_house(4)


def test_a_house_that_is_not_there_and_a_file_that_changed(five: Path, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    write(path, [json.dumps(make_house(number)) for number in range(2)])
    found = scan_houses(path)
    for number in (-1, 2):
        with pytest.raises(HousesError, match=f"no house {number}; it has 0 to 1"):
            HouseReader(found).read(number)
    write(path, [json.dumps(make_house(random.randrange(9), "Bed Safe Bed Safe")) for _ in range(2)])
    with pytest.raises(HousesError, match="has changed since the build began"):
        HouseReader(found)
