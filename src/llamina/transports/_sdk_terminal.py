"""What the transports on the official SDKs share: an own client or the user's, and the key from the environment.

    class OpenAITransport(SDKTerminal): ...      # names the SDK, its wires and how its client is built

The one surprise: building one imports the SDK, which takes a second or two. A call that did would run into its timeout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from attrs import Converter, define, field

from llamina.errors import ConfigurationError
from llamina.secret import Secret

from ._engines import Engine
from ._exchange import Peer
from ._presets import find_preset
from ._sdk import SDKEngine, check_client, load, require, secrets_of
from ._target import check_headers, check_url, sendable, to_secret, url_of
from ._terminal import Terminal
from ._wires import find_wires

__all__ = ["SDKTerminal"]


@define(eq=False, slots=False, repr=False)
class SDKTerminal(Terminal):
    """Base of the transports on an SDK; a subclass says which, and builds its client."""

    _sdk: ClassVar[str]
    _client_name: ClassVar[str]

    api_key: Secret | None = field(default=None, converter=Converter(to_secret, takes_self=True))  # type: ignore[misc]
    base_url: str | None = None
    client: Any = field(default=None, kw_only=True)
    provider: str = field(kw_only=True)

    _own_headers: dict[str, str] = field(init=False, factory=dict)
    _elsewhere: bool = field(init=False, default=False)

    def _wire_name(self) -> str:
        """The wire that it speaks."""
        raise NotImplementedError

    def _new_client(self, http_client: Any) -> Any:
        """A client of the SDK, round *http_client*."""
        raise NotImplementedError

    def _address(self) -> dict[str, Any]:
        """The address of an own client; the SDKs take its query apart from it."""
        base, _, query = str(self.base_url).partition("?")
        return {"base_url": base, "default_query": dict(parse_qsl(query, keep_blank_values=True)) or None}

    def _options(self) -> Mapping[str, Any]:
        """Options of each request, beside those that all transports set."""
        return {}

    def _asked(self) -> Mapping[str, Any]:
        """How the client's `post` is asked for a response that is not read and of which no model is made."""
        import httpx2

        return {"cast_to": httpx2.Response, "stream": True}

    def _alone(self) -> tuple[str, ...]:
        """Settings of an own client, which a client of the user's has itself."""
        return ("api_key", "base_url", "headers")

    def __attrs_post_init__(self) -> None:
        owner = type(self).__name__
        wires = find_wires(self._wire_name())
        if self.client is not None:
            check_client(self.client, self._sdk, self._client_name, owner)
            for name in self._alone():
                if getattr(self, name):
                    raise ConfigurationError(
                        f"{owner}.{name} must be left out with a client, which has its own; pass it to the client"
                    )
            address = check_url(str(self.client.base_url), owner)
            self.base_url = str(self.client.base_url)
            secrets = secrets_of(self.client)
        else:
            require(self._sdk, owner)
            self._find_settings(owner)
            load(self._sdk, owner)
            assert self.base_url is not None
            address = check_url(self.base_url, owner)
            for wire in wires.values():
                url_of(address, wire, owner)
            self._own_headers, secrets = check_headers(self.headers, owner)
            if self.api_key is not None:
                sendable("api_key", self.api_key.reveal(), owner, secret=True)
                secrets = (self.api_key, *secrets)
        host = address.netloc
        self._peers = {
            kind: Peer(wire, wire.path, self.provider, host, secrets, self.max_response_bytes)
            for kind, wire in wires.items()
        }

    def _find_settings(self, owner: str) -> None:
        """The key and the address from the environment; an address that was passed gets no key from there."""
        self._elsewhere = self.base_url is not None
        if self._elsewhere:
            return
        preset = find_preset(self._sdk)
        self.base_url = preset.find_url()
        if self.api_key is None and (key := preset.find_key()) is not None:
            self.api_key = to_secret(key, self)
        if self.api_key is None:
            raise ConfigurationError(
                f"{owner}.api_key is missing; set {' or '.join(preset.key_names)} in the environment, or pass api_key="
            )

    def _build(self) -> Engine:
        own = self.client is None
        client = self.client
        if own:
            from ._spread import SpreadClient

            assert self.base_url is not None
            client = self._new_client(SpreadClient(self.base_url, self.max_connections))
        # The SDK adds headers from its own environment variables, and a client's key may have been changed.
        found = secrets_of(client)
        self._peers = {
            kind: peer._replace(secrets=tuple(dict.fromkeys([*peer.secrets, *found])))
            for kind, peer in self._peers.items()
        }
        return SDKEngine(client, sdk=self._sdk, own=own, options=self._options(), asked=self._asked())

    def __repr__(self) -> str:
        return self._shown(
            self.provider, self.base_url, self.api_key, "own client" if self.client is None else "client"
        )
