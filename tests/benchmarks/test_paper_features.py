"""The features of a benchmark's runs: every picture goes through the backbone once, whatever the runs read of it."""

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoModel

from benchmarks.paper.features import keep_all_features
from benchmarks.paper.plan import Run
from modeling_cde.data.load_splits import load_shifts
from modeling_cde.features import encoder
from modeling_cde.training import new_model
from modeling_cde.training.arguments import DataArguments, ModelArguments
from modeling_cde.training.new_model import make_model
from modeling_cde.training.recipe import parse_recipe
from modeling_cde.training.run import make_run
from modeling_cde.training.training_args import CDETrainingArguments
from tests.drawn_pairs import draw_data_set
from tests.tiny_models import backbone_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def plan(data, tmp_path):
    """Two methods on two readings, and one that trains its backbone."""
    AutoModel.from_config(backbone_config("vit", num_hidden_layers=4)).save_pretrained(tmp_path / "vit")
    settings = '{"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}'
    (tmp_path / "vit" / "preprocessor_config.json").write_text(settings)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"backbone: {tmp_path / 'vit'}\nfreeze_backbone: true\naugment: false\nimage_size: 32\ndelta_dim: 16\n"
        "use_cpu: true\neval_strategy: 'no'\n"
    )
    changed = {"pooling": "change", "feature_layers": [2, 4]}
    store = {"feature_store": str(tmp_path / "store")}
    flags = [
        {"method": method, **reading, **store, "output_dir": str(tmp_path / f"{method}-{name}")}
        for method in ("cde", "concatenation")
        for name, reading in (("cls", {}), ("change", changed))
    ]
    flags.append(flags[0] | {"delta_mode": "patch", "top_k_patches": 2, "output_dir": str(tmp_path / "patch")})
    shared = {"benchmark": "b", "title": "t", "setting": {}, "view": "single", "shift": "both", "seed": 0}
    shared |= {"split_seed": None, "source": str(data), "base": str(data), "rooms": None, "train": str(recipe)}
    return [
        Run(name=str(i), method=one["method"], flags=one | {"data": str(data)}, **shared) for i, one in enumerate(flags)
    ], data


def test_a_picture_is_encoded_once_for_all_readings(plan, monkeypatch, capsys):
    runs, data = plan
    seen = []
    encode = encoder.Encoder.__call__
    monkeypatch.setattr(encoder.Encoder, "__call__", lambda self, clips: seen.append(len(clips)) or encode(self, clips))
    pairs = {pair_id for rows in load_shifts(str(data)).values() for pair_id in rows["pair_id"]}
    assert keep_all_features(runs) == len(pairs)
    assert len(pairs) <= sum(seen) <= len(pairs) + 1  # one more clip shows how large features are
    seen.clear()
    assert keep_all_features(runs) == 0
    kinds = (ModelArguments, DataArguments, CDETrainingArguments)
    for run in runs:  # what the runs then read is there
        made = make_run([], *parse_recipe(kinds, run.arguments(), {}))
        assert made.keep is not None and made.keep.store.encoded == 0
    assert not seen


def test_the_backbone_is_loaded_once_for_each_reading_whatever_the_number_of_sources(plan, tmp_path, monkeypatch):
    runs, _ = plan
    loaded = []
    monkeypatch.setattr(new_model, "make_model", lambda *given: loaded.append(given) or make_model(*given))
    other = draw_data_set(tmp_path / "other", pairs_of_each=2, seed=1)
    elsewhere = [replace(run, source=str(other), flags=run.flags | {"data": str(other)}) for run in runs]
    alone = keep_all_features(runs)
    assert len(loaded) == 3
    assert keep_all_features([*runs, *elsewhere]) > 0 and alone > 0
    assert len(loaded) == 6


def test_runs_that_train_their_backbone_keep_nothing(plan, tmp_path):
    runs, _ = plan
    recipe = Path(runs[0].train)
    recipe.write_text(recipe.read_text().replace("freeze_backbone: true\n", ""))
    runs = [replace(run, flags={k: v for k, v in run.flags.items() if k != "feature_store"}) for run in runs]
    assert keep_all_features(runs) == 0
    assert not (tmp_path / "store").exists()
