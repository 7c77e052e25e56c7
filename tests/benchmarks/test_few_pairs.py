"""How far a few pairs go: what a draw has, and that the guide shows what was measured."""

from pathlib import Path

from benchmarks import few_pairs
from benchmarks.few_pairs import FOUR, draw

ROOT = Path(__file__).parents[2]
KINDS = [f"kind {i}" for i in range(20)]
PAIRS = [(action, kind) for kind in KINDS for action in (*FOUR[:2], "break") for _ in range(5)]
PAIRS += [(action, kind) for kind in KINDS[:12] for action in FOUR[2:] for _ in range(5)]


def test_a_draw_shows_all_actions_and_keeps_kinds_apart():
    action, kind = (list(column) for column in zip(*PAIRS, strict=True))
    for seed in range(5):
        train, known, unseen = draw(action, kind, 12, seed, FOUR, 12, 3)
        assert len(set(train)) == 12 and {action[i] for i in train} == set(FOUR)
        assert not set(train) & set(known)
        assert {action[i] for i in (*train, *known, *unseen)} == set(FOUR)
        seen = {kind[i] for i in (*train, *known)}
        assert len(seen) == 12 and len({kind[i] for i in unseen}) == 3 and not seen & {kind[i] for i in unseen}
        assert sorted(train + known) == [i for i, name in enumerate(kind) if name in seen and action[i] in FOUR]
        assert (train, known, unseen) == draw(action, kind, 12, seed, FOUR, 12, 3)
    assert draw(action, kind, 12, 0, FOUR, 12, 3) != draw(action, kind, 12, 1, FOUR, 12, 3)


def test_the_table_has_mean_and_spread():
    found = [
        {"task": "four", "n": 12, "seed": seed, "accuracy": {"classifier": [value, 0.5]}}
        for seed, value in ((0, 0.8), (1, 0.9))
    ]
    lines = few_pairs.table(found).splitlines()
    assert lines[0] == "| actions | pairs | draws | tested on | CDEClassifier |"
    assert lines[2:] == [
        "| four | 12 | 2 | known kinds | 85.0 ± 7.1 |",
        "| four | 12 | 2 | unseen kinds | 50.0 ± 0.0 |",
    ]


def test_the_guide_shows_what_was_measured(capsys):
    guide = (ROOT / "docs" / "fit.md").read_text(encoding="utf-8")
    for what in ("report", "choose"):
        few_pairs.main([what, "--table", "--results", str(ROOT / "benchmarks" / "results" / "few_pairs")])
        assert capsys.readouterr().out.strip() in guide
