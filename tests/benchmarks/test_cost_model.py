"""The cost model: its arithmetic by hand, its counting on tiny models, and that the document has what was measured."""

import json

import pytest
import torch

from benchmarks.speed import cost_model
from benchmarks.speed.cost_arithmetic import (
    CARDS,
    RUNS,
    Card,
    Run,
    cores_wanted,
    hours,
    memory,
    step_of,
    steps_per_epoch,
)
from benchmarks.speed.measured import RESULTS
from benchmarks.speed.speed_table import replaced
from benchmarks.speed.training_steps import TINY, Case

CARD = Card("card", bf16=1000.0, float32=100.0, memory=1e6, memory_rate=56.0, link=24.0, network=12.0, cores=2)
RUN = Run("run", "ViT, patches", "PNG", pairs=100, validated=60, tested=30, delta_dim=2, rows=3, epochs=2)
SHARES = {"matmul": 0.5, "ViT": 0.2}
RATES = {
    "models": {"ViT, patches": {"flops_per_pair": 300.0, "weights": 4, "activation_bytes_per_pair": 10}},
    "optimizer": {"share_of_memory": 0.5},
    "compute": {"contrastive": {"share_of_matmul": 0.25}},
    "input": {"PNG": 0.25, "PNG 256 px": 1.0},
}


def test_a_step_by_hand():
    step = step_of(CARD, RUN, 4, 2, RATES, SHARES)
    assert step.compute == pytest.approx(2 * 300 / (1000 * 0.5 * 0.2)) == pytest.approx(6)
    assert step.optimizer == pytest.approx(28 * 4 / (56 * 0.5))
    # 6 own anchors against 24, in two dimensions: three products of two operations.
    assert step.contrastive == pytest.approx(3 * 2 * 6 * 24 * 2 / (100 * 0.25))
    # From each of three others 6 deltas of 8 bytes, and a ring over all 24 of them, which sends 2 * 3/4 of the whole.
    assert step.gathering == pytest.approx((3 * 48 + 2 * 3 / 4 * 24 * 8 * 1.0) / 24 + 4 * 50e-6, rel=1e-6)
    assert step.gradients == 0.0  # 1 s of sending behind 4 s of the backward pass
    assert step.input == pytest.approx(2 / (2 * 0.25))
    assert step.seconds == pytest.approx(6 + 4 + step.contrastive + step.gathering)
    assert step.saturated[:2] == ["contrastive", "gathering"]


def test_the_network_is_slower_and_one_card_sends_nothing():
    slow = Card(**{**vars(CARD), "network": 1e-3})
    assert step_of(slow, RUN, 8, 2, RATES, SHARES).gradients == 0 < step_of(slow, RUN, 9, 2, RATES, SHARES).gradients
    assert step_of(CARD, RUN, 1, 2, RATES, SHARES).gathering == 0
    # A ring of 9 sends 2 * 8/9 of 16 bytes, of which two thirds of 6 s are hidden.
    assert step_of(slow, RUN, 9, 2, RATES, SHARES).gradients == pytest.approx(2 * 8 / 9 * 16 / 1e-3 - 4)


def test_hours_memory_and_cores_by_hand():
    step = step_of(CARD, RUN, 1, 2, RATES, SHARES)
    assert steps_per_epoch(RUN, 1, 2) == 50 and steps_per_epoch(RUN, 64, 2) == 0
    looked_at = (2 * 60 + 30) * max(6 / 3, 4) / 2
    assert hours(CARD, RUN, 1, 2, RATES, SHARES) == pytest.approx((2 * 50 * step.seconds + looked_at) / 3600)
    assert memory(RUN, 2, RATES) == 16 * 4 + 2 * 10
    wanted = cores_wanted(CARD, RUN, 2, RATES, SHARES)
    assert wanted == pytest.approx(2 / (step.compute + step.optimizer + step.contrastive) / 0.25)
    assert cores_wanted(CARD, RUN, 2, RATES, SHARES, "PNG 256 px") == pytest.approx(wanted / 4)


def test_counting_on_a_tiny_model():
    found = cost_model.model_rates("tiny", Case("tiny", TINY, 32, 2))
    tokens, width = 17, 32
    layer = 4 * width * width + 2 * width * 64  # weights of the projections and of both layers of the MLP
    per_image = 2 * (
        tokens * layer * 2 + 2 * tokens * tokens * width * 2
    )  # two layers, with both products of attention
    assert 2 * 3 * per_image < found["flops_per_pair"] < 1.6 * 2 * 3 * per_image  # and patches, projector, classifier
    model = Case("tiny", TINY, 32, 2).model()
    assert found["weights"] == sum(p.numel() for p in model.parameters())
    one, two, three = (cost_model.saved_bytes(Case("tiny", TINY, 32, pairs)) for pairs in (1, 2, 3))
    assert found["activation_bytes_per_pair"] == two - one > 2 * tokens * width * 2 * 10
    assert abs((three - two) - (two - one)) < 0.1 * (two - one)  # grows with the batch


def test_the_small_rates_are_rates():
    assert 0 < cost_model.optimizer_rates(100_000, 0.0, 2)["share_of_memory"]
    compute = cost_model.compute_rates(Case("tiny", TINY, 32, 2), 64, 32, 0.0, 2)
    assert compute["contrastive"]["flops"] == 6 * 32 * 32 * 256
    assert all(0 < compute[name]["share_of_matmul"] for name in ("step", "contrastive"))


def test_what_was_measured_on_a_gpu_takes_the_place_of_assumptions(tmp_path):
    assert cost_model.shares_of(tmp_path)[0] == cost_model.ASSUMED
    cases = [{"case": "ViT-S/16", "operations_per_second": 40.0}, {"case": "ViT-S/16", "operations_per_second": 30.0}]
    (tmp_path / "gpu_utilisation.json").write_text(json.dumps({"matmul_peak": 100.0, "card": "X", "cases": cases}))
    shares, source = cost_model.shares_of(tmp_path)
    assert shares == cost_model.ASSUMED | {"ViT-S/16": 0.4} and "measured on X" in source


def test_the_document_has_the_tables_of_the_kept_rates():
    result = json.loads((RESULTS / "cost_model.json").read_text())
    tables = cost_model.render(result)
    document = cost_model.DOCUMENT.read_text()
    assert replaced(document, tables, cost_model.BEGIN, cost_model.END) == document
    assert all(run.name in tables for run in RUNS) and all(card.name in tables for card in CARDS)
    assert torch.isfinite(torch.tensor(list(result["rates"]["input"].values()))).all()
