"""What a process of the study does: it opens the pairs once, then trains and tests one head after another."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from benchmarks.study.experiments import Fit

_opened: dict[str, Any] = {}


def open_in_worker(folder: str, elsewhere: str | None, readings: Sequence[str]) -> None:
    """Open the pairs, and those from elsewhere, in a process that trains heads on one core."""
    import torch

    from benchmarks.study.pairs import open_pairs

    torch.set_num_threads(1)
    _opened["pairs"] = open_pairs(folder, readings=readings)
    if elsewhere is not None:
        _opened["elsewhere"] = open_pairs(elsewhere, readings=readings)


def measure(fit: Fit) -> dict[str, Any]:
    """Train one head and test it.

    Returns:
        `train_pairs`, and `accuracy` by part; for a kind that was left out its name, `kind`, `answers`, how many of its
        `pairs` got which, and `wrong`, the ids of those that got a wrong one; for a test elsewhere also `kinds`, the
        accuracy by kind.
    """
    from benchmarks.study import heads
    from benchmarks.study.experiments import parts_of

    pairs = _opened["pairs"]
    parts, flags = parts_of(fit, pairs), dict(fit.flags)
    if flags.get("classifier") == "lda":
        flags["validation"] = {name: rows for name, rows in parts.items() if name.startswith("validation")}
    model = heads.fit(pairs, fit.reading, parts["train"], fit.method, fit.seed, **flags)
    found: dict[str, Any] = {"train_pairs": len(parts["train"])}
    if fit.train.startswith("all"):
        return found | _tested_elsewhere(model, fit)
    if (rows := parts.get("left_out")) is not None:
        said = heads.answers(model, pairs, fit.reading, rows)
        mechanisms = pairs.mechanism or [None] * len(pairs)
        counts = Counter((pairs.action[row], mechanisms[row], word) for row, word in zip(rows, said, strict=True))
        answers = [
            {"action": action, "mechanism": mechanism, "answer": word, "pairs": number}
            for (action, mechanism, word), number in sorted(counts.items(), key=str)
        ]
        wrong = [pairs.pair_id[row] for row, word in zip(rows, said, strict=True) if word != pairs.action[row]]
        return found | {"kind": fit.train.removeprefix("without "), "answers": answers, "wrong": wrong}
    return found | {"accuracy": heads.scores(model, pairs, fit.reading, parts)}


def _tested_elsewhere(model: Any, fit: Fit) -> dict[str, Any]:
    from benchmarks.study import heads

    pairs = _opened["elsewhere"]
    hits: dict[str, list[bool]] = defaultdict(list)
    said = heads.answers(model, pairs, fit.reading, range(len(pairs)))
    for kind, action, word in zip(pairs.object, pairs.action, said, strict=True):
        hits[kind].append(action == word)
    kinds = {kind: sum(right) / len(right) for kind, right in sorted(hits.items())}
    pooled = sum(map(sum, hits.values())) / len(pairs)
    return {"accuracy": {"elsewhere": sum(kinds.values()) / len(kinds), "elsewhere_pairs": pooled}, "kinds": kinds}
