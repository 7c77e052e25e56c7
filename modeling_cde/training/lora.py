"""LoRA: fine-tune a backbone through small adapters, and merge them into a plain model.

    model = add_lora(CDEForActionClassification.from_backbone("facebook/dino-vits16", id2label=...), rank=8)
    ...                                     # train `model` with CDETrainer, or in your own loop
    plain = merged(model)                   # a CDEForActionClassification again, with the same outputs

A linear layer W of the backbone becomes W + (alpha / rank) B A with A (rank, in), B (out, rank) and B = 0 at the start
(Hu et al., 2022, https://arxiv.org/abs/2106.09685). The projector and the heads are new and are trained in full;
everything else keeps its values. PEFT (the extra `lora`) makes and merges the adapters; adapter_files.py writes and
reads their files.
"""

import importlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.utils.hub import extract_commit_hash

from ..cli.extras import install

# Query and value, as in the LoRA paper: their names in today's backbones, and in older code.
_QUERY_AND_VALUE = (("q_proj", "v_proj"), ("query", "value"), ("q", "v"))


def peft() -> Any:
    """The library PEFT; ValueError if it is not installed."""
    try:
        return importlib.import_module("peft")
    except ImportError as error:
        raise ValueError(f"LoRA needs PEFT, which is not installed: {install('lora')}") from error


def add_lora(
    model: PreTrainedModel,
    rank: int = 8,
    alpha: float | None = None,
    dropout: float = 0.0,
    targets: Sequence[str] | None = None,
) -> Any:
    """Add adapters to a model's backbone, in place; only they, the projector and the heads are trained.

    Args:
        model: a CDE model or a baseline, not yet adapted.
        rank: columns of B and rows of A, at least 1.
        alpha: the scale of the adapters is alpha / rank; default: 2 * rank.
        dropout: on the inputs of the adapters, in [0, 1).
        targets: last parts of the names of the linear layers of the backbone to adapt; default: query and value of
            every attention layer.

    Returns:
        A `peft.PeftModel` around the model, with the same inputs and outputs. The outputs change only with training.

    Raises:
        ValueError: a value is out of range, the backbone has no such layer or no attention, the model has parameters
            that are not saved with adapters, or PEFT is not installed.
    """
    alpha = 2 * rank if alpha is None else alpha
    if rank < 1:
        raise ValueError(f"lora_rank={rank} must be at least 1.")
    if not alpha > 0:
        raise ValueError(f"lora_alpha={alpha} must be greater than 0.")
    if not 0 <= dropout < 1:
        raise ValueError(f"lora_dropout={dropout} must be in [0, 1).")
    if is_adapted(model):
        raise ValueError(
            "this model already has adapters: train those, or merge them first (modeling_cde.training.lora.merged)."
        )
    names = _target_names(model, targets)
    config = peft().LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=rf"(.*\.)?backbone\.(.*\.)?({'|'.join(names)})",
        modules_to_save=list(_head_modules(model)),
    )
    return wrap(model, config, *base_of(model))


def is_adapted(model: Any) -> bool:
    """Whether PEFT wraps a model; does not import PEFT."""
    imported = sys.modules.get("peft")
    return imported is not None and isinstance(model, imported.PeftModel)


def merged(model: Any) -> PreTrainedModel:
    """A copy of an adapted model with the adapters merged into its weights; a plain model is returned itself.

    The copy has the original class, device and mode, and the same outputs up to rounding. It does not need PEFT.
    """
    if not is_adapted(model):
        return model
    plain: PreTrainedModel = deepcopy(model).merge_and_unload(safe_merge=True)
    plain.requires_grad_(True)
    plain.base_model.reader.freeze_unused(plain.base_model.backbone)
    return plain


def base_of(model: PreTrainedModel) -> tuple[str, str | None]:
    """Name and revision of the weights under the adapters: a CDE checkpoint, else the backbone; "" without a name.

    A folder is named without its path, which means nothing on another machine.
    """
    name, revision = str(model.name_or_path or ""), extract_commit_hash(f"{model.loaded_from}/config.json", None)
    if not name:
        name, revision = str(model.config.backbone_config._name_or_path or ""), model.config.backbone_revision
    if name and Path(name).is_dir():
        return Path(name).resolve().name, None
    return name, revision


def description(model: Any) -> str:
    """One line about an adapted model: rank, layers and number of trained parameters."""
    lora = model.peft_config[model.active_adapter]
    layers = [name for name, module in model.named_modules() if hasattr(module, "lora_A")]
    kinds = ", ".join(sorted({name.split(".")[-1] for name in layers}))
    sizes = {name: p.numel() for name, p in model.named_parameters() if ".original_module." not in name}
    adapters = sum(size for name, size in sizes.items() if ".lora_" in name)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return (
        f"LoRA of rank {lora.r} on {len(layers)} linear layers of the backbone ({kinds}): {trained:,} of "
        f"{sum(sizes.values()):,} parameters are trained, {adapters:,} in adapters, the others in projector and heads."
    )


def _target_names(model: PreTrainedModel, targets: Sequence[str] | None) -> list[str]:
    """Last parts of the names of the layers to adapt, all of which the backbone has."""
    backbone = model.base_model.backbone
    kind = backbone.config.model_type
    linear = {name.split(".")[-1] for name, module in backbone.named_modules() if isinstance(module, nn.Linear)}
    if targets is None:
        for names in _QUERY_AND_VALUE:
            if linear.issuperset(names):
                return list(names)
        named = f"; name some of its linear layers: {', '.join(sorted(linear))}" if linear else ""
        raise ValueError(
            f"LoRA adapts query and value of attention layers, which the backbone {kind!r} does not have: fine-tune "
            f"all of it (no lora_rank) or use a transformer as backbone{named}."
        )
    if wrong := [name for name in targets or [""] if name not in linear]:
        raise ValueError(
            f"lora_targets={','.join(targets)}: the backbone {kind!r} has no linear layer named {wrong[0]!r}; it has "
            f"{', '.join(sorted(linear)) or 'none'}."
        )
    return list(targets)


def _head_modules(module: nn.Module, path: str = "") -> Iterator[str]:
    """Names of the layers outside of the backbone, one by one, since a model may index a sequence of them.

    Raises:
        ValueError: the model has parameters or buffers outside of layers, which PEFT cannot save.
    """
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    children = dict(module.named_children())
    if own and (not path or "backbone" in children):
        raise ValueError(
            f"{type(module).__name__} keeps {own[0][0]} outside of a layer, where it is not saved with adapters: train "
            "it without LoRA."
        )
    if not own:
        for name, child in children.items():
            if name != "backbone":
                yield from _head_modules(child, f"{path}.{name}" if path else name)
    elif any(tensor.requires_grad for _, tensor in own) or not list(module.parameters()):
        yield path


def wrap(model: PreTrainedModel, config: Any, name: str | None, revision: str | None) -> Any:
    """A `peft.PeftModel` around a plain model, which gets adapters in place and keeps its mode.

    Name and revision are those of the base, for the files of the adapters.
    """
    config.base_model_name_or_path = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT uses a name that Transformers is about to change
        adapted = peft().get_peft_model(model, config)
    # PEFT writes the name under which the model was loaded, which can be a folder of this machine.
    config.base_model_name_or_path, config.revision = name, revision
    return adapted.train(model.training)
