"""The two heads of a classifier of one's own pairs: in closed form for few pairs, by CDE's losses for many.

How they compare, on draws of rendered rooms that no reported figure is of: docs/fit.md, and
`python -m benchmarks.few_pairs choose`.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import torch

from ..data.collator import PairCollator
from ..models.configuration_cde import CDEConfig
from ..models.modeling_cde import CDEForActionClassification
from ..training.closed_form import fit_lda
from ..training.lda_head import set_lda_head
from ..training.trainer import CDETrainer
from ..training.training_args import CDETrainingArguments
from . import Head

#: From so many pairs on, the head is trained.
FEW = 1000
# On the same draws .1 to .9 differ by a point: more is better for four actions, less for ten.
SHRINKAGE = 0.5
STEPS = 100  # twice as many are no better
BATCH = 128


@dataclass(frozen=True)
class Examples:
    """Pairs, as a frozen backbone reads them.

    Attributes:
        features: Before and after, (n, 2, D_b) float32.
        labels: Actions, (n,) int64 in [0, A).
        objects: Kinds of objects, (n,) int64.
    """

    features: torch.Tensor
    labels: torch.Tensor
    objects: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, numbers: Sequence[int]) -> "Examples":
        """The pairs with these numbers."""
        chosen = torch.tensor(numbers, dtype=torch.int64)
        return Examples(self.features[chosen], self.labels[chosen], self.objects[chosen])

    def with_swapped(self, opposites: Mapping[int, int]) -> "Examples":
        """These pairs, and each pair whose action has an opposite once more, backwards and under the opposite."""
        copied = torch.tensor([i for i, label in enumerate(self.labels.tolist()) if label in opposites]).long()
        swapped = torch.tensor([opposites[label] for label in self.labels[copied].tolist()]).long()
        return Examples(
            torch.cat([self.features, self.features[copied].flip(1)]),
            torch.cat([self.labels, swapped]),
            torch.cat([self.objects, self.objects[copied]]),
        )


def head_for(pairs: int) -> Head:
    """The kind of head that so many pairs get."""
    return "closed_form" if pairs < FEW else "trained"


def new_model(backbone: Any, reading: Mapping[str, Any], actions: Sequence[str], head: Head, seed: int) -> Any:
    """A `CDEForActionClassification` on a frozen backbone, which it shares, with room for a head of this kind."""
    size: dict[str, Any] = {"delta_dim": 256, "projector_hidden_dim": 384}
    if head == "closed_form":
        size = {"delta_dim": min(256, max(1, len(actions) - 1)), "projector_num_layers": 1}
    config = CDEConfig(backbone_config=backbone.config, id2label=dict(enumerate(actions)), **reading, **size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CDEForActionClassification(config, backbone=backbone)
    model.freeze_backbone()
    return model.eval()


def fit_head(model: Any, examples: Examples, head: Head, seed: int) -> None:
    """Gives a model of `new_model` its head.

    Raises:
        ValueError: An action of the model has no pairs.
    """
    if head == "closed_form":
        with torch.no_grad():
            inputs = examples.features
            for layer in list(model.cde.projector)[:-1]:  # a LayerNorm where the backbone has none at its end
                inputs = layer(inputs)
        actions, most = model.config.num_labels, model.config.delta_dim
        head_found = fit_lda(
            inputs[:, 1] - inputs[:, 0], examples.labels, examples.objects, SHRINKAGE, num_actions=actions, max_dim=most
        )
        set_lda_head(model, head_found)
    else:
        _train(model, examples, seed)


def _train(model: Any, examples: Examples, seed: int) -> None:
    def read(batch: Mapping[str, Any]) -> dict[str, Any]:
        return {"features": list(examples.features[torch.tensor(batch["row"])]), "labels": batch["action"]}

    rows = datasets.Dataset.from_dict({"action": examples.labels.tolist(), "row": list(range(len(examples)))})
    with tempfile.TemporaryDirectory() as folder:
        args = CDETrainingArguments(
            output_dir=folder,
            max_steps=STEPS,
            per_device_train_batch_size=min(BATCH, len(examples)),
            learning_rate=1e-3,
            sparsity_weight=0.0,  # as in configs/quickstart.yaml
            precision="float32",
            seed=seed,
            dataloader_num_workers=0,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = CDETrainer(
            model=model, args=args, train_dataset=rows.with_transform(read), data_collator=PairCollator()
        )
        for callback in list(trainer.callback_handler.callbacks):
            if type(callback).__name__ == "PrinterCallback":  # prints a dictionary at the end
                trainer.remove_callback(callback)
        trainer.train()
    model.cpu().eval()
