"""A classifier from a few of one's own pairs, in seconds: `CDEClassifier`, and what the command `fit.py` does."""
