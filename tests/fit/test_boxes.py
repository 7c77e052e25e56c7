"""Boxes of one's own pairs: cut out in fit, prediction and pipeline alike, as in training on crops."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from transformers import pipeline

import fit
from modeling_cde.data.transforms import PairTransform
from modeling_cde.fit.command import _about
from tests.fit.conftest import SIDE, draw

BOX = [40, 20, 71, 51]


def framed(picture):
    """A small picture in the corner of a large one that is noise elsewhere."""
    large = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    large[20:52, 40:72] = picture
    return large


@pytest.fixture(scope="module")
def boxed(pairs):
    X, *rest = pairs
    return [{"before": framed(a), "after": framed(b), "box": BOX} for a, b in X], *rest


def test_fit_reads_what_training_on_crops_reads(boxed, classifier):
    X, y, objects, _ = boxed
    classifier.fit(X, y, objects)
    assert classifier.crops_ and classifier.score(X, y) == 1
    whole = [(pair["before"], pair["after"]) for pair in X]
    assert not np.allclose(classifier.encode(X), classifier.encode(whole))
    loaded = classifier._loaded()
    transform = PairTransform.from_processor(loaded.processor, crop="box")
    pictures = [Image.fromarray(X[0][name]) for name in ("before", "after")]
    seen = transform.pixel_values(*pictures, BOX)
    assert seen.equal(loaded.processor(*pictures, box=BOX)["pixel_values"][0])
    some = [X[0], whole[1]]
    with pytest.raises(ValueError, match=r"X\[1\] has no box, though others have one"):
        classifier.fit(some, y[:2])


@pytest.fixture(scope="module")
def table(boxed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("boxed")
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["before", "after", "action", "object", "box"])
        for number, (pair, action, kind, _) in enumerate(zip(*boxed, strict=True)):
            for name in ("before", "after"):
                (folder / "pictures").mkdir(exist_ok=True)
                Image.fromarray(pair[name]).save(folder / "pictures" / f"{number}_{name}.png")
            names = [f"pictures\\{number}_{name}.png" for name in ("before", "after")]  # as Windows writes them
            rows.writerow([*names, action, kind, " ".join(map(str, BOX))])
    return folder / "pairs.csv"


def test_the_command_cuts_boxes_out(table, backbone, store, tmp_path, capsys):
    options = ["--image_size", str(SIDE), "--backbone", backbone, "--feature_store", store]
    fit.main([str(table), "--output", str(tmp_path / "crops"), "--license", "cc-by-4.0", *options])
    assert "Boxes are cut out; --whole reads all of each picture." in capsys.readouterr().out
    fit.main([str(table), "--output", str(tmp_path / "whole"), "--whole", *options])
    assert "The boxes are not used, as --whole says." in capsys.readouterr().out
    found = {name: json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("crops", "whole")}
    assert [found[name]["training"]["arguments"]["view"] for name in found] == ["single", "multi"]
    cards = {name: (tmp_path / name / "README.md").read_text() for name in found}
    assert "pass `box=[xmin, ymin, xmax, ymax]`" in cards["crops"] and "takes whole pictures" in cards["whole"]
    assert "license: cc-by-4.0" in cards["crops"] and "under cc-by-4.0" in cards["crops"]
    assert "license:" not in cards["whole"] and "has stated no licence" in cards["whole"]
    pipe = pipeline("action-classification", model=str(tmp_path / "crops"))
    new = [Image.fromarray(framed(picture)) for picture in draw("open", "box", 3)]
    assert pipe(*new, box=BOX, top_k=1)[0]["label"] == "open"


def test_a_table_in_which_only_some_pairs_have_a_box_is_read_whole(table):
    with table.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    some = table.with_name("some.csv")
    with some.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, rows[0], *([*row[:-1], ""] for row in rows[1:])])
    own = fit.list_pairs(some)
    assert not own.cut_out() and "23 pairs have no box, so pictures are read whole" in "\n".join(_about(own))
