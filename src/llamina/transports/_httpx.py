"""The engine on httpx and httpx2, which are used by the same code: the module is found by its name.

    engine = OwnHttpx("httpx2", target, 1000)
    answer = await engine.post(url, body, connect=10.0, read=600.0)

The one surprise: an own engine has many small pools, see `llamina.transports._pools`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from http.cookiejar import CookieJar
from typing import Any

from ._engines import KEEPALIVE, Answer, Target
from ._pools import Pool, Pools

__all__ = ["GivenHttpx", "HttpxAnswer", "OwnHttpx", "limits", "maker"]


class NoCookies(CookieJar):
    """A jar that stays empty: cookies are never sent here, and parsing them would cost every answer."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        pass


def maker(module: Any, url: str) -> Callable[[int], Any]:
    """What makes clients for the server at *url*, with as many connections as it is told; they share one TLS context."""
    tls = _tls(module, url)

    def make(connections: int) -> Any:
        bounds = module.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=KEEPALIVE
        )
        return module.AsyncClient(limits=bounds, verify=tls, cookies=NoCookies())

    return make


class OwnHttpx:
    """Posts through clients that are built here, with a head that is made once."""

    def __init__(self, family: str, target: Target, connections: int) -> None:
        self._module = module = importlib.import_module(family)
        self._urls: dict[str, Any] = {}
        self._pools = Pools(maker(module, target.url), connections, module.PoolTimeout, fragile=family == "httpx")
        headers = self._pools.first.headers
        headers.update(target.headers)
        self._head = [(b"Host", module.URL(target.url).netloc), *headers.raw]

    async def post(
        self, url: str, body: bytes, connect: float, read: float, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send *body* to *url*."""
        head = self._head
        if headers:
            head = [pair for pair in head if pair[0].decode("latin-1").lower() not in headers]
            head += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        request = self._module.Request(
            "POST",
            self._urls.get(url) or self._urls.setdefault(url, self._module.URL(url)),
            stream=self._module.ByteStream(body),
            headers=[*head, (b"Content-Length", b"%d" % len(body))],
            extensions=limits(connect, read),
        )
        return await self._sent(request, read)

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, connect: float, read: float
    ) -> Answer:
        """Send any request."""
        own = self._module.Headers([pair for pair in self._head if pair[0].lower() != b"content-type"])
        own.update(headers)
        request = self._module.Request(
            method, self._module.URL(url), content=body or None, headers=own, extensions=limits(connect, read)
        )
        return await self._sent(request, read)

    async def _sent(self, request: Any, read: float) -> Answer:
        pool = await self._pools.take(read)
        try:
            response = await pool.client.send(request, stream=True, follow_redirects=False)
        except BaseException as error:
            pool.note(error)
            pool.leave()
            raise
        return HttpxAnswer(response, pool)

    async def aclose(self) -> None:
        """Close the clients."""
        await self._pools.aclose()


class GivenHttpx:
    """Posts through a user's AsyncClient: its headers, parameters, cookies, auth and hooks apply, its timeouts do not."""

    def __init__(self, client: Any, family: str, target: Target) -> None:
        module = importlib.import_module(family)
        self._client = client
        self._headers = module.Headers(target.headers)

    async def post(
        self, url: str, body: bytes, connect: float, read: float, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send *body* to *url*."""
        client = self._client
        own = {**self._headers, **headers} if headers else self._headers
        request = client.build_request("POST", url, content=body, headers=own, extensions=limits(connect, read))
        return HttpxAnswer(await client.send(request, stream=True, follow_redirects=False))

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, connect: float, read: float
    ) -> Answer:
        """Send any request."""
        client = self._client
        own = {name: value for name, value in self._headers.items() if name != "content-type"}
        request = client.build_request(
            method, url, content=body or None, headers={**own, **headers}, extensions=limits(connect, read)
        )
        return HttpxAnswer(await client.send(request, stream=True, follow_redirects=False))

    async def aclose(self) -> None:
        """The client is the user's."""


def _tls(module: Any, url: str) -> Any:
    """One TLS context for all pools. It takes tens of milliseconds, which a plain address without a proxy does without."""
    from urllib.request import getproxies

    return module.create_ssl_context() if url.startswith("https:") or getproxies() else False


def limits(connect: float, read: float) -> dict[str, Any]:
    """The extensions of a request that hold its limits of time."""
    return {"timeout": {"connect": connect, "read": read, "write": read, "pool": read}}


class HttpxAnswer:
    """An answer of httpx or httpx2; its place in *pool* is given back when it is closed."""

    __slots__ = ("_pieces", "_pool", "_response", "headers", "status")

    def __init__(self, response: Any, pool: Pool | None = None) -> None:
        self._response = response
        self._pool = pool
        self.status: int = response.status_code
        # One pass over the bytes is cheaper than two look-ups in the client's own mapping.
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers.raw}
        # Raw bytes are cheaper, but a body may be compressed, or may have been read by a hook of the user's.
        decoded = response.is_stream_consumed or "content-encoding" in self.headers
        self._pieces = response.aiter_bytes() if decoded else response.aiter_raw()

    async def read(self) -> bytes:
        """The next piece of the body, b"" at its end."""
        try:
            async for piece in self._pieces:
                if piece:
                    return piece  # type: ignore[no-any-return]
        except BaseException as error:
            if self._pool is not None:
                self._pool.note(error)
            raise
        return b""

    async def close(self) -> None:
        """Give the connection back if the body was read to its end, else cut it."""
        try:
            await self._response.aclose()
        except BaseException as error:
            if self._pool is not None:
                self._pool.note(error)
            raise
        finally:
            if self._pool is not None:
                self._pool.leave()
