"""The tables of docs/open_questions.md from the results of all models."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modeling_cde.evaluation.segment_metrics import (
    Segment,
    alarm_rate,
    edit_score,
    false_alarms,
    idle_steps,
    onset_errors,
    segmental_f1,
)

_RESAMPLES = 500
Clip = tuple[list[Segment], list[Segment]]  # found, true


def tables(results: Sequence[Mapping[str, Any]]) -> str:
    """All tables, as Markdown."""
    return "\n\n".join([segment_table(results), progress_table(results), speed_table(results), settings_table(results)])


def segment_table(results: Sequence[Mapping[str, Any]]) -> str:
    """What was found in the clips of each part."""
    lines = [
        "| clips | model | method | F1@10 | F1@25 | F1@50 | edit score | onset error, frames | false alarms per 1,000 "
        "idle steps |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for part in results[0]["parts"]:
        for result in results:
            told = result["parts"][part]
            for method, found in told["found"].items():
                clips = [(_segments(f), _segments(t)) for f, t in zip(found, told["true"], strict=True)]
                cells = [f"{100 * f1(clips, least):.1f}" for least in (0.1, 0.25)]
                cells += [_with_interval(clips, lambda some: f1(some, 0.5)), _with_interval(clips, _edit)]
                errors = [error for f, t in clips for error in onset_errors(f, t)]
                cells.append(f"{sum(errors) / len(errors):.2f}" if errors else "–")
                alarms = sum(false_alarms(f, t) for f, t in clips)
                cells.append(f"{alarm_rate(alarms, sum(idle_steps(t, result['frames']) for _, t in clips)):.1f}")
                lines.append(f"| {part} ({len(clips)}) | {result['model']} | {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def progress_table(results: Sequence[Mapping[str, Any]]) -> str:
    """How well meters order frames by the amount of an action."""
    lines = [
        "| clips | model | meter | gradual actions | Spearman, whole clip | Spearman, during the action | below 0.5 "
        "during the action |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for part in results[0]["parts"]:
        for result in results:
            told = result["parts"][part]["progress"]
            for name, words in (("delta", "⟨δ₀ₜ, μₐ⟩"), ("pictures", "difference of pictures")):
                values = [[one[name][k] for one in told if not math.isnan(one[name][k])] for k in (0, 1)]
                cells = [f"{sum(v) / len(v):.3f}" if v else "–" for v in values]
                poor = f"{100 * sum(v < 0.5 for v in values[1]) / len(values[1]):.0f} %" if values[1] else "–"
                lines.append(f"| {part} | {result['model']} | {words} | {len(told)} | {' | '.join(cells)} | {poor} |")
    return "\n".join(lines)


def speed_table(results: Sequence[Mapping[str, Any]]) -> str:
    """Ratios of times of one run."""
    lines = [
        "| model | a clip of 16 frames ÷ sixteen single encodings | ÷ one call for sixteen |",
        "|---|---:|---:|",
    ]
    for result in results:
        told = result["speed"]
        ratios = [told["clip"] / told[name] for name in ("sixteen encodings", "one call of sixteen")]
        lines.append(f"| {result['model']} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")
    return "\n".join(lines)


def settings_table(results: Sequence[Mapping[str, Any]]) -> str:
    """What the validation clips chose."""
    lines = ["| model | method | chosen on validation clips |", "|---|---|---|"]
    for result in results:
        for method, settings in result["settings"].items():
            words = ", ".join(f"{name} {'any' if value is None else value}" for name, value in settings.items())
            lines.append(f"| {result['model']} | {method} | {words} |")
    return "\n".join(lines)


def f1(clips: Sequence[Clip], least: float) -> float:
    """Segmental F1 of clips."""
    return segmental_f1([f for f, _ in clips], [t for _, t in clips], least)


def _edit(clips: Sequence[Clip]) -> float:
    return sum(edit_score(f, t) for f, t in clips) / len(clips)


def _with_interval(clips: Sequence[Clip], measure: Callable[[Sequence[Clip]], float]) -> str:
    """In percent, with half of the width of the 95 % interval of clips that are drawn with replacement."""
    rng = random.Random(0)
    drawn = sorted(measure(rng.choices(clips, k=len(clips))) for _ in range(_RESAMPLES))
    low, high = drawn[int(0.025 * _RESAMPLES)], drawn[int(0.975 * _RESAMPLES)]
    return f"{100 * measure(clips):.1f} ± {50 * (high - low):.1f}"


def _segments(stored: Sequence[Sequence[Any]]) -> list[Segment]:
    return [(start, end, label) for start, end, label in stored]
