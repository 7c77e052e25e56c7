"""Exports a trained model by `torch.export` and as ONNX, for pairs in any batch size.

The graph takes `pixel_values` (B, 2, C, H, W), as the image processor makes them, in the one image size that it was
exported for. It returns

    logits         (B, A)  action scores
    delta          (B, D)  the causal delta embedding
    patch_indices  (B, k)  patch mode: the kept patches in the row-major grid, int64, largest delta first
    patch_weights  (B, N)  pooling="change": the weight of each patch of the row-major grid; a row sums to 1

The names of the actions and the settings of the image processor are in the file's metadata (`actions`, `preprocessor`)
as JSON, so that the file can travel alone.
"""

import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from ..cli.extras import install
from ..models.checks_cde import check_outputs

INPUT = "pixel_values"
TOLERANCE = 1e-4  # of a float32 graph's numbers against PyTorch's, relative where they are larger than 1
CHECKED_BATCHES = (1, 2, 5)


class PairOutputs(nn.Module):
    """What an exported graph computes: `logits`, `delta` and more of a model's outputs, as plain tensors by name."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        """Pairs (B, 2, C, H, W) in, a dict of the module's outputs out; see the top of this file."""
        found = self.model(pixel_values=pixel_values, return_dict=True)
        if not hasattr(found, "logits"):
            name = type(self.model).__name__
            raise ValueError(f"{name} returns no logits: export a classifier such as CDEForActionClassification.")
        outputs = {"logits": found.logits, "delta": found.delta[:, 0]}  # (B, 1, D) -> (B, D)
        if getattr(found, "patch_indices", None) is not None:
            outputs["patch_indices"] = found.patch_indices[:, 0]  # (B, 1, k) -> (B, k)
        if getattr(found, "patch_weights", None) is not None:
            outputs["patch_weights"] = found.patch_weights  # (B, N)
        return outputs


def export_program(model: nn.Module, height: int, width: int) -> ExportedProgram:
    """Traces a model for pairs of one image size and any batch size.

    Args:
        model: A classifier of this package, in either mode; it is traced as in evaluation.
        height, width: Image size in pixels.

    Returns:
        The program: `program.module()(pixel_values)` gives a dict, see `PairOutputs`.

    Raises:
        ValueError: The model does not take images of this size, needs more than pictures, or gives NaN or infinity.
    """
    weights = next(model.parameters())
    channels = int(getattr(model.config.backbone_config, "num_channels", 3))  # type: ignore[union-attr]
    # Two pairs: a batch of one would be taken for a constant.
    example = torch.zeros(2, 2, channels, height, width, dtype=weights.dtype, device=weights.device)
    wrapped = PairOutputs(model)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            # What is wrong with the size or the weights is said in a sentence; a trace would say it in a page.
            check_outputs(model, wrapped(example), "for a pair of zeros")
            return torch.export.export(wrapped, (example,), dynamic_shapes={INPUT: {0: Dim("batch")}}, strict=False)
    finally:
        model.train(was_training)


def export_onnx(
    model: nn.Module, path: str | Path, height: int, width: int, metadata: Mapping[str, str] | None = None
) -> Path:
    """Writes a model as ONNX, with the names of the actions in the metadata.

    Args:
        model: See `export_program`.
        path: The file to write; its folder is made. Models over 2 GB get a second file beside it for the weights.
        height, width: Image size in pixels.
        metadata: Further entries of the file's metadata.

    Returns:
        The path.

    Raises:
        ModuleNotFoundError: The extra `export` is not installed.
        ValueError: The path is a folder; or see `export_program`.
    """
    require("onnx", "onnxscript")
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name the file to write, for example {path / 'model.onnx'}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    backbone = model.base_model.backbone  # type: ignore[union-attr]
    attention = backbone.config._attn_implementation  # type: ignore[union-attr]
    # Written out, attention is the same for every family; BEiT's masked sdpa cannot be taken apart by the exporter.
    model.set_attn_implementation("eager")  # type: ignore[operator]
    try:
        program = export_program(model, height, width)
    finally:
        model.set_attn_implementation(attention)  # type: ignore[operator]
    with _quiet():
        graph = torch.onnx.export(
            program,
            input_names=[INPUT],
            output_names=program.call_spec.out_spec.context,  # the keys of the dict
            dynamic_shapes={INPUT: {0: "batch"}},  # the axis's name; that it varies was said above
            dynamo=True,
            verbose=False,
        )
    assert graph is not None
    labels = model.config.id2label  # type: ignore[union-attr]
    actions = [labels[i] for i in range(len(labels))]  # type: ignore[index, arg-type]
    graph.model.metadata_props.update({"actions": json.dumps(actions), **(metadata or {})})
    for node in graph.model.graph:
        node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)  # full of paths of this machine
    graph.save(path)
    return path


def quantize_onnx(path: str | Path, output: str | Path, convolutions: bool = False) -> Path:
    """Writes an ONNX file with int8 weights; activations are quantised while it runs, without calibration.

    It is ONNX Runtime's dynamic quantisation; PyTorch's own (`torch.ao.quantization`) is deprecated. What it does to
    speed and accuracy is measured by `benchmarks/speed/export_speed.py`.

    Args:
        path: A float32 file of `export_onnx`.
        output: The file to write; its path is returned.
        convolutions: Quantise convolutions too. The file of a convolutional backbone shrinks to about a quarter, but
            ONNX Runtime has no fast int8 convolution for the CPU: it runs slower than float32.

    Raises:
        ModuleNotFoundError: The extra `export` is not installed.
    """
    require("onnx", "onnxruntime")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    layers = ["MatMul", "Gemm"] + ["Conv"] * convolutions
    # Signed weights are the faster ones in a matrix product, and for convolutions the slower ones.
    kind = QuantType.QUInt8 if convolutions else QuantType.QInt8
    with _quiet():
        quantize_dynamic(path, output, op_types_to_quantize=layers, weight_type=kind, per_channel=convolutions)
    return Path(output)


def start_session(path: str | Path, threads: int | None = None) -> Any:
    """Opens an ONNX file in ONNX Runtime, on the CPU; an operator uses that many threads, by default all cores."""
    require("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_session(session: Any, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
    """Runs a session on pairs (B, 2, C, H, W); returns its outputs by name, as listed at the top of this file."""
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {INPUT: pixel_values.numpy()})
    return {name: torch.from_numpy(value) for name, value in zip(names, found, strict=True)}


@torch.no_grad()
def differences(
    model: nn.Module, path: str | Path, height: int, width: int, batches: Sequence[int] = CHECKED_BATCHES
) -> dict[str, float]:
    """Compares an ONNX file to its model in PyTorch, on random pairs, for some batch sizes.

    The model is float32, on the CPU and in evaluation mode, and the image size is in pixels.

    Returns:
        Of `logits`, `delta` and `patch_weights`: the largest difference, relative to the largest absolute value where
        that is over 1.
        Of `patch_indices`: the share of the patches kept by PyTorch that the file does not keep, in [0, 1].
    """
    session = start_session(path)
    shape = session.get_inputs()[0].shape[1:3]
    wrapped, generator = PairOutputs(model), torch.Generator().manual_seed(0)
    largest: dict[str, float] = {}
    for batch in batches:
        pixel_values = torch.randn(batch, *shape, height, width, generator=generator)
        found = run_session(session, pixel_values)
        for name, expected in wrapped(pixel_values).items():
            if name == "patch_indices":
                kept = (expected[:, :, None] == found[name][:, None]).any(dim=2)  # (B, k)
                difference = 1 - kept.float().mean()
            else:
                difference = (found[name] - expected).abs().max() / expected.abs().max().clamp(min=1)
            largest[name] = max(largest.get(name, 0.0), float(difference.nan_to_num(nan=torch.inf)))
    return largest


def require(*modules: str) -> None:
    """Raises ModuleNotFoundError with what to install, if one of the extra's modules is absent."""
    if missing := [name for name in modules if importlib.util.find_spec(name) is None]:
        raise ModuleNotFoundError(f"Export needs {', '.join(missing)}: {install('export')}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back what exporters say of their own parts: operators that are not installed, steps they recommend."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            yield
        finally:
            logging.disable(level)


def export_checkpoint(
    run: str, output: Path | None = None, *, revision: str | None = None, int8: str | None = None
) -> None:
    """Writes a checkpoint as ONNX, checks it against PyTorch and prints the differences.

    Args:
        run: Folder or repository of the checkpoint.
        output: The file to write; None for `onnx/model.onnx` in the folder.
        revision: Branch, tag or commit of the repository.
        int8: None, or which layers a second file has in int8: "linear" or "all".

    Raises:
        ValueError: There is nowhere to write, or the file does not compute what PyTorch does and was deleted.
        ModuleNotFoundError: The extra `export` is not installed.
    """
    require("onnx", "onnxscript", "onnxruntime")  # before the work
    from ..models.load_model import load_action_model, local_checkpoint

    folder = local_checkpoint(run)
    path = output or (folder and folder / "onnx" / "model.onnx")
    if path is None:
        raise ValueError(f"{run} is not a local folder: name the file to write with --output.")
    model, processor = load_action_model(run, revision)
    model = model.float()
    height, width = processor.preprocessing.output
    export_onnx(model, path, height, width, {"preprocessor": processor.to_json_string()})
    found = differences(model, path, height, width)
    if max(found.values()) > TOLERANCE:
        path.unlink()
        raise ValueError(f"ONNX Runtime and PyTorch disagree ({found}): {path} was deleted.")
    print(_described(path, found))
    if int8:
        small = quantize_onnx(path, path.with_name(f"{path.stem}_int8.onnx"), convolutions=int8 == "all")
        print(_described(small, differences(model, small, height, width)))
        print("What int8 does to accuracy and speed: python -m benchmarks.speed.export_speed --help")


def _described(path: Path, found: Mapping[str, float]) -> str:
    """A line on a file: its size, and how far it is from PyTorch on random pixels."""
    values = ", ".join(f"{name} {value:.1e}" for name, value in found.items())
    return f"{path}: {path.stat().st_size / 1e6:.1f} MB, largest difference from PyTorch: {values}"
