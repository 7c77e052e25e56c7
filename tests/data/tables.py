"""Annotation tables for the tests of the splits."""

from __future__ import annotations

import csv

from tests.real_data import real_data


def epic_table() -> dict[str, list[str]]:
    """The real validation segments of EPIC-KITCHENS-100 of the 25 verbs, by class keys."""
    verbs = (
        "open close cut move remove adjust peel empty flip fill fold pull break lift wrap hang add roll stretch "
        "divide sharpen attach increase bend flatten"
    ).split()

    def read(name: str) -> list[dict[str, str]]:
        with real_data("epic-kitchens-100", name).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    verb = {row["id"]: row["key"] for row in read("EPIC_100_verb_classes.csv")}
    noun = {row["id"]: row["key"] for row in read("EPIC_100_noun_classes.csv")}
    rows = [row for row in read("EPIC_100_validation_P01-P12.csv") if verb[row["verb_class"]] in verbs]
    return {
        "pair_id": [row["narration_id"] for row in rows],
        "action": [verb[row["verb_class"]] for row in rows],
        "object": [noun[row["noun_class"]] for row in rows],
        "scene": [row["participant_id"] for row in rows],
        "video": [row["video_id"] for row in rows],
    }
