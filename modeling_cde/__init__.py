"""Causal Delta Embeddings: what an action does, learned from before/after image pairs."""

__version__ = "0.1.0"
