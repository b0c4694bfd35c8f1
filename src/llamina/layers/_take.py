"""One call on a cassette: taped while it happens, and played in a provider's place.

    tape = Tape(request.sink)                    # keeps the pieces that reach the consumer, and when
    take = taken(tape, response, ...)            # plain data, ready to be written
    await Played(take, speed=None)(request)      # streams the same pieces, returns the same Response, or fails the same

The one surprise: of several writers (tries of a layer below) only the one that delivered is kept.
"""

from __future__ import annotations

import asyncio
import math
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from llamina import errors
from llamina.call import Attempt
from llamina.errors import ConfigurationError, LLMError, StreamDivergedError
from llamina.events import Event, events_of, fold
from llamina.messages import Message, Usage
from llamina.protocol import Request, Response
from llamina.sink import Sink, Writer, remainder

from ._cassette_text import Clean, written_events, written_response, written_value

__all__ = ["Played", "Tape", "as_played", "taken"]

_KINDS: dict[str, type[LLMError]] = {name: getattr(errors, name) for name in errors.__all__}
_FACTS = frozenset(
    {"provider", "model", "status", "code", "request_id", "retry_after", "should_retry", "retryable", "processed"}
    | {"rate_limit", "details", "limit", "seconds", "circuit", "spent", "held", "scope", "account", "resets_at", "busy"}
)
_PRECISION = 3
"""Decimals of a second that are kept of a pause."""


class Tape:
    """The pieces of a stream as they are delivered, and the seconds between them that were the provider's.

    Attributes:
        pieces: each with its moment.
        refused: what the consumer of the stream, or a layer above, raised when it was given a piece.
    """

    def __init__(self, sink: Sink | None) -> None:
        self._clock = asyncio.get_running_loop().time
        self._sink = sink
        self.pieces: list[tuple[Event, float]] = []
        self.refused: BaseException | None = None
        self.started = 0.0
        self.started = self.now()

    def now(self) -> float:
        """Seconds since the start; time in which the consumer held the provider back does not count."""
        held = 0.0 if self._sink is None else self._sink.held()
        return self._clock() - held - self.started

    def writer(self, inner: Writer) -> Writer:
        """A writer of one attempt that is listened to."""
        return _Taping(inner, self)


class _Taping(Writer):
    __slots__ = ("_inner", "_pieces", "_tape")

    def __init__(self, inner: Writer, tape: Tape) -> None:
        super().__init__()
        self._inner = inner
        self._tape = tape
        self._pieces: list[tuple[Event, float]] = []

    async def send(self, event: Event) -> None:
        self._pieces.append((event, self._tape.now()))
        try:
            await self._inner.send(event)
        except BaseException as error:
            self._tape.refused = error
            raise
        if event.content:
            self._tape.pieces = self._pieces


def taken(tape: Tape, outcome: Response | LLMError, clean: Clean, attempts: list[Attempt] | None) -> dict[str, Any]:
    """What happened, as plain data; *attempts* are those below, None where no ledger was kept."""
    take: dict[str, Any] = {}
    last = attempts[-1] if attempts else None
    if last is not None and last.provider is not None:
        take["provider"] = last.provider
    if attempts == []:
        take["attempts"] = 0  # a layer below answered or refused without asking anybody
    if seconds := round(tape.now(), _PRECISION):
        take["seconds"] = seconds
    pieces = tape.pieces
    if pieces:
        if isinstance(outcome, Response):
            # With what the consumer gets at the end: text that is cleaned in two halves would contradict itself.
            pieces = [*pieces, *[(event, pieces[-1][1]) for event in _rest(pieces, outcome)]]
        events = written_events([event for event, _ in pieces], clean)
        before = 0.0
        for event, (_, at) in zip(events, pieces, strict=True):
            if after := round(at - before, _PRECISION):
                event["after"] = after
            before = at
        take["events"] = events
        if last is not None and (said := _said(last)):
            take["said"] = written_value(said, clean)
    if isinstance(outcome, Response):
        take["response"] = written_response(outcome, clean)
        if pieces and fold([event for event, _ in pieces]) == outcome.message:
            del take["response"]["message"]  # said once, it cannot contradict itself
    else:
        take["error"] = _written_error(outcome, clean)
    return take


def _rest(pieces: list[tuple[Event, float]], response: Response) -> list[Event]:
    try:
        return remainder([event for event, _ in pieces if event.content], response.message)
    except StreamDivergedError:
        return []  # the edge of the stack is about to raise it


def _said(attempt: Attempt) -> dict[str, Any]:
    """What came while it streamed: of a stream that died nothing else may say it."""
    usage = attempt.usage if attempt.usage_source == "estimated" else None
    said = {"usage": usage, "request_id": attempt.request_id, "rate_limit": attempt.rate_limit}
    return {name: value for name, value in said.items() if value is not None}


def _written_error(error: LLMError, clean: Clean) -> dict[str, Any]:
    """The facts of a failure under the name of its class, or of the nearest that is llamina's."""
    kind = next(base.__name__ for base in type(error).__mro__ if _KINDS.get(base.__name__) is base)
    known = vars(error)
    facts = {name: value for name, value in known.items() if name in _FACTS and value is not None}
    if facts.get("retry_after") == math.inf:
        facts["retry_after"] = "inf"
    written: dict[str, Any] = {
        "class": kind,
        "message": clean(getattr(error, "message", "")),
        **written_value(facts, clean),
    }
    if isinstance(error.usage, Usage):
        written["usage"] = written_value(error.usage, clean)
    if isinstance(error.partial, Response):
        written["partial"] = written_response(error.partial, clean)
    return written


def as_played(request: Request, clean: Clean) -> Request:
    """*request* as it is when the earlier answers in it came from a cassette, which is cleaned."""
    messages = [
        msgspec.convert(written_value(message, clean), Message) if message.role == "assistant" else message
        for message in request.messages
    ]
    return request.evolve(messages=messages)


class Played:
    """A take as a terminal, for one call: *take* is its own, since the answer holds parts of it.

    Raises:
        ConfigurationError: the take cannot be read.
    """

    def __init__(self, take: dict[str, Any], speed: float | None) -> None:
        self.provider: str | None = take.get("provider")
        self.asked = take.get("attempts") != 0
        self._take = take
        self._speed = speed

    async def __call__(self, request: Request) -> Response:
        """Stream what was streamed, then return or raise what was returned or raised."""
        take = self._take
        try:
            written = take.get("events", ())
            events = msgspec.convert(written, list[Event])
            pauses = [float(each.get("after", 0.0)) for each in written]
            seconds = float(take.get("seconds", 0.0))
            outcome = _read_error(take["error"]) if "error" in take else _read_response(take["response"], events)
            said = take.get("said", {})
            usage = msgspec.convert(said["usage"], Usage) if "usage" in said else None
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:  # msgspec's are ValueErrors
            raise ConfigurationError(
                f"a take on the cassette cannot be read ({type(error).__name__}: {error}); record it again"
            ) from error
        passed = 0.0
        if request.sink is not None:
            out = request.begin()
            out.usage, out.request_id, out.rate_limit = usage, said.get("request_id"), said.get("rate_limit")
            if not events and isinstance(outcome, Response):
                events = events_of(outcome.message)
            for place, event in enumerate(events):
                after = pauses[place] if pauses else 0.0
                passed += after
                await self._pause(after)
                await out.send(event)
        await self._pause(seconds - passed)
        if isinstance(outcome, LLMError):
            raise outcome
        return outcome

    async def _pause(self, seconds: float) -> None:
        if self._speed is not None and seconds > 0:
            await asyncio.sleep(seconds / self._speed)


def _read_response(written: dict[str, Any], events: list[Event]) -> Response:
    if "message" not in written and events:
        written["message"] = fold(events)
    return msgspec.convert(written, Response)


def _read_error(written: dict[str, Any]) -> LLMError:
    facts = dict(written)
    kind = _KINDS[facts.pop("class")]
    message = facts.pop("message")
    if "usage" in facts:
        facts["usage"] = msgspec.convert(facts["usage"], Usage)
    if "partial" in facts:
        facts["partial"] = msgspec.convert(facts["partial"], Response)
    if "retry_after" in facts:
        facts["retry_after"] = float(facts["retry_after"])
    if kind is errors.BudgetExceededError:
        facts |= {name: Decimal(facts[name]) for name in ("limit", "spent", "held") if name in facts}
        if "resets_at" in facts:
            facts["resets_at"] = datetime.fromisoformat(facts["resets_at"])
    return kind(message, **facts)
