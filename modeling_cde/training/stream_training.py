"""Training on a stream of pairs: its batches, its place in a checkpoint, and what happens when it breaks off."""

from collections.abc import Mapping
from typing import Any

from torch.utils.data import DataLoader

from ..data.streaming.batches import StreamedBatches, stream_loader
from ..data.streaming.pair_stream import PairStream
from ..data.streaming.parquet_rows import StreamError
from .checkpoints.checkpointing import CheckpointingTrainer
from .stopping import GO_ON


class StreamingTrainer(CheckpointingTrainer):
    """A `Trainer` whose training data may be a `PairStream`: each process reads its own share of it.

    Args:
        *args, **kwargs: as for `transformers.Trainer`.
    """

    _initial_global_step = 0  # of the checkpoint that was resumed; Trainer sets it

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._streamed: StreamedBatches | None = None

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """See `transformers.Trainer.train`.

        Raises:
            ValueError: a stream is to be evaluated.
            StreamError: a stream broke off for good. A single process has saved a checkpoint of where it was then.
        """
        given = self.eval_dataset
        if any(isinstance(part, PairStream) for part in (given.values() if isinstance(given, Mapping) else [given])):
            raise ValueError("A stream is trained on, and not evaluated: load the parts to validate on by load_pairs.")
        try:
            return super().train(*args, **kwargs)
        except StreamError as error:  # between two steps: all batches of a step are read before it
            kept = f"{self.args.output_dir} keeps its checkpoints"
            # Without a step of its own it has nothing to save, nor yet the random state of the checkpoint.
            if self.args.world_size == 1 and self.state.global_step > self._initial_global_step:
                self._save_checkpoint(self.model, trial=None)
                kept = f"step {self.state.global_step} is saved"
            raise StreamError(f"{str(error).rstrip().rstrip('.')}; {kept}: {GO_ON}.") from error

    def get_train_dataloader(self) -> DataLoader[Any]:
        """See `transformers.Trainer.get_train_dataloader`."""
        self._streamed = None
        if not isinstance(self.train_dataset, PairStream):
            return super().get_train_dataloader()  # type: ignore[no-any-return]
        args = self.args
        loader: DataLoader[Any]
        loader, self._streamed = stream_loader(
            self.train_dataset, self.data_collator, args.device, args, self._train_batch_size
        )
        return loader

    def num_examples(self, dataloader: DataLoader[Any]) -> int:
        """The pairs of an epoch, of all processes; see `transformers.Trainer.num_examples`."""
        streamed = isinstance(dataloader.dataset, StreamedBatches)
        return len(self.train_dataset) if streamed else super().num_examples(dataloader)

    def _init_training_state(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        done: tuple[int, int] = super()._init_training_state(*args, **kwargs)
        kept = self.state.stateful_callbacks  # goes with the number of the step into trainer_state.json
        if self._streamed is None:
            if "stream" in kept:
                raise ValueError("The checkpoint is of a training that was streamed: resume it with --streaming true.")
            return done
        if self.state.global_step > 0:
            self._streamed.go_on(*done, kept.get("stream"))
        kept["stream"] = self._streamed.state()
        return done
