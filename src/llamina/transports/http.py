"""The terminal for every server that speaks one of the wires, on httpx, httpx2 or aiohttp, without an SDK.

    HTTPTransport(base_url="http://127.0.0.1:8000/v1")            # a server of your own, no key
    HTTPTransport(provider="groq")                                # a preset; the key from GROQ_API_KEY
    HTTPTransport(provider="anthropic")                           # a preset with another wire
    HTTPTransport(provider="openai", wire="responses")            # the Responses API
    HTTPTransport(provider="openai", engine="aiohttp")            # the bulk engine, with the extra `fast`

It sends one request for one call: no retries, no redirects, no cookies. What is left of `request.deadline` is the
client's limit of time; without a deadline connecting may take 10 seconds and each wait for data 600. Every failure is
an `LLMError`, which never holds the key, a header or the prompt. On the wires of OpenAI it takes `Request.embed` too.
On Anthropic's wire it says `anthropic-version: 2023-06-01`, which proxies know and which has sampling parameters like
`temperature`; `headers={"anthropic-version": ...}` says another.

The one surprise: the client is built by the first call, once for each event loop, and is closed by `aclose()` (which
leaving `async with stack` does): close it before its loop ends. A client that you pass stays yours: it is never closed
here, and its own timeouts do not apply.
"""

from __future__ import annotations

from typing import Any

from attrs import Converter, define, field

from llamina.errors import ConfigurationError
from llamina.secret import Secret

from ._engines import Engine, Target, build, choose, given
from ._exchange import Peer
from ._presets import find_preset, presets
from ._target import check_headers, check_url, key_header, to_secret, url_of
from ._terminal import Terminal
from ._wires import find_wires

__all__ = ["HTTPTransport"]


@define(eq=False, slots=False, repr=False)
class HTTPTransport(Terminal):
    """Calls one server over HTTP.

    Args:
        base_url: the address that the wire's path is appended to, like `https://host/v1`; the preset's where left out.
        api_key: the key, as text or Secret; with a `provider` that is a preset, from its environment variable.
        provider: the name of a preset (see `presets()`), or with a `base_url` any label. The ledger shows it.
        client: an `AsyncClient` of httpx or httpx2, or a `ClientSession` of aiohttp, to be used instead of an own one.
        engine: "auto" (httpx2 where it is installed, else httpx), "httpx", "httpx2" or "aiohttp".
        wire: the dialect: "chat" (OpenAI's chat completions), "responses" (its Responses API), "anthropic" (Messages)
            or "embeddings"; left out, the preset's, else "chat". The first two take embeddings too.
        headers: further headers of every request; values are text or Secrets.
        max_response_bytes: an answer that is longer is refused, streamed or not.
        max_connections: connections of one own client; further calls wait for a free one.
        connect_timeout, read_timeout: seconds to connect, and to wait for each piece of an answer, where the request
            has no deadline or a later one.

    Raises:
        ConfigurationError: a setting is wrong, or a preset's key is missing; the message names the variable to set.
    """

    base_url: str | None = None
    api_key: Secret | None = field(default=None, converter=Converter(to_secret, takes_self=True))  # type: ignore[misc]
    provider: str = field(default="", kw_only=True)
    client: Any = field(default=None, kw_only=True)
    engine: str = field(default="auto", kw_only=True)
    wire: str | None = field(default=None, kw_only=True)

    _family: str = field(init=False)
    _target: Target = field(init=False)

    def __attrs_post_init__(self) -> None:
        owner = type(self).__name__
        self._resolve()
        assert self.base_url is not None
        assert self.wire is not None
        wires = find_wires(self.wire)
        address = check_url(self.base_url, owner)
        urls = {kind: url_of(address, wire, owner) for kind, wire in wires.items()}
        self._family = choose(self.engine, self.client)
        further, secrets = check_headers(self.headers, owner)
        own = {"content-type": "application/json", "user-agent": "llamina"}
        self._target = Target(self.base_url, {**own, **key_header(self.api_key, self.wire, owner), **further})
        if self.api_key is not None:
            secrets = (self.api_key, *secrets)
        self.provider = self.provider or str(address.hostname)
        self._peers = {
            kind: Peer(wire, urls[kind], self.provider, address.netloc, secrets, self.max_response_bytes)
            for kind, wire in wires.items()
        }

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
            self.wire = "chat" if self.wire is None else self.wire
            return
        preset = find_preset(self.provider or "openai")
        self.provider = self.provider or "openai"
        self.wire = preset.wire if self.wire is None else self.wire
        if self.api_key is None and (key := preset.find_key()) is not None:
            self.api_key = to_secret(key, self)
        if self.base_url is not None:
            return
        self.base_url = preset.find_url()
        if self.api_key is None and preset.needs_key:
            raise ConfigurationError(
                f"HTTPTransport.api_key is missing for {self.provider!r}; set {' or '.join(preset.key_names)} "
                "in the environment, or pass api_key="
            )

    def _build(self) -> Engine:
        if self.client is not None:
            return given(self.client, self._family, self._target)
        return build(self._family, self._target, self.max_connections)

    def __repr__(self) -> str:
        return self._shown(self.provider, self.base_url, self.api_key, self._family)
