"""Training on pairs that are read on the way."""
