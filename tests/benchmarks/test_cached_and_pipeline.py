"""The scripts that measure cached features and the pipeline run on a tiny model; their figures follow from theirs."""

import json

import pytest

from benchmarks.speed import cached_features, pipeline_speed


def written(script, name, folder, *arguments):
    script.main(["--quick", "--output", str(folder), *arguments])
    return json.loads((folder / f"{name}.json").read_text())


def test_cached_features(tmp_path, capsys):
    result = written(cached_features, "cached_features", tmp_path, "--pairs", "16", "--turns", "1")
    assert [target["bound"] for target in result["targets"]] == [">= 50", "<= 0.0001"] * 2
    for faster, difference, mode in zip(
        result["targets"][::2], result["targets"][1::2], ("global", "patch"), strict=True
    ):
        measured = result["modes"][mode]
        assert faster["value"] == pytest.approx(measured["pictures"][0] / measured["features"][0], rel=1e-3)
        assert faster["met"] == (faster["value"] >= 50) and f"{mode}, times faster" in faster["what"]
        assert difference["met"] and difference["value"] == measured["difference"]
    sizes = [result["modes"][mode]["megabytes"] for mode in ("global", "patch")]
    assert sizes[1] > 5 * sizes[0] > 0  # 16 patches in place of one vector, and a description
    assert "| epochs on cached features, a tiny ViT, 32 px, global, times faster | >= 50 |" in capsys.readouterr().out


def test_pipeline_speed(tmp_path, capsys):
    options = ("--pairs", "4", "--batch_size", "2", "--seconds", "0.01", "--turns", "2")
    result = written(pipeline_speed, "pipeline_speed", tmp_path, *options)
    assert result["command"] == f"python -m benchmarks.speed.pipeline_speed {' '.join(options)} --quick"
    assert [row["pictures"] for row in result["cases"]] == list(pipeline_speed.KINDS)
    for target, row in zip(result["targets"], result["cases"], strict=True):
        assert target["value"] == row["pipeline_to_backbone"]["median"] > 0
        assert target["met"] == (target["value"] <= 1.1)
        assert set(row["milliseconds_per_pair"]) == {"pipeline", "backbone", "preparing"}
    assert capsys.readouterr().out.count("pipeline against bare backbone, a tiny ViT") == 3


def test_pairs_are_drawn_as_users_have_them(tmp_path):
    for kind, (side, ending) in pipeline_speed.KINDS.items():
        (pair, other) = pipeline_speed.draw_pairs(kind, 2, tmp_path)
        if ending is None:
            assert pair[0].size == (side, side) and pair[0].tobytes() != pair[1].tobytes()
        else:
            assert len({*pair, *other}) == 4 and all(path.endswith(ending) for path in pair)


def test_steps_of_the_pipeline_do_the_same_work(tmp_path):
    case = pipeline_speed.Case("a tiny ViT", pipeline_speed.TINY, 32, 0)
    pairs = pipeline_speed.draw_pairs("pictures of 224 px", 3, tmp_path)
    steps = pipeline_speed.steps(case, pairs, batch_size=2)
    assert len(steps["pipeline"]()) == 3 and set(steps) == {"pipeline", "backbone", "preparing"}
