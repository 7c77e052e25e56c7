"""From a recipe to runs: their number, names, flags and data."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.paper.plan import as_text, file_name, make_plan
from benchmarks.paper.recipe import load_recipe
from tests.benchmarks.test_paper_recipe import write


def test_a_run_tells_its_values_and_is_a_command_to_type(tmp_path):
    recipe = load_recipe(write(tmp_path, shifts=["comp", "syst"], seeds=[3], flags={"bf16": True, "delta_dim": 8}))
    plan = make_plan(recipe)
    assert [run.name for run in plan] == [
        "concatenation-comp-seed3", "concatenation-syst-seed3", "cde-comp-seed3", "cde-syst-seed3",
    ]  # fmt: skip
    assert plan[2].command() == (
        "accelerate launch train.py --config configs/from_scratch.yaml --method cde --seed 3 --data data/rooms "
        "--view single --shift comp --bf16 true --delta_dim 8 --temperature 0.2 --evaluate_last_checkpoint true "
        "--output_dir runs/small/cde-comp-seed3"
    )
    assert plan[2].folder == Path("runs/small/cde-comp-seed3")
    assert plan[2].result == Path("benchmarks/results/small/cde-comp-seed3.json")


def test_a_grid_is_a_product_and_some_methods_are_run_once(tmp_path):
    methods = {"concatenation": {"grid": False}, "cde": None}
    recipe = load_recipe(write(tmp_path, methods=methods, seeds=[0], grid={"temperature": [0.1, 1], "delta_dim": [8]}))
    plan = make_plan(recipe)
    assert [(run.name, dict(run.setting)) for run in plan] == [
        ("concatenation-both-seed0", {}),
        ("cde-temperature_0.1-delta_dim_8-both-seed0", {"temperature": 0.1, "delta_dim": 8}),
        ("cde-temperature_1-delta_dim_8-both-seed0", {"temperature": 1, "delta_dim": 8}),
    ]
    assert plan[1].flags["temperature"] == 0.1 and "temperature" not in plan[0].flags


def test_values_win_over_methods_over_flags_for_all(tmp_path):
    recipe = load_recipe(write(tmp_path, flags={"temperature": 9, "delta_dim": 4}, seeds=[0]))
    assert [run.flags["temperature"] for run in make_plan(recipe)] == [9, 0.2]
    grid = load_recipe(write(tmp_path, flags={"temperature": 9}, seeds=[0], grid={"temperature": [0.7]}))
    assert [run.flags["temperature"] for run in make_plan(grid)] == [0.7, 0.7]


def test_noise_makes_data_sets_of_its_own_and_its_zero_is_the_plain_one(tmp_path):
    variants = {"camera": {0: {"rooms.camera_cm": 0}, 5: {"rooms.camera_cm": 5, "rooms.camera_deg": 2.5}}}
    plan = make_plan(load_recipe(write(tmp_path, variants=variants, seeds=[0])), methods=["cde"])
    assert [run.source for run in plan] == ["data/rooms", "data/rooms-camera_cm_5-camera_deg_2.5"]
    assert plan[1].rooms is not None and (plan[1].rooms.camera_cm, plan[1].rooms.num_pairs) == (5, 60)
    assert not any(flag.startswith("rooms") for run in plan for flag in run.flags)


def test_each_seed_may_have_a_split_of_its_own(tmp_path):
    plan = make_plan(load_recipe(write(tmp_path, split_seeds="by_seed", seeds=[0, 4])), methods=["cde"])
    assert [(run.source, run.base, run.split_seed) for run in plan] == [
        ("data/rooms-split0", "data/rooms", 0),
        ("data/rooms-split4", "data/rooms", 4),
    ]


def test_seeds_and_methods_of_the_command_line(tmp_path):
    recipe = load_recipe(write(tmp_path))
    assert [run.name for run in make_plan(recipe, [7], ["cde"])] == ["cde-both-seed7"]
    with pytest.raises(ValueError, match="--methods cdee is not in .*; did you mean 'cde'"):
        make_plan(recipe, methods=["cdee"])


def test_two_runs_of_one_name_are_refused(tmp_path):
    recipe = load_recipe(write(tmp_path, grid={"backbone": ["a/b", "a_b"]}))
    with pytest.raises(ValueError, match="two runs are called concatenation-backbone_a_b-both-seed0"):
        make_plan(recipe)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True),
    st.lists(st.floats(0, 1e6, allow_nan=False).map(lambda x: float(f"{x:g}")), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(1, 512), min_size=1, max_size=3, unique=True),
)
def test_every_combination_is_run_once_under_its_own_name(tmp_path_factory, seeds, weights, sizes):
    grid = {"contrastive_weight": weights, "delta_dim": sizes}
    recipe = load_recipe(write(tmp_path_factory.mktemp("plan"), seeds=seeds, grid=grid))
    plan = make_plan(recipe)
    found = {(r.method, r.setting["contrastive_weight"], r.setting["delta_dim"], r.seed) for r in plan}
    assert found == set(itertools.product(("concatenation", "cde"), weights, sizes, seeds))
    assert len({run.name for run in plan}) == len(plan) == len(found)


def test_values_as_text_and_in_file_names():
    assert [as_text(value) for value in (True, 0.5, "x", {"a": [1]})] == ["true", "0.5", "x", '{"a": [1]}']
    assert [file_name(value) for value in (1e-5, 2.0, "org/name x", False)] == ["1e-05", "2", "org_name_x", "false"]
