"""Bad input gets one sentence that names it, before anything long begins; odd but good pictures are read alike."""

import io
import os
import resource
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file

from data_scripts import picture_files
from modeling_cde import CDEForActionClassification, CDEImageProcessor, CDEModel
from modeling_cde.data.crops import cut_region
from modeling_cde.data.crops import open_picture as open_stored
from modeling_cde.data.load_splits import load_shifts
from modeling_cde.data.row_checks import check_splits
from modeling_cde.data.transforms import PairTransform
from modeling_cde.evaluation.evaluate import evaluate_splits
from modeling_cde.models.pictures_cde import BadPictureError, load_picture
from modeling_cde.models.regions_cde import Region
from tests import bad_pictures
from tests.tiny_models import tiny_cde

ROOT = Path(__file__).parents[1]
TAKEN, REFUSED = bad_pictures.taken(), bad_pictures.refused()


# Pictures


def read_everywhere(path, monkeypatch):
    """What the five readers make of a file: processor, pipeline (both by `load_picture`), training, builds, demo."""
    monkeypatch.syspath_prepend(str(ROOT / "space"))
    from given_pictures import WrongPicture, open_pair

    def stored():
        image = open_stored(path.read_bytes(), "before", "p1")
        return Image.fromarray(cut_region(image, Region(0, 0, *image.size), image.size, 0, "before", "p1"))

    readers = {
        "processor": lambda: load_picture(path),
        "a PIL picture": lambda: load_picture(Image.open(path)),
        "training": stored,
        "builds": lambda: picture_files.open_picture(path.read_bytes(), "before picture").pixels,
        "demo": lambda: open_pair(str(path), str(path))[0],
    }
    found = {}
    for name, reader in readers.items():
        try:
            found[name] = np.asarray(reader())
        except (BadPictureError, picture_files.BadPictureError, WrongPicture) as error:
            found[name] = str(error)
        except (OSError, Image.DecompressionBombError):
            assert name == "a PIL picture"  # PIL itself does not open it
    return found


@pytest.mark.parametrize("name", TAKEN)
def test_odd_pictures_are_read_alike_everywhere(name, tmp_path, monkeypatch):
    content, expected = TAKEN[name]
    (tmp_path / name).write_bytes(content)
    for reader, pixels in read_everywhere(tmp_path / name, monkeypatch).items():
        assert isinstance(pixels, np.ndarray), (reader, pixels)
        assert pixels.dtype == np.uint8
        if expected is not None:
            assert np.array_equal(pixels, expected), reader
        else:
            smooth = bad_pictures.SMOOTH
            wanted = np.asarray(Image.fromarray(smooth).convert("L"))[..., None] if "grey" in name else smooth
            assert np.abs(pixels.astype(int) - wanted).mean() < 4, reader


@pytest.mark.parametrize("name", REFUSED)
def test_bad_pictures_get_one_sentence_everywhere(name, tmp_path, monkeypatch):
    content, words = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    for reader, said in read_everywhere(tmp_path / name, monkeypatch).items():
        assert isinstance(said, str) and "\n" not in said and "Traceback" not in said, (reader, said)
        assert any(word in said for word in words.split("|")), (reader, said)
        names = {"training": "'before' of pair p1", "demo": "The picture before", "builds": "the before picture"}
        assert names.get(reader, name) in said or reader == "a PIL picture", (reader, said)


def test_every_orientation_is_turned_as_pillow_does_it():
    for orientation in range(1, 9):
        content = bad_pictures.turned("PNG", orientation)
        expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
        upright = load_picture(Image.open(io.BytesIO(content)))
        assert np.array_equal(np.asarray(upright), expected)
        assert np.array_equal(np.asarray(load_picture(upright)), expected)  # given back, it is not turned again
        assert np.array_equal(np.asarray(picture_files.open_picture(content).pixels), expected)


def test_bombs_take_no_memory(tmp_path):
    bombs = [tmp_path / name for name in REFUSED if "000x" in name or "16383" in name]
    for path in bombs:
        path.write_bytes(REFUSED[path.name][0])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in bombs:
        with pytest.raises(BadPictureError):
            CDEImageProcessor(size=32)(path, path)
        with pytest.raises(ValueError, match="of pair p1"):
            PairTransform((8, 8), crop="none").pixel_values(path.read_bytes(), path.read_bytes(), pair_id="p1")
    assert len(bombs) == 3 and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KB


def test_what_never_ends_is_no_picture(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in ("/dev/zero", tmp_path / "pipe.png"):
        with pytest.raises(BadPictureError, match="(zero|pipe.png) cannot be read as an image: it is a device"):
            load_picture(path)


def test_pictures_of_other_shapes_are_told():
    processor = CDEImageProcessor(size=16)
    with pytest.warns(UserWarning, match="differ in shape, 32x24 pixels before and 24x32 after"):
        processor(Image.new("RGB", (32, 24)), Image.new("RGB", (24, 32)))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": "big"}, "size must be a side"),
        ({"size": {"height": -3, "width": 4}}, "size must be a side, .* from 1 to 16384, not"),
        ({"size": 10**7}, "size must be a side, .* from 1 to 16384, not"),
        ({"image_mean": "x"}, "image_mean must be a number or three"),
        ({"image_mean": [0.5]}, "image_mean must be a number or three"),
        ({"image_std": [0.5, float("nan"), 0.5]}, "image_std must be a number or three"),
        ({"image_std": 0}, "image_std must be above 0"),
        ({"resample": 99}, "resample must be"),
        ({"rescale_factor": "x"}, "rescale_factor must be"),
    ],
)
def test_settings_of_a_processor(settings, words):
    with pytest.raises(ValueError, match=f"CDEImageProcessor.{words}"):
        CDEImageProcessor(**settings)


# Data sets


def changed(rows, **cells):
    """The rows with one cell of some columns replaced, in the third row; pictures stay encoded."""
    table = rows.with_format("arrow")[:]
    for column, value in cells.items():
        place = table.column_names.index(column)
        values = table[column].to_pylist()
        values[2] = value
        floats = column == "box" and value is not None and any(isinstance(item, float) for item in value)
        kind = pa.list_(pa.float64(), 4) if floats else table.schema.field(column).type
        table = table.set_column(place, column, pa.array(values, kind))
    features = dict(rows.features)
    if "box" in cells:
        features["box"] = datasets.Features.from_arrow_schema(table.schema.remove_metadata())["box"]
    return datasets.Dataset(table.replace_schema_metadata(None), info=datasets.DatasetInfo()).cast(
        datasets.Features(features)
    )


BAD_CELLS = [
    ({"action": None}, "the action of pair [\\w-]+ is missing; it must be one of the 4 classes"),
    ({"action": 9}, "the action of pair [\\w-]+ is 9"),
    ({"action": -1}, "the action of pair [\\w-]+ is -1"),
    ({"object": 99}, "the object of pair [\\w-]+ is 99; it must be one of the 10 classes, 0 to 9"),
    ({"pair_id": None}, "row 2 has no pair_id"),
    ({"pair_id": ""}, "row 2 has no pair_id"),
    ({"before": None}, "the picture 'before' of pair [\\w-]+ is missing"),
    ({"box": None}, "has no box for the single view to crop to"),
    ({"box": [5, 0, 4, 3]}, "the box \\[5, 0, 4, 3\\] of pair [\\w-]+ is invalid; it must be four whole numbers"),
    ({"box": [0.0, 0.0, float("nan"), 3.0]}, "the box .*nan.* of pair [\\w-]+ is invalid"),
    ({"box": [0.0, 0.0, float("inf"), 3.0]}, "the box .*inf.* of pair [\\w-]+ is invalid"),
    ({"box": [0, 0, 500, 3]}, "box .* of pair [\\w-]+ is not inside its picture of 32x32"),
    ({"before": {"bytes": b"text", "path": None}}, "'before' of pair [\\w-]+ cannot be read as an image"),
    (
        {"before": {"bytes": None, "path": "/dev/zero"}},
        "names a file instead of containing the picture \\('/dev/zero'\\)",
    ),
    ({"after": {"bytes": None, "path": "http://192.0.2.1/a.png"}}, "names a file instead of containing the picture"),
    (
        {"after": {"bytes": bad_pictures.encoded(Image.new("RGB", (32, 31))), "path": None}},
        "pictures of pair [\\w-]+ have different sizes, \\(32, 32\\) before and \\(32, 31\\) after",
    ),
]


@pytest.mark.parametrize(("cells", "words"), BAD_CELLS)
def test_a_bad_row_is_named_before_training(splits, cells, words):
    with pytest.raises(ValueError, match=f"^data/mine, test: .*{words}"):
        check_splits({"test": changed(splits["test"], **cells)}, "data/mine", boxes_needed=True)


def test_splits_of_no_use_are_named(splits):
    def check(**parts):
        few = {name: splits[name] for name in ("train", "test")}
        check_splits({**few, **parts}, "data/mine", boxes_needed=True)

    train = splits["train"]
    with pytest.raises(ValueError, match="data/mine, test: the split has no pairs"):
        check(test=splits["test"].select([]))
    with pytest.raises(ValueError, match="train has only the action 'open'"):
        check(train=train.select([row for row, action in enumerate(train["action"]) if action == 3]))
    with pytest.raises(ValueError, match="train has only the action"):
        check(train=train.select([0]))
    with pytest.raises(ValueError, match=f"the pair {train[0]['pair_id']!r} is in train and in test"):
        check(test=train.select([0, 1]))
    with pytest.raises(ValueError, match=f"the pair_id {train[0]['pair_id']!r} occurs twice"):
        check(train=train.select([0, 0, 1, 2]))
    turned = datasets.ClassLabel(names=train.features["action"].names[::-1])
    with pytest.raises(ValueError, match="test and train have different classes of action"):
        check(test=splits["test"].cast_column("action", turned))
    check(test=splits["test"].select([0]))  # one pair is enough to evaluate on


def with_number_ids(table):
    numbers = pa.array(range(len(table)))
    return table.set_column(table.column_names.index("pair_id"), "pair_id", numbers)


BAD_FILES = {
    "empty file": (lambda path: path.write_bytes(b""), "cannot be read as Parquet"),
    "text": (lambda path: path.write_text("PAR1 no, text"), "cannot be read as Parquet"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-500]), "cannot be read as Parquet"),
    "no pairs": (
        lambda path: parquet.write_table(parquet.read_table(path).slice(0, 0), path),
        "the split 'train' has no pairs",
    ),
    "no column": (
        lambda path: parquet.write_table(parquet.read_table(path).drop_columns(["after"]), path),
        "train-00000-of-00001.parquet: the column after is missing",
    ),
    "ids that are numbers": (
        lambda path: parquet.write_table(with_number_ids(parquet.read_table(path)), path),
        "train-00000-of-00001.parquet: the column pair_id is .*int64.* must be text",
    ),
    "no class names": (
        lambda path: parquet.write_table(parquet.read_table(path).replace_schema_metadata(None), path),
        "train-00000-of-00001.parquet: the column before is .* must be Image",
    ),
    "broken class names": (
        lambda path: parquet.write_table(
            parquet.read_table(path).replace_schema_metadata({b"huggingface": b"{"}), path
        ),
        "cannot be read as Parquet",
    ),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_files_of_a_data_set_are_named(kind, data, tmp_path):
    spoil, words = BAD_FILES[kind]
    folder = tmp_path / "data"
    (folder / "single").mkdir(parents=True)
    (folder / "README.md").write_bytes((data / "README.md").read_bytes())
    for path in (data / "single").glob("*.parquet"):
        (folder / "single" / path.name).write_bytes(path.read_bytes())
    spoil(next((folder / "single").glob("train-0*.parquet")))
    with pytest.raises(ValueError, match=words) as said:
        load_shifts(str(folder))
    assert "\n" not in str(said.value)


def test_a_head_of_a_readme_that_is_no_yaml(data, tmp_path):
    (tmp_path / "README.md").write_text("---\nconfigs: [\n---\n")
    path = next((data / "single").glob("train-0*.parquet"))
    (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="the header of its README.md is not YAML"):
        load_shifts(str(tmp_path))


@pytest.mark.parametrize("elsewhere", ["../other/train-", "/etc/train-", "http://192.0.2.1/train-", "zip://x::train-"])
def test_a_readme_that_names_files_elsewhere(data, tmp_path, elsewhere):
    text = (data / "README.md").read_text().replace("single/train-", elsewhere)
    (tmp_path / "README.md").write_text(text)
    path = next((data / "single").glob("train-0*.parquet"))
    (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match=f"its README.md names '{elsewhere}.*which is outside the folder"):
        load_shifts(str(tmp_path))


def test_other_actions_than_the_models_are_not_evaluated(splits, tmp_path):
    model = tiny_cde("vit", id2label={0: "shut", 1: "break"})
    with pytest.raises(
        ValueError, match="data set has clean, close, dirty, open, but the model has shut, break; rename"
    ):
        evaluate_splits(model, {"test": splits["test"]}, PairTransform((32, 32)), tmp_path)
    assert not list(tmp_path.iterdir())


# Checkpoints


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_cde("vit").save_pretrained(folder)
    return folder


@pytest.fixture
def copy(checkpoint, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((checkpoint / name).read_bytes())
    return tmp_path


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(copy, value):
    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if "projector" in name)
    weights[name].view(-1)[0] = value
    save_file(weights, copy / "model.safetensors")
    for kind in (CDEForActionClassification, CDEModel):
        with pytest.raises(ValueError, match=f"the weight {name.removeprefix('cde.')}|{name} holds NaN or infinity"):
            kind.from_pretrained(copy)


def test_weights_that_are_missing_left_over_cut_or_of_another_shape(copy):
    file = copy / "model.safetensors"
    weights, content = load_file(file), file.read_bytes()
    for size in (0, 7, 100, len(content) - 1):
        file.write_bytes(content[:size])
        with pytest.raises(OSError, match="has damaged or truncated weights"):
            CDEForActionClassification.from_pretrained(copy)
    for name in ("classifier.weight", next(name for name in weights if "layer" in name)):
        save_file({key: value for key, value in weights.items() if key != name}, file)
        with pytest.raises(ValueError, match=f"lacks the weight {name}"):
            CDEForActionClassification.from_pretrained(copy)
    save_file(weights | {"cde.backbone.further": torch.ones(1)}, file)
    with pytest.raises(ValueError, match="no place in its configuration for the weight cde.backbone.further"):
        CDEForActionClassification.from_pretrained(copy)
    save_file(weights | {"classifier.bias": torch.ones(7)}, file)
    with pytest.raises(ValueError, match=r"classifier.bias is \(7,\), not \(3,\)"):
        CDEForActionClassification.from_pretrained(copy)


# Commands


def test_commands_end_with_one_sentence(data, copy, tmp_path, capsys, monkeypatch):
    """train.py, evaluation, cards and analysis: status, words, no trace, nothing written."""
    import runpy

    from modeling_cde.analysis.__main__ import main as analyse
    from modeling_cde.cards.__main__ import main as card
    from modeling_cde.evaluation.__main__ import main as evaluate

    train = runpy.run_path(str(ROOT / "train.py"))["main"]
    bad, output = tmp_path / "bad.yaml", tmp_path / "output"
    bad.write_text("seed: 1\nseed: 2\n")
    (tmp_path / "metrics.json").write_bytes(b"\xff\xfe")
    (tmp_path / "deltas.safetensors").write_bytes(b"")
    (copy / "model.safetensors").write_bytes(b"cut")
    evaluated = ["--model", str(copy), "--data", str(data), "--output", str(output)]
    for command, arguments, status, words in (
        (train, ["--config", str(bad)], None, "bad.yaml at line 2: not plain YAML (the key 'seed' twice)"),
        (train, ["--backbone", "a/b", "--seed", "yes"], 2, "argument --seed: invalid int value: 'yes'."),
        (train, ["--backbone", "a/b", "--weight_decay", "nan"], None, "weight_decay must be a finite number"),
        (evaluate, evaluated, None, "has damaged or truncated weights"),
        (evaluate, [*evaluated, "--batch_size", "0"], None, "--batch_size must be at least 1"),
        (card, [str(tmp_path)], None, "is not JSON"),
        (analyse, [str(tmp_path)], 1, "metrics.json has no scores of any split"),
    ):
        with pytest.raises(SystemExit) as stopped:
            command(arguments)
        code, err = stopped.value.code, capsys.readouterr().err
        said = err if isinstance(code, int) else str(code)
        assert words in said and "Traceback" not in said and len(said.strip().splitlines()) == 1, said
        assert code == status or (status is None and isinstance(code, str))
        assert not output.exists()
