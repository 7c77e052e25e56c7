"""The folders of checkpoints: whole or absent, checked by their manifest, the oldest removed."""

import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from modeling_cde.training.checkpoints import checkpoint_folder
from modeling_cde.training.checkpoints.checkpoint_folder import (
    begin,
    best_of,
    check_is_new,
    checkpoints,
    complete,
    find_damage,
    find_lost_best,
    newest_complete,
    remove,
    rotate,
    temporary_of,
    tidy,
)
from modeling_cde.training.checkpoints.sharded_checkpoints import is_sharded
from tests.training.damage import cut, flip


@pytest.fixture
def some(tmp_path):
    """A folder of three small checkpoints."""
    for step in (5, 10, 15):
        folder = tmp_path / f"checkpoint-{step}"
        begin(folder)
        for name in ("model.safetensors", "optimizer.safetensors", "trainer_state.json"):
            (temporary_of(folder) / name).write_bytes(bytes(range(step)) * 9)
        complete(folder, step=step, save_only_model=False)
    return tmp_path


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda c: cut(c / "model.safetensors"), "model.safetensors has 134 bytes instead of 135"),
        (lambda c: flip(c / "model.safetensors"), "model.safetensors was changed after it was written"),
        (lambda c: (c / "optimizer.safetensors").unlink(), "optimizer.safetensors is missing"),
        (lambda c: (c / "manifest.json").unlink(), "it has no manifest.json: it is incomplete, or of an older version"),
        (lambda c: cut(c / "manifest.json") or cut(c / "manifest.json"), "its manifest.json cannot be read"),
        (lambda c: (c / "manifest.json").write_text('{"files": [1]}'), "its manifest.json cannot be read"),
        (lambda c: (c / "manifest.json").write_text('{"files": {}}'), "its manifest.json does not name trainer_state."),
        (lambda c: [path.unlink() for path in c.iterdir()], "it has no manifest.json"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_by_name(some, damage, words):
    damage(some / "checkpoint-15")
    step, passed_over = newest_complete(some)
    assert step == 10 and len(passed_over) == 1
    assert passed_over[0].startswith(f"{some / 'checkpoint-15'} is passed over: {words}")


@pytest.mark.parametrize("place", ["../beside", "ideographic\u3000space"])
def test_a_run_may_lie_anywhere(some, monkeypatch, place):
    (some / "here").mkdir()
    monkeypatch.chdir(some / "here")
    Path(place).mkdir()
    os.rename(some / "checkpoint-15", Path(place) / "checkpoint-15")
    (Path(place) / "checkpoint-015").mkdir()  # nobody's
    assert newest_complete(Path(place)) == (15, [])


def test_a_checkpoint_whose_best_one_is_lost_is_passed_over_if_there_is_another(tmp_path):
    for step, best in ((5, 5), (10, 10), (15, 10), (20, 10)):
        folder = tmp_path / f"checkpoint-{step}"
        begin(folder)
        state = {"best_model_checkpoint": f"elsewhere/checkpoint-{best}"}
        (temporary_of(folder) / "trainer_state.json").write_text(json.dumps(state))
        complete(folder, step=step)
    assert newest_complete(tmp_path, with_best=True) == (20, [])
    flip(tmp_path / "checkpoint-10" / "trainer_state.json")
    step, passed_over = newest_complete(tmp_path, with_best=True)
    assert step == 5 and len(passed_over) == 3
    assert "checkpoint-20 is passed over: the best one by then, " in passed_over[0]
    assert "checkpoint-10, cannot be loaded: trainer_state.json was changed" in passed_over[0]
    assert newest_complete(tmp_path) == (20, [])
    cut(tmp_path / "checkpoint-5" / "trainer_state.json")
    assert newest_complete(tmp_path, with_best=True) == (20, [])


def test_an_empty_folder_in_a_checkpoint_is_not_taken_for_its_shards(tmp_path):
    (tmp_path / "weights").mkdir()
    assert not is_sharded(tmp_path)


def test_rotation_keeps_the_newest_the_best_and_no_other_future(some):
    rotate(some / "checkpoint-10", 2, str(some / "checkpoint-5"))
    assert list(checkpoints(some)) == [10, 5]  # 15 was passed over by the training that now writes 10
    rotate(some / "checkpoint-10", None, None)
    rotate(some / "checkpoint-10", 1, str(some / "checkpoint-5"))
    assert list(checkpoints(some)) == [10, 5]
    rotate(some / "checkpoint-10", 1, None)
    assert list(checkpoints(some)) == [10]


def test_only_what_a_killed_training_has_left_is_removed(some):
    left = ["tmp-checkpoint-20", "tmp-old-checkpoint-4", "tmp-replaced-checkpoint-5", "tmp-files", "_push_abc_12de"]
    others = ["tmp-mine", "tmp-checkpoint-notes", "_push_"]
    for name in left + others:
        (some / name).mkdir()
    (some / "tmp-notes.txt").touch()
    assert {path.name for path in tidy(some)} == set(left)
    kept = {path.name for path in some.iterdir()}
    assert kept == {*others, "tmp-notes.txt", "checkpoint-5", "checkpoint-10", "checkpoint-15"}


def test_a_kill_between_the_two_renames_of_a_checkpoint_that_is_written_again_loses_none(some, monkeypatch):
    begin(some / "checkpoint-15")
    rename, done = os.rename, []

    def once(*paths):
        if done:
            raise KeyboardInterrupt
        done.append(rename(*paths))

    monkeypatch.setattr(os, "rename", once)
    with pytest.raises(KeyboardInterrupt):
        complete(some / "checkpoint-15")
    monkeypatch.undo()
    assert list(checkpoints(some)) == [10, 5]
    tidy(some)
    assert newest_complete(some) == (15, [])
    assert {path.name for path in some.iterdir()} == {"checkpoint-5", "checkpoint-10", "checkpoint-15"}


def test_a_new_training_does_not_mix_its_checkpoints_with_those_of_another(some):
    args = SimpleNamespace(output_dir=str(some), resume_from_checkpoint=None)
    with pytest.raises(ValueError, match="has checkpoints of an earlier training .checkpoint-15.: resume it with"):
        check_is_new(args)
    args.resume_from_checkpoint = "true"
    check_is_new(args)


def test_the_manifest_names_every_file_with_its_size_and_digest(tmp_path):
    folder = tmp_path / "run" / "checkpoint-3"
    temporary_of(folder).mkdir(parents=True)
    (temporary_of(folder) / "of a killed process").touch()
    begin(folder)
    written = {"trainer_state.json": b"{}", "weights/shard-1.safetensors": b"12345"}
    for name, content in written.items():
        (temporary_of(folder) / name).parent.mkdir(exist_ok=True)
        (temporary_of(folder) / name).write_bytes(content)
    complete(folder, step=3, processes=2)
    assert json.loads((folder / "manifest.json").read_text()) == {
        "step": 3,
        "processes": 2,
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in written.items()
        },
    }
    assert find_damage(folder) is None and [path.name for path in folder.parent.iterdir()] == ["checkpoint-3"]
    cut(folder / "weights" / "shard-1.safetensors")
    assert find_damage(folder) == "weights/shard-1.safetensors has 4 bytes instead of 5"


def test_everything_is_on_the_disk_before_a_checkpoint_has_its_name(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(checkpoint_folder, "to_disk", lambda path: done.append(path.name))
    monkeypatch.setattr(
        checkpoint_folder, "flushed", lambda folder: [done.append("files"), *folder.rglob("*.json")][1:]
    )
    rename = os.rename
    monkeypatch.setattr(os, "rename", lambda *paths: done.append("rename") or rename(*paths))
    folder = tmp_path / "checkpoint-3"
    begin(folder)
    (temporary_of(folder) / "within").mkdir()
    (temporary_of(folder) / "trainer_state.json").write_text("{}")
    complete(folder)
    assert done == ["files", "manifest.json", "within", "tmp-checkpoint-3", "rename", tmp_path.name]


def test_a_checkpoint_that_is_written_again_replaces_the_one_before(some):
    folder = some / "checkpoint-15"
    begin(folder)
    (temporary_of(folder) / "trainer_state.json").write_text("{}")
    (some / "tmp-replaced-checkpoint-15").mkdir()  # of an earlier kill
    (some / "tmp-replaced-checkpoint-15" / "file").touch()
    complete(folder)
    assert {path.name for path in folder.iterdir()} == {"trainer_state.json", "manifest.json"}
    assert {path.name for path in some.iterdir()} == {"checkpoint-5", "checkpoint-10", "checkpoint-15"}


@pytest.mark.parametrize("name", ["../x", "/etc/hosts", "a\nb", "weights/../../x"])
def test_a_manifest_names_files_within_its_checkpoint_alone(some, name):
    folder = some / "checkpoint-15"
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": 1, "sha256": ""}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert find_damage(folder) == "its manifest.json cannot be read"


def test_what_cannot_be_resumed_is_said_in_a_few_words(some, monkeypatch):
    assert find_damage(some / "checkpoint-7") == "there is no such folder"
    assert find_damage(some / "checkpoint-15" / "manifest.json") == "there is no such folder"
    manifest = some / "checkpoint-15" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"save_only_model": True}))
    assert find_damage(some / "checkpoint-15") == "it has the model but not the state of the training (save_only_model)"

    def unreadable(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(checkpoint_folder, "file_sha256", unreadable)
    assert find_damage(some / "checkpoint-10") == "it cannot be read (Input/output error)"


def test_the_best_checkpoint_is_looked_for_beside_and_then_where_it_was(some, tmp_path_factory):
    folder, elsewhere = some / "checkpoint-15", tmp_path_factory.mktemp("elsewhere")

    def recorded(best):
        (folder / "trainer_state.json").write_text(json.dumps({"best_model_checkpoint": best}))
        return best_of(folder)

    assert recorded(None) is None and find_lost_best(folder) is None
    assert recorded(str(elsewhere / "checkpoint-5")) == some / "checkpoint-5" and find_lost_best(folder) is None
    assert recorded(str(elsewhere / "checkpoint-6")) == elsewhere / "checkpoint-6"
    assert find_lost_best(folder) == (
        f"the best one by then, {elsewhere / 'checkpoint-6'}, cannot be loaded: there is no such folder"
    )
    # It is its own best one, and damaged only because this test has written into it.
    assert recorded("checkpoint-15") == folder and find_damage(folder) and find_lost_best(folder) is None


def test_only_folders_with_a_step_in_their_name_are_checkpoints(some):
    for name in ("checkpoint-0", "checkpoint-100"):
        (some / name).mkdir()
    for name in ("checkpoint-05", "checkpoint-", "checkpoint--1", "checkpoint-5x", "xcheckpoint-5", "checkpoint-1_0"):
        (some / name).mkdir()
    (some / "checkpoint-7").touch()
    assert list(checkpoints(some).items()) == [(n, some / f"checkpoint-{n}") for n in (100, 15, 10, 5, 0)]
    assert checkpoints(some / "none") == {}
    assert newest_complete(some)[0] == 15 and len(newest_complete(some)[1]) == 1
    assert newest_complete(some / "none") == newest_complete(some / "none", with_best=True) == (None, [])


@pytest.mark.parametrize(("limit", "left"), [(None, 3), (0, 3), (-1, 3), (3, 3), (4, 3), (2, 2), (1, 1)])
def test_as_many_checkpoints_remain_as_are_asked_for(some, limit, left):
    rotate(some / "checkpoint-15", limit, None)
    assert list(checkpoints(some)) == [15, 10, 5][:left]


def test_the_best_one_stays_however_it_is_written(some, monkeypatch):
    monkeypatch.chdir(some)
    rotate(some / "checkpoint-15", 1, "checkpoint-5")
    assert list(checkpoints(some)) == [15, 5]


def test_a_checkpoint_that_is_removed_loses_its_name_first(some, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_folder.shutil, "rmtree", lambda path, ignore_errors: None)
        remove(some / "checkpoint-5")
    assert list(checkpoints(some)) == [15, 10] and (some / "tmp-old-checkpoint-5").is_dir()
    (some / "checkpoint-5").mkdir()  # written again, with the half of the other one still there
    remove(some / "checkpoint-5")
    assert not (some / "tmp-old-checkpoint-5").exists()
    (some / "tmp-old-checkpoint-5").mkdir()
    remove(some / "checkpoint-10")
    assert tidy(some) == [some / "tmp-old-checkpoint-5"] and os.listdir(some) == ["checkpoint-15"]
