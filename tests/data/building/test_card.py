"""README.md of a data set: a header that the Hub's and datasets' own readers take, and text that says what is in it."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pyarrow.parquet as parquet
import pytest
import yaml
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard as HubCard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_scripts.rooms.build import rooms_card
from data_scripts.rooms.pairs import Noise
from data_scripts.rooms.units import Settings
from modeling_cde.data.building.build import assemble, write_shard
from modeling_cde.data.building.card import DatasetCard, render_readme
from modeling_cde.data.loading import load_pairs
from modeling_cde.data.schema import SPLITS, pair_features
from modeling_cde.data.splits import SplitManifest
from tests.cards.hub_rules import problems
from tests.data.tiny_pairs import ACTIONS, OBJECTS, rows, write_shards

CARD = DatasetCard(
    title="Kitchen | pairs\n---\nof *mine*",
    description="Cut out of **videos**.",
    license="cc-by-nc-4.0",
    license_terms="Not for selling; say what you changed.",
    credit="By A. Cook.",
    provenance=("Videos: [kitchens](https://example.org)", "frames at 60 per second"),
    citation="@article{cook, title={Pairs}}",
    tags=("egocentric", "before-after-pairs"),
    command="python -m data_scripts.table --output pairs",
    limits=("Hands hide some objects.",),
)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("card") / "pairs"
    write_shards(folder)
    shards = folder / "shards" / "single"
    for unit, entry in enumerate(
        (
            {"state": "done", "rows": 90, "rejected": {"too small": 2}, "problems": [], "attempts": 1},
            {"state": "done", "rows": 90, "rejected": {"too small": 1, "a|b": 4}, "problems": [], "attempts": 3},
            {"state": "failed", "rows": 0, "rejected": {}, "problems": [], "error": "no disk", "attempts": 3},
        )
    ):
        (shards / f"unit-{unit:05d}.json").write_text(json.dumps(entry))
    (shards / "settings.json").write_text(json.dumps({"archive": "/home/cook/x.zip", "margin": 0.25}))
    assemble(folder, "single", seed=3, card=CARD, progress=False)
    return folder


def manifests(folder: Path) -> dict[str, SplitManifest]:
    return {path.stem: SplitManifest.load(path) for path in (folder / "manifests").glob("*.json")}


def test_the_header_is_what_the_hub_and_datasets_read(built):
    data = HubCard.load(built / "README.md", ignore_metadata_errors=False).data
    assert not problems(data.to_dict(), "dataset")
    assert data.license == "cc-by-nc-4.0" and data.task_categories == ["image-classification"]
    assert data.size_categories == ["n<1K"] and data.pretty_name == "Kitchen | pairs --- of *mine*"
    assert data.tags.count("before-after-pairs") == 1 and "egocentric" in data.tags
    infos = DatasetInfosDict.from_dataset_card_data(data)
    assert [config["config_name"] for config in data["configs"]] == list(infos) == ["single_comp", "single_syst"]
    for config, manifest in manifests(built).items():
        info = infos[config]
        assert info.features == pair_features(ACTIONS, OBJECTS)
        assert {name: part.num_examples for name, part in info.splits.items()} == {
            part: len(ids) for part, ids in manifest.parts.items()
        }
        assert info.dataset_size == sum(part.num_bytes for part in info.splits.values())


def test_bytes_are_those_of_the_files_and_nearly_those_that_datasets_counts(built, tmp_path):
    header = HubCard.load(built / "README.md").data["dataset_info"][0]  # single_comp
    files = [path for path in (built / "single").glob("*.parquet") if "_syst" not in path.name]
    assert header["download_size"] == sum(path.stat().st_size for path in files)
    tables = sum(parquet.read_table(path).nbytes for path in files)
    # Tiny pictures: what a row costs besides them is a good part of it here.
    assert tables <= header["dataset_size"] < tables + 250 * sum(part["num_examples"] for part in header["splits"])


def test_datasets_verifies_the_sizes_of_the_header(built, tmp_path):
    folder = tmp_path / "pairs"
    (folder / "single").mkdir(parents=True)
    for path in (built / "single").iterdir():
        (folder / "single" / path.name).write_bytes(path.read_bytes())
    readme = (built / "README.md").read_text()
    (folder / "README.md").write_text(readme)
    loaded = datasets.load_dataset(str(folder), "single_syst", cache_dir=str(tmp_path / "right"))
    assert tuple(loaded) == SPLITS
    number = len(loaded["train"])
    assert f"num_examples: {number}\n" in readme
    (folder / "README.md").write_text(readme.replace(f"num_examples: {number}\n", f"num_examples: {number + 1}\n"))
    with pytest.raises(datasets.exceptions.NonMatchingSplitsSizesError):
        datasets.load_dataset(str(folder), "single_syst", cache_dir=str(tmp_path / "wrong"))


def test_a_rebuilt_view_has_the_new_sizes_and_the_other_view_keeps_its_own(tmp_path):
    write_shards(tmp_path)
    write_shards(tmp_path, "multi", offset=1000)
    assemble(tmp_path, "multi", seed=0, shift="syst", progress=False)
    assemble(tmp_path, "single", seed=0, progress=False)
    write_shards(tmp_path, units=5)
    new = assemble(tmp_path, "single", seed=1, shift="comp", progress=False)["comp"]
    infos = DatasetInfosDict.from_dataset_card_data(HubCard.load(tmp_path / "README.md").data)
    assert sorted(infos) == ["multi_syst", "single_comp"]
    assert infos["single_comp"].splits["train"].num_examples == len(new.parts["train"])
    other = SplitManifest.load(tmp_path / "manifests" / "multi_syst.json")
    assert infos["multi_syst"].splits["test_ood"].num_examples == len(other.parts["test_ood"])


def test_the_text_says_where_the_pairs_come_from_and_what_became_of_them(built):
    text = (built / "README.md").read_text().partition("\n---\n\n")[2]
    for wanted in (
        "# Kitchen \\| pairs --- of \\*mine\\*",
        "Cut out of **videos**.",
        "View `single`: 10 objects and 5 actions: break, close, open, turnoff, turnon.",
        "python -m data_scripts.table --output pairs",
        "View `single`: 180 pairs; units of work done: 2, failed: 1. Rejected, by reason: a\\|b (4), too small (3).",
        '"archive": "x.zip"',
        '"margin": 0.25',
        "- Videos: [kitchens](https://example.org)",
        "Licence: `cc-by-nc-4.0`.",
        "Not for selling",
        "By A. Cook.",
        "- Hands hide some objects.",
        "@article{cook",
        "| `single_comp` | clean | 3 |",
    ):
        assert wanted in text, wanted
    assert "/home/cook" not in text and '"attempts"' not in text
    for config, manifest in manifests(built).items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{config}` |"))
        assert [int(cell) for cell in row.split("|")[4:-1]] == [len(manifest.parts[part]) for part in SPLITS]
        for part, items in manifest.held_out.items():
            line = next(line for line in text.splitlines() if line.startswith(f"- `{config}`, `{part}`:"))
            assert all((item if isinstance(item, str) else " ".join(item)) in line for item in items)


def test_equal_builds_have_equal_cards(built):
    assert render_readme(built, manifests(built), CARD) == (built / "README.md").read_text()


def test_a_part_without_pairs_is_no_split(built, tmp_path):
    """A protocol may have no validation part."""
    found = manifests(built)
    found["single_syst"].parts["validation"] = []
    found["single_syst"].protocol = "causal_triplet"
    found["single_syst"].parts["test_ood"] = found["single_syst"].parts["validation_ood"][:3]
    text = render_readme(built, {"single_syst": found["single_syst"]}, DatasetCard())
    header = yaml.safe_load(text.split("---\n")[1])
    names = ["train", "test", "validation_ood", "test_ood"]
    assert [item["split"] for item in header["configs"][0]["data_files"]] == names
    assert [item["name"] for item in header["dataset_info"]["splits"]] == names
    assert "3 of the 3 test_ood pairs of" in text
    assert "procedure of the Causal Triplet benchmark" in text and "capped" not in text
    (row,) = (line for line in text.splitlines() if line.startswith("| `single_syst`"))
    assert row.split(" | ")[4] == "–"
    assert header["license"] == "unknown" and "Licence: unknown, as nobody has stated it." in text
    assert "- Where the pairs come from is unknown: nobody has stated it." in text


@settings(max_examples=25, deadline=None)
@given(
    names=st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=5, unique=True),
    texts=st.tuples(*[st.text(max_size=30)] * 3),
)
@example(names=["open", "\x85", "ü: - '|'", "\u2028a"], texts=("---", "a\n---\nb", "`|`"))
def test_any_names_and_texts_keep_the_header_whole(tmp_path_factory, names, texts):
    folder = tmp_path_factory.mktemp("any")
    features = pair_features(names, names)
    made = [{**row, "action": i % len(names), "object": i % len(names)} for i, row in enumerate(rows(4))]
    write_shard(folder / "single" / "train-00000-of-00001.parquet", made, features)
    (folder / "single" / "SHA256SUMS").write_text("")
    parts = {"train": [row["pair_id"] for row in made]}
    counts = {"train": {"actions": {name: 1 for name in names}, "objects": {name: 1 for name in names}, "groups": 1}}
    manifest = SplitManifest(
        "clean", "syst", 0, {"shifts": ["syst", "comp"]}, "0", parts, {"test_ood": names}, {texts[0]: ["x"]}, counts
    )
    card = DatasetCard(title=texts[0], provenance=(texts[1],), limits=(texts[2],), tags=("a: b",), command=texts[1])
    text = render_readme(folder, {"single_syst": manifest}, card)
    data = HubCard(text, ignore_metadata_errors=False).data
    info = DatasetInfosDict.from_dataset_card_data(data)["single_syst"]
    assert info.features == features and info.splits["train"].num_examples == 4
    assert data.pretty_name == " ".join(texts[0].split()) and "a: b" in data.tags
    body = text[text.index("\n---\n") :]
    (held,) = (line for line in body.split("\n") if line.startswith("- `single_syst`, `test_ood`: "))
    for name in names:  # each name whole on that one line, with its Markdown made harmless
        assert all(character in held for character in name if not character.isspace())
    (sizes,) = (line for line in body.split("\n") if line.startswith("| `single_syst` |"))
    assert sizes.count("|") == 9


def test_what_the_hub_would_not_take_is_refused():
    with pytest.raises(ValueError, match="'CC-BY-4.0' is not a licence identifier of the Hub; write 'cc-by-4.0'"):
        DatasetCard(license="CC-BY-4.0")
    with pytest.raises(ValueError, match="license_terms is empty"):
        DatasetCard(license="other")
    DatasetCard(license="other", license_terms="Ask us.")


def test_without_manifests_there_is_no_card(tmp_path):
    with pytest.raises(ValueError, match="no split manifests"):
        render_readme(tmp_path, {}, DatasetCard())


def test_the_card_of_rooms_says_what_they_are_and_how_to_render_them_again(built):
    card = rooms_card(Settings("single", 180, 64, 5, 60, Noise(camera_cm=2.5)))
    text = render_readme(built, manifests(built), card)
    data = HubCard(text, ignore_metadata_errors=False).data
    assert not problems(data.to_dict(), "dataset")
    assert data.license == "apache-2.0" and {"synthetic", "mujoco"} <= set(data.tags)
    for wanted in (
        "--view single --num_pairs 180 --image_size 64 --seed 5 --camera_cm 2.5\n",
        "- rendered by `data_scripts.rooms`",
        "has seen no photograph",
    ):
        assert wanted in text, wanted


def test_a_mechanism_is_kept_and_told_of_where_a_source_knows_it(built, tmp_path):
    features = pair_features(ACTIONS, OBJECTS, mechanism=True)
    for unit in range(3):
        stored = [row | {"mechanism": f"way {row['action']}"} for row in rows(90, 90 * unit)]
        write_shard(tmp_path / "shards" / "single" / f"unit-{unit:05d}.parquet", stored, features)
    assemble(tmp_path, "single", seed=3, progress=False)
    pairs = load_pairs(tmp_path, "single_syst", "train", cache_dir=tmp_path / "cache")
    assert pairs["mechanism"][:] == [f"way {action}" for action in pairs["action"]]
    assert "| `mechanism` | string |" in (tmp_path / "README.md").read_text()
    assert "mechanism" not in (built / "README.md").read_text()
    write_shard(tmp_path / "shards" / "single" / "unit-00003.parquet", rows(9, 900), pair_features(ACTIONS, OBJECTS))
    with pytest.raises(ValueError, match="has other columns or class names"):
        assemble(tmp_path, "single", seed=3, progress=False)
