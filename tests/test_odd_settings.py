"""Settings and values in files from elsewhere: ordinary ones work everywhere, impossible ones get one sentence."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
from PIL import Image

from modeling_cde import CDEConfig, CDEForActionClassification, CDEImageProcessor, CDETrainer, CDETrainingArguments
from modeling_cde.data.loading import find_files, load_pairs, transform_pairs
from modeling_cde.data.streaming.pair_stream import stream_pairs
from modeling_cde.data.transforms import PairTransform
from modeling_cde.evaluation.gallery import read_gallery
from modeling_cde.evaluation.onnx_export import PairOutputs
from modeling_cde.evaluation.predictions import predict
from modeling_cde.models.load_model import load_action_model
from modeling_cde.models.pipeline_cde import ActionClassificationPipeline
from modeling_cde.training.recipe import read_plain_yaml
from tests import small_runs
from tests.tiny_models import backbone_config, tiny_cde

SETTINGS = [
    *small_runs.TINY,
    "--delta_dim=16",
    "--max_steps=3",
    "--per_device_train_batch_size=16",
    "--eval_strategy=no",
    "--save_strategy=no",
]


def changed(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize("mode", ["global", "patch"])
def test_tuples_in_a_configuration_change_nothing(mode, splits, tmp_path):
    """`return_dict: false` is about what a caller gets by default."""
    tiny_cde("vit", delta_mode=mode).save_pretrained(tmp_path)
    CDEImageProcessor(size=32).save_pretrained(tmp_path)
    plain, processor = load_action_model(str(tmp_path))
    changed(tmp_path / "config.json", return_dict=False)
    model, _ = load_action_model(str(tmp_path))
    black, white = Image.new("RGB", (40, 40)), Image.new("RGB", (40, 40), "white")
    pixels = processor(black, white)
    assert isinstance(model(**pixels), tuple) and torch.equal(model(**pixels)[0], plain(**pixels).logits)

    for use in (
        lambda model: ActionClassificationPipeline(model=model, image_processor=processor)(black, white),
        lambda model: PairOutputs(model)(**pixels)["delta"].tolist(),
        lambda model: predict(model, splits["test"].select([0, 1]), PairTransform((32, 32))).logits.tolist(),
        lambda model: (
            CDETrainer(model, CDETrainingArguments(tmp_path / "run", use_cpu=True, report_to="none"))
            .compute_loss(model, {**pixels, "labels": torch.tensor([1])})
            .item()
        ),
    ):
        assert use(model) == use(plain)


def test_a_quantized_backbone_is_refused(tmp_path):
    asked = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    backbone_config("vit").save_pretrained(tmp_path)
    changed(tmp_path / "config.json", quantization_config=asked)
    with pytest.raises(ValueError, match="has quantized weights, which CDEForActionClassification is not trained on"):
        CDEForActionClassification.from_backbone(tmp_path, id2label={0: "open", 1: "close"})
    with pytest.raises(ValueError, match="backbone_config has a quantization_config, and"):
        CDEConfig(backbone_config={"model_type": "vit", "quantization_config": asked})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"peft_type": "MAGIC"}, "describes adapters of the kind 'MAGIC', and only LORA is read"),
        ({"peft_type": ["LORA"]}, "describes adapters of the kind"),
        ({"peft_type": None}, "describes adapters of the kind None"),
        ({"r": "many"}, "adapter_config.json.r must be a whole number"),
        ({"r": 8, "lora_alpha": None}, "lora_alpha must be a positive number"),
        ({"base_model_name_or_path": 7}, "base_model_name_or_path must be text or null"),
        ({"target_modules": "(.*)+x"}, "target_modules must be a list of names, or the pattern that add_lora writes"),
        ({"rank_pattern": {"(.*)+x": 2}}, "rank_pattern must be empty"),
    ],
)
def test_adapters_of_another_kind_are_refused(fields, words, tmp_path):
    tiny_cde("vit").save_pretrained(tmp_path)
    told = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["query"]} | fields
    (tmp_path / "adapter_config.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match=words):
        load_action_model(str(tmp_path))


@pytest.mark.parametrize(
    "line", ["seed: !!bool maybe", "seed: !!timestamp x", "seed: !!set {a, b}", "seed: !!binary x", "!!omap [a: 1]"]
)
def test_tags_in_a_recipe_are_refused(line, tmp_path):
    (tmp_path / "recipe.yaml").write_text(line)
    with pytest.raises(ValueError, match=r"not plain YAML \(a tag such as !!set\). A recipe has only"):
        read_plain_yaml(tmp_path / "recipe.yaml")


# Data sets


def test_a_data_set_with_a_script_gets_one_sentence(data, tmp_path):
    folder = tmp_path / "rooms"
    shutil.copytree(data, folder)
    (folder / "rooms.py").write_text("raise SystemExit")
    with pytest.raises(ValueError, match=r"has a script rooms\.py, which would be code to run: remove it"):
        find_files(folder, "single_comp")


def with_metadata(path, target, **fields):
    """A Parquet file with other words about its columns."""
    table = parquet.read_table(path)
    told = table.schema.metadata | {key.encode(): value for key, value in fields.items()}
    target.unlink(missing_ok=True)
    parquet.write_table(table.replace_schema_metadata(told), target)


@pytest.mark.parametrize(
    "metadata",
    [
        b"[" * 100_000,
        b'{"info": {"features": ' + b'{"a": ' * 5_000 + b"1" + b"}" * 5_002,
        b'{"info": {"features": [3]}}',
    ],
    ids=["open", "nested", "list"],
)
def test_nested_metadata_gets_one_sentence(metadata, data, tmp_path):
    folder = tmp_path / "rooms"
    shutil.copytree(data, folder)
    (file,) = find_files(folder, "single_comp")["train"]
    with_metadata(Path(file), Path(file), huggingface=metadata)
    for read in (load_pairs, stream_pairs):
        with pytest.raises(ValueError, match=r"train\S*parquet cannot be read as Parquet, for its types of columns \("):
            read(folder, "single_comp", "train")
    with pytest.raises(ValueError, match="cannot be read as a gallery"):
        read_gallery(file)


def without_an_action(data, folder):
    shutil.copytree(data, folder)
    for name in ("single_comp", "single_syst"):
        (file,) = find_files(folder, name)["train"]
        table = parquet.read_table(file)
        place = table.column_names.index("action")
        actions = table["action"].to_pylist()
        actions[3] = None
        parquet.write_table(table.set_column(place, "action", pa.array(actions, pa.int64())), file)
    return folder


def test_a_missing_action_is_found_by_all_that_read_a_stream(data, tmp_path):
    folder = without_an_action(data, tmp_path / "pairs")
    with pytest.raises(ValueError, match=r"train\S*parquet: the action of pair \S+ is None; it must be one of the"):
        stream_pairs(folder, "single_comp").sample(1_000)  # what other pairs are compared with
    streamed = load_pairs(folder, "single_comp", "train", streaming=True)
    with pytest.raises(ValueError, match=r"The action of pair \S+ is missing"):
        list(transform_pairs(streamed, PairTransform((32, 32))))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_missing_action_in_a_stream_gets_one_sentence(workers, data, tmp_path):
    folder = without_an_action(data, tmp_path / "pairs")
    arguments = [*SETTINGS, "--data", str(folder), "--streaming=true", "--class_aware_sampling=false"]
    with pytest.raises(SystemExit) as stopped:
        small_runs.train(
            "from_scratch.yaml",
            *arguments,
            f"--dataloader_num_workers={workers}",
            "--output_dir",
            str(tmp_path / "run"),
        )
    said = str(stopped.value.code)
    assert "train.py: " in said and "the action of pair" in said and "is None; it must be one of the" in said
    assert "\n" not in said


@pytest.mark.parametrize("read", [load_pairs, stream_pairs])
def test_a_link_to_a_file_elsewhere_is_refused(read, data, tmp_path):
    folder = tmp_path / "pairs"
    shutil.copytree(data, folder)
    file = Path(find_files(folder, "single_comp")["train"][0])
    shutil.move(file, tmp_path / "mine.parquet")
    file.symlink_to(tmp_path / "mine.parquet")
    with pytest.raises(
        ValueError, match=r"train-\S*parquet is a link to a file outside of \S*pairs: put the file itself"
    ):
        read(folder, "single_comp", "train")
    inside = folder / "kept.bin"
    shutil.move(tmp_path / "mine.parquet", inside)
    file.unlink()
    file.symlink_to(inside)
    assert len(read(folder, "single_comp", "train")) > 0


def test_a_snapshot_of_the_hubs_cache_is_links_and_is_read(data, tmp_path):
    folder, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    blobs.mkdir()
    shutil.copytree(data, folder)
    for number, file in enumerate(sorted(folder.rglob("*.parquet"))):
        shutil.move(file, blobs / str(number))
        file.symlink_to(blobs / str(number))
    assert len(load_pairs(folder, "single_comp", "train")) > 0


def test_a_gallery_that_is_a_link_to_elsewhere_is_refused(data, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "gallery.parquet").symlink_to(find_files(data, "single_comp")["train"][0])
    with pytest.raises(ValueError, match=r"gallery\.parquet is a link to a file outside of"):
        read_gallery(tmp_path / "run" / "gallery.parquet")
