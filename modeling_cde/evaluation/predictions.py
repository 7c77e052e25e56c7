"""Run a trained model over a split, in float32 unless asked otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import accelerate
import datasets
import torch
from datasets.utils import tqdm
from torch.utils.data import DataLoader

from ..data.collator import PairCollator
from ..data.transforms import PairTransform
from ..features.kept_pairs import gives_features
from ..models.checks_cde import check_outputs

Precision = Literal["float32", "bf16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)


@dataclass
class Predictions:
    """A model's outputs for one split, in the split's row order, on the CPU in float32.

    Attributes:
        logits: (n, A).
        delta: (n, D), the delta of each pair.
        states: (n, 2, D), the states before and after.
        labels: (n,) int64 action ids.
        patch_indices: (n, k) int64 row-major positions of the kept patches, or None in global mode.
        patch_delta: (n, k, D), the deltas of the kept patches, or None in global mode.
    """

    logits: torch.Tensor
    delta: torch.Tensor
    states: torch.Tensor
    labels: torch.Tensor
    patch_indices: torch.Tensor | None = None
    patch_delta: torch.Tensor | None = None

    def tensors(self) -> dict[str, torch.Tensor]:
        """The fields by name, without those that are None."""
        return {name: value for name, value in vars(self).items() if value is not None}


@torch.no_grad()
def predict(
    model: torch.nn.Module,
    dataset: datasets.Dataset,
    transform: PairTransform,
    batch_size: int = 64,
    description: str = "evaluating",
    accelerator: accelerate.Accelerator | None = None,
    precision: Precision = "float32",
) -> Predictions:
    """Run a model over every pair of a split.

    Args:
        model: any model whose outputs have `logits`, `delta` and `states` for two frames. The inputs that it names in
            `extra_inputs` are passed with the pictures.
        dataset: n rows with the columns of `modeling_cde.data.schema`, or what `keep_features` makes of them.
        transform: turns rows into pixel values; must not augment, and has the model's extra inputs as `extras`.
        batch_size: pairs per forward pass and process.
        description: text of the progress bar, such as "evaluating test".
        accelerator: the processes that share the work; created if None.
        precision: of the forward pass, whatever a training of this model has set up; see `computing_in`.

    Returns:
        The predictions of all n pairs, the same on every process.

    Raises:
        ValueError: if the transform augments or lacks an input that the model takes, the precision is unknown, or the
            model gives NaN or infinity.
    """
    extra_inputs: tuple[str, ...] = tuple(getattr(model, "extra_inputs", ()))
    if missing := [name for name in extra_inputs if name not in transform.extras]:
        raise ValueError(
            f"{type(model).__name__} takes {', '.join(missing)} with the pictures: make the PairTransform with "
            f"extras={extra_inputs}."
        )
    if transform.augment is not None:
        raise ValueError("The transform changes pictures at random: evaluate with a PairTransform without augment.")
    accelerator = accelerator or accelerate.Accelerator()
    rows = dataset if gives_features(dataset) else dataset.with_transform(transform)
    loader = DataLoader(rows, batch_size=batch_size, collate_fn=PairCollator(), shuffle=False)
    loader = accelerator.prepare_data_loader(loader)
    model = model.to(accelerator.device)
    was_training = model.training
    model.eval()
    by_name = {} if getattr(getattr(model, "config", None), "return_dict", True) else {"return_dict": True}
    chunks: list[dict[str, torch.Tensor]] = []
    for batch in tqdm(loader, desc=description, leave=False, disable=not accelerator.is_main_process):
        with computing_in(precision, model, accelerator.device.type):
            taken = {"pixel_values", "features", *extra_inputs}
            outputs = model(**{name: value for name, value in batch.items() if name in taken}, **by_name)
        chunk = {
            "logits": outputs.logits.float(),  # (b, A)
            "delta": outputs.delta[:, 0].float(),  # (b, 1, D) -> (b, D)
            "states": outputs.states.float(),  # (b, 2, D)
            "labels": batch["labels"],  # (b,)
        }
        if getattr(outputs, "patch_indices", None) is not None:
            chunk["patch_indices"] = outputs.patch_indices[:, 0].contiguous()  # (b, 1, k) -> (b, k)
            chunk["patch_delta"] = outputs.patch_delta[:, 0].float().contiguous()  # (b, 1, k, D) -> (b, k, D)
        # The last batch is padded with repeats so that all processes take part; this drops the repeats.
        chunks.append({name: value.cpu() for name, value in accelerator.gather_for_metrics(chunk).items()})
        check_outputs(model, chunks[-1], f"while {description}")
    model.train(was_training)
    return Predictions(**{name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]})


@contextmanager
def computing_in(precision: Precision, model: torch.nn.Module, device: str) -> Iterator[None]:
    """Fix the precision of a model's forward pass.

    Three things would change it otherwise: the autocast that Accelerate leaves around the `forward` of a model that was
    trained in half precision, an autocast around the caller, and TF32, which `torch.compile` in training switches on.

    Args:
        precision: "float32", exactly, or "bf16", under autocast. A model with half-precision weights keeps them.
        model: the model; it and its parts get their `forward` back at the end.
        device: type of its device.

    Raises:
        ValueError: if the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}.")
    changes: list[tuple[Any, str, Any]] = [
        (part, "forward", part._original_forward) for part in model.modules() if "_original_forward" in vars(part)
    ]
    backends: Any = torch.backends
    products = torch.get_float32_matmul_precision()
    if precision == "float32" and hasattr(backends.cudnn, "conv"):  # since torch 2.9
        parts = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
        changes += [(part, "fp32_precision", "ieee") for part in parts]
    elif precision == "float32":
        changes += [(backends.cudnn, "allow_tf32", False)]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    try:
        torch.set_float32_matmul_precision("highest")  # torch refuses to work where it contradicts `fp32_precision`
        for owner, name, value in changes:
            setattr(owner, name, value)
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            yield
    finally:
        torch.set_float32_matmul_precision(products)
        for owner, name, value in before:
            setattr(owner, name, value)


def patch_grid(model: torch.nn.Module, size: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns of patches in a picture of `size` (height, width), found by running the model on a black one.

    None for a model that neither selects patches nor weighs them, such as a baseline that reads all alike.
    """
    base: Any = getattr(model, "base_model", None)
    if not hasattr(base, "reader") or not (base.config.delta_mode == "patch" or weighs_patches(model)):
        return None
    return base.reader.patch_grid(base.backbone, *size)  # type: ignore[no-any-return]


def weighs_patches(model: torch.nn.Module) -> bool:
    """Whether the model pools patches by how much each changed (`pooling="change"`)."""
    reader = getattr(getattr(model, "base_model", None), "reader", None)
    return getattr(reader, "feature", None) == "change"


@torch.no_grad()
def patch_weights(
    model: torch.nn.Module, pixel_values: torch.Tensor, batch_size: int = 64, precision: Precision = "float32"
) -> torch.Tensor:
    """The weights of the patches of pairs, for a model that `weighs_patches`. Kept features have them no more.

    Args:
        pixel_values: (n, 2, C, H, W).
        batch_size: pairs per forward pass.
        precision: see `predict`.

    Returns:
        (n, N) float32 on the CPU, row by row; those of a pair sum to 1.
    """
    base: Any = model.base_model
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    with computing_in(precision, model, device.type):
        found = [base.encode(chunk.to(device))[1].patch_weights for chunk in torch.split(pixel_values, batch_size)]
    model.train(was_training)
    return torch.cat(found).float().cpu()
