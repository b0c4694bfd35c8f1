"""The wires at which a door is spoken to: which path is which wire, and what a server says on it.

    wire = find_wire("/v1/chat/completions")
    request = wire.codec.decode_request(body)

The one surprise: a path is known by its end, since gateways and resources of Azure put words of their own before it.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["ServerWire", "find_wire", "shape_of"]


_load = functools.cache(importlib.import_module)


class ServerWire(NamedTuple):
    """One wire, as a server speaks it.

    Attributes:
        name: as a transport calls it; path: how the paths of its requests end; module: its codec.
        prefix: of the ids that are given to streams; request_id: the header that names a request.
        named: whether an event of a stream has its type outside of its data; done: what follows the last event.
    """

    name: str
    path: str
    module: str
    prefix: str
    request_id: str
    named: bool
    done: bytes

    @property
    def codec(self) -> Any:
        """The codec, loaded when it is first needed."""
        return _load(self.module)

    def streams(self, body: Mapping[str, Any]) -> bool:
        """Whether *body* asks for a stream."""
        return body.get("stream") is True and self.name != "embeddings"

    def wants_usage(self, body: Mapping[str, Any]) -> bool:
        """Whether a stream says at its end what was used: on the chat wire only who asks for it is told."""
        if self.name != "chat":
            return True
        options = body.get("stream_options")
        return isinstance(options, Mapping) and options.get("include_usage") is True


_WIRES = (
    ServerWire(
        "chat",
        "/chat/completions",
        "llamina.wire.openai_chat",
        "chatcmpl-",
        "x-request-id",
        named=False,
        done=b"data: [DONE]\n\n",
    ),
    ServerWire(
        "responses", "/responses", "llamina.wire.openai_responses", "resp_", "x-request-id", named=True, done=b""
    ),
    ServerWire(
        "embeddings", "/embeddings", "llamina.wire.openai_embeddings", "", "x-request-id", named=False, done=b""
    ),
    ServerWire(
        "anthropic", "/v1/messages", "llamina.wire.anthropic_messages", "msg_", "request-id", named=True, done=b""
    ),
)


def find_wire(method: str, path: str) -> ServerWire | None:
    """The wire that a request of *method* to *path* speaks; None where it is something else that a provider offers."""
    if method != "POST":
        return None
    path = path.rstrip("/")
    return next((wire for wire in _WIRES if path.endswith(wire.path)), None)


def shape_of(path: str, headers: Mapping[str, str]) -> ServerWire:
    """The wire in whose shape a failure is said to who asked for *path*, when the path itself tells nothing."""
    return _WIRES[3] if "anthropic-version" in headers or "/v1/messages" in path else _WIRES[0]
