"""A source without pictures' cost: deterministic units that can be slow, raise, hang, die or leave children behind."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from data_scripts.builds.work_units import StopBuildError, UnitRows, file_stamp

ROOT = Path(__file__).parents[2]
BUILD = """
import signal
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job, and so its child, ignores it
from data_scripts.builds.run_units import run_units
from tests.data_scripts.fake_source import FakeSource
where = dict(engine={engine!r}, ray_address={ray_address!r})
run_units(FakeSource(Path({log!r}), **{options!r}), {folder!r}, workers=2, progress=False, **where)
"""
ACTIONS, OBJECTS = ("open", "close", "break"), ("Box", "Door", "Fridge", "Egg")


@dataclass
class FakeSource:
    """Units `unit-000`, ...; `log` is a folder that gets one line in `calls` for every call of `build`.

    `faults` maps a unit to what goes wrong in it: "raise", "raise once", "die", "die once", "hang", "hang once",
    "exit", "quit" (exit with code 0), "stop", "leak" (a child that outlives the build), "guard" and "starter" (of the
    worker, which are killed), "wrong" (a row without an action). Without `real_features` the columns are those of
    pair_features, but not described to `datasets`, whose import would slow many small tests down.
    """

    log: Path
    count: int = 6
    rows: int = 3
    seconds: float = 0.0
    seed: int = 0
    faults: dict[str, str] = field(default_factory=dict)
    real_features: bool = False
    files: Path | None = None  # with a file for each unit

    @property
    def features(self) -> Any:
        if not self.real_features:
            return SimpleNamespace(arrow_schema=plain_schema())
        from modeling_cde.data.schema import pair_features

        return pair_features(ACTIONS, OBJECTS)

    def settings(self) -> dict[str, Any]:
        return {"count": self.count, "rows": self.rows, "seed": self.seed}

    def units(self) -> list[str]:
        return [f"unit-{number:03d}" for number in range(self.count)]

    def inputs(self, unit: str) -> dict[str, Any]:
        return {f"{unit}.txt": file_stamp(self.files / f"{unit}.txt")} if self.files else {}

    def build(self, unit: str) -> UnitRows:
        with (self.log / "calls").open("a") as file:
            file.write(f"{unit} {os.getpid()}\n")
        fault, _, once = self.faults.get(unit, "").partition(" ")
        if fault and not (once and calls(self.log)[unit] > 1):
            self._go_wrong(fault, unit)
        time.sleep(self.seconds)
        number = int(unit[-3:])
        rows = [self.row(number, k) for k in range(self.rows)]
        if fault == "wrong":
            del rows[1]["action"]
        return UnitRows(rows, {"hidden": number}, [f"{unit}, row {k} is odd." for k in range(number % 2)])

    def close(self) -> None:
        with (self.log / "closed").open("a") as file:
            file.write(f"{os.getpid()}\n")

    def _go_wrong(self, fault: str, unit: str) -> None:
        if fault == "raise":
            raise KeyError(f"{unit} is broken")
        if fault == "die":
            self.leak()
            os.kill(os.getpid(), signal.SIGKILL)
        if fault in ("guard", "starter"):
            self.leak()
            os.kill(guard_of(os.getpid()) if fault == "guard" else os.getppid(), signal.SIGKILL)
            time.sleep(1000)
        if fault == "exit":
            os._exit(7)
        if fault == "quit":
            os._exit(0)
        if fault == "hang":
            self.leak()
            time.sleep(1000)
        if fault == "stop":
            raise StopBuildError(f"{unit}, row 2: the picture is missing (--strict).")
        if fault == "leak":
            self.leak()

    def leak(self) -> None:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        with (self.log / "children").open("a") as file:
            file.write(f"{child.pid}\n")

    def row(self, number: int, k: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, number, k])
        pictures = [png(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(2)]
        return {
            "before": {"bytes": pictures[0], "path": None},
            "after": {"bytes": pictures[1], "path": None},
            "action": (number + k) % len(ACTIONS),
            "object": k % len(OBJECTS),
            "scene": f"scene-{number}",
            "pair_id": f"fake-{number:03d}-{k}",
            "box": [0, 0, 7, 7] if k % 2 else None,
            "mask_before": None,
            "mask_after": None,
        }


class ModulesSource(FakeSource):
    """Its problems are the slow packages that its worker has imported."""

    def build(self, unit: str) -> UnitRows:
        return UnitRows([], problems=sorted({"torch", "datasets", "transformers", "pandas"} & set(sys.modules)))


class Trap(str):
    """A text that would write a file where it is unpickled."""

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self),))


class TrapSource(FakeSource):
    """Answers with objects of its own where plain texts and numbers belong."""

    def build(self, unit: str) -> UnitRows:
        return UnitRows([], {Trap(self.log / "reason"): np.int64(2)}, [Trap(self.log / "problem"), "lone \ud800"])


def plain_schema() -> pa.Schema:
    picture = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    kinds = {"before": picture, "after": picture, "action": pa.int64(), "object": pa.int64(), "scene": pa.string()}
    kinds |= {"pair_id": pa.string(), "box": pa.list_(pa.int32(), 4), "mask_before": picture, "mask_after": picture}
    return pa.schema(kinds)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def start(log: Path, folder: Path, ray_address: str | None = None, **options: Any) -> subprocess.Popen[bytes]:
    """Build in a process of its own, locally or on a running Ray, with `options` of FakeSource."""
    engine = "ray" if ray_address else "local"
    code = BUILD.format(log=str(log), folder=str(folder), engine=engine, ray_address=ray_address, options=options)
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE)


def guard_of(worker: int) -> int:
    """The child of a worker that runs the same program."""
    children = [int(pid) for pid in Path(f"/proc/{worker}/task/{worker}/children").read_text().split()]
    [guard] = [pid for pid in children if command_of(pid) == command_of(worker)]
    return guard


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def sent(value: Any) -> Any:
    """A value as a worker gets it."""
    return pickle.loads(pickle.dumps(value))


def calls(log: Path) -> Counter[str]:
    """How often each unit was begun."""
    path = log / "calls"
    return Counter(line.split()[0] for line in path.read_text().splitlines()) if path.exists() else Counter()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def survivors(log: Path, name: str = "children", seconds: float = 5.0) -> list[int]:
    """Which of the noted processes still run after some seconds at most; `name` is "children" or "calls"."""
    path = log / name
    pids = {int(line.split()[-1]) for line in path.read_text().splitlines()} if path.exists() else set()
    deadline = time.monotonic() + seconds
    while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def shards(folder: Path) -> dict[str, bytes]:
    """Everything that a build leaves, by name, except its lock."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".lock"}
