"""Training of CDE models and of the methods that they are compared with.

Notable:
- The loss is a module or function of (outputs, labels) that names its terms; see `losses.py`. Each term is logged by
  itself, in training and in evaluation.
- Batches are class-aware, and with the transforms' randomness a function of seed and epoch: a run resumes bit for
  bit.
- What is saved and restored, also of LoRA: `checkpointing.py`. What is pushed to the Hub during training: `pushing.py`.
"""

import logging
from collections.abc import Iterable
from functools import partial
from itertools import takewhile
from typing import Any

import torch
from accelerate.utils import broadcast, find_batch_size, recursively_apply
from torch import nn
from torch.utils.data import DataLoader, IterableDataset
from transformers import TrainerCallback
from transformers.trainer_utils import EvalLoopOutput

from ..data.sampler import seeded, training_batches
from ..data.streaming.batches import StreamedBatches, stream_loader
from ..data.streaming.pair_stream import PairStream
from .checkpoints.checkpointing import CheckpointingTrainer
from .distributed import share_buffers
from .head_first import begin_later
from .losses import CDELoss, Loss, TermMeans, named_terms, weighted_sum
from .training_args import CDETrainingArguments

# Outputs that are not handed to compute_metrics, which gets the logits alone.
_NOT_PREDICTIONS = (
    "delta states patch_delta patch_indices patch_logits patch_weights auxiliary_loss hidden_states attentions".split()
)


class CDETrainer(CheckpointingTrainer):
    """Trainer of `CDEForActionClassification` and of every model with its inputs and outputs.

    The trainer minimises the weighted sum of the loss's terms. The default is `CDELoss`: the model's `outputs.loss`
    plus the contrastive and the sparsity term on `outputs.delta`, or on every patch of `outputs.patch_delta` if the
    model's config says `patch_loss="per_patch"`. Train a model without `delta` with both weights 0.

    Logged in training, averaged since the last log: `loss`, and everything that the loss returns, terms without their
    weights. In evaluation the same after `eval_` or `eval_<split>_`, averaged over samples (for the contrastive term:
    over the anchors that have a positive in their own evaluation batch of one process, whatever the number of
    processes); `loss` is their sum with full weights, also during a warm-up. If `compute_loss` is overridden,
    `eval_loss` is the mean over all samples of what it returns.

    Further columns of a batch (`objects`, `masks`: see `PairTransform`) are passed to the model as they are.

    Training batches: a data set with columns (`datasets.Dataset`) is sampled class-aware by
    `args.label_column`; any other one of known length is shuffled; a `PairStream` is read in shares, see
    `data/streaming`, and any other stream as `Trainer` reads it. If there are fewer samples than a batch, the batch is
    made smaller, and a line says so.

    Args:
        model, args, **kwargs: as for `transformers.Trainer`, args being `CDETrainingArguments`.
        loss: a module or function of (outputs, labels) that returns {name: tensor}, each a scalar or one value per
            sample. Its attribute `weights`, {name: float}, says what counts how much, and what it leaves out is only
            logged; without the attribute each term counts once. Parameters of a module are trained along. None takes
            `CDELoss.from_args(args, model.config)`; any other loss has weights of its own, and of those in `args` only
            `sparsity_warmup_ratio` is used, for a term named "sparsity".

    Raises:
        ValueError: if the best model would be selected on a test split, `compute_loss_func` is given, the backbone has
            no gradient checkpointing, it would train nothing, or a model with LoRA or a loss with parameters would be
            sharded.
    """

    _train_batch_size: int  # of `Trainer`

    def __init__(
        self, model: Any = None, args: CDETrainingArguments | None = None, *, loss: Loss | None = None, **kwargs: Any
    ) -> None:
        args = CDETrainingArguments() if args is None else args
        if kwargs.get("compute_loss_func") is not None:
            raise ValueError("CDETrainer: compute_loss_func is not used: pass loss=, a function of (outputs, labels).")
        args.refuse_selection_on_test(kwargs.get("eval_dataset"))
        if args.gradient_checkpointing and not getattr(model, "supports_gradient_checkpointing", True):
            backbone = getattr(getattr(model.config, "backbone_config", None), "model_type", type(model).__name__)
            raise ValueError(
                f"gradient_checkpointing is not known for a backbone of the family {backbone}: leave it out, and lower "
                "per_device_train_batch_size for less memory."
            )
        reentrant = (args.gradient_checkpointing_kwargs or {}).get("use_reentrant")
        if args.gradient_checkpointing and reentrant and _begins_frozen(model):
            raise ValueError(
                "gradient_checkpointing_kwargs with use_reentrant=True gives no gradients to LoRA or to blocks after "
                "frozen ones: leave use_reentrant out."
            )
        super().__init__(model=model, args=args, **kwargs)
        # Every term is a mean over the micro-batch: Trainer is to divide it, once, by the accumulation steps.
        self.model_accepts_loss_kwargs = False
        self.loss_is_scaled_for_ga = False
        self.loss_is_given = loss is not None
        self.loss: Any = CDELoss.from_args(args, getattr(self.model, "config", None)) if loss is None else loss
        self._train_along(self.loss)
        self.smaller_batch = self._fit_batch()
        if self.smaller_batch is not None and self.is_world_process_zero():
            logging.getLogger(__name__).warning(self.smaller_batch)  # without any handler, a line on stderr
        self._trained, self._evaluated = TermMeans(), TermMeans()
        self._batch_counts = True

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """See `transformers.Trainer.train`."""
        self.args.refuse_selection_on_test(self.eval_dataset)
        self._trained = TermMeans()
        return super().train(*args, **kwargs)

    # Loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The weighted sum of the terms, a mean over the micro-batch; on request with the model's outputs."""
        labels = inputs.get("labels")
        if labels is None:
            raise ValueError("CDETrainer: a batch must hold `labels`, one action per delta.")
        by_name = getattr(getattr(self.model, "config", None), "return_dict", True)
        outputs = model(**inputs) if by_name else model(**inputs, return_dict=True)
        if isinstance(self.loss, nn.Module):
            self.loss.train(model.training)
        terms = named_terms(self.loss(outputs, labels))
        if model.training:
            self._trained.add(terms, 1 / getattr(self, "current_gradient_accumulation_steps", 1))
        else:
            samples = labels.numel() if self._batch_counts else 0
            counts = self.loss.counts(terms, samples) if isinstance(self.loss, CDELoss) else {}
            self._evaluated.add(terms, dict.fromkeys(terms, samples) | counts)
        loss = weighted_sum(terms, self._weights_of(terms, model.training))
        return (loss, outputs) if return_outputs else loss

    def _weights_of(self, terms: Iterable[str], warming_up: bool = False) -> dict[str, float]:
        """The weights by name of those terms that have one."""
        given = getattr(self.loss, "weights", None)
        weights = {name: 1.0 if given is None else given[name] for name in terms if given is None or name in given}
        steps = self.args.sparsity_warmup_ratio * self.state.max_steps if warming_up else 0
        if "sparsity" in weights and steps > 0:
            weights["sparsity"] *= min(1.0, self.state.global_step / steps)
        return weights

    def _train_along(self, loss: Loss) -> None:
        """Have the parameters of a loss trained as the model's are: on its device, alike in all processes."""
        if not isinstance(loss, nn.Module):
            return
        loss.to(self.args.device)
        own = _trainable(loss)
        if own and self.is_fsdp_enabled:
            raise ValueError("CDETrainer: a loss with parameters cannot be trained in shards: leave out fsdp.")
        for parameter in own:
            if self.args.world_size > 1:
                broadcast(parameter.data)
                mean = partial(self.accelerator.reduce, reduction="mean")
                parameter.register_hook(mean)  # type: ignore[no-untyped-call]
        if own:
            self.add_callback(_ClearGradients)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the averaged terms to the training logs; see `transformers.Trainer.log`."""
        if "loss" in logs and (terms := self._trained.pop(self.accelerator.reduce)):
            logs |= terms
            # With the log it goes into trainer_state.json, where the doctor and the card read it.
            self.state.stateful_callbacks["loss_weights"] = {n: float(w) for n, w in self._weights_of(terms).items()}
        super().log(logs, start_time)

    def _since_log(self) -> dict[str, Any]:
        return {**super()._since_log(), "terms": self._trained.sums()}

    def _go_on_logging(self, since_log: dict[str, Any]) -> None:
        super()._go_on_logging(since_log)
        self._trained = TermMeans({name: pair.to(self.args.device) for name, pair in since_log["terms"].items()})

    # Evaluation

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> EvalLoopOutput:
        """Adds the terms, and the exact loss, to the metrics; see `transformers.Trainer.evaluation_loop`."""
        self._evaluated = TermMeans()
        share_buffers(self.model)
        with seeded():  # training goes on as if there had been no evaluation
            output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        means = self._evaluated.pop(self.accelerator.reduce)
        if means:  # of batches with labels
            loss = means.pop("loss")
            if getattr(self.compute_loss, "__func__", None) is CDETrainer.compute_loss:
                # Not the mean of the batches' sums: a term may be a mean over something else than samples.
                loss = sum(weight * means[name] for name, weight in self._weights_of(means).items())
            metrics = {**means, "loss": loss}
            output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in metrics.items()})
        return output

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Any, Any, Any]:
        """Leaves out of the loss what several processes repeat to even out their last round."""
        if ignore_keys is None:
            known = getattr(getattr(self.model, "config", None), "keys_to_ignore_at_inference", [])
            ignore_keys = [*known, *_NOT_PREDICTIONS]
        rows, state = find_batch_size(inputs), self.accelerator.gradient_state
        new = rows
        if self.accelerator.num_processes > 1 and state.end_of_dataloader and state.remainder > 0:
            # A round is the batches of the processes one after another; repeated samples come last in it.
            new = min(max(state.remainder - rows * self.accelerator.process_index, 0), rows)
        self._batch_counts, kept = new > 0, max(new, 1)
        if kept < rows:
            inputs = recursively_apply(lambda x: x[:kept], inputs)
        loss, *rest = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        if loss is not None:
            self._evaluated.add({"loss": loss}, new)
        if kept == rows:
            return loss, *rest
        # All processes gather equally many rows, of which those over the remainder are then cut off.
        again = torch.arange(rows, device=self.args.device).clamp(max=kept - 1)
        logits, labels = (None if x is None else recursively_apply(lambda x: x[again], x) for x in rest)
        return loss, logits, labels

    # Data

    def _fit_batch(self) -> str | None:
        """Make the batch smaller where it has more samples than there are to train on; returns a sentence on it."""
        data, args, stream = self.train_dataset, self.args, isinstance(self.train_dataset, PairStream)
        if not args.dataloader_drop_last or not hasattr(data, "__len__"):
            return None
        asked = self._train_batch_size
        fitting = len(data) // args.world_size
        least = args.min_samples_per_class if args.class_aware_sampling and not stream else 1
        if fitting >= asked or fitting * args.world_size < max(least, args.world_size):
            return None
        self._train_batch_size = fitting
        where = f" in each of {args.world_size} processes" if args.world_size > 1 else ""
        return f"{len(data)} training pairs are fewer than a batch of {asked}{where}, so a batch has {fitting}{where}."

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Class-aware (see the class), resumable batches; see `transformers.Trainer.get_train_dataloader`."""
        data, args = self.train_dataset, self.args
        if isinstance(data, PairStream):
            settings = (data, self.data_collator, args.device, args, self._train_batch_size)
            return stream_loader(*settings)[0]  # type: ignore[no-any-return]
        stream = data is None or isinstance(data, IterableDataset) or not hasattr(data, "__len__")
        if stream or not (args.class_aware_sampling or args.train_sampling_strategy == "random"):
            return super().get_train_dataloader()  # type: ignore[no-any-return]
        # A batch of all processes, of which each takes its part: what a step sees depends on the size alone, and a run
        # that is resumed by another number of processes goes on where it was.
        data, batches = training_batches(
            data,
            self._train_batch_size * args.world_size,
            args.label_column if args.class_aware_sampling else None,
            args.min_samples_per_class,
            args.seed if args.data_seed is None else args.data_seed,
            args.dataloader_drop_last,
        )
        if not len(batches):
            raise ValueError(
                f"{len(data)} training samples are too few for {args.world_size} processes and "
                f"min_samples_per_class={args.min_samples_per_class}: add some, or lower either."
            )
        loader = DataLoader(
            data,
            batch_sampler=batches,
            collate_fn=self._get_collator_with_removed_columns(self.data_collator, description="training"),
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
            prefetch_factor=args.dataloader_prefetch_factor,
            multiprocessing_context=args.dataloader_multiprocessing_context,
            persistent_workers=args.dataloader_persistent_workers,
            # One of its own, so that to start an epoch takes nothing from the generator of the model's dropout.
            generator=torch.Generator().manual_seed(args.seed),
        )
        settings = self.accelerator.dataloader_config
        in_turn, settings.split_batches = settings.split_batches, True
        try:
            return self.accelerator.prepare(loader)  # type: ignore[no-any-return]
        finally:
            settings.split_batches = in_turn

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Batches of every sample; see `transformers.Trainer.get_eval_dataloader`."""
        with self._own_args(dataloader_drop_last=False):  # which is meant for training
            return super().get_eval_dataloader(eval_dataset)  # type: ignore[no-any-return]

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader[Any]:
        """Batches of every sample; see `transformers.Trainer.get_test_dataloader`."""
        with self._own_args(dataloader_drop_last=False):
            return super().get_test_dataloader(test_dataset)  # type: ignore[no-any-return]

    def num_examples(self, dataloader: DataLoader[Any]) -> int:
        """The samples of an epoch, over all processes; see `transformers.Trainer.num_examples`."""
        streamed = isinstance(dataloader.dataset, StreamedBatches)
        return len(self.train_dataset) if streamed else super().num_examples(dataloader)

    # Optimizer

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """`args.optim` on `args.parameter_groups`; see `transformers.Trainer.create_optimizer`."""
        model = self.model if model is None else model
        kind, options = self.optimizer_cls_and_kwargs or self.get_optimizer_cls_and_kwargs(self.args, model)
        # Some optimizers form groups of their own.
        if self.optimizer is None and not options.keys() & {"params", "model", "optimizer_dict"}:
            groups = self.args.parameter_groups(model)
            if own := _trainable(self.loss):
                groups.append({"name": "loss", "params": own, "lr": self.args.learning_rate, "weight_decay": 0.0})
            self.optimizer: Any = kind(groups, **options)
        return super().create_optimizer(model)  # type: ignore[no-any-return]

    def create_scheduler(self, *args: Any, **kwargs: Any) -> Any:
        """See `transformers.Trainer.create_scheduler`; the backbone's rate is 0 for `args.head_first_ratio`.

        Raises:
            ValueError: for `lr_scheduler_kwargs` that it does not take, or a schedule without a factor for each group.
        """
        try:
            scheduler = super().create_scheduler(*args, **kwargs)
        except TypeError as error:
            raise ValueError(f"lr_scheduler_kwargs={self.args.lr_scheduler_kwargs}: {error}.") from error
        if self.args.head_first_ratio:
            steps = args[0] if args else kwargs["num_training_steps"]
            begin_later(scheduler, round(self.args.head_first_ratio * steps))
        return scheduler


class _ClearGradients(TrainerCallback):  # type: ignore[misc]
    """Clears the gradients of a loss's parameters after each step; Trainer clears those of the model alone."""

    def on_optimizer_step(self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any) -> None:
        optimizer.zero_grad()


def _begins_frozen(model: nn.Module) -> bool:
    """Whether blocks are trained, wholly or in part, whose inputs come from frozen parameters alone."""
    blocks = next((name for name, module in model.named_modules() if isinstance(module, nn.ModuleList)), None)
    if blocks is None:
        return False
    names = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    before = takewhile(lambda name: not name.startswith(f"{blocks}."), names)  # in the order in which they run
    return not any(names[name] for name in before) and any(
        trained for name, trained in names.items() if name.startswith(f"{blocks}.")
    )


def _trainable(loss: Loss) -> list[nn.Parameter]:
    """The parameters of a loss that are trained; a function has none."""
    return [p for p in loss.parameters() if p.requires_grad] if isinstance(loss, nn.Module) else []
