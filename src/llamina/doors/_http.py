"""Requests and answers of httpx and httpx2 as a door sees them; the two share their signatures, not their classes."""

from __future__ import annotations

from typing import Any

from llamina.errors import LLMError, RequestTimeoutError

from ._door import Incoming, Reply

__all__ = ["incoming_of", "lost", "response_of"]


def incoming_of(request: Any) -> Incoming:
    """The request of a client; its body has been read."""
    limits = request.extensions.get("timeout") or {}
    headers = {name.lower(): value for name, value in request.headers.items()}
    query = request.url.query.decode("ascii", "replace")
    return Incoming(request.method, request.url.path, headers, request.content, limits.get("read"), query)


def response_of(module: Any, reply: Reply) -> Any:
    """The answer for a client; what came out of the stack, a Response or an LLMError, is in its extensions."""
    extensions = {} if reply.outcome is None else {"llamina": reply.outcome}
    return module.Response(reply.status, headers=dict(reply.headers), content=reply.body, extensions=extensions)


def lost(module: Any, error: LLMError, request: Any) -> Exception:
    """The exception by which an SDK knows that no answer came; *error* belongs to it as its cause."""
    kind = module.ReadTimeout if isinstance(error, RequestTimeoutError) else module.ReadError
    failure: Exception = kind(error.message, request=request)
    return failure
