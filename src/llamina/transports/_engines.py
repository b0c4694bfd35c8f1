"""The HTTP clients behind one small interface: httpx, httpx2 and aiohttp.

    engine = build("auto", target, connections=1000)       # or given(client, target) for a client of the user
    answer = await engine.post(body, connect=10.0, read=600.0)
    try:
        while piece := await answer.read(): ...
    finally:
        await answer.close()

An engine sends bytes to one address with headers that were merged once. It follows no redirect, keeps no cookie and
raises what its client raises.

The one surprise: httpx and httpx2 are one family here. They have the same signatures and different classes, so the
module that a client comes from is found from its bases.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from http.cookiejar import CookieJar
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from llamina.errors import ConfigurationError

__all__ = ["Answer", "Engine", "Target", "build", "choose", "given"]

KEEPALIVE = 15.0
"""Seconds that an idle connection is kept: below what servers and balancers usually close after."""
POOL_SIZE = 16
"""Connections of one pool of httpx."""


class Target(NamedTuple):
    """Where an engine posts to, and the headers that go with every request."""

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

    async def post(self, body: bytes, connect: float, read: float) -> Answer:
        """Send *body*: at most *connect* seconds to connect, *read* to wait for the pool and for each piece."""

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
    """An engine with a client of its own, for the event loop that runs."""
    if family == "aiohttp":
        import aiohttp

        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=KEEPALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return _Aiohttp(session, target, proxy=_proxy(target.url), owned=True)
    return _Httpx(_module(family), target, connections)


def given(client: Any, family: str, target: Target) -> Engine:
    """An engine round a client of the user's, which stays open."""
    if family == "aiohttp":
        return _Aiohttp(client, target, proxy=None, owned=False)
    return _GivenHttpx(client, _module(family), target)


def _module(family: str) -> Any:
    return importlib.import_module(family)


class _NoCookies(CookieJar):
    """A jar that stays empty: a provider must not recognise one tenant's call by another's cookie."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        pass


class _Pool:
    """A client and the calls that it has in flight."""

    __slots__ = ("client", "in_flight")

    def __init__(self, client: Any) -> None:
        self.client = client
        self.in_flight = 0


class _Httpx:
    """Posts through clients that are built here, with a head that is made once.

    A pool of httpx looks at each of its connections on each call, so many small pools are cheaper than a large one. They
    are filled one after the other: few calls at a time share the connections of the first.
    """

    def __init__(self, module: Any, target: Target, connections: int) -> None:
        self._module = module
        self._url = module.URL(target.url)
        self._size = min(POOL_SIZE, connections)
        self._most = connections // self._size
        self._tls = _tls(module, target.url)
        self._pools = [self._new_pool()]
        headers = self._pools[0].client.headers
        headers.update(target.headers)
        self._head = [(b"Host", self._url.netloc), *headers.raw]

    def _new_pool(self) -> _Pool:
        limits = self._module.Limits(
            max_connections=self._size, max_keepalive_connections=self._size, keepalive_expiry=KEEPALIVE
        )
        return _Pool(self._module.AsyncClient(limits=limits, verify=self._tls, cookies=_NoCookies()))

    def _free_pool(self) -> _Pool:
        for pool in self._pools:
            if pool.in_flight < self._size:
                return pool
        if len(self._pools) < self._most:
            self._pools.append(self._new_pool())
            return self._pools[-1]
        return min(self._pools, key=lambda pool: pool.in_flight)

    async def post(self, body: bytes, connect: float, read: float) -> Answer:
        """Send *body*."""
        request = self._module.Request(
            "POST",
            self._url,
            stream=self._module.ByteStream(body),
            headers=[*self._head, (b"Content-Length", b"%d" % len(body))],
            extensions=_limits(connect, read),
        )
        pool = self._free_pool()
        pool.in_flight += 1
        try:
            response = await pool.client.send(request, stream=True, follow_redirects=False)
        except BaseException:
            pool.in_flight -= 1
            raise
        return _HttpxAnswer(response, pool)

    async def aclose(self) -> None:
        """Close the clients."""
        for pool in self._pools:
            await pool.client.aclose()


class _GivenHttpx:
    """Posts through a user's AsyncClient: its headers, parameters, cookies, auth and hooks apply, its timeouts do not."""

    def __init__(self, client: Any, module: Any, target: Target) -> None:
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
        async for piece in self._pieces:
            if piece:
                return piece  # type: ignore[no-any-return]
        return b""

    async def close(self) -> None:
        try:
            await self._response.aclose()
        finally:
            self._pool.in_flight -= 1


class _Aiohttp:
    """Posts through a ClientSession."""

    def __init__(self, session: Any, target: Target, *, proxy: str | None, owned: bool) -> None:
        from aiohttp import ClientTimeout
        from multidict import CIMultiDict
        from yarl import URL

        self._session = session
        self._timeout = ClientTimeout
        self._url = URL(target.url, encoded=True)
        self._headers = CIMultiDict(target.headers)
        self._proxy = proxy
        self._owned = owned

    async def post(self, body: bytes, connect: float, read: float) -> Answer:
        """Send *body*; aiohttp has one limit for the pool and the connection together, and none for writing."""
        response = await self._session.post(
            self._url,
            data=body,
            headers=self._headers,
            timeout=self._timeout(None, read, read, connect),
            allow_redirects=False,
            raise_for_status=False,
            proxy=self._proxy,
        )
        return _AiohttpAnswer(response)

    async def aclose(self) -> None:
        """Close the session, unless it is the user's."""
        if self._owned:
            await self._session.close()


class _AiohttpAnswer:
    __slots__ = ("_content", "_response", "headers", "status")

    def __init__(self, response: Any) -> None:
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
        # At the end of a body the connection has gone back already; what is not at its end is cut.
        self._response.close()


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for *url*; aiohttp itself would look for it, in a thread, on every call."""
    from urllib.request import getproxies, proxy_bypass

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
