"""The heads of the study: trained as train.py trains them, on the package's splits, and tested by name."""

import random
import runpy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from benchmarks.study import heads, worker
from benchmarks.study.experiments import Fit, parts_of
from benchmarks.study.pairs import READINGS, open_pairs
from data_scripts import splits, training_inputs
from modeling_cde.data.load_splits import load_shifts
from modeling_cde.data.schema import SWAPPED
from modeling_cde.data.splits import OPPOSITES, SplitManifest
from modeling_cde.training import distributed
from tests import drawn_pairs, small_runs
from tests.tiny_models import backbone_config

ROOT = Path(__file__).parents[2]
QUICK = {"per_device_train_batch_size": 16, "num_train_epochs": 2}
SEED = 3


@pytest.fixture(scope="module")
def folders(data, tmp_path_factory):
    """The data set, the same pictures with other ids of actions, and a tiny backbone of twelve layers."""
    backbone = tmp_path_factory.mktemp("backbone")
    config = backbone_config("dinov2", num_hidden_layers=12, patch_size=14, image_size=126)
    AutoModel.from_config(config).save_pretrained(backbone)
    settings = '{"image_processor_type": "ViTImageProcessor", "size": {"height": 126, "width": 126}}'
    (backbone / "preprocessor_config.json").write_text(settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_inputs, "reachable_backbone", lambda *_: str(backbone))
        patch.setattr(distributed, "use_all_cores", lambda *_: 1)  # sums in the same order
        with pytest.MonkeyPatch.context() as names:
            names.setattr(drawn_pairs, "ACTIONS", drawn_pairs.ACTIONS[::-1])
            elsewhere = drawn_pairs.draw_data_set(tmp_path_factory.mktemp("elsewhere"), pairs_of_each=6)
        worker.open_in_worker(str(data), str(elsewhere), ["cls", "change"])
        yield data, elsewhere, backbone
        worker._opened.clear()


@pytest.fixture
def pairs(folders):
    return worker._opened["pairs"]


def words(flags):
    return [
        w
        for name, value in flags.items()
        for w in (f"--{name}", *map(heads._text, value if isinstance(value, list) else [value]))
    ]


def head_of(weights):
    return {name: tensor for name, tensor in weights.items() if "backbone" not in name}


def check_equal(ours, theirs):
    ours, theirs = head_of(ours), head_of(theirs)
    assert set(ours) == set(theirs) and len(ours) >= 3
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def test_a_head_has_the_weights_that_train_py_gives_it(folders, pairs, tmp_path):
    data, _, backbone = folders
    flags = {**READINGS["change"], **QUICK, "seed": SEED, "swap_opposites": True}
    fixed = ["--data", str(data), "--backbone", str(backbone), "--output_dir", str(tmp_path), "--use_cpu=true"]
    small_runs.train("dino_global.yaml", *fixed, "--compare_with=", *words(flags))
    model = heads.fit(pairs, "change", pairs.split(0)["train"], "cde", SEED, swap_opposites=True, **QUICK)
    saved = load_file(tmp_path / "model.safetensors")
    del saved["classifier.directions"]  # for answers that are no action; the study asks for none
    check_equal(model.state_dict(), saved)


@pytest.mark.parametrize(
    ("method", "reading", "flags"),
    [
        ("concatenation", "cls", {}),
        ("icm", "change", {}),
        ("sms", "cls", {}),
        ("neighbours", "cls", {"num_train_epochs": 1}),
        ("difference", "cls", {}),
        ("cde", "change", {"classifier": "lda", "swap_opposites": True}),
    ],
)
def test_so_it_is_for_every_method(method, reading, flags, folders, pairs, tmp_path):
    data, _, backbone = folders
    flags = QUICK | flags
    fixed = ["--data", str(data), "--backbone", str(backbone), "--output_dir", str(tmp_path), "--use_cpu=true"]
    fixed += ["--config", str(ROOT / "configs" / "dino_global.yaml"), "--method", method, "--eval_strategy=no"]
    prepare = runpy.run_path(str(ROOT / "train.py"))["prepare"]
    run = prepare([*fixed, *words({**READINGS[reading], **flags, "seed": SEED})])
    assert run.keep.store.encoded == 0  # the features that the study has kept
    parts = pairs.split(0)
    if flags.get("classifier") == "lda":  # as it is before training
        flags["validation"] = {name: rows for name, rows in parts.items() if name.startswith("validation")}
    else:
        run.trainer.train()
    model = heads.fit(pairs, reading, parts["train"], method, SEED, **flags)
    check_equal(model.state_dict(), run.trainer.model.state_dict())


def test_splits_are_those_that_the_package_writes(folders, tmp_path):
    folder = drawn_pairs.draw_data_set(tmp_path, pairs_of_each=6)
    options = "--validation=0.15 --test=0.2 --ood=0.5 --min_ood_pairs=9 --min_train_objects=1 --cap=0.9".split()
    for seed in (0, 11):
        splits.main(["--data", str(folder), "--seed", str(seed), *options, "--share_evaluation_groups"])
        pairs = open_pairs(str(folder), readings=())
        found = pairs.split(seed)
        written = {name: list(rows["pair_id"]) for name, rows in load_shifts(str(folder)).items()}
        assert {name: [pairs.pair_id[i] for i in rows] for name, rows in found.items()} == written
        manifest = SplitManifest.load(folder / "manifests" / "single_syst.json")
        assert {name: set(ids) for name, ids in manifest.parts.items()} == {
            name: {pairs.pair_id[i] for i in found[name.replace("ood", "syst")]} for name in manifest.parts
        }


def test_columns_are_those_of_the_shards(pairs):
    for rows in (pairs.rows["cls"], pairs.objects["change"]):
        plain = rows.with_format(None)
        names = [rows.features["action"].names[i] for i in plain["action"][: len(pairs)]]
        assert names == list(pairs.action) and plain["pair_id"][: len(pairs)] == list(pairs.pair_id)
    assert "objects" in pairs.objects["cls"][0] and "objects" not in pairs.rows["cls"][0]


def test_a_copy_is_its_pair_swapped_under_the_opposite_action(pairs):
    plain, rows = pairs.rows["change"].with_format(None), pairs.rows["change"]
    assert plain[SWAPPED][:] == [False] * len(pairs) + [True] * len(pairs.copies)
    assert set(pairs.copies) == {i for i, action in enumerate(pairs.action) if action in OPPOSITES}
    for pair, copy in pairs.copies.items():
        assert plain["pair_id"][copy] == pairs.pair_id[pair]
        assert rows.features["action"].names[plain["action"][copy]] == OPPOSITES[pairs.action[pair]]
    pair, copy = next(iter(pairs.copies.items()))
    assert torch.equal(rows[copy]["features"], rows[pair]["features"].flip(0))
    assert rows[copy]["labels"] == plain["action"][copy]


def test_copies_show_combinations_that_training_has_and_no_others(pairs):
    train = random.Random(0).sample(pairs.split(0)["train"], 30)
    train = [i for i in train if (pairs.action[i], pairs.object[i]) != ("open", "box")]
    expected = [
        pairs.copies[i]
        for i in train
        if any((pairs.action[j], pairs.object[j]) == (OPPOSITES[pairs.action[i]], pairs.object[i]) for j in train)
    ]
    assert heads._copies(pairs, train) == expected
    assert 0 < len(expected) < len(train)


# What a process measures

FEW = {"max_steps": 4, "per_device_train_batch_size": 16}


def said(model, pairs, reading, rows):
    """The answers of a loop over single pairs."""
    found = []
    for row in rows:
        with torch.no_grad():
            logits = model(features=pairs.rows[reading][row]["features"][None]).logits[0]
        found.append(pairs.rows[reading].features["action"].names[int(logits.argmax())])
    return found


def share(words, rows, pairs):
    return sum(word == pairs.action[row] for word, row in zip(words, rows, strict=True)) / len(rows)


def test_a_head_is_tested_on_all_parts_but_the_one_it_was_trained_on(pairs):
    fit = Fit("row", 1, "change", flags=FEW)
    measured, parts = worker.measure(fit), parts_of(fit, pairs)
    model = heads.fit(pairs, "change", parts["train"], "cde", 1, **FEW).eval()
    assert measured == {
        "train_pairs": len(parts["train"]),
        "accuracy": {n: share(said(model, pairs, "change", r), r, pairs) for n, r in parts.items() if n != "train"},
    }


def test_the_closed_form_chooses_its_shrinkage_on_both_validation_parts(pairs, monkeypatch):
    from modeling_cde.training import lda_head

    given, give = {}, lda_head.give_lda_head
    monkeypatch.setattr(lda_head, "give_lda_head", lambda *a: given.update(record := give(*a)) or record)
    worker.measure(Fit("row", 0, "cls", flags={"classifier": "lda"}))
    assert given["chosen_on"] == ["validation_comp", "validation_syst"]
    worker.measure(Fit("row", 0, "cls", train="all", flags={"classifier": "lda"}))
    assert given["chosen_on"] == []


def test_the_answers_on_a_kind_that_was_left_out(pairs):
    measured = worker.measure(Fit("row", 0, "cls", "concatenation", FEW, "without mirror"))
    rows = pairs.of_kinds(["mirror"])
    train = [i for i in range(len(pairs)) if i not in rows]
    model = heads.fit(pairs, "cls", train, "concatenation", 0, **FEW).eval()
    assert measured["kind"] == "mirror" and measured["train_pairs"] == len(train)
    words = said(model, pairs, "cls", rows)
    assert measured["wrong"] == [
        pairs.pair_id[i] for i, word in zip(rows, words, strict=True) if word != pairs.action[i]
    ]
    told = [(one["action"], one["answer"]) for one in measured["answers"] for _ in range(one["pairs"])]
    assert sorted(told) == sorted((pairs.action[row], word) for row, word in zip(rows, words, strict=True))
    assert all(one["mechanism"] is None for one in measured["answers"])


def test_elsewhere_answers_are_matched_by_name(pairs):
    elsewhere = worker._opened["elsewhere"]
    assert elsewhere.rows["cls"].features["action"].names == pairs.rows["cls"].features["action"].names[::-1]
    assert (elsewhere.action, elsewhere.pair_id) == (pairs.action, pairs.pair_id)
    measured = worker.measure(Fit("row", 0, "change", flags=FEW, train="all"))
    every = range(len(pairs))
    model = heads.fit(pairs, "change", every, "cde", 0, **FEW).eval()
    words = said(model, pairs, "change", every)
    kinds = {}
    for kind in pairs.kinds:
        rows = pairs.of_kinds([kind])
        kinds[kind] = share([words[row] for row in rows], rows, pairs)
    assert measured["train_pairs"] == len(pairs) and measured["kinds"] == pytest.approx(kinds)
    assert measured["accuracy"]["elsewhere"] == pytest.approx(sum(kinds.values()) / len(kinds))
    assert measured["accuracy"]["elsewhere_pairs"] == pytest.approx(share(words, every, pairs))
    assert 0.3 < measured["accuracy"]["elsewhere"] < 1  # by ids it would be much less


def test_a_folder_without_shards_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no shards of view single: build the data set first"):
        open_pairs(str(tmp_path))
