"""Trains a head on kept features as train.py does, without its files, and says what it answers."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.study.pairs import READINGS, Pairs

RECIPE = str(Path(__file__).parents[2] / "configs" / "dino_global.yaml")
_QUIET = {
    "compare_with": "", "eval_strategy": "no", "report_to": "none", "disable_tqdm": True, "logging_strategy": "no",
    "use_cpu": True, "dataloader_num_workers": 0,
}  # fmt: skip


def fit(pairs: Pairs, reading: str, train: Sequence[int], method: str = "cde", seed: int = 0, **flags: Any) -> Any:
    """Train the head of a method.

    Args:
        pairs: From `open_pairs`.
        reading: What of the backbone it reads.
        train: Numbers of the pairs that it is trained on.
        method: A value of `--method`.
        seed: Of weights and batches.
        **flags: Of train.py, on top of `RECIPE`; `swap_opposites` adds the copies of all pairs in `train` whose
            combination of opposite action and object is in `train`, too; `classifier` may be "lda", which is not
            trained further, and whose shrinkage is chosen on the parts `validation`: name -> numbers of pairs.

    Returns:
        The model.
    """
    from transformers import PrinterCallback

    from modeling_cde.data import PairCollator
    from modeling_cde.training.arguments import BROUGHT, DataArguments, ModelArguments
    from modeling_cde.training.lda_head import give_lda_head
    from modeling_cde.training.recipe import parse_recipe
    from modeling_cde.training.trainer import CDETrainer
    from modeling_cde.training.training_args import CDETrainingArguments

    validation = flags.pop("validation", {})
    with tempfile.TemporaryDirectory() as folder:
        given = {"method": method, "seed": seed, **READINGS[reading], **flags, **_QUIET, "output_dir": folder}
        words = ["--config", RECIPE]
        for name, value in given.items():
            words += [f"--{name}", *map(_text, value)] if isinstance(value, list) else [f"--{name}={_text(value)}"]
        kinds = (ModelArguments, DataArguments, CDETrainingArguments)
        model_args, data_args, args = parse_recipe(kinds, words, BROUGHT)
        model = _new_model(model_args, pairs.rows[reading], args.seed)
        rows = (pairs.objects if "objects" in model.extra_inputs else pairs.rows)[reading]
        chosen = list(train)
        if data_args.swap_opposites:
            chosen += _copies(pairs, chosen)
        part = rows.select(chosen)
        if model_args.classifier == "lda":
            give_lda_head(model, part, {name: rows.select(numbers) for name, numbers in validation.items()})
            return model
        args.per_device_train_batch_size = min(args.per_device_train_batch_size, len(chosen))
        trainer = CDETrainer(model=model, args=args, train_dataset=part, data_collator=PairCollator())
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        return model


def answers(model: Any, pairs: Pairs, reading: str, rows: Sequence[int]) -> list[str]:
    """The action that a model names, for each of these pairs."""
    import torch

    model.eval()
    names = model.config.id2label
    found: list[str] = []
    with torch.no_grad():
        for start in range(0, len(rows), 1024):
            part = pairs.rows[reading].select(rows[start : start + 1024])
            logits = model(features=torch.stack(part[:]["features"])).logits
            found += [names[i] for i in logits.argmax(-1).tolist()]
    return found


def accuracy(model: Any, pairs: Pairs, reading: str, rows: Sequence[int]) -> float:
    """The share of these pairs whose action a model names."""
    said = answers(model, pairs, reading, rows)
    return sum(word == pairs.action[row] for word, row in zip(said, rows, strict=True)) / len(rows)


def scores(model: Any, pairs: Pairs, reading: str, parts: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """The accuracy on each part but the one that it was trained on."""
    return {name: accuracy(model, pairs, reading, rows) for name, rows in parts.items() if name != "train"}


def _copies(pairs: Pairs, train: Sequence[int]) -> list[int]:
    """The swapped copies of these pairs that show no combination of action and object that the pairs do not have."""
    from modeling_cde.data.splits import OPPOSITES

    seen = {(pairs.action[i], pairs.object[i]) for i in train}
    can = [i for i in train if i in pairs.copies and (OPPOSITES[pairs.action[i]], pairs.object[i]) in seen]
    return [pairs.copies[i] for i in can]


def _new_model(model_args: Any, rows: Any, seed: int) -> Any:
    """A method's new model as train.py makes it, on a backbone of the right width that is never run."""
    from transformers import set_seed

    from modeling_cde.models.methods import METHODS
    from modeling_cde.training.new_model import model_options

    kind: Any = METHODS[model_args.method].model_class
    backbone = study_backbone(rows[0]["features"].shape[-1] // len(model_args.feature_layers or [None]))
    set_seed(seed)  # only now: train.py loads its backbone, and draws nothing but the head
    options = model_options(model_args, rows.features)
    model = kind(kind.config_class(backbone_config=backbone.config, **options), backbone)
    model.freeze_backbone()
    return model


@cache
def study_backbone(width: int) -> Any:
    """What all models of a process share: none runs or trains it."""
    from transformers import AutoModel, Dinov2Config

    return AutoModel.from_config(
        Dinov2Config(hidden_size=width, num_hidden_layers=12, num_attention_heads=1, mlp_ratio=1, patch_size=14)
    )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
