"""The features that the runs of a benchmark read: every picture goes through a frozen backbone once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.paper.plan import Run


def keep_all_features(plan: Sequence[Run]) -> int:
    """Encode the pictures of all runs with a frozen backbone, and keep what any of them reads of it.

    Runs may read other layers, or pool otherwise: one pass of the backbone serves all. Each run then finds its features
    in the store. Runs that read pictures are left alone. The data sets must be there.

    Returns:
        The number of pairs that were encoded; those that the store had are not counted.
    """
    from data_scripts.training_inputs import reachable_backbone
    from modeling_cde.features.keep import keep_features
    from modeling_cde.models.methods import METHODS
    from modeling_cde.training.arguments import BROUGHT, DataArguments, ModelArguments
    from modeling_cde.training.distributed import use_all_cores
    from modeling_cde.training.new_model import make_model
    from modeling_cde.training.recipe import parse_recipe
    from modeling_cde.training.training_args import CDETrainingArguments
    from modeling_cde.training.training_data import feature_store, keeping, training_splits, training_transforms

    kinds = (ModelArguments, DataArguments, CDETrainingArguments)
    groups: dict[Any, dict[Any, Any]] = {}
    reached: dict[Any, str | None] = {}
    for run in plan:
        model_args, data, args = parse_recipe(kinds, run.arguments(), BROUGHT)
        if feature_store(model_args, data) is None:
            continue
        wanted = (model_args.backbone, model_args.backbone_revision)
        reached[wanted] = reached.get(wanted) or reachable_backbone(*wanted)
        model_args.backbone = reached[wanted]
        seen = (model_args.backbone, model_args.backbone_revision, data.image_size, run.base, data.view)
        patches = METHODS[model_args.method].config_class(**model_args.cde_options()).reads_patches
        read = ("patches" if patches else model_args.pooling, tuple(model_args.feature_layers or ()))
        group = groups.setdefault((*seen, args.bf16), {"readings": {}, "sources": {}})
        group["readings"].setdefault(read, (model_args, data))
        group["sources"].setdefault(data.source, (model_args, data, args))
    encoded = 0
    for group in groups.values():
        use_all_cores(1)
        models: list[Any] = []
        for model_args, data, args in group["sources"].values():
            splits = training_splits(data, args.seed)
            features = splits["train"].features
            if not models:  # of their heads, which other classes would change, nothing is read
                models += [make_model(one, data.image_size, features) for one, _ in group["readings"].values()]
            (first, processor), *others = models
            transform = training_transforms(data, first, processor, features["action"].names, args.seed)[0]
            store = feature_store(model_args, data)
            if store is not None:
                also = [model for model, _ in others]
                keep_features(first, splits, transform, store, **keeping(args), also=also)
                encoded += store.encoded
    return encoded
