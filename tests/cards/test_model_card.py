"""Cards say what the files of a run say, for each method, and carry metadata that the Hub takes."""

import json
import re

import pytest
from huggingface_hub import ModelCard

from modeling_cde.cards.__main__ import main
from modeling_cde.cards.energy import energy_estimate
from modeling_cde.cards.metadata import is_repository
from modeling_cde.cards.model_card import PLACEHOLDER, write_model_card
from modeling_cde.models.methods import by_model_type
from tests.cards.hub_rules import problems

FIGURES = {"accuracy": 0.12345, "macro_accuracy": 0.5, "n": 7}  # no run would give these


def run_folder(folder, model_type="cde", delta_mode="global", data=None, backbone=None, **config):
    """The files of a finished run."""
    arguments = {
        "seed": 3,
        "image_size": 48,
        "data": data,
        "view": "multi",
        "backbone": backbone,
        "method": "cde",
        "top_k_patches": 2,
        "rooms_pairs": 12,
        "contrastive_weight": 0.25,
        "temperature": 0.3,
    }
    config = {
        "model_type": model_type,
        "id2label": {"1": "close", "0": "open"},
        "backbone_config": {"model_type": "vit"},
        "delta_mode": delta_mode,
        "top_k_patches": 2,
    } | config
    by = {
        "accuracy_by_action": {"open": 0.125},
        "accuracy_by_object": {"safe|box": 0.375},
        "never_predicted": ["close"],
    }
    metrics = {
        "splits": {"validation": FIGURES, "test": FIGURES | {"accuracy": 0.75}, "test_syst": FIGURES | by},
        "gap": {"test_syst": 0.62655},
        "environment": {"device": "CPU", "cores": 2, "torch": "2", "transformers": "5"},
        "training": {
            "command": "accelerate launch train.py --seed 3",
            "data": data or "data/rooms",
            "minutes": 1.5,
            "pairs": {"train": 9},
            "arguments": arguments,
            "selected": {"step": 40, "epoch": 4.0, "criterion": "eval_validation_cross_entropy"},
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_a_run_with_the_older_name_of_a_field_is_shown_under_todays(tmp_path):
    """The setting stands once, among the model's fields, whatever it was called when the run was made."""
    run_folder(tmp_path, global_feature="mean")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    metrics["training"]["arguments"]["global_feature"] = "mean"
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    text = write_model_card(tmp_path).read_text()
    assert text.count("| pooling | mean |") == 1 and "global_feature" not in text


def test_measured_numbers_and_metadata(tmp_path, capsys):
    main([str(run_folder(tmp_path)), "--name", "cde-test"])
    assert capsys.readouterr().out.strip() == str(tmp_path / "README.md")
    card = ModelCard.load(tmp_path / "README.md")
    assert not problems(card.data.to_dict())
    assert card.data.license == "apache-2.0" and card.data.library_name == "transformers"
    assert "synthetic" in card.data.tags and card.data.datasets is None and card.data.base_model is None
    # As `datasets.load_dataset` finds the pairs, and the test splits only.
    assert [(r.dataset_config, r.dataset_split, r.metric_value) for r in card.data.eval_results] == [
        ("multi_syst", "test", 0.75),
        ("multi_syst", "test_ood", 0.1235),
    ]
    for text in (
        "# cde-test",
        "2 actions (open, close)",
        "| OOD systematic | unseen objects | 7 | 0.123 | 0.500 | – |",
        "0.627 on OOD systematic",
        "accelerate launch train.py --seed 3",
        "python -m data_scripts.rooms --output data/rooms --view multi --num_pairs 12 --kinds classic\n",
        "rendered rooms",
        "swapping the two flips the sign",
        "vit, trained from scratch",
        "cross-entropy + 0.25 · supervised contrastive (temperature 0.3). The checkpoint is from epoch 4 (step 40)",
        "| action | OOD systematic |\n|---|---:|\n| open | 0.125 |",  # `test` has no such figures, so it has no column
        "safe\\|box 0.38",
        "On OOD systematic it never predicted: close.",
        "1.5 minutes on CPU (2 cores)",
        "about 0.0005 kWh = 1.5 minutes / 60 × 20 W",
    ):
        assert text in card.text, text
    for section in ("Intended use", "Out of scope", "Use", "Data", "Training", "Model", "Results", "Geometry",
                    "Limits", "Bias", "Environmental cost", "Cite"):  # fmt: skip
        assert f"\n## {section}\n" in card.text
    assert "top_k_patches" not in card.text  # no patches in global mode
    assert str(tmp_path) not in card.content and "\n\n\n" not in card.content


def shares(pairs, action):
    return {"pairs": pairs, "nothing": 0.0, "else": 1 - action, "action": action}


def test_false_alarms_and_misses_are_on_the_card(tmp_path):
    text = write_model_card(run_folder(tmp_path)).read_text()
    assert (
        "even if nothing or something else happened" in text and "cannot say that an action is not among them" in text
    )
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    metrics["rejections"] = {
        "nothing_below": 0.5,
        "else_below": 0.25,
        "kept": 0.95,
        "pairs": 40,
        "calibrated_on": ["validation_comp", "validation_syst"],
        "splits": {"test": shares(7, 0.9), "test_syst": shares(8, 0.75)},
        "unknown": {"test": {"nothing": shares(5, 0.2)}},
        "still": shares(9, 0.111),
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    text = write_model_card(tmp_path).read_text()
    for told in (
        "| a known action (test) | 7 | 90.0 % | 0.0 % | 10.0 % |",
        "| a known action (test_syst) | 8 | 75.0 % | 0.0 % | 25.0 % |",
        "| nothing, which it does not know (test) | 5 | 20.0 % | 0.0 % | 80.0 % |",
        "| nothing | 9 | 11.1 % | 0.0 % | 88.9 % |",
        "at least\n95 % of the pairs of validation_comp and validation_syst.",
        "Where nothing or something else happened, the pipeline should say so, and can be wrong: see Results.",
    ):
        assert told in text, told
    assert "cannot say that an action is not" not in text and "\n\n\n" not in text


def test_the_examples_load_the_repository_and_every_code_block_is_python(tmp_path):
    path = write_model_card(run_folder(tmp_path), repo_id="org/cde-test")
    text = path.read_text()
    assert "# cde-test\n" in text and PLACEHOLDER not in text
    assert 'pipeline("action-classification", model="org/cde-test", trust_remote_code=True)' in text
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        compile(block, "card", "exec")
    assert PLACEHOLDER in write_model_card(tmp_path).read_text()


def test_a_test_that_chose_the_checkpoint_is_not_said_to_be_looked_at_once(tmp_path):
    run_folder(tmp_path)
    assert "were evaluated once" in write_model_card(tmp_path).read_text()
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    metrics["training"]["pairs_used_twice"] = {"test_syst": 6}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    text = write_model_card(tmp_path).read_text()
    assert (
        "were evaluated once" not in text
        and "6 of the 7 pairs of OOD systematic are also in a validation split" in text
    )


@pytest.mark.parametrize("model_type", by_model_type())
def test_each_method_is_told_as_it_is(tmp_path, model_type):
    path = write_model_card(run_folder(tmp_path, model_type, data="org/pairs"))
    card, text = ModelCard.load(path), path.read_text()
    method = by_model_type()[model_type]
    assert f"{method.model}.from_pretrained" in text and method.sentence in text and method.explanation in text
    assert ("flips the sign" in text) == (model_type == "cde")
    assert ("trust_remote_code" in text) == (not method.needs_masks)
    assert "rendered rooms" not in text and "data_scripts.rooms" not in text
    assert not problems(card.data.to_dict()) and card.data.datasets == ["org/pairs"]
    assert {result.dataset_type for result in card.data.eval_results} == {"org/pairs"}


def test_patches_are_told_of_patch_wise_models_only(tmp_path):
    text = write_model_card(run_folder(tmp_path, delta_mode="patch")).read_text()
    assert "| top_k_patches | 2 |" in text and "`return_patches=True`" in text and "the 2 patches with" in text
    assert "return_patches" not in write_model_card(run_folder(tmp_path)).read_text()


def test_weights_of_patches_are_told_of_models_that_have_them(tmp_path):
    text = write_model_card(run_folder(tmp_path, pooling="change")).read_text()
    assert "`return_patches=True` the weights of the patches in rows and columns." in text
    assert "flips the sign. Each picture's embedding is computed from a weighted mean of its patches." in text
    for config in ({"delta_mode": "patch"}, {"model_type": "cde-joint"}):  # they do not read `pooling`
        assert (
            "weights of the patches"
            not in write_model_card(run_folder(tmp_path, **{"pooling": "change"} | config)).read_text()
        )


def test_base_model_and_data_set_are_repositories_and_never_folders(tmp_path, monkeypatch):
    path = write_model_card(run_folder(tmp_path, backbone="facebook/dino-vits16", backbone_revision="c0ffee"))
    assert ModelCard.load(path).data.base_model == "facebook/dino-vits16"
    assert "facebook/dino-vits16, commit c0ffee" in path.read_text()
    path = write_model_card(run_folder(tmp_path, backbone=str(tmp_path), data=str(tmp_path / "mine")))
    card = ModelCard.load(path)
    assert card.data.base_model is None and card.data.datasets is None and not problems(card.data.to_dict())
    assert str(tmp_path) not in card.content and "`mine`" in card.text
    # A folder that looks like a repository's name, as seen from where the card is written.
    (tmp_path / "data" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    run_folder(tmp_path, backbone="data/mine", data="data/mine")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    metrics["training"]["manifests"] = ["data/mine/manifests/multi_syst.json"]
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    card = ModelCard.load(write_model_card(tmp_path))
    assert card.data.base_model is None and card.data.datasets is None
    card = ModelCard.load(write_model_card(tmp_path, dataset="org/published"))
    assert card.data.datasets == ["org/published"] and "`org/published`" in card.text


def test_the_source_of_a_backbone_from_no_repository_is_told(tmp_path):
    # A folder that was named without a path looks like a repository where it does not exist.
    run_folder(tmp_path, backbone="dinov2-packed")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    metrics["training"]["backbone_source"] = {
        "source": "DINOv2 as packed in a_b 1.0",
        "version": "1.0",
        "licence": "Apache-2.0, MIT",
        "sha256": "abc123",
        "note": "nobody says how | it was tuned",
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    card = ModelCard.load(write_model_card(tmp_path))
    assert card.data.base_model is None and not problems(card.data.to_dict())
    assert "| backbone | DINOv2 as packed in a_b 1.0 |" in card.text
    assert (
        "The backbone's weights are those of DINOv2 as packed in a_b 1.0 (licence Apache-2.0, MIT; nobody says how "
        "\\| it was tuned; SHA-256 `abc123`), fine-tuned: their licence and limits apply here, too."
    ) in card.text
    metrics["training"]["arguments"]["freeze_backbone"] = True
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert "fine-tuned" not in write_model_card(tmp_path).read_text()
    # A repository speaks for itself, and a folder of which nothing is known by its name.
    metrics["training"]["backbone_source"] = {"source": "dinov2-packed", "revision": "c0ffee"}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert ModelCard.load(write_model_card(tmp_path)).data.base_model == "dinov2-packed"
    metrics["training"]["backbone_source"] = {"source": "dinov2-packed"}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    text = write_model_card(tmp_path).read_text()
    assert "| backbone | dinov2-packed |" in text and "weights are those of" not in text


def test_geometry_and_pictures_are_shown_where_the_run_has_them(tmp_path):
    text = write_model_card(run_folder(tmp_path)).read_text()
    assert "Not measured for this card" in text and "](training_curve.png)" not in text
    split = {"opposites": {"mean": -0.875, "p_value": 0.0002}, "probes": {"object": None}, "patches": None}
    (tmp_path / "geometry.json").write_text(json.dumps({"splits": {"test": split, "validation": {}, "test_syst": {}}}))
    (tmp_path / "pictures").mkdir()
    for name in ("training_curve.png", "pictures/map_pca_test.png"):
        (tmp_path / name).write_bytes(b"")
    text = write_model_card(tmp_path).read_text()
    assert "| cosine of opposite actions | -0.875 | – |" in text and "| p of opposites by chance | 0.0002 | – |" in text
    assert "](training_curve.png)" in text and "](pictures/map_pca_test.png)" in text and "cosines_test" not in text


def test_names_that_markdown_or_yaml_would_take_for_something_else(tmp_path):
    run_folder(tmp_path, id2label={"0": "a|b", "1": "*yes*: no\n# x"})
    card = ModelCard.load(write_model_card(tmp_path, name="a: 'b' #1"))
    assert card.data.model_name == "a: 'b' #1" and not problems(card.data.to_dict())
    assert "(a\\|b, \\*yes\\*: no \\# x)" in card.text and "# a: 'b' \\#1\n" in card.text


@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "is missing: give the output folder of a finished run"),
        ("{", "is not JSON"),
        ("[]", "does not contain a JSON object"),
        ("{}", "give the output folder of"),
    ],
)
def test_what_is_no_finished_run_is_said_in_one_sentence(tmp_path, name, content, told):
    (run_folder(tmp_path) / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(SystemExit) as error:
        main([str(tmp_path)])
    assert re.fullmatch(rf"python -m modeling_cde.cards: .*{name} .*{told}.*", str(error.value))


@pytest.mark.parametrize("flag", ["--private", "--revision=main"])
def test_what_belongs_to_a_push_is_refused_without_it_before_a_card_is_written(tmp_path, flag):
    with pytest.raises(SystemExit, match=f"{flag.partition('=')[0]} has an effect only with --push"):
        main([str(run_folder(tmp_path)), flag])
    assert not (tmp_path / "README.md").exists()


def test_energy_by_hand():
    assert energy_estimate(30, {"device": "x86_64", "cores": 8})[0] == 0.04
    assert energy_estimate(12, {"device": "NVIDIA H100 80GB HBM3", "cores": 8})[0] == 0.1
    assert "500 W (one NVIDIA" in energy_estimate(12, {"device": "NVIDIA H100 80GB HBM3", "cores": 8})[1]


def test_a_backbone_that_passes_its_licence_on_keeps_it(tmp_path):
    folder = run_folder(tmp_path)
    config, metrics = (json.loads((folder / f"{name}.json").read_text()) for name in ("config", "metrics"))
    config["backbone_config"]["model_type"] = "dinov3_vit"
    config["backbone_revision"] = "a" * 40
    metrics["training"]["arguments"]["backbone"] = "facebook/dinov3-vits16-pretrain-lvd1689m"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    header = ModelCard.load(write_model_card(folder)).data.to_dict()
    assert (header["license"], header["license_name"]) == ("other", "dinov3-license") and not problems(header)


def test_names_of_repositories():
    assert all(map(is_repository, ["facebook/dino-vits16", "resnet50", "org_1/a.b-c"]))
    assert not any(map(is_repository, ["/abs", "./a", "../a", "a/b/c", "~/x", "a b", "org/", "", "a--b/c", "org/ü"]))


def test_the_rules_find_what_the_hub_refuses():
    good = {"license": "mit", "pipeline_tag": "image-classification", "library_name": "transformers", "tags": ["a"]}
    assert not problems(good)
    for wrong in (
        {"license": "Apache 2.0"},
        {"pipeline_tag": "action-classification"},
        {"tags": ["a", "a"]},
        {"tags": ["a", None]},
        {"tags": ["a,b"]},
        {"datasets": [None]},
        {"datasets": ["data/rooms/x"]},
        {"base_model": "/home/me/model"},
        {"model-index": [{"name": "m", "results": []}]},
        {
            "model-index": [
                {"name": "m", "results": [{"task": {"type": "other"}, "metrics": [{"type": "x", "value": 1}]}]}
            ]
        },
    ):
        assert problems(good | wrong), wrong


def test_the_loss_is_that_of_the_terms_that_the_trainer_kept(tmp_path):
    weights = {"auxiliary": 1.0, "contrastive": 0.0, "cross_entropy": 1.0, "own|term": 0.5, "sparsity": 2.0}
    state = {"log_history": [], "stateful_callbacks": {"loss_weights": weights}}
    (run_folder(tmp_path) / "trainer_state.json").write_text(json.dumps(state))
    text = write_model_card(tmp_path).read_text()
    assert "Loss: cross-entropy + 0.5 · own\\|term + 2 · L1 of the delta. The checkpoint" in text
