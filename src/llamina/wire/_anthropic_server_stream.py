"""Speaking Anthropic's stream: events as the events of the wire, for servers and for simulated providers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamina.errors import InvalidRequestError
from llamina.events import Event, PartDelta, ReasoningDelta, TextDelta, ToolCallDelta
from llamina.messages import Reasoning, Usage
from llamina.protocol import Response

from ._anthropic_answers import further_fields, wire_stop
from ._anthropic_blocks import WIRE, compact, encode_block, is_redacted
from ._anthropic_usage import encode_usage
from ._raw import further

__all__ = ["StreamEncoder"]

_Payloads = list[dict[str, Any]]
_MISSING = object()


class StreamEncoder:
    """Makes the payloads of one stream: `start`, then `event` for each, then `finish`. Each says its type.

    Args:
        id, model: of the answer.
        include_usage: whether the account is said, first with what is known at the start and last with the whole.
        created: this wire says no time; it is not looked at.
    """

    def __init__(self, id: str, model: str, include_usage: bool, *, created: int = 0) -> None:  # noqa: A002, ARG002, FBT001
        self._head = {"id": id, "type": "message", "role": "assistant", "model": model}
        self._include_usage = include_usage
        self._next = 0
        self._kind: str | None = None
        self._calls: dict[int, int] = {}
        # Blocks that are not stopped, and whether they are said; calls may come side by side.
        self._open: dict[int, bool] = {}

    def start(self, usage: Usage | None = None) -> _Payloads:
        """The event that says that the provider answers, with what it knows of the account by then."""
        message: dict[str, Any] = {**self._head, "content": [], "stop_reason": None, "stop_sequence": None}
        if self._include_usage:
            message["usage"] = {"input_tokens": 0, "output_tokens": 0} if usage is None else encode_usage(usage)
        return [{"type": "message_start", "message": message}]

    def event(self, event: Event) -> _Payloads:
        """The events of the wire for one event; none for what is no content."""
        if type(event) is TextDelta:
            return self._text(event)
        if type(event) is ReasoningDelta:
            return self._thought(event)
        if type(event) is ToolCallDelta:
            return self._tool_call(event)
        if type(event) is PartDelta:
            return self._part(event)
        return []

    def finish(self, response: Response) -> _Payloads:
        """The events at the end: why it stopped, the account, and what else the provider said."""
        delta = {"stop_reason": wire_stop(response) or "end_turn", "stop_sequence": None, **further_fields(response)}
        last: dict[str, Any] = {"type": "message_delta", "delta": delta}
        if self._include_usage and response.usage is not None:
            last["usage"] = encode_usage(response.usage)
        return [*self._stop(), last, {"type": "message_stop"}]

    def _begin(self, kind: str, block: Mapping[str, Any]) -> _Payloads:
        ended = self._stop(but_calls=kind == "tool_use")
        self._kind = kind
        self._open[self._next] = kind != "tool_use"
        self._next += 1
        return [*ended, {"type": "content_block_start", "index": self._next - 1, "content_block": dict(block)}]

    def _stop(self, *, but_calls: bool = False) -> _Payloads:
        """End what is open; with *but_calls* not the calls whose arguments are still to come."""
        ended = [index for index, said in self._open.items() if said or not but_calls]
        for index in ended:
            del self._open[index]
        self._kind = None
        return [{"type": "content_block_stop", "index": index} for index in ended]

    def _delta(self, kind: str, index: int | None = None, /, **fields: Any) -> dict[str, Any]:
        place = self._next - 1 if index is None else index
        return {"type": "content_block_delta", "index": place, "delta": {**fields, "type": kind}}

    def _text(self, event: TextDelta) -> _Payloads:
        payloads: _Payloads = []
        raw = dict(further(event, WIRE))
        citations = raw.pop("citations", _MISSING)
        if self._kind != "text" or event.new:
            if citations is not _MISSING:  # they come one by one
                raw["citations"] = None if citations is None else []
            payloads += self._begin("text", {**raw, "type": "text", "text": ""})
            raw = {}
        if event.text:
            payloads.append(self._delta("text_delta", text=event.text))
        if isinstance(citations, list | tuple):
            payloads += [self._delta("citations_delta", citation=citation) for citation in citations]
        return [*payloads, *self._late(raw), *(self._stop() if event.raw is not None else ())]

    def _thought(self, event: ReasoningDelta) -> _Payloads:
        fields = dict(further(event, WIRE))
        if is_redacted(Reasoning("", event.raw)):
            return [*self._begin("redacted_thinking", fields), *self._stop()]
        payloads: _Payloads = []
        signature = fields.pop("signature", None)
        if self._kind != "thinking" or event.new:
            payloads += self._begin("thinking", {**fields, "type": "thinking", "thinking": "", "signature": ""})
            fields = {}
        if event.reasoning:
            payloads.append(self._delta("thinking_delta", thinking=event.reasoning))
        if signature:
            payloads.append(self._delta("signature_delta", signature=signature))
        return [*payloads, *self._late(fields), *(self._stop() if event.raw is not None else ())]

    def _tool_call(self, event: ToolCallDelta) -> _Payloads:
        payloads: _Payloads = []
        raw = dict(further(event, WIRE))
        place = self._calls.get(event.index)
        if place is None:
            block = {**raw, "type": "tool_use", "id": event.id, "name": event.name, "input": {}}
            payloads += self._begin("tool_use", block)
            place = self._calls[event.index] = self._next - 1
            raw = {}
        if event.arguments:
            if place in self._open:
                self._open[place] = True
            payloads.append(self._delta("input_json_delta", place, partial_json=event.arguments))
        return [*payloads, *self._late(raw, place)]

    def _late(self, fields: Mapping[str, Any], place: int | None = None) -> _Payloads:
        """Fields of a block that has begun without them."""
        return [self._delta(f"{key}_delta", place, **{key: value}) for key, value in fields.items()]

    def _part(self, event: PartDelta) -> _Payloads:
        try:
            block = encode_block(event.part)
        except InvalidRequestError:  # of another wire: what cannot be said here is left out
            return []
        if block.keys() == {"type", "text"} and block["type"] == "text":
            return self._text(TextDelta(block["text"], new=True))
        given = block.get("input")
        if not isinstance(given, Mapping) or not given:
            return [*self._begin("part", block), *self._stop()]
        pieces = [
            *self._begin("part", {**block, "input": {}}),
            self._delta("input_json_delta", partial_json=compact(given)),
        ]
        return [*pieces, *self._stop()]
