"""What a stream is made of: small events, and the fold that turns them into a message.

    TextDelta("Hel"), TextDelta("lo")           # fold(...) -> Message("assistant", (Text("Hello"),))

`event.text` exists on every event ("" where there is none), so `"".join(event.text for event in events)` is always
right; reasoning is `.reasoning`, a tool's arguments are `.arguments`.

The one surprise: `Started` says that the provider answers, but it is no content: it commits nothing and a consumer
never sees it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, TypeAlias

import msgspec

from .messages import Message, Part, Reasoning, Text, ToolCall

__all__ = ["Event", "PartDelta", "ReasoningDelta", "Started", "TextDelta", "ToolCallDelta", "events_of", "fold"]


class TextDelta(msgspec.Struct, frozen=True, tag="text", omit_defaults=True, gc=False):
    """A piece of the answer's text.

    With *new* it begins a part of its own, else it goes on with the text before it. *raw* belongs to the part (the
    citations of a text) and closes it.
    """

    text: str
    raw: Any = None
    new: bool = False
    content: ClassVar[bool] = True
    reasoning: ClassVar[str] = ""
    arguments: ClassVar[str] = ""


class ReasoningDelta(msgspec.Struct, frozen=True, tag="reasoning", omit_defaults=True):
    """A piece of what the model thinks aloud; *raw* carries a signature that belongs to the block, and closes it.

    With *new* it begins a block of its own.
    """

    reasoning: str
    raw: Any = None
    new: bool = False
    content: ClassVar[bool] = True
    text: ClassVar[str] = ""
    arguments: ClassVar[str] = ""


class ToolCallDelta(msgspec.Struct, frozen=True, tag="tool_call", omit_defaults=True):
    """A piece of a tool call: *index* says which call, *id* and *name* come once, *arguments* in pieces."""

    index: int
    arguments: str = ""
    id: str = ""
    name: str = ""
    raw: Any = None
    content: ClassVar[bool] = True
    text: ClassVar[str] = ""
    reasoning: ClassVar[str] = ""


class PartDelta(msgspec.Struct, frozen=True, tag="part", omit_defaults=True):
    """A whole part that does not come in pieces (an image, a citation block, something unknown)."""

    part: Part
    content: ClassVar[bool] = True
    text: ClassVar[str] = ""
    reasoning: ClassVar[str] = ""
    arguments: ClassVar[str] = ""


class Started(msgspec.Struct, frozen=True, tag="started", omit_defaults=True):
    """The provider answers; *id* and *model* as it named them. Also sent for keep-alives."""

    id: str | None = None
    model: str | None = None
    content: ClassVar[bool] = False
    text: ClassVar[str] = ""
    reasoning: ClassVar[str] = ""
    arguments: ClassVar[str] = ""


Event: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta | PartDelta | Started


def fold(events: Iterable[Event], role: str = "assistant") -> Message:
    """The message that *events* make; how the text was cut makes no difference.

    Neighbouring pieces of text, and of reasoning, join unless one says that it is new; the pieces of a tool call join
    by their index.
    """
    parts: list[Any] = []
    calls: dict[int, _OpenCall] = {}
    for event in events:
        if type(event) is TextDelta:
            if parts and type(parts[-1]) is _OpenText and parts[-1].raw is None and not event.new:
                parts[-1].pieces.append(event.text)
            elif event.text or event.raw is not None:
                parts.append(_OpenText(event.text))
            if event.raw is not None:
                parts[-1].raw = event.raw
        elif type(event) is ToolCallDelta:
            call = calls.get(event.index)
            if call is None:
                call = calls[event.index] = _OpenCall()
                parts.append(call)
            call.add(event)
        elif type(event) is ReasoningDelta:
            if parts and type(parts[-1]) is _OpenReasoning and parts[-1].raw is None and not event.new:
                parts[-1].pieces.append(event.reasoning)
            else:
                parts.append(_OpenReasoning(event.reasoning))
            if event.raw is not None:
                parts[-1].raw = event.raw
        elif type(event) is PartDelta:
            parts.append(event.part)
    return Message(role, tuple([part.close() if isinstance(part, _Open) else part for part in parts]))


class _Open:
    __slots__ = ("pieces", "raw")

    def __init__(self, piece: str = "") -> None:
        self.pieces = [piece]
        self.raw: Any = None

    def close(self) -> Part:
        raise NotImplementedError


class _OpenText(_Open):
    __slots__ = ()

    def close(self) -> Part:
        return Text("".join(self.pieces), self.raw)


class _OpenReasoning(_Open):
    __slots__ = ()

    def close(self) -> Part:
        return Reasoning("".join(self.pieces), self.raw)


class _OpenCall(_Open):
    __slots__ = ("id", "name")

    def __init__(self) -> None:
        super().__init__()
        self.id = self.name = ""

    def add(self, event: ToolCallDelta) -> None:
        self.pieces.append(event.arguments)
        self.id = self.id or event.id
        self.name = self.name or event.name
        if event.raw is not None:
            self.raw = event.raw

    def close(self) -> Part:
        return ToolCall(self.id, self.name, "".join(self.pieces), self.raw)


def events_of(message: Message) -> list[Event]:
    """The events of a message that comes all at once; `fold(events_of(m)).parts` has the content of `m.parts`."""
    events: list[Event] = []
    calls = 0
    before: object = None
    for part in message.parts:
        again = type(part) is before
        before = type(part)
        if type(part) is Text:
            if part.text or part.raw is not None:
                events.append(TextDelta(part.text, part.raw, again))
        elif type(part) is Reasoning:
            events.append(ReasoningDelta(part.text, part.raw, again))
        elif type(part) is ToolCall:
            events.append(ToolCallDelta(calls, part.arguments_text, part.id, part.name, part.raw))
            calls += 1
        else:
            events.append(PartDelta(part))
    return events
