"""Pairs of pictures before and after an action: schema, splits, building, loading, transforms, batches."""
