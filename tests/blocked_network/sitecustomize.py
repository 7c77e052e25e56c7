"""Keeps a Python process off the network: only this machine's own addresses (loopback, sockets of a file) are reached.

The tests' `conftest.py` imports it, and puts this folder on PYTHONPATH, so that Python imports it in every process that
a test starts. A try is refused and written down in the file that CDE_NETWORK_TRIES names; `conftest.py` fails the test
after which there is one. So a library that calls home and swallows the error is found, too. Names that end in
`.invalid` exist nowhere: they are refused and not written down. Neither are names below 127.0.0.1, which datasets makes
of the address of the tests' own Hub when it looks for a server beside it.
"""

import os
import socket
import sys
from typing import Any

LOG = "CDE_NETWORK_TRIES"


class NetworkBlockedError(OSError):
    """Something wanted to reach another machine."""


def reaches_out(host: Any) -> bool:
    """Whether a host name or address is another machine's."""
    name = host.decode() if isinstance(host, bytes) else str(host or "")
    name = name.strip("[]").partition("%")[0].lower()
    return not (name in ("", "localhost", "::1", "::", "0.0.0.0") or name.startswith(("127.", "::ffff:127.")))


def refuse(what: str, host: Any) -> None:
    """Write the try down and raise."""
    if str(host).lower().rstrip(".").endswith((".invalid", ".127.0.0.1")):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if log := os.environ.get(LOG):
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{what} {host} by {' '.join(sys.argv)[:200]}\n")
    raise NetworkBlockedError(f"{what} {host}: the tests reach no other machine.")


def _check(kind: str, bound: Any, arguments: tuple[Any, ...]) -> None:
    # The address is the last argument of all of these; a connected socket may send without one.
    address = arguments[-1] if arguments else None
    if bound.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple) and reaches_out(address[0]):
        refuse(kind, address[0])


def _guarded_method(kind: str) -> Any:
    original = getattr(socket.socket, kind)

    def method(self: socket.socket, *arguments: Any) -> Any:
        _check(kind, self, arguments)
        return original(self, *arguments)

    return method


def _guarded_lookup(kind: str) -> Any:
    original = getattr(socket, kind)
    own = {socket.gethostname(), socket.getfqdn() if "." in socket.gethostname() else ""}

    def lookup(host: Any = None, *arguments: Any, **options: Any) -> Any:
        if reaches_out(host) and host not in own and not _is_address(host):
            refuse(kind, host)
        return original(host, *arguments, **options)

    return lookup


def _is_address(host: Any) -> bool:
    """An address needs no question to a name server; whether it is reached is decided when something connects."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
            return True
        except (OSError, TypeError, ValueError):
            pass
    return False


if not hasattr(socket, "tests_block"):
    socket.tests_block = True  # type: ignore[attr-defined]  # once, however often this is imported
    for _name in ("connect", "connect_ex", "sendto", "sendmsg"):
        setattr(socket.socket, _name, _guarded_method(_name))
    for _name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        setattr(socket, _name, _guarded_lookup(_name))
