"""Recipes of benchmarks: what they may say, and the sentence for what they may not."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.paper.recipe import Rooms, load_recipe, redirect

LEAST: dict[str, Any] = {
    "name": "small",
    "title": "A small one",
    "train": "configs/from_scratch.yaml",
    "methods": {"concatenation": None, "cde": {"title": "CDE", "flags": {"temperature": 0.2}}},
    "data": {"rooms": {"num_pairs": 60, "image_size": 64}},
}


def write(folder: Path, **changes: Any) -> Path:
    """A recipe with other values; None leaves a key out."""
    content = {key: value for key, value in {**LEAST, **changes}.items() if value is not None}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_the_least_recipe_has_the_documented_defaults(tmp_path):
    recipe = load_recipe(write(tmp_path))
    assert [(m.key, m.method, m.title, dict(m.flags)) for m in recipe.methods] == [
        ("concatenation", "concatenation", "concatenation, cross-entropy (vanilla)", {}),
        ("cde", "cde", "CDE", {"temperature": 0.2}),
    ]
    assert recipe.data.rooms == Rooms(num_pairs=60, image_size=64)
    assert (recipe.shifts, recipe.view, recipe.seeds, recipe.split_seeds) == (("both",), "single", (0, 1, 2), "fixed")
    assert recipe.reference == "concatenation" and recipe.axes == {}


def test_grid_and_variants_become_axes_with_flags(tmp_path):
    variants = {"camera": {0: None, 5: {"rooms.camera_cm": 5, "learning_rate": "1e-5"}}}
    recipe = load_recipe(write(tmp_path, grid={"temperature": [0.1, 1], "rooms.object_cm": [0]}, variants=variants))
    assert recipe.axes == {
        "temperature": {0.1: {"temperature": 0.1}, 1: {"temperature": 1}},
        "object_cm": {0: {"rooms.object_cm": 0}},
        "camera": {0: {}, 5: {"rooms.camera_cm": 5, "learning_rate": 1e-5}},
    }


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"methds": 1}, "unknown key 'methds' in the file; did you mean 'methods'?"),
        ({"title": None}, "the key 'title' is missing"),
        ({"name": "a/b"}, "name='a/b' names folders"),
        ({"train": "configs/none.yaml"}, "train='configs/none.yaml' does not exist"),
        ({"methods": {"cde": {"titel": "x"}}}, "unknown key 'titel' in methods.cde; did you mean 'title'?"),
        ({"methods": {"concatenation": {"grid": "no"}}}, "methods.concatenation.grid='no' must be true or false"),
        ({"methods": {"a b": {}}}, "the method 'a b' names files"),
        ({"flags": {"seed": 1}}, "flags sets 'seed', which the benchmark decides"),
        ({"flags": {"push_to_hub": True}}, "push_to_hub publishes the run, which a recipe may not choose"),
        ({"grid": {"report_to": ["wandb"]}}, "report_to names a service, which a recipe may not choose"),
        ({"data": {"rooms": {"folder": "../rooms"}}}, "rooms_folder is outside of the folder that the command runs in"),
        ({"flags": {"rooms.seed": 1}}, "flags sets 'rooms.seed'; write it in data or in grid"),
        ({"flags": ["a"]}, "flags must hold `key: value` lines"),
        ({"grid": {"rooms.camera": [1]}}, "unknown key 'rooms.camera' in grid.rooms.camera; did you mean"),
        ({"grid": {"temperature": 0.1}}, "grid.temperature=0.1 must be a list"),
        ({"grid": {"temperature": [0.1, 0.1]}}, "grid.temperature holds a value twice"),
        ({"grid": {"a": [1]}, "variants": {"a": {"x": {"b": 1}}}}, "'a' is in grid and in variants"),
        ({"shifts": ["comb"]}, "shifts='comb' is not known; choose among both, comp, syst"),
        ({"shifts": "both"}, "shifts='both' must be a list of str"),
        ({"seeds": [0, 0]}, "seeds must hold at least one value and none twice"),
        ({"seeds": [True]}, "seeds=\\[True\\] must be a list of int"),
        ({"seeds": [-1]}, "seeds must be 0 or more"),
        ({"view": "both"}, "view='both' is not known"),
        ({"split_seeds": "each"}, "split_seeds='each' is not known; choose among fixed, by_seed"),
        ({"reference": "vanilla"}, "reference='vanilla' is not known; choose among concatenation, cde"),
        ({"minutes_per_run": "long"}, "minutes_per_run='long' must be a number"),
        ({"minutes_per_run": 0}, "minutes_per_run=0 must be over 0"),
        ({"minutes_per_run": float("nan")}, "minutes_per_run=nan must be a number"),
        ({"title": [1]}, "title=\\[1\\] must be text"),
        ({"name": 3}, "name=3 must be text"),
        ({"data": {"folder": "a", "repository": "b/c"}}, "data names one of rooms, folder and repository"),
        ({"data": {"rooms": {"pairs": 3}}}, "unknown key 'pairs' in data.rooms; did you mean 'num_pairs'?"),
        ({"data": {"rooms": {"num_pairs": "many"}}}, "data.rooms.num_pairs='many' must be a whole number"),
        ({"data": {"rooms": {"kinds": "old"}}}, "data.rooms.kinds='old' must be all or classic"),
        ({"data": {"folder": "a"}, "grid": {"rooms.object_cm": [1]}}, "a grid over rooms.* needs data"),
        ({"data": {"repository": "a/b"}, "split_seeds": "by_seed"}, "by_seed splits a folder anew"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path, changes, sentence):
    path = write(tmp_path, **changes)
    with pytest.raises(ValueError, match=sentence) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_files_that_are_no_recipe(tmp_path):
    with pytest.raises(ValueError, match="the file does not exist"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ValueError, match="bad.yaml at line 1: not plain YAML"):
        load_recipe(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- a")
    with pytest.raises(ValueError, match="list.yaml: expected `key: value` lines"):
        load_recipe(tmp_path / "list.yaml")
    for text, words in (
        ("name: a\nname: b", "the key 'name' twice"),
        ("name: &a b\ntitle: *a", "an alias such as"),
    ):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ValueError, match=f"bad.yaml at line 2: not plain YAML.*{words}"):
            load_recipe(tmp_path / "bad.yaml")


def test_a_redirected_recipe_has_another_name(tmp_path):
    recipe = redirect(load_recipe(write(tmp_path)), "configs/finetune.yaml", "data/pairs/")
    assert (recipe.name, recipe.train) == ("small-finetune-pairs", "configs/finetune.yaml")
    assert (recipe.data.source, recipe.data.rooms, recipe.data.is_folder) == ("data/pairs", None, True)
    with pytest.raises(ValueError, match="grid over rooms"):
        redirect(load_recipe(write(tmp_path, grid={"rooms.object_cm": [0, 1]})), data="data/pairs")
