"""A fuse against real network calls in tests: what would leave this machine raises, and is written down.

    with fuse() as blown:
        ...                          # NetworkRefusedError: this test would reach api.openai.com:443 ...
    blown.refused                    # ["api.openai.com:443"]

It stands in the `socket` module: name lookups, TCP and UDP. Loopback addresses and Unix sockets are let through. A loop
that has its own sockets in C (uvloop) goes past it.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Fuse", "NetworkRefusedError", "fuse"]


class NetworkRefusedError(AssertionError):
    """A test would have reached a real network. No layer handles it: the test is wrong."""


class Fuse:
    """What was refused so far: `host:port`, in order; `told` of them have made a test fail."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.told = 0

    def check(self, host: Any, port: Any = None) -> None:
        """Refuse what is not on this machine.

        Raises:
            NetworkRefusedError: it is elsewhere.
        """
        name = host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host or "")
        if is_local(name):
            return
        where = name if port is None else f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
        self.refused.append(where)
        raise NetworkRefusedError(self.says(where))

    def untold(self) -> NetworkRefusedError | None:
        """The error for what has been refused since it was last asked, None if there is nothing."""
        new, self.told = self.refused[self.told :], len(self.refused)
        return NetworkRefusedError(self.says(", ".join(dict.fromkeys(new)))) if new else None

    @staticmethod
    def says(where: str) -> str:
        """The message for one address."""
        return (
            f"this test would reach {where}; give its stack a FakeTransport, or a `simulated_provider` on this machine, "
            'or mark it @pytest.mark.llamina_network("allow")'
        )


_LOOPBACK = ("", "localhost", "localhost.localdomain", "localhost6", "localhost6.localdomain6", "ip6-localhost")
"""Names that hosts files give to loopback."""


def is_local(host: str) -> bool:
    """Whether *host* is this machine: no name, one of its own, a loopback address, or the address that stands for any.

    A name decides only whether it is looked up: the address that comes of it is judged again.
    """
    name = host.lower().rstrip(".").partition("%")[0]
    if name in _LOOPBACK or name.endswith(".localhost") or name == socket.gethostname().lower():
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped if mapped is not None else address
    return address.is_loopback or address.is_unspecified


@contextmanager
def fuse() -> Iterator[Fuse]:
    """Refuse real network in this process, in all of its threads, while the block runs."""
    blown = Fuse()
    undo = [
        _replace(socket, name, _lookup(blown, name)) for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex")
    ]
    undo += [
        _replace(socket.socket, name, _method(blown, name)) for name in ("connect", "connect_ex", "sendto", "sendmsg")
    ]
    try:
        yield blown
    finally:
        for each in undo:
            each()


def _lookup(blown: Fuse, name: str) -> Callable[..., Any]:
    real = getattr(socket, name)

    def looked_up(host: Any, port: Any = None, *args: Any, **kwargs: Any) -> Any:
        blown.check(host, port)
        return real(host, port, *args, **kwargs) if name == "getaddrinfo" else real(host)

    return looked_up


def _method(blown: Fuse, name: str) -> Callable[..., Any]:
    real = getattr(socket.socket, name)

    def method(self: socket.socket, *args: Any) -> Any:
        address = args[-1] if args else None
        if self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple) and len(address) > 1:
            blown.check(address[0], address[1])
        return real(self, *args)

    return method


def _replace(owner: Any, name: str, by: Any) -> Callable[[], None]:
    inherited = name not in vars(owner)
    before = getattr(owner, name)
    setattr(owner, name, by)

    def undo() -> None:
        if inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, before)

    return undo
