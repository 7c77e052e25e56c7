"""AI2-THOR's known failures, each in one sentence that says what to do."""

from __future__ import annotations

import re

_REMEDIES: tuple[tuple[str, str], ...] = (
    (
        r"returncode=-11|Vulkan API driver missing|Vulkan is properly configured",
        "Vulkan does not work here: install it (apt install libvulkan1 vulkan-tools) with the driver of the GPU, until "
        "`vulkaninfo` lists the GPU; in a container NVIDIA_DRIVER_CAPABILITIES must include graphics",
    ),
    (r"vulkaninfo", "--gpu_device needs the command vulkaninfo: apt install vulkan-tools"),
    (r"nvidia-smi", "--gpu_device needs NVIDIA GPUs and the command nvidia-smi"),
    (r"[Ii]nvalid gpu_device", "choose a --gpu_device that exists, counted within CUDA_VISIBLE_DEVICES"),
    (r"X11 server|[Xx] display|GLX", "Linux64 needs an X server; without one use the platform CloudRendering"),
    (
        r"no build exists|No build exists|commit_id",
        "this Unity build does not exist, or the server that lists builds is unreachable: leave out --commit_id, and "
        "give the first start a network (later ones find the build in ~/.ai2thor/releases)",
    ),
    (
        r"ConnectionError|Max retries exceeded|Name or service|sha256",
        "the first start could not download the Unity build: check the network, or copy "
        "~/.ai2thor/releases from a machine that has it",
    ),
    (r"No space left", "the disk is full: the Unity build needs about 2 GB in ~/.ai2thor"),
    (
        r"timed out|TimeoutError|BrokenPipe|Unity process has exited|UnityCrash|[Rr]estarting unity|RestartError",
        "Unity froze or crashed, which happens now and then and is tried again; if it happens at every start, see "
        "~/.config/unity3d/Allen Institute for Artificial Intelligence/AI2-THOR/Player.log",
    ),
    (
        r"Invalid action|invalid action|InvalidAction|MissingArguments|Ambiguous|not a valid",
        "the Unity build does not know this action in this form: use ai2thor 5.0.0 and leave out --commit_id",
    ),
)


def explain(doing: str, error: Exception) -> str:
    """One sentence for an error while "starting" or in an action: what failed, the library's words, and any remedy."""
    said = " ".join(str(error).split())
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    remedy = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, text)), None)
    if len(text) > 300:  # the library quotes whole actions, a house among them
        text = text[:300] + " ..."
    return f"AI2-THOR failed while {doing}: {text}" + (f" - {remedy}." if remedy else "")
