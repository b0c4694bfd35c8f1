"""One block of a stream while it comes: its deltas as events, and what is still to say when it ends.

Text, thoughts and arguments go out at once. What belongs to a whole block (a signature, citations, a further field) and
blocks without a type here go out when the block ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llamina.events import Event, PartDelta, ReasoningDelta, TextDelta, ToolCallDelta

from ._anthropic_arguments import CompactJson
from ._anthropic_blocks import WIRE, compact, decode_block

__all__ = ["Call", "Delta", "JsonDelta", "OpenBlock", "TextPiece", "ThoughtPiece", "kind_of", "open_block"]


class TextPiece(msgspec.Struct, tag_field="type", tag="text_delta", forbid_unknown_fields=True, gc=False):
    """A delta of text and nothing else."""

    text: str


class ThoughtPiece(msgspec.Struct, tag_field="type", tag="thinking_delta", forbid_unknown_fields=True, gc=False):
    """A delta of a thought and nothing else."""

    thinking: str


class JsonDelta(msgspec.Struct, tag_field="type", tag="input_json_delta", forbid_unknown_fields=True, gc=False):
    """A delta of arguments and nothing else."""

    partial_json: str


Delta = TextPiece | ThoughtPiece | JsonDelta


class OpenBlock:
    """A block that llamina has no type for: it is one event when it ends.

    Attributes:
        index: of the wire; closed: whether it has ended; free: whether its events need not wait for blocks before it;
        pending: the events that wait.
    """

    __slots__ = ("_citations", "_fields", "_json", "closed", "free", "index", "pending")

    def __init__(self, index: int, fields: Mapping[str, Any]) -> None:
        self.index = index
        self.closed = False
        self.free = False
        self.pending: list[Event] = []
        self._fields = dict(fields)
        self._citations: list[Any] = []
        self._json: list[str] = []

    def start(self) -> list[Event]:
        """The events of its beginning."""
        return []

    def plain(self, delta: Delta) -> list[Event] | None:  # noqa: ARG002
        """The events of a plain delta that goes on with what has begun; None where more is to be looked at."""
        return None

    def feed(self, delta: Mapping[str, Any]) -> list[Event]:
        """The events of one delta.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: it is no delta.
        """
        kind = delta.get("type")
        if kind == "input_json_delta":
            self._json.append(_text(delta["partial_json"]))
        elif kind == "citations_delta":
            self._citations.append(delta["citation"])
        else:
            self._keep(delta)
        return []

    def _keep(self, delta: Mapping[str, Any]) -> None:
        """Join what an unknown delta says to the fields of the block."""
        said = {key: value for key, value in delta.items() if key != "type"}
        if self._typed.isdisjoint(said):
            for key, value in said.items():
                before = self._fields.get(key)
                joins = type(before) is type(value) and isinstance(value, str | list)
                self._fields[key] = before + value if joins else value
        else:  # a known name with an unknown meaning
            kind = str(delta.get("type"))
            self._fields[kind] = [*self._fields.get(kind, ()), said]

    def _said(self) -> dict[str, Any]:
        """The fields of the block as far as they came."""
        if not self._citations:
            return self._fields
        return {**self._fields, "citations": [*(self._fields.get("citations") or ()), *self._citations]}

    _typed: frozenset[str] = frozenset()

    def closing(self, *, cut: bool = False) -> list[Event]:  # noqa: ARG002
        """What is to say at its end; with *cut* it ended too early."""
        fields = self._said()
        if self._json:
            text = "".join(self._json)
            try:
                fields = {**fields, "input": msgspec.json.decode(text or "{}")}
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                fields = {**fields, "input": text}
        return [PartDelta(decode_block(fields))]


class _OpenText(OpenBlock):
    __slots__ = ("_begun", "_new")
    _typed = frozenset({"text"})

    def __init__(self, index: int, fields: Mapping[str, Any], *, new: bool) -> None:
        super().__init__(index, fields)
        self._begun = False
        self._new = new

    def start(self) -> list[Event]:
        return self._piece(self._fields.pop("text"))

    def plain(self, delta: Delta) -> list[Event] | None:
        return [TextDelta(delta.text)] if type(delta) is TextPiece and self._begun and delta.text else None

    def feed(self, delta: Mapping[str, Any]) -> list[Event]:
        return self._piece(_text(delta["text"])) if delta.get("type") == "text_delta" else super().feed(delta)

    def _piece(self, text: str) -> list[Event]:
        if not text:
            return []
        event = TextDelta(text, new=self._new and not self._begun)
        self._begun = True
        return [event]

    def closing(self, *, cut: bool = False) -> list[Event]:
        rest = {key: value for key, value in self._said().items() if key != "type"}
        if rest or not (self._begun or cut):
            return [TextDelta("", {WIRE: rest}, self._new and not self._begun)]
        return []


class _OpenThought(OpenBlock):
    __slots__ = ("_begun", "_new", "_redacted")
    _typed = frozenset({"thinking"})

    def __init__(self, index: int, fields: Mapping[str, Any], *, new: bool) -> None:
        super().__init__(index, fields)
        self._begun = False
        self._new = new
        self._redacted = fields["type"] == "redacted_thinking"

    def start(self) -> list[Event]:
        return [] if self._redacted else self._piece(self._fields.pop("thinking"))

    def plain(self, delta: Delta) -> list[Event] | None:
        if type(delta) is ThoughtPiece and self._begun and delta.thinking:
            return [ReasoningDelta(delta.thinking)]
        return None

    def feed(self, delta: Mapping[str, Any]) -> list[Event]:
        kind = delta.get("type")
        if kind == "thinking_delta":
            return self._piece(_text(delta["thinking"]))
        if kind == "signature_delta":
            self._fields["signature"] = delta["signature"]
            return []
        return super().feed(delta)

    def _piece(self, thought: str) -> list[Event]:
        if not thought:
            return []
        event = ReasoningDelta(thought, new=self._new and not self._begun)
        self._begun = True
        return [event]

    def closing(self, *, cut: bool = False) -> list[Event]:  # noqa: ARG002
        rest = {key: value for key, value in self._said().items() if self._redacted or key != "type"}
        return [ReasoningDelta("", {WIRE: rest}, self._new and not self._begun)]


class Call(OpenBlock):
    """A call of a tool; *number* counts the calls of the answer."""

    __slots__ = ("_given", "_id", "_name", "_number", "_some", "_written")
    _typed = frozenset({"id", "name", "input"})

    def __init__(self, index: int, fields: Mapping[str, Any], number: int) -> None:
        super().__init__(index, fields)
        self._number = number
        self._id, self._name, self._given = (self._fields.pop(key) for key in ("id", "name", "input"))
        self._written = CompactJson()
        self._some = False

    def start(self) -> list[Event]:
        return [ToolCallDelta(self._number, "", self._id, self._name)]

    def plain(self, delta: Delta) -> list[Event] | None:
        if type(delta) is not JsonDelta or not self._some:
            return None
        said = self._written.feed(delta.partial_json)
        return [ToolCallDelta(self._number, said)] if said else []

    def feed(self, delta: Mapping[str, Any]) -> list[Event]:
        if delta.get("type") != "input_json_delta":
            return super().feed(delta)
        piece = _text(delta["partial_json"])
        self._some = self._some or bool(piece)
        said = self._written.feed(piece)
        return [ToolCallDelta(self._number, said)] if said else []

    def closing(self, *, cut: bool = False) -> list[Event]:
        text = self._written.end()
        if not self._some and not cut:
            text = compact(self._given)
        raw = {key: value for key, value in self._said().items() if key != "type"}
        return [ToolCallDelta(self._number, text, raw={WIRE: raw} if raw else None)] if text or raw else []


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def kind_of(block: Mapping[str, Any]) -> str:
    """The kind of part that a block begins: "text", "reasoning", "call", or "other" where its form is odd."""
    kind = block.get("type")
    if kind == "text" and type(block.get("text")) is str:
        return "text"
    if kind == "redacted_thinking" or (kind == "thinking" and type(block.get("thinking")) is str):
        return "reasoning"
    if kind == "tool_use" and type(block.get("id")) is str and type(block.get("name")) is str:
        return "call" if isinstance(block.get("input"), dict) else "other"
    return "other"


def open_block(index: int, block: Mapping[str, Any], *, new: bool, number: int) -> OpenBlock:
    """Begin a block.

    Args:
        index: of the wire; block: as it begins; new: whether the part before it is of the same kind; number: of the
            tool calls before it.
    """
    kind = kind_of(block)
    if kind == "text":
        return _OpenText(index, block, new=new)
    if kind == "reasoning":
        return _OpenThought(index, block, new=new)
    return Call(index, block, number) if kind == "call" else OpenBlock(index, block)
