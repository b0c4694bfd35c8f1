"""The engine on httpx and httpx2, which are used by the same code: the module is found by its name.

    engine = OwnHttpx("httpx2", target, 1000)
    answer = await engine.post(body, connect=10.0, read=600.0)

The one surprise: an own engine has many small pools. The pool of httpx looks at each of its connections on each call,
and that of httpx 0.28 at each waiting call too: 512 calls at once in one pool take seven times the CPU of the same calls
in pools of 16 with httpx2, and twenty times with httpx 0.28.

And: httpx 0.28 can lose the connection of a call that is cancelled, so that its pool never lends it again. A pool in
which that may have happened is taken out of use, and closed when its last call has ended.
"""

from __future__ import annotations

import asyncio
import importlib
from http.cookiejar import CookieJar
from typing import Any

from ._engines import KEEPALIVE, Answer, Target

__all__ = ["GivenHttpx", "OwnHttpx"]

POOL_SIZE = 16
"""Connections of one pool."""


class _NoCookies(CookieJar):
    """A jar that stays empty: cookies are never sent here, and parsing them would cost every answer."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        pass


class _Pool:
    """A client and the calls that it has in flight; *suspect* once it may have lost a connection."""

    __slots__ = ("_places", "client", "fragile", "in_flight", "suspect")

    def __init__(self, client: Any, places: asyncio.Semaphore | None = None, *, fragile: bool = False) -> None:
        self.client = client
        self.fragile = fragile
        self.in_flight = 0
        self.suspect = False
        self._places = places

    def leave(self) -> None:
        """A call has ended."""
        self.in_flight -= 1
        if self._places is not None:
            self._places.release()

    def note(self, error: BaseException) -> None:
        """A call was broken off by *error*: a cancellation may have lost its connection."""
        if self.fragile and not isinstance(error, Exception):
            self.suspect = True


class OwnHttpx:
    """Posts through clients that are built here, with a head that is made once.

    The pools are filled one after the other, so that few calls at a time share the connections of the first.
    """

    def __init__(self, family: str, target: Target, connections: int) -> None:
        self._module = module = importlib.import_module(family)
        self._url = module.URL(target.url)
        self._size = min(POOL_SIZE, connections)
        self._fragile = family == "httpx"
        # Places for all pools together: who waits gets the first connection that is free, whichever pool it is in.
        self._places = asyncio.Semaphore(connections)
        self._tls = _tls(module, target.url)
        self._pools = [self._new_pool()]
        self._retired: list[_Pool] = []
        headers = self._pools[0].client.headers
        headers.update(target.headers)
        self._head = [(b"Host", self._url.netloc), *headers.raw]

    def _new_pool(self) -> _Pool:
        limits = self._module.Limits(
            max_connections=self._size, max_keepalive_connections=self._size, keepalive_expiry=KEEPALIVE
        )
        client = self._module.AsyncClient(limits=limits, verify=self._tls, cookies=_NoCookies())
        return _Pool(client, self._places, fragile=self._fragile)

    def _free_pool(self) -> _Pool:
        """The first pool that has a connection left; whoever asks has a place."""
        for pool in self._pools:
            if pool.in_flight < self._size and not pool.suspect:
                return pool
        self._pools.append(self._new_pool())
        return self._pools[-1]

    async def _take_place(self, read: float) -> None:
        if not self._places.locked():
            await self._places.acquire()  # does not wait
            return
        try:
            async with asyncio.timeout(read):
                await self._places.acquire()
        except TimeoutError:
            raise self._module.PoolTimeout(f"no connection became free within {read:.3g} s") from None

    async def _retire(self) -> None:
        """Take suspect pools out of use, and close those whose last call has ended."""
        retired = [*self._retired, *[pool for pool in self._pools if pool.suspect]]
        self._pools = [pool for pool in self._pools if not pool.suspect]
        # Sorted out before anything is awaited: another call may be doing the same.
        idle = [pool for pool in retired if not pool.in_flight]
        self._retired = [pool for pool in retired if pool.in_flight]
        try:
            while idle:
                await idle[-1].client.aclose()
                idle.pop()
        finally:
            self._retired += idle  # what a cancellation left open is closed another time

    async def post(self, body: bytes, connect: float, read: float) -> Answer:
        """Send *body*."""
        request = self._module.Request(
            "POST",
            self._url,
            stream=self._module.ByteStream(body),
            headers=[*self._head, (b"Content-Length", b"%d" % len(body))],
            extensions=_limits(connect, read),
        )
        if self._fragile and (self._retired or any([pool.suspect for pool in self._pools])):
            await self._retire()
        await self._take_place(read)
        pool = self._free_pool()
        pool.in_flight += 1
        try:
            response = await pool.client.send(request, stream=True, follow_redirects=False)
        except BaseException as error:
            pool.note(error)
            pool.leave()
            raise
        return _HttpxAnswer(response, pool)

    async def aclose(self) -> None:
        """Close the clients."""
        for pool in [*self._pools, *self._retired]:
            await pool.client.aclose()


class GivenHttpx:
    """Posts through a user's AsyncClient: its headers, parameters, cookies, auth and hooks apply, its timeouts do not."""

    def __init__(self, client: Any, family: str, target: Target) -> None:
        module = importlib.import_module(family)
        self._pool = _Pool(client)
        self._url = module.URL(target.url)
        self._headers = module.Headers(target.headers)

    async def post(self, body: bytes, connect: float, read: float) -> Answer:
        """Send *body*."""
        client = self._pool.client
        request = client.build_request(
            "POST", self._url, content=body, headers=self._headers, extensions=_limits(connect, read)
        )
        response = await client.send(request, stream=True, follow_redirects=False)
        self._pool.in_flight += 1
        return _HttpxAnswer(response, self._pool)

    async def aclose(self) -> None:
        """The client is the user's."""


def _tls(module: Any, url: str) -> Any:
    """One TLS context for all pools. It takes tens of milliseconds, which a plain address without a proxy does without."""
    from urllib.request import getproxies

    return module.create_ssl_context() if url.startswith("https:") or getproxies() else False


def _limits(connect: float, read: float) -> dict[str, Any]:
    return {"timeout": {"connect": connect, "read": read, "write": read, "pool": read}}


class _HttpxAnswer:
    __slots__ = ("_pieces", "_pool", "_response", "headers", "status")

    def __init__(self, response: Any, pool: _Pool) -> None:
        self._response = response
        self._pool = pool
        self.status: int = response.status_code
        # One pass over the bytes is cheaper than two look-ups in the client's own mapping.
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers.raw}
        # Raw bytes are cheaper, but a body may be compressed, or may have been read by a hook of the user's.
        decoded = response.is_stream_consumed or "content-encoding" in self.headers
        self._pieces = response.aiter_bytes() if decoded else response.aiter_raw()

    async def read(self) -> bytes:
        try:
            async for piece in self._pieces:
                if piece:
                    return piece  # type: ignore[no-any-return]
        except BaseException as error:
            self._pool.note(error)
            raise
        return b""

    async def close(self) -> None:
        try:
            await self._response.aclose()
        except BaseException as error:
            self._pool.note(error)
            raise
        finally:
            self._pool.leave()
