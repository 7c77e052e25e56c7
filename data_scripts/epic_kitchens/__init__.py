"""EPIC-KITCHENS-100: an index of before/after frames from the official tables, and the extraction of those frames."""
