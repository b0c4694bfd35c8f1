"""Speaking the stream of the Responses wire: events as server events, for servers and for simulated providers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from llamina.events import Event, PartDelta, ReasoningDelta, TextDelta, ToolCallDelta, events_of
from llamina.messages import Message, Part, ToolCall, UnknownPart
from llamina.protocol import Response

from ._raw import further
from ._responses_answers import ECHOES, encode_response, sayable
from ._responses_parts import WIRE, encode_input, is_content, kind_of
from ._responses_said import SaidCall, SaidMessage, SaidThought, ServerEvents

__all__ = ["StreamEncoder"]


class StreamEncoder:
    """Makes the server events of one stream: `start`, then `event` for each, then `finish`.

    Args:
        id, model: of the answer; created: seconds of the epoch.
        include_usage: taken for the sake of other wires; this one always tells the tokens, in its last event.

    An item's id must be told before its text, and is known after it: where text came in pieces, the item is streamed
    under an id that is made here, and the answer in the last event has the provider's own.
    """

    def __init__(self, id: str, model: str, include_usage: bool = True, *, created: int = 0) -> None:  # noqa: A002, ARG002, FBT001, FBT002
        self._id = id
        self._created = created
        self._head = {"id": id, "object": "response", "created_at": created, "model": model}
        self._out = ServerEvents()
        self._open: SaidMessage | SaidThought | None = None
        self._calls: dict[int, SaidCall] = {}

    def start(self) -> list[dict[str, Any]]:
        """The events that say that the provider answers."""
        body = {
            **self._head,
            "status": "in_progress",
            **ECHOES,
            "incomplete_details": None,
            "output": [],
            "usage": None,
        }
        return [self._out.say(kind, response=body) for kind in ("created", "in_progress")]

    def event(self, event: Event) -> list[dict[str, Any]]:
        """The server events for one event; none for what is no content."""
        if type(event) is TextDelta:
            said = self._message()
            piece = {"type": "output_text", "annotations": [], "text": event.text}
            return said + self._in_message(piece, further(event, WIRE), whole=event.raw is not None, new=event.new)
        if type(event) is ReasoningDelta:
            return self._thought(event)
        if type(event) is ToolCallDelta:
            return self._call(event)
        if type(event) is PartDelta:
            return self._part(event.part)
        return []

    def _message(self) -> list[dict[str, Any]]:
        if type(self._open) is SaidMessage:
            return []
        said = self._close()
        self._open = SaidMessage(self._out)
        return said

    def _in_message(
        self, piece: dict[str, Any], fields: Mapping[str, Any], *, whole: bool, new: bool = False
    ) -> list[dict[str, Any]]:
        message = self._open
        assert type(message) is SaidMessage
        said = message.piece(piece, fields, whole=whole, new=new)
        if message.ended:
            self._open = None
        return said

    def _thought(self, event: ReasoningDelta) -> list[dict[str, Any]]:
        said = [] if type(self._open) is SaidThought and not event.new else self._close()
        if self._open is None:
            self._open = SaidThought(self._out)
        thought = self._open
        assert type(thought) is SaidThought
        said += thought.piece(event)
        if event.raw is not None:
            self._open = None
            said += thought.close()
        return said

    def _call(self, event: ToolCallDelta) -> list[dict[str, Any]]:
        call = self._calls.get(event.index)
        said: list[dict[str, Any]] = []
        if call is None:
            said = self._close()
            call = self._calls[event.index] = SaidCall(self._out, event)
        return said + call.piece(event)

    def _part(self, part: Part) -> list[dict[str, Any]]:
        if type(part) is not UnknownPart:
            pieces = events_of(Message("assistant", (part,)))
            if type(part) is ToolCall:  # a number of its own, for pieces that come later have theirs
                pieces = [replace(pieces[0], index=-1 - len(self._calls))]
            said = self._close()
            return said + [each for piece in pieces if type(piece) is not PartDelta for each in self.event(piece)]
        if not sayable(part):
            return self._close()  # it ends a text all the same
        if not is_content(part):
            item = dict(part.raw)
            said = self._close()
            place, added = self._out.add(item, kind_of(item))
            return [*said, added, self._out.done(place, item)]
        said = self._message()
        piece = encode_input(part)
        fields = {"item": piece.pop("item")} if "item" in piece else {}
        return said + self._in_message(piece, fields, whole=True, new=True)

    def _close(self) -> list[dict[str, Any]]:
        closing, self._open = self._open, None
        return closing.close() if closing is not None else []

    def finish(self, response: Response) -> list[dict[str, Any]]:
        """The events at the end: what is still open, and the whole answer."""
        said = self._close()
        for call in self._calls.values():
            said += call.close()
        body = {**encode_response(response, created=self._created), "id": self._id}
        if self._out.items and len(body["output"]) != len(self._out.items):
            body["output"] = list(self._out.items)
        ending = "incomplete" if body.get("status") == "incomplete" else "completed"
        return [*said, self._out.say(ending, response=body)]
