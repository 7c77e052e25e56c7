"""Models meet data sets whose labels are not theirs: actions are matched by name, in whatever order they are listed."""

import json
import logging

import datasets
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

from modeling_cde import CDEImageProcessor
from modeling_cde.analysis.delta_set import load_delta_sets
from modeling_cde.analysis.doctor.diagnosis import examine_run
from modeling_cde.analysis.report import analyse
from modeling_cde.cards.card_tables import results_table as card_table
from modeling_cde.data.building.build import write_shard
from modeling_cde.data.schema import pair_features
from modeling_cde.data.transforms import PairTransform
from modeling_cde.evaluation.__main__ import main
from modeling_cde.evaluation.action_names import match_actions, own_accuracy, unknown_lines
from modeling_cde.evaluation.evaluate import evaluate_splits, results_table
from modeling_cde.evaluation.gallery import read_gallery
from modeling_cde.features.keep import FeatureKeeper
from modeling_cde.features.store import FeatureStore
from modeling_cde.models.modeling_icm_sms import ICMForActionClassification
from modeling_cde.models.modeling_oracle_mask import OracleMaskForActionClassification
from tests.drawn_pairs import ACTIONS
from tests.tiny_models import backbone_config, tiny_cde

TRANSFORM = PairTransform((32, 32))
MANY = ["break", *ACTIONS, "fill", "empty"]  # a model's actions, of which the drawn pairs have some


@pytest.fixture(scope="module")
def model():
    return tiny_cde("vit", id2label=dict(enumerate(MANY)))


def listing(rows, actions, objects=None, **renamed):
    """The same pairs from a data set that lists other actions: each pair has the action of the same, or a new, name."""
    features = pair_features(actions, objects or rows.features["object"].names)
    listed = []
    for row in rows.with_format(None):
        name = rows.features["action"].int2str(row["action"])
        listed.append(row | {"action": actions.index(renamed.get(name, name))})
    found = datasets.Dataset.from_list(listed, features=features)
    for column in ("before", "after", "mask_before", "mask_after"):  # as load_pairs leaves them
        found = found.cast_column(column, datasets.Image(decode=False))
    return found


def of(rows, *actions):
    names = rows.features["action"].names
    return rows.select([i for i, action in enumerate(rows.with_format(None)["action"]) if names[action] in actions])


def deltas(folder):
    with safe_open(folder / "deltas.safetensors", "pt") as file:
        header = {key: json.loads(value) for key, value in file.metadata().items()}
    return load_file(folder / "deltas.safetensors"), header


def test_actions_in_another_order_give_the_same_predictions(splits, model, tmp_path):
    pairs = of(splits["test"], "open", "dirty")
    listed = {"whole": MANY, "reversed": MANY[::-1], "subset": ["open", "dirty"], "other subset": ["dirty", "open"]}
    found, metrics = {}, {}
    for kind, actions in listed.items():
        rows = {"test": listing(pairs, actions)}
        metrics[kind] = evaluate_splits(model, rows, TRANSFORM, tmp_path / kind, bank=rows["test"])
        tensors, header = found[kind] = deltas(tmp_path / kind)
        assert header["actions"] == MANY and set(header["opposites"]) == set(MANY) - {"break"}
        named = [(row["pair_id"], row["action"]) for row in header["examples"]]
        own = dict(zip(pairs["pair_id"], pairs.features["action"].int2str(pairs["action"]), strict=True))
        assert named and all(own[pair] == action for pair, action in named)
        assert {MANY[label] for label in tensors["test/labels"]} == {"open", "dirty"}
        gallery = read_gallery(tmp_path / kind / "gallery.parquet")
        assert gallery.features["action"].names == MANY
        assert all(own[row["pair_id"]] == MANY[row["action"]] for row in gallery)
    reference, header = found["whole"]
    for kind in listed:
        tensors, described = found[kind]
        assert described == header and tensors.keys() == reference.keys()
        assert all(torch.equal(tensors[key], reference[key]) for key in reference), kind
        scores = dict(metrics[kind]["splits"]["test"])
        assert scores.pop("left_out", None) == (None if kind == "whole" else {})
        if kind == "reversed":
            assert scores["accuracy_own_actions"] == scores["accuracy"]
        assert ("accuracy_own_actions" in scores) == (kind != "whole")
        scores.pop("accuracy_own_actions", None)
        assert scores == metrics["whole"]["splits"]["test"]
        assert ("among its own" in results_table(metrics[kind])) == (kind != "whole")
    one, other = (metrics[kind]["splits"]["test"]["accuracy_own_actions"] for kind in ("subset", "other subset"))
    assert one == other


def test_the_accuracy_among_own_actions_is_that_of_a_naive_pass(splits, model, tmp_path):
    rows = listing(of(splits["test"], "open", "close"), ["open", "close"])
    scores = evaluate_splits(model, {"test": rows}, TRANSFORM, tmp_path)["splits"]["test"]
    right = right_of_all = 0
    for row in rows.with_transform(TRANSFORM):
        with torch.no_grad():
            logits = dict(zip(MANY, model(pixel_values=row["pixel_values"][None]).logits[0].tolist(), strict=True))
        action = ["open", "close"][row["labels"]]
        right += max(("open", "close"), key=logits.__getitem__) == action
        right_of_all += max(logits, key=logits.__getitem__) == action
    assert scores["accuracy_own_actions"] == pytest.approx(right / len(rows))
    assert scores["accuracy"] == pytest.approx(right_of_all / len(rows)) and right != right_of_all
    assert f"| {right / len(rows):.3f} | 0 |" in results_table({"splits": {"test": scores}})
    assert f"{right / len(rows):.3f}" in card_table({"test": scores})


def test_an_unknown_action_is_named_and_left_out(splits, model, tmp_path, caplog):
    listed = ["slide", "Clean_", "open", "dirty"]
    rows = {
        name: listing(splits[name], listed, close="slide", clean="Clean_") for name in ("train", "test", "test_syst")
    }
    wanted = {name: of(part, "open", "dirty") for name, part in rows.items()}
    tested = {name: rows[name] for name in ("test", "test_syst")}
    with caplog.at_level(logging.WARNING, "modeling_cde"):
        metrics = evaluate_splits(model, tested, TRANSFORM, tmp_path, bank=rows["train"])
    numbers = {name: len(of(part, "slide")) for name, part in rows.items()}
    told = f"(test {numbers['test']}, test_syst {numbers['test_syst']}, train {numbers['train']})"
    assert f"the action 'slide'. Pairs: {sum(numbers.values())} {told}. They are left out." in caplog.text
    assert "the action 'Clean_' (it knows 'clean'). " in caplog.text
    tensors, header = deltas(tmp_path)
    for name, part in wanted.items():
        scores = metrics["train"] if name == "train" else metrics["splits"][name]
        assert scores["left_out"] == {"slide": numbers[name], "Clean_": len(of(rows[name], "Clean_"))}
        assert scores["n"] == len(part) == len(tensors[f"{name}/labels"]) > 0
        assert header["rows"][name]["pair_id"] == part["pair_id"]
        assert [MANY[i] for i in tensors[f"{name}/labels"]] == part.features["action"].int2str(part["action"])
    with pytest.raises(ValueError, match=r"does not know the action 'slide'.*'Clean_' .*or evaluate without strict"):
        evaluate_splits(model, tested, TRANSFORM, tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()
    evaluate_splits(model, wanted, TRANSFORM, tmp_path / "strict", strict=True)  # nothing is left out of these


def test_splits_that_lose_all_pairs(splits, model, tmp_path):
    rows = listing(splits["test"], ["clean", "dirty", "slide", "push"], open="slide", close="push")
    gone = of(rows, "slide", "push")
    metrics = evaluate_splits(model, {"test": rows, "test_syst": gone}, TRANSFORM, tmp_path, bank=gone)
    assert set(metrics["splits"]) == {"test"} and "train" not in metrics and metrics["gap"] == {}
    lost = {name: len(of(gone, name)) for name in ("slide", "push")}
    assert metrics["splits_left_out"] == {"test_syst": lost, "train": lost}
    assert not (tmp_path / "gallery.parquet").exists()
    with pytest.raises(ValueError, match="the data set has clean, dirty, slide, push, but the model has break, clean"):
        evaluate_splits(model, {"test": gone}, TRANSFORM, tmp_path / "none", bank=rows)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_lists_are_matched_by_name(data):
    words = ["open", "close", "clean", "dirty", "fill", "slide", "push"]
    known = data.draw(st.permutations(words).flatmap(lambda names: st.integers(1, 6).map(lambda n: names[:n])))
    listed = data.draw(st.permutations(words).flatmap(lambda names: st.integers(1, 6).map(lambda n: names[:n])))
    names = data.draw(st.lists(st.sampled_from(listed), min_size=1, max_size=12))
    rows = datasets.Dataset.from_dict(
        {"action": [listed.index(name) for name in names], "pair_id": [str(i) for i in range(len(names))]},
        features=datasets.Features({"action": datasets.ClassLabel(names=listed), "pair_id": datasets.Value("string")}),
    )
    matched = match_actions(known, {"test": rows})
    kept = [(str(i), name) for i, name in enumerate(names) if name in known]
    assert ("test" in matched.splits) == bool(kept)
    if kept:
        found = matched.splits["test"]
        assert [(row["pair_id"], known[row["action"]]) for row in found] == kept
        assert found.features["action"].names == known and found.column_names == rows.column_names
    if known == listed:
        assert matched.splits["test"] is rows and not matched.own_ids and not matched.left_out
        return
    own = matched.own_ids["test"]
    assert {known[i] for i in own} == set(known) & set(listed)
    assert matched.left_out["test"] == {name: names.count(name) for name in set(names) - set(known)}
    if kept:
        scores = torch.tensor(data.draw(st.lists(st.permutations(range(len(known))), min_size=1, max_size=6))).float()
        labels = torch.tensor([own[i % len(own)] for i in range(len(scores))])
        best = [max(own, key=lambda i, row=row: row[i]) for row in scores.tolist()]
        expected = sum(a == b for a, b in zip(best, labels.tolist(), strict=True)) / len(best)
        assert own_accuracy(scores, labels, own) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("action", "near"), [("turn_on", "turnon"), ("Turn-Off", "turnoff"), ("opened", "open"), ("push", None)]
)
def test_a_near_name_is_told(action, near):
    (line,) = unknown_lines({"test": {action: 2}}, ["turnon", "turnoff", "open", "close"])
    assert (f"(it knows {near!r})" in line) if near else ("it knows" not in line)
    (alone,) = unknown_lines({"test": {action: 2}}, ["turnoff", "close"])
    assert ("it knows" in alone) == (near == "turnoff")  # an opposite is never meant


@pytest.mark.parametrize("kind", [ICMForActionClassification, OracleMaskForActionClassification])
def test_unknown_objects_and_missing_masks_are_fine(kind, splits, tmp_path):
    options = {"num_objects": 2} if kind is ICMForActionClassification else {}
    names = dict(enumerate(ACTIONS))
    baseline = kind.from_backbone(backbone_config("vit"), delta_dim=16, id2label=names, **options)
    few = splits["test"].select(range(8)).remove_columns(["mask_before", "mask_after"])
    transform = PairTransform((32, 32), extras=baseline.extra_inputs)
    metrics = evaluate_splits(baseline, {"test": few}, transform, tmp_path)
    assert max(few["object"]) >= 2 and metrics["splits"]["test"]["n"] == 8


def plain_folder(folder, rows, name="test"):
    """A folder of pairs without a card: one file of one split."""
    write_shard(folder / f"{name}-00000-of-00001.parquet", [*rows], rows.features)
    return folder


@pytest.mark.parametrize(("stored", "part"), [("test", "test"), ("train", "all")])
def test_a_foreign_data_set_of_one_split_from_the_command_line(stored, part, splits, tmp_path, capsys, caplog):
    model = tiny_cde("vit", id2label=dict(enumerate(MANY)), delta_mode="patch")
    model.save_pretrained(tmp_path / "model")
    CDEImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "model")
    objects = [f"their {name}" for name in splits["test"].features["object"].names]
    rows = listing(splits["train"], ["open", "slide", "dirty", "close"], objects, clean="slide")
    plain_folder(tmp_path / "theirs", rows, stored)
    options = ["--model", str(tmp_path / "model"), "--data", str(tmp_path / "theirs"), "--output"]
    with pytest.raises(SystemExit, match="does not know the action 'slide'"):
        main([*options, str(tmp_path / "strict"), "--strict"])
    main([*options, str(tmp_path / "out")])
    assert f"does not know the action 'slide'. Pairs: {len(of(rows, 'slide'))} " in caplog.text
    said = capsys.readouterr().out
    assert f"| {part} | " in said and "accuracy among its own actions" in said
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert list(metrics["splits"]) == [part] and metrics["splits"][part]["left_out"] == {
        "slide": len(of(rows, "slide"))
    }
    assert set(metrics["splits"][part]["accuracy_by_object"]) <= set(objects)
    (found,) = load_delta_sets(tmp_path / "out").values()
    assert found.actions == MANY and found.object_names == objects
    assert found.action_labels() == [
        name for name in rows.features["action"].int2str(rows["action"]) if name != "slide"
    ]
    assert examine_run(tmp_path / "out").checked
    report = analyse(tmp_path / "out", with_umap=False)
    assert report.trouble == "" and list(report.geometry["splits"]) == [part]
    assert "own actions" in report.path.read_text()


def test_kept_features_give_the_same_scores(splits, model, tmp_path):
    rows = {"test": listing(splits["test"], ["dirty", "slide", "open", "clean"], close="slide")}
    store = FeatureStore(tmp_path / "features")
    read = evaluate_splits(model, rows, TRANSFORM, tmp_path / "read")
    kept = evaluate_splits(model, rows, TRANSFORM, tmp_path / "kept", keep=FeatureKeeper(model, TRANSFORM, store))
    assert store.encoded == len(of(rows["test"], "dirty", "open", "clean")) == kept["splits"]["test"]["n"]
    one, other = (dict(metrics["splits"]["test"]) for metrics in (read, kept))
    assert one.pop("cross_entropy") == pytest.approx(other.pop("cross_entropy"), rel=1e-5) and one == other
