"""Checkpoints: when they are written, what is in them, and that they are whole."""
