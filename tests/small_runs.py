"""Runs `train.py` in the test's own process, by a recipe that is shrunk to seconds."""

import json
import runpy
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).parents[1]
BACKBONE = {
    "model_type": "vit",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "patch_size": 8,
}
#: For a recipe that trains from scratch.
TINY = ("--image_size=32", "--backbone_config", json.dumps(BACKBONE), "--use_cpu=true")


def train(recipe: str, *arguments: str) -> None:
    """Run a recipe with `arguments`, which go before its own, without a curve to draw and a process to load pictures.

    What these cost is most of such a run; the command itself is run with both in tests/test_train.py.
    """
    from matplotlib.figure import Figure

    main = runpy.run_path(str(ROOT / "train.py"))["main"]
    with mock.patch.object(Figure, "savefig", lambda self, path, **_: Path(path).write_text("<svg/>")):
        main(["--config", str(ROOT / "configs" / recipe), "--dataloader_num_workers=0", *arguments])
