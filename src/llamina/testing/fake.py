"""`FakeTransport`: a provider that plays a script, for tests without network.

    fake = FakeTransport(["hello", ServerError("down"), ["Hel", 1.0, "lo"]])   # a script, played once
    fake = FakeTransport("hello")                                              # one item: for ever
    stack = build_stack([Retry()], fake)
    fake.requests, fake.calls, fake.in_flight, fake.max_in_flight

An item is a text, a Response (`answer(...)`, `tool_call(...)`, `vectors(...)`), an exception, a function of the request that gives an
item, or a timeline: a list of pieces of text, events, pauses in seconds, `asyncio.Event`s to wait for, exceptions, and
at its end a Response.

The one surprise: it plays, it does not judge. A call beyond the end of the script fails with `ScriptExhaustedError`,
which no layer handles.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from typing import Any

import msgspec

from llamina.errors import ConfigurationError, LLMError
from llamina.events import Event, TextDelta, events_of, fold
from llamina.messages import Usage
from llamina.policy.estimate import estimate_tokens
from llamina.protocol import Request, Response
from llamina.sink import Writer

from .script import ScriptExhaustedError, check_count, check_item, check_kind

__all__ = ["FakeTransport"]


class FakeTransport:
    """A terminal that plays *script* and remembers what it was asked.

    Args:
        script: a list of items, played once; or one item that is no list, played for ever.
        repeat: play the list again and again.
        provider: the name that the ledger shows.

    Attributes:
        requests: every Request that arrived, in order.
        in_flight, max_in_flight: calls at this moment, and at most so far.
        billed: the tokens of every answer that was completed, and of every failure that says it was billed.

    Raises:
        ConfigurationError: an item is a bare number (brackets were forgotten).
    """

    def __init__(self, script: Any = "hello", *, repeat: bool = False, provider: str = "fake") -> None:
        self.provider = provider
        if isinstance(script, list | tuple):
            for place, item in enumerate(script):
                _check(item, where=f"FakeTransport.script[{place}]")
            self._script: Sequence[Any] = list(script)
            self._repeat = repeat
        else:
            _check(script, where="FakeTransport.script")
            self._script = [script]
            self._repeat = True
        self.requests: list[Request] = []
        self.in_flight = 0
        self.max_in_flight = 0
        self.billed = Usage()
        self.closed = 0

    @property
    def calls(self) -> int:
        """Number of requests that arrived."""
        return len(self.requests)

    async def __call__(self, request: Request) -> Response:
        """Play the next item of the script."""
        item = self._next(request)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            while inspect.isawaitable(item) or (callable(item) and not isinstance(item, type)):
                item = await item if inspect.isawaitable(item) else item(request)
                _check(item, where="what a function of FakeTransport.script gave")
            response = await self._play(item, request)
        except LLMError as error:
            if error.usage is not None:
                self.billed += error.usage
            raise
        finally:
            self.in_flight -= 1
        if response.usage is not None:
            self.billed += response.usage
        return response

    def _next(self, request: Request) -> Any:
        number = len(self.requests)
        self.requests.append(request)
        if not self._script or (number >= len(self._script) and not self._repeat):
            raise ScriptExhaustedError(
                f"FakeTransport was called {number + 1} times, its script has {len(self._script)} items; "
                "add items, or pass repeat=True"
            )
        return self._script[number % len(self._script)]

    async def _play(self, item: Any, request: Request) -> Response:
        timeline = item if isinstance(item, list | tuple) else [item]
        out = request.begin()
        events: list[Event] = []
        for piece in timeline:
            if isinstance(piece, bool):
                raise ConfigurationError(
                    f"{piece!r} is no piece of a timeline; use text, a pause, an event or an error"
                )
            if isinstance(piece, int | float):
                await asyncio.sleep(piece)
            elif isinstance(piece, asyncio.Event):
                await piece.wait()
            elif isinstance(piece, BaseException) or (isinstance(piece, type) and issubclass(piece, BaseException)):
                if events and isinstance(piece, LLMError) and piece.partial is None:
                    piece.partial = Response(fold(events), model=request.model)
                raise piece if isinstance(piece, type) else piece.with_traceback(None)  # played again, it would grow
            elif isinstance(piece, Response):
                return await self._finish(piece, events, out, request)
            elif isinstance(piece, str):
                await self._send(TextDelta(piece), events, out)
            elif isinstance(piece, Event):
                await self._send(piece, events, out)
            else:
                raise ConfigurationError(
                    f"{piece!r} is no piece of a timeline; use text, a pause, an event or an error"
                )
        return await self._finish(Response(fold(events), None, "stop"), events, out, request)

    async def _finish(self, response: Response, events: list[Event], out: Writer, request: Request) -> Response:
        check_kind(request, response)
        check_count(request, response)
        if not events:
            for event in events_of(response.message):
                await self._send(event, events, out)
        changes: dict[str, Any] = {}
        if response.usage is None:
            changes["usage"] = Usage(
                sum([estimate_tokens(message.text) + 3 for message in request.messages]),
                estimate_tokens(response.text),
            )
        if not response.model:
            changes["model"] = request.model
        return msgspec.structs.replace(response, **changes)

    @staticmethod
    async def _send(event: Event, events: list[Event], out: Writer) -> None:
        events.append(event)
        await out.send(event)

    async def aclose(self) -> None:
        """Counts how often it was closed."""
        self.closed += 1

    def __repr__(self) -> str:
        items = f"{len(self._script)} items" if not self._repeat else "for ever"
        return f"FakeTransport({items}, {self.calls} calls)"


def _check(item: Any, *, where: str) -> None:
    """Refuse what cannot be played: as a plain call it would be an empty answer."""
    check_item(item, where=where)
    known = isinstance(item, str | Response | BaseException | list | tuple | asyncio.Event | Event)
    if not known and not callable(item) and not inspect.isawaitable(item):
        raise ConfigurationError(
            f"{where} is {item!r}, which is no item of a script; use text, a Response, an error, a function or a timeline"
        )
