"""From rows of pairs to a data set: parts, splits, manifests, card, and its publication."""
