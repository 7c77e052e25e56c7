"""Cards rendered from the files of a run; nothing here needs a model."""
