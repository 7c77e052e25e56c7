"""One small renderer for all tests of rooms; without OpenGL they are skipped and say why."""

from collections.abc import Iterator

import pytest

from data_scripts.rooms.opengl import RenderingUnavailableError, check_opengl


@pytest.fixture(scope="session")
def opengl() -> None:
    try:
        check_opengl()
    except RenderingUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def renderer(opengl: None) -> Iterator[object]:
    from data_scripts.rooms.renderer import RoomRenderer

    renderer = RoomRenderer(64)
    yield renderer
    renderer.close()
