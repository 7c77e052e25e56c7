"""Numbers: what `geometry.json` holds."""
