"""Checkpoints for the demo: tiny, of any method, with a gallery of drawn pairs, and sure of one pair of pictures."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

from modeling_cde import CDEForActionClassification, CDEImageProcessor
from modeling_cde.data.load_splits import load_shifts
from modeling_cde.data.transforms import PairTransform
from modeling_cde.evaluation.gallery import GALLERY_FILE, write_gallery
from tests.drawn_pairs import ACTIONS, draw_data_set
from tests.tiny_models import IMAGE, backbone_config


def draw_pair(folder: Path, size: tuple[int, int] = (64, 48)) -> tuple[Path, Path]:
    """Two pictures, a closed and an open box."""
    picture = Image.new("RGB", size, (200, 180, 160))
    draw = ImageDraw.Draw(picture)
    draw.rectangle([12, 8, size[0] - 12, size[1] - 8], fill=(60, 120, 180))
    paths = folder / "closed.png", folder / "opened.png"
    picture.save(paths[0])
    draw.rectangle([20, 14, size[0] - 20, size[1] - 14], fill=(5, 5, 5))
    picture.save(paths[1])
    return paths


def train_rows(folder: Path) -> Any:
    """The training part of drawn pairs."""
    return load_shifts(str(draw_data_set(folder, pairs_of_each=4)), "single", "both")["train"]


def save_sure_model(folder: Path, rows: Any, pictures: tuple[Path, Path], mode: str = "patch") -> Path:
    """A checkpoint that says "open" of a pair of pictures, and so "close" of the swapped one: its delta turns round.

    The weights are random but for the classifier, which reads "open" along the pair's delta and "close" against it.
    `mode` is "patch", "global" or, for patches that are weighed by their change in the first layer, "change".
    """
    torch.manual_seed(0)
    options = {"pooling": "change", "feature_layers": [0]} if mode == "change" else {"delta_mode": mode}
    model: CDEForActionClassification = CDEForActionClassification.from_backbone(
        backbone_config("vit"), id2label=dict(enumerate(ACTIONS)), delta_dim=16, top_k_patches=4, **options
    ).eval()
    processor = CDEImageProcessor(size=IMAGE)
    with torch.no_grad():
        delta = model(**processor(*pictures)).delta[0, 0]
        model.classifier.weight.zero_()
        model.classifier.bias.zero_()
        model.classifier.weight[ACTIONS.index("open")] = 5 * delta / delta.square().sum()
        model.classifier.weight[ACTIONS.index("close")] = -5 * delta / delta.square().sum()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    transform = PairTransform.from_processor(processor, crop="box")
    write_gallery(model, rows, transform, folder / GALLERY_FILE, pairs_kept=24, side=24)
    return folder
