"""A process that talks to the small Hub of `hub_server`: clients read HF_ENDPOINT once, when they are imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.hub_server import TOKEN, HubServer

_LOOP = """
import contextlib, json, sys
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
    """

    def __init__(self, hub: HubServer, home: Path, token: str = TOKEN) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LOOP],
            cwd=Path(__file__).parents[1],
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
