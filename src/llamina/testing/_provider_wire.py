"""The wires that a `SimulatedProvider` speaks: one row of a table for each, with what a server says on it.

wire = find_wire("chat")
body = wire.whole(response)
stream = wire.stream("chatcmpl-1", "sim", include_usage=True)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from llamina.errors import ConfigurationError, LLMError
from llamina.events import Event
from llamina.protocol import Request, Response
from llamina.wire import openai_chat

__all__ = ["ServerStream", "ServerWire", "find_wire"]

_encode = msgspec.json.encode


class ServerStream(Protocol):
    """What a server says on a stream, as bytes ready to send."""

    def start(self) -> bytes:
        """That it answers."""

    def event(self, event: Event) -> bytes:
        """One event."""

    def finish(self, response: Response, *, done: bool) -> bytes:
        """The end; without *done* the mark that nothing follows is left out."""

    def failure(self, body: Mapping[str, Any]) -> bytes:
        """An error in the midst of it."""


class ServerWire(Protocol):
    """What a server says on one wire."""

    path: str
    """The path that requests are sent to, after the base."""
    base: str
    """The path in the base URL that clients of this wire are given."""

    def read(self, body: Any) -> Request:
        """The request that a body says, or an InvalidRequestError."""

    def streams(self, body: Mapping[str, Any]) -> bool:
        """Whether the client asked for a stream."""

    def whole(self, response: Response) -> bytes:
        """The body of an answer that is not streamed."""

    def stream(self, name: str, model: str, body: Mapping[str, Any], *, usage: bool) -> ServerStream:
        """Begin a stream; without *usage* the account is withheld even where it was asked for."""

    def error(self, error: LLMError) -> tuple[int, dict[str, str], Mapping[str, Any]]:
        """Status, headers and body of a failure."""

    def refusal(self, *, type: str | None, code: str | None, message: str) -> Mapping[str, Any]:  # noqa: A002
        """The body of a failure in these words."""


class _Chat:
    path = "/chat/completions"
    base = "/v1"

    read = staticmethod(openai_chat.decode_request)
    error = staticmethod(openai_chat.encode_error)

    def streams(self, body: Mapping[str, Any]) -> bool:
        return body.get("stream") is True

    def whole(self, response: Response) -> bytes:
        return _encode(openai_chat.encode_response(response))

    def stream(self, name: str, model: str, body: Mapping[str, Any], *, usage: bool) -> ServerStream:
        options = body.get("stream_options")
        asked = isinstance(options, Mapping) and options.get("include_usage") is True
        return _ChatStream(openai_chat.StreamEncoder(name, model, asked and usage))

    def refusal(self, *, type: str | None, code: str | None, message: str) -> Mapping[str, Any]:  # noqa: A002
        return {"error": {"message": message, "type": type, "param": None, "code": code}}


class _ChatStream:
    def __init__(self, encoder: openai_chat.StreamEncoder) -> None:
        self._encoder = encoder

    @staticmethod
    def _frames(chunks: list[dict[str, Any]]) -> bytes:
        return b"".join([b"data: " + _encode(chunk) + b"\n\n" for chunk in chunks])

    def start(self) -> bytes:
        return self._frames(self._encoder.start())

    def event(self, event: Event) -> bytes:
        return self._frames(self._encoder.event(event))

    def finish(self, response: Response, *, done: bool) -> bytes:
        return self._frames(self._encoder.finish(response)) + (b"data: [DONE]\n\n" if done else b"")

    def failure(self, body: Mapping[str, Any]) -> bytes:
        return self._frames([dict(body)])


_WIRES: dict[str, ServerWire] = {"chat": _Chat()}


def find_wire(name: str) -> ServerWire:
    """The wire of that name.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        return _WIRES[name]
    except (KeyError, TypeError):
        raise ConfigurationError(
            f"SimulatedProvider.wire must be one of {', '.join(map(repr, _WIRES))}, got {name!r}"
        ) from None
