"""The wires that a `SimulatedProvider` speaks, and which of them a request is on.

    wire = find_wire("anthropic")
    wire = wire_at("/v1/chat/completions")
    body = wire.whole(response)
    stream = wire.stream("chatcmpl-1", "sim", asked, usage=Usage(12))

The one surprise: the path of a request decides, not the wire that the provider was made for. So one provider can answer
a chat transport and the embeddings of the same program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from llamina.errors import ConfigurationError, LLMError
from llamina.events import Event
from llamina.messages import Usage
from llamina.protocol import Request, Response

from ._provider_anthropic import AnthropicWire
from ._provider_openai import ChatWire, EmbeddingsWire, ResponsesWire

__all__ = ["ServerStream", "ServerWire", "find_wire", "wire_at"]


class ServerStream(Protocol):
    """What a server says on a stream, as bytes ready to send."""

    def start(self) -> bytes:
        """That it answers."""

    def event(self, event: Event) -> bytes:
        """One event."""

    def finish(self, response: Response, *, done: bool) -> bytes:
        """The end; without *done* the mark that nothing follows is left out, where the wire has one."""

    def failure(self, body: Mapping[str, Any]) -> bytes:
        """An error in the midst of it; *body* is that of a refusal."""


class ServerWire(Protocol):
    """What a server says on one wire."""

    path: str
    """The path that requests are sent to, after the base."""
    base: str
    """The path in the base URL that clients of this wire are given."""
    answer_name: str
    """What the id of an answer begins with; "" where answers have none."""
    request_header: str
    """The header that names a request for support."""

    def read(self, body: Any) -> Request:
        """The request that a body says, or an InvalidRequestError."""

    def streams(self, body: Mapping[str, Any]) -> bool:
        """Whether the client asked for a stream."""

    def whole(self, response: Response) -> bytes:
        """The body of an answer that is not streamed."""

    def stream(self, name: str, model: str, body: Mapping[str, Any], *, usage: Usage | None) -> ServerStream:
        """Begin a stream; *usage* is the input so far, None where the account is withheld even if it was asked for."""

    def error(self, error: LLMError) -> tuple[int, dict[str, str], Mapping[str, Any]]:
        """Status, headers and body of a failure."""

    def refusal(
        self,
        status: int | None,
        *,
        type: str | None = None,  # noqa: A002 - the wire's word
        code: str | None = None,
        message: str,
    ) -> Mapping[str, Any]:
        """The body of a refusal; *status* is None inside an answer.

        Words that are None are those that are usual for the status; an empty *code* is none.
        """


_WIRES: dict[str, ServerWire] = {
    "chat": ChatWire(),
    "responses": ResponsesWire(),
    "anthropic": AnthropicWire(),
    "embeddings": EmbeddingsWire(),
}


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


def wire_at(path: str) -> ServerWire | None:
    """The wire that is spoken at *path*, None where none is."""
    path = path.partition("?")[0]
    return next((wire for wire in _WIRES.values() if path.endswith(wire.path)), None)
