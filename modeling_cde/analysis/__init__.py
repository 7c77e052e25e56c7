"""Pictures and numbers made from the files that a run leaves behind; nothing here needs a model."""
