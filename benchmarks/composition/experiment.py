"""The experiment: renders what is missing, trains the heads of each seed on single actions, and measures (a) to (e)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.composition.decoders import Ranked, SetClassifier, by_logits, by_pursuit, choose_count
from benchmarks.composition.measures import defects, exact, first_hits, unrelated_defects
from benchmarks.composition.squares import Move, Squares, open_squares
from benchmarks.study import heads
from data_scripts.rooms.scripts import HARD_KINDS
from modeling_cde.models.composition_cde import action_means

STRENGTHS = (0.001, 0.01, 0.1)
HELD_OUT = 0.3


@dataclass(frozen=True)
class Recipe:
    """What configs/composition.yaml says."""

    data: str
    pairs: int
    squares: str
    readings: tuple[str, ...]
    seeds: tuple[int, ...]
    validation_seed: int
    training_seed: int
    one: int  # squares of one object for each seed
    two: int  # of two objects
    training: int
    max_steps: int
    joint_steps: int


def render(recipe: Recipe, workers: int) -> None:
    """Render the squares that are missing."""
    from data_scripts.rooms.sequence_command import render_sequences

    square = {"frames": 4, "acts": 3, "square": True, "per_unit": 9, "workers": workers}
    for seed in (recipe.validation_seed, *recipe.seeds):
        render_sequences(Path(recipe.squares, f"one-{seed}"), num=recipe.one, seed=seed, **square)
        render_sequences(Path(recipe.squares, f"two-{seed}"), num=recipe.two, seed=seed, targets=2, **square)
    seed = recipe.training_seed
    render_sequences(Path(recipe.squares, f"one-{seed}"), num=recipe.training, seed=seed, **square)


def measure(recipe: Recipe, pairs: Any, seed: int) -> dict[str, Any]:
    """All results of one seed, as JSON: a list of values with their squares, so that tables can be made of them."""
    one, two = (open_squares(Path(recipe.squares, f"{name}-{seed}")) for name in ("one", "two"))
    checked = {n: open_squares(Path(recipe.squares, f"{n}-{recipe.validation_seed}")) for n in ("one", "two")}
    training = open_squares(Path(recipe.squares, f"one-{recipe.training_seed}"))
    result: dict[str, Any] = {"seed": seed, "squares": {}, "defects": {}, "decoding": {}, "retrieval": {}, "order": {}}
    for name, squares in (("one", one), ("two", two)):
        result["squares"][name] = [
            {"objects": list(dict.fromkeys(things)), "acts": list(acts), "hard": is_hard(things, acts)}
            for things, acts in zip(squares.objects, squares.acts, strict=True)
        ]
    result["truth"] = [sorted(move.actions) for move in one.diagonals]
    for reading in recipe.readings:
        model = heads.fit(pairs, reading, range(len(pairs)), "cde", seed, max_steps=recipe.max_steps).eval()
        names = [model.config.id2label[i] for i in range(model.config.num_labels)]
        delta, labels, before = _of_training(model, pairs, reading)
        means = action_means(delta, labels, len(names))
        places = {"one": one, "two": two}
        result["defects"][reading] = {name: _defects(model, reading, s, seed) for name, s in places.items()}
        result["decoding"][reading] = {
            name: _decoding(model, reading, names, means, s, checked[name]) for name, s in places.items()
        }
        result["retrieval"][reading] = _retrieval(model, reading, names, means, one, (delta, labels, before))
        if reading == "change":
            result["upper"] = upper_bound(training, checked["one"], one, names, seed)
            result["order"] = order(model, reading, names, means, one)
    for method, reading, steps in (
        ("concatenation", "change", recipe.max_steps),
        ("joint", "patch", recipe.joint_steps),
    ):
        if steps and reading in recipe.readings:
            model = heads.fit(pairs, reading, range(len(pairs)), method, seed, max_steps=steps, delta_mode="global")
            result["decoding"][method] = {
                name: {
                    "logits": _answered(
                        _logits(model.eval(), reading, s), _logits(model, reading, checked[name]), s, names
                    )
                }
                for name, s in (("one", one), ("two", two))
            }
    return result


def is_hard(objects: Sequence[str], acts: Sequence[str]) -> bool:
    """Whether one change hides the other: one thing that breaks, of a kind that lies in pieces or has a screen."""
    hides = {*HARD_KINDS, "Television", "Tablet"}
    lid = objects[0] == "Laptop" and len(set(objects)) == 1
    return len(set(objects)) == 1 and ("break" in acts and objects[0] in hides) or lid


@torch.no_grad()
def _run(model: Any, features: torch.Tensor) -> dict[str, torch.Tensor]:
    """Deltas (n, T - 1, D), logits and states of clips of features (n, T, ...), in parts."""
    found: dict[str, list[torch.Tensor]] = {"delta": [], "logits": [], "states": []}
    for part in torch.split(features.float(), 256):
        outputs = model(features=part)
        for name, values in found.items():
            values.append(getattr(outputs, name))
    return {name: torch.cat(values) for name, values in found.items()}


def _of_training(model: Any, pairs: Any, reading: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Deltas, labels and states before of all pairs that the head was trained on."""
    parts = []
    for start in range(0, len(pairs), 512):
        rows = pairs.rows[reading].select(range(start, min(start + 512, len(pairs))))[:]
        told = _run(model, torch.stack(rows["features"]))
        parts.append((told["delta"][:, 0], torch.tensor(rows["labels"]), told["states"][:, 0]))
    delta, labels, before = (torch.cat(values) for values in zip(*parts, strict=True))
    return delta, labels, before


@torch.no_grad()
def states_of(model: Any, reading: str, squares: Squares) -> torch.Tensor:
    """States of all frames, (n, 4, D); of a patch-wise model those of all patches, (n, 4, N, D)."""
    features = squares.features[reading].float()
    if reading == "patch":
        return torch.stack([model.cde.projector(square) for square in features])
    return _run(model, features)["states"]


def _defects(model: Any, reading: str, squares: Squares, seed: int) -> dict[str, list[float]]:
    """For each square the defect of its states and of the backbone's features, and of steps that are unrelated."""
    partner = list(range(len(squares)))
    random.Random(seed).shuffle(partner)
    partner = [p if squares.acts[p][0] != squares.acts[k][0] else (p + 1) % len(squares) for k, p in enumerate(partner)]
    found = {}
    for name, values in (("states", states_of(model, reading, squares)), ("backbone", squares.features[reading])):
        found[name] = _rounded(defects(values))
        found[f"{name}, unrelated"] = _rounded(unrelated_defects(values, partner))
    return found


def _logits(model: Any, reading: str, squares: Squares) -> tuple[Ranked, Ranked]:
    """The two largest logits of all single actions, and of all pairs of actions."""
    edges, diagonals = (
        by_logits(_run(model, squares.pairs_of(reading, moves))["logits"])
        for moves in (squares.edges, squares.diagonals)
    )
    return edges, diagonals


def _decoding(
    model: Any, reading: str, names: Sequence[str], means: torch.Tensor, squares: Squares, checked: Squares
) -> dict[str, Any]:
    """What pursuit and the two largest logits answer; the count of actions is chosen on `checked`."""
    told = []
    for each in (squares, checked):
        runs = [_run(model, each.pairs_of(reading, moves)) for moves in (each.edges, each.diagonals)]
        pursuit = tuple(by_pursuit(run["delta"][:, 0], means) for run in runs)
        told.append({"pursuit": pursuit, "logits": tuple(by_logits(run["logits"]) for run in runs)})
    return {name: _answered(told[0][name], told[1][name], squares, names) for name in told[0]}  # type: ignore[arg-type]


def _answered(
    ranked: tuple[Ranked, Ranked], checked: tuple[Ranked, Ranked], squares: Squares, names: Sequence[str]
) -> dict[str, Any]:
    """Right or wrong for each pair of actions, of a known and an unknown number, and for each single action."""
    above = choose_count(*checked)
    single, twice = squares.edges, squares.diagonals
    return {
        "above": round(above, 4),
        "two": _right(ranked[1].both(names), twice),
        "two, counted": _right(ranked[1].counted(names, above), twice),
        "one, counted": _right(ranked[0].counted(names, above), single),
    }


def _right(answers: Sequence[frozenset[str]], moves: Sequence[Move]) -> list[list[int]]:
    """[square, 0 or 1] for each move."""
    hits = exact(answers, [move.actions for move in moves]).int().tolist()
    return [[move.square, hit] for move, hit in zip(moves, hits, strict=True)]


def _retrieval(
    model: Any, reading: str, names: Sequence[str], means: torch.Tensor, squares: Squares, known: Any
) -> dict[str, Any]:
    """R@1 for one action and for two; `known` has the deltas, labels and states before of the training pairs."""
    states = states_of(model, reading, squares)
    states = states.mean(dim=2) if states.ndim == 4 else states
    delta, labels, before = known
    index = {name: i for i, name in enumerate(names)}
    nearest = torch.zeros(len(names), *states.shape[:2], states.shape[-1])  # the delta of the most similar thing
    for action in index.values():
        of = (labels == action).nonzero()[:, 0]
        nearest[action] = delta[of[torch.cdist(states.flatten(0, 1), before[of]).argmin(dim=1)]].reshape(states.shape)
    result = {}
    for name, moves in (("one", squares.edges), ("two", squares.diagonals)):
        start = torch.stack([states[m.square, m.start] for m in moves])
        here = torch.stack([states[m.square] for m in moves])
        ids = [[index[action] for action in sorted(m.actions)] for m in moves]
        moved = {
            "composed": start + torch.stack([means[i].sum(dim=0) for i in ids]),
            "copy before": start,
            "nearest object": start + torch.stack(
                [nearest[i, m.square, m.start].sum(dim=0) for i, m in zip(ids, moves, strict=True)]
            ),
        }  # fmt: skip
        ends = [m.start for m in moves], [m.end for m in moves]
        result[name] = {
            way: [[m.square, int(hit)] for m, hit in zip(moves, first_hits(wanted, here, *ends).tolist(), strict=True)]
            for way, wanted in moved.items()
        }
    return result


def upper_bound(
    training: Squares, checked: Squares, squares: Squares, names: Sequence[str], seed: int
) -> Mapping[str, Any]:
    """Trained on pairs of actions: on all of them, and without those 30 % that are held out."""
    reading = "change"

    def differences(each: Squares, moves: Sequence[Move]) -> torch.Tensor:
        both = each.pairs_of(reading, moves).float()
        return both[:, 1] - both[:, 0]

    sets = sorted({tuple(sorted(move.actions)) for move in training.diagonals})
    held = set(random.Random(seed).sample(sets, round(HELD_OUT * len(sets))))
    moves = [*training.edges, *training.diagonals]
    best: tuple[float, float] = (-1.0, 0.0)
    for strength in STRENGTHS:
        fitted = SetClassifier(differences(training, moves), [m.actions for m in moves], names, strength)
        said = fitted(differences(checked, checked.diagonals)).both(names)
        best = max(best, (float(exact(said, [m.actions for m in checked.diagonals]).mean()), strength))
    result: dict[str, Any] = {"held out": [list(pair) for pair in sorted(held)], "C": best[1]}
    for name, chosen in (
        ("all pairs", moves),
        ("70 % of pairs", [m for m in moves if len(m.actions) == 1 or tuple(sorted(m.actions)) not in held]),
    ):
        fitted = SetClassifier(differences(training, chosen), [m.actions for m in chosen], names, best[1])
        ranked, early = (
            (fitted(differences(each, each.edges)), fitted(differences(each, each.diagonals)))
            for each in (squares, checked)
        )
        result[name] = _answered(ranked, early, squares, names)
    return result


def order(model: Any, reading: str, names: Sequence[str], means: torch.Tensor, squares: Squares) -> dict[str, Any]:
    """Which of two actions came first: from the end points, and from the frame between them.

    Each diagonal can be walked by two ways, whose end points are the same two pictures. `end points` is whether the
    action that pursuit finds first is that of a way; `middle frame` is whether the two steps are named in their order.
    """
    found: dict[str, list[list[int]]] = {"end points": [], "middle frame": []}
    moves = squares.diagonals
    ends = by_pursuit(_run(model, squares.pairs_of(reading, moves))["delta"][:, 0], means).actions[:, 0].tolist()
    legs = {(m.square, m.start, m.end): next(iter(m.actions)) for m in squares.edges}
    for move, first in zip(moves, ends, strict=True):
        for middle in {0, 1, 2, 3} - {move.start, move.end}:
            steps = [(move.square, move.start, middle), (move.square, middle, move.end)]
            if not all(step in legs for step in steps):
                continue
            deltas = [
                _run(model, squares.pairs_of(reading, [Move(*step, move.actions)]))["logits"][0] for step in steps
            ]
            said = [names[int(logits.argmax())] for logits in deltas]
            found["end points"].append([move.square, int(names[first] == legs[steps[0]])])
            found["middle frame"].append([move.square, int(said == [legs[step] for step in steps])])
    return found


def _rounded(values: torch.Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]
