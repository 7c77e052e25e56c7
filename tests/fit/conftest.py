"""A tiny backbone in a folder, and pictures of four actions that it can tell apart."""

import numpy as np
import pytest
from transformers import AutoModel

from modeling_cde import CDEClassifier, CDEImageProcessor
from tests.tiny_models import backbone_config, excite

ACTIONS = ("open", "close", "turnon", "turnoff")
KINDS = ("box", "door", "lamp")
SIDE = 32


def save_backbone(folder, seed=0, **options):
    import torch

    torch.manual_seed(seed)
    model = AutoModel.from_config(backbone_config("dinov2", **options))
    excite(model)
    model.save_pretrained(folder)
    CDEImageProcessor(size=SIDE).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    return save_backbone(tmp_path_factory.mktemp("tiny_backbone"))


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return str(tmp_path_factory.mktemp("features"))


@pytest.fixture
def classifier(backbone, store):
    return CDEClassifier(backbone, image_size=SIDE, feature_store=store)


def draw(action, kind, scene):
    """Two pictures (32, 32, 3): open shows a white square, turnon a yellow bar, and their opposites hide them."""
    plain = np.full((SIDE, SIDE, 3), 60 + 10 * scene, np.uint8)
    plain[12:20, 12:20] = (40 * (KINDS.index(kind) + 1), 90, 120)
    changed = plain.copy()
    if action in ("open", "close"):
        changed[4:12, 4:12] = 255
    else:
        changed[20:24, 2:30] = (255, 240, 0)
    return (plain, changed) if action in ("open", "turnon") else (changed, plain)


@pytest.fixture(scope="session")
def pairs():
    """24 pairs as arrays with actions, objects and scenes: each action on each of three kinds, in two of six scenes."""
    rows = [(a, k, 2 * n + i % 2) for i, a in enumerate(ACTIONS) for n, k in enumerate(KINDS) for _ in range(2)]
    rows = [
        (action, kind, (scene + copy * 3) % 6) for (action, kind, scene), copy in zip(rows, [0, 1] * 12, strict=True)
    ]
    X = [draw(*row) for row in rows]
    y, objects, scenes = (list(column) for column in zip(*rows, strict=True))
    return X, y, objects, scenes
