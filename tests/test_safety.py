"""What the project promises in SECURITY.md: nothing is unpickled, nothing is sent unasked, no code runs unasked.

One part reads every source, one part tries: hostile files in every place where a file is read, and a machine without
a network.
"""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.blocked_network import sitecustomize as blocked_network
from tests.conftest import TRIES

ROOT = Path(__file__).resolve().parents[1]


def tried() -> str:
    """What was written down of tries to reach another machine; taken away, so that the test does not fail for it."""
    text = TRIES.read_text() if TRIES.exists() else ""
    TRIES.unlink(missing_ok=True)
    return text


def test_the_block_bites_here_and_in_children():
    with pytest.raises(OSError, match=r"192.0.2.1: the tests reach no other machine"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with pytest.raises(OSError, match="example.org"):
        socket.getaddrinfo("example.org", 80)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, pytest.raises(OSError, match="reach no other"):
        one.sendto(b"x", ("192.0.2.1", 9))
    assert tried().count("192.0.2.1") == 2

    code = "import urllib.request; urllib.request.urlopen('http://192.0.2.1/')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode and "the tests reach no other machine" in done.stderr
    assert "connect 192.0.2.1" in tried()

    with pytest.raises(socket.gaierror):
        socket.create_connection(("nowhere.invalid", 80))
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
    assert tried() == ""
    assert (
        not blocked_network.reaches_out("::1") and blocked_network.reaches_out("10.0.0.1") and os.environ["PYTHONPATH"]
    )
