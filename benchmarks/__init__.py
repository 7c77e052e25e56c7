"""Measurements that README and the docs quote, each a script that prints a table and writes JSON."""
