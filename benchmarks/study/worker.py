"""What a process of the study does: it opens the pairs once, then trains and tests one head after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.study.experiments import Fit

_pairs: Any = None


def open_in_worker(folder: str, readings: Sequence[str]) -> None:
    """Open the pairs in a process that trains heads, on one core."""
    global _pairs
    import torch

    from benchmarks.study.pairs import open_pairs

    torch.set_num_threads(1)
    _pairs = open_pairs(folder, readings=readings)


def measure(fit: Fit) -> dict[str, Any]:
    """Train one head and test it: part -> accuracy; for a kind that was left out, what was answered."""
    from benchmarks.study import heads
    from benchmarks.study.experiments import parts_of

    parts, flags = parts_of(fit, _pairs), dict(fit.flags)
    if flags.get("classifier") == "lda":
        flags["shrinkage_on"] = parts["validation_syst"]
    model = heads.fit(_pairs, fit.reading, parts["train"], fit.method, fit.seed, **flags)
    if "left_out" in parts:
        said = heads.answers(model, _pairs, fit.reading, parts["left_out"])
        rows = parts["left_out"]
        told = [
            {
                "pair_id": _pairs.pair_id[row],
                "action": _pairs.action[row],
                "mechanism": _pairs.mechanism[row] if _pairs.mechanism else None,
                "answer": word,
            }
            for row, word in zip(rows, said, strict=True)
        ]
        return {"kind": fit.train.removeprefix("without "), "train_pairs": len(parts["train"]), "answers": told}
    return {"train_pairs": len(parts["train"]), "accuracy": heads.scores(model, _pairs, fit.reading, parts)}
