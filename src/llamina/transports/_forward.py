"""Requests that no layer knows how to handle, passed on as they are: a list of models, an upload, a sound.

    answer = await transport.forward("GET", "/v1/models", "", headers, b"")
    try:
        while piece := await answer.read(): ...
    finally:
        await answer.close()

They go to the address of the transport with its key, and no other. They are no calls of a model: no layer sees them, and
they are in no ledger.

The one surprise: `/v1` at the beginning of a path counts once, whichever of the app's address and the transport's has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from ._engines import Answer

__all__ = ["Forwarded", "address_of", "passed_on"]

_OWN = frozenset(
    {
        # Of one connection, or made by the client that sends (RFC 9110, section 7.6.1).
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        # Who the app says it is: the transport has a key of its own.
        "api-key",
        "authorization",
        "cookie",
        "x-api-key",
    }
)
_DECODED = frozenset(
    {"connection", "content-encoding", "content-length", "keep-alive", "set-cookie", "transfer-encoding"}
)


class Forwarded:
    """The answer to a request that was passed on; its body is read piece by piece and is not compressed."""

    __slots__ = ("_answer", "headers", "status")

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.status = answer.status
        self.headers = {name: value for name, value in answer.headers.items() if name not in _DECODED}

    async def read(self) -> bytes:
        """The next piece of the body, b"" at its end."""
        return await self._answer.read()

    async def close(self) -> None:
        """Give the connection back, or cut it if the body was not read to its end."""
        await self._answer.close()


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a request that are passed on: those that are not of one connection, of llamina, or a key."""
    lower = {name.lower(): value for name, value in headers.items()}
    return {name: value for name, value in lower.items() if name not in _OWN and not name.startswith("x-llamina-")}


def address_of(known: str, wire_path: str, path: str, query: str) -> str:
    """Where *path* is at the server where the wire with *wire_path* is at *known*."""
    parts = urlsplit(known)
    base = parts.path.removesuffix(wire_path)
    path = "/" + path.lstrip("/")
    if wire_path.startswith("/v1/"):
        path = path if path.startswith("/v1/") else f"/v1{path}"
    elif path.startswith("/v1/"):
        path = path.removeprefix("/v1")
    merged = "&".join([each for each in (parts.query, query) if each])
    return urlunsplit((parts.scheme, parts.netloc, base + path, merged, ""))
