"""Finders of segments beside their descriptions, settings from validation clips, and the tables of small results."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.segmentation.__main__ import main, read_recipe
from benchmarks.segmentation.clips import Clips, _compared, open_clips, picture_differences
from benchmarks.segmentation.experiment import progress, speed
from benchmarks.segmentation.finders import FINDERS, by_program, by_threshold, by_window, choose, runs
from benchmarks.segmentation.tables import segment_table, tables
from modeling_cde import CDEImageProcessor
from modeling_cde.data import PairTransform, SequenceTransform, load_sequences
from modeling_cde.evaluation.segment_metrics import segmental_f1
from tests.data.test_sequences import row, write
from tests.tiny_models import tiny_cde

TRACKS = [  # the states of two actions, in frames; the classifier sees each in a dimension of its own
    ([0, 0, 1, 2, 3, 3, 3, 3], [0, 0, 0, 0, 0, 0, 3, 3]),
    ([0, 3, 3, 3, 3, 3, 3, 3], [0, 0, 0, 0, 0, 0, 0, 0]),
]
TRUE = [[(1, 4, "open"), (5, 6, "close")], [(0, 1, "open")]]


@pytest.fixture(scope="module")
def model():
    made = tiny_cde("vit")
    with torch.no_grad():
        made.classifier.weight.zero_()
        made.classifier.weight[:3, :3] = torch.eye(3)
        made.classifier.bias.zero_()
    return made


@pytest.fixture(scope="module")
def clips():
    states = torch.zeros(2, 8, 16)
    states[:, :, :2] = 4 * torch.tensor(TRACKS).float().transpose(1, 2)
    amount = [[[0, 0, 1 / 3, 2 / 3, 1, 1, 1, 1], [0] * 6 + [1, 1]], [[0] + [1] * 7]]
    delta = states[:, None] - states[:, :, None]
    return Clips(TRUE, amount, delta.norm(dim=-1), delta)


def test_every_finder_finds_what_is_plain(model, clips):
    assert by_program(model, clips, 2.0, None) == TRUE
    assert by_program(model, clips, 100.0, None) == [[], []]
    assert by_threshold(model, clips, 1.0) == TRUE
    assert by_threshold(model, clips, 100.0) == [[], []]
    assert by_window(model, clips, 1, 0.9) == TRUE
    wide = by_window(model, clips, 3, 0.9)  # a window also sees what comes before and after
    assert [[one[2] for one in clip] for clip in wide] == [["open", "close"], ["open"]] and wide != TRUE


@pytest.mark.parametrize("finder", FINDERS)
def test_the_settings_are_those_that_find_most(model, clips, finder):
    find, grid = FINDERS[finder]
    settings = choose(model, clips, finder)
    assert settings.keys() == grid.keys() and all(value in grid[name] for name, value in settings.items())
    assert segmental_f1(find(model, clips, **settings), TRUE, 0.5) == 1


def test_runs_are_stretches_of_equal_values():
    assert runs([1, 1, 0, 2, 2, 2]) == [(1, 0, 2), (0, 2, 3), (2, 3, 6)]
    assert runs([]) == []


def test_progress_is_of_gradual_actions_with_at_least_three_steps(model, clips):
    means = torch.eye(3, 16)
    (told,) = progress(model, means, clips)  # "close" takes one step, and so does the second "open"
    assert (told["clip"], told["label"], told["delta"]) == (0, "open", [1.0, 1.0])
    assert told["pictures"][1] == 1


def test_differences_of_pictures_are_means_over_their_values():
    clip = torch.randn(3, 3, 4, 4)
    found = picture_differences(clip)
    assert found.shape == (3, 3) and torch.equal(found, found.T)
    assert float(found[0, 2]) == pytest.approx(float((clip[0] - clip[2]).abs().mean()), rel=1e-5)


def test_a_speed_is_of_each_way():
    told = speed(tiny_cde("vit"), CDEImageProcessor(size=32), rounds=1)
    assert set(told) == {"clip", "sixteen encodings", "one call of sixteen"}
    assert all(seconds > 0 for seconds in told.values())


def results():
    found = {"exact": TRUE, "nothing": [[], []]}
    told = [{"clip": 0, "label": "open", "delta": [0.5, 1.0], "pictures": [0.25, 0.4]}]
    part = {"true": TRUE, "found": found, "progress": told}
    seconds = {"clip": 1.1, "sixteen encodings": 2.0, "one call of sixteen": 1.0}
    return {"model": "tiny", "frames": 8, "settings": {"exact": {"cost": 2, "longest": None}}, "speed": seconds,
            "parts": {"test": part}}  # fmt: skip


def test_the_tables_say_what_was_measured():
    text = tables([results()])
    assert "| test (2) | tiny | exact | 100.0 | 100.0 | 100.0 ± 0.0 | 100.0 ± 0.0 | 0.00 | 0.0 |" in text
    assert "| test (2) | tiny | nothing | 0.0 | 0.0 | 0.0 ± 0.0 | 0.0 ± 0.0 | – | 0.0 |" in text
    assert "| test | tiny | ⟨δ₀ₜ, μₐ⟩ | 1 | 0.500 | 1.000 | 0 % |" in text
    assert "| test | tiny | difference of pictures | 1 | 0.250 | 0.400 | 100 % |" in text
    assert "| tiny | 0.55 | 1.10 |" in text
    assert "| tiny | exact | cost 2, longest any |" in text
    alarm = results()
    alarm["parts"]["test"]["found"] = {"late": [[(1, 4, "open"), (6, 7, "open")], []]}  # one in 3 + 6 idle steps
    assert segment_table([alarm]).endswith("| 111.1 |")


def test_the_command_prints_tables_of_what_is_there_and_says_what_is_wrong(tmp_path, capsys):
    (tmp_path / "change.json").write_text(json.dumps(results()))
    main(["--table", "--results", str(tmp_path)])
    assert "| test (2) | tiny | exact |" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match=r"has no results of change, cls: run without --table"):
        main(["--table", "--results", str(tmp_path / "none")])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("clips: x\n")
    with pytest.raises(ValueError, match="must have the keys clips, models, parts, rounds, each once"):
        read_recipe(recipe)
    with pytest.raises(ValueError, match="--model runs/x has no name: give NAME=FOLDER"):
        main(["--model", "runs/x"])
    with pytest.raises(FileNotFoundError, match=r"has no deltas.safetensors: train there first"):
        main(["--model", f"a={tmp_path}", "--clips", str(tmp_path), "--results", str(tmp_path / "none")])


def test_clips_are_encoded_once(tmp_path, monkeypatch):
    model, processor = tiny_cde("vit"), CDEImageProcessor(size=32)
    folder = write(tmp_path, [row(5, [(1, 0, 1, 3)], "a"), row(5, [], "b")])
    found = open_clips(folder, model, processor, tmp_path / "kept" / "deltas.pt")
    assert found.true == [[(1, 3, "close")], []] and found.amount[0] == [[0, 0, 0.5, 1, 1]]
    assert found.delta.shape == (2, 5, 5, 16) and found.differences.shape == (2, 5, 5)
    rows = load_sequences(folder)
    transform = SequenceTransform(PairTransform.from_processor(processor))
    for number, clip in enumerate(transform(rows[:2])["pixel_values"]):
        still = torch.cat([clip[:1], clip])[:5]  # its first two frames are equal
        assert torch.allclose(_compared(model, still), model.compare_frames(still), atol=1e-5)
        assert torch.allclose(found.delta[number], model.compare_frames(clip), atol=1e-5)
    monkeypatch.setattr(model.base_model, "backbone", None)  # not called again
    again = open_clips(folder, model, processor, tmp_path / "kept" / "deltas.pt")
    assert torch.equal(again.delta, found.delta) and again.true == found.true and again.amount == found.amount


def test_the_page_has_the_tables_of_the_kept_results():
    root = Path(__file__).parents[2]
    kept = [root / "benchmarks" / "results" / "segmentation" / f"{name}.json" for name in ("change", "cls")]
    page = (root / "docs" / "open_questions.md").read_text(encoding="utf-8")
    assert tables([json.loads(path.read_text()) for path in kept]) in page
