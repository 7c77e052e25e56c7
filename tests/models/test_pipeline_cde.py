"""pipeline("action-classification"): kinds of input, scores, errors."""

import json
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModel, pipeline

from modeling_cde import (
    ActionClassificationPipeline,
    CDEForActionClassification,
    CDEImageProcessor,
    ConcatenationForActionClassification,
)
from modeling_cde.models.threads_cde import InThreads
from tests.tiny_models import backbone_config, tiny_cde


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8))


X, Y = picture(0), picture(1)
AUTO_CLASSES = (AutoConfig, AutoModel, AutoImageProcessor)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint")
    tiny_cde("vit", delta_mode="patch").save_pretrained(path)
    CDEImageProcessor(size=32).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def pipe(folder):
    return pipeline("action-classification", model=str(folder), device="cpu")


def test_scores_are_the_models(pipe, folder):
    assert type(pipe.model) is CDEForActionClassification
    model = CDEForActionClassification.from_pretrained(folder)
    with torch.no_grad():
        scores = model(**CDEImageProcessor.from_pretrained(folder)(X, Y)).logits.softmax(dim=-1)[0]
    found = pipe(X, Y)
    assert {item["label"] for item in found} == {"open", "close", "break"}
    for item in found:
        assert item["score"] == pytest.approx(scores[model.config.label2id[item["label"]]].item(), abs=1e-5)
    assert [item["score"] for item in found] == sorted((item["score"] for item in found), reverse=True)
    assert pipe(X, Y, top_k=1) == found[:1]


def test_kinds_of_input(pipe, tmp_path):
    X.save(tmp_path / "x.png")
    Y.save(tmp_path / "y.png")
    single = pipe(X, Y)
    other = pipe(Y, X)
    assert pipe(str(tmp_path / "x.png"), str(tmp_path / "y.png")) == single
    assert pipe(np.array(X), np.array(Y)) == single
    assert pipe((X, Y)) == pipe({"before": X, "after": Y}) == single
    size = X.size
    stacks = [np.stack([np.array(image.resize(size)) for image in images]) for images in ((X, Y), (Y, X))]
    assert len(pipe(*stacks)) == len(pipe(*map(torch.from_numpy, stacks))) == 2
    for several in (pipe([(X, Y), (Y, X)]), pipe([X, Y], [Y, X]), pipe([(X, Y), (Y, X)], batch_size=2)):
        for found, expected in zip(several, [single, other], strict=True):
            assert [item["label"] for item in found] == [item["label"] for item in expected]
            assert [i["score"] for i in found] == pytest.approx([i["score"] for i in expected], abs=1e-5)


def close(found, expected):
    """Compares answers of any nesting; numbers to five places, as batches round in another order."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        return all(close(found[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    return found == (pytest.approx(expected, abs=1e-5) if isinstance(expected, float) else expected)


def test_deltas_and_patches_are_the_models(pipe, folder):
    model = CDEForActionClassification.from_pretrained(folder)
    with torch.no_grad():
        outputs = model(**CDEImageProcessor.from_pretrained(folder)(X, Y))
    plain, found = pipe(X, Y), pipe(X, Y, return_delta=True, return_patches=True)
    assert close(found["actions"], plain)
    assert close(found["delta"], outputs.delta[0, 0].tolist())
    assert close([item["norm"] for item in found["patches"]], outputs.patch_delta[0, 0].norm(dim=-1).tolist())
    for item, index in zip(found["patches"], outputs.patch_indices[0, 0].tolist(), strict=True):
        row, column = divmod(index, 4)  # 4x4 patches of an image of 50x40 pixels
        assert item["box"] == [column * 50 // 4, row * 10, -(-(column + 1) * 50 // 4) - 1, row * 10 + 9]
        assert set(item) == {"box", "norm"}
    assert set(pipe(X, Y, return_delta=True)) == {"actions", "delta"}
    assert set(pipe(X, Y, return_patches=True, top_k=1)) == {"actions", "patches"}
    small = Y.resize((25, 20))
    for item in pipe(X, small, return_patches=True)["patches"]:
        assert 0 <= item["box"][0] <= item["box"][2] < 25 and item["before_box"][2] > item["box"][2]


def changed_at(row, column, size=(50, 40)):
    """A picture, and a copy that differs in one of 4x4 cells."""
    after = np.array(X.resize(size))
    height, width = after.shape[0] // 4, after.shape[1] // 4
    after[row * height : (row + 1) * height, column * width : (column + 1) * width] = 255
    return X.resize(size), Image.fromarray(after)


def weighing(processor, **options):
    model = tiny_cde(options.pop("family", "vit"), pooling="change", **options)
    return ActionClassificationPipeline(model=model, image_processor=processor, device="cpu")


def test_weights_are_the_models_in_rows_and_columns():
    pipe = weighing(CDEImageProcessor(size={"height": 16, "width": 48}), family="resnet")
    found = pipe(X, Y, return_patches=True)
    with torch.no_grad():
        expected = pipe.model(**pipe.image_processor(X, Y)).patch_weights
    assert close(found["weights"], expected.reshape(2, 6).tolist())
    assert sum(map(sum, found["weights"])) == pytest.approx(1)
    assert found["weights_box"] == [0, 0, 49, 39] and set(found) == {"actions", "weights", "weights_box"}
    several = pipe([(X, Y), (Y, picture(2))], return_patches=True, batch_size=2)
    assert close(several[0], found) and not close(several[1]["weights"], found["weights"])


@pytest.mark.parametrize("place", [(0, 0), (1, 3), (3, 1)])
def test_the_weight_is_largest_where_the_picture_changed(place):
    # Layer 0 is the patch embedding, in which no patch has seen another.
    pipe = weighing(CDEImageProcessor(size=32), feature_layers=[0])
    before, after = changed_at(*place, size=(64, 32))
    weights = np.array(pipe(before, after, return_patches=True)["weights"])
    assert weights.shape == (4, 4) and np.unravel_index(weights.argmax(), weights.shape) == place
    still = np.array(pipe(before, before, return_patches=True)["weights"])
    assert still == pytest.approx(np.full((4, 4), 1 / 16))


def test_weights_lie_over_what_the_centre_crop_leaves():
    cropping = CDEImageProcessor(size={"shortest_edge": 40}, do_center_crop=True, crop_size=32)
    pipe = weighing(cropping, feature_layers=[0])
    before, after = X.resize((80, 40)), np.array(X.resize((80, 40)))
    after[4:12, 48:56] = 255  # the centre is 24 to 56, 4 to 36, so this is the last cell of its first row
    found = pipe(before, Image.fromarray(after), return_patches=True)
    assert found["weights_box"] == [24, 4, 55, 35]
    assert np.array(found["weights"]).argmax() == 3
    small = pipe(before, Image.fromarray(after).resize((40, 20)), return_patches=True)
    assert (small["weights_before_box"], small["weights_box"]) == ([24, 4, 55, 35], [12, 2, 27, 17])


def test_a_batch_answers_as_single_pairs_do(pipe):
    sizes = [(50, 40), (33, 64), (32, 32)]
    pairs = [(picture(i).resize(size), picture(i + 9).resize(sizes[i - 1])) for i, size in enumerate(sizes)]
    rows = [{"before": before, "after": after, "pair_id": "x"} for before, after in pairs]
    options = {"return_delta": True, "return_patches": True, "top_k": 2}
    single = [pipe(*pair, **options) for pair in pairs]
    assert close(pipe(pairs, batch_size=2, **options), single)
    assert close(pipe(rows, batch_size=3, **options), single)
    assert close(list(pipe((row for row in rows), batch_size=2, **options)), single)
    assert pipe([]) == []


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_batch_is_prepared_side_by_side_and_the_next_one_ahead_if_asked(monkeypatch, ahead):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    together, asked = threading.Barrier(2, timeout=10), []

    class Numbers:
        def __getitem__(self, index):
            asked.append(index)
            together.wait()  # fails unless two are asked for at the same time
            return index

    loader = SimpleNamespace(batch_sampler=[[0, 1], [2, 3], [4, 5]], dataset=Numbers(), collate_fn=list)
    for number, batch in enumerate(InThreads(loader, ahead)):
        assert batch == [2 * number, 2 * number + 1]
        expected, began = min(6, 2 * (number + 1 + ahead)), time.monotonic()
        while len(asked) < expected and time.monotonic() < began + 10:  # comes without asking for another batch
            time.sleep(0.001)
        assert len(asked) == expected


def test_neither_a_list_on_the_cpu_nor_a_generator_is_read_ahead(pipe, monkeypatch):
    prepared, seen = [], []
    preprocess, forward = pipe.preprocess, pipe.forward
    monkeypatch.setattr(pipe, "preprocess", lambda item, **more: prepared.append(item) or preprocess(item, **more))
    monkeypatch.setattr(pipe, "forward", lambda *a, **more: seen.append(len(prepared)) or forward(*a, **more))
    expected = pipe([(X, Y)] * 5, batch_size=2)
    assert close(list(pipe(((X, Y) for _ in range(5)), batch_size=2)), expected)
    assert len(expected) == 5 and seen == [2, 4, 5, 7, 9, 10]


def test_a_generator_without_end_is_answered_pair_by_pair(pipe):
    """In batches, and no further than to the end of the batch that the next answer is in."""
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield (X, Y) if asked % 2 else (Y, X)

    forth, back = pipe([(X, Y), (Y, X)])
    answers = iter(pipe(endless(), batch_size=4))
    for number in range(1, 11):
        assert close([next(answers)], [forth if number % 2 else back])
        assert number <= asked <= number + 3


def test_an_error_while_preparing_ends_the_call(pipe, tmp_path):
    threads = threading.active_count()
    with pytest.raises(OSError, match="gone.png cannot be read as an image: there is no such file"):
        pipe([(X, Y)] * 4 + [(X, str(tmp_path / "gone.png"))] + [(X, Y)] * 4, batch_size=2)
    assert threading.active_count() == threads


def test_the_installed_package_runs_its_own_code(folder):
    """Also where remote code is allowed, and though the folder says that it has a pipeline of its own."""
    assert "custom_pipelines" in json.loads((folder / "config.json").read_text())
    for trust in (None, True):
        pipe = pipeline("action-classification", model=str(folder), device="cpu", trust_remote_code=trust)
        parts = {type(pipe), type(pipe.model), type(pipe.model.config), type(pipe.image_processor)}
        parts |= {type(loader.from_pretrained(folder, trust_remote_code=trust)) for loader in AUTO_CLASSES}
        assert all(part.__module__.startswith("modeling_cde.") for part in parts), parts


def test_the_whole_model_is_read_from_the_files_of_the_encoder(folder, tmp_path):
    """An encoder without a classifier beside it gets none out of thin air."""
    encoder = AutoModel.from_pretrained(folder)
    processor = CDEImageProcessor(size=32)
    pipe = ActionClassificationPipeline(model=encoder, image_processor=processor, device="cpu")
    assert type(pipe.model) is CDEForActionClassification and pipe.model.name_or_path == str(folder)
    encoder.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    for model in (str(tmp_path), tiny_cde("vit").cde):
        with pytest.raises(ValueError, match="is an encoder without an action classifier: give the pipeline a"):
            pipeline("action-classification", model=model, image_processor=processor, device="cpu")


def test_wrong_calls_are_answered(pipe):
    for one in (X, "x.png", np.array(X), {"before": X}, [X, Y], (X,)):
        with pytest.raises(TypeError, match=r"instead of a pair of images: call pipe\(before, after\), or pipe\(\["):
            pipe(one)
    for top_k in (0, True):
        with pytest.raises(ValueError, match=f"top_k must be a whole number of at least 1, not {top_k}"):
            pipe(X, Y, top_k=top_k)
    with pytest.raises(ValueError, match=r"shape \(0, 4, 3\) is not an image"):
        pipe(np.zeros((0, 4, 3), np.uint8), Y)
    with pytest.raises(TypeError, match=r"call pipe\(before, after\)"):
        pipe(X)
    with pytest.raises(TypeError, match="as many after as before"):
        pipe([X, Y], [Y])
    with pytest.raises(TypeError, match="no argument 'topk'"):
        pipe(X, Y, topk=3)


def test_the_baseline_has_a_pipeline_too(tmp_path):
    labels = {0: "open", 1: "close", 2: "break"}
    model = ConcatenationForActionClassification.from_backbone(backbone_config("vit"), id2label=labels, delta_dim=8)
    model.save_pretrained(tmp_path)
    CDEImageProcessor(size=32).save_pretrained(tmp_path)
    pipe = pipeline("action-classification", model=str(tmp_path), device="cpu")
    assert type(pipe.model) is ConcatenationForActionClassification
    assert len(pipe(X, Y)) == 3 and len(pipe(X, Y, return_delta=True)["delta"]) == 8
    with pytest.raises(ValueError, match=r'return_patches=True needs a patch-wise model.* with delta_mode="patch"'):
        pipe(X, Y, return_patches=True)
    model = ConcatenationForActionClassification.from_backbone(
        backbone_config("vit"), id2label=labels, pooling="change"
    )
    pipe = ActionClassificationPipeline(model=model, image_processor=CDEImageProcessor(size=32), device="cpu")
    assert np.array(pipe(X, Y, return_patches=True)["weights"]).shape == (4, 4)


def test_what_a_box_shows_is_placed_in_the_whole_picture(pipe):
    """The box is the right upper quarter of a square picture, without room for its margin on two sides."""
    square = Image.new("RGB", (64, 64))
    region = [28, 0, 63, 35]  # 36 pixels: 30, and a margin of a tenth of them on each side, moved inside
    found = pipe(square, square, box=[34, 0, 63, 29], return_patches=True)["patches"]
    for patch in found:
        box = patch["box"]
        assert region[0] <= box[0] <= box[2] <= region[2] and region[1] <= box[1] <= box[3] <= region[3]
    whole = pipe([(square, square)] * 2, box=[[0, 0, 63, 63]] * 2, return_patches=True, batch_size=2)
    assert whole[0] == pipe(square, square, return_patches=True)


@pytest.mark.parametrize(
    ("given", "box", "said"),
    [
        ((X, Y), [0, 0, 50, 39], "not inside its picture of 50x40"),
        ((X, Y), [1, 2, 3], "xmin, ymin, xmax and ymax"),
        ((X, Y), [0.5, 0, 3, 4], "whole numbers"),
        (([(X, Y)],), [1, 2, 3, 4], "4 boxes for 1 pairs"),
        ((X, Image.new("RGB", (25, 20))), [1, 2, 3, 4], "50x40 and 25x20"),
    ],
)
def test_a_wrong_box_is_explained(pipe, given, box, said):
    with pytest.raises(ValueError, match=said):
        pipe(*given, box=box)
