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
import contextlib
from collections.abc import Awaitable, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from llamina.errors import (
    InvalidRequestError,
    LLMError,
    MalformedResponseError,
    RequestTimeoutError,
)
from llamina.events import Event
from llamina.policy.headers import parse_rate_limit
from llamina.protocol import Request, Response
from llamina.secret import Secret, mask
from llamina.wire.sse import SSEDecoder

from ._engines import Answer, Engine
from ._failures import failure_of
from ._limit import Limit
from ._wires import Decoder, Wire

__all__ = ["Exchange", "Peer"]

_LONGEST_ERROR = 64 * 1024
"""Bytes of the body of an error that are read; what is behind them explains nothing more."""
_LINGER = 0.2
"""Seconds to wait, after a stream has said that it is done, for the end of its body, so that the connection is kept."""

_LATE = 0.05
"""Seconds after the deadline at which a call that no limit of the client has ended is ended here."""

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Peer(NamedTuple):
    """Who is spoken to, where, and how."""

    wire: Wire
    url: str
    provider: str
    host: str
    secrets: tuple[Secret, ...]
    max_bytes: int

    def revealed(self) -> tuple[str, ...]:
        """The values that must be masked in what the provider says."""
        return tuple([secret.reveal() for secret in self.secrets])

    def __repr__(self) -> str:
        return f"Peer({self.provider!r})"


class Exchange:
    """One attempt: it sends, reads, and turns every way in which that can fail into an `LLMError`."""

    __slots__ = (
        "_answer",
        "_connect",
        "_limit",
        "_peer",
        "_pushed",
        "_rate_limit",
        "_read",
        "_received",
        "_request",
        "_request_id",
    )
    _answer: Answer

    def __init__(self, peer: Peer, request: Request, *, connect: float, read: float) -> None:
        self._peer = peer
        self._request = request
        self._connect = connect
        self._read = read
        self._received = 0
        self._pushed = b""
        self._rate_limit: Mapping[str, float] | None = None
        self._limit: Limit | None = None
        self._request_id: str | None = None

    async def run(self, engine: Engine) -> Response:
        """The answer of the provider, complete.

        Raises:
            LLMError: any failure; it names provider and model, and has `partial` when a stream broke off.
        """
        if self._request.deadline is None:
            return await self._run(engine)
        with Limit(self._last_moment) as self._limit:
            return await self._run(engine)

    async def _run(self, engine: Engine) -> Response:
        self._answer = answer = await self._post(engine)
        self._rate_limit = parse_rate_limit(answer.headers) or None
        found = answer.headers.get("x-request-id") or answer.headers.get("request-id")
        self._request_id = self._short(found)
        try:
            if not 200 <= answer.status < 300:
                raise await self._refusal()
            response = await (self._follow() if await self._is_stream() else self._whole())
        finally:
            await answer.close()
        return replace(
            response,
            id=self._short(response.id),
            model=self._short(response.model) or "",
            request_id=self._request_id,
            rate_limit=self._rate_limit,
        )

    def _short(self, word: str | None) -> str | None:
        """A name that the provider gave, bounded and without a key that it may have echoed."""
        return word and mask(word, self._peer.secrets)[:200]

    async def _post(self, engine: Engine) -> Answer:
        body = self._body()
        failure: LLMError | None
        try:
            # A server that drips its headers keeps within the limit of every read: the deadline bounds them together.
            headers = self._request.headers or None
            return await self._bounded(engine.post(self._peer.url, body, self._connect, self._read, headers))
        except asyncio.CancelledError:
            del body
            raise
        except LLMError as error:
            failure = self._signed(error.with_traceback(None))
        except Exception as error:
            failure = self._failure_of(error)
            if failure is None:
                raise
        del body  # the prompt: a traceback may show what a frame holds
        raise failure

    async def _bounded(self, wait: Awaitable[T]) -> T:
        """What *wait* gives, if it comes before the deadline.

        Raises:
            LLMError: it did not.
        """
        limit = self._limit
        if limit is not None:
            limit.waiting = True
        try:
            return await wait
        except asyncio.CancelledError as error:
            error.__traceback__ = None  # a client's frames hold the key
            if limit is None or not limit.is_over():
                raise
        finally:
            if limit is not None:
                limit.waiting = False
        raise self._too_late()

    def _last_moment(self) -> float:
        """The deadline, and a little for the client's own limit, which knows better what it was waiting for."""
        request = self._request
        assert request.deadline is not None
        # Time in which the consumer held the stream back is not the provider's.
        return request.deadline + _LATE + (0.0 if request.sink is None else request.sink.held())

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
        failure: LLMError | None = None
        try:
            piece = await self._bounded(self._answer.read())
        except LLMError as error:
            failure = error.with_traceback(None)
        except Exception as error:
            failure = self._failure_of(error)
            if failure is None:
                raise
        if failure is not None:
            raise failure
        self._received += len(piece)
        if self._received > self._peer.max_bytes:
            del piece
            raise self._signed(
                MalformedResponseError(
                    f"the answer of {self._peer.host} is longer than max_response_bytes={self._peer.max_bytes}",
                    retryable=False,
                )
            )
        return piece

    def _check_deadline(self) -> None:
        """A server that drips keeps within the limit of every read, so the moment itself is looked at too."""
        request = self._request
        if request.deadline is None:
            return
        # Time in which the consumer held the stream back is not the provider's.
        held = 0.0 if request.sink is None else request.sink.held()
        if asyncio.get_running_loop().time() - held >= request.deadline:
            raise self._too_late()

    def _too_late(self) -> LLMError:
        return self._signed(
            RequestTimeoutError(
                f"the deadline passed before the answer of {self._peer.host} had come",
                limit="deadline",
                seconds=self._read,
            )
        )

    async def _is_stream(self) -> bool:
        kind = self._answer.headers.get("content-type", "").lower()
        if "event-stream" in kind:
            return True
        if "json" in kind:
            return False
        self._pushed = await self._next()
        return self._pushed.lstrip().startswith((b"data:", b"event:", b":"))

    async def _whole(self) -> Response:
        """The answer in one piece."""
        try:
            return self._decoded(b"".join(await self._pieces()))
        except LLMError as error:
            failure = error.with_traceback(None)  # its frames hold the answer
        raise self._signed(failure)

    async def _pieces(self) -> list[bytes]:
        pieces = []
        while piece := await self._next():
            pieces.append(piece)
        return pieces

    def _decoded(self, body: bytes) -> Response:
        fields: Any = msgspec.UNSET
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            fields = _decode(body)
        if fields is msgspec.UNSET:  # raised here: the decoder's error, as its context, would hold the body
            kind = self._answer.headers.get("content-type", "of no type")
            raise MalformedResponseError(f"the answer is no JSON ({kind[:80]}, {len(body)} bytes)")
        response = self._peer.wire.codec.decode_response(fields)
        if self._peer.wire.check is not None:
            self._peer.wire.check(self._request, response)
        return response

    async def _refusal(self) -> LLMError:
        """The error that an answer which is no success says."""
        peer = self._peer
        body = b""
        # The status is known: a body that breaks off explains less, and is no other failure.
        with contextlib.suppress(LLMError):
            while len(body) < _LONGEST_ERROR and (piece := await self._next()):
                body += piece
        return self._signed(
            peer.wire.codec.decode_error(
                self._answer.status,
                body[:_LONGEST_ERROR],
                self._answer.headers,
                provider=peer.provider,
                model=self._request.model,
                secrets=peer.revealed(),
            )
        )

    async def _follow(self) -> Response:
        """The events of a stream go to the sink as they come; the whole comes back at its end."""
        peer = self._peer
        decoder = peer.wire.codec.StreamDecoder(
            provider=peer.provider, model=self._request.model, secrets=peer.revealed(), request_id=self._request_id
        )
        failure = await self._deliver(decoder)
        if failure is None and decoder.ended:
            await self._linger()
        try:
            # With its finish reason an answer is whole: what broke after that can only have held the usage.
            return decoder.finish()
        except LLMError as error:
            failure = failure or error
        raise self._signed(failure.with_traceback(None), decoder.partial)

    async def _deliver(self, decoder: Decoder) -> LLMError | None:
        """Push the events of the stream until it ends; the failure that ended it, if one did."""
        out = self._request.begin()
        out.request_id, out.rate_limit = self._request_id, self._rate_limit
        split = SSEDecoder(limit=self._peer.max_bytes)
        failure: LLMError | None = None
        piece = b"..."
        while piece and failure is None and not decoder.ended:
            events: list[Event] = []
            try:
                piece = await self._next()
                for payload in split.feed(piece):
                    events += decoder.feed_bytes(payload)
            except LLMError as error:
                failure = error
            if decoder.usage is not None:
                out.usage = decoder.usage
            for event in events:  # what came before a failure is delivered before it is raised
                await out.send(event)
        return failure

    async def _linger(self) -> None:
        """Read the end of a body that is complete, so that the connection can serve another call."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_LINGER):
                while await self._answer.read():
                    pass

    def _failure_of(self, error: Exception) -> LLMError | None:
        failure = failure_of(error, host=self._peer.host, secrets=self._peer.secrets)
        if isinstance(failure, RequestTimeoutError):
            failure.seconds = self._connect if failure.limit == "connect" else self._read
        return failure if failure is None else self._signed(failure)

    def _signed(self, error: LLMError, partial: Response | None = None) -> LLMError:
        """*error* with what is known of this attempt, and without a key that the provider may have echoed."""
        error.message = mask(error.message, self._peer.secrets)
        error.args = (error.message,)
        error.code = error.code and mask(error.code, self._peer.secrets)
        error.details = _masked(error.details, self._peer.secrets)
        error.provider = error.provider or self._peer.provider
        error.model = error.model or self._request.model
        error.request_id = self._short(self._request_id or error.request_id)
        if error.rate_limit is None:
            error.rate_limit = self._rate_limit
        if error.partial is None and partial is not None and partial.message.parts:
            error.partial = partial
        return error


def _masked(said: Any, secrets: tuple[Secret, ...]) -> Any:
    """What a provider said, in whatever shape, without a key that it echoed."""
    if isinstance(said, str):
        return mask(said, secrets)
    if isinstance(said, Mapping):
        return {_masked(name, secrets): _masked(value, secrets) for name, value in said.items()}
    if isinstance(said, list | tuple):
        return [_masked(value, secrets) for value in said]
    return said
