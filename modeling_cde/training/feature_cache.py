"""Features of a frozen backbone, computed once and kept on disk: the epochs train what comes after it alone.

Notable:
- A cache is a folder whose name is a key of all that its numbers depend on: the backbone's weights and configuration,
  the transform, the data, precision, device, code, versions (description.json in it names them). A cache of anything
  else is never read; it stays until it is removed. The rows' labels are not kept: they are read from the data.
- What is stopped goes on at the part that is missing, and processes share the work part by part: `feature_files.py`.
"""

import hashlib
import inspect
import math
import shutil
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch.utils.data import DataLoader

from ..data.collator import PairCollator
from ..data.transforms import PairTransform
from .feature_files import ROW, CachedFeatures, FeatureFiles
from .lora import is_adapted

_CODE = (
    "models/backbones_cde",
    "models/pictures_cde",
    "data/crops",
    "data/regions",
    "data/transforms",
)  # what makes features


def check_caching(model: Any, data: Any) -> None:
    """Looks at the flags of a run before work starts.

    Args:
        model: `ModelArguments`.
        data: `DataArguments`.

    Raises:
        ValueError: `cache_features` is given with flags under which features differ from epoch to epoch.
    """
    if not model.cache_features:
        if model.features_folder is not None:
            raise ValueError("features_folder says where features are cached: add --cache_features true.")
        return
    if model.lora_rank:
        raise ValueError("cache_features needs fixed features, which lora_rank changes: leave out one of them.")
    if not model.freeze_backbone:
        raise ValueError("cache_features needs a backbone that is not trained: add --freeze_backbone true.")
    if data.augment:
        raise ValueError("cache_features needs the same pictures in every epoch: add --augment false.")
    if data.streaming:
        raise ValueError("cache_features needs rows that can be read in any order: leave out streaming.")


def cache_features(
    model: Any,
    splits: Mapping[str, Any],
    folder: str | Path,
    batch_size: int = 64,
    *,
    autocast: torch.dtype | None = None,
    num_workers: int = 0,
) -> dict[str, Any]:
    """The splits with the features of their pictures in place of the pictures; computes what is not on disk yet.

    All processes call it. The model is moved to the device that the run uses.

    Args:
        model: With a frozen backbone (`freeze_backbone()`), and a `forward` that takes `features`.
        splits: Name -> `datasets.Dataset` with a `PairTransform` set, without augmentation.
        folder: Where caches are kept; several runs may share it.
        batch_size: Pairs that go through the backbone at once.
        autocast: Precision in which training will run the backbone; None for that of its weights.
        num_workers: Processes that load pictures.

    Returns:
        The same names -> `datasets.Dataset` of the same rows in the same order, with all columns but the pictures. A
        row read gives `features`, (2, D_b) or, where the model reads patches, (2, N, D_b), and `labels`, an int; with
        the transform's extra `"objects"` also `objects`, an int.

    Raises:
        ValueError: The model, or what a split is read by, gives no fixed features; or they do not fit on the disk.
        OSError: A part cannot be written or read.
    """
    base = _check_model(model)
    state = PartialState()
    base.to(state.device)
    common = _what_features_depend_on(base, autocast, str(state.device.type))
    caches = {}
    for name, rows in splits.items():
        transform = _check_rows(name, rows)
        first = _encode(base, PairCollator()([rows[0]])["pixel_values"], autocast)[0]  # (2, D_b) or (2, N, D_b)
        caches[name] = FeatureFiles(Path(folder), {**common, **_what_rows_depend_on(rows, transform)}, len(rows), first)
    same = {cache.folder: name for name, cache in caches.items()}  # two names of one split have one cache
    missing = {name: caches[name].missing() for name in same.values()}
    _say_size(Path(folder), {name: caches[name] for name in missing}, missing)
    for name in missing if state.is_main_process else ():
        caches[name].describe()
    state.wait_for_everyone()  # nobody begins to write while another still looks at what is there
    for name, parts in missing.items():
        if own := parts[state.process_index :: state.num_processes]:
            _fill(caches[name], own, base, splits[name], batch_size, autocast, num_workers, name)
    state.wait_for_everyone()
    return {name: _with_features(rows, caches[name]) for name, rows in splits.items()}


def _check_model(model: Any) -> Any:
    """The encoder of a model whose features are fixed."""
    kind = type(model).__name__
    if is_adapted(model):
        raise ValueError("Features can be cached of a backbone that stays as it is, not of one with LoRA's adapters.")
    if "features" not in inspect.signature(model.forward).parameters:
        raise ValueError(
            f"{kind} reads more than the features of its backbone, so they cannot be cached for it: leave out "
            "cache_features."
        )
    base = model.base_model
    if not base.backbone_is_frozen:
        raise ValueError(f"The backbone of this {kind} is trained, so its features change: call freeze_backbone().")
    return base


def _check_rows(name: str, rows: Any) -> PairTransform:
    """The transform of a split that shows the same pictures in every epoch."""
    if not hasattr(rows, "with_format") or not hasattr(rows, "__len__"):
        raise ValueError(f"The split {name} is a stream, whose features cannot be cached: load it as a whole.")
    transform = (rows.format.get("format_kwargs") or {}).get("transform")
    if not isinstance(transform, PairTransform):
        raise ValueError(f"The split {name} has no PairTransform: set one by with_transform.")
    if transform.augment is not None:
        raise ValueError(f"The pictures of the split {name} are augmented, so their features change: leave that out.")
    if len(rows) == 0:
        raise ValueError(f"The split {name} has no pairs.")
    return transform


def _what_features_depend_on(base: Any, autocast: torch.dtype | None, device: str) -> dict[str, Any]:
    """All but the rows, as plain values."""
    import PIL
    import transformers

    code = hashlib.sha256(b"".join((Path(__file__).parents[1] / f"{name}.py").read_bytes() for name in _CODE))
    weights = hashlib.sha256()
    for name, tensor in sorted(base.backbone.state_dict().items()):
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        weights.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    config = base.backbone.config.to_dict()
    config.pop("_name_or_path", None)  # the same weights from elsewhere are the same weights
    return {
        "weights": weights.hexdigest(),
        "backbone": config,
        "attention": base.backbone.config._attn_implementation,
        "feature": base.reader.feature,
        "num_prefix_tokens": base.reader.num_prefix_tokens,
        "autocast": str(autocast),
        "device": device,
        "code": code.hexdigest(),
        "versions": {library.__name__: library.__version__ for library in (torch, transformers, PIL)},
    }


def _what_rows_depend_on(rows: Any, transform: PairTransform) -> dict[str, Any]:
    from datasets.fingerprint import generate_fingerprint

    settings = {name: getattr(transform, name) for name in ("size", "mean", "std", "crop", "crop_margin", "resample")}
    # Of the rows without the transform, whose seed says nothing where nothing is drawn.
    return {"transform": settings, "rows": len(rows), "data": generate_fingerprint(rows.with_format(None))}


@torch.no_grad()
def _encode(base: Any, pixel_values: torch.Tensor, autocast: torch.dtype | None) -> torch.Tensor:
    """Clips (B, T, C, H, W) -> features (B, T, D_b) or (B, T, N, D_b), computed as training computes them."""
    pixel_values = pixel_values.to(next(base.backbone.parameters()).device)
    with torch.autocast(pixel_values.device.type, autocast or torch.bfloat16, enabled=autocast is not None):
        features = base.encode(pixel_values)[0]
    encoded: torch.Tensor = features.reshape(*pixel_values.shape[:2], *features.shape[1:])
    return encoded


def _fill(
    cache: FeatureFiles,
    parts: Sequence[range],
    base: Any,
    rows: Any,
    batch_size: int,
    autocast: torch.dtype | None,
    num_workers: int,
    name: str,
) -> None:
    """Computes and writes parts, each as soon as it is whole."""
    from datasets.utils import tqdm

    batches = [list(part[i : i + batch_size]) for part in parts for i in range(0, len(part), batch_size)]
    own = torch.Generator()  # else a loader draws from the one that training's dropout draws from
    loader = DataLoader(rows, batch_sampler=batches, collate_fn=PairCollator(), num_workers=num_workers, generator=own)
    encoded = (
        _encode(base, batch["pixel_values"], autocast).cpu()
        for batch in tqdm(loader, desc=f"features of {name}", leave=False, disable=not PartialState().is_main_process)
    )
    for part in parts:
        cache.write(part, torch.cat(list(islice(encoded, math.ceil(len(part) / batch_size)))))


def _say_size(folder: Path, caches: Mapping[str, FeatureFiles], missing: Mapping[str, list[range]]) -> None:
    """Prints what the caches take, before they are written.

    Raises:
        ValueError: The disk has no room for what is missing.
    """
    size = sum(cache.rows * cache.bytes_per_row for cache in caches.values())
    new = sum(len(part) * caches[name].bytes_per_row for name, parts in missing.items() for part in parts)
    pairs = ", ".join(f"{cache.rows} pairs of {name}" for name, cache in caches.items())
    if PartialState().is_main_process:
        print(f"Features of {pairs}: {size / 1e6:,.1f} MB in {folder}, {new / 1e6:,.1f} MB of them to be computed now.")
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if new > (free := shutil.disk_usage(existing).free):
        raise ValueError(
            f"The features take {new / 1e6:,.1f} MB, and {existing} has {free / 1e6:,.1f} MB left: name a "
            "features_folder on a larger disk, or leave out cache_features."
        )


def _with_features(rows: Any, cache: FeatureFiles) -> Any:
    """The rows without their pictures, with a transform that reads the features."""
    import datasets

    if cache.missing():
        raise OSError(f"{cache.folder} is not whole: several machines need one features_folder that all of them reach.")
    objects = "objects" in rows.format["format_kwargs"]["transform"].extras
    pictures = [name for name, feature in rows.features.items() if isinstance(feature, datasets.Image)]
    kept = rows.with_format(None).remove_columns(pictures)
    features = datasets.Features({**kept.features, ROW: datasets.Value("int64")})
    columns = {**kept[:], ROW: list(range(len(rows)))}
    files = [str(cache.path(part)) for part in cache.parts()]
    made = datasets.Dataset.from_dict(columns, features=features, split=rows.split)
    return made.with_transform(CachedFeatures(files, cache.rows_per_part, objects))
