import hashlib
import os
import random

import numpy as np
import pytest
from safetensors.numpy import save_file

from modeling_cde.whole_files import (
    NotWritten,
    command_without_places,
    csv_cell,
    csv_text,
    file_sha256,
    without_places,
    write_files_whole,
    write_folder_whole,
    write_text_whole,
    write_whole,
)
from tests.tiny_models import tiny_cde


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_the_umask_says_who_may_read_what_is_written(umask, mode, tmp_path):
    """safetensors writes by a temporary file that only its owner may read."""
    before = os.umask(umask)
    try:
        with write_whole(tmp_path / "a.safetensors") as temporary:
            save_file({"a": np.zeros(2)}, temporary)
        write_text_whole(tmp_path / "a.txt", "a")
        for write in (lambda folder: write_files_whole(folder, "b.safetensors"), write_folder_whole):
            with write(tmp_path / write.__name__) as temporary:
                (temporary / "within").mkdir()
                save_file({"a": np.zeros(2)}, temporary / "within" / "b.safetensors")
        tiny_cde("vit").save_pretrained(tmp_path / "model")
    finally:
        os.umask(before)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.suffix == ".safetensors" for path in written) == 4
    assert {path.stat().st_mode & 0o777 for path in written} == {mode}, written


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


@pytest.mark.parametrize("value", ["=1+1", "+SUM(A1)", "-cmd", "@now", "\tx", "\rx", "-", "'=1", "--5", "-5 pairs"])
def test_no_cell_is_a_formula(value):
    assert csv_cell(value) == f"'{value}" and csv_text(csv_cell(value)) == value


@pytest.mark.parametrize("value", ["open", "-5", "+1.5", "-2.5e-05", "'open'", "a=b", "", -5, -0.5, None])
def test_numbers_and_plain_text_stay_as_they_are(value):
    assert csv_cell(value) == value and (not isinstance(value, str) or csv_text(value) == value)
