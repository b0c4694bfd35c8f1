"""One item of a script, played by a `SimulatedProvider` to one client, and what is charged for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from llamina.errors import LLMError, NetworkError
from llamina.events import Event, TextDelta, events_of, fold
from llamina.messages import Message, Text, ToolCall, ToolResult, Usage
from llamina.policy.estimate import estimate_input, estimate_tokens
from llamina.protocol import Request, Response

from ._http import Reply
from ._provider_wire import ServerStream, ServerWire
from .provider_script import INSTEAD, Cut, ErrorEvent, Garbage, Manner, Stall, Status, is_billed
from .script import check_kind

__all__ = ["JSON", "Performance", "request_id"]

JSON = {"content-type": "application/json"}
_EVENTS = {"content-type": "text/event-stream", "cache-control": "no-cache"}

_Fault = Status | Garbage | Cut | Stall | ErrorEvent | LLMError


def request_id(wire: ServerWire, number: int) -> dict[str, str]:
    """The header that names the request for support."""
    return {wire.request_header: f"req-sim-{number}"}


class Performance:
    """One item, played to one client.

    Attributes:
        model: what was asked for; usage: what is charged so far, None for a request that was refused.
    """

    def __init__(
        self, wire: ServerWire, request: Request, body: Any, reply: Reply, manner: Manner, number: int
    ) -> None:
        self._wire = wire
        self._request = request
        self.model = request.model
        self._body = body
        self._reply = reply
        self._manner = manner
        self._headers = {**manner.headers, **request_id(wire, number)}
        self._id = f"{wire.answer_name}{number}" if wire.answer_name else ""
        self._events: list[Event] = []
        self._stream: ServerStream | None = None
        self.usage: Usage | None = None

    async def play(self) -> None:
        """Play the item to its end, or until the client leaves."""
        item = self._manner.item
        timeline = list(item) if isinstance(item, list | tuple) else [item]
        self._reply.seconds_per_byte = self._manner.seconds_per_byte
        if self._manner.headers_after:
            await asyncio.sleep(self._manner.headers_after)
        named = next((piece for piece in timeline if isinstance(piece, Response)), None)
        self._check(timeline, named)
        self.usage = Usage(_input_tokens(self._request)) if named is None else _input_of(named, self._request)
        # The first piece that is no wait decides whether an answer begins at all.
        first = next((piece for piece in timeline if not isinstance(piece, int | float | asyncio.Event)), "")
        if self._wire.streams(self._body) and not isinstance(first, INSTEAD):
            # Every chunk names the answer, so what a Response at the end says of itself is said from the start.
            name, model = (named.id or self._id, named.model or self.model) if named else (self._id, self.model)
            self._stream = self._wire.stream(name, model, self._body, usage=self.usage if self._manner.usage else None)
            await self._reply.begin(200, {**_EVENTS, **self._headers}, None, self._stream.start())
        for piece in timeline:
            if isinstance(piece, int | float):
                await asyncio.sleep(piece)
            elif isinstance(piece, asyncio.Event):
                await piece.wait()
            elif isinstance(piece, Response):
                await self._finish(piece)
                return
            elif isinstance(piece, _Fault):
                await self._fail(piece)
                return
            else:
                await self._send(TextDelta(piece) if isinstance(piece, str) else piece)
        await self._finish(self._so_far())

    def _check(self, timeline: list[Any], response: Response | None) -> None:
        """An answer must be of the kind that was asked for; a fault alone is one of either."""
        if response is not None or not timeline or any([isinstance(piece, str | Event) for piece in timeline]):
            check_kind(self._request, response)

    def _so_far(self) -> Response:
        message = fold(self._events)
        return Response(message, None, "tool_calls" if message.tool_calls else "stop")

    async def _send(self, event: Event) -> None:
        self._events.append(event)
        if self._stream is not None:
            await self._reply.write(self._stream.event(event))
            assert self.usage is not None
            self.usage = replace(self.usage, output_tokens=_output_tokens(self._events))

    async def _finish(self, response: Response) -> None:
        assert self.usage is not None
        if not self._events:
            for event in events_of(response.message):
                await self._send(event)
        usage = response.usage
        if usage is None:
            reasoning = estimate_tokens("".join([event.reasoning for event in self._events]))
            usage = replace(self.usage, output_tokens=_output_tokens(self._events), reasoning_tokens=reasoning)
        message = response.message if response.message.parts else fold(self._events)
        shown = replace(
            response,
            message=message,
            usage=usage if self._manner.usage else None,
            model=response.model or self.model,
            id=response.id or self._id or None,
        )
        if self._stream is not None:
            await self._reply.write(self._stream.finish(shown, done=self._manner.done), last=True)
        else:
            await self._reply.whole(200, {**JSON, **self._headers}, self._wire.whole(shown))
        self.usage = replace(usage, raw=None)

    async def _fail(self, fault: _Fault) -> None:
        if isinstance(fault, Status):
            if not fault.billed:
                self.usage = None
            body = self._wire.refusal(fault.status, type=fault.type, code=fault.code, message=fault.message)
            await self._whole(fault.status, {**JSON, **fault.headers}, body)
        elif isinstance(fault, Garbage):
            await self._reply.whole(
                200, {"content-type": fault.content_type, **self._headers}, fault.body.encode("utf-8", "replace")
            )
        elif isinstance(fault, Cut) and fault.quietly:
            await self._end_quietly()
        elif isinstance(fault, NetworkError | Cut):
            await self._break_off()
            self._reply.cut(reset=isinstance(fault, Cut) and fault.reset)
        elif isinstance(fault, Stall):
            await self._break_off(headers=True)
            await asyncio.get_running_loop().create_future()
        elif isinstance(fault, ErrorEvent):
            body = self._wire.refusal(None, type=fault.type, code=fault.code, message=fault.message)
            await self._error(200, {}, body)
        else:
            status, headers, body = self._wire.error(fault)
            if self._stream is None and not is_billed(status):
                self.usage = None
            await self._error(status, headers, body)

    async def _error(self, status: int, headers: Mapping[str, str], body: Mapping[str, Any]) -> None:
        if self._stream is not None:
            await self._reply.write(self._stream.failure(body), last=True)
        else:
            await self._whole(status, {**JSON, **headers}, body)

    async def _whole(self, status: int, headers: Mapping[str, str], body: Mapping[str, Any]) -> None:
        await self._reply.whole(status, {**headers, **self._headers}, msgspec.json.encode(body))

    async def _end_quietly(self) -> None:
        """End the body in good order, although it is not all of the answer."""
        if self._stream is not None:
            await self._reply.write(b"", last=True)
        else:
            half = self._half()
            await self._reply.begin(200, {**JSON, **self._headers}, len(half), half)

    def _half(self) -> bytes:
        """The first half of an answer that is not streamed; of one without content nothing."""
        body = self._wire.whole(replace(self._so_far(), model=self.model, id=self._id or None))
        return body[: len(body) // 2] if self._events else b""

    async def _break_off(self, *, headers: bool = False) -> None:
        """Send the first half of an answer that is not streamed; of an answer without content the headers at most."""
        if self._stream is not None or not (self._events or headers):
            return
        half = self._half()
        await self._reply.begin(200, {**JSON, **self._headers}, 2 * len(half) + 2, half)


def _input_of(response: Response, request: Request) -> Usage:
    """What *response* will say that its input costs, for wires that say it at the start."""
    usage = response.usage
    if usage is None:
        return Usage(_input_tokens(request))
    return replace(usage, output_tokens=0, reasoning_tokens=0, output_audio_tokens=0, raw=None)


def _input_tokens(request: Request) -> int:
    """Counted as the ledger estimates, so that the two agree where only an estimate can be had."""
    return estimate_input([_text(message) for message in request.messages])


def _text(message: Message) -> str:
    return "".join(
        [
            part.arguments_text if isinstance(part, ToolCall) else part.text
            for part in message.parts
            if isinstance(part, Text | ToolCall | ToolResult)
        ]
    )


def _output_tokens(events: list[Event]) -> int:
    return estimate_tokens("".join([event.text + event.reasoning + event.arguments for event in events]))
