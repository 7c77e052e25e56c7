"""Run by test_distributed.py in two processes at once (gloo, CPU); each writes what it found to FOLDER/rank-N.pt.

WORLD_SIZE=2 ... python -m tests.training.two_processes FOLDER

The second one is forked from the first, so that all is imported once.
"""

import gc
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from transformers import TrainerCallback

from modeling_cde.data.collator import PairCollator
from modeling_cde.models.modeling_neighbours import NeighboursForActionClassification
from modeling_cde.training.distributed import check_same_everywhere, gather_rows, tells_of_lost_processes
from modeling_cde.training.losses import CDELoss, weighted_sum
from modeling_cde.training.trainer import CDETrainer
from modeling_cde.training.training_args import CDETrainingArguments
from tests.data.streamed_pairs import stream_of, write_files
from tests.data.tiny_pairs import ACTIONS
from tests.models.auxiliary_model import tiny_auxiliary
from tests.tiny_models import backbone_config, clips, tiny_cde
from tests.tiny_pairs import pairs, quick
from tests.training.own_losses import OwnTrainer, Scaled

# Gradients are compared, so plain SGD; the batches are the data in order, so that both runs have the same global ones.
SGD = {"optim": "sgd", "lr_scheduler_type": "constant", "warmup_steps": 0, "max_grad_norm": 0.0, "weight_decay": 0.0}
IN_ORDER = {"class_aware_sampling": False, "train_sampling_strategy": "sequential"}
TRAINER_RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated": {"gradient_accumulation_steps": 2},
    "auxiliary": {"gradient_accumulation_steps": 2},
    "global": {"gradient_checkpointing": True},
    "sharded": {"gradient_accumulation_steps": 2, "max_grad_norm": 20.0},
    "sharded, global": {"gradient_checkpointing": True},
}
FSDP = {"fsdp": True, "fsdp_config": {"version": 2, "state_dict_type": "SHARDED_STATE_DICT"}}
# Where a checkpoint is from (of one process: alone), and what resumes it.
RESUMED = [("sharded", "sharded"), ("sharded", "whole"), ("whole", "sharded"), ("alone", "sharded")]
LOGGED = ("loss", "cross_entropy", "contrastive", "sparsity", "delta_norm", "auxiliary")
MODEL_OPTIONS = {"delta_mode": "patch", "projector_dropout": 0.0}
# Labels so uneven over processes and micro-batches that a local mean over anchors would be another number.
LABELS = torch.tensor([0, 0, 0, 1, 2, 0, 3, 4, 1, 1, 0, 2, 2, 5, 2, 2])


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 4))


def inputs() -> torch.Tensor:
    return torch.randn(16, 5, generator=torch.Generator().manual_seed(1))


def global_gradients(accumulate: int) -> list[torch.Tensor]:
    """One process: the mean over `accumulate` global batches of 16 / accumulate rows."""
    model = encoder()
    for x, labels in zip(inputs().chunk(accumulate), LABELS.chunk(accumulate), strict=True):
        delta = model(x)
        terms = CDELoss()({"loss": (delta**2).mean(), "delta": delta}, labels)
        (weighted_sum(terms, CDELoss().weights) / accumulate).backward()
    return [p.grad for p in model.parameters()]


def ddp_gradients(accumulate: int) -> tuple[list[torch.Tensor], list[float]]:
    """This process's half of each global batch, through DistributedDataParallel."""
    model = DistributedDataParallel(encoder())
    logged = []
    for step, (x, labels) in enumerate(zip(inputs().chunk(accumulate), LABELS.chunk(accumulate), strict=True)):
        own = slice(len(x) // 2 * dist.get_rank(), len(x) // 2 * (dist.get_rank() + 1))
        model.require_backward_grad_sync = step == accumulate - 1
        delta = model(x[own])
        terms = CDELoss()({"loss": (delta**2).mean(), "delta": delta}, labels[own])
        (weighted_sum(terms, CDELoss().weights) / accumulate).backward()
        logged += [terms["contrastive"].item(), terms["anchors_without_positive"].item()]
    return [p.grad for p in model.parameters()], logged


def gathering() -> dict[str, Any]:
    """Ragged rows: process 0 has two, process 1 three."""
    rank = dist.get_rank()
    rows = (torch.arange(2.0 + rank)[:, None] + 10 * rank).requires_grad_()  # (2 + rank, 1)
    everyone, first, processes = gather_rows(rows)
    (everyone.flatten() * torch.arange(1.0, 6.0) * (rank + 1)).sum().backward()
    labels, _, _ = gather_rows(torch.arange(2 + rank) + 10 * rank)
    return {
        "rows": everyone.detach().flatten().tolist(),
        "labels": labels.tolist(),
        "first": first,
        "processes": processes,
        "gradient": rows.grad.flatten().tolist(),
    }


def neighbours(rank: int, processes: int) -> dict[str, torch.Tensor]:
    """Two batches of four pairs, shared among the processes: the bank, and the gradient of the temperature."""
    torch.manual_seed(0)
    options = {"num_labels": 3, "num_neighbours": 4, "bank_size": 6}
    model = NeighboursForActionClassification.from_backbone(backbone_config("vit"), **options)
    wrapped = DistributedDataParallel(model) if processes > 1 else model
    wrapped.train()
    x, labels, size = clips(8), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]), 4 // processes
    for batch in (0, 4):
        own = slice(batch + size * rank, batch + size * (rank + 1))
        wrapped(x[own], labels=labels[own]).loss.backward()
    return {**model.state_dict(), "gradient": model.log_temperature.grad}


def arguments(folder: Path, **options: Any) -> CDETrainingArguments:
    """`quick`, in shards only where the options say so: Accelerate remembers it from the training before."""
    os.environ.pop("ACCELERATE_USE_FSDP", None)
    return quick(folder, **options)


def train(folder: Path, batch: int, run: str) -> dict[str, Any]:
    """Two steps on the same global batches, then an evaluation with a ragged end."""
    options = {
        "max_steps": 2,
        "per_device_train_batch_size": batch,
        "learning_rate": 0.1,
        "backbone_learning_rate": 0.1,
    }
    sharded = FSDP if run.startswith("sharded") and batch < 8 else {}
    options = {"per_device_eval_batch_size": 4, **options, **SGD, **IN_ORDER, **TRAINER_RUNS[run], **sharded}
    collected = []
    own_term = run == "auxiliary"
    model_options = MODEL_OPTIONS | ({"delta_mode": "global"} if "global" in run else {})
    trainer = CDETrainer(
        tiny_auxiliary(**model_options) if own_term else tiny_cde("vit", **model_options),
        arguments(folder, **options),
        train_dataset=pairs(40, objects=own_term),
        eval_dataset=pairs(13, objects=own_term),
        compute_metrics=lambda p: collected.append(p.predictions) or {"n": len(p.predictions)},
    )
    trainer.train()
    logs = [{k: log[k] for k in LOGGED if k in log} for log in trainer.state.log_history[:2]]
    metrics = {}
    for number in (13, 3):  # of 3 samples the second process gets none
        found = trainer.evaluate(pairs(number, objects=own_term))
        metrics[number] = {name: value for name, value in found.items() if "_second" not in name and "time" not in name}
    return {
        "replaced": [name for name in vars(trainer.model) if callable(getattr(type(trainer.model), name, None))],
        "weights": {name: p.detach() for name, p in trainer.whole_model().named_parameters()},
        "logs": logs,
        "metrics": metrics,
        "logits": collected[0],
    }


def own_losses(folder: Path, batch: int) -> dict[str, float]:
    """An overridden loss evaluated to a ragged end, and a loss's own parameter after two steps on global batches."""
    options = {"max_steps": 2, "per_device_train_batch_size": batch, "per_device_eval_batch_size": 4, **SGD, **IN_ORDER}
    loss = Scaled(0.5 * int(os.environ.get("RANK", "0")))  # the first process's value counts
    args = arguments(folder, learning_rate=0.1, backbone_learning_rate=0.1, **options)
    trainer = CDETrainer(tiny_cde("vit", **MODEL_OPTIONS), args, loss=loss, train_dataset=pairs(40))
    trainer.train()
    found = {"learned": loss.log_temperature.item()}
    overridden = OwnTrainer(tiny_cde("vit", **MODEL_OPTIONS), args)
    for number in (13, 3):  # of 3 samples the second process gets none
        found[f"term {number}"] = trainer.evaluate(pairs(number))["eval_loss"]
        found[f"overridden {number}"] = overridden.evaluate(pairs(number))["eval_loss"]
    return found


def resume(folder: Path) -> dict[str, bool]:
    """Class-aware batches and random transforms: stopped within the second epoch against never stopped."""
    options = {"per_device_train_batch_size": 4, "max_steps": 5, "gradient_accumulation_steps": 1}
    batches: dict[str, list[Any]] = {"whole": [], "resumed": []}

    def run(name: str, seed: int, checkpoint: str | None, **more: Any) -> dict[str, torch.Tensor]:
        model = tiny_cde("vit", seed=seed, projector_dropout=0.2)
        trainer = CDETrainer(model, arguments(folder, **options, **more), train_dataset=pairs(25, noise=0.1))
        compute = trainer.compute_loss
        trainer.compute_loss = lambda model, inputs, **k: batches[name].append(inputs) or compute(model, inputs, **k)
        trainer.train(resume_from_checkpoint=checkpoint)
        return model.state_dict()

    whole = run("whole", 0, None, save_strategy="steps", save_steps=2)
    dist.barrier()
    same = {}
    for step in (2, 4):
        batches["resumed"].clear()
        resumed = run("resumed", 1, str(folder / f"checkpoint-{step}"))
        same[f"weights after {step}"] = all(torch.equal(whole[name], resumed[name]) for name in whole)
        same[f"batches after {step}"] = all(
            torch.equal(a["pixel_values"], b["pixel_values"])
            for a, b in zip(batches["whole"][step:], batches["resumed"], strict=True)
        )
    labels = [batch["labels"] for batch in batches["whole"]]
    everywhere = [gather_rows(x)[0] for x in labels]  # the rule is for the batch of all processes
    same["two of each action"] = all(x.bincount(minlength=3)[x].min() >= 2 for x in everywhere)
    return same


def changing_processes(folder: Path, name: str, processes: int, sharded: bool, start: Path | None) -> dict[str, Any]:
    """Four steps of eight pairs each, class-aware, with a checkpoint after two unless it starts at one."""
    options = {"per_device_train_batch_size": 8 // processes, "max_steps": 4, **(FSDP if sharded else {})}
    # The gradient of a key's bias is nothing but rounding, of which Adam would make whole steps.
    options |= {"adam_epsilon": 1e-4, "backbone_learning_rate": 1e-3, "learning_rate": 1e-3}
    saves = {"save_strategy": "steps", "save_steps": 2} if start is None else {}
    model = tiny_cde("vit", seed=0 if start is None else 1)
    trainer = CDETrainer(model, arguments(folder / name, **options, **saves), train_dataset=pairs(33))
    trainer.train(resume_from_checkpoint=start and str(start))
    whole = trainer.whole_model()
    if start is None:
        trainer.save_model(str(folder / name))
    return {"weights": whole.state_dict(), "losses": [x["loss"] for x in trainer.state.log_history if "loss" in x]}


def sharded_runs(folder: Path) -> dict[str, Any]:
    """Trainings in shards and not, each resumed in both ways; one process has left a checkpoint, too."""
    found = {name: changing_processes(folder, name, 2, name == "sharded", None) for name in ("sharded", "whole")}
    for start, end in RESUMED:
        checkpoint = folder / start / "checkpoint-2"
        found[f"{start} to {end}"] = changing_processes(folder, "again", 2, end == "sharded", checkpoint)
    try:
        changing_processes(folder, "other", 1, True, folder / "sharded" / "checkpoint-2")
    except ValueError as error:
        found["another batch"] = str(error)
    return found


def best_in_shards(folder: Path) -> dict[str, Any]:
    """A network with batch norm, whose first evaluation is the best, and is loaded at the end from shards."""

    class Worsen(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
            metrics["eval_validation_loss"] = float(state.global_step)

    steps = {"save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps", "eval_steps": 1, "max_steps": 2}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "validation_loss", "greater_is_better": False}
    args = arguments(folder, **steps, **best, **FSDP)
    splits = {"validation": pairs(6)}
    trainer = CDETrainer(tiny_cde("resnet"), args, train_dataset=pairs(), eval_dataset=splits, callbacks=[Worsen()])
    trainer.train()
    best_weights = trainer.whole_model().state_dict()
    trainer.restore(str(folder / "checkpoint-2"))
    return {"best": best_weights, "last": trainer.whole_model().state_dict(), "step": trainer.state.best_global_step}


def wrong_starts(folder: Path) -> dict[str, str]:
    """What is said where the processes were not started alike, and where one of them ends."""
    said = {}
    try:
        check_same_everywhere({"seed": 0, "learning_rate": 0.1 * (dist.get_rank() + 1)})
    except ValueError as error:
        said["different"] = str(error)
    args = arguments(folder, per_device_train_batch_size=4, seed=dist.get_rank())
    try:
        CDETrainer(tiny_cde("vit"), args, train_dataset=pairs(25)).train()
    except ValueError as error:
        said["another seed"] = str(error)
    args = arguments(folder, per_device_train_batch_size=13)
    trainer = CDETrainer(tiny_cde("vit"), args, train_dataset=pairs(25))
    sizes = [len(batch["labels"]) for batch in trainer.get_train_dataloader()]
    said["smaller"] = [trainer.smaller_batch, sizes]
    try:
        CDETrainer(tiny_cde("vit"), args, train_dataset=pairs(1)).train()
    except ValueError as error:
        said["too few"] = str(error)
    return said


def streamed(folder: Path) -> dict[str, Any]:
    """Each process streams its share of uneven files: whole against resumed within the first epoch, of 6 steps."""
    options = {"per_device_train_batch_size": 4, "max_steps": 8, "dataloader_num_workers": 0}
    paths = write_files(folder / f"files-{dist.get_rank()}")
    seen: list[list[str]] = []

    def run(seed: int, checkpoint: str | None, **more: Any) -> dict[str, torch.Tensor]:
        model = tiny_cde("vit", seed=seed, projector_dropout=0.2, id2label=dict(enumerate(ACTIONS)))
        stream = stream_of(paths)
        transformed = stream.transformed
        stream.transformed = lambda rows: seen.append([row["pair_id"] for row in rows]) or transformed(rows)
        args = arguments(folder, **options, **more)
        trainer = CDETrainer(model, args, train_dataset=stream, data_collator=PairCollator())
        trainer.train(resume_from_checkpoint=checkpoint)
        return model.state_dict()

    whole = run(0, None, save_strategy="steps", save_steps=4)
    batches, seen[:] = list(seen), []
    resumed = run(1, str(folder / "checkpoint-4"))
    return {
        "same weights": all(torch.equal(whole[name], resumed[name]) for name in whole),
        "same batches": seen == batches[4:],
        "first epoch": [pair for batch in batches[:6] for pair in batch],
    }


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    gc.freeze()  # each training collects garbage first, also among all that was imported
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    found: dict[str, Any] = {"gathering": gathering()}
    for accumulate in (1, 2):
        found[f"ddp {accumulate}"] = ddp_gradients(accumulate)
    for run in TRAINER_RUNS:
        found[run] = train(folder / run, 4, run)
    found["own losses"] = own_losses(folder / "own", 4)
    found["neighbours"] = neighbours(rank, 2)
    found["resume"] = resume(folder / "resume")
    found["streamed"] = streamed(folder / "streamed")
    found["shards"] = sharded_runs(folder)
    found["best"] = best_in_shards(folder / "best")
    found["said"] = wrong_starts(folder / "wrong")
    torch.save(found, folder / f"rank-{rank}.pt")
    if rank == 1:
        os._exit(0)  # as if killed: the other one is in the middle of an exchange
    try:
        with tells_of_lost_processes():
            dist.all_reduce(torch.zeros(1))
    except ConnectionError as error:
        (folder / "lost.txt").write_text(str(error))


if __name__ == "__main__":
    second = os.fork()
    os.environ["RANK"] = os.environ["LOCAL_RANK"] = "0" if second else "1"
    main(Path(sys.argv[1]))
    assert os.waitpid(second, 0)[1] == 0
