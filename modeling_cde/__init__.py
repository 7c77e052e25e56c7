"""Causal Delta Embeddings: what an action does, learned from before/after image pairs."""

from .configuration_cde import CDEConfig
from .image_processing_cde import CDEImageProcessor
from .modeling_baselines import ConcatenationConfig, ConcatenationForActionClassification
from .modeling_cde import CDEForActionClassification, CDEModel

__version__ = "0.1.0"
