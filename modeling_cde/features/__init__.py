"""Features of a frozen backbone: encoded once, kept on disk, read by every later run."""
