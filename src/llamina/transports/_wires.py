"""The wires that a transport can speak: a codec and a path for each name.

    wire = find_wire("chat")
    body = wire.codec.encode_request(request, stream=False)

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

__all__ = ["Codec", "Decoder", "Wire", "find_wire"]


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
    """A codec, the path it is spoken at, and the kind of request that it takes."""

    codec: Codec
    path: str
    kind: str


_WIRES = {"chat": ("llamina.wire.openai_chat", "/chat/completions", "chat")}


def find_wire(name: str) -> Wire:
    """The wire of that name.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        module, path, kind = _WIRES[name]
    except (KeyError, TypeError):
        raise ConfigurationError(
            f"HTTPTransport.wire must be one of {', '.join(map(repr, _WIRES))}, got {name!r}; leave it out for 'chat'"
        ) from None
    return Wire(cast("Codec", importlib.import_module(module)), path, kind)
