"""Hours and memory of the paper's trainings on 1, 8 and 64 GPUs, and what saturates first.

    python -m benchmarks.speed.cost_model [--write]

Measures rates on this machine: operations, weights and activations of a step of each model, pairs a second of one
core, the optimizer, the contrastive term, gathering between two processes. From them, the data sheets of two cards and
named assumptions it computes what `benchmarks/speed/cost_arithmetic.py` says. `--write` puts the tables between the
markers of docs/scale.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.speed.cost_arithmetic import BYTES_PER_UPDATE, CARDS, cores_table, hours_table, steps_table
from benchmarks.speed.flops import step_flops
from benchmarks.speed.loading_speed import batches, drawn_pairs
from benchmarks.speed.measured import RESULTS, ROOT, ratio, seconds_in_turns, write_result
from benchmarks.speed.peak_memory import in_forked_process
from benchmarks.speed.speed_table import replaced
from benchmarks.speed.training_steps import TINY, VIT_B16, VIT_S16, Case, full_step
from modeling_cde.training.distributed import gather_rows
from modeling_cde.training.losses import CDELoss

DOCUMENT = ROOT / "docs" / "scale.md"
BEGIN, END = "<!-- costs: python -m benchmarks.speed.cost_model --write -->", "<!-- end of the costs -->"
GATHERED = 4096 * 256 * 4  # bytes of the deltas that each of two processes brings
BATCH = 64  # pairs of a card, as in configs/finetune.yaml
PICTURES = {"PNG 672 px": (672, "PNG"), "JPEG 456 x 256 px": (342, "JPEG"), "PNG 256 px": (256, "PNG")}
# Shares of a card's speed that are taken for granted where benchmarks.speed.gpu_utilisation has not been run: of its
# data sheet a large matrix product reaches the first; of that a step of a model reaches the others, which
# are our targets.
ASSUMED = {"matmul": 0.75, "ViT-S/16": 0.30, "ViT-B/16": 0.45}


def saved_bytes(case: Case) -> int:
    """Bytes that a forward pass under bf16 autocast keeps for the backward pass, without the weights themselves."""
    model, batch = case.model(), case.batch()
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        outputs = model(**batch)  # alive until the sum is taken, so that no address is given twice
    return sum(kept.values()) if outputs is not None else 0


def model_rates(name: str, case: Case) -> dict[str, Any]:
    """Operations, weights and activations of a model; what does not grow with the batch is left out of the last."""
    flops = sum(step_flops(case, bf16=False).values()) // case.pairs
    one, two = (saved_bytes(Case(name, case.backbone, case.image_size, pairs, case.options)) for pairs in (1, 2))
    weights = sum(parameter.numel() for parameter in case.model().parameters())
    return {"flops_per_pair": flops, "weights": weights, "activation_bytes_per_pair": two - one}


def compute_rates(case: Case, side: int, rows: int, seconds: float, turns: int) -> dict[str, Any]:
    """A training step, and the products of the contrastive term (forward and backward) for so many deltas, each against
    a float32 product of square matrices of that side, in turns, on all threads."""
    a, b = torch.randn(side, side), torch.randn(side, side)
    delta, labels, zero = torch.randn(rows, 256, requires_grad=True), torch.arange(rows) % 10, torch.zeros(())

    def term() -> None:
        torch.autograd.backward(CDELoss(sparsity_weight=0.0)(zero, delta, labels)["loss"])

    step = full_step(case.model(), case.batch(), bf16=False)
    found = seconds_in_turns({"matmul": lambda: a @ b, "step": step, "contrastive": term}, seconds, turns)
    work = {"step": sum(step_flops(case, bf16=False).values()), "contrastive": 6 * rows * rows * 256}
    square = 2 * side**3
    rates: dict[str, Any] = {"matmul_flops": square / statistics.median(found["matmul"])}
    for name, flops in work.items():
        share = ratio(found["matmul"], found[name])["median"] * flops / square
        rates[name] = {"seconds": statistics.median(found[name]), "flops": flops, "share_of_matmul": share}
    return rates


def optimizer_rates(weights: int, seconds: float, turns: int) -> dict[str, float]:
    """Bytes a second of a fused AdamW step, against those of multiplying a tensor in its place, in turns."""
    parameter = torch.nn.Parameter(torch.zeros(weights))
    gradient = torch.ones(weights)
    parameter.grad = gradient
    optimizer = torch.optim.AdamW([parameter], fused=True)
    found = seconds_in_turns({"scale": lambda: gradient.mul_(1.0), "update": optimizer.step}, seconds, turns)
    scaled, updated = 8 * weights, BYTES_PER_UPDATE * weights  # scaling reads and writes 4 bytes of each
    return {
        "scaled_bytes_per_second": scaled / statistics.median(found["scale"]),
        "share_of_memory": ratio(found["scale"], found["update"])["median"] * updated / scaled,
    }


def input_rates(seconds: float) -> dict[str, float]:
    """Pairs a second of one core by kind of picture: read, decode, cut out, scale to 224 px, augment, collate.

    By this process's own time on the processor: what else runs on the machine does not count.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = {}
    for name, (side, kind) in PICTURES.items():
        shown = batches(drawn_pairs(side, kind, 32), 224, augment=True, batch_size=16)
        next(shown)
        pairs, began = 0, time.process_time()
        while pairs == 0 or time.process_time() - began < seconds:
            next(shown)
            pairs += 16
        found[name] = pairs / (time.process_time() - began)
    torch.set_num_threads(threads)
    return found


def gathering_rates(seconds: float) -> dict[str, float]:
    """Bytes a second that one of two processes on this machine gets and gives back through `gather_rows`.

    Call it before this process has computed anything with torch; see `in_forked_process`.
    """
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        other = os.fork()
        if other == 0:
            try:
                gather_here(1, meeting, seconds)
            finally:
                os._exit(0)
        taken = in_forked_process(lambda: gather_here(0, meeting, seconds))
        os.waitpid(other, 0)
    return {"bytes": GATHERED, "seconds": taken, "bytes_per_second": 3 * GATHERED / taken}


def gather_here(rank: int, meeting: str, seconds: float) -> float:
    """One of the two processes of `gathering_rates`: the seconds of gathering 4,096 deltas, forward and backward."""
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    delta = torch.randn(GATHERED // 1024, 256, requires_grad=True)
    calls = max(3, int(seconds * 20))
    for call in range(calls + 1):
        if call == 1:
            dist.barrier()
            began = time.perf_counter()
        gather_rows(delta)[0].sum().backward()  # type: ignore[no-untyped-call]
    taken = (time.perf_counter() - began) / calls
    dist.destroy_process_group()
    return taken


def measure(quick: bool, seconds: float, turns: int) -> dict[str, Any]:
    """All rates; `quick` takes tiny models and short times, to see that it runs."""
    gathering = gathering_rates(seconds)
    small, large, size = (TINY, TINY, 32) if quick else (VIT_S16, VIT_B16, 224)
    models = {}
    for name, backbone in (("ViT-S/16", small), ("ViT-B/16", large)):
        models[name] = model_rates(name, Case(name, backbone, size, 2))
        models[f"{name}, patches"] = model_rates(name, Case(name, backbone, size, 2, {"delta_mode": "patch"}))
    case = Case("ViT-S/16", small, size, 4)
    return {
        "models": models,
        "compute": compute_rates(case, 256 if quick else 2048, 256 if quick else 4096, seconds, turns),
        "optimizer": optimizer_rates(models["ViT-S/16"]["weights"], seconds, turns),
        "input": input_rates(seconds),
        "gathering": gathering,
    }


def shares_of(folder: Path = RESULTS) -> tuple[dict[str, float], str]:
    """The shares of a card's speed, and where they come from: measured by `gpu_utilisation`, or assumed."""
    path = folder / "gpu_utilisation.json"
    if not path.exists():
        return dict(ASSUMED), "assumed: no GPU was at hand"
    found = json.loads(path.read_text(encoding="utf-8"))
    shares = {case["case"]: case["operations_per_second"] / found["matmul_peak"] for case in found["cases"][::-1]}
    return ASSUMED | shares, f"of a step measured on {found['card']}, of the data sheet assumed"


def render(result: Mapping[str, Any]) -> str:
    """All tables and what they rest on, as Markdown."""
    rates, shares = result["rates"], result["shares"]
    where = result["environment"]
    compute, optimizer, gathering = rates["compute"], rates["optimizer"], rates["gathering"]
    step, term = compute["step"]["share_of_matmul"], compute["contrastive"]["share_of_matmul"]
    measured = [
        "| model | GFLOP a pair, forward and backward | million weights | MB a pair kept for the backward pass |",
        "|---|---:|---:|---:|",
        *(
            f"| {name} | {model['flops_per_pair'] / 1e9:.1f} | {model['weights'] / 1e6:.1f} | "
            f"{model['activation_bytes_per_pair'] / 1e6:.0f} |"
            for name, model in rates["models"].items()
        ),
        "",
        "| pictures | pairs a second of one core |",
        "|---|---:|",
        *(f"| {name} | {rate:.0f} |" for name, rate in rates["input"].items()),
    ]
    machine = (
        f"Measured by `{result['command']}` on {where['device']}, {where['threads']} threads. A float32 matrix product "
        f"has {compute['matmul_flops'] / 1e9:.0f} GFLOP/s, a training step of ViT-S/16 {step:.2f} of "
        f"that, the contrastive term's products {term:.2f}; AdamW moves its bytes "
        f"at {optimizer['share_of_memory']:.2f} of the rate of scaling a tensor; two processes here gather at "
        f"{gathering['bytes_per_second'] / 1e6:.0f} MB/s."
    )
    taken = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
    arithmetic = (
        f"**Arithmetic from here on, no measurement.** {result['batch']} pairs a card; shares of a card's speed "
        f"({result['shares_from']}): {taken}; links, memory and cores of the cards by their data sheets and those of "
        f"the DGX machines that they come in (`benchmarks/speed/cost_arithmetic.py`)."
    )
    basis = (rates, shares, result["batch"])
    parts = [
        machine,
        "\n".join(measured),
        arithmetic,
        "Hours of the whole training, steps an epoch, and memory of a card:",
        hours_table(*basis),
        f"Milliseconds of a step on {CARDS[-1].name}, and what saturates first beside the model's own products:",
        steps_table(CARDS[-1], *basis),
        "CPU cores that a card wants, so that reading pictures takes no longer than computing:",
        cores_table(*basis),
    ]
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write the JSON; with --write put the tables into docs/scale.md."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.cost_model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="at least, of each measurement")
    parser.add_argument("--turns", type=int, default=9, help="measurements of what is compared")
    parser.add_argument("--quick", action="store_true", help="tiny models: only to see that it runs")
    parser.add_argument("--kept", action="store_true", help="measure nothing: render what is kept")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {DOCUMENT.relative_to(ROOT)}")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the JSON")
    options = parser.parse_args(arguments)
    if options.quick and (options.write or options.output == RESULTS):
        parser.error("--quick measures tiny models, of which nothing is kept: name another folder by --output.")
    path = options.output / "cost_model.json"
    try:
        if not options.kept:
            rates = measure(options.quick, options.seconds, options.turns)
            shares, source = shares_of(options.output)
            details = {"rates": rates, "shares": shares, "shares_from": source, "batch": BATCH}
            path = write_result("cost_model", "python -m benchmarks.speed.cost_model", [], details, options.output)
        tables = render(json.loads(path.read_text(encoding="utf-8")))
        if options.write:
            DOCUMENT.write_text(replaced(DOCUMENT.read_text(encoding="utf-8"), tables, BEGIN, END), encoding="utf-8")
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"benchmarks.speed.cost_model: {error}")
    print(f"{tables}\n\nThe rates are in {path}.")


if __name__ == "__main__":
    main()
