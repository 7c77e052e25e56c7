"""Training: arguments and recipes, the trainer, the losses, adapters, and what a run records."""
