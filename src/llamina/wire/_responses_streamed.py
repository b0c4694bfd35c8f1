"""Items of a stream of the Responses wire: their pieces as events, and what is still due when an item is done.

The wire says everything several times: a delta, then the whole text, the whole part, the whole item, the whole answer.
What was not streamed in pieces is delivered from the first whole that comes; what belongs to a part (annotations, the
item's id) goes out when nothing can change it any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamina.events import Event, PartDelta, ReasoningDelta, TextDelta, ToolCallDelta
from llamina.messages import Part, Reasoning, Text, ToolCall

from ._raw import packed
from ._responses_items import APART, CALLS, content_part, decode_item
from ._responses_parts import WIRE, kind_of

__all__ = ["StreamedItem", "StreamedOutput"]


class StreamedItem:
    """One item while it comes.

    Attributes:
        item: the item as it was last said; parts: its content by index, for a message; open: those not at their end.
    """

    __slots__ = ("begun", "call", "done", "item", "keys", "open", "parts", "sent")

    def __init__(self, item: Mapping[str, Any]) -> None:
        self.item = item
        self.parts: dict[int, StreamedPart] = {}
        self.open: dict[int, StreamedPart] = {}
        self.sent: list[str] = []
        self.keys: set[Any] = set()
        self.call: int | None = None
        self.begun = False
        self.done = False


class StreamedPart:
    """One part of a message's content while it comes."""

    __slots__ = ("annotations", "closed", "index", "owner", "pieces", "place", "refusal", "whole")

    def __init__(self, owner: StreamedItem, place: int, index: int) -> None:
        self.owner = owner
        self.place = place
        self.index = index
        self.pieces: list[str] = []
        self.refusal: list[str] = []
        self.annotations: list[Any] = []
        self.whole: Mapping[str, Any] | None = None
        self.closed = False

    def said(self) -> dict[str, Any]:
        """The part as far as it was said."""
        if self.whole is not None:
            return dict(self.whole)
        if self.refusal:
            return {"type": "refusal", "refusal": "".join(self.refusal)}
        return {"type": "output_text", "text": "".join(self.pieces), "annotations": list(self.annotations)}


class StreamedOutput:
    """The output of one stream.

    Attributes:
        events: what was delivered, ready to fold.
        open: the text part that pieces go on with, None where another thing began since.
    """

    __slots__ = ("_calls", "_items", "_last", "events", "open")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.open: StreamedPart | None = None
        self._items: dict[int, StreamedItem] = {}
        self._calls = 0
        self._last: type[Part] | None = None

    def _item(self, place: int, kind: str) -> StreamedItem:
        item = self._items.get(place)
        if item is None:
            item = self._items[place] = StreamedItem({"type": kind})
        return item

    def _begin(self, kind: type[Part], keep: StreamedPart | None = None) -> bool:
        """Something of *kind* begins a part; whether it follows one of its kind."""
        before = self.open
        if before is not None and before is not keep:
            self._close(before, goes_on=keep is not None and keep.owner is before.owner)
        self.open = keep
        again = self._last is kind
        self._last = kind
        return again

    def added(self, place: int, item: Mapping[str, Any]) -> None:
        """An item begins."""
        state = self._items.get(place)
        if state is None:
            state = self._items[place] = StreamedItem(item)
        else:
            state.item = item
        name, call_id = item.get("name"), item.get("call_id")
        if kind_of(item) in CALLS and state.call is None and isinstance(name, str) and isinstance(call_id, str):
            known = {key: item[key] for key in ("id",) if key in item}
            if item["type"] != "function_call":
                known["type"] = item["type"]
            self._begin_call(state, ToolCall(call_id, name, raw=packed(WIRE, known)))

    def _begin_call(self, state: StreamedItem, call: ToolCall) -> None:
        self._begin(ToolCall)
        state.call, state.begun = self._calls, True
        self._calls += 1
        self.events.append(ToolCallDelta(state.call, "", call.id, call.name, call.raw))

    def part(self, place: int, index: int) -> StreamedPart:
        """A part of a message; those before it are at their end."""
        if not isinstance(index, int):
            raise TypeError(index)
        owner = self._item(place, "message")
        part = owner.parts.get(index)
        if part is None:
            for earlier in list(owner.open.values()):
                if earlier.index < index:
                    self._close(earlier, goes_on=True)
            part = owner.parts[index] = owner.open[index] = StreamedPart(owner, place, index)
        return part

    def text(self, place: int, index: int, piece: str) -> None:
        """A piece of text."""
        part = self.part(place, index)
        again = self.open is not part and self._begin(Text, keep=part)
        part.owner.begun = True
        part.pieces.append(piece)
        self.events.append(TextDelta(piece, None, again))

    def whole_text(self, place: int, index: int, text: str) -> None:
        """The whole text of a part: what of it was not streamed."""
        part = self.part(place, index)
        rest = _rest("".join(part.pieces), text)
        if rest and not part.closed:
            self.text(place, index, rest)

    def arguments(self, place: int, piece: str) -> None:
        """A piece of what the model wrote for a tool."""
        state = self._items.get(place)
        if state is None or state.call is None:
            # Of an item that never began: the whole comes with its end.
            return
        state.sent.append(piece)
        self.events.append(ToolCallDelta(state.call, piece))

    def whole_arguments(self, place: int, text: str) -> None:
        """All that the model wrote for a tool: what of it was not streamed."""
        state = self._items.get(place)
        rest = "" if state is None else _rest("".join(state.sent), text)
        if rest:
            self.arguments(place, rest)

    def thought(self, place: int, key: Any, piece: str) -> None:
        """A piece of reasoning; *key* says which text of the item it belongs to."""
        state = self._item(place, "reasoning")
        again = False
        if not state.begun:
            again = self._begin(Reasoning)
            state.begun = True
        elif key not in state.keys:
            piece = APART + piece
        state.keys.add(key)
        state.sent.append(piece)
        self.events.append(ReasoningDelta(piece, None, again))

    def whole_thought(self, place: int, key: Any, text: str) -> None:
        """The whole of one text of reasoning, where it did not come in pieces."""
        if text and key not in self._item(place, "reasoning").keys:
            self.thought(place, key, text)

    def done(self, place: int, item: Mapping[str, Any]) -> None:
        """An item is whole: what is due of it goes out."""
        state = self._items.get(place)
        if state is None:
            state = self._items[place] = StreamedItem(item)
        if state.done:
            return
        state.done, state.item = True, item
        kind = kind_of(item)
        if kind == "message" and (state.parts or state.begun):
            self._finish_message(state, place, item)
            return
        for part in decode_item(item):
            if type(part) is ToolCall:
                self._finish_call(state, part)
            elif type(part) is Reasoning:
                self._finish_thought(state, part)
            elif type(part) is Text:
                self.events.append(TextDelta(part.text, part.raw, self._begin(Text)))
            elif not state.begun:
                self._begin(type(part))
                self.events.append(PartDelta(part))
            state.begun = state.begun or kind != "message"

    def _finish_message(self, state: StreamedItem, place: int, item: Mapping[str, Any]) -> None:
        content = item.get("content")
        for index, piece in enumerate(content if isinstance(content, list | tuple) else ()):
            if isinstance(piece, Mapping):
                self.part(place, index).whole = piece
        last = max(state.parts)
        for index in sorted(state.parts):
            self._close(state.parts[index], goes_on=index != last)

    def _finish_call(self, state: StreamedItem, call: ToolCall) -> None:
        if state.call is None:
            self._begin_call(state, call)
        assert state.call is not None
        rest = _rest("".join(state.sent), call.arguments_text)
        if rest or call.raw is not None:
            self.events.append(ToolCallDelta(state.call, rest, raw=call.raw))

    def _finish_thought(self, state: StreamedItem, thought: Reasoning) -> None:
        again = False if state.begun else self._begin(Reasoning)
        self.events.append(ReasoningDelta(_rest("".join(state.sent), thought.text), thought.raw, again))

    def _close(self, part: StreamedPart, *, goes_on: bool) -> None:
        """What is due of a part of a message; it goes on with another part, or its item ends with it."""
        if part.closed:
            return
        part.closed = True
        del part.owner.open[part.index]
        item = part.owner.item
        fields = {key: value for key, value in item.items() if key not in ("type", "role", "content")}
        said = part.said()
        typed = content_part(said, None if goes_on else fields)
        if type(typed) is Text:
            again = self.open is not part and self._begin(Text, keep=part)
            rest = _rest("".join(part.pieces), typed.text)
            self.events.append(TextDelta(rest, typed.raw, again))
        else:
            self._begin(type(typed), keep=part)
            self.events.append(PartDelta(typed))
        if self.open is part:
            self.open = None

    def finish(self, output: Any) -> None:
        """The answer is whole: items that were not, are now."""
        for place, item in enumerate(output if isinstance(output, list | tuple) else ()):
            if isinstance(item, Mapping):
                self.done(place, item)
        for place, state in self._items.items():
            if not state.done:
                self.done(place, {**state.item, **({"content": []} if state.parts else {})})


def _rest(sent: str, whole: str) -> str:
    """What of *whole* was not sent; nothing where it is another text, for what was sent cannot be taken back."""
    return whole[len(sent) :] if whole.startswith(sent) else ""
