import hashlib
import os
import random

import pytest

from modeling_cde.whole_files import (
    NotWritten,
    command_without_places,
    file_sha256,
    without_places,
    write_folder_whole,
    write_text_whole,
    write_whole,
)


def test_an_unfinished_file_matches_no_pattern_of_finished_ones(tmp_path):
    """Shards and manifests are found by their ending, also after a process was killed."""
    with write_whole(tmp_path / "unit.parquet") as temporary:
        temporary.write_text("half")
        assert temporary.name.startswith("tmp-") and not list(tmp_path.glob("*.parquet"))
    assert [path.name for path in tmp_path.iterdir()] == ["unit.parquet"]


def test_two_processes_write_a_shared_file(tmp_path):
    path = tmp_path / "part.safetensors"
    with write_whole(path, shared=True) as first, write_whole(path, shared=True) as second:
        assert first != second
        first.write_text("same")
        second.write_text("same")
    assert path.read_text() == "same" and len(list(tmp_path.iterdir())) == 1


def test_a_text_is_the_same_bytes_everywhere(tmp_path):
    write_text_whole(tmp_path / "new" / "a.txt", "ä\nb\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"\xc3\xa4\nb\n"


def test_a_folder_is_whole_or_as_before(tmp_path):
    folder = tmp_path / "above" / "house"
    for text in ("first", "second"):
        with write_folder_whole(folder) as temporary:
            (temporary / "color").mkdir()
            (temporary / "color" / text).write_text(text)
        assert [path.name for path in folder.rglob("*")] == ["color", text]
    with pytest.raises(ZeroDivisionError), write_folder_whole(folder) as temporary:
        (temporary / "third").write_text("half")
        1 / 0  # noqa: B018
    assert [path.name for path in folder.rglob("*")] == ["color", "second"]
    assert os.listdir(folder.parent) == ["house"]
    with pytest.raises(NotWritten, match="second.x could not be written .*: what was there before is unchanged"):
        with write_folder_whole(folder / "color" / "second" / "x"):
            pass


def test_a_record_names_files_and_not_their_places():
    record = {
        "data": "/home/ann/pairs/",
        "rooms": "data/rooms",
        "home": "~/rooms",
        "above": ["../x/my pairs", "..", "org/name", "https://example.org/a"],
        "options": '{"deepspeed": {"file": "/home/ann/zero.json"}, "lr": 1e-3}',
        "list": '["a", "b"]',
        "broken": "{/home",
        "numbers": (1, 0.5, None, True),
    }
    assert without_places(record) == {
        "data": "pairs",
        "rooms": "data/rooms",
        "home": "rooms",
        "above": ["my pairs", os.path.basename(os.path.dirname(os.getcwd())), "org/name", "https://example.org/a"],
        "options": '{"deepspeed": {"file": "zero.json"}, "lr": 0.001}',
        "list": '["a", "b"]',
        "broken": "{/home",
        "numbers": [1, 0.5, None, True],
    }
    command = "train.py --config /home/ann/own.yaml --data='/home/ann/my pairs' --seed 1 --output_dir=runs/1"
    assert (
        command_without_places(command) == "train.py --config own.yaml '--data=my pairs' --seed 1 --output_dir=runs/1"
    )
    for kept in ('train.py --note "a b"', "train.py 'without a partner", ""):
        assert command_without_places(kept) == kept


@pytest.mark.parametrize("size", [0, 1, (1 << 20) + 1])
def test_the_hash_of_a_file(size, tmp_path):
    content = random.Random(size).randbytes(size)
    (tmp_path / "a").write_bytes(content)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()
