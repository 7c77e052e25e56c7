"""What the demo computes and says, without a browser."""

import base64
import dataclasses
import io
import json
import re
import shutil
import socket
import urllib.request
from html.parser import HTMLParser

import comparison
import drawing
import numpy as np
import pytest
import torch
from app import build, configured, crop_shown, launch, main, run
from checkpoint import Checkpoint
from given_pictures import WrongPicture, open_pair
from PIL import Image

from modeling_cde import CDEImageProcessor
from modeling_cde.evaluation.gallery import GALLERY_FILE, read_gallery
from modeling_cde.models.methods import METHODS
from modeling_cde.models.pictures_cde import MOST_PIXELS
from modeling_cde.models.rejection_cde import set_thresholds
from modeling_cde.training.new_model import options_from_data
from tests.drawn_pairs import ACTIONS, OBJECTS
from tests.space.tiny_checkpoints import draw_pair, save_sure_model, train_rows
from tests.tiny_models import IMAGE, backbone_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures, and a checkpoint of each mode that says "open" of them."""
    root = tmp_path_factory.mktemp("demo")
    pictures = draw_pair(root)
    rows = train_rows(root / "data")
    for mode in ("patch", "global", "change"):
        save_sure_model(root / mode, rows, pictures, mode)
    metrics = {
        "splits": {"test": {"accuracy": 0.75}, "validation": {"accuracy": 0.5}},
        "training": {"arguments": {"view": "single"}},
    }
    (root / "patch" / "metrics.json").write_text(json.dumps(metrics))
    return root


@pytest.fixture(scope="module")
def pair(folder):
    return folder / "closed.png", folder / "opened.png"


@pytest.mark.parametrize("mode", ["global", "patch", "change"])
def test_a_reading_is_the_models_and_turns_round_when_swapped(folder, pair, mode):
    checkpoint = Checkpoint.load(str(folder / mode))
    model = checkpoint.pipeline.model
    before, after, note = open_pair(*map(str, pair))
    reading, swapped = checkpoint.read(before, after), checkpoint.read(after, before)
    outputs = model(**CDEImageProcessor(size=IMAGE)(before, after))
    expected = outputs.logits[0].softmax(-1)
    assert note is None and list(reading.probabilities)[0] == "open" and list(swapped.probabilities)[0] == "close"
    assert reading.probabilities == pytest.approx({name: expected[i].item() for i, name in enumerate(ACTIONS)})
    assert torch.allclose(torch.tensor(reading.delta), outputs.delta[0, 0], atol=1e-6)
    assert reading.delta == pytest.approx([-value for value in swapped.delta])
    if mode == "change":
        expected = outputs.patch_weights.reshape(4, 4)
        assert torch.allclose(torch.tensor(reading.weights), expected, atol=1e-6)
        assert torch.allclose(torch.tensor(swapped.weights), expected, atol=1e-6)
        assert reading.weights_boxes == ([0, 0, 63, 47], [0, 0, 63, 47])
    else:
        assert reading.weights is None and reading.weights_boxes is None
    if mode != "patch":
        assert reading.patches is None
        return
    assert len(reading.patches) == 4
    for patch, index in zip(reading.patches, outputs.patch_indices[0, 0].tolist(), strict=True):
        row, column = divmod(index, 4)
        assert patch["box"] == [16 * column, 12 * row, 16 * column + 15, 12 * row + 11]  # of 64 x 48 pixels


def test_every_method_loads_but_the_one_that_needs_masks(tmp_path, pair):
    for name, method in METHODS.items():
        options = options_from_data(method.config_class, ACTIONS, OBJECTS)
        model = method.model_class.from_backbone(backbone_config("vit"), **options)
        model.save_pretrained(tmp_path / name)
        CDEImageProcessor(size=IMAGE).save_pretrained(tmp_path / name)
        if name == "oracle_mask":
            with pytest.raises(ValueError, match="needs masks of the target"):
                Checkpoint.load(str(tmp_path / name))
            continue
        checkpoint = Checkpoint.load(str(tmp_path / name))
        message, probabilities, *panels = run(checkpoint, *map(str, pair))
        assert message == "" and sum(probabilities.values()) == pytest.approx(1), name
        assert "no gallery.parquet" in panels[1] and "no gallery.parquet" in panels[2]
        kind = model.config.model_type
        told = "CDE, global" if kind == "cde" else f"baseline `{kind.removeprefix('cde-')}`"
        assert told in checkpoint.description()


@pytest.mark.parametrize("mode", ["global", "patch", "change"])
def test_the_page_says_in_words_that_no_action_happened(folder, pair, mode):
    checkpoint = Checkpoint.load(str(folder / mode))
    message, probabilities, *_ = run(checkpoint, str(pair[0]), str(pair[0]))
    assert "Nothing changed between the two pictures" in message
    assert next(iter(probabilities.items())) == ("nothing changed", 1.0) and probabilities["open"] == 0
    model = checkpoint.pipeline.model
    set_thresholds(model, torch.zeros(len(ACTIONS), 16), 0.0, 0.5)
    message, probabilities, *_ = run(checkpoint, *map(str, pair))
    assert "Something changed, but it is not like any action" in message
    assert next(iter(probabilities)) == "something else" and len(probabilities) == len(ACTIONS) + 1


def test_the_description_says_what_was_loaded(folder):
    text = Checkpoint.load(str(folder / "patch")).description()
    assert "keeps the 4 patches" in text and "local folder" in text and "clean, close, dirty, open" in text
    assert "IID 0.750" in text and "0.500" not in text and "crop your pictures" in text
    plain = Checkpoint.load(str(folder / "global")).description()
    assert "one delta for the whole picture" in plain and "metrics.json" not in plain


def test_cosines_and_neighbours_are_those_of_the_definition(folder):
    gallery = read_gallery(folder / "global" / GALLERY_FILE)
    against = comparison.Comparison(gallery)
    new = torch.randn(16, generator=torch.Generator().manual_seed(0))
    cosines = against.action_cosines(new.tolist())
    deltas = {name: [] for name in ACTIONS}
    for row in gallery:
        deltas[ACTIONS[row["action"]]].append(torch.tensor(row["delta"]))
    for name, own in deltas.items():
        mean = sum(own) / len(own)
        assert cosines[name] == pytest.approx((mean @ new / mean.norm() / new.norm()).item(), abs=1e-5)
    assert list(cosines.values()) == sorted(cosines.values(), reverse=True)
    all_cosines = {
        row["pair_id"]: (torch.tensor(row["delta"]) @ new / torch.tensor(row["delta"]).norm() / new.norm()).item()
        for row in gallery
    }
    nearest = against.nearest(new.tolist(), 5)
    assert [one.pair_id for one in nearest] == sorted(all_cosines, key=lambda key: -all_cosines[key])[:5]
    assert [one.cosine for one in nearest] == pytest.approx(sorted(all_cosines.values(), reverse=True)[:5], abs=1e-5)
    assert against.action_cosines([0.0] * 16) == {} and against.nearest([0.0] * 16, 5) == []


def test_wrong_pictures_get_a_sentence_and_no_results(folder, pair, tmp_path):
    checkpoint = Checkpoint.load(str(folder / "global"))
    good = str(pair[0])
    text, cut, empty, large = (tmp_path / name for name in ("text.png", "cut.png", "empty.png", "large.png"))
    text.write_text("this is no picture")
    cut.write_bytes(pair[1].read_bytes()[:120])
    empty.touch()
    Image.new("1", (10_000, MOST_PIXELS // 10_000 + 1)).save(large)
    Image.new("RGB", (48, 64)).save(tall := tmp_path / "tall.png")
    for before, after, said in (
        (None, None, "The picture before and the picture after are missing"),
        (good, None, "The picture after is missing"),
        (None, good, "The picture before is missing"),
        (str(text), good, "The picture before cannot be read as an image: it is damaged, or in no picture format that"),
        (good, str(cut), "The picture after cannot be read as an image: it is damaged"),
        (good, str(empty), "The picture after cannot be read as an image: it is empty. Choose another picture."),
        (good, str(large), "cannot be read as an image: it has 10000x6401 pixels, and at most 64 million"),
        (good, str(tall), "The pictures differ in shape: before has 64 x 48 pixels, after 48 x 64."),
    ):
        message, *rest = run(checkpoint, before, after)
        assert said.replace("'", "&#x27;") in message and 'role="alert"' in message
        assert rest == [None, "", "", ""]
        with pytest.raises(WrongPicture, match=re.escape(said)):
            open_pair(before, after)


def posted(address, function, *paths):
    """What the server says when a request names these paths itself."""
    data = json.dumps({"data": paths, "fn_index": function, "session_hash": "x"}).encode()
    request = urllib.request.Request(f"{address}gradio_api/run/predict", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def test_a_request_reads_no_file_of_the_server_that_was_not_uploaded(folder, pair, tmp_path, monkeypatch):
    """Whatever it says of the file: pictures, other files and none at all get the same answer."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    fetched = []
    monkeypatch.setattr("gradio.processing_utils.async_ssrf_protected_download", lambda url, **_: fetched.append(url))
    page = build(Checkpoint.load(str(folder / "global")))
    address = launch(page, prevent_thread_lock=True, quiet=True)[1]
    with urllib.request.urlopen(f"{address}config") as answer:
        functions = {one["api_name"]: one["id"] for one in json.load(answer)["dependencies"] if one["backend_fn"]}
    assert {"run", "run_swapped", "run_pair"} <= set(functions)
    meta = {"meta": {"_type": "gradio.FileData"}}
    (tmp_path / "gradio" / "link.png").symlink_to(pair[0])
    elsewhere = [pair[0], tmp_path / "nowhere.png", "/etc/hostname", "app.py", tmp_path / "gradio", "/", "", "a\0b"]
    elsewhere += [
        tmp_path / "gradio" / "link.png",
        tmp_path / "gradio" / ".." / "nowhere.png",
        "https://192.0.2.1/a.png",
    ]
    for name in ("run", "run_swapped", "run_pair"):
        answers = {posted(address, functions[name], *[{"path": str(path)}] * 2) for path in elsewhere}
        said = {re.sub(r'"(average_)?duration":[^,]*,', "", answer) for answer in answers}
        assert len(said) == 1, said
        assert 'role=\\"alert\\">The picture before was not uploaded here: choose a picture.</p>' in said.pop()
        for path in (*elsewhere[:8], "https://192.0.2.1/a.png"):
            given = [{"path": str(path), **meta}] * 2
            answer = posted(address, functions[name], *given)
            assert "was not uploaded here" in answer or answer == '{"error":null}', answer
    for path in elsewhere:
        assert "data:image" not in posted(address, functions["load_example"], {"path": str(path)})
    assert not fetched
    example = next((tmp_path / "gradio").rglob("*_before.png"))  # it is no secret
    assert "label" in posted(address, functions["run"], *[{"path": str(example), **meta}] * 2)
    page.close()


def test_another_size_of_the_same_shape_is_told_and_read(folder, pair, tmp_path):
    small = tmp_path / "small.png"
    with Image.open(pair[1]) as picture:
        picture.resize((32, 24)).save(small)
    checkpoint = Checkpoint.load(str(folder / "patch"))
    message, probabilities, shown, *_ = run(checkpoint, str(pair[0]), str(small))
    assert "differ in size: before has 64 x 48 pixels, after 32 x 24" in message and probabilities
    assert 'viewBox="0 0 64 48"' in shown and 'viewBox="0 0 32 24"' in shown
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="(\d+)"', shown)]
    assert widths == [16] * 4 + [8] * 4


def shown_pictures(html):
    """The pictures in a piece of HTML as arrays, and what is said of them."""
    found = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)" alt="([^"]+)">', html)
    return [np.array(Image.open(io.BytesIO(base64.b64decode(data)))) for data, _ in found], [said for _, said in found]


def test_a_heat_map_is_brightest_where_the_pictures_differ(folder, tmp_path):
    before = Image.new("RGB", (64, 48), (120, 120, 120))
    after = before.copy()
    after.paste((250, 20, 20), (48, 12, 64, 24))  # row 1, column 3 of 4 x 4 patches
    for picture, name in ((before, "before"), (after, "after")):
        picture.save(tmp_path / f"{name}.png")
    checkpoint = Checkpoint.load(str(folder / "change"))
    assert "patches that changed more count more" in checkpoint.description()
    html = run(checkpoint, str(tmp_path / "before.png"), str(tmp_path / "after.png"))[2]
    pictures, told = shown_pictures(html)
    assert [picture.shape for picture in pictures] == [(48, 64, 3)] * 2
    assert told[0].startswith("The picture before under a heat map of the weights of its patches: most at 88 % from")
    assert "at 88 % from the left and 38 % from the top, " in told[1]
    brightness = pictures[0].astype(int).sum(axis=2)
    assert brightness[12:24, 48:64].mean() > 1.5 * brightness[24:, :32].mean()
    assert "16 times the average or more" in html and "linear-gradient" in html
    still = run(checkpoint, *[str(tmp_path / "before.png")] * 2)[2]
    pictures, told = shown_pictures(still)
    assert told[1].endswith(": the same everywhere") and np.ptp(pictures[1]) <= 4  # JPEG rounds


def test_a_heat_map_lies_over_the_part_that_the_model_saw():
    weights = [[0.1, 0.1], [0.1, 0.7]]
    wide, narrow = Image.new("RGB", (1200, 400), "grey"), Image.new("RGB", (60, 20), "grey")
    pictures, _ = shown_pictures(drawing.heat_maps(wide, narrow, weights, ([400, 0, 799, 399], [20, 0, 39, 19])))
    for picture, scale in zip(pictures, (0.4, 1 / 20), strict=True):
        row, column = np.unravel_index(picture.astype(int).sum(axis=2).argmax(), picture.shape[:2])
        assert 200 <= (row + 0.5) / scale <= 400 and 600 <= (column + 0.5) / scale <= 800, scale
    assert pictures[0].shape == (160, 480, 3)


def test_a_pair_without_a_difference_points_nowhere(folder, pair):
    message, probabilities, shown, bars, near = run(Checkpoint.load(str(folder / "global")), str(pair[0]), str(pair[0]))
    assert "delta is zero" in bars and "delta is zero" in near and "whole picture" in shown


def test_names_are_text_and_not_html():
    class Tags(HTMLParser):
        seen: set[str] = set()

        def handle_starttag(self, tag, attrs):
            self.seen.add(tag)

    evil = '<script>alert("1")</script>'
    black = Image.new("RGB", (4, 4))
    pieces = [
        drawing.bars({evil: 0.5}, 3),
        drawing.nearest([comparison.Neighbour(black, black, evil, evil, evil, 0.1)]),
        drawing.message(evil),
    ]
    tags = Tags()
    tags.feed("".join(pieces))
    assert "script" not in tags.seen and "table" in tags.seen and "img" in tags.seen


def test_names_are_text_and_not_markdown(folder):
    found = Checkpoint.load(str(folder / "global"))
    names = {0: "![x](http://192.0.2.1/a.png)", 1: "<b>", 2: "c", 3: "d"}
    found.pipeline.model.config.id2label = names
    splits = {"test [a](b)": {"accuracy": 0.5}}
    text = dataclasses.replace(found, name="a`b", metrics={"splits": splits}).description()
    assert (
        "!\\[x\\](http" in text and "\\<b\\>" in text and "``  a`b".replace("  ", " ") in text and "\\[a\\](b)" in text
    )


def test_bars_end_where_their_cosine_says():
    html = drawing.bars({"open": 0.5, "close": -1.0}, 7)
    assert "left:50%;width:25.0%" in html and "right:50%;width:50.0%" in html and "over 7 training pairs" in html


def test_what_cannot_be_loaded_ends_in_one_sentence(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("CDE_MODEL", raising=False)
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        (mixed / name).write_bytes((folder / "global" / name).read_bytes())
    gallery = read_gallery(folder / "global" / GALLERY_FILE)
    gallery.with_format(None).map(lambda row: {"delta": row["delta"][:3]}).to_parquet(str(mixed / GALLERY_FILE))
    odd = tmp_path / "odd"
    shutil.copytree(folder / "patch", odd)
    (odd / "metrics.json").write_text('{"splits": {"test": 3}}')
    for arguments, said in (
        (
            ["--model", str(odd)],
            "metrics.json cannot be used: a file of the run differs from what training, evaluation",
        ),
        ([], "give --model FOLDER or ORG/NAME, or set CDE_MODEL"),
        (["--model", str(tmp_path / "nowhere")], "there is no folder"),
        (["--model", "nowhere"], "there is no folder nowhere"),
        (["--model", str(mixed)], "belongs to another model (3 numbers per delta, here 16"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert said in str(stopped.value) and "\n" not in str(stopped.value)


def test_a_port_that_cannot_be_had_ends_in_one_sentence(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for port in (taken.getsockname()[1], 70_000):
            with pytest.raises(SystemExit, match=f"^space/app.py: port {port} is in use or not available"):
                main(["--model", str(folder / "global"), "--port", str(port)])


def test_the_checkpoint_is_taken_from_the_surroundings(monkeypatch):
    monkeypatch.setenv("CDE_MODEL", "org/name")
    monkeypatch.setenv("CDE_REVISION", "abc")
    assert configured() == ("org/name", "abc")
    monkeypatch.delenv("CDE_REVISION")
    assert configured() == ("org/name", None)
    monkeypatch.delenv("CDE_MODEL")
    assert configured() == (None, None)


def test_a_checkpoint_of_crops_reads_the_crop_of_both_pictures(folder, tmp_path):
    """The object in the right lower quarter of a large picture, cropped by sliders, reads as by its box."""
    checkpoint = Checkpoint.load(str(folder / "global"))
    assert not checkpoint.reads_crops
    pictures = []
    for name in ("closed", "opened"):
        large = Image.new("RGB", (160, 120), (10, 90, 30))
        large.paste(Image.new("RGB", (80, 60), (240, 240, 240) if name == "closed" else (20, 20, 20)), (80, 60))
        large.save(tmp_path / f"{name}.png")
        pictures.append(large)
    files = [str(tmp_path / f"{name}.png") for name in ("closed", "opened")]
    found = run(checkpoint, *files, 50, 50, 100, 100)[1]
    assert found == checkpoint.read(*pictures, [80, 60, 159, 119]).probabilities
    assert found != run(checkpoint, *files)[1] == run(checkpoint, *files, 0, 0, 100, 100)[1]
    assert "The crop is empty" in run(checkpoint, *files, 60, 0, 60, 100)[0]
    assert 'd="M0 0h160v120h-160zM80 60h80v60h-80z"' in crop_shown(files[0], 50, 50, 100, 100)
    assert crop_shown(None, 0, 0, 100, 100) == ""


def test_only_a_page_of_a_checkpoint_of_crops_has_the_crop_tool(folder):
    checkpoint = Checkpoint.load(str(folder / "global"))
    of_crops = dataclasses.replace(checkpoint, metrics={"training": {"arguments": {"view": "single"}}})
    labels = [
        [block.label for block in build(one).blocks.values() if hasattr(block, "label")]
        for one in (checkpoint, of_crops)
    ]
    assert "Left, %" not in labels[0] and {"Left, %", "Top, %", "Right, %", "Bottom, %"} <= set(labels[1])
