"""Evaluate a checkpoint on named splits: one command, three files.

    python -m modeling_cde.evaluation --model runs/quickstart --data data/rooms --output runs/quickstart

writes `metrics.json` (accuracy per split, action and object; the gap to the in-distribution split) and
`deltas.safetensors` (delta, states, logits and labels of every pair and of some training pairs to compare with; some
pictures). All later steps (plots, geometry, cards) read these two files and need no model. A third file,
`gallery.parquet`, travels with the checkpoint: some training pairs as small pictures, for readers without the data.
Scores are computed in float32 unless `--precision bf16` is given, whatever precision the training used.
`accelerate launch` divides the splits among processes and still counts every pair exactly once.
"""

import argparse
import sys


def main(arguments: list[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m modeling_cde.evaluation", description=__doc__)
    parser.add_argument("--model", required=True, help="folder or repository of a trained checkpoint")
    parser.add_argument("--data", required=True, help="folder or repository of a data set of pairs")
    parser.add_argument(
        "--view", default="single", choices=("single", "multi"), help="single: crops; multi: whole views"
    )
    parser.add_argument("--shift", default="both", choices=("comp", "syst", "both"), help="which shifts to test")
    parser.add_argument("--output", required=True, help="folder for metrics.json and deltas.safetensors")
    parser.add_argument("--batch_size", type=int, default=64, help="pairs per forward pass")
    parser.add_argument("--bank_rows", type=int, default=10_000, help="training pairs to compare with at most; 0: none")
    parser.add_argument(
        "--precision", default="float32", choices=("float32", "bf16"), help="of the scores; publish float32"
    )
    options = parser.parse_args(arguments)
    try:
        if options.batch_size < 1 or options.bank_rows < 0:
            raise ValueError("--batch_size must be at least 1 and --bank_rows at least 0.")
        _evaluate(options)
    except (ValueError, OSError) as error:
        sys.exit(f"modeling_cde.evaluation: {error}")


def _evaluate(options: argparse.Namespace) -> None:
    # Imported here, because these take seconds, which --help should not.
    from ..data.load_splits import load_shifts, reported_splits
    from ..data.transforms import PairTransform
    from ..methods import load_action_model
    from .evaluate import evaluate_splits, results_table

    model, processor = load_action_model(options.model)
    model.float()  # the checkpoint may have been saved in half precision
    splits = load_shifts(options.data, options.view, options.shift)
    transform = PairTransform.from_processor(
        processor, crop="box" if options.view == "single" else "none", extras=getattr(model, "extra_inputs", ())
    )
    metrics = evaluate_splits(
        model,
        reported_splits(splits),
        transform,
        options.output,
        options.batch_size,
        bank=splits["train"] if options.bank_rows > 0 else None,
        bank_rows=options.bank_rows,
        precision=options.precision,
    )
    print(results_table(metrics))


if __name__ == "__main__":
    main()
