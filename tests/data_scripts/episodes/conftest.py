"""The recordings of `recorded` in every version and kind, made once."""

import shutil
from pathlib import Path

import pytest

from tests.data_scripts.episodes.recorded import EPISODES
from tests.data_scripts.tiny_lerobot import write_recording


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lerobot")
    made = {}
    for version, kind in (("v2.0", "image"), ("v2.1", "video"), ("v3.0", "image"), ("v3.0", "video")):
        made[version, kind] = write_recording(folder / f"{version}-{kind}", version, EPISODES, kind=kind)
    return made


@pytest.fixture
def copy(recordings, tmp_path):
    """A copy of a recording, to be damaged."""

    def make(version="v2.1", kind="video"):
        return Path(shutil.copytree(recordings[version, kind], tmp_path / "copy"))

    return make
