"""Runs `train.py` in the test's own process, by a recipe that is shrunk to seconds."""

import json
import runpy
import sys
import tempfile
from collections.abc import Mapping
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


def published(run: Path) -> dict[str, bytes]:
    """The files of a run that are published, by name."""
    from modeling_cde.cards.checkpoint_files import REPORT, model_files

    found = [run / name for name in model_files(run)]
    found += [path for pattern in REPORT for path in run.glob(pattern) if path.is_file()]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in found}


def places_in(files: Mapping[str, bytes]) -> list[str]:
    """The files that name a folder of this machine: of temporary files, of this code, of a user or of Python."""
    folders = [tempfile.gettempdir(), str(ROOT), str(Path.home()), sys.prefix]
    return [name for name, content in files.items() if any(f"{folder}/".encode() in content for folder in folders)]


def train(recipe: str, *arguments: str) -> None:
    """Run a recipe with `arguments`, which go before its own, without a curve to draw and a process to load pictures.

    What these cost is most of such a run; the command itself is run with both in tests/test_train.py.
    """
    from matplotlib.figure import Figure

    main = runpy.run_path(str(ROOT / "train.py"))["main"]
    with mock.patch.object(Figure, "savefig", lambda self, path, **_: Path(path).write_text("<svg/>")):
        main(["--config", str(ROOT / "configs" / recipe), "--dataloader_num_workers=0", *arguments])
