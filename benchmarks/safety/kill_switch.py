"""Kill a process at a chosen one of the operations by which it changes the files of a folder.

    python -m benchmarks.safety.kill_switch FOLDER OPERATION TRACE SCRIPT ARGUMENT...

runs a Python script until just before operation number OPERATION (from 1; 0: to its end), and then sends itself
SIGKILL, of which no program learns. The file TRACE gets a line for each operation. A file of tensors takes two
operations: before the second one half of it is there.
"""

import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def arm(folder: str | Path, operation: int, note: Callable[[str], Any] = lambda line: None) -> None:
    """Count from now on, in this process.

    Args:
        folder: of which changes count.
        operation: the one before which the process dies; 0 for none.
        note: is given a line such as "os.rename checkpoint-2" for each operation.
    """
    import safetensors.torch

    folder, done = os.path.realpath(folder), 0

    def count(what: str, path: Any, base: str = "") -> None:
        nonlocal done
        if not isinstance(path, str | bytes | os.PathLike):
            return
        full = os.path.abspath(os.path.join(base, os.fsdecode(path)))
        if full != folder and not full.startswith(folder + os.sep):
            return
        done += 1
        note(f"{what} {os.path.relpath(full, folder)}")
        if done == operation:
            os.kill(os.getpid(), signal.SIGKILL)

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            count("open", arguments[0])
        elif event in ("os.remove", "os.rmdir"):  # shutil.rmtree names files within an open folder
            count(event, arguments[0], "" if arguments[1] < 0 else os.readlink(f"/proc/self/fd/{arguments[1]}"))
        elif event in ("os.rename", "os.mkdir", "os.link"):
            count(event, arguments[0])

    whole = safetensors.torch.save_file

    def save_file(tensors: dict[str, Any], filename: Any, metadata: dict[str, str] | None = None) -> None:
        content = safetensors.torch.save(tensors, metadata)
        with open(filename, "wb") as file:  # counted
            file.write(content[: len(content) // 2])
        count("half", filename)
        whole(tensors, filename, metadata)

    for module in list(sys.modules.values()):  # also where it was imported by its name
        for name in ("save_file", "safe_save_file"):
            if getattr(module, "__dict__", {}).get(name) is whole:  # getattr would make lazy modules import others
                setattr(module, name, save_file)
    sys.addaudithook(hear)


def main(folder: str, operation: str, trace: str, script: str, *arguments: str) -> None:
    """See the module's docstring."""
    with open(trace, "w", encoding="utf-8", buffering=1) as lines:
        arm(folder, int(operation), lambda line: lines.write(f"{line}\n"))
        sys.argv = [script, *arguments]
        sys.path[0] = str(Path(script).resolve().parent)
        runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
