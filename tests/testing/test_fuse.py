"""The fuse: what is this machine passes, what is elsewhere is refused, whichever way it is asked for."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from llamina.testing._fuse import NetworkRefusedError, fuse, is_local


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost",
        "LocalHost.",
        "api.localhost",
        "localhost.localdomain",
        "ip6-localhost",
        "127.0.0.1",
        "127.9.8.7",
        "0.0.0.0",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        socket.gethostname(),
    ],
)
def test_this_machine_is_let_through(host: str) -> None:
    """By its names and its addresses of both kinds."""
    assert is_local(host)


@pytest.mark.parametrize(
    "host",
    ["example.com", "localhost.example.com", "notlocalhost", "10.0.0.1", "8.8.8.8", "2001:db8::1", "::ffff:8.8.8.8"],
)
def test_another_machine_is_not(host: str) -> None:
    """Nor a name that only looks like one of this one's."""
    assert not is_local(host)


def _tcp(address: Any, family: int = socket.AF_INET) -> None:
    with socket.socket(family) as one:
        one.connect(address)


def _datagram(method: str, *arguments: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        getattr(one, method)(*arguments)


async def _opened(host: str) -> None:
    await asyncio.open_connection(host, 80)


WAYS: dict[str, tuple[Callable[[], Any], str]] = {
    "a connection": (lambda: _tcp(("192.0.2.1", 80)), "192.0.2.1:80"),
    "a connection of the sixth kind": (
        lambda: _tcp(("2001:db8::1", 80, 0, 0), socket.AF_INET6),
        "[2001:db8::1]:80",
    ),
    "a datagram": (lambda: _datagram("sendto", b"x", ("192.0.2.1", 53)), "192.0.2.1:53"),
    "a datagram with more to it": (
        lambda: _datagram("sendmsg", [b"x"], [], 0, ("192.0.2.1", 53)),
        "192.0.2.1:53",
    ),
    "a name": (lambda: socket.getaddrinfo(host="example.com", port=80), "example.com:80"),
    "a name in the old way": (lambda: socket.gethostbyname("example.com"), "example.com"),
    "a name with its others": (lambda: socket.gethostbyname_ex("example.com"), "example.com"),
    "a loop": (lambda: asyncio.run(_opened("example.com")), "example.com:80"),
    "a loop with an address": (lambda: asyncio.run(_opened("192.0.2.1")), "192.0.2.1:80"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_out_is_refused(way: str) -> None:
    """And written down, as an address that can be read."""
    go, where = WAYS[way]

    with fuse() as blown, pytest.raises(NetworkRefusedError):
        go()

    assert blown.refused == [where]


def test_what_stays_on_this_machine_works() -> None:
    """A server on loopback, a pair of sockets, a lookup without a name."""

    async def talk() -> bytes:
        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hi")
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection("localhost", server.sockets[0].getsockname()[1])
            said = await reader.read()
            writer.close()
            await writer.wait_closed()
            return said

    with fuse() as blown:
        one, other = socket.socketpair()
        with one, other:
            one.send(b"x")
            pair = other.recv(1)
        served = asyncio.run(talk())
        any_address = socket.getaddrinfo(None, 80)

    assert (pair, served, bool(any_address), blown.refused) == (b"x", b"hi", True, [])


def test_everything_is_put_back() -> None:
    """As it was, also where fuses stand within each other."""
    before = (socket.getaddrinfo, socket.gethostbyname_ex, "connect" in vars(socket.socket))

    with fuse(), fuse():
        pass

    assert (socket.getaddrinfo, socket.gethostbyname_ex, "connect" in vars(socket.socket)) == before
