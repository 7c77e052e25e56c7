"""The models, and the files that travel with every checkpoint: the `*_cde` modules, which import only each other."""
