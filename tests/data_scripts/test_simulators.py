"""Things of simulators: what is read of a model, what differs between two states, and whole builds."""

import io
import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from data_scripts.builds.build_commands import default_options
from data_scripts.rooms.camera import frame
from data_scripts.rooms.lighting import draw_sun
from data_scripts.rooms.pairs import RejectedError
from data_scripts.simulators import __main__ as command
from data_scripts.simulators.models import ModelFiles, read_model
from data_scripts.simulators.pairs import draw_stage, make_pair
from data_scripts.simulators.source import Settings, SimulatorSource
from data_scripts.simulators.stage import LIT
from data_scripts.simulators.things import LIBERO, ROBODESK, ROBOSUITE, THINGS
from modeling_cde.data import load_pairs
from modeling_cde.data.building.shards import encode_shard
from tests.data_scripts.tiny_simulator import tiny_simulator, tiny_things

CAMERA = {"azimuth": 20.0, "elevation": 30.0, "fill": 0.8, "field_of_view": 40.0}


@pytest.fixture
def packages(tmp_path):
    """The folder of packages, with the tiny simulator's."""
    folder = tmp_path / "packages"
    folder.mkdir()
    return folder


@pytest.fixture
def simulator(packages):
    return tiny_simulator(packages)


@pytest.fixture
def things(simulator):
    return tiny_things(simulator)


@pytest.fixture
def files(simulator, packages):
    files = ModelFiles([simulator], packages)
    yield files
    files.close()


@pytest.fixture
def stage_of(opengl, files, simulator, things):
    """Makes stages by the name of the thing; they are closed at the end."""
    stages = []

    def make(name):
        stages.append(draw_stage(files, simulator, things[name], 64, np.random.default_rng(0)))
        return stages[-1]

    yield make
    for stage in stages:
        stage.close()


@pytest.fixture
def source_of(simulator, packages):
    """Makes sources of some things."""
    return lambda things, *numbers: SimulatorSource(Settings(*numbers), packages, things, simulator)


# --- the table ----------------------------------------------------------------------------------------------------


def test_the_table_has_two_states_of_a_dozen_things():
    assert len({thing.name for thing in THINGS}) == len(THINGS) >= 12
    for thing in THINGS:
        assert thing.file.endswith(".xml")
        assert all(rest != end for rest, end in thing.joints.values()) and thing.joints
        low, high = thing.azimuth
        assert -60 <= low < high <= 60 and 0 < thing.elevation[0] < thing.elevation[1] < 90  # from the front
    source = SimulatorSource(Settings(8, 64, 0, 4))
    assert source.actions == ["open", "close", "turnon", "turnoff"]
    assert len(source.combinations()) == 2 * len(THINGS)
    assert {action for action, thing in source.combinations() if thing.name == "RedLamp"} == {"turnon", "turnoff"}


def test_the_card_names_every_package_and_licence():
    card = command.make_card(SimulatorSource(Settings(8, 64, 0, 4)))
    for simulator in (LIBERO, ROBODESK, ROBOSUITE):
        assert simulator.credit in card.license_terms
        for package in simulator.packages:
            named = f"{package.name} {package.version} of the Python package index, SHA-256 {package.sha256}, "
            assert any(named + simulator.license in line for line in card.provenance)
    assert card.license == "other"


# --- models -------------------------------------------------------------------------------------------------------


def test_robots_floors_and_what_mujoco_refuses_are_left_out(files, things):
    xml, assets = read_model(files, things["Box"])
    root = ElementTree.fromstring(xml)
    assert not [node.tag for node in root.iter() if node.tag in ("include", "region", "light", "actuator")]
    assert [node.get("type") for node in root.iter("geom")].count("plane") == 0
    assert [node.get("file") for node in root.iter("texture")] == list(assets) == ["tiny_simulator-assets-wood.png"]


# --- states and pictures --------------------------------------------------------------------------------------------


def drawn(stage, **state):
    stage.light(draw_sun(np.random.default_rng(0)), np.full((2, 3), 0.8))
    stage.set(**state)
    camera = frame(stage.points(), **CAMERA)
    stage.set({})
    return lambda **now: (stage.set(**now), stage.image(camera), stage.mask(camera))[1:]


def test_collision_solids_marks_and_simulator_floors_are_not_seen(stage_of):
    stage = stage_of("Box")
    look = drawn(stage, state={"hinge": -1.6})
    image, mask = look(state={})
    assert mask.any() and not mask.all()
    red, green, blue = image.astype(int).transpose(2, 0, 1)
    assert not ((red - green > 80) & (blue - green > 80)).any()  # the guard is purple and around everything
    assert not ((blue - red > 150) & (blue - green > 150)).any()  # the mark is blue and larger still
    # The wall is behind, the floor is below, and nothing is black.
    assert image[~mask].max(axis=1).min() > 0


def test_the_door_opens_and_nothing_else_changes(stage_of):
    stage = stage_of("Box")
    stage.set({"hinge": -1.6})
    opened = stage.points()
    stage.set({})
    closed = stage.points()
    moved = np.abs(opened - closed).max(axis=1) > 1e-9
    assert moved.sum() == 8  # the corners of the door
    assert opened[moved, 1].min() < closed[moved, 1].min() - 0.3


def test_flames_are_seen_only_when_on(stage_of):
    stage = stage_of("Flame")
    look = drawn(stage, state={})
    off, on = look(state={})[0], look(state={}, lit=True)[0]
    red = np.abs(on.astype(int) - off).max(axis=2) > 20
    assert 5 < red.sum() < red.size / 2
    assert np.median(on[red][:, 0].astype(int) - on[red][:, 2]) > 100  # the rest is its shadow
    assert stage.model.site_rgba[stage.model.site("flame").id, 3] == pytest.approx(LIT)
    assert stage.model.site_rgba[stage.model.site("mark").id, 3] == 0


def test_lamps_shine(stage_of):
    stage = stage_of("Lamp")
    look = drawn(stage, state={})
    (off, mask), (on, _) = look(state={}), look(state={}, lit=True)
    assert on[mask][:, 1].mean() > off[mask][:, 1].mean() + 40  # it is green
    around = on[~mask].astype(int) - off[~mask]
    assert around[:, 1].max() > 3 and around.min() >= 0  # and lights what is near


@pytest.mark.parametrize(("thing", "actions"), [("Box", ("open", "close")), ("Lamp", ("turnon", "turnoff"))])
def test_an_action_is_its_opposite_backwards(stage_of, thing, actions):
    stage = stage_of(thing)
    forth, back = (make_pair(stage, action, np.random.default_rng(3)) for action in actions)
    assert np.array_equal(forth.before, back.after) and np.array_equal(forth.after, back.before)
    assert np.array_equal(forth.mask_before, back.mask_after) and forth.box == back.box
    assert not np.array_equal(forth.before, forth.after)
    x0, y0, x1, y1 = forth.box
    outside = np.ones(forth.before.shape[:2], bool)
    outside[y0 : y1 + 1, x0 : x1 + 1] = False
    assert outside.any()
    change = np.abs(forth.before.astype(int) - forth.after).max(axis=2)
    assert change[outside].mean() < change[~outside].mean() / 4  # camera and light stay


def test_one_joint_of_several_moves(stage_of, monkeypatch):
    stage, states = stage_of("Either"), []
    monkeypatch.setattr(stage, "set", lambda state, lit=False, old=stage.set: (states.append(state), old(state, lit)))
    for seed in range(12):
        try:
            make_pair(stage, "open", np.random.default_rng(seed))
        except RejectedError:
            continue
    assert {tuple(state) for state in states} == {(), ("hinge",), ("slide",)}


# --- builds ---------------------------------------------------------------------------------------------------------


def test_units_depend_on_nothing_but_the_settings(opengl, source_of, things):
    shown = things["Box"], things["Lamp"]
    source, again = source_of(shown, 10, 64, 0, 3), source_of(shown, 10, 64, 0, 3)
    assert source.units() == [f"unit-0000{number}" for number in range(4)]
    found = {unit: source.build(unit).rows for unit in reversed(source.units())}
    for unit in source.units():
        bytes_of = [encode_shard(rows, source.features.arrow_schema) for rows in (found[unit], again.build(unit).rows)]
        assert bytes_of[0] == bytes_of[1]
    source.close()
    again.close()
    rows = [row for unit in source.units() for row in found[unit]]
    assert len(rows) == 10 and len({row["pair_id"] for row in rows}) == 10
    assert [(source.actions[unit[0]["action"]], source.objects[unit[0]["object"]]) for unit in found.values()] == [
        ("turnoff", "Lamp"),
        ("close", "Box"),
        ("turnon", "Lamp"),
        ("open", "Box"),
    ]
    assert all(len({(row["action"], row["scene"]) for row in unit}) == 1 for unit in found.values())


def test_a_build_is_split_loaded_and_not_repeated(opengl, source_of, things, tmp_path):
    changes = {"workers": 1, "protocol": "causal_triplet", "shift": "syst"}
    options = default_options(tmp_path / "data", **changes)
    kinds = [replace(things[name], name=f"{name}{number}") for number in range(3) for name in ("Box", "Lamp")]
    source = source_of(kinds, 48, 64, 0, 4)
    command.build(source, options)
    dataset = load_pairs(str(tmp_path / "data"), "single_syst", "train")
    assert len(dataset) > 4 and set(dataset.features["action"].names) == {"open", "close", "turnon", "turnoff"}
    row = dataset[0]
    assert [Image.open(io.BytesIO(row[name]["bytes"])).size for name in ("before", "after")] == [(64, 64)] * 2
    card = (tmp_path / "data" / "README.md").read_text()
    assert "Tiny simulator 1.0 by nobody: MIT." in card and "license: other" in card
    settings = json.loads((tmp_path / "data" / "shards" / "single" / "settings.json").read_text())
    assert "tiny-simulator" in json.dumps(settings)
    assert command.build(source, options) is False


def test_several_things_in_a_picture_are_refused_before_anything_is_downloaded(tmp_path):
    with pytest.raises(SystemExit, match="--view multi needs several things in a picture"):
        command.main(["--output", str(tmp_path), "--view", "multi"])


@pytest.mark.parametrize("flag", ["num_pairs", "image_size", "seed", "pairs_per_unit"])
def test_numbers_out_of_range_are_refused(tmp_path, flag):
    with pytest.raises(SystemExit, match=f"--{flag} is -1; give at least"):
        command.main(["--output", str(tmp_path), f"--{flag}", "-1"])
