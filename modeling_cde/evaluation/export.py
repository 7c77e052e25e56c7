"""Export a trained model to run without Python: ONNX, for pairs in any batch size.

    python -m modeling_cde.evaluation.export runs/quickstart --int8

writes `runs/quickstart/onnx/model.onnx`, runs it with ONNX Runtime on batches of 1, 2 and 5 pairs, and prints the
largest difference from PyTorch; with `--int8` also `model_int8.onnx`, see `quantize_onnx`. It needs the extra `export`.
What the file takes and returns: `modeling_cde.evaluation.onnx_export`, which has the functions for Python.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..cli.verbs import command, program
from ..whole_files import in_one_sentence


def __getattr__(name: str) -> Any:
    """The functions of `modeling_cde.evaluation.onnx_export`, loaded when one is first used."""
    from . import onnx_export

    return getattr(onnx_export, name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=command("modeling_cde.evaluation.export"), description="Write a trained model as ONNX and check it."
    )
    parser.add_argument("run", help="folder or repository of a trained checkpoint")
    parser.add_argument("--revision", help="branch, tag or commit of the repository")
    parser.add_argument("--output", type=Path, help="the file to write (default: onnx/model.onnx in the run's folder)")
    parser.add_argument(
        "--int8",
        nargs="?",
        const="linear",
        choices=("linear", "all"),
        help="also write ..._int8.onnx: linear layers (default), or all: convolutions too, smaller and slower",
    )
    options = parser.parse_args(arguments)
    from .onnx_export import export_checkpoint  # takes seconds, which --help should not

    try:
        export_checkpoint(options.run, options.output, revision=options.revision, int8=options.int8)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        sys.exit(f"{program('modeling_cde.evaluation.export')}: {error}")


if __name__ == "__main__":
    with in_one_sentence("modeling_cde.evaluation.export"):
        main()
