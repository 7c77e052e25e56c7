"""Training of CDE models and of the methods that they are compared with.

Notable:
- The model's forward gives the cross-entropy, and a term of its own where the method has one (`auxiliary_loss`); the
  contrastive and the sparsity term are taken from its outputs, over all processes.
- Each term is logged by itself, in training and in evaluation.
- Batches are class-aware, and with the transforms' randomness a function of seed and epoch: a run resumes bit for
  bit.
- What is saved and restored, also of LoRA: `checkpointing.py`. What is pushed to the Hub during training: `pushing.py`.
"""

from typing import Any

import torch
from accelerate.utils import find_batch_size, recursively_apply
from torch import nn
from torch.utils.data import DataLoader, IterableDataset
from transformers.trainer_utils import EvalLoopOutput

from ..data.sampler import seeded, training_batches
from ..data.streaming.pair_stream import PairStream
from .distributed import gather_rows
from .losses import CDELoss, TermMeans
from .stream_training import StreamingTrainer
from .training_args import CDETrainingArguments

# Outputs that are not handed to compute_metrics, which gets the logits alone.
_NOT_PREDICTIONS = "delta states patch_delta patch_indices patch_logits auxiliary_loss hidden_states attentions".split()


class CDETrainer(StreamingTrainer):
    """Trainer of `CDEForActionClassification` and of every model with its inputs and outputs.

    The loss is the model's `outputs.loss` plus the contrastive and the sparsity term on `outputs.delta`, or
    on every patch of `outputs.patch_delta` where the model's config says `patch_loss="per_patch"`. A model
    without `delta` is trained with both weights 0.

    Logged in training, averaged since the last log: `loss`, `cross_entropy`, `contrastive`, `sparsity`
    (without their weights), `anchors_without_positive` (a share), `delta_norm` (mean Euclidean norm of the deltas
    that the terms are taken on) and, where `outputs.auxiliary_loss` is a scalar, `auxiliary`: the part of
    `outputs.loss`, already weighted, that is no cross-entropy. In evaluation the same after `eval_` or
    `eval_<split>_`: all are averaged over samples, but the contrastive term over the
    anchors that have a positive in their own evaluation batch of one process, whatever the number of
    processes, and `loss` has the full weights, also during a warm-up.

    Further columns of a batch (`objects`, `masks`: see `PairTransform`) are passed to the model as they are.

    Training batches: a data set with columns (`datasets.Dataset`) is sampled class-aware by
    `args.label_column`; any other one of known length is shuffled; a `PairStream` is read in shares, see
    `data/streaming.py`, and any other stream as `Trainer` reads it.

    Args:
        model, args, **kwargs: as for `transformers.Trainer`, args being `CDETrainingArguments`.

    Raises:
        ValueError: if the best model would be selected on a test split, `compute_loss_func` is given, the backbone has
            no gradient checkpointing, or a model with LoRA would be sharded.
    """

    def __init__(self, model: Any = None, args: CDETrainingArguments | None = None, **kwargs: Any) -> None:
        args = CDETrainingArguments() if args is None else args
        if kwargs.get("compute_loss_func") is not None:
            raise ValueError("CDETrainer: compute_loss_func would replace the loss; override compute_loss instead.")
        args.refuse_selection_on_test(kwargs.get("eval_dataset"))
        if args.gradient_checkpointing and not getattr(model, "supports_gradient_checkpointing", True):
            backbone = getattr(getattr(model.config, "backbone_config", None), "model_type", type(model).__name__)
            raise ValueError(
                f"gradient_checkpointing is not known for a backbone of the family {backbone}: leave it out, and lower "
                "per_device_train_batch_size for less memory."
            )
        super().__init__(model=model, args=args, **kwargs)
        # Every term is a mean over the micro-batch: Trainer is to divide it, once, by the accumulation steps.
        self.model_accepts_loss_kwargs = False
        self.loss_is_scaled_for_ga = False
        self.loss = CDELoss(args.contrastive_weight, args.sparsity_weight, args.temperature, args.sparsity_reduction)
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
        outputs = model(**inputs)
        terms = self._terms(outputs, inputs.get("labels"), model.training)
        loss = terms.pop("loss")
        if model.training:
            self._trained.add(terms, 1 / getattr(self, "current_gradient_accumulation_steps", 1))
        else:
            samples = inputs["labels"].numel() if self._batch_counts else 0
            # A sample is one anchor, or k with patches: the same number in every batch.
            anchors = samples * (1 - terms.get("anchors_without_positive", 0.0))
            self._evaluated.add(terms, dict.fromkeys(terms, samples) | {"contrastive": anchors})
        return (loss, outputs) if return_outputs else loss

    def _terms(self, outputs: Any, labels: torch.Tensor | None, training: bool) -> dict[str, torch.Tensor]:
        if labels is None or outputs.get("loss") is None:
            raise ValueError("CDETrainer: the model gave no loss; a batch must hold `labels`, one action per delta.")
        own_loss = outputs["loss"].mean()  # a vector under DataParallel
        parts = {"cross_entropy": own_loss}
        if outputs.get("auxiliary_loss") is not None:
            auxiliary = outputs["auxiliary_loss"].mean().to(own_loss)
            parts = {"cross_entropy": own_loss - auxiliary, "auxiliary": auxiliary}
        if outputs.get("delta") is None:
            if self.loss.contrastive_weight or self.loss.sparsity_weight:
                name = type(self.model).__name__
                raise ValueError(f"{name} returns no `delta`: set contrastive_weight=0 and sparsity_weight=0 for it.")
            return {**parts, "loss": own_loss}
        per_patch = getattr(getattr(self.model, "config", None), "patch_loss", None) == "per_patch"
        steps = self.args.sparsity_warmup_ratio * self.state.max_steps if training else 0
        terms: dict[str, torch.Tensor] = self.loss(
            own_loss,
            outputs["delta"],
            labels,
            outputs.get("patch_delta") if per_patch else None,
            gather=gather_rows if training else None,
            sparsity_scale=min(1.0, self.state.global_step / steps) if steps > 0 else 1.0,
        )
        return {**terms, **parts}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the averaged terms to the training logs; see `transformers.Trainer.log`."""
        if "loss" in logs:
            logs |= self._trained.pop(self.accelerator.reduce)
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
        with seeded():  # training goes on as if there had been no evaluation
            output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        if terms := self._evaluated.pop(self.accelerator.reduce):
            weights = {"cross_entropy": 1.0, "auxiliary": 1.0, "contrastive": self.loss.contrastive_weight}
            weights["sparsity"] = self.loss.sparsity_weight
            terms["loss"] = sum(weights.get(name, 0.0) * value for name, value in terms.items())
            output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in terms.items()})
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
        if kept == rows:
            return loss, *rest
        # All processes gather equally many rows, of which those over the remainder are then cut off.
        again = torch.arange(rows, device=self.args.device).clamp(max=kept - 1)
        logits, labels = (None if x is None else recursively_apply(lambda x: x[again], x) for x in rest)
        return loss, logits, labels

    # Data

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Class-aware (see the class), resumable batches; see `transformers.Trainer.get_train_dataloader`."""
        data, args = self.train_dataset, self.args
        stream = data is None or isinstance(data, IterableDataset | PairStream) or not hasattr(data, "__len__")
        if stream or not (args.class_aware_sampling or args.train_sampling_strategy == "random"):
            return super().get_train_dataloader()
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
                f"{len(data)} training samples are less than a batch of {self._train_batch_size} for each of "
                f"{args.world_size} processes: lower per_device_train_batch_size."
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

    def _get_dataloader(self, *args: Any, is_training: bool = False, **kwargs: Any) -> DataLoader[Any]:
        # `dataloader_drop_last` is meant for training: evaluation counts every sample.
        drop_last = self.args.dataloader_drop_last
        self.args.dataloader_drop_last = drop_last and is_training
        try:
            return super()._get_dataloader(*args, is_training=is_training, **kwargs)  # type: ignore[no-any-return]
        finally:
            self.args.dataloader_drop_last = drop_last

    def _determine_best_metric(self, *args: Any, **kwargs: Any) -> bool:
        try:
            return super()._determine_best_metric(*args, **kwargs)  # type: ignore[no-any-return]
        except KeyError as error:
            raise ValueError(error.args[0]) from error  # a sentence of its own

    # Optimizer

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """`args.optim` on `args.parameter_groups`; see `transformers.Trainer.create_optimizer`."""
        model = self.model if model is None else model
        kind, options = self.optimizer_cls_and_kwargs or self.get_optimizer_cls_and_kwargs(self.args, model)
        # Some optimizers form groups of their own.
        if self.optimizer is None and not options.keys() & {"params", "model", "optimizer_dict"}:
            self.optimizer: Any = kind(self.args.parameter_groups(model), **options)
        return super().create_optimizer(model)  # type: ignore[no-any-return]

    def create_scheduler(self, *args: Any, **kwargs: Any) -> Any:
        """See `transformers.Trainer.create_scheduler`; ValueError for `lr_scheduler_kwargs` that it does not take."""
        try:
            return super().create_scheduler(*args, **kwargs)
        except TypeError as error:
            raise ValueError(f"lr_scheduler_kwargs={self.args.lr_scheduler_kwargs}: {error}.") from error
