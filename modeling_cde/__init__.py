"""Causal Delta Embeddings: what an action does, learned from before/after image pairs.

Importing this registers the models with the Auto classes of Transformers and the "action-classification" pipeline.
What training needs is imported when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, AutoImageProcessor, AutoModel
from transformers.pipelines import PIPELINE_REGISTRY

from .methods import by_model_type
from .models.configuration_cde import CDEConfig
from .models.image_processing_cde import CDEImageProcessor
from .models.modeling_baseline import BaselineOutput
from .models.modeling_cde import CDEActionClassifierOutput, CDEForActionClassification, CDEModel, CDEModelOutput
from .models.modeling_concatenation import ConcatenationConfig, ConcatenationForActionClassification
from .models.modeling_icm_sms import ICMConfig, ICMForActionClassification, SMSConfig, SMSForActionClassification
from .models.modeling_joint import JointEncoderConfig, JointEncoderForActionClassification
from .models.modeling_neighbours import NeighboursConfig, NeighboursForActionClassification
from .models.modeling_oracle_mask import OracleMaskConfig, OracleMaskForActionClassification
from .models.modeling_token_matching import TokenMatchingConfig, TokenMatchingForActionClassification
from .models.pipeline_cde import TASK, ActionClassificationPipeline

if TYPE_CHECKING:
    from .training.losses import CDELoss, sparsity_loss, supervised_contrastive_loss
    from .training.trainer import CDETrainer
    from .training.training_args import CDETrainingArguments

__version__ = "0.1.0"

__all__ = [
    "ActionClassificationPipeline",
    "BaselineOutput",
    "CDEActionClassifierOutput",
    "CDEConfig",
    "CDEForActionClassification",
    "CDEImageProcessor",
    "CDELoss",
    "CDEModel",
    "CDEModelOutput",
    "CDETrainer",
    "CDETrainingArguments",
    "ConcatenationConfig",
    "ConcatenationForActionClassification",
    "ICMConfig",
    "ICMForActionClassification",
    "JointEncoderConfig",
    "JointEncoderForActionClassification",
    "NeighboursConfig",
    "NeighboursForActionClassification",
    "OracleMaskConfig",
    "OracleMaskForActionClassification",
    "SMSConfig",
    "SMSForActionClassification",
    "TokenMatchingConfig",
    "TokenMatchingForActionClassification",
    "sparsity_loss",
    "supervised_contrastive_loss",
]

_LATER = {
    "CDELoss": "training.losses",
    "sparsity_loss": "training.losses",
    "supervised_contrastive_loss": "training.losses",
    "CDETrainer": "training.trainer",
    "CDETrainingArguments": "training.training_args",
}

for _method in by_model_type().values():
    AutoConfig.register(_method.model_type, _method.config_class)
    AutoModel.register(_method.config_class, _method.load(_method.auto_model or _method.model))
    AutoImageProcessor.register(_method.config_class, image_processor_classes={"pil": CDEImageProcessor})
PIPELINE_REGISTRY.register_pipeline(TASK, ActionClassificationPipeline, pt_model=AutoModel, type="image")


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
