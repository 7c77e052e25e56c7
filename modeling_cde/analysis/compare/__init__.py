"""Runs side by side: agreement, paired differences, tables and their report."""
