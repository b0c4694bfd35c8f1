"""The HTTP clients behind one small interface: httpx, httpx2 and aiohttp.

    engine = build("auto", target, connections=1000)       # or given(client, target) for a client of the user
    answer = await engine.post(url, body, connect=10.0, read=600.0)
    try:
        while piece := await answer.read(): ...
    finally:
        await answer.close()

An engine sends bytes to the addresses of one server with headers that were merged once. It follows no redirect, keeps no cookie and
raises what its client raises.

The one surprise: httpx and httpx2 are one family here. They have the same signatures and different classes, so the
module that a client comes from is found from its bases.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from llamina.errors import ConfigurationError

__all__ = ["KEEPALIVE", "Answer", "Engine", "Gate", "PoolTimeout", "Target", "build", "choose", "given"]

KEEPALIVE = 15.0
"""Seconds that an idle connection is kept: below what servers and balancers usually close after."""


class PoolTimeout(TimeoutError):  # noqa: N818 - as httpx calls it
    """No connection became free in time."""


class Gate:
    """The places of an engine: whoever is inside finds a connection that is free, or may open one."""

    __slots__ = ("_places", "leave")

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)
        self.leave = self._places.release

    async def enter(self, seconds: float) -> None:
        """Take a place, which `leave` gives back.

        Raises:
            PoolTimeout: none became free within *seconds*.
        """
        if not self._places.locked():
            await self._places.acquire()
            return
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await self._places.acquire()
        except TimeoutError:
            raise PoolTimeout("all connections are in use") from None


class Target(NamedTuple):
    """The server that an engine posts to, by its base address, and the headers that go with every request."""

    url: str
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Target({self.url.partition('?')[0]!r})"  # the headers hold the key


class Answer(Protocol):
    """The answer to one request; its body is read piece by piece. The names of its headers are in lower case."""

    status: int
    headers: dict[str, str]

    async def read(self) -> bytes:
        """The next piece of the body, b"" at its end."""

    async def close(self) -> None:
        """Give the connection back if the body was read to its end, else cut it."""


class Engine(Protocol):
    """A client with a target."""

    async def post(
        self, url: str, body: bytes, connect: float, read: float, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send *body* to *url*: at most *connect* seconds to connect, *read* to wait for the pool and each piece."""

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, connect: float, read: float
    ) -> Answer:
        """Send any request to *url*, with *headers* beside those of every request."""

    async def aclose(self) -> None:
        """Close the client, if it was built here."""


def choose(engine: str, client: Any) -> str:
    """The name of the client family: of *client* where one is given, else of *engine*.

    Raises:
        ConfigurationError: the family is unknown or not installed, or *client* is of no family or of another.
    """
    if engine not in ("auto", "httpx", "httpx2", "aiohttp"):
        raise ConfigurationError(
            f"HTTPTransport.engine must be 'auto', 'httpx', 'httpx2' or 'aiohttp', got {engine!r}; leave it out"
        )
    if client is not None:
        family = _family(client)
        if engine not in ("auto", family):
            raise ConfigurationError(f"HTTPTransport.engine is {engine!r} but the client is of {family}; leave it out")
        return family
    if engine == "auto":
        return "httpx2" if importlib.util.find_spec("httpx2") else "httpx"
    if importlib.util.find_spec(engine) is None:
        extra = "fast" if engine == "aiohttp" else "httpx2"
        raise ConfigurationError(
            f"HTTPTransport.engine {engine!r} needs {engine}; install it with: pip install 'llamina[{extra}]'"
        )
    return engine


def _family(client: Any) -> str:
    for base in type(client).__mro__:
        root = base.__module__.partition(".")[0]
        if (root in ("httpx", "httpx2") and base.__name__ == "AsyncClient") or (
            root == "aiohttp" and base.__name__ == "ClientSession"
        ):
            return root
    raise ConfigurationError(
        f"HTTPTransport.client must be an AsyncClient of httpx or httpx2 or a ClientSession of aiohttp, "
        f"got {type(client).__module__}.{type(client).__qualname__}"
    )


def build(family: str, target: Target, connections: int) -> Engine:
    """An engine with clients of its own, for the event loop that runs."""
    if family == "aiohttp":
        from ._aiohttp import AiohttpEngine

        return AiohttpEngine.build(target, connections)
    from ._httpx import OwnHttpx

    return OwnHttpx(family, target, connections)


def given(client: Any, family: str, target: Target) -> Engine:
    """An engine round a client of the user's, which stays open."""
    if family == "aiohttp":
        from ._aiohttp import AiohttpEngine

        return AiohttpEngine(client, target)
    from ._httpx import GivenHttpx

    return GivenHttpx(client, family, target)
