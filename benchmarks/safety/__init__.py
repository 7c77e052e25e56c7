"""Kills, long runs and dependencies."""
