"""The terminal for every server that speaks OpenAI's chat-completions wire, on httpx, httpx2 or aiohttp.

    HTTPTransport(base_url="http://127.0.0.1:8000/v1")            # a server of your own, no key
    HTTPTransport(provider="groq")                                # a preset; the key from GROQ_API_KEY
    HTTPTransport(provider="openai", engine="aiohttp")            # the bulk engine, with the extra `fast`

It sends one request for one call: no retries, no redirects, no cookies. What is left of `request.deadline` is the
client's limit of time; without a deadline connecting may take 10 seconds and each wait for data 600. Every failure is
an `LLMError`, which never holds the key, a header or the prompt.

The one surprise: the client is built by the first call, once for each event loop, and is closed by `aclose()` (which
leaving `async with stack` does): close it before its loop ends. A client that you pass stays yours: it is never closed
here, and its own timeouts do not apply.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, NoReturn

from attrs import define, field

from llamina.errors import ConfigurationError, InvalidRequestError, RequestTimeoutError
from llamina.policy._validate import at_least, positive
from llamina.protocol import Request, Response
from llamina.secret import Secret

from ._engines import Engine, Target, build, choose, given
from ._exchange import Exchange, Peer
from ._presets import find_preset, presets
from ._target import check_url, is_credential, make_target
from ._wires import find_wire

__all__ = ["HTTPTransport"]


def _secret(value: str | Secret | None) -> Secret | None:
    if value is None or isinstance(value, Secret):
        return value
    if value == "":
        raise ConfigurationError("HTTPTransport.api_key must not be empty; leave it out for a server without keys")
    if value.lower().startswith("bearer "):
        raise ConfigurationError("HTTPTransport.api_key must be the key alone; leave out 'Bearer ', it is added")
    return Secret(value)


def _headers(values: Mapping[str, str | Secret]) -> Mapping[str, str | Secret]:
    """Credentials among the headers become Secrets, so that no repr of the settings shows them."""
    if not isinstance(values, Mapping):
        raise ConfigurationError(
            f"HTTPTransport.headers must be a mapping of names to values, got {type(values).__name__}"
        )
    return {name: Secret(str(value)) if is_credential(name, value) else value for name, value in values.items()}


@define(eq=False, slots=False, repr=False)
class HTTPTransport:
    """Calls one OpenAI-compatible server.

    Args:
        base_url: the address that the wire's path is appended to, like `https://host/v1`; the preset's where left out.
        api_key: the key, as text or Secret; with a `provider` that is a preset, from its environment variable.
        provider: the name of a preset (see `presets()`), or with a `base_url` any label. The ledger shows it.
        client: an `AsyncClient` of httpx or httpx2, or a `ClientSession` of aiohttp, to be used instead of an own one.
        engine: "auto" (httpx2 where it is installed, else httpx), "httpx", "httpx2" or "aiohttp".
        wire: the dialect; "chat" is OpenAI's chat completions.
        headers: further headers of every request; values are text or Secrets.
        max_response_bytes: an answer that is longer is refused, streamed or not.
        max_connections: connections of one own client; further calls wait for a free one.
        connect_timeout, read_timeout: seconds to connect, and to wait for each piece of an answer, where the request
            has no deadline or a later one.

    Raises:
        ConfigurationError: a setting is wrong, or a preset's key is missing; the message names the variable to set.
    """

    base_url: str | None = None
    api_key: Secret | None = field(default=None, converter=_secret)
    provider: str = field(default="", kw_only=True)
    client: Any = field(default=None, kw_only=True)
    engine: str = field(default="auto", kw_only=True)
    wire: str = field(default="chat", kw_only=True)
    headers: Mapping[str, str | Secret] = field(factory=dict, kw_only=True, converter=_headers)
    max_response_bytes: int = field(default=64 * 1024 * 1024, kw_only=True, validator=at_least(1, integer=True))
    max_connections: int = field(default=1000, kw_only=True, validator=at_least(1, integer=True))
    connect_timeout: float = field(default=10.0, kw_only=True, validator=positive())
    read_timeout: float = field(default=600.0, kw_only=True, validator=positive())

    _family: str = field(init=False)
    _target: Target = field(init=False)
    _peer: Peer = field(init=False)
    _engines: dict[asyncio.AbstractEventLoop, Engine] = field(init=False, factory=dict)
    _process: int = field(init=False, factory=os.getpid)

    def __attrs_post_init__(self) -> None:
        self._resolve()
        assert self.base_url is not None
        wire = find_wire(self.wire)
        if isinstance(self.base_url, str) and self.base_url.rstrip("/").endswith(wire.path):
            raise ConfigurationError(
                f"HTTPTransport.base_url must end before {wire.path!r}, which is appended, got {self.base_url!r}"
            )
        self._family = choose(self.engine, self.client)
        self._target, secrets = make_target(self.base_url, wire.path, self.api_key, self.headers)
        address = check_url(self.base_url)
        self.provider = self.provider or str(address.hostname)
        self._peer = Peer(wire, self.provider, address.netloc, secrets, self.max_response_bytes)

    @classmethod
    def preset(cls, name: str, **settings: Any) -> HTTPTransport:
        """The transport for a preset: `HTTPTransport.preset("groq")`; *settings* are those of the class.

        Raises:
            ConfigurationError: there is no such preset, or its key is missing.
        """
        find_preset(name)
        return cls(provider=name, **settings)

    def _resolve(self) -> None:
        """Fill in what the preset knows; an address that was passed alone gets no key from the environment."""
        if self.base_url is not None and self.provider not in presets():
            return
        preset = find_preset(self.provider or "openai")
        self.provider = self.provider or "openai"
        if self.api_key is None:
            self.api_key = _secret(preset.find_key())
        if self.base_url is not None:
            return
        self.base_url = preset.find_url()
        if self.api_key is None and preset.needs_key:
            raise ConfigurationError(
                f"HTTPTransport.api_key is missing for {self.provider!r}; set {' or '.join(preset.key_names)} "
                "in the environment, or pass api_key="
            )

    async def __call__(self, request: Request) -> Response:
        """Send *request* and give back the complete answer; with a sink on it, its events go there as they come.

        Raises:
            LLMError: the call failed.
        """
        if request.kind != self._peer.wire.kind:
            raise InvalidRequestError(
                f"the wire {self.wire!r} takes requests of kind {self._peer.wire.kind!r}, got {request.kind!r}",
                provider=self.provider,
                model=request.model,
            )
        loop = asyncio.get_running_loop()
        connect, read = self.connect_timeout, self.read_timeout
        if request.deadline is not None:
            remaining = request.deadline - loop.time()
            if remaining <= 0:
                raise RequestTimeoutError(
                    "the deadline had passed before the request was sent",
                    limit="deadline",
                    seconds=0.0,
                    processed=False,
                    provider=self.provider,
                    model=request.model,
                )
            connect, read = min(connect, remaining), min(read, remaining)
        engine = self._engines.get(loop) or self._build(loop)
        return await Exchange(self._peer, request, connect=connect, read=read).run(engine)

    def _forget_after_fork(self) -> None:
        """The connections of a parent process are the parent's: a child neither uses nor closes them."""
        if self._process != os.getpid():
            self._engines.clear()
            self._process = os.getpid()

    def _build(self, loop: asyncio.AbstractEventLoop) -> Engine:
        self._forget_after_fork()
        for ended in [other for other in tuple(self._engines) if other.is_closed()]:
            self._engines.pop(ended, None)
        if self.client is not None:
            engine = given(self.client, self._family, self._target)
        else:
            engine = build(self._family, self._target, self.max_connections)
        self._engines[loop] = engine
        return engine

    async def aclose(self) -> None:
        """Close the clients that were built here. A call after that builds a new one."""
        self._forget_after_fork()
        here = asyncio.get_running_loop()
        while self._engines:
            loop, engine = self._engines.popitem()
            if loop is here:
                await engine.aclose()
            elif loop.is_running():  # of another thread: a connection is closed by the loop that opened it
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(engine.aclose(), loop))

    def __repr__(self) -> str:
        key = f", {self.api_key}" if self.api_key is not None else ""
        url = str(self.base_url).partition("?")[0]
        return f"HTTPTransport({self.provider!r}, {url!r}{key}, {self._family})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an HTTPTransport holds a key and connections and cannot be pickled or copied; build one where it is used"
        )
