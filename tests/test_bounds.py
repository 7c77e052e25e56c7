"""What is read from strangers is bounded in size, count, depth and time; see `limits_cde`."""

import json
import re
import signal
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from data_scripts.episodes.listing import read_listing
from modeling_cde import CDEConfig, CDEForActionClassification, CDEImageProcessor
from modeling_cde.data.loading import find_files
from modeling_cde.models import limits_cde
from modeling_cde.models.load_model import load_action_model
from modeling_cde.whole_files import read_object
from tests.tiny_models import backbone_config

ROOT = Path(__file__).parents[1]


@contextmanager
def within(seconds=10):
    """Fail where the block takes longer than a refusal may."""

    def ring(number, frame):
        pytest.fail(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def sparse(path, size=8 * 2**30):
    """A file of so many bytes that takes no room."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


def copied(folder, target):
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).symlink_to(file)
    return target


# Tables


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_a_table_of_very_many_columns_is_refused_at_once(kind, tmp_path):
    names = [f"column_{number}" for number in range(5_000 if kind == "parquet" else 20_000)]
    path = tmp_path / f"pairs.{kind}"
    if kind == "parquet":
        parquet.write_table(pa.table({name: ["x"] for name in names}), path)
    elif kind == "jsonl":
        path.write_text(json.dumps(dict.fromkeys(names, "x")) + "\n")
    else:
        path.write_text(("," if kind == "csv" else "\t").join(names) + "\n")
    with within(), pytest.raises(ValueError, match=r"pairs.\w+ has .* columns, and at most 1,000 are read"):
        read_listing(path)


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.jsonl"])
def test_a_table_of_8_gigabytes_is_refused_at_once(name, tmp_path):
    with within(), pytest.raises(ValueError, match=r"has 8,192 MiB, and at most 1,024 are read"):
        read_listing(sparse(tmp_path / name))


# YAML


def data_folder(folder, header):
    (folder / "README.md").write_text(f"---\n{header}\n---\n# Pairs\n")
    parquet.write_table(pa.table({"action": [0]}), folder / "train.parquet")
    return folder


def doubled(levels=40):
    """Each list is twice the one before it: 2**40 values in 40 lines."""
    lines = ["configs: &a0 [{config_name: single_none, data_files: train.parquet}]", "dataset_info:"]
    lines += [f"- &a{level} [*a{level - 1}, *a{level - 1}]" for level in range(1, levels)]
    return "\n".join(lines)


def merged(levels=40):
    """The same by merge keys, which are written out while the YAML is read."""
    lines = ["configs: [{config_name: single_none, data_files: train.parquet}]", "b0: &b0 {x: y}"]
    return "\n".join([*lines, *(f"b{n}: &b{n} {{<<: [*b{n - 1}, *b{n - 1}]}}" for n in range(1, levels))])


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (doubled(), "references in its YAML that stand for more than 200,000 values"),
        (merged(), "references in its YAML that stand for more than 200,000 values"),
        ("configs: &a [*a]", "references in its YAML that stand for more"),
        ("tags: [" + "x, " * 100_000 + "]", "300,008 characters of YAML, and at most 262,144 are read"),
    ],
    ids=["doubled", "merged", "itself", "long"],
)
def test_yaml_that_stands_for_more_than_it_is_long(header, words, tmp_path):
    with within(), pytest.raises(ValueError, match=re.escape(words)):
        find_files(data_folder(tmp_path, header), "single_none")


def test_plain_references_in_a_header_are_read(tmp_path):
    header = "x: &files train.parquet\nconfigs: [{config_name: single_none, data_files: *files}]"
    assert find_files(data_folder(tmp_path, header), "single_none")["train"] == [str(tmp_path / "train.parquet")]


def test_a_readme_of_8_gigabytes_is_refused_at_once(tmp_path):
    sparse(data_folder(tmp_path, "x: y") / "README.md")
    with within(), pytest.raises(ValueError, match="README.md has 8,192 MiB"):
        find_files(tmp_path, "single_none")


# Models

TOO_MANY = [
    ({"model_type": "vit", "num_hidden_layers": 20_000}, "num_hidden_layers asks for more than 500 layers"),
    ({"model_type": "resnet", "depths": [3, 4, 10_000, 3]}, "depths asks for more than 500 layers"),
    ({"model_type": "resnet", "depths": [1] * 10_000}, "depths asks for more than 500 layers"),
    ({"model_type": "clip", "vision_config": {"num_hidden_layers": 10**9}}, "vision_config.num_hidden_layers asks"),
    ({"model_type": "vit", "num_labels": 10**9}, "num_labels asks for more than 100,000"),
]


@pytest.mark.parametrize(("fields", "words"), TOO_MANY, ids=lambda value: str(value)[-30:])
def test_no_configuration_asks_for_very_many_layers(fields, words, tmp_path):
    with within(), pytest.raises(ValueError, match=words):
        CDEConfig(backbone_config=fields)
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with within(), pytest.raises(ValueError, match=words):
        CDEForActionClassification.from_backbone(tmp_path, id2label={0: "open", 1: "close"})
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "cde", "backbone_config": fields}))
    with within(), pytest.raises(ValueError, match=words):
        load_action_model(str(tmp_path))


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_configuration_of_8_gigabytes_is_refused_at_once(name, checkpoint, tmp_path):
    folder = copied(checkpoint, tmp_path / "run")
    (folder / name).unlink()
    sparse(folder / name)
    words = f"{name} has 8,192 MiB, and at most 16 are read of such a file"
    with within(), pytest.raises(ValueError, match=words):
        load_action_model(str(folder))
    with within(), pytest.raises(ValueError, match=words):
        CDEImageProcessor.from_backbone(folder)
    with within(), pytest.raises(ValueError, match=words):
        (CDEForActionClassification if name == "config.json" else CDEImageProcessor).from_pretrained(folder)


def test_an_index_of_weights_of_8_gigabytes_is_refused_at_once(tmp_path):
    backbone_config("vit").save_pretrained(tmp_path)
    sparse(tmp_path / "model.safetensors.index.json")
    with within(), pytest.raises(ValueError, match="index.json has 8,192 MiB"):
        CDEForActionClassification.from_backbone(tmp_path, id2label={0: "open", 1: "close"})


def test_json_of_a_run_of_8_gigabytes_is_refused_at_once(tmp_path):
    with within(), pytest.raises(ValueError, match="metrics.json has 8,192 MiB, and at most 1,024"):
        read_object(sparse(tmp_path / "metrics.json"))


# The list of bounds


def test_security_md_names_every_bound_with_its_value():
    names = [name for name in vars(limits_cde) if re.fullmatch(r"(MOST|LONGEST|WIDEST)\w*", name)]
    lines = (ROOT / "SECURITY.md").read_text().splitlines()
    assert len(names) > 15
    for name in names:
        (line,) = [line for line in lines if f"`{name}`" in line]
        value = getattr(limits_cde, name)
        shown = f"{value >> 20:,} MiB" if name.endswith("BYTES") and value % 2**20 == 0 else f"{value:,}"
        assert shown in line or f"{value >> 10} KiB" in line, (name, shown, line)
