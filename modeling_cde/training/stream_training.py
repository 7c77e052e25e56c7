"""Training on a stream of pairs: its place in a checkpoint, and what happens when reading fails for good."""

from collections.abc import Mapping
from typing import Any

from ..data.streaming.batches import StreamedBatches
from ..data.streaming.pair_stream import PairStream
from ..data.streaming.parquet_rows import StreamError
from .stopping import GO_ON


def refuse_streams(eval_dataset: Any) -> None:
    """Raise ValueError where a stream is to be evaluated."""
    parts = eval_dataset.values() if isinstance(eval_dataset, Mapping) else [eval_dataset]
    if any(isinstance(part, PairStream) for part in parts):
        raise ValueError("A stream can be trained on but not evaluated: load the validation parts with load_pairs.")


def find_place(data: Any, args: Any, state: Any) -> None:
    """Continue a stream where the checkpoint was written, and keep its place for the checkpoints to come.

    Called after `state` was read from the checkpoint; `data` is what the training's loader reads.

    Raises:
        ValueError: the checkpoint is not of a training on this stream; see `StreamedBatches.go_on`.
    """
    kept = state.stateful_callbacks  # goes with the number of the step into trainer_state.json
    if not isinstance(data, StreamedBatches):
        if "stream" in kept:
            raise ValueError("The checkpoint is of a training that was streamed: resume it with --streaming true.")
        return
    if state.global_step > 0:
        accumulated = args.gradient_accumulation_steps
        epoch, steps = divmod(state.global_step, -(-len(data) // accumulated))
        data.go_on(epoch, 0 if args.ignore_data_skip else steps * accumulated, kept.get("stream"))
    kept["stream"] = data.state()


def broken_off(trainer: Any, error: StreamError) -> StreamError:
    """The error of a stream that failed between two steps, after saving the last step where that is possible."""
    kept = f"{trainer.args.output_dir} keeps its checkpoints"
    # Several processes did not all stop at this step. A resumed training that has made no step has nothing new to save.
    if trainer.args.world_size == 1 and trainer.state.global_step > trainer._initial_global_step:
        trainer._save_checkpoint(trainer.model, trial=None)
        trainer.callback_handler.on_save(trainer.args, trainer.state, trainer.control)
        kept = f"step {trainer.state.global_step} is saved"
    return StreamError(f"{str(error).rstrip().rstrip('.')}; {kept}: {GO_ON}.")
