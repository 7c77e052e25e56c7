"""The one name by which readers know a split, in tables, plots, cards and messages; docs/data.md has the list.

Files and flags keep the keys: `metrics.json`, `deltas.safetensors`, names of pictures, `--split`.
"""

SPLIT_TITLES = {
    "test": "IID",
    "test_comp": "OOD compositional",
    "test_syst": "OOD systematic",
    "test_mech": "OOD mechanisms",
    "validation_comp": "validation compositional",
    "validation_syst": "validation systematic",
    "validation_mech": "validation mechanisms",
}


def split_title(split: str) -> str:
    """A split as readers know it; a name that is not ours stays as it is."""
    return SPLIT_TITLES.get(split, split)
