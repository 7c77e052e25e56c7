"""The only place that imports MuJoCo: chooses the OpenGL backend and explains what is missing in one sentence."""

from __future__ import annotations

import os
import sys
from types import ModuleType

from modeling_cde.cli.extras import install

INSTALL_HINT = (
    "install it with `apt-get install libegl1 libgl1-mesa-dri` on Debian or Ubuntu, on a GPU server use the EGL "
    "library of the NVIDIA driver with `apt-get install libegl1` and MUJOCO_GL=egl, or render in software with "
    "`apt-get install libosmesa6` and MUJOCO_GL=osmesa"
)


class RenderingUnavailableError(OSError):
    """MuJoCo or OpenGL is missing; the message is one sentence that says what to install."""


def load_mujoco() -> ModuleType:
    """Import MuJoCo with `MUJOCO_GL=egl` unless the user chose another backend.

    Raises:
        RenderingUnavailableError: MuJoCo is not installed or `MUJOCO_GL` names no backend.
    """
    if sys.platform == "linux":
        os.environ.setdefault("MUJOCO_GL", "egl")
    # Several worker processes share the cores already: Mesa's own rendering threads would only fight over them.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    try:
        import mujoco
    except ModuleNotFoundError as error:
        raise RenderingUnavailableError(
            f"These pictures are rendered by MuJoCo, which cannot be imported ({_one_line(error)}): {install('rooms')}"
        ) from error
    except Exception as error:
        # PyOpenGL fails in many ways, depending on which library is missing.
        raise RenderingUnavailableError(_no_opengl(error)) from error
    module: ModuleType = mujoco
    return module


def check_opengl() -> None:
    """Create and drop the smallest renderer, so that a missing OpenGL stops the run before anything long starts."""
    mujoco = load_mujoco()
    try:
        model = mujoco.MjModel.from_xml_string("<mujoco><visual><global offwidth='8' offheight='8'/></visual></mujoco>")
        mujoco.Renderer(model, 8, 8).close()
    except Exception as error:
        raise RenderingUnavailableError(_no_opengl(error)) from error


def _no_opengl(error: Exception) -> str:
    backend = os.environ.get("MUJOCO_GL", "")
    return f"OpenGL cannot render off-screen with MUJOCO_GL={backend} ({_one_line(error)}): {INSTALL_HINT}."


def _one_line(error: Exception) -> str:
    """The error's first sentence on one line, at most 120 characters."""
    return " ".join(str(error).split()).split(". ")[0].rstrip(".")[:120] or type(error).__name__
