"""Scores of a checkpoint on every split, its predictions and its gallery of training pairs."""
