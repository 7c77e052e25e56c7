"""The cards of `model_cards/` are those that their files give, and every command on them is one that can be run."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from data_scripts.procthor.__main__ import main as procthor
from data_scripts.rooms import __main__ as rooms
from modeling_cde.cards.__main__ import main
from modeling_cde.cards.catalogue import OF_A_RUN, read_entry, recipe_settings, render_entry, render_list
from modeling_cde.training.arguments import BROUGHT, DataArguments, ModelArguments
from modeling_cde.training.recipe import parse_recipe
from modeling_cde.training.training_args import CDETrainingArguments
from tests.cards.hub_rules import problems
from tests.cards.test_model_card import run_folder

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = sorted(path.parent for path in (ROOT / "model_cards").glob("*/card.yaml"))
TRAINED = [folder for folder in FOLDERS if (folder / "metrics.json").exists()]
UNTRAINED = [folder for folder in FOLDERS if folder not in TRAINED]


def named(folders):
    return [pytest.param(folder, id=folder.name) for folder in folders]


def test_there_is_a_card_for_each_backbone_and_mode():
    kinds = ("rooms", "dino", "mae", "clip")
    assert {folder.name for folder in FOLDERS} == {
        *(f"cde-{kind}-{mode}" for kind in kinds for mode in ("global", "patch")),
        "cde-dino-change",
    }
    assert {folder.name.split("-")[1] for folder in UNTRAINED} == {"mae", "clip"}


@pytest.mark.parametrize("folder", named(FOLDERS))
def test_the_card_is_what_its_files_give(folder):
    told = "run python -m modeling_cde.cards catalogue and commit what it writes"
    assert (folder / "README.md").read_bytes() == render_entry(folder).encode(), told
    assert (folder.parent / "README.md").read_bytes() == render_list(FOLDERS).encode(), told


@pytest.mark.parametrize("folder", named(FOLDERS))
def test_the_header_is_what_the_hub_takes_and_reads(folder):
    card = ModelCard.load(folder / "README.md", ignore_metadata_errors=False)
    header = card.data.to_dict()
    assert not problems(header)
    assert header.get("base_model") == read_entry(folder).backbone
    mode = folder.name.rpartition("-")[2].replace("change", "global")
    assert f"{mode}-delta" in header["tags"] and ("untrained" in header["tags"]) == (folder in UNTRAINED)
    if folder in UNTRAINED:
        assert "model-index" not in header and "**Not trained yet.**" in card.text
        return
    # Measured values only, each that of metrics.json.
    name, results = model_index_to_eval_results(header["model-index"])
    splits = json.loads((folder / "metrics.json").read_text())["splits"]
    tests = {split: values for split, values in splits.items() if split.startswith("test")}
    assert name == folder.name and len(results) == len(tests) == len(card.data.eval_results)
    assert [result.metric_value for result in results] == [round(v["accuracy"], 4) for v in tests.values()]
    assert "](training_curve.png)" not in card.text  # no picture that the folder does not have


@pytest.mark.parametrize("folder", named(FOLDERS))
def test_each_number_of_the_paper_stands_below_its_own_heading_only(folder):
    card, entry = ModelCard.load(folder / "README.md"), read_entry(folder)
    before, _, below = card.text.partition("### The paper's numbers")
    below, _, after = below.partition("## Geometry")
    for what, value in entry.paper_rows:
        assert f"| {what} | {value:.2f} |" in below
        assert f"{what} | {value:.2f}" not in before + after
        assert not re.search(rf"\b{value:.2f}\b", card.data.to_yaml())
    assert (not entry.paper_rows) or "not measured here" in " ".join(below.split())


@pytest.mark.parametrize("folder", named(FOLDERS))
def test_every_command_can_be_run(folder, tmp_path, monkeypatch):
    entry = read_entry(folder)
    monkeypatch.chdir(ROOT)
    flags = [*entry.flags, "--use_cpu", "true"]
    model, data, training = parse_recipe((ModelArguments, DataArguments, CDETrainingArguments), flags, BROUGHT)
    packed = folder in TRAINED and "dino" in folder.name  # made without the Hub: the card names no repository
    assert model.backbone == ("facebook/dinov2-small" if packed else entry.backbone)
    assert model.delta_mode == folder.name.rpartition("-")[2].replace("change", "global")
    shown = recipe_settings(entry, ROOT)
    assert (data.view, training.output_dir) == (shown.get("view"), shown["output_dir"])
    assert float(shown["contrastive_weight"]) == training.contrastive_weight
    monkeypatch.chdir(tmp_path)
    card = (folder / "README.md").read_text()
    assert entry.train in card.splitlines()  # also where the run had another command
    if entry.prepare:
        command = shlex.split(entry.prepare)
        assert command[:3] == ["python", "-m", "data_scripts.procthor"]
        with pytest.raises(SystemExit) as error:  # every flag is known, and only the archive is missing
            procthor(command[3:])
        assert "causal_triplet.zip" in str(error.value)
        assert command[-2:] == ["--view", data.view]
    asked = []
    monkeypatch.setattr(rooms, "build_from", lambda source, *_: asked.append(source.choice))
    for command in re.findall(r"^python -m data_scripts\.rooms (.*)$", card, re.MULTILINE):
        rooms.main(shlex.split(command))
    assert len(asked) == (folder in TRAINED)  # untrained checkpoints are of other data
    for choice in asked:
        assert (choice.num_pairs, choice.image_size, choice.seed) == (
            data.rooms_pairs,
            data.rooms_image_size,
            data.rooms_seed,
        )


def entry_with(folder, name="cde-test", mode="global"):
    """A catalogue of one checkpoint that is not trained yet."""
    (folder / "configs").mkdir(exist_ok=True)
    (folder / "configs" / "r.yaml").write_text(
        f"output_dir: runs/r\nimage_size: 48\nview: multi\ndelta_mode: {mode}\nseed: 3\n"
    )
    home = folder / "model_cards" / name
    home.mkdir(parents=True, exist_ok=True)
    train = "accelerate launch train.py --config configs/r.yaml --seed 4"
    (home / "card.yaml").write_text(
        f"about: A test.\ndataset: org/drawn\ntrain: {train}\ndata: Drawn.\npaper: Of it.\npaper_rows: [[iid, 0.5]]\n"
    )
    return home


def test_a_run_turns_a_checkpoint_that_is_not_trained_into_a_measured_one(tmp_path, monkeypatch, capsys):
    home = entry_with(tmp_path)
    monkeypatch.chdir(tmp_path)
    main(["catalogue"])
    text = (home / "README.md").read_text()
    assert "**Not trained yet.**" in text and "| seed | 4 |" in text and "| iid | 0.50 |" in text
    assert "not trained yet" in (tmp_path / "model_cards" / "README.md").read_text()

    (run := tmp_path / "run").mkdir()
    run_folder(run)
    with pytest.raises(SystemExit, match="geometry.json is missing: run python -m modeling_cde.analysis"):
        main(["catalogue", "--add", "cde-test", str(run)])
    (run / "geometry.json").write_text('{"splits": {}}')
    capsys.readouterr()
    main(["catalogue", "--add", "cde-test", str(run)])
    assert capsys.readouterr().out.split() == ["model_cards/cde-test/README.md", "model_cards/README.md"]
    assert sorted(path.name for path in home.iterdir()) == sorted(["README.md", "card.yaml", *OF_A_RUN])
    text = (home / "README.md").read_text()
    assert "| IID | known objects and combinations | 7 | 0.750 |" in text and 'model="org/cde-test"' in text
    assert "| iid | 0.50 |" in text and "value: 0.5\n" not in text  # the paper's, and not in model-index
    assert "0.750 IID, 0.123 OOD systematic" in (tmp_path / "model_cards" / "README.md").read_text()


def test_a_run_of_another_model_is_refused(tmp_path, monkeypatch):
    home = entry_with(tmp_path, mode="patch")
    monkeypatch.chdir(tmp_path)
    (run := tmp_path / "run").mkdir()
    run_folder(run)
    (run / "geometry.json").write_text('{"splits": {}}')
    with pytest.raises(
        SystemExit, match="run was trained with delta_mode global, but this checkpoint has delta_mode patch"
    ):
        main(["catalogue", "--add", "cde-test", str(run)])
    assert [path.name for path in home.iterdir()] == ["card.yaml"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "has no checkpoint"),
        ("about: x\n", "needs the keys about, train, data and dataset"),
        ("about: x\ndataset: o/d\ntrain: rm -rf /\ndata: y\n", "starts with accelerate launch train.py"),
        ("a: [\n", "is not valid YAML"),
        ("about: x\ndataset: o/d\ntrain: y\ndata: z\ncolour: red\n", "optional are backbone, paper"),
    ],
)
def test_what_is_no_entry_is_said_in_one_sentence(tmp_path, text, told):
    shutil.rmtree(entry_with(tmp_path).parent)
    if text:
        (home := tmp_path / "model_cards" / "x").mkdir(parents=True)
        (home / "card.yaml").write_text(text)
    with pytest.raises(SystemExit) as error:
        main(["catalogue", "--folder", str(tmp_path / "model_cards")])
    assert told in str(error.value) and "\n" not in str(error.value)
