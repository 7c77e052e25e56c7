"""Pairs and frozen models whose features the tests keep."""

import torch
from datasets import Dataset, Image

from modeling_cde import CDEForActionClassification
from modeling_cde.data import PairCollator, PairTransform, pair_features
from modeling_cde.features.keep import keep_features
from tests.data.tiny_pairs import ACTIONS, OBJECTS, rows
from tests.tiny_models import tiny_cde

LABELS = dict(enumerate(ACTIONS))
WHOLE = PairTransform((32, 32), crop="none")


def pairs(number=24, first=0):
    """Drawn pairs as `load_pairs` leaves them."""
    made = Dataset.from_list(rows(number, first), features=pair_features(ACTIONS, OBJECTS))
    for column in ("before", "after", "mask_before", "mask_after"):
        made = made.cast_column(column, Image(decode=False))
    return made


def frozen(family="vit", **options) -> CDEForActionClassification:
    """A tiny model whose backbone is frozen; equal arguments give equal weights."""
    model = tiny_cde(family, id2label=LABELS, **options)
    model.freeze_backbone()
    return model


def kept(model, splits, store, **options):
    """`keep_features` of pairs that are seen whole."""
    if isinstance(splits, Dataset):
        return keep_features(model, {"train": splits}, WHOLE, store, **options)["train"]
    return keep_features(model, splits, WHOLE, store, **options)


def expected(model, rows, transform=WHOLE):
    """What the model reads of the pictures, pair by pair."""
    shown = rows.with_transform(transform)
    clips = [PairCollator()([shown[number]])["pixel_values"] for number in range(len(rows))]
    with torch.no_grad():
        return torch.cat([model.base_model.encode(clip)[0].unflatten(0, (1, 2)) for clip in clips])


def features(rows):
    return PairCollator()(rows.__getitems__(list(range(len(rows)))))["features"]
