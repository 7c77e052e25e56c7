"""How often "nothing changed" and "something else" are right, on rendered rooms.

    python -m benchmarks.rejection [--data data/rooms] [--table]
    python -m benchmarks.rejection choose [--table]

Each seed has a split of its own, by the data set's own protocol, and three heads on kept features, trained as the
quickstart trains them: on all ten actions, and twice on nine. Thresholds come from the validation parts alone, as
train.py has them. Then the test parts, whose actions the head knows, should keep their answers; the action that a head
was not trained on should become "something else"; and pairs in which nothing happened should get no action. These are
rendered for it: the object stays as it is, and the camera, the light or another object changes.

The second command is what `familiarity` in modeling_cde/models/rejection_cde.py was chosen by, on seeds from 100 on,
with heads in closed form of 400 pairs, too; the seeds that are reported are 60 to 64. Results are kept as JSON, and
what is there is not measured again.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modeling_cde.whole_files import in_one_sentence

READING = "change"
NOISES: dict[str, dict[str, float]] = {
    "camera 1 cm, 0.5°": {"camera_cm": 1, "camera_deg": 0.5},
    "camera 3 cm, 1.5°": {"camera_cm": 3, "camera_deg": 1.5},
    "light 15 %": {"light_percent": 15},
    "another object 10 cm": {"object_cm": 10},
}
STILL_PAIRS = 60  # for each noise
KNOWN = ("test", "test_comp", "test_syst")
CHOSEN = "cosine"
NEIGHBOURS = 10
CLOSED_FORM_PAIRS = 400


def familiarities(outputs: Mapping[str, Any], train: Mapping[str, Any]) -> dict[str, Any]:
    """Candidate scores of pairs, (n,) each, higher for known actions.

    Args:
        outputs: `delta` (n, D) and `logits` (n, A) of the pairs.
        train: The same of the training pairs, and their `labels`.
    """
    import torch
    from torch.nn.functional import normalize, one_hot

    from modeling_cde.models.rejection_cde import action_directions, familiarity

    delta, logits = outputs["delta"], outputs["logits"]
    members = one_hot(train["labels"], logits.shape[1]).float()  # (m, A)
    pairs = members.sum(dim=0)  # 0 of an action that was left out
    means = members.T @ train["delta"] / pairs.clamp(min=1)[:, None]  # (A, D)
    spread = train["delta"] - means[train["labels"]]
    covariance = spread.T @ spread / len(spread)
    covariance += 1e-3 * covariance.diagonal().mean() * torch.eye(len(covariance))
    offsets = delta[:, None] - means[pairs > 0]  # (n, A, D)
    squared = torch.einsum("nad,de,nae->na", offsets, torch.linalg.inv(covariance), offsets)
    near = (normalize(delta, dim=1) @ normalize(train["delta"], dim=1).T).topk(NEIGHBOURS, dim=1).values
    return {
        "cosine": familiarity(delta, action_directions(train["delta"], train["labels"], logits.shape[1])),
        "softmax": logits.double().softmax(dim=1).max(dim=1).values,
        "largest logit": logits.max(dim=1).values,
        "energy": logits.logsumexp(dim=1),
        "Mahalanobis": -squared.min(dim=1).values,
        "10th neighbour": near[:, -1],
    }


def measure(pairs: Any, still: Mapping[str, Any], seed: int, left_out: str | None, head: str) -> dict[str, Any]:
    """Trains one head without an action, or with all, and says what it answers.

    Returns:
        `seed`, `left_out`, `head`, and by candidate: `known` (part -> shares of `nothing` and `else`) and `strange`
        (what was not known -> the same, and the areas under the ROC curve against the parts `test` and `test_syst`).
    """
    import torch
    from sklearn.metrics import roc_auc_score

    from benchmarks.study import heads
    from modeling_cde.models.rejection_cde import calibrate, delta_length

    parts = {name: [i for i in rows if pairs.action[i] != left_out] for name, rows in pairs.split(seed).items()}

    @torch.no_grad()
    def outputs(features: Any) -> dict[str, Any]:
        found = model(features=features)
        return {"delta": found.delta[:, 0], "logits": found.logits}

    def of_rows(rows: Sequence[int]) -> Any:
        part = pairs.rows[READING].select(list(rows))
        return torch.cat([torch.stack(part[i : i + 512]["features"]) for i in range(0, len(part), 512)])

    if head == "trained":
        model = heads.fit(pairs, READING, parts["train"], "cde", seed)
        ids = {name: i for i, name in model.config.id2label.items()}
    else:
        actions = sorted(set(pairs.action) - {left_out})
        ids = {name: i for i, name in enumerate(actions)}
        parts["train"] = sorted(random.Random(seed).sample(parts["train"], CLOSED_FORM_PAIRS))
        model = closed_form(pairs, of_rows(parts["train"]), parts["train"], actions)
    model.eval()
    labels = torch.tensor([ids[pairs.action[i]] for i in parts["train"]])
    train = outputs(of_rows(parts["train"])) | {"labels": labels}
    held_out = [i for name, rows in parts.items() if name in ("validation_comp", "validation_syst") for i in rows]
    said = {name: outputs(of_rows(rows)) for name, rows in parts.items() if name in KNOWN}
    strange = {name: outputs(features) for name, features in still.items()} if left_out is None else {}
    if left_out is not None:
        unknown = [i for i, action in enumerate(pairs.action) if action == left_out]
        strange["an unknown action"] = outputs(of_rows(unknown))
    validation = outputs(of_rows(held_out))
    lengths = {name: delta_length(one["delta"]) for name, one in (said | strange).items()}
    scores = {name: familiarities(one, train) for name, one in (said | strange).items()}
    result: dict[str, Any] = {"seed": seed, "left_out": left_out, "head": head}
    for candidate, values in familiarities(validation, train).items():
        nothing_below, else_below = calibrate(delta_length(validation["delta"]), values)
        shares = {}
        for name in said | strange:
            nothing = lengths[name] < nothing_below
            other = ~nothing & (scores[name][candidate] < else_below)
            shares[name] = {"nothing": _share(nothing), "else": _share(other)}
        for name in strange:
            for part in ("test", "test_syst"):
                known = torch.cat([torch.ones(len(lengths[part])), torch.zeros(len(lengths[name]))])
                for kind, both in (
                    ("auroc", torch.cat([scores[part][candidate], scores[name][candidate]])),
                    ("auroc_length", torch.cat([lengths[part], lengths[name]])),
                ):
                    shares[name][f"{kind} {part}"] = round(float(roc_auc_score(known.numpy(), both.numpy())), 4)
        result[candidate] = {"known": {n: shares[n] for n in said}, "strange": {n: shares[n] for n in strange}}
    return result


def closed_form(pairs: Any, features: Any, train: Sequence[int], actions: Sequence[str]) -> Any:
    """The head in closed form that `CDEClassifier` gives few pairs, without swapped ones."""
    import torch

    from benchmarks.study.heads import study_backbone
    from benchmarks.study.pairs import READINGS
    from modeling_cde.fit.heads import Examples, fit_head, new_model

    reading = READINGS[READING]
    width = features.shape[-1] // len(reading["feature_layers"])
    kinds = {name: i for i, name in enumerate(pairs.kinds)}
    labels = torch.tensor([actions.index(pairs.action[i]) for i in train])
    examples = Examples(features, labels, torch.tensor([kinds[pairs.object[i]] for i in train]))
    model = new_model(study_backbone(width), reading, actions, "closed_form", 0)
    fit_head(model, examples, "closed_form", 0)
    return model


def _share(chosen: Any) -> float:
    return round(float(chosen.double().mean()), 4)


def still_features(seed: int) -> dict[str, Any]:
    """Noise -> features (n, 2, D_b) of rendered pairs in which nothing happens; they are kept like all others."""
    import datasets
    import torch

    from benchmarks.study.pairs import READINGS
    from data_scripts.rooms.opengl import check_opengl
    from data_scripts.rooms.pairs import Noise
    from data_scripts.rooms.units import RoomsSource, Settings
    from data_scripts.training_inputs import HUB_MODEL, reachable_backbone
    from modeling_cde import CDEForActionClassification, CDEImageProcessor
    from modeling_cde.data import PairTransform
    from modeling_cde.features.encoder import native_bf16
    from modeling_cde.features.keep import keep_features
    from modeling_cde.features.store import FeatureStore

    check_opengl()
    backbone = str(reachable_backbone(HUB_MODEL))
    transform = PairTransform.from_processor(CDEImageProcessor.from_backbone(backbone, size=126), crop="box")
    model = CDEForActionClassification.from_backbone(backbone, **READINGS[READING])
    splits = {}
    for name, noise in NOISES.items():
        source = RoomsSource(Settings("single", STILL_PAIRS, 128, seed, 60, Noise(**noise), nothing_share=1))
        rows = [row for unit in source.units() for row in source.build(unit).rows]
        source.close()
        splits[name] = datasets.Dataset.from_list(rows, features=source.features)
    precision: Any = "bf16" if native_bf16() else "float32"
    kept = keep_features(model, splits, transform, FeatureStore(), precision=precision)
    return {name: torch.stack(rows[:]["features"]) for name, rows in kept.items()}


def run(folder: str, path: Path, seeds: Sequence[int], with_still: bool) -> None:
    """Measure the heads that have no result, also on pairs in which nothing happens."""
    found = _load(path)
    done = {(one["seed"], one["left_out"], one["head"]) for one in found}
    from data_scripts.rooms.objects import ACTIONS

    plan = []
    for seed in seeds:
        two = [ACTIONS[(2 * seed + k) % len(ACTIONS)] for k in (0, 1)]  # five seeds leave out each action once
        plan += [(seed, left_out, "trained") for left_out in (None, *two)]
        plan += [(seed, left_out, "closed form") for left_out in two if not with_still]
    plan = [one for one in plan if one not in done]
    if not plan:
        return
    import torch
    from tqdm import tqdm

    from benchmarks.study.pairs import open_pairs

    torch.set_num_threads(1)
    still = still_features(seeds[0]) if with_still and any(left_out is None for _, left_out, _ in plan) else {}
    pairs = open_pairs(folder, readings=(READING,))
    for seed, left_out, head in tqdm(plan, unit="head"):
        found.append(measure(pairs, still, seed, left_out, head))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[\n" + ",\n".join(map(json.dumps, found)) + "\n]\n", encoding="utf-8")


def choose_table(found: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table: a row for each kind of head and candidate; shares in percent, means over heads."""
    if not found:
        return "There are no results yet."
    candidates = [name for name in found[0] if name not in ("seed", "left_out", "head")]
    headers = ("head", "familiarity", "AUROC, test", "AUROC, test_syst", "unknown found", "test kept", "test_syst kept")
    lines = [f"| {' | '.join(headers)} |"]
    lines.append("|---|---|" + "---:|" * 5)
    for head, name in ((head, name) for head in ("trained", "closed form") for name in candidates):
        own = [one for one in found if one["head"] == head and one["left_out"] is not None]
        if not own:
            continue
        strange = [one[name]["strange"]["an unknown action"] for one in own]
        cells = [f"{_mean([s[f'auroc {part}'] for s in strange]):.3f}" for part in ("test", "test_syst")]
        cells.append(_percent([s["nothing"] + s["else"] for s in strange]))
        for part in ("test", "test_syst"):
            kept = [1 - sum(one[name]["known"][part].values()) for one in own]
            cells.append(_percent(kept))
        lines.append(f"| {head} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table of the chosen score: what happened, and what was answered, in percent, means over heads."""
    if not found:
        return "There are no results yet."
    rows: dict[str, list[Mapping[str, float]]] = {}
    for one in found:
        for group, word in (("known", "a known action, "), ("strange", "")):
            for name, shares in one[CHOSEN][group].items():
                if group == "strange" or one["left_out"] is None:
                    rows.setdefault(word + name, []).append(shares)
    lines = ["| what happened | heads | an action | nothing changed | something else | AUROC |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for name in sorted(rows, key=lambda name: (not name.startswith("a known"), name == "an unknown action")):
        shares = rows[name]
        named = name if name.startswith(("a known", "an unknown")) else f"nothing; {name}"
        kind = "auroc" if name == "an unknown action" else "auroc_length"
        area = "–" if name.startswith("a known") else f"{_mean([s[f'{kind} test_syst'] for s in shares]):.3f}"
        cells = [_percent([1 - s["nothing"] - s["else"] for s in shares])]
        cells += [_percent([s[key] for s in shares]) for key in ("nothing", "else")]
        lines.append(f"| {named} | {len(shares)} | {' | '.join(cells)} | {area} |")
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> float:
    return statistics.mean(values)


def _percent(values: Sequence[float]) -> str:
    return f"{abs(100 * statistics.mean(values)):.1f}"  # a share: no -0.0


def _load(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rejection", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=("report", "choose"), default="report", help="default: report")
    parser.add_argument("--data", default="data/rooms", help="folder of a built data set (%(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="how many (%(default)s)")
    parser.add_argument("--results", default="benchmarks/results/rejection", help="kept there (%(default)s)")
    parser.add_argument("--table", action="store_true", help="only print the table of what is there")
    options = parser.parse_args(arguments)
    path = Path(options.results, f"{options.what}.json")
    first = 60 if options.what == "report" else 100
    if not options.table:
        try:
            run(options.data, path, range(first, first + options.seeds), options.what == "report")
        except KeyboardInterrupt:
            sys.exit("\nStopped. The same command goes on where it stopped.")
    print((table if options.what == "report" else choose_table)(_load(path)))


if __name__ == "__main__":
    with in_one_sentence("benchmarks.rejection"):
        main()
