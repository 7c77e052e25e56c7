"""Settings of data: equal for equal data wherever they are, and another for each kind of other data."""

import pytest
from datasets import Dataset, Features, Image, Value

from modeling_cde.data.transforms import PairTransform
from modeling_cde.training.checkpoints.settings import as_json, data_settings


def picture_pairs(pictures, scenes=("a", "b", "c")):
    rows = {"before": pictures, "after": pictures[::-1], "scene": scenes, "action": [0, 1, 0]}
    kinds = {"before": Image(), "after": Image(), "scene": Value("string"), "action": Value("int64")}
    return Dataset.from_dict(rows, features=Features(kinds))


PICTURES = [{"bytes": bytes(n), "path": None} for n in (10, 20, 30)]


def test_equal_data_have_equal_settings_wherever_they_are(tmp_path):
    made = picture_pairs(PICTURES)
    known = as_json(data_settings(made))
    made.to_parquet(str(tmp_path / "pairs.parquet"))
    stored = Dataset.from_parquet(str(tmp_path / "pairs.parquet"), cache_dir=str(tmp_path))
    twice = Dataset.from_dict({name: made.with_format(None).cast_column("before", Image(decode=False))
                               .cast_column("after", Image(decode=False))[name][:] * 2 for name in made.column_names},
                              features=made.features)  # fmt: skip
    for same in (stored, twice.select([3, 1, 2]), twice.select(range(3)), made.with_transform(lambda rows: rows)):
        assert as_json(data_settings(same)) == known
    # Pinned: another process, or another version, has to find the same.
    assert known == {
        "data.streaming": False,
        "data.rows": 3,
        "data.columns": ["action", "scene"],
        "data.columns.action": "231c36f9b2ce",
        "data.columns.scene": "2c1ae34c116e",
        "data.columns.before": "15d98dad2ba9",
        "data.columns.after": "ae1b351c4f8e",
    }


@pytest.mark.parametrize(
    ("other", "differ"),
    [
        (picture_pairs([*PICTURES[:2], {"bytes": bytes(31), "path": None}]), {"columns.before", "columns.after"}),
        (picture_pairs(PICTURES[::-1]), {"columns.before", "columns.after"}),
        (picture_pairs(PICTURES, scenes=("a", "b", "d")), {"columns.scene"}),
        (
            picture_pairs(PICTURES).select([0, 1]),
            {"rows", "columns.action", "columns.scene", "columns.before", "columns.after"},
        ),
    ],
)
def test_other_data_differ(other, differ):
    then, now = (as_json(data_settings(data)) for data in (picture_pairs(PICTURES), other))
    assert {name.removeprefix("data.") for name in then if then[name] != now[name]} == differ


@pytest.mark.parametrize(
    ("options", "differ"),
    [
        ({"size": (24, 24)}, {"transform.size", "transform.picture_resize"}),
        ({"crop": "none"}, {"transform.crop"}),
        ({"augment": True}, {"transform.augment"}),
        ({"seed": 1}, {"transform.seed"}),
        ({"mean": (0, 0, 0)}, {"transform.picture_mean"}),
    ],
)
def test_other_sights_of_the_same_pictures_are_other_data(options, differ):
    def told(**options):
        transform = PairTransform(**{"size": (32, 32), **options})
        return as_json(data_settings(picture_pairs(PICTURES).with_transform(transform)))

    then, now = told(), told(**options)
    assert {name.removeprefix("data.") for name in then if then[name] != now[name]} == differ


def test_data_without_columns_are_told_apart_by_length_and_labels():
    def told(*labels):
        return as_json(data_settings([{"labels": label} for label in labels]))

    assert told(0, 1) == told(0, 1) != told(1, 0)
    assert as_json(data_settings(range(3)))["data.rows"] == 3


@pytest.mark.parametrize("data", [[[0.5, 1.0]], [{"a": 1}], [None], ["x"]])
def test_columns_of_any_kind_have_settings(data):
    told = as_json(data_settings(Dataset.from_dict({"x": data * 3})))
    assert told["data.rows"] == 3 and told == as_json(data_settings(Dataset.from_dict({"x": data * 3})))
