"""Training on pairs that are read during the training."""
