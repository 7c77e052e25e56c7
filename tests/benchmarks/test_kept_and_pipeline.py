"""The scripts that measure kept features and the pipeline run on a tiny model; their figures follow from theirs."""

import json

import pytest
import torch

from benchmarks.speed import feature_store, pipeline_speed


def written(script, name, folder, *arguments):
    script.main(["--quick", "--output", str(folder), *arguments])
    return json.loads((folder / f"{name}.json").read_text())


def test_feature_store(tmp_path, capsys):
    result = written(feature_store, "feature_store", tmp_path, "--pairs", "120", "--turns", "1")
    assert result["command"] == "python -m benchmarks.speed.feature_store --pairs 120 --turns 1 --quick"
    assert [target["bound"] for target in result["targets"]] == ["<= 0.05", "exactly 1", ">= 0.75", ">= 0.65"]
    again, once, encoder, stored = result["targets"]
    runs = list(result["benchmark"]["runs"].values())
    assert len(runs) == 8 and result["benchmark"]["clips"] == result["pairs"] >= 110 and once["met"]
    assert again["value"] == pytest.approx(sum(runs[1].values()) / sum(runs[0].values()))
    assert encoder["value"] == result["rates"]["shares"]["encoder"]["median"] > 0
    assert stored["value"] == result["rates"]["shares"]["stored pictures"]["median"] > 0
    assert all("in float32, as there are no bf16 units" in target["limit"] for target in (encoder, stored))
    assert all(0 < error < 0.1 for error in result["relative_error_of_deltas_in_bf16"].values())
    assert "| second run / first run on the same pairs, a tiny ViT | <= 0.05 |" in capsys.readouterr().out


def test_heads_of_other_seeds_differ_on_the_same_backbone():
    model, other = (feature_store.make_model(feature_store.TINY, "cde", seed, {}) for seed in (0, 1))
    same = {name: torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items()}
    assert all(same[name] for name in same if "backbone" in name) and not same["classifier.weight"]


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
