"""fit.py: from a folder or a table of pictures to a tested checkpoint, and what it says where something is wrong."""

import csv
import json

import pytest
from PIL import Image
from transformers import pipeline

import fit
from modeling_cde.fit.command import parse_opposites
from tests.fit.conftest import SIDE, draw

FIT = ["--image_size", str(SIDE)]


@pytest.fixture(scope="module")
def photos(pairs, tmp_path_factory):
    """ACTION/OBJECT/SCENE/NAME_before.png and NAME_after.png."""
    folder = tmp_path_factory.mktemp("photos")
    for number, (pair, action, kind, scene) in enumerate(zip(*pairs, strict=True)):
        place = folder / action / kind / f"room{scene}"
        place.mkdir(parents=True, exist_ok=True)
        for picture, frame in zip(pair, ("before", "after"), strict=True):
            Image.fromarray(picture).save(place / f"{number}_{frame}.png")
    return folder


@pytest.fixture(scope="module")
def table(photos, tmp_path_factory):
    """The same pairs as a table without groups beside a picture that is no picture's partner."""
    path = photos / "list.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["before", "after", "action", "object"])
        for before in sorted(photos.rglob("*_before.png")):
            action, kind = before.relative_to(photos).parts[:2]
            names = [before.relative_to(photos).as_posix()]
            names.append(names[0].replace("_before", "_after"))
            rows.writerow([*names, {"turnon": "shine", "turnoff": "dim"}.get(action, action), kind])
        rows.writerow(["a.png", "b.png", "", "box"])
    return path


def run(*arguments, backbone, store):
    fit.main([*map(str, arguments), *FIT, "--backbone", backbone, "--feature_store", store])


def test_a_folder_becomes_a_tested_checkpoint(photos, backbone, store, tmp_path, capsys):
    run(photos, "--output", tmp_path / "model", backbone=backbone, store=store)
    said = capsys.readouterr().out
    assert "24 pairs (close 6, open 6, turnoff 6, turnon 6), 3 kinds of objects, 6 scenes." in said
    assert "of a head in closed form" in said and "| new scenes | 24 | 5 |" in said
    assert "| left-out objects | 24 | 3 |" in said and "s after the features" in said
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert metrics["splits"]["new scenes"]["accuracy"] > 0.5
    assert metrics["training"]["fitted"]["pairs"] == 24 and metrics["training"]["fitted"]["head"] == "closed_form"
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"`{photos.name}`" in card and "python fit.py" in card
    assert str(photos.parent) not in card + json.dumps(metrics)  # a folder on this machine means nothing elsewhere
    pipe = pipeline("action-classification", model=str(tmp_path / "model"))
    new = tuple(map(Image.fromarray, draw("open", "box", 3)))
    assert pipe(*new, top_k=1)[0]["label"] == "open"


def test_a_table_with_opposites_of_ones_own(table, backbone, store, tmp_path, capsys):
    opposites = ("--opposites", "open:close", "shine:dim")
    run(table, *opposites, "--output", tmp_path, "--folds", 30, backbone=backbone, store=store)
    said = capsys.readouterr().out
    assert "with the reason (1):\n  row 25: action is empty" in said and "scenes not given" in said
    assert "Scenes are not given, so single pairs are left out" in said
    assert "There are only 24 pairs, so there are 24 folds instead of 30." in said
    card = (tmp_path / "README.md").read_text()
    assert "opposite action (open and close, shine and dim)" in card


@pytest.mark.parametrize(
    ("make", "arguments", "said"),
    [
        (None, (), "There is no file or folder"),
        ("", (), "contains neither a table"),
        ("open/box/1_before.png open/box/1_after.png", (), "All pairs show the action 'open'"),
        ("open/box/1_before.png", (), "lists no usable pair. open/box/1: there is open/box/1_before.png but no"),
        (
            "open/box/1_before.png open/box/1_after.png",
            ("--opposites", "open"),
            "--opposites open names no two actions",
        ),
        ("open/box/1_before.png open/box/1_after.png", ("--push", "mine"), "mine"),
        ("open/b/1_before.png open/b/1_after.png Open/b/2_before.png Open/b/2_after.png", (), "use one spelling"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(make, arguments, said, backbone, store, tmp_path):
    folder = tmp_path / "photos"
    for name in (make or "").split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw("open", "box", 0)[0]).save(folder / name)
    if make is not None:
        folder.mkdir(exist_ok=True)
    with pytest.raises((ValueError, OSError), match=said) as stopped:
        run(folder, *arguments, "--output", tmp_path / "model", backbone=backbone, store=store)
    assert "\n" not in str(stopped.value)


def test_opposites_are_read():
    assert parse_opposites(None) is None and parse_opposites([]) == {}
    assert parse_opposites(["lift:lower", "a:b"]) == {"lift": "lower", "a": "b"}
    with pytest.raises(ValueError, match="--opposites lift:"):
        parse_opposites(["lift:"])
