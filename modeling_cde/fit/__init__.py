"""A classifier from a few of one's own pairs, in seconds: `CDEClassifier`, and what the command `fit.py` does."""

from typing import Literal, get_args

Head = Literal["closed_form", "trained"]
HEADS: tuple[str, ...] = get_args(Head)
FOLDS = 5  # of a cross-validation
