"""The wires that a transport can speak: a codec and a path for each name, and which wire takes which kind of request.

    wires = find_wires("chat")                   # {"chat": ..., "embed": ...}
    body = wires[request.kind].codec.encode_request(request, stream=False)

A codec is a module of `llamina.wire`, pure and without I/O. A further dialect is a further row of the table.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, cast

from llamina.errors import ConfigurationError, LLMError
from llamina.events import Event
from llamina.messages import Usage
from llamina.protocol import Request, Response

__all__ = ["Codec", "Decoder", "Wire", "find_wires"]


class Decoder(Protocol):
    """Reads the payloads of one stream."""

    usage: Usage | None
    ended: bool

    @property
    def partial(self) -> Response:
        """The answer as far as it came."""

    def feed_bytes(self, payload: bytes) -> list[Event]:
        """The events of one payload."""

    def finish(self) -> Response:
        """The whole answer."""


class Codec(Protocol):
    """What a wire module offers."""

    @property
    def StreamDecoder(self) -> Callable[..., Decoder]:  # noqa: N802 - the codec's class
        """Makes a decoder for one stream."""

    def encode_request(self, request: Request, *, stream: bool) -> dict[str, Any]:
        """The body to send."""

    def decode_response(self, body: Any) -> Response:
        """The answer that a body says."""

    def decode_error(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str],
        *,
        provider: str | None,
        model: str | None,
        secrets: tuple[str, ...] = (),
    ) -> LLMError:
        """The error in an answer that is no success."""


class Wire(NamedTuple):
    """A codec, the path it is spoken at, and the kind of request that it takes.

    *check* raises a MalformedResponseError for an answer that cannot be one to the request.
    """

    codec: Codec
    path: str
    kind: str
    check: Callable[[Request, Response], None] | None = None


_WIRES = {
    "chat": ("llamina.wire.openai_chat", "/chat/completions", "chat"),
    "responses": ("llamina.wire.openai_responses", "/responses", "chat"),
    "anthropic": ("llamina.wire.anthropic_messages", "/v1/messages", "chat"),
    "embeddings": ("llamina.wire.openai_embeddings", "/embeddings", "embed"),
}
_BESIDE = {"chat": "embeddings", "responses": "embeddings"}
"""What a server that speaks a wire is also asked for, at the same address."""


def find_wires(name: str) -> dict[str, Wire]:
    """The wire of that name and those beside it, by the kind of request that each takes.

    Raises:
        ConfigurationError: there is none.
    """
    if not isinstance(name, str) or name not in _WIRES:
        raise ConfigurationError(
            f"HTTPTransport.wire must be one of {', '.join(map(repr, _WIRES))}, got {name!r}; leave it out for 'chat'"
        )
    found = [_wire(known) for known in (name, _BESIDE.get(name)) if known is not None]
    return {wire.kind: wire for wire in found}


def _wire(name: str) -> Wire:
    module, path, kind = _WIRES[name]
    codec = importlib.import_module(module)
    return Wire(cast("Codec", codec), path, kind, getattr(codec, "check_response", None))
