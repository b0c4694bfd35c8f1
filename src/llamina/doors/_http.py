"""Requests and answers of httpx and httpx2 as a door sees them; the two share their signatures, not their classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from llamina.errors import ConfigurationError, LLMError, RequestTimeoutError

from ._door import Incoming, Reply

__all__ = ["check_settings", "incoming_of", "lost", "response_of"]

_PAST_THE_STACK = ("transport", "mounts", "proxy", "proxies", "app")


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings of a client that would lead its requests past the stack.

    Raises:
        ConfigurationError: there is one.
    """
    for name in _PAST_THE_STACK:
        if settings.get(name) is not None:
            raise ConfigurationError(
                f"a door takes no {name}=, which would lead requests past the stack; set it where the transport of the "
                "stack is built"
            )


def incoming_of(request: Any) -> Incoming:
    """The request of a client; its body has been read."""
    limits = request.extensions.get("timeout") or {}
    headers = {name.lower(): value for name, value in request.headers.items()}
    path, _, query = request.url.raw_path.decode("ascii", "replace").partition("?")
    return Incoming(request.method, path, headers, request.content, _seconds(limits.get("read")), query)


def _seconds(read: float | None) -> float | None:
    """The limit of a client in seconds; one that is none, or has passed before it began, is said as the stack can."""
    if read is None or read == math.inf:
        return None
    return max(float(read), 1e-9)


def response_of(module: Any, reply: Reply) -> Any:
    """The answer for a client; what came out of the stack, a Response or an LLMError, is in its extensions."""
    extensions = {} if reply.outcome is None else {"llamina": reply.outcome}
    return module.Response(reply.status, headers=dict(reply.headers), content=reply.body, extensions=extensions)


def lost(module: Any, error: LLMError, request: Any) -> Exception:
    """The exception by which an SDK knows that no answer came; *error* belongs to it as its cause."""
    kind = module.ReadTimeout if isinstance(error, RequestTimeoutError) else module.ReadError
    failure: Exception = kind(error.message, request=request)
    return failure
