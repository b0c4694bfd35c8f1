"""What a server says of one item while it comes: added, in pieces, whole, done.

The same is said several times, as the clients of this wire expect: the official SDK looks for each item, and for each
part of a message, before it takes a piece of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamina.events import ReasoningDelta, ToolCallDelta
from llamina.messages import ToolCall

from ._raw import further
from ._responses_answers import made_id
from ._responses_items import CALLS, encode_call
from ._responses_parts import WIRE, kind_of

__all__ = ["SaidCall", "SaidMessage", "SaidThought", "ServerEvents"]

_TEXTS = {"output_text": "text", "refusal": "refusal"}
_WORDS = {"function_call": "function_call_arguments", "custom_tool_call": "custom_tool_call_input"}


class ServerEvents:
    """Numbers the server events of one stream, and keeps its items.

    Attributes:
        items: as they were last said, by their place in the answer.
    """

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self._number = 0

    def say(self, kind: str, **fields: Any) -> dict[str, Any]:
        """One server event, numbered."""
        self._number += 1
        return {"type": f"response.{kind}", "sequence_number": self._number - 1, **fields}

    def add(self, item: dict[str, Any], kind: str) -> tuple[int, dict[str, Any]]:
        """The place of a new item, and the event that adds it."""
        place = len(self.items)
        if not item.get("id") and kind in (*CALLS, "message", "reasoning"):
            item["id"] = made_id(kind, place)
        self.items.append(item)
        return place, self.say("output_item.added", output_index=place, item=item)

    def done(self, place: int, item: dict[str, Any]) -> dict[str, Any]:
        """The event that ends an item; it keeps the id that it was added with."""
        if "id" in self.items[place]:
            item["id"] = self.items[place]["id"]
        self.items[place] = item
        return self.say("output_item.done", output_index=place, item=item)


class SaidMessage:
    """A message item while its parts are said."""

    def __init__(self, out: ServerEvents) -> None:
        self._out = out
        self._place: int | None = None
        self._id = ""
        self._content: list[dict[str, Any]] = []
        self._open: dict[str, Any] | None = None
        self.ended = False

    def piece(
        self, piece: dict[str, Any], fields: Mapping[str, Any], *, whole: bool, new: bool
    ) -> list[dict[str, Any]]:
        """The events for a piece; *whole* where it ends its part, of which *fields* are the rest."""
        said: list[dict[str, Any]] = []
        item = fields.get("item")
        if self._place is None:
            self._id = str(item.get("id") or "") if isinstance(item, Mapping) else ""
            empty: dict[str, Any] = {
                "id": self._id,
                "type": "message",
                "status": "in_progress",
                "role": "assistant",
                "content": [],
            }
            self._place, added = self._out.add(empty, "message")
            self._id = empty["id"]
            said.append(added)
        if new and self._open is not None:
            said += self._end_part({})
        word = _TEXTS.get(kind_of(piece))
        if word is not None and not isinstance(piece.get(word), str):  # an odd form: it is said whole
            word = None
        if self._open is None:
            self._open = {**piece, word: ""} if word else piece
            said.append(self._say("content_part.added", part=dict(self._open)))
        if word and piece[word]:
            self._open[word] += piece[word]
            with_it: dict[str, Any] = {"logprobs": []} if word == "text" else {}
            said.append(self._say(f"{piece['type']}.delta", delta=piece[word], **with_it))
        if whole:
            said += self._end_part({key: value for key, value in fields.items() if key != "item"})
        if isinstance(item, Mapping):
            said += self.close(item)
        return said

    def _say(self, kind: str, **fields: Any) -> dict[str, Any]:
        place = {"item_id": self._id, "output_index": self._place, "content_index": len(self._content)}
        return self._out.say(kind, **place, **fields)

    def _end_part(self, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
        part, self._open = {**(self._open or {}), **fields}, None
        said = []
        word = _TEXTS.get(kind_of(part))
        if word is not None and isinstance(part.get(word), str):
            with_it = {"logprobs": part.get("logprobs") or []} if word == "text" else {}
            said.append(self._say(f"{part['type']}.done", **{word: part[word]}, **with_it))
        said.append(self._say("content_part.done", part=part))
        self._content.append(part)
        return said

    def close(self, item: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The events that end the item; *item* are its further fields."""
        self.ended = True
        said = self._end_part({}) if self._open is not None else []
        fields = {"status": "completed"} if item is None else item
        whole = {**fields, "id": self._id, "type": "message", "role": "assistant", "content": self._content}
        assert self._place is not None
        return [*said, self._out.done(self._place, whole)]


class SaidThought:
    """A reasoning item while its text is said, as a summary."""

    def __init__(self, out: ServerEvents) -> None:
        self._out = out
        self._place: int | None = None
        self._id = ""
        self._pieces: list[str] = []
        self._raw: Mapping[str, Any] = {}

    def piece(self, event: ReasoningDelta) -> list[dict[str, Any]]:
        """The events for a piece."""
        said: list[dict[str, Any]] = []
        self._raw = further(event, WIRE)
        if self._place is None:
            empty: dict[str, Any] = {"id": self._raw.get("id") or "", "type": "reasoning", "summary": []}
            self._place, added = self._out.add(empty, "reasoning")
            self._id = empty["id"]
            said.append(added)
        if event.reasoning:
            if not self._pieces:
                said.append(self._say("reasoning_summary_part.added", part={"type": "summary_text", "text": ""}))
            self._pieces.append(event.reasoning)
            said.append(self._say("reasoning_summary_text.delta", delta=event.reasoning))
        return said

    def _say(self, kind: str, **fields: Any) -> dict[str, Any]:
        return self._out.say(kind, item_id=self._id, output_index=self._place, summary_index=0, **fields)

    def close(self) -> list[dict[str, Any]]:
        """The events that end the item."""
        text = "".join(self._pieces)
        summary = [{"type": "summary_text", "text": text}] if text else []
        said = []
        if text:
            said.append(self._say("reasoning_summary_text.done", text=text))
            said.append(self._say("reasoning_summary_part.done", part=summary[0]))
        assert self._place is not None
        item = {"summary": summary, **self._raw, "type": "reasoning"}
        return [*said, self._out.done(self._place, item)]


class SaidCall:
    """A tool call while what the model writes for it is said."""

    def __init__(self, out: ServerEvents, event: ToolCallDelta) -> None:
        self._out = out
        self._call = ToolCall(event.id, event.name, "", event.raw)
        self._pieces: list[str] = []
        item = {"status": "in_progress", **encode_call(self._call)}
        self._kind = str(item["type"])
        self._place, added = out.add(item, self._kind)
        self._added = [added]
        self._id = str(item["id"])

    def piece(self, event: ToolCallDelta) -> list[dict[str, Any]]:
        """The events for a piece."""
        said, self._added = self._added, []
        if event.raw is not None:
            self._call = ToolCall(self._call.id, self._call.name, "", event.raw)
        if event.arguments:
            self._pieces.append(event.arguments)
            said.append(self._say("delta", delta=event.arguments))
        return said

    def _say(self, kind: str, **fields: Any) -> dict[str, Any]:
        return self._out.say(f"{_WORDS[self._kind]}.{kind}", item_id=self._id, output_index=self._place, **fields)

    def close(self) -> list[dict[str, Any]]:
        """The events that end the item."""
        written = "".join(self._pieces)
        item = {"status": "completed", **encode_call(self._call), "type": self._kind, CALLS[self._kind]: written}
        return [self._say("done", **{CALLS[self._kind]: written}), self._out.done(self._place, item)]
