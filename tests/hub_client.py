"""A process that talks to the small Hub of `hub_server`: clients read HF_ENDPOINT once, when they are imported."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from tests.hub_server import TOKEN, HubServer

_LOOP = """
import contextlib, json, sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name in hidden else self.finder.find_spec(name, path, target)

hidden = sys.argv[1:]
sys.meta_path[:] = map(Hiding, sys.meta_path) if hidden else sys.meta_path
for line in sys.stdin:
    scope = {}
    try:
        with contextlib.redirect_stdout(sys.stderr):
            exec(json.loads(line), scope)
        answer = {"result": scope.get("result")}
    except (Exception, SystemExit) as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(answer), flush=True)
"""


class HubClient:
    """Runs pieces of code, one after another, in a process of its own with a cache of its own.

    Args:
        hub: What its HF_ENDPOINT is.
        home: Its HF_HOME.
        token: Its HF_TOKEN.
        without: Modules that it behaves as if they were not installed.
    """

    def __init__(self, hub: HubServer, home: Path, token: str = TOKEN, without: Sequence[str] = ()) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LOOP, *without],
            cwd=home if without else Path(__file__).parents[1],
            env=hub.environment(home, token),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> HubClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, code: str) -> dict[str, Any]:
        """What the code leaves in `result` (JSON), or the name and message of what it raised."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the client process has died"
        return dict(json.loads(line))


class ClientHere:
    """Runs pieces of code as `HubClient` does, in this process; to be used within `spoken_to`."""

    def run(self, code: str) -> dict[str, Any]:
        """See `HubClient.run`."""
        scope: dict[str, Any] = {}
        try:
            exec(code, scope)
        except (Exception, SystemExit) as error:
            return {"error": type(error).__name__, "message": str(error)}
        return {"result": scope.get("result")}


@contextlib.contextmanager
def spoken_to(hub: HubServer, token: str = TOKEN) -> Iterator[None]:
    """Lets the client of this process talk to the small Hub, and not wait long before it tries again."""
    import huggingface_hub.constants as constants
    from huggingface_hub.utils import _http

    with contextlib.ExitStack() as stack:
        files = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.url)
        settings = {"ENDPOINT": hub.url, "HUGGINGFACE_CO_URL_TEMPLATE": files, "HF_HUB_OFFLINE": False}
        for name, value in {**settings, "HF_HUB_DISABLE_XET": True}.items():
            stack.enter_context(mock.patch.object(constants, name, value))
        environment = {"HF_TOKEN": token, "NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        stack.enter_context(mock.patch.dict("os.environ", environment))
        impatient = types.SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
        stack.enter_context(mock.patch.object(_http, "time", impatient))
        yield
