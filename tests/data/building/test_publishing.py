"""Publishing with the real clients against a small Hub, and loading in a fresh process what was published."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_scripts import publish
from modeling_cde.data.building.build import assemble
from modeling_cde.data.building.publishing import (
    FORBIDDEN,
    allow_publishing,
    forbid_publishing,
    publishable_files,
    push_to_hub,
)
from modeling_cde.data.loading import load_pairs
from tests.data.tiny_pairs import write_shards
from tests.hub_client import ClientHere, HubClient, spoken_to
from tests.hub_server import HubServer, Repository

DIGEST = """
import hashlib, json
def digest(rows):
    return hashlib.sha256(repr([sorted(row.items()) for row in rows]).encode()).hexdigest()
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "pairs"
    write_shards(folder)
    assemble(folder, "single", progress=False)
    (folder / "single" / ".lock").touch()
    (folder / "single" / "train.parquet.tmp").touch()
    return folder


@pytest.fixture
def copy(built, tmp_path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "copy"))


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def publisher(hub) -> Iterator[ClientHere]:
    with spoken_to(hub):
        yield ClientHere()


@pytest.fixture(scope="module")
def reader(hub, tmp_path_factory) -> Iterator[HubClient]:
    with HubClient(hub, tmp_path_factory.mktemp("reader"), token="hf_nobody") as client:
        yield client


def push(client: ClientHere, folder: Path, name: str, options: str = "") -> dict[str, str]:
    return client.run(
        "from modeling_cde.data.building.publishing import push_to_hub\n"
        f"result = push_to_hub({str(folder)!r}, {name!r}, {options})"
    )


def stored(hub: HubServer, name: str) -> Repository:
    return hub.repositories["dataset", name]


def test_a_published_build_is_loaded_and_streamed_by_a_fresh_process(built, hub, publisher, reader, tmp_path):
    assert push(publisher, built, "org/pairs") == {"result": f"{hub.url}/datasets/org/pairs"}
    files = stored(hub, "org/pairs").files()
    assert len(stored(hub, "org/pairs").commits) == 2  # the initial one, and ours with everything
    published = {str(path.relative_to(built)) for path in built.rglob("*") if path.is_file()} - {"single/.lock"}
    published = {name for name in published if not name.startswith("shards/") and not name.endswith(".tmp")}
    assert set(files) == published | {".gitattributes"}
    for name in published - {"README.md"}:
        assert files[name] == (built / name).read_bytes()
    readme = files["README.md"].decode()
    assert 'load_pairs("org/pairs", "single_comp", "train")' in readme and "path/of/this/folder" not in readme

    there = reader.run(
        DIGEST
        + """
from modeling_cde.data import load_pairs
loaded = load_pairs("org/pairs", "single_syst", "train")
stream = load_pairs("org/pairs", "single_syst", "train", streaming=True)
rows = list(loaded)
def bare(row):
    return {key: value["bytes"] if isinstance(value, dict) else value for key, value in row.items()}
result = [digest(map(bare, rows)), digest(map(bare, stream)), len(rows), loaded.features == stream.features]
"""
    )
    scope: dict[str, object] = {}
    exec(DIGEST, scope)
    here = [
        {key: value["bytes"] if isinstance(value, dict) else value for key, value in row.items()}
        for row in load_pairs(built, "single_syst", "train", cache_dir=tmp_path)
    ]
    assert there == {"result": [scope["digest"](here), scope["digest"](here), len(here), True]}


def test_what_a_reader_asks_for_wrongly_is_said(built, hub, publisher, reader):
    push(publisher, built, "org/asked")
    load = "from modeling_cde.data import load_pairs\nload_pairs({})"
    assert (
        "has no configuration 'multi_syst'; it has single_comp"
        in reader.run(load.format('"org/asked", "multi_syst"'))["message"]
    )
    assert (
        "neither a folder nor a data set repository" in reader.run(load.format('"org/none", "single_syst"'))["message"]
    )
    # A repository whose card and files are of different builds
    repository = stored(hub, "org/asked")
    files = dict(repository.files())
    files["single/train-00000-of-00001.parquet"] = files["single/test-00000-of-00001.parquet"]
    repository.commit(files, "mixed")
    answer = reader.run(load.format('"org/asked", "single_syst"'))
    assert answer["error"] == "ValueError" and "its numbers of pairs differ from its card" in answer["message"]


def test_a_failed_commit_leaves_nothing_and_the_second_try_sends_no_file_twice(built, hub, publisher, reader):
    hub.failures["/commit/"] = 500
    try:
        answer = push(publisher, built, "org/retry")
    finally:
        hub.failures.clear()
    assert answer["error"] == "ConnectionError"
    assert answer["message"].startswith("The Hub answered 500 (it was told to fail); nothing became visible")
    assert "\n" not in answer["message"]
    assert set(stored(hub, "org/retry").files()) == {".gitattributes"}
    load = 'from modeling_cde.data import load_pairs\nresult = len(load_pairs("org/retry", "single_syst", "train"))'
    assert reader.run(load)["error"] == "FileNotFoundError"
    asked = len(hub.calls)
    assert "result" in push(publisher, built, "org/retry")
    assert not [call for call in hub.calls[asked:] if call.startswith("PUT")]
    assert reader.run(load)["result"] > 0


def test_a_new_build_replaces_the_old_one_in_one_commit(copy, hub, publisher):
    push(publisher, copy, "org/again")
    old = stored(hub, "org/again").files()
    push(publisher, copy, "org/again")
    assert len(stored(hub, "org/again").commits) == 2  # nothing changed, no commit
    assemble(copy, "single", seed=1, shift="syst", progress=False, rows_per_file=50)
    push(publisher, copy, "org/again")
    new = stored(hub, "org/again").files()
    assert len(stored(hub, "org/again").commits) == 3
    assert "manifests/single_comp.json" in old and "manifests/single_comp.json" not in new
    assert "single/train-00000-of-00001.parquet" in old and "single/train-00000-of-00001.parquet" not in new
    assert {name for name in new if name.startswith("single")} == {
        f"single_syst/{path.name}" for path in (copy / "single_syst").iterdir()
    }
    # A build of the other view alone would hide this one.
    write_shards(copy, "multi", offset=1000)
    for name in ("single_syst", "manifests"):
        shutil.rmtree(copy / name)
    assemble(copy, "multi", shift="syst", progress=False)
    answer = push(publisher, copy, "org/again")
    assert answer["error"] == "ValueError" and "has the splits single_syst, which this build lacks" in answer["message"]
    assert stored(hub, "org/again").files() == new


def test_a_split_that_holds_nothing_out_is_neither_lost_nor_a_replacement(copy, hub, publisher):
    assemble(copy, "single", shift="none", progress=False)
    push(publisher, copy, "org/none")
    assert any(name.startswith("single_none/train-") for name in stored(hub, "org/none").files())
    lacking = "has the splits {}, which this build lacks"
    shutil.rmtree(copy / "single_none")
    (copy / "manifests" / "single_none.json").unlink()
    assemble(copy, "single", progress=False)
    assert lacking.format("single_none") in push(publisher, copy, "org/none")["message"]
    shutil.rmtree(copy / "single")
    for shift in ("comp", "syst"):
        (copy / "manifests" / f"single_{shift}.json").unlink()
    assemble(copy, "single", shift="none", progress=False)
    assert lacking.format("single") in push(publisher, copy, "org/none")["message"]


def test_who_may_not_write_is_told_so(built, hub, publisher):
    answer = push(publisher, built, "org/refused", 'token="hf_wrong"')
    assert (
        answer["error"] == "PermissionError" and "does not accept the token for org/refused (401)" in answer["message"]
    )
    for part, status, sentence in (
        ("/api/repos/create", 403, "has no write access to org/refused (403)"),
        ("/lfs/", 403, "has no write access to org/refused (403)"),
    ):
        hub.failures[part] = status
        hub.objects.clear()
        try:
            answer = push(publisher, built, "org/refused")
        finally:
            hub.failures.clear()
        assert sentence in answer["message"], (part, answer)
    assert set(stored(hub, "org/refused").files()) == {".gitattributes"}


def test_a_commit_of_someone_else_meanwhile_is_not_written_over(built, copy, hub, publisher):
    assemble(copy, "single", seed=1, progress=False)
    push(publisher, copy, "org/shared")
    answer = publisher.run(
        f"""
from huggingface_hub import CommitOperationAdd, HfApi
from modeling_cde.data.building.publishing import push_to_hub
asked = HfApi.dataset_info
def slow(self, *arguments, **options):
    answer = asked(self, *arguments, **options)
    self.create_commit("org/shared", [CommitOperationAdd("single/theirs.parquet", b"x")], commit_message="theirs",
                       repo_type="dataset")
    HfApi.dataset_info = asked
    return answer
HfApi.dataset_info = slow
push_to_hub({str(built)!r}, "org/shared", commit_message="ours")"""
    )
    assert answer["error"] == "ConnectionError" and "meanwhile (412)" in answer["message"]
    assert stored(hub, "org/shared").messages[-1] == "theirs"
    push(publisher, built, "org/shared")  # and now it goes, with the others' file of this view
    assert "single/theirs.parquet" not in stored(hub, "org/shared").files()


def test_a_hub_out_of_reach_is_said(built, publisher):
    unreachable = 'import huggingface_hub.constants as c\nkept, c.ENDPOINT = c.ENDPOINT, "http://127.0.0.1:9"\n'
    call = f"from modeling_cde.data.building.publishing import push_to_hub\npush_to_hub({str(built)!r}, 'org/far')"
    answer = publisher.run(f"{unreachable}try:\n  exec({call!r})\nfinally:\n  c.ENDPOINT = kept")
    assert answer["error"] == "ConnectionError" and "cannot be reached, or the connection broke" in answer["message"]
    offline = "import huggingface_hub.constants as c\nc.HF_HUB_OFFLINE = True\n"
    answer = publisher.run(f"{offline}try:\n  exec({call!r})\nfinally:\n  c.HF_HUB_OFFLINE = False")
    assert answer == {
        "error": "ConnectionError",
        "message": "HF_HUB_OFFLINE is set, so nothing can be published to org/far: unset it.",
    }


def test_private_repositories(built, hub, publisher, reader):
    assert "result" in push(publisher, built, "org/secret", "private=True")
    assert stored(hub, "org/secret").private
    load = 'from modeling_cde.data import load_pairs\nresult = len(load_pairs("org/secret", "single_syst", "test"{}))'
    assert reader.run(load.format(""))["error"] == "FileNotFoundError"
    assert reader.run(load.format(', token="hf_dummy"'))["result"] > 0
    push(publisher, built, "org/open")
    answer = push(publisher, built, "org/open", "private=True")
    assert answer["error"] == "ValueError" and "org/open exists and is public" in answer["message"]


def test_the_command_publishes_and_says_where(built, hub, publisher):
    code = "import contextlib, io\nfrom data_scripts import publish\nsaid = io.StringIO()\n"
    code += f"with contextlib.redirect_stdout(said):\n  publish.main(['--data', {str(built)!r}, '--push', 'org/cli'])\n"
    answer = publisher.run(f"{code}result = said.getvalue()")
    assert answer == {"result": f"Published {built} at {hub.url}/datasets/org/cli\n"}


# What is checked before anything is sent


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "kind", "sentence"),
    [
        (lambda f: shutil.rmtree(f / "manifests"), FileNotFoundError, "does not contain a finished data set"),
        (lambda f: (f / "README.md").unlink(), FileNotFoundError, "does not contain a finished data set"),
        (lambda f: (f / "multi").mkdir(), ValueError, "only partly assembled: the folder multi has no manifest"),
        (lambda f: (f / "manifests/single_comp.json").unlink(), ValueError, "README.md and manifests/ do not agree"),
        (lambda f: (f / "single/SHA256SUMS").unlink(), ValueError, "SHA256SUMS is missing"),
        (lambda f: damage(f / "single/test-00000-of-00001.parquet"), ValueError, "test-00000.* changed or damaged"),
        (lambda f: (f / "single/test-00000-of-00001.parquet").unlink(), ValueError, "test-00000.* is missing"),
        (lambda f: (f / "single/more.parquet").touch(), ValueError, "more.parquet does not belong to the build"),
        (
            lambda f: forbid_publishing(f, "Its frames\nare not ours."),
            PermissionError,
            "must not be published: Its frames are",
        ),
    ],
)
def test_a_build_that_is_not_whole_or_not_for_publishing_is_refused(copy, spoil, kind, sentence):
    publishable_files(copy)
    spoil(copy)
    with pytest.raises(kind, match=sentence):
        push_to_hub(copy, "org/never")


@pytest.mark.parametrize("name", ["pairs", "a/b/c", "org/..", "org/a b", ""])
def test_a_name_that_the_hub_does_not_take_is_refused(built, name):
    with pytest.raises(ValueError, match="is not a valid repository name"):
        push_to_hub(built, name)


def test_the_command_answers_with_a_sentence(tmp_path):
    with pytest.raises(SystemExit, match=r"^data_scripts.publish: .*nowhere does not contain a finished data set"):
        publish.main(["--data", str(tmp_path / "nowhere"), "--push", "org/pairs"])


def test_a_reason_not_to_publish_stays_until_it_is_deleted(copy):
    forbid_publishing(copy, "CC BY-NC frames.")
    assemble(copy, "single", progress=False)
    assert (copy / FORBIDDEN).read_text() == "CC BY-NC frames.\n"
    allow_publishing(copy, "Another reason.")
    assert (copy / FORBIDDEN).exists()
    allow_publishing(copy, "CC BY-NC\nframes.")
    assert not (copy / FORBIDDEN).exists()
    assert "README.md" in publishable_files(copy)
