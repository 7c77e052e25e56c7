"""Labels of episodes: what is judged, the copy that LeRobot loads, and the audit."""

import json
import math

import datasets
import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch

from data_scripts.episodes.__main__ import main
from data_scripts.episodes.entries import Episode
from data_scripts.episodes.judgement import Label, judge
from data_scripts.episodes.labelled_copy import COLUMNS
from modeling_cde import CDEImageProcessor
from tests.data_scripts.tiny_lerobot import CAMERA, write_recording
from tests.tiny_models import tiny_cde

EPISODES = [(["open the drawer"], 7), (["close the drawer"], 20), (["do a dance"], 5), (["open the door"], 1)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("robot")
    tiny_cde("vit", segment_cost=1e-4).save_pretrained(folder)
    CDEImageProcessor(size=32).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model():
    made = tiny_cde("vit", segment_cost=2.0)
    with torch.no_grad():
        made.classifier.weight.zero_()
        made.classifier.weight[:3, :3] = torch.eye(3)
        made.classifier.bias.zero_()
    return made


def along(track, dimension):
    """Deltas of states that move in one dimension, which the classifier sees as one action."""
    states = torch.zeros(len(track), 16)
    states[:, dimension] = torch.tensor(track)
    return states[None] - states[:, None]


def test_progress_is_the_share_of_what_is_reached(model):
    seen, success, progress = judge(model, along([0.0, 0.0, 6.0, 12.0], 0), "open", (0, 4, 6, 8))
    assert seen == "open" and success > 0.99
    assert progress == pytest.approx([0, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1])
    seen, success, progress = judge(model, along([0.0, 6.0, 12.0], 0), "close", (0, 1, 2))  # another is done
    assert seen == "open" and success < 0.01 and progress == [0, 0, 0]
    seen, success, progress = judge(model, along([0.0, 6.0, 12.0], 0), "", (0, 1, 2))  # of what is seen
    assert seen == "open" and math.isnan(success) and progress == pytest.approx([0, 0.5, 1])
    seen, success, progress = judge(model, along([0.0, 0.0], 0), "open", (0, 1))
    assert seen == "" and success == pytest.approx(1 / 3) and progress == [0, 0]


def test_what_contradicts_is_another_action_or_none():
    episode = Episode(0, ("open it",), 2, "x", None, 0)

    def contradicts(instructed, seen):
        return Label(episode, instructed, seen, 0.5, (0.0, 1.0)).contradicts

    assert contradicts("open", "close") and contradicts("open", "")
    assert not contradicts("open", "open") and not contradicts("", "open")


@pytest.mark.parametrize("version,kind", [("v2.1", "video"), ("v3.0", "image")])
def test_a_labelled_copy_loads_as_lerobot_loads_it(tmp_path, checkpoint, capsys, version, kind):
    folder, output = write_recording(tmp_path / "recording", version, EPISODES, kind=kind), tmp_path / "labelled"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    audit = tmp_path / "audit.html"
    flags = ["--input", str(folder), "--camera", CAMERA, "--model", str(checkpoint)]
    main(["label", *flags, "--output", str(output), "--audit", str(audit)])
    said = capsys.readouterr().out
    assert "3 episodes labelled; of 2 the model knows the instructed action" in said
    assert "Episode 3: has one frame, so nothing happens." in said
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    info = json.loads((output / "meta" / "info.json").read_text())
    own = {name: info["features"][name] for name in COLUMNS}
    assert all(feature["shape"] == [1] for feature in own.values())
    files = sorted(map(str, (output / "data").rglob("*.parquet")))
    features = datasets.Features.from_arrow_schema(parquet.read_schema(files[0]))
    # LeRobot makes a Value of the dtype of each feature of shape (1,), and gives them to datasets with the files.
    assert {name: features[name].dtype for name in own} == {name: feature["dtype"] for name, feature in own.items()}
    rows = datasets.Dataset.from_parquet(files, features=features, cache_dir=str(tmp_path / "cache"))
    assert len(rows) == sum(length for _, length in EPISODES)
    for number, (_, length) in enumerate(EPISODES):
        table = rows.filter(lambda row, n=number: row["episode_index"] == n).sort("frame_index")
        progress = np.array(table["cde.progress"][:])
        assert len(progress) == length and len(set(table["cde.action"])) == 1
        if number == 3:
            assert set(table["cde.action"]) == {""} and np.isnan(progress).all()
        else:
            assert progress[0] == 0 and ((progress >= 0) & (progress <= 1)).all()
            assert np.isnan(table["cde.success"][:]).all() == (number == 2)
    for path in folder.rglob("*"):  # all else is as it was
        if path.is_file() and path.suffix != ".parquet" and path.name != "info.json":
            assert (output / path.relative_to(folder)).read_bytes() == before[path]

    page = audit.read_text()
    assert "Audit of recording" in page and "of 2 episodes" in page
    wrong = [number for number in (0, 1) if f"Episode {number}" in page]
    assert page.count("data:image/png") == len(wrong)


def test_the_worst_comes_first(tmp_path):
    from PIL import Image

    from data_scripts.episodes.audit import write_audit

    shown = tuple(Image.new("RGB", (8, 6)) for _ in range(3))
    labels = [
        Label(Episode(n, (f"open <{n}>",), 2, "x", None, 0), "open", seen, success, (0.0, 1.0), shown)
        for n, seen, success in ((0, "close", 0.2), (1, "open", 0.9), (2, "", 0.1))
    ]
    write_audit(tmp_path / "audit.html", "kitchen", "runs/robot", labels)
    page = (tmp_path / "audit.html").read_text()
    assert page.index("Episode 2") < page.index("Episode 0") and "Episode 1" not in page
    assert "2 of 3 episodes of kitchen" in page and "open &lt;2&gt;" in page and page.count("data:image/png") == 2


def test_wrong_calls_say_what_is_wrong(tmp_path, checkpoint, capsys):
    folder = write_recording(tmp_path / "recording", "v2.1", EPISODES[:1], kind="image")
    flags = ["label", "--input", str(folder), "--camera", CAMERA, "--model", str(checkpoint)]
    with pytest.raises(SystemExit):
        main(flags)
    assert "give --output, --audit or both" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="exists; give --output a new folder"):
        main([*flags, "--output", str(folder)])
    with pytest.raises(SystemExit, match="lies within"):
        main([*flags, "--output", str(folder / "labelled")])
    main([*flags, "--output", str(tmp_path / "once")])
    with pytest.raises(SystemExit, match="has a column cde.action already: label the original data set"):
        main(["label", "--input", str(tmp_path / "once"), *flags[3:], "--output", str(tmp_path / "twice")])
