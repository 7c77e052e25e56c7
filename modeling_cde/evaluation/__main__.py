"""Evaluate a checkpoint on named splits: one command, three files.

    python -m modeling_cde.evaluation --model runs/quickstart --data data/rooms --output runs/quickstart

writes `metrics.json` (accuracy per split, action and object; the gap to the in-distribution split) and
`deltas.safetensors` (delta, states, logits and labels of every pair and of some training pairs to compare with; some
pictures). All later steps (plots, geometry, cards) read these two files and need no model. A third file,
`gallery.parquet`, travels with the checkpoint: some training pairs as small pictures, for readers without the data.
Scores are computed in float32 unless `--precision bf16` is given, whatever precision the training used.
`accelerate launch` divides the splits among processes and still counts every pair exactly once.
Where an earlier run has kept features of the checkpoint's backbone, or `--feature_store` names a folder for them, they
are read in place of pictures; the backbone ran in `--feature_precision` for them.

The data set need not be that of the training: actions are matched by name, and pairs of an action that the model does
not know are left out and counted, or an error with `--strict`. All splits that the data set has are tested.
"""

import argparse
import sys
from typing import Any

from ..cli.verbs import command, program
from ..whole_files import in_one_sentence


def main(arguments: list[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog=command("modeling_cde.evaluation"), description=__doc__)
    parser.add_argument("--model", required=True, help="folder or repository of a trained checkpoint")
    parser.add_argument("--data", required=True, help="folder or repository of a data set of pairs")
    parser.add_argument(
        "--view", default="single", choices=("single", "multi"), help="single: crops; multi: whole views"
    )
    shifts = ("comp", "syst", "mech", "both", "none")
    parser.add_argument("--shift", choices=shifts, help="shifts to test; default: comp and syst, or what there is")
    parser.add_argument("--split", nargs="+", default=(), metavar="NAME", help="splits to test; default: all but train")
    parser.add_argument("--config", help="configuration of a data set that names it otherwise than by view and shift")
    parser.add_argument("--strict", action="store_true", help="an action that the model does not know is an error")
    parser.add_argument("--output", required=True, help="folder for metrics.json and deltas.safetensors")
    parser.add_argument("--batch_size", type=int, default=64, help="pairs per forward pass")
    parser.add_argument("--bank_rows", type=int, default=10_000, help="training pairs to compare with at most; 0: none")
    parser.add_argument(
        "--precision", default="float32", choices=("float32", "bf16"), help="of the scores; publish float32"
    )
    parser.add_argument("--feature_store", metavar="FOLDER", help="keep the features of the pictures in this folder")
    parser.add_argument(
        "--feature_store_gb", type=float, default=20.0, help="gigabytes that the store may take; 0: read pictures"
    )
    parser.add_argument(
        "--feature_precision", default="auto", choices=("auto", "float32", "bf16"), help="of the backbone for features"
    )
    options = parser.parse_args(arguments)
    try:
        if options.batch_size < 1 or options.bank_rows < 0:
            raise ValueError("--batch_size must be at least 1 and --bank_rows at least 0.")
        if options.config and options.shift:
            raise ValueError("--config names the configuration, so leave out --shift.")
        if not 0 <= options.feature_store_gb < float("inf"):
            raise ValueError("--feature_store_gb must be at least 0.")
        _evaluate(options)
    except (ValueError, OSError) as error:
        sys.exit(f"{program('modeling_cde.evaluation')}: {error}")


def _evaluate(options: argparse.Namespace) -> None:
    # Imported here, because these take seconds, which --help should not.
    from ..data.load_splits import load_tested
    from ..data.transforms import PairTransform
    from ..models.load_model import load_action_model
    from .evaluate import evaluate_splits, results_table

    model, processor = load_action_model(options.model)
    model.float()  # the checkpoint may have been saved in half precision
    wanted = (options.shift, options.config, options.split, options.bank_rows > 0)
    splits = load_tested(options.data, options.view, *wanted)
    bank = None if "train" in options.split else splits.pop("train", None)
    transform = PairTransform.from_processor(
        processor, crop="box" if options.view == "single" else "none", extras=getattr(model, "extra_inputs", ())
    )
    keep = _keeper(options, model, transform)
    metrics = evaluate_splits(
        model,
        splits,
        transform,
        options.output,
        options.batch_size,
        bank=bank,
        bank_rows=options.bank_rows,
        precision=options.precision,
        keep=keep,
        strict=options.strict,
    )
    print(results_table(metrics))


def _keeper(options: argparse.Namespace, model: Any, transform: Any) -> Any:
    """What gives splits their kept features, where a store has some of this backbone or a folder is given; or None."""
    from accelerate import Accelerator

    from ..features.encoder import native_bf16
    from ..features.keep import FeatureKeeper, obstacle
    from ..features.store import FeatureStore

    given, said = options.feature_store is not None, obstacle(model, transform)
    if options.feature_store_gb == 0:
        said = "--feature_store says where features are kept, which needs --feature_store_gb above 0."
    if given and said:
        raise ValueError(said)
    keep = None
    if not said:
        store = FeatureStore(options.feature_store, options.feature_store_gb)
        fast = "bf16" if native_bf16() else "float32"
        tried: tuple[Any, ...] = (options.feature_precision,)
        if tried == ("auto",):
            tried = (fast, "float32")
        keepers = [FeatureKeeper(model, transform, store, precision) for precision in tried]
        keep = next((one for one in keepers if one.has_some()), keepers[0] if given else None)
    if Accelerator().is_main_process:
        read = "pictures" if keep is None else f"features in {keep.precision} from {keep.store.folder}"
        print(f"Reading {read}.", file=sys.stderr)
    return keep


if __name__ == "__main__":
    with in_one_sentence("modeling_cde.evaluation"):
        main()
