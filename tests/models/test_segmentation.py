"""Clips: deltas of all pairs of frames beside the pair model, segments beside exhaustive search, and the pipeline."""

import sys
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import pipeline

from modeling_cde import CDEForActionClassification, CDEImageProcessor
from modeling_cde.models.limits_cde import MOST_CLIP_FRAMES
from modeling_cde.models.pictures_cde import BadPictureError
from modeling_cde.models.segmentation_cde import all_deltas, best_segments
from tests.tiny_models import clips, tiny_cde

READINGS = {"cls": {}, "change": {"pooling": "change", "feature_layers": [1, 2]}, "patch": {"delta_mode": "patch"}}


def every_segmentation(last):
    """All sets of segments between frames 0 and `last` that do not overlap."""
    edges = list(combinations(range(last + 1), 2))
    found = [[]]
    for number in range(1, last + 1):
        for chosen in combinations(edges, number):
            if all(a[1] <= b[0] for a, b in zip(sorted(chosen), sorted(chosen)[1:], strict=False)):
                found.append(sorted(chosen))
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.floats(0.01, 2), st.sampled_from([None, 1, 2]))
def test_no_other_segmentation_is_better(seed, frames, cost, longest):
    gains = torch.randn(frames, frames, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def value(segments):
        return sum(float(gains[i, j]) - cost for i, j in segments)

    allowed = [s for s in every_segmentation(frames - 1) if longest is None or all(j - i <= longest for i, j in s)]
    best = max(allowed, key=value)
    found = best_segments(gains, cost, longest)
    assert found in allowed
    assert value(found) == pytest.approx(value(best))


def test_segments_of_a_clip_by_hand():
    track = torch.tensor([0.0, 0.0, 1.0, 2.0, 3.0, 3.0, 3.0])  # a gradual action from frame 1 to frame 4
    gains = track[None] - track[:, None]
    assert best_segments(gains, 1.0) == [(1, 4)]
    assert best_segments(gains, 3.0) == []  # what only pays its cost is none
    assert best_segments(gains, 0.5, longest=2) == [(1, 2), (2, 4)] or best_segments(gains, 0.5, 2) == [(1, 3), (3, 4)]
    there_and_back = torch.tensor([0.0, 2.0, 2.0, 0.0])
    gains = (there_and_back[None] - there_and_back[:, None]).abs()
    assert best_segments(gains, 1.0) == [(0, 1), (2, 3)]
    assert best_segments(torch.zeros(1, 1), 1.0) == []


@pytest.mark.parametrize("reading", READINGS)
def test_each_delta_is_that_of_the_pair_alone_and_the_backbone_runs_once(reading):
    model = tiny_cde("vit", **READINGS[reading])
    clip = clips(batch=1, frames=5)[0]
    calls = []
    handle = model.base_model.backbone.register_forward_hook(lambda *_: calls.append(1))
    found = model.compare_frames(clip)
    handle.remove()
    assert len(calls) == 1
    with torch.no_grad():
        for i, j in combinations(range(5), 2):
            expected = model(clip[[i, j]][None]).delta[0, 0]
            assert torch.allclose(found[i, j], expected, atol=1e-5), (i, j)
    assert torch.allclose(found, -found.transpose(0, 1), atol=1e-6)


def test_deltas_add_up_where_states_are_of_a_frame_alone():
    model = tiny_cde("vit")
    found = model.compare_frames(clips(batch=1, frames=6)[0])
    for i, j, k in ((0, 2, 5), (1, 3, 4), (4, 0, 2)):
        assert torch.allclose(found[i, j] + found[j, k], found[i, k], atol=1e-5)


@pytest.mark.parametrize("reading", READINGS)
def test_a_still_clip_has_no_segments(reading):
    model = tiny_cde("vit", **READINGS[reading])
    still = clips(batch=1, frames=1)[0].expand(6, -1, -1, -1)
    delta = model.compare_frames(still)
    assert not delta.any()
    assert model.find_segments(delta, cost=1e-6) == []


@pytest.mark.parametrize("reading", READINGS)
def test_a_clip_in_reverse_has_the_opposite_actions(reading):
    model = tiny_cde("vit", **READINGS[reading])
    with torch.no_grad():  # open and close are opposites for this classifier, and break is nothing that it sees
        model.classifier.weight[1] = -model.classifier.weight[0]
        model.classifier.weight[2] = 0
        model.classifier.bias.zero_()
    clip = clips(batch=1, frames=6)[0]
    forth, back = model.compare_frames(clip), model.compare_frames(clip.flip(0))
    cost = float(model.gains(forth).max()) / 5
    found, reverse = model.find_segments(forth, cost), model.find_segments(back, cost)
    opposite = {"open": "close", "close": "open"}
    assert found
    assert [(s["start"], s["end"], s["label"]) for s in found] == [
        (5 - s["end"], 5 - s["start"], opposite[s["label"]]) for s in reversed(reverse)
    ]
    assert [s["score"] for s in found] == pytest.approx([s["score"] for s in reversed(reverse)], abs=1e-5)


def test_the_score_is_the_answer_of_the_pair_and_a_higher_cost_finds_less():
    model = tiny_cde("vit")
    clip = clips(batch=1, frames=6)[0]
    delta = model.compare_frames(clip)
    many = model.find_segments(delta, cost=1e-3)
    assert many and many == sorted(many, key=lambda one: one["start"])
    for one in many:
        with torch.no_grad():
            chances = model(clip[[one["start"], one["end"]]][None]).logits[0].softmax(dim=-1)
        assert one["score"] == pytest.approx(float(chances[model.config.label2id[one["label"]]]), abs=1e-5)
    assert model.find_segments(delta, cost=1e6) == []
    model.config.segment_cost = 1e-3
    assert model.find_segments(delta) == many
    assert all(one["end"] - one["start"] == 1 for one in model.find_segments(delta, 1e-3, longest=1))


def test_wrong_calls_of_the_model_say_what_is_wrong():
    model = tiny_cde("vit")
    with pytest.raises(ValueError, match=r"has 129 frames, and at most 128 are compared"):
        model.compare_frames(torch.zeros(MOST_CLIP_FRAMES + 1, 3, 32, 32))
    with pytest.raises(ValueError, match=r"one image does not show what happened"):
        model.compare_frames(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match=r"delta has the shape \(2, 3, 16\); give \(T, T, D\)"):
        model.find_segments(torch.zeros(2, 3, 16))
    for cost in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"cost of a segment is {cost}; give a number above 0"):
            model.find_segments(torch.zeros(2, 2, 16), cost)
    with pytest.raises(ValueError, match="longest segment has 0 steps"):
        model.find_segments(torch.zeros(2, 2, 16), 1.0, 0)
    with pytest.raises(ValueError, match="segment_cost must be above 0, not 0"):
        tiny_cde("vit", segment_cost=0)


def test_the_cost_travels_with_the_checkpoint(tmp_path):
    tiny_cde("vit", segment_cost=3.5).save_pretrained(tmp_path)
    assert CDEForActionClassification.from_pretrained(tmp_path).config.segment_cost == 3.5


def picture(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8))


FRAMES = [picture(seed) for seed in (0, 0, 1, 2, 2)]


@pytest.fixture(scope="module")
def pipe(checkpoint):
    return pipeline("action-classification", model=str(checkpoint), device="cpu", segment_cost=1e-3)


def test_the_pipeline_answers_a_clip_of_any_kind(pipe, tmp_path):
    values = torch.stack([pipe.image_processor.process(frame) for frame in FRAMES])
    expected = pipe.model.find_segments(pipe.model.compare_frames(values), 1e-3)
    assert expected and expected[0]["start"] >= 1  # the first two frames are equal
    for number, frame in enumerate(FRAMES):
        frame.save(tmp_path / f"{number}.png")
    paths = sorted(map(str, tmp_path.glob("*.png")))
    rows = [{"bytes": (tmp_path / f"{number}.png").read_bytes(), "path": None} for number in range(5)]
    for clip in (FRAMES, tuple(FRAMES), np.stack([np.array(f) for f in FRAMES]), paths, rows):
        assert pipe(clip) == pipe(frames=clip) == expected
    assert pipe(frames=FRAMES[:2]) == []  # two pictures are a clip only by name
    assert pipe(FRAMES, segment_cost=1e6) == []
    assert all(one["end"] - one["start"] == 1 for one in pipe(FRAMES, longest=1))


def test_a_box_is_looked_at_as_in_pairs(pipe):
    """Only the left half changes, so the right one stays still."""
    frames = [np.zeros((32, 64, 3), np.uint8) for _ in range(4)]
    frames[2][:, :24], frames[3][:, :24] = 255, 255
    assert pipe(frames, box=[44, 8, 59, 23]) == []
    (found,) = pipe(frames, box=[0, 0, 31, 31])
    assert (found["start"], found["end"]) == (1, 2)
    pair = {one["label"]: one["score"] for one in pipe(frames[0], frames[2], box=[0, 0, 31, 31], reject=False)}
    assert found["score"] == pytest.approx(pair[found["label"]], abs=1e-5)
    with pytest.raises(ValueError, match="give xmin, ymin, xmax and ymax"):
        pipe(frames, box=[[0, 0, 31, 31]])


def test_pairs_stay_pairs(pipe):
    pairs = [(FRAMES[0], FRAMES[2])] * 3
    assert len(pipe(pairs)) == 3 and "start" not in pipe(pairs)[0][0]
    assert pipe((FRAMES[0], FRAMES[2])) == pipe(FRAMES[0], FRAMES[2]) == pipe(pairs)[0]
    assert len(pipe(FRAMES[:3], FRAMES[1:4])) == 3
    assert len(pipe([{"before": FRAMES[0], "after": FRAMES[2]}] * 3)) == 3
    with pytest.raises(TypeError, match="instead of a pair of images"):
        pipe([FRAMES[0], FRAMES[1]])
    with pytest.raises(TypeError, match="instead of a pair of images"):
        pipe([pairs[0], pairs[0], FRAMES[0]])


def test_wrong_calls_of_the_pipeline_say_what_is_wrong(pipe, checkpoint, tmp_path):
    for call in (lambda: pipe(), lambda: pipe(FRAMES[0], frames=FRAMES)):
        with pytest.raises(TypeError, match="needs either pairs or frames"):
            call()
    with pytest.raises(TypeError, match="A clip has no image after"):
        pipe(None, FRAMES[0], frames=FRAMES)
    for wrong in (FRAMES[:1], FRAMES[0], "before.png"):
        with pytest.raises(TypeError, match="A clip is a list of at least two images"):
            pipe(frames=wrong)
    with pytest.raises(TypeError, match="A clip takes no top_k: leave it out; there are frames_per_second, longest"):
        pipe(FRAMES, top_k=2)
    with pytest.raises(TypeError, match="longest is of clips, and this is a pair"):
        pipe(FRAMES[0], FRAMES[1], longest=2)
    with pytest.raises(ValueError, match="has 129 frames, and at most 128 are read"):
        pipe(FRAMES[:1] * 129)
    with pytest.raises(ValueError, match="frames_per_second must be a number above 0, not 0"):
        pipe(FRAMES, frames_per_second=0)
    with pytest.raises(BadPictureError, match=r"There is no video 'gone.mp4': give the path of a file"):
        pipe("gone.mp4")
    with pytest.raises(BadPictureError, match="open_paths=True"):
        pipe([{"bytes": None, "path": str(tmp_path / "x.png")}] * 3)
    other = pipeline("action-classification", model=str(checkpoint), device="cpu")
    other.model = other.model.base_model
    with pytest.raises(TypeError, match="CDEModel does not compare frames"):
        other(FRAMES)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Two seconds at ten frames a second: black, then white from the tenth frame on."""
    av = pytest.importorskip("av")
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for number in range(20):
            shade = np.full((64, 64, 3), 255 * (number >= 10), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_video_is_a_clip_with_times(pipe, video):
    """At five frames a second: ten frames, of which 0 to 4 are black."""
    for path in (video, str(video)):
        (found,) = pipe(path)
        assert (found["start"], found["end"]) == (4, 5)
        assert (found["start_seconds"], found["end_seconds"]) == pytest.approx((0.8, 1.0))
    (found,) = pipe(video, frames_per_second=10)
    assert (found["start"], found["end"]) == (9, 10)
    (found,) = pipe(video, frames_per_second=1000)  # there are no more than it has
    assert (found["start_seconds"], found["end_seconds"]) == pytest.approx((0.9, 1.0))
    with pytest.raises(ValueError, match="gives one frame: read more by frames_per_second=1"):
        pipe(video, frames_per_second=0.1)


def test_what_is_wrong_with_a_video_is_said(pipe, video, tmp_path, monkeypatch):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(BadPictureError, match=r"broken.mp4 cannot be read as an MP4"):
        pipe(tmp_path / "broken.mp4")
    from modeling_cde.models import pipeline_inputs_cde

    monkeypatch.setattr(pipeline_inputs_cde, "MOST_CLIP_FRAMES", 5)
    with pytest.raises(BadPictureError, match="has more than 5 frames at 5 a second: give a lower"):
        pipe(video)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match="run `pip install av`"):
        pipe(video)


def test_kept_features_give_the_same_deltas():
    model = tiny_cde("vit", pooling="change", feature_layers=[1, 2])
    clip = clips(batch=1, frames=4)[0]
    with torch.no_grad():
        encoded, _ = model.base_model.reader(model.base_model.backbone, clip)
    assert torch.equal(all_deltas(model.base_model, encoded), model.compare_frames(clip))


def test_the_processor_of_a_clip_is_that_of_pairs():
    processor = CDEImageProcessor(size=32)
    pair = processor(FRAMES[0], FRAMES[2])["pixel_values"][0]
    assert torch.equal(pair, torch.stack([processor.process(FRAMES[0]), processor.process(FRAMES[2])]))
