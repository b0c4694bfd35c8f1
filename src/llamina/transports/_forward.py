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

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit, urlunsplit

from llamina.errors import LLMError
from llamina.secret import names_credential

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
        # Whose account it is goes with the key, and the transport has a key of its own.
        "openai-organization",
        "openai-project",
        # The client that sends says what it can read.
        "accept-encoding",
    }
)
_DECODED = frozenset(
    {"connection", "content-encoding", "content-length", "keep-alive", "set-cookie", "transfer-encoding"}
)


class Forwarded:
    """The answer to a request that was passed on; its body is read piece by piece and is not compressed."""

    __slots__ = ("_answer", "_failed", "headers", "status")

    def __init__(self, answer: Answer, failed: Callable[[Exception], LLMError | None]) -> None:
        self._answer = answer
        self._failed = failed
        self.status = answer.status
        self.headers = {name: value for name, value in answer.headers.items() if name not in _DECODED}

    async def read(self) -> bytes:
        """The next piece of the body, b"" at its end.

        Raises:
            LLMError: it broke off.
        """
        try:
            return await self._answer.read()
        except Exception as error:
            failure = self._failed(error)
            if failure is None:
                raise
        raise failure  # outside of the block: the client's error, as its context, holds the key

    async def close(self) -> None:
        """Give the connection back, or cut it if the body was not read to its end."""
        await self._answer.close()


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a request that are passed on: those that are not of one connection, of llamina, or a key."""
    lower = {name.lower(): value for name, value in headers.items()}
    return {
        name: value
        for name, value in lower.items()
        if name not in _OWN and not name.startswith("x-llamina-") and not names_credential(name)
    }


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
