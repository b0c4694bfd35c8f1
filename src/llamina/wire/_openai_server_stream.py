"""Speaking the chat-completions stream: events as chunks, for servers and for simulated providers."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from llamina.errors import InvalidRequestError
from llamina.events import Event, PartDelta, ReasoningDelta, TextDelta, ToolCallDelta
from llamina.messages import Audio, ToolCall, UnknownPart
from llamina.protocol import Response

from ._openai_answers import encode_usage, further_fields, wire_finish
from ._openai_parts import WIRE, encode_part, encode_tool_call
from ._raw import further

__all__ = ["StreamEncoder"]


class StreamEncoder:
    """Makes the chunks of one stream: `start`, then `event` for each, then `finish`; the server adds `[DONE]`.

    Args:
        id, model: of the answer, repeated in every chunk; created: seconds of the epoch.
        include_usage: whether the client asked for the tokens in a last chunk.
    """

    def __init__(self, id: str, model: str, include_usage: bool, *, created: int = 0) -> None:  # noqa: A002, FBT001
        self._head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._include_usage = include_usage

    def _chunk(self, delta: Mapping[str, Any], *, finish: str | None = None, index: int = 0) -> dict[str, Any]:
        return {**self._head, "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}

    def start(self) -> list[dict[str, Any]]:
        """The chunk that says that the provider answers."""
        return [self._chunk({"role": "assistant", "content": ""})]

    def event(self, event: Event) -> list[dict[str, Any]]:
        """The chunks for one event; none for what is no content."""
        if type(event) is TextDelta:
            return [self._chunk({"content": event.text})]
        if type(event) is ReasoningDelta:
            delta = _reasoning(event)
            return [self._chunk(delta)] if delta else []  # the end of a thought, of which nothing else is to be said
        if type(event) is ToolCallDelta:
            return [self._chunk({"tool_calls": [_tool_call(event)]})]
        if type(event) is PartDelta:
            delta = _part(event)
            return [self._chunk(delta)] if delta else []
        return []

    def finish(self, response: Response) -> list[dict[str, Any]]:
        """The chunks at the end: further choices, the finish reason, and the tokens where they were asked for."""
        extra = further_fields(response)
        given = extra.pop("choices", None)
        choices = [_mapping(choice) for choice in given] if isinstance(given, list | tuple) and given else [{}]
        chunks = []
        for place, choice in enumerate(choices[1:], 1):
            message, finish = _mapping(choice.get("message")), choice.get("finish_reason")
            chunks.append(self._chunk(message, finish=finish, index=choice.get("index", place)))
        last = self._chunk(_mapping(choices[0].get("message")), finish=wire_finish(response) or "stop")
        rest = {key: value for key, value in choices[0].items() if key not in ("message", "index")}
        last["choices"][0].update(rest)
        # An answer that came whole says of itself that it is one; a chunk is a chunk.
        last = {**extra, **last, "created": extra.get("created", self._head["created"])}
        chunks.append(last)
        if self._include_usage and response.usage is not None:
            chunks.append({**self._head, "choices": [], "usage": encode_usage(response.usage)})
        return chunks


def _mapping(value: Any) -> Mapping[str, Any]:
    """*value* where it is one; what came in another form has no place in a chunk."""
    return value if isinstance(value, Mapping) else {}


def _reasoning(event: ReasoningDelta) -> dict[str, Any]:
    raw = further(event, WIRE)
    delta = {key: value for key, value in raw.items() if key != "field"}
    name = raw.get("field", "reasoning_content")
    return {**delta, name: event.reasoning} if event.reasoning else delta


def _tool_call(event: ToolCallDelta) -> dict[str, Any]:
    call = encode_tool_call(ToolCall(event.id, event.name, event.arguments, event.raw))
    inner = call[call["type"]]
    if not event.name:
        del inner["name"]
    if not event.id:  # a further piece repeats neither the id nor the type
        del call["id"]
        if call["type"] == "function":
            del call["type"]
    return {"index": event.index, **call}


def _part(event: PartDelta) -> dict[str, Any]:
    part = event.part
    if type(part) is UnknownPart and isinstance(part.raw, Mapping) and part.raw.get("type") == "refusal":
        return {"refusal": part.raw.get("refusal")}
    if type(part) is Audio and part.data is not None:
        return {"audio": {**further(part, WIRE), "data": b64encode(part.data).decode(), "transcript": part.transcript}}
    try:
        return {"content": [encode_part(part)]}
    except InvalidRequestError:  # of another wire: what cannot be said here is left out
        return {}
