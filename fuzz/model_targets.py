"""Checkpoints of strangers: weights, an index of shards, and rows of pictures that the pipeline is given."""

import base64
import json
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fuzz.case import Finding, Target, json_seeds, written

_TINY = {"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
_TINY |= {"intermediate_size": 8, "image_size": 16, "patch_size": 8}
_WEIGHTS = "model.safetensors"


@cache
def _model() -> Any:
    import torch
    from transformers import AutoConfig
    from transformers.utils.logging import disable_progress_bar

    from modeling_cde import CDEForActionClassification

    disable_progress_bar()
    torch.manual_seed(0)
    backbone = AutoConfig.for_model(**_TINY)
    return CDEForActionClassification.from_backbone(backbone, id2label={0: "open", 1: "close"}, delta_dim=4).eval()


@cache
def _pipeline() -> Any:
    from modeling_cde import ActionClassificationPipeline, CDEImageProcessor

    processor = CDEImageProcessor(size=16)
    return ActionClassificationPipeline(model=_model(), image_processor=processor, device="cpu")


def weights(data: bytes, folder: Path) -> object:
    """The weights of a checkpoint: refused, or a model whose answers are numbers."""
    written(data, folder / _WEIGHTS)
    return _answered(folder)


def index(data: bytes, folder: Path) -> object:
    """The index of a checkpoint in shards, of which one lies in the folder and one beside it."""
    for path in (folder / "model" / "model-1.safetensors", folder / "elsewhere.safetensors"):
        written(_saved()["tiny"], path)
    written(data, folder / "model" / f"{_WEIGHTS}.index.json")
    return _answered(folder / "model")


def row(data: bytes, folder: Path) -> object:
    """A row of a data set, as JSON with the bytes of pictures in base64, given to the pipeline."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError("the case is not JSON.") from error
    answers = list(_pipeline()([_with_bytes(found)]))
    for answer in answers[0]:
        if not 0 <= answer["score"] <= 1:
            raise Finding(f"a score of {answer['score']}")
    return answers


def _answered(folder: Path) -> object:
    import torch

    from modeling_cde import CDEForActionClassification

    _model().config.save_pretrained(folder)
    model = CDEForActionClassification.from_pretrained(folder)
    generator = torch.Generator().manual_seed(0)
    logits = model(pixel_values=torch.rand(1, 2, 3, 16, 16, generator=generator)).logits
    if not torch.isfinite(logits).all():
        raise Finding(f"scores that are no numbers: {logits.tolist()}")
    return logits


def _with_bytes(value: Any) -> Any:
    """A value in which the text of `base64` became bytes."""
    if isinstance(value, dict):
        if isinstance(value.get("base64"), str):
            try:
                return {"bytes": base64.b64decode(value["base64"]), "path": value.get("path")}
            except ValueError as error:
                raise ValueError("the case is not base64.") from error
        return {key: _with_bytes(item) for key, item in value.items()}
    return [_with_bytes(item) for item in value] if isinstance(value, list) else value


@cache
def _saved() -> Mapping[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        _model().save_pretrained(folder)
        return {"tiny": Path(folder, _WEIGHTS).read_bytes()}


def _indices() -> Mapping[str, bytes]:
    names = dict.fromkeys(_model().state_dict(), "model-1.safetensors")
    outside = dict.fromkeys(names, "../elsewhere.safetensors")
    return json_seeds(one={"metadata": {"total_size": 1}, "weight_map": names}, outside={"weight_map": outside})


def _rows() -> Mapping[str, bytes]:
    from fuzz.archive_targets import picture

    stored = {"base64": base64.b64encode(picture("PNG")).decode(), "path": None}
    named = {"bytes": None, "path": "/etc/passwd"}
    whole = {"before": stored, "after": stored, "action": 0, "pair_id": "p"}
    return json_seeds(row=whole, named=whole | {"before": named}, address={"before": "http://192.0.2.1/x.png"} | whole)


_TENSORS = tuple(rb"F32 F16 BF16 I64 U8 BOOL C64 F64 shape data_offsets __metadata__ [ ] 0 -1 99999999999".split())
_TENSORS += (b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\xff\xff\x7f\x7f", bytes(8), b"\xff" * 8)
_NAMES = (b"../", b"/etc/passwd", b"model-1.safetensors", b"NaN", b"{", b"[" * 2000)
TARGETS = (
    Target("weights", weights, (ValueError, OSError), _saved, _TENSORS, 0.5),
    Target("weights_index", index, (ValueError, OSError), _indices, _NAMES, 0.3),
    Target("row", row, (ValueError, OSError, TypeError), _rows, (b"null", b"AAAA", b"{", b"http://a/b"), 1.0),
)
