"""A missing OpenGL or MuJoCo is one sentence that says what to install, before anything is made."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(code: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *code], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    "environment", [{"MUJOCO_GL": "nonsense"}, {"MUJOCO_GL": "egl", "__EGL_VENDOR_LIBRARY_FILENAMES": "/nonexistent"}]
)
def test_missing_opengl_names_the_packages(tmp_path: Path, environment: dict[str, str]) -> None:
    if sys.platform != "linux":
        pytest.skip("EGL is Linux's")
    output = tmp_path / "rooms"
    result = run(["-m", "data_scripts.rooms", "--output", str(output), "--num_pairs", "4"], **environment)
    assert result.returncode == 1
    message = result.stderr.strip()
    assert "\n" not in message
    for word in ("libegl1", "libgl1-mesa-dri", "NVIDIA", "MUJOCO_GL=egl", "libosmesa6"):
        assert word in message
    assert not output.exists()


def test_missing_mujoco_names_the_extra(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['mujoco'] = None\n"
        "from data_scripts.rooms.__main__ import main\n"
        f"main(['--output', {str(tmp_path / 'rooms')!r}])"
    )
    result = run(["-c", code])
    assert result.returncode == 1
    assert "[rooms]" in result.stderr and "\n" not in result.stderr.strip()
