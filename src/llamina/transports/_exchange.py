"""One request and its answer, over any engine and any wire.

    exchange = Exchange(peer, request)
    response = await exchange.run(engine, connect=10.0, read=600.0)

The answer decides how it is read: an event stream is followed, anything else is taken whole, whatever was asked for.
So a server that ignores `stream` works, and so does one that always streams.

The one surprise: what came before a failure is delivered before the failure is raised, also when both arrive in one
piece of the body.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from llamina.errors import (
    ConfigurationError,
    InvalidRequestError,
    LLMError,
    MalformedResponseError,
    RequestTimeoutError,
)
from llamina.events import Event
from llamina.messages import Usage
from llamina.policy.headers import parse_rate_limit
from llamina.protocol import Request, Response
from llamina.secret import Secret
from llamina.wire.sse import SSEDecoder

from ._engines import Answer, Engine
from ._failures import failure_of

__all__ = ["Exchange", "Peer", "Wire", "find_wire"]

_LONGEST_ERROR = 64 * 1024
"""Bytes of the body of an error that are read; what is behind them explains nothing more."""
_LINGER = 0.2
"""Seconds to wait, after a stream has said that it is done, for the end of its body, so that the connection is kept."""

_encode = msgspec.json.Encoder().encode


class Decoder(Protocol):
    """Folds the payloads of one stream."""

    usage: Usage | None

    @property
    def partial(self) -> Response:
        """The answer as far as it came."""

    def feed_bytes(self, payload: bytes) -> list[Event]:
        """The events of one payload."""

    def done(self) -> None:
        """The stream has said that it is complete."""

    def finish(self) -> Response:
        """The whole answer."""


class Codec(Protocol):
    """What a wire module offers."""

    StreamDecoder: Callable[[], Decoder]

    def encode_request(self, request: Request, *, stream: bool) -> dict[str, Any]:
        """The body to send."""

    def decode_response(self, body: bytes, *, request_id: str | None = None) -> Response:
        """The answer in a body."""

    def decode_error(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str],
        *,
        provider: str | None,
        model: str | None,
        secrets: Sequence[str] = (),
    ) -> LLMError:
        """The error in an answer that is no success."""


class Wire(NamedTuple):
    """A codec, the path it is spoken at, and the kind of request that it takes."""

    codec: Any
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
    return Wire(importlib.import_module(module), path, kind)


class Peer(NamedTuple):
    """Who is spoken to, and how."""

    wire: Wire
    provider: str
    host: str
    secrets: tuple[Secret, ...]
    max_bytes: int

    def __repr__(self) -> str:
        return f"Peer({self.provider!r})"


class Exchange:
    """One attempt: it sends, reads, and turns every way in which that can fail into an `LLMError`."""

    __slots__ = ("_answer", "_connect", "_decoder", "_ended", "_failure", "_peer", "_pushed", "_read", "_received", "_request", "_split")

    def __init__(self, peer: Peer, request: Request, *, connect: float, read: float) -> None:
        self._peer = peer
        self._request = request
        self._connect = connect
        self._read = read
        self._received = 0
        self._pushed = b""

    async def run(self, engine: Engine) -> Response:
        """The answer of the provider, complete.

        Raises:
            LLMError: any failure; it names provider and model, and has `partial` when a stream broke off.
        """
        self._answer = answer = await self._post(engine)
        try:
            if not 200 <= answer.status < 300:
                raise await self._refusal()
            response = await (self._follow() if await self._streams() else self._whole())
        finally:
            await answer.close()
        return replace(response, request_id=self._request_id, rate_limit=parse_rate_limit(answer.headers) or None)

    async def _post(self, engine: Engine) -> Answer:
        body = self._body()
        try:
            return await engine.post(body, self._connect, self._read)
        except Exception as error:
            failure = self._failure_of(error)
            if failure is None:
                raise
        del body  # the prompt: a traceback may show what a frame holds
        raise failure

    def _body(self) -> bytes:
        request = self._request
        fields = self._peer.wire.codec.encode_request(request, stream=request.sink is not None)
        try:
            return _encode(fields)
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
            reason = str(error)
        raise InvalidRequestError(
            f"the request cannot be written as JSON ({reason}); pass plain data as messages and parameters",
            provider=self._peer.provider,
            model=request.model,
        )

    async def _next(self) -> bytes:
        """The next piece of the body, b"" at its end."""
        if self._pushed:
            piece, self._pushed = self._pushed, b""
            return piece
        self._check_deadline()
        try:
            piece = await self._answer.read()
        except Exception as error:
            failure = self._failure_of(error)
            if failure is None:
                raise
        else:
            self._received += len(piece)
            if self._received > self._peer.max_bytes:
                failure = MalformedResponseError(
                    f"the answer is longer than max_response_bytes={self._peer.max_bytes}", retryable=False
                )
                self._sign(failure)
                piece = b""
            if not failure:
                return piece
        raise failure

    def _check_deadline(self) -> None:
        """A server that drips keeps within the limit of each read, so the moment itself is looked at too."""
        request = self._request
        if request.deadline is None:
            return
        # Time in which the consumer held the stream back is not the provider's.
        held = 0.0 if request.sink is None else request.sink.held()
        if asyncio.get_running_loop().time() - held >= request.deadline:
            raise self._sign(RequestTimeoutError("the deadline passed while the answer was read", limit="deadline"))

    async def _streams(self) -> bool:
        kind = self._answer.headers.get("content-type", "")
        if "event-stream" in kind:
            return True
        if "json" in kind:
            return False
        self._pushed = await self._next()
        return self._pushed.lstrip().startswith((b"data:", b"event:", b":"))

    async def _whole(self) -> Response:
        pieces = []
        while piece := await self._next():
            pieces.append(piece)
        try:
            response: Response = self._peer.wire.codec.decode_response(b"".join(pieces), request_id=self._request_id)
        except LLMError as error:
            self._sign(error)
            raise
        return response

    async def _follow(self) -> Response:
        out = self._request.begin()
        self._decoder: Decoder = self._peer.wire.codec.StreamDecoder()
        self._split = SSEDecoder()
        self._ended = False
        self._failure: LLMError | None = None
        decoder = self._decoder
        while not self._ended:
            events = await self._events()
            if decoder.usage is not None:
                out.usage = decoder.usage
            for event in events:
                await out.send(event)
        if self._failure is not None:
            raise self._failure
        return decoder.finish()
