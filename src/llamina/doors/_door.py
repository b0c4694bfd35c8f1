"""What every door does, whatever HTTP client it stands in: a request of a provider's wire in, what to answer out.

    turn = door.read(incoming)                  # a Turn, or a Reply where the stack is not to be asked
    reply = turn.whole(await door.stack_for(turn)(turn.request))

No I/O happens here; the clients ask the stack themselves, each in its own way.

The one surprise: every failure is answered with `x-should-retry: false`. The retries of an SDK would multiply with those
of the stack, so the stack is the one that retries.
"""

from __future__ import annotations

import copy
import hashlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from llamina._client_plan import stack_of
from llamina.errors import InvalidRequestError, LLMError, NetworkError, NotFoundError, RequestTimeoutError
from llamina.events import Event
from llamina.layers.timeout import Timeout
from llamina.protocol import Handler, Request, Response
from llamina.stack import Stack, build_stack
from llamina.transports._forward import passed_on
from llamina.wire.sse import frame

from ._tags import tags_of
from ._wires import ServerWire, find_wire, shape_of

__all__ = ["Door", "Incoming", "Reply", "Turn", "is_lost"]

_JSON = {"content-type": "application/json"}
_EVENTS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
_OF_THE_SDK = frozenset(
    {"accept", "accept-encoding", "accept-language", "content-encoding", "content-type", "user-agent"}
    # Whose account it is goes with the key, and the transport has the key.
    | {"openai-organization", "openai-project"}
)
_REMEMBERED = 256
"""Limits of time for which one door keeps a stack."""
_FRESH = 60.0
"""Seconds in which an SDK repeats what was lost, if it does; it waits 8 at most between two tries."""
_MOST_LOST = 65_536
"""Lost requests that one door keeps in mind."""


class Incoming(NamedTuple):
    """A request as the client of an SDK sends it; header names are in lower case, *timeout* is in seconds."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    timeout: float | None = None
    query: str = ""

    def __repr__(self) -> str:
        return f"Incoming({self.method} {self.path}, {len(self.body)} bytes)"  # headers hold a key, the body a prompt

    @property
    def key(self) -> bytes:
        """What tells it from other requests, apart from how often it was sent."""
        return hashlib.sha256(self.path.encode() + b"\0" + self.body).digest()

    @property
    def is_repeated(self) -> bool:
        """Whether the SDK sends it again, of its own accord."""
        return self.headers.get("x-stainless-retry-count", "0") not in ("", "0")


class Reply(NamedTuple):
    """An answer that comes in one piece."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    outcome: Response | LLMError | None = None

    def __repr__(self) -> str:
        return f"Reply({self.status}, {len(self.body)} bytes)"


def is_lost(error: LLMError) -> bool:
    """Whether no provider answered at all, which an SDK says with exceptions of its own."""
    return error.status is None and isinstance(error, RequestTimeoutError | NetworkError)


class Turn:
    """One request, read, and how it is answered.

    Attributes:
        request: for the stack; streams: whether the client asked for a stream; timeout: seconds that it waits.
    """

    def __init__(self, wire: ServerWire, request: Request, body: Mapping[str, Any], incoming: Incoming) -> None:
        self.request = request
        self.streams = wire.streams(body)
        self.timeout = incoming.timeout
        self.incoming = incoming
        self._wire = wire
        self._wants_usage = wire.wants_usage(body)
        self._encoder: Any = None

    def whole(self, response: Response) -> Reply:
        """The answer to a request that is not streamed."""
        body = self._wire.codec.encode_response(response, created=int(time.time()))
        return Reply(200, {**_JSON, **self._told(response)}, msgspec.json.encode(body), response)

    def refused(self, error: LLMError) -> Reply:
        """The status and the body that make an SDK raise its own exception for *error*."""
        return _refused(self._wire, error)

    def head(self, name: str) -> Mapping[str, str]:
        """The headers of a stream that is called *name*: the provider's id of the request is not known yet."""
        return {**_EVENTS, self._wire.request_id: name, "x-llamina-call": name}

    def opening(self, name: str) -> bytes:
        """The beginning of a stream that is called *name*."""
        codec = self._wire.codec
        self._encoder = codec.StreamEncoder(
            self._wire.prefix + name, self.request.model, self._wants_usage, created=int(time.time())
        )
        return self._frame(self._encoder.start())

    def event(self, event: Event) -> bytes:
        """What is said for one event."""
        return self._frame(self._encoder.event(event))

    def closing(self, response: Response) -> bytes:
        """The end of a stream."""
        return self._frame(self._encoder.finish(response)) + self._wire.done

    def broken(self, error: LLMError) -> bytes:
        """A failure in the midst of a stream."""
        _, _, body = self._wire.codec.encode_error(error)
        if self._wire.name == "responses":
            said = body["error"]
            body = {"type": "error", "code": said.get("code"), "message": said.get("message"), "param": None}
        return self._frame([body])

    def _frame(self, payloads: list[dict[str, Any]]) -> bytes:
        return frame(payloads, named=self._wire.named)

    def _told(self, response: Response) -> dict[str, str]:
        """What headers say of an answer: the provider's id of the request, its limits, the id of the call."""
        headers = {}
        if response.request_id is not None:
            headers[self._wire.request_id] = response.request_id
        for name, value in (response.rate_limit or {}).items():
            headers.update(_limit(self._wire, name, value))
        call = response._call
        if call is not None:
            headers["x-llamina-call"] = call.id
            if call.cache is not None:
                headers["x-llamina-cache"] = call.cache
        return headers


def _refused(wire: ServerWire, error: LLMError) -> Reply:
    status, headers, body = wire.codec.encode_error(error)
    headers = {**_JSON, **headers, "x-should-retry": "false"}
    for name, value in (error.rate_limit or {}).items():
        headers.update(_limit(wire, name, value))
    if error.call is not None:
        headers["x-llamina-call"] = error.call.id
    return Reply(status, headers, msgspec.json.encode(body), error)


def _limit(wire: ServerWire, name: str, value: float) -> dict[str, str]:
    """One fact of the rate limits as a header, in the words of the wire."""
    fact, _, scope = name.partition("_")
    scope = scope.replace("_", "-")
    if wire.name == "anthropic":
        moment = (
            datetime.fromtimestamp(time.time() + value, UTC).isoformat(timespec="seconds") if fact == "reset" else ""
        )
        return {f"anthropic-ratelimit-{scope}-{fact}": moment.replace("+00:00", "Z") or f"{value:g}"}
    return {f"x-ratelimit-{fact}-{scope}": f"{value:g}s" if fact == "reset" else f"{value:.0f}"}


def _further(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that the app wants the provider to see; those of the SDK, of the connection and keys are not among them."""
    return passed_on(
        {
            name: value
            for name, value in headers.items()
            if name not in _OF_THE_SDK and not name.startswith("x-stainless-")
        }
    )


def _twin(error: Exception) -> Exception:
    """An error that says the same, without the traceback: its frames hold the prompt."""
    if isinstance(error, LLMError):
        return error.copy()
    try:
        return copy.copy(error).with_traceback(None)
    except Exception:  # noqa: BLE001 - an exception of another's may be built in any way
        return LLMError(f"{type(error).__name__}: {error}")


class Door:
    """One stack, behind the HTTP clients that are made for it."""

    def __init__(self, stack: Stack | Handler) -> None:
        self.stack = stack_of(stack, "a door")
        self._bounded: OrderedDict[tuple[float, bool], Stack] = OrderedDict()
        self._lost: OrderedDict[bytes, tuple[float, Exception]] = OrderedDict()
        self._lock = threading.Lock()  # sync code comes from many threads

    def read(self, incoming: Incoming) -> Turn | Reply | None:
        """The turn of *incoming*; a Reply where it is no request that a stack can take; None where it is none at all.

        Raises:
            LLMError: the SDK repeats, of its own accord, what the stack has given up; that is the error again.
        """
        wire = find_wire(incoming.method, incoming.path)
        if wire is None:
            return None
        if incoming.is_repeated and (lost := self._still_lost(incoming.key)) is not None:
            raise lost
        if incoming.headers.get("content-encoding", "identity") != "identity":
            return _refused(
                wire, InvalidRequestError("the body of the request is compressed; a door reads it as it is")
            )
        try:
            body = msgspec.json.decode(incoming.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _refused(wire, InvalidRequestError("the body of the request is no JSON"))
        if isinstance(body, dict) and body.get("background") is True and self.forward is not None:
            return None  # an answer that is fetched later is no call that a layer could follow
        try:
            request = wire.codec.decode_request(body).evolve(
                tags=tags_of(incoming.headers), headers=_further(incoming.headers)
            )
        except InvalidRequestError as error:
            return _refused(wire, error)
        return Turn(wire, request, body, incoming)

    @property
    def forward(self) -> Callable[..., Coroutine[Any, Any, Any]] | None:
        """What passes a request on to the provider as it is, where the transport can."""
        below: Any = self.stack
        while isinstance(below, Stack):
            below = below.transport
        return getattr(below, "forward", None)

    def failed(self, incoming: Incoming, error: LLMError) -> Reply:
        """The answer where what was passed on got none."""
        return _refused(shape_of(incoming.path, incoming.headers), error)

    def unknown(self, incoming: Incoming) -> Reply:
        """The answer for what no layer knows how to handle, when the transport cannot forward it."""
        text = (
            f"{incoming.method} {incoming.path} is nothing that a stack handles: it takes POST requests of chat "
            "completions, responses, messages and embeddings; send this one with a client of the SDK that has no door"
        )
        return _refused(shape_of(incoming.path, incoming.headers), NotFoundError(text, status=404))

    def stack_for(self, turn: Turn) -> Stack:
        """The stack, within the time that the client waits: for an answer, or for each piece of a stream."""
        if turn.timeout is None:
            return self.stack
        key = (turn.timeout, turn.streams)
        stack = self._bounded.get(key)
        if stack is None:
            limits = {"first_event": key[0], "idle": key[0]} if turn.streams else {"seconds": key[0]}
            stack = build_stack(
                [Timeout(**limits, grace=None)],
                self.stack,
                check="off",  # the order is the user's, and he was told of it when he built it
                hold_streams=self.stack._hold,
                stream_buffer=self.stack._buffer,
            )
            with self._lock:
                self._bounded[key] = stack
                if len(self._bounded) > _REMEMBERED:
                    self._bounded.popitem(last=False)
        return stack

    def note_lost(self, turn: Turn, error: Exception) -> None:
        """Keep in mind what was given up, so that the SDK's own retries do not ask the provider again."""
        key, now, kept = turn.incoming.key, time.monotonic(), _twin(error)
        with self._lock:
            self._lost[key] = (now, kept)
            self._lost.move_to_end(key)
            while now - next(iter(self._lost.values()))[0] > _FRESH or len(self._lost) > _MOST_LOST:
                self._lost.popitem(last=False)

    def _still_lost(self, key: bytes) -> Exception | None:
        """The error that was kept in mind for a request, as long as an SDK may repeat it."""
        with self._lock:
            since, lost = self._lost.get(key, (-math.inf, None))
            now = time.monotonic()
            if lost is None or now - since > _FRESH:
                return None
            self._lost[key] = (now, lost)
            self._lost.move_to_end(key)
        return _twin(lost)
