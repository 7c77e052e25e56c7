"""Causal Delta Embeddings: what an action does, learned from before/after image pairs.

Importing this package is cheap: a name is loaded when you first use it. Transformers' Auto classes and
`pipeline("action-classification")` know the models, whichever of the two packages you import first.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .models.methods import METHODS
from .models.registration import register_with_transformers

if TYPE_CHECKING:
    # isort: off
    from .fit.classifier import CDEClassifier as CDEClassifier
    from .models.configuration_cde import CDEConfig as CDEConfig
    from .models.image_processing_cde import CDEImageProcessor as CDEImageProcessor
    from .models.modeling_cde import (
        CDEForActionClassification as CDEForActionClassification,
        CDEModel as CDEModel,
    )
    from .models.outputs_cde import (
        CDEActionClassifierOutput as CDEActionClassifierOutput,
        CDEModelOutput as CDEModelOutput,
    )
    from .models.modeling_baseline import BaselineOutput as BaselineOutput
    from .models.modeling_concatenation import (
        ConcatenationConfig as ConcatenationConfig,
        ConcatenationForActionClassification as ConcatenationForActionClassification,
    )
    from .models.modeling_icm_sms import (
        ICMConfig as ICMConfig,
        ICMForActionClassification as ICMForActionClassification,
        SMSConfig as SMSConfig,
        SMSForActionClassification as SMSForActionClassification,
    )
    from .models.modeling_joint import (
        JointEncoderConfig as JointEncoderConfig,
        JointEncoderForActionClassification as JointEncoderForActionClassification,
    )
    from .models.modeling_mechanisms import (
        LowRankConfig as LowRankConfig,
        LowRankForActionClassification as LowRankForActionClassification,
        PrototypesConfig as PrototypesConfig,
        PrototypesForActionClassification as PrototypesForActionClassification,
    )
    from .models.modeling_neighbours import (
        NeighboursConfig as NeighboursConfig,
        NeighboursForActionClassification as NeighboursForActionClassification,
    )
    from .models.modeling_oracle_mask import (
        OracleMaskConfig as OracleMaskConfig,
        OracleMaskForActionClassification as OracleMaskForActionClassification,
    )
    from .models.modeling_token_matching import (
        TokenMatchingConfig as TokenMatchingConfig,
        TokenMatchingForActionClassification as TokenMatchingForActionClassification,
    )
    from .models.pipeline_cde import ActionClassificationPipeline as ActionClassificationPipeline
    from .training.losses import (
        CDELoss as CDELoss,
        sparsity_loss as sparsity_loss,
        supervised_contrastive_loss as supervised_contrastive_loss,
    )
    from .training.trainer import CDETrainer as CDETrainer
    from .training.training_args import CDETrainingArguments as CDETrainingArguments

# Read when ONNX Runtime is imported, which other libraries do, too. Unless told otherwise by then, it keeps an id of
# the device in the user's cache and reports to its maker, from threads of its own.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

#: Public names, by the module that is loaded when one of them is first used.
_NAMES = {
    "fit.classifier": ["CDEClassifier"],
    "models.configuration_cde": ["CDEConfig"],
    "models.image_processing_cde": ["CDEImageProcessor"],
    "models.modeling_baseline": ["BaselineOutput"],
    "models.modeling_cde": ["CDEForActionClassification", "CDEModel"],
    "models.outputs_cde": ["CDEActionClassifierOutput", "CDEModelOutput"],
    "models.pipeline_cde": ["ActionClassificationPipeline"],
    "training.losses": ["CDELoss", "sparsity_loss", "supervised_contrastive_loss"],
    "training.trainer": ["CDETrainer"],
    "training.training_args": ["CDETrainingArguments"],
}
_PLACES = {name: module for module, names in _NAMES.items() for name in names}
for _method in METHODS.values():  # the baselines' models and configurations
    if _method.model not in _PLACES:
        _PLACES |= {_method.model: f"models.{_method.file}", _method.config: f"models.{_method.file}"}
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f".{_PLACES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})


register_with_transformers()
