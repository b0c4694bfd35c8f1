"""What all transports share: engines by event loop, limits of time from the deadline, and one way to end.

    class HTTPTransport(Terminal):
        def _build(self) -> Engine: ...          # and `self._peers` by the kind of request

A terminal sends one request for one call: no retries, no redirects, no cookies. What is left of `request.deadline` is
the client's limit of time; without a deadline connecting may take `connect_timeout` seconds and each wait for data
`read_timeout`.

The one surprise: connections belong to the event loop that opened them. So there is one engine for each loop, built by
the first call in it; those of a parent process are neither used nor closed in a child.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Mapping
from typing import NoReturn, Self

from attrs import Converter, define, field

from llamina._hints import check_settings
from llamina.errors import InvalidRequestError, LLMError, RequestTimeoutError
from llamina.policy._validate import at_least, positive
from llamina.protocol import Request, Response
from llamina.secret import Secret

from ._engines import Engine
from ._exchange import Exchange, Peer
from ._failures import failure_of
from ._forward import Forwarded, address_of, passed_on
from ._target import to_headers

__all__ = ["Terminal"]

_PATIENCE = 1.0
"""Seconds to wait for another thread's loop to close its connections."""


@define(eq=False, slots=False, repr=False)
class Terminal:
    """Base of the transports that call a provider; a subclass sets `_peers` and builds engines."""

    headers: Mapping[str, str | Secret] = field(
        default=None,
        kw_only=True,
        converter=Converter(to_headers, takes_self=True),  # type: ignore[misc]
    )
    max_response_bytes: int = field(default=64 * 1024 * 1024, kw_only=True, validator=at_least(1, integer=True))
    max_connections: int = field(default=1000, kw_only=True, validator=at_least(1, integer=True))
    connect_timeout: float = field(default=10.0, kw_only=True, validator=positive())
    read_timeout: float = field(default=600.0, kw_only=True, validator=positive())

    _peers: dict[str, Peer] = field(init=False, factory=dict)
    _engines: dict[asyncio.AbstractEventLoop, Engine] = field(init=False, factory=dict)
    _process: int = field(init=False, factory=os.getpid)

    def __new__(cls, *_args: object, **settings: object) -> Self:
        """Refuse settings that the transport does not have, with the name that was meant."""
        if settings:
            check_settings(cls, settings)
        return super().__new__(cls)

    async def __call__(self, request: Request) -> Response:
        """Send *request* and give back the complete answer; with a sink on it, its events go there as they come.

        Raises:
            LLMError: the call failed.
        """
        peer = self._peers.get(request.kind)
        if peer is None:
            raise self._unable(request)
        loop = asyncio.get_running_loop()
        engine = self._engines.get(loop)
        if engine is None:
            engine = self._build_here(loop)
            peer = self._peers[request.kind]  # what is secret may be known only now
        connect, read = self.connect_timeout, self.read_timeout
        if request.deadline is not None:
            remaining = request.deadline - loop.time()
            if remaining <= 0:
                raise RequestTimeoutError(
                    "the deadline had passed before the request was sent",
                    limit="deadline",
                    seconds=0.0,
                    processed=False,
                    provider=peer.provider,
                    model=request.model,
                )
            connect, read = min(connect, remaining), min(read, remaining)
        return await Exchange(peer, request, connect=connect, read=read).run(engine)

    async def forward(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
        timeout: float | None = None,
    ) -> Forwarded:
        """Pass a request on that is no call of a model, to the address of this transport and with its key.

        *path* is percent-encoded; *timeout* bounds each wait, in seconds.

        Raises:
            LLMError: no answer came.
        """
        loop = asyncio.get_running_loop()
        engine = self._engines.get(loop) or self._build_here(loop)
        peer = next(iter(self._peers.values()))
        url = address_of(peer.url, peer.wire.path, path, query)
        failure: Exception | None
        connect, read = self.connect_timeout, self.read_timeout
        if timeout is not None:
            connect, read = min(connect, timeout), min(read, timeout)
        try:
            answer = await engine.send(method, url, passed_on(headers), body, connect, read)
            return Forwarded(answer, functools.partial(failure_of, host=peer.host, secrets=peer.secrets))
        except Exception as error:
            failure = error if isinstance(error, LLMError) else None
            failure = failure or failure_of(error, host=peer.host, secrets=peer.secrets)
            if failure is None:
                raise
        raise failure  # outside of the block: the client's error, as its context, holds the key

    def _unable(self, request: Request) -> InvalidRequestError:
        able = ", ".join([f"{kind!r} (at {peer.wire.path})" for kind, peer in self._peers.items()])
        provider = next(iter(self._peers.values())).provider
        return InvalidRequestError(
            f"{type(self).__name__} to {provider!r} takes requests of kind {able}, got {request.kind!r}; "
            "send it to a transport whose provider can do that",
            provider=provider,
            model=request.model,
        )

    def _build(self) -> Engine:
        """An engine for the event loop that runs."""
        raise NotImplementedError

    def _forget_after_fork(self) -> None:
        """The connections of a parent process are the parent's: a child neither uses nor closes them."""
        if self._process != os.getpid():
            self._engines.clear()
            self._process = os.getpid()

    def _build_here(self, loop: asyncio.AbstractEventLoop) -> Engine:
        self._forget_after_fork()
        for ended in [other for other in tuple(self._engines) if other.is_closed()]:
            self._engines.pop(ended, None)
        engine = self._engines[loop] = self._build()
        return engine

    def explain(self, request: Request | None = None) -> str:
        """Where it sends to and by which wire; for a *request*, what it will send."""
        peer = next(iter(self._peers.values())) if request is None else self._peers.get(request.kind)
        if peer is None:
            return f"takes no request of kind {request.kind!r}" if request is not None else "sends nothing"
        address = str(getattr(self, "base_url", "")).partition("?")[0].partition("#")[0]
        model = "" if request is None else f" for the model {request.model!r}"
        return (
            f"sends one request to {peer.provider} at {address}, by the wire {peer.wire.path}{model}\n"
            f"waits {self.connect_timeout:g} s to connect and {self.read_timeout:g} s for each piece of the answer, "
            "or as long as the deadline leaves"
        )

    async def aclose(self) -> None:
        """Close the clients that were built here. A call after that builds a new one."""
        self._forget_after_fork()
        here = asyncio.get_running_loop()
        while self._engines:
            loop, engine = self._engines.popitem()
            if loop is here:
                await engine.aclose()
            elif loop.is_running():  # of another thread: a connection is closed by the loop that opened it
                closing = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(engine.aclose(), loop))
                # That thread may be the one that waits for this: then its loop closes them when it goes on.
                await asyncio.wait([closing], timeout=_PATIENCE)

    def _shown(self, provider: str, url: str | None, key: Secret | None, detail: str) -> str:
        """A repr: neither the key, nor a header, nor the query of the address."""
        facts = [repr(provider), repr(str(url).partition("?")[0]), *([str(key)] if key is not None else []), detail]
        return f"{type(self).__name__}({', '.join(facts)})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} holds a key and connections and cannot be pickled or copied; "
            "build one where it is used"
        )
