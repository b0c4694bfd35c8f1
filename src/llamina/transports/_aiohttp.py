"""The engine on aiohttp, with the extra `fast`: a third of the CPU of httpx for each call.

    engine = AiohttpEngine.build(target, 1000)
    answer = await engine.post(url, body, connect=10.0, read=600.0)

The one surprise: aiohttp reads the environment's proxies in a thread, on every call, when it is told to trust the
environment. Here they are read once, when the engine is built.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from multidict import CIMultiDict
from yarl import URL

from llamina.errors import ConfigurationError

from ._engines import KEEPALIVE, Answer, Gate, Target

__all__ = ["AiohttpEngine"]


class AiohttpEngine:
    """Posts through a ClientSession."""

    def __init__(self, session: Any, target: Target, *, proxy: str | None = None, gate: Gate | None = None) -> None:
        self._session = session
        self._urls: dict[str, URL] = {}
        self._headers = CIMultiDict(target.headers)
        self._proxy = proxy
        self._gate = gate
        self._reading: set[_AiohttpAnswer] = set()

    @classmethod
    def build(cls, target: Target, connections: int) -> AiohttpEngine:
        """An engine with a session of its own.

        Raises:
            ConfigurationError: the environment names a proxy that aiohttp cannot use.
        """
        proxy = _proxy(target.url)
        connector = TCPConnector(limit=connections, keepalive_timeout=KEEPALIVE)
        # A jar that stays empty: a provider must not recognise one tenant's call by another's cookie.
        session = ClientSession(connector=connector, cookie_jar=DummyCookieJar())
        return cls(session, target, proxy=proxy, gate=Gate(connections))

    async def post(
        self, url: str, body: bytes, connect: float, read: float, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send *body* to *url*; aiohttp has one limit for the pool and the connection together, and none for writing.

        So the wait for a connection of an own session is at a gate in front of it, where a full pool has its own name.
        """
        target = self._urls.get(url) or self._urls.setdefault(url, URL(url, encoded=True))
        own = self._headers
        if headers:
            own = CIMultiDict(own)
            own.update(headers)
        return await self._sent("POST", target, own, body, connect, read)

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, connect: float, read: float
    ) -> Answer:
        """Send any request."""
        own = CIMultiDict(self._headers)
        own.popall("content-type", None)
        own.update(headers)
        return await self._sent(method, URL(url, encoded=True), own, body, connect, read)

    async def _sent(
        self, method: str, url: URL, headers: CIMultiDict[str], body: bytes, connect: float, read: float
    ) -> Answer:
        gate = self._gate
        if gate is not None:
            await gate.enter(read)
        try:
            response = await self._session.request(
                method,
                url,
                data=body,
                headers=headers,
                timeout=ClientTimeout(None, read, read, connect, math.inf),
                allow_redirects=False,
                raise_for_status=False,
                proxy=self._proxy,
            )
        except BaseException:
            if gate is not None:
                gate.leave()
            raise
        return _AiohttpAnswer(response, self._reading, gate)

    async def aclose(self) -> None:
        """Close the session, unless it is the user's."""
        if self._gate is not None:
            # A session that is closed forgets who is reading, who would then wait for ever.
            for answer in tuple(self._reading):
                await answer.close()
            await self._session.close()


class _AiohttpAnswer:
    __slots__ = ("_content", "_gate", "_reading", "_response", "headers", "status")

    def __init__(self, response: Any, reading: set[_AiohttpAnswer], gate: Gate | None) -> None:
        reading.add(self)
        self._gate = gate
        self._reading = reading
        self._response = response
        self._content = response.content
        self.status: int = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    async def read(self) -> bytes:
        while True:
            piece: bytes = await self._content.readany()
            if piece or self._content.at_eof():
                return piece

    async def close(self) -> None:
        self._reading.discard(self)
        # At the end of a body the connection has gone back already; what is not at its end is cut.
        self._response.close()
        if self._gate is not None:  # `aclose` of the engine and the reader may both come here
            self._gate.leave()
            self._gate = None


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for *url*."""
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.hostname or ""):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise ConfigurationError(
            f"the environment names a {urlsplit(proxy).scheme} proxy, which aiohttp cannot use; "
            "take engine='httpx2', or a client of your own"
        )
    return proxy
