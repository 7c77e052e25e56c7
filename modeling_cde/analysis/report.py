"""The report of a run: what it scored, how its deltas lie, its pictures and what looks wrong, on one HTML page."""

from .page import Picture, Section, Table, as_data_uri, render_page

__all__ = ["Picture", "Section", "Table", "as_data_uri", "render_page"]
