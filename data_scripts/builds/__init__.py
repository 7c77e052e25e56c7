"""Builds that survive: independent units, workers, and the folder they are kept in."""
