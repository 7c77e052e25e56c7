"""The scores that rejection was chosen among, and the tables of what is committed."""

from pathlib import Path

import pytest
import torch

from benchmarks import rejection
from benchmarks.rejection import familiarities

ROOT = Path(__file__).resolve().parents[2]


def test_scores_are_those_of_their_names():
    """Two actions along the axes, and a third that no training pair shows."""
    train = {"delta": torch.tensor([[2.0, 0.1], [2.0, -0.1], [0.1, 4.0], [-0.1, 4.0]]).repeat(5, 1)}
    train["labels"] = torch.tensor([0, 0, 1, 1]).repeat(5)
    delta, logits = torch.tensor([[3.0, 0.0], [-3.0, -3.0]]), torch.tensor([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    found = familiarities({"delta": delta, "logits": logits}, train)
    assert found["cosine"].tolist() == pytest.approx([1.0, 0.0])  # an action without pairs has a cosine of 0
    assert found["softmax"].tolist() == pytest.approx([20.0855 / (20.0855 + 2.7183 + 1), 1 / 3], abs=1e-4)
    assert found["largest logit"].tolist() == [3, 0]
    assert found["energy"].tolist() == pytest.approx([3.1698, 1.0986], abs=1e-4)
    # The variance of both axes is .005, plus a thousandth of that; the first pair is 1 from the mean of its action.
    assert found["Mahalanobis"][0].item() == pytest.approx(-1 / (0.005 * 1.001), rel=1e-3)
    assert found["10th neighbour"][0].item() == pytest.approx(2 / (4 + 0.01) ** 0.5)


def heads():
    shares = {"nothing": 0.1, "else": 0.2}
    strange = shares | {f"{kind} {part}": 0.75 for kind in ("auroc", "auroc_length") for part in ("test", "test_syst")}
    known = dict.fromkeys(("test", "test_comp", "test_syst"), shares)
    still = {"light 15 %": strange | {"nothing": 0.8}}
    return [
        {"seed": 1, "left_out": None, "head": "trained", "cosine": {"known": known, "strange": still}},
        {
            "seed": 1,
            "left_out": "open",
            "head": "trained",
            "cosine": {"known": known, "strange": {"an unknown action": strange}},
        },
        {
            "seed": 1,
            "left_out": "fill",
            "head": "trained",
            "cosine": {"known": known, "strange": {"an unknown action": strange}},
        },
    ]


def test_the_tables_have_means_over_heads():
    assert rejection.table(heads()).splitlines()[2:] == [
        "| a known action, test | 1 | 70.0 | 10.0 | 20.0 | – |",
        "| a known action, test_comp | 1 | 70.0 | 10.0 | 20.0 | – |",
        "| a known action, test_syst | 1 | 70.0 | 10.0 | 20.0 | – |",
        "| nothing; light 15 % | 1 | 0.0 | 80.0 | 20.0 | 0.750 |",
        "| an unknown action | 2 | 70.0 | 10.0 | 20.0 | 0.750 |",
    ]
    assert rejection.choose_table(heads()).splitlines()[2:] == [
        "| trained | cosine | 0.750 | 0.750 | 30.0 | 70.0 | 70.0 |"
    ]
    assert rejection.table([]) == rejection.choose_table([]) == "There are no results yet."


def test_the_guide_shows_what_is_committed(capsys):
    for what in ("report", "choose"):
        rejection.main([what, "--table", "--results", str(ROOT / "benchmarks" / "results" / "rejection")])
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(rows) > 10 and all(row in (ROOT / "docs" / "use.md").read_text() for row in rows)
