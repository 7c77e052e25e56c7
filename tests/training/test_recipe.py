"""Recipes: precedence, types, and errors that name the nearest known key."""

import dataclasses
import re

import pytest

from modeling_cde import CDEConfig
from modeling_cde.training.arguments import DataArguments, ModelArguments
from modeling_cde.training.gone_arguments import INSTEAD
from modeling_cde.training.recipe import parse_recipe
from modeling_cde.training.training_args import CDETrainingArguments

KINDS = (ModelArguments, DataArguments)


def parse(tmp_path, text, *flags):
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return parse_recipe(KINDS, ["--config", str(path), *flags])


def test_values_reach_their_dataclass_with_their_type(tmp_path):
    model, data = parse(
        tmp_path,
        "backbone_config: {model_type: vit, hidden_size: 32}\nimage_size: 48\naugment: false\nprojector_dropout: 0.5\n"
        "backbone_revision: null\n",
    )
    assert model.parsed_backbone_config() == {"model_type": "vit", "hidden_size": 32}
    assert (data.image_size, data.augment, model.projector_dropout) == (48, False, 0.5)
    assert model.backbone_revision is None


@pytest.mark.parametrize("name", sorted(INSTEAD))
def test_arguments_of_transformers_4_are_told_what_took_their_place(tmp_path, name):
    kinds = (*KINDS, CDETrainingArguments)
    known = {field.name for field in dataclasses.fields(CDETrainingArguments)}
    assert name not in known  # of the installed version
    if (instead := re.match(r"use (\w+)", INSTEAD[name])) is not None:
        assert instead[1] in known
    said = f"{name} is gone in Transformers 5: {INSTEAD[name]}."
    (tmp_path / "recipe.yaml").write_text(f"{name}: 0.1\n")
    with pytest.raises(ValueError, match=f"recipe.yaml: {re.escape(said)}$"):
        parse_recipe(kinds, ["--config", str(tmp_path / "recipe.yaml")])
    for flags in ([f"--{name}", "0.1"], [f"--{name}=true"], [f"--{name.replace('_', '-')}"]):
        with pytest.raises(ValueError, match=f"^{flags[0].split('=')[0]}{re.escape(said[len(name) :])}$"):
            parse_recipe(kinds, ["--backbone=org/name", "--output_dir=run", *flags])


def test_flags_win_over_the_file(tmp_path):
    model, data = parse(tmp_path, "backbone: org/a\nimage_size: 48\n", "--image_size", "64", "--backbone=org/b")
    assert (model.backbone, data.image_size) == ("org/b", 64)


def test_a_later_file_wins_over_an_earlier_one(tmp_path):
    second = tmp_path / "second.yaml"
    second.write_text("image_size: 32\n", encoding="utf-8")
    _, data = parse(tmp_path, "backbone: org/a\nimage_size: 48\n", "--config", str(second))
    assert data.image_size == 32


def test_a_method_brings_values_that_what_is_said_beside_it_overrides(tmp_path):
    brought = {"method": {"concatenation": {"delta_dim": 7, "image_size": 8}}}
    path = tmp_path / "recipe.yaml"
    for text, flags, expected in (
        ("backbone: org/a\nmethod: cde\ndelta_dim: 3\n", ["--method", "concatenation"], (7, 8)),
        ("backbone: org/a\nmethod: cde\ndelta_dim: 3\n", ["--delta_dim=4", "--method=concatenation"], (4, 8)),
        ("backbone: org/a\nmethod: concatenation\ndelta_dim: 3\n", [], (3, 8)),
        ("backbone: org/a\nmethod: concatenation\ndelta_dim: 3\n", ["--method", "cde", "--image_size=5"], (3, 5)),
        ("backbone: org/a\ndelta_dim: 3\nimage_size: 4\n", [], (3, 4)),
    ):
        path.write_text(text, encoding="utf-8")
        model, data = parse_recipe(KINDS, ["--config", str(path), *flags], brought)
        assert (model.delta_dim, data.image_size) == expected, (text, flags)


def test_every_option_of_the_model_reaches_its_configuration():
    model = ModelArguments(backbone="org/a", delta_mode="patch", num_prefix_tokens=1)
    assert set(model.cde_options()) <= CDEConfig.option_names()
    # By the backbone's family, by the commit it is of, and by what validation pairs are given.
    filled_in = {"projector_input_norm", "backbone_revision", "nothing_below", "else_below"}
    filled_in |= {"next_action_above", "segment_cost"}
    assert CDEConfig.option_names() - set(model.cde_options()) == filled_in
    assert model.cde_options()["num_prefix_tokens"] == 1


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        ("imagesize: 48\n", [], "unknown key 'imagesize'; did you mean 'image_size'"),
        ("zzz: 1\n", [], "unknown key 'zzz'; see accelerate launch train.py --help"),
        ("- 1\n", [], "expected `key: value` lines, found list"),
        ("", [], "found nothing"),
        ("image_size: [\n", [], "not plain YAML"),
        ("image_size: !!python/object/apply:os.system ['true']\n", [], "not plain YAML"),
        (
            "backbone: org/a\n",
            ["--imag_size", "3"],
            "unknown argument '--imag_size'; did you mean '--image_size'",
        ),
        ("image_size: 48\n", [], "no backbone"),
        (
            "backbone: org/a\nview: sideways\n",
            [],
            "view='sideways' is not known; choose one of: single, multi",
        ),
        ("backbone: org/a\nimage_size: 0\n", [], "image_size=0 must be at least 1"),
        (
            "backbone: org/a\nmethod: concatenation\ndelta_mode: patch\n",
            [],
            "'concatenation' has no delta_mode='patch'",
        ),
        ("backbone_config: {hidden_size: 3}\n", [], "backbone_config needs a model_type"),
        ("backbone_config: 'vit'\n", [], "backbone_config is not JSON"),
    ],
)
def test_bad_recipes_are_named(tmp_path, text, flags, message):
    with pytest.raises(ValueError, match=message):
        parse(tmp_path, text, *flags)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="there is no such file"):
        parse_recipe(KINDS, ["--config", str(tmp_path / "none.yaml")])


def test_a_value_of_the_wrong_type_stops_with_the_flag(tmp_path, capsys):
    with pytest.raises(SystemExit):
        parse(tmp_path, "backbone: org/a\nimage_size: large\n")
    assert "--image_size" in capsys.readouterr().err


SENT = [
    ("push_to_hub: true", "push_to_hub publishes the run, .*: add --push_to_hub True to the command"),
    ("hub_model_id: org/name", "hub_model_id publishes the run"),
    ("hub_token: hf_secret", r"hub_token publishes the run, .*: add --hub_token \.\.\. to the command"),
    ("trackio_space_id: org/name", "trackio_space_id publishes the run"),
    ("report_to: wandb", "report_to names a service, .*: add --report_to wandb to the command"),
    ("report_to: all", "report_to names a service"),
    ("report_to: [tensorboard, mlflow]", "add --report_to tensorboard mlflow to"),
    ("output_dir: /elsewhere/run", "output_dir is outside of the folder that the command runs in"),
    ("output_dir: runs/../../run", "output_dir is outside"),
    ("output_dir: ~/run", "output_dir is outside"),
    ("rooms_folder: /elsewhere/rooms", "rooms_folder is outside"),
    ("feature_store: ../features", "feature_store is outside"),
]


@pytest.mark.parametrize(("line", "words"), SENT)
def test_a_recipe_sends_and_writes_nothing_elsewhere(line, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_text(f"backbone: org/a\n{line}\n")
    with pytest.raises(ValueError, match=words) as error:
        parse_recipe((*KINDS, CDETrainingArguments), ["--config", str(path)])
    assert "hf_secret" not in str(error.value)


def test_what_stays_here_may_stand_in_a_recipe_and_the_rest_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(
        f"backbone: org/a\nreport_to: [tensorboard]\npush_to_hub: false\noutput_dir: {tmp_path}/runs/a\nuse_cpu: true\n"
    )
    arguments = ["--config", "recipe.yaml"]
    *_, args = parse_recipe((*KINDS, CDETrainingArguments), arguments)
    assert args.report_to == ["tensorboard"] and not args.push_to_hub and args.output_dir == f"{tmp_path}/runs/a"
    given = ["--push_to_hub=true", "--hub_model_id=org/name", "--output_dir=/elsewhere/run"]
    *_, args = parse_recipe((*KINDS, CDETrainingArguments), [*arguments, *given])
    assert args.push_to_hub and args.output_dir == "/elsewhere/run"


def test_a_link_that_leads_elsewhere_is_the_users_own_choice(tmp_path, monkeypatch):
    here, disk = tmp_path / "here", tmp_path / "disk"
    here.mkdir(), disk.mkdir()
    (here / "data").symlink_to(disk)
    monkeypatch.chdir(here)
    recipe = here / "recipe.yaml"
    recipe.write_text("backbone: org/a\noutput_dir: data/run\n")
    *_, args = parse_recipe((*KINDS, CDETrainingArguments), ["--config", "recipe.yaml"])
    assert args.output_dir == "data/run"
    recipe.write_text("backbone: org/a\noutput_dir: data/../run\n")  # which is beside the other disk's folder
    with pytest.raises(ValueError, match="output_dir is outside"):
        parse_recipe((*KINDS, CDETrainingArguments), ["--config", "recipe.yaml"])


@pytest.mark.parametrize("given", [["--push", "org/name"], ["--push=org/name"]])
def test_push_names_the_repository_and_a_later_word_wins(given, tmp_path):
    words = ["--backbone=org/a", f"--output_dir={tmp_path}", "--use_cpu=true"]
    *_, args = parse_recipe((*KINDS, CDETrainingArguments), [*words, *given])
    assert args.push_to_hub and args.hub_model_id == "org/name"
    quiet = "--push_to_hub=False"  # as the runs of --compare_with get it
    *_, args = parse_recipe((*KINDS, CDETrainingArguments), [*words, *given, quiet])
    assert not args.push_to_hub


@pytest.mark.parametrize("given", [["--push"], ["--push="], ["--push", "--seed=1"]])
def test_push_without_a_name_is_an_error(given):
    with pytest.raises(ValueError, match="--push needs the name of a repository, ORG/NAME"):
        parse_recipe(KINDS, ["--backbone=org/a", *given])


def helped(capsys, flag):
    with pytest.raises(SystemExit) as stopped:
        parse_recipe((*KINDS, CDETrainingArguments), [flag])
    assert not stopped.value.code
    text = capsys.readouterr().out
    return text, re.findall(r"^  --([\w-]+)(?: (\S+))?", text, flags=re.MULTILINE)


def test_help_is_about_our_flags_and_all_of_them_are_there_if_asked(capsys):
    text, flags = helped(capsys, "--help")
    names = [name for name, _ in flags]
    own = [name for kind in (*KINDS, CDETrainingArguments) for name in vars(kind)["__annotations__"]]
    assert set(own) <= set(names) and len(names) == len(set(names))
    assert {"config", "push", "output_dir", "max_steps"} <= set(names) and "adam_beta1" not in names
    assert text.startswith("usage: accelerate launch train.py --config RECIPE [--FLAG VALUE ...]")
    assert ("delta_dim", "256") in flags and ("contrastive_weight", "2.0") in flags
    everything, all_flags = helped(capsys, "--help-all")
    fields = {field.name for field in dataclasses.fields(CDETrainingArguments) if field.init}
    assert fields <= {name for name, _ in all_flags} and len(everything) > 1.5 * len(text)
