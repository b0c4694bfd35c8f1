"""One choice of a stream: its deltas as events, and what it will say when it has ended.

Two habits of the wire are evened out here. Reasoning ends without a sign, so what the provider wants back of it
(`reasoning_details`, the field it came in) goes out once, when something else begins. And some providers number every
parallel tool call 0, so a new id begins a new call.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any

import msgspec

from llamina.events import Event, PartDelta, ReasoningDelta, TextDelta, ToolCallDelta
from llamina.messages import Audio, Part, Text

from ._openai_answers import refusal
from ._openai_parts import REASONING_FIELDS, WIRE, decode_content
from ._raw import packed

__all__ = ["StreamedChoice"]

_CHOICE = frozenset({"index", "delta", "finish_reason"})
_DELTA = frozenset(
    {"role", "content", "tool_calls", "refusal", "audio", "reasoning_content", "reasoning", "reasoning_details"}
)


class StreamedChoice:
    """The state of one choice.

    Attributes:
        events: what came, ready to fold; finish: the provider's finish reason, None before it came.
    """

    __slots__ = (
        "_audio",
        "_begun",
        "_calls",
        "_details",
        "_latest",
        "_message",
        "_refusal",
        "_rest",
        "_thought",
        "events",
        "finish",
    )

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.finish: str | None = None
        self._calls: dict[int, _Call] = {}
        self._begun = 0
        self._latest = 0
        self._refusal: list[str] = []
        self._audio: dict[str, Any] = {}
        self._rest: dict[str, Any] = {}
        self._message: dict[str, Any] = {}
        self._thought: str | None = None
        self._details: list[Any] = []

    def plain(self, choice: Any) -> Event | None:
        """The one event of a plain piece that goes on with what is open; None where more is to be looked at."""
        delta = choice.delta
        text, thought = delta.content, delta.reasoning_content or delta.reasoning
        if (self._thought is None) == bool(thought):
            return None  # a run of reasoning begins or ends
        event: Event
        if delta.tool_calls is not None:
            piece = delta.tool_calls[0]
            call = self._calls.get(piece.index)
            if call is None or piece.id or piece.function.name or text or thought:
                return None
            event = ToolCallDelta(call.index, piece.function.arguments)
        elif thought:
            if text:
                return None
            event = ReasoningDelta(thought)
        elif text:
            event = TextDelta(text)
        else:
            return None
        self.events.append(event)
        return event

    def feed(self, choice: Mapping[str, Any]) -> list[Event]:
        """The events of the choice in one chunk.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: it is no choice.
        """
        new: list[Event] = []
        delta = choice.get("delta") or {}
        if delta:
            self._feed_delta(delta, new)
        if not choice.keys() <= _CHOICE:
            for key, value in choice.items():
                if value is not None and key not in _CHOICE:
                    _join(self._rest, key, value)
        finish = choice.get("finish_reason")
        if finish and self.finish is None:
            new += self.closing()
            self._thought, self._details, self._refusal, self._audio = None, [], [], {}
            self.finish = str(finish)
        self.events += new
        return new

    def _feed_delta(self, delta: Mapping[str, Any], new: list[Event]) -> None:
        for name in REASONING_FIELDS:
            if thought := delta.get(name):
                new.append(ReasoningDelta(_text(thought)))
                self._thought = name
                break
        if details := delta.get("reasoning_details"):
            _join_details(self._details, details)
            self._thought = self._thought or "reasoning"
        content = delta.get("content")
        calls = delta.get("tool_calls")
        if (content or calls) and self._thought is not None:
            new.append(self._end_of_thought())
            self._thought, self._details = None, []
        if content:
            if type(content) is str:
                new.append(TextDelta(content))
            else:
                new += [
                    TextDelta(part.text, part.raw, part.raw is not None) if type(part) is Text else PartDelta(part)
                    for part in _parts(content)
                ]
        new += [self._feed_call(call) for call in calls or ()]
        if piece := delta.get("refusal"):
            self._refusal.append(_text(piece))
        if sound := delta.get("audio"):
            _join_sound(self._audio, sound)
        if not delta.keys() <= _DELTA:
            for key, value in delta.items():
                if value is not None and key not in _DELTA:
                    _join(self._message, key, value)

    def _feed_call(self, piece: Mapping[str, Any]) -> ToolCallDelta:
        number, id_ = piece.get("index"), _text(piece.get("id") or "")
        kind = piece.get("type") or ("custom" if "custom" in piece else "function")
        inner = piece.get(kind) or {}
        name = _text(inner.get("name") or "")
        if number is None:  # without numbers, a piece that has no id goes on with the latest call
            number = self._latest + (1 if id_ and self._calls else 0)
        self._latest = max(self._latest, number)
        call = self._calls.get(number)
        if call is None or (id_ and name and call.id and id_ != call.id):
            call = self._calls[number] = _Call(self._begun)
            self._begun += 1
        word = "input" if kind == "custom" else "arguments"
        raw = {key: value for key, value in piece.items() if key not in ("index", "id", "type", kind)}
        if rest := {key: value for key, value in inner.items() if key not in ("name", word)}:
            raw[kind] = rest
        if kind != "function":
            raw["type"] = kind
        return call.piece(_arguments(inner.get(word)), id_, name, raw)

    def closing(self) -> list[Event]:
        """The events that are due when nothing more comes: the end of the reasoning, a refusal, a sound."""
        events: list[Event] = []
        if self._thought is not None:
            events.append(self._end_of_thought())
        if self._refusal:
            events.append(PartDelta(refusal("".join(self._refusal))))
        if (sound := _sound(self._audio)) is not None:
            events.append(PartDelta(sound))
        return events

    def _end_of_thought(self) -> ReasoningDelta:
        raw: dict[str, Any] = {"field": self._thought}
        if self._details:
            raw["reasoning_details"] = self._details
        return ReasoningDelta("", {WIRE: raw})

    def rest(self) -> dict[str, Any]:
        """What the events do not say, in the shape of the wire: log probabilities, unknown fields."""
        return {**self._rest, "message": dict(self._message)} if self._message else dict(self._rest)


class _Call:
    """A tool call while its pieces come."""

    __slots__ = ("id", "index", "name", "raw")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = self.name = ""
        self.raw: dict[str, Any] = {}

    def piece(self, arguments: str, id_: str, name: str, raw: dict[str, Any]) -> ToolCallDelta:
        """The event for one piece: id, name and further fields only where they are new."""
        id_, name = "" if self.id else id_, "" if self.name else name
        self.id, self.name = self.id or id_, self.name or name
        if raw:
            raw = {**self.raw, **raw}
            raw, self.raw = ({} if raw == self.raw else raw), raw
        return ToolCallDelta(self.index, arguments, id_, name, packed(WIRE, raw))


def _arguments(value: Any) -> str:
    if type(value) is str:
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"text expected, got {type(value).__name__}")
    return value


def _parts(content: Any) -> tuple[Part, ...]:
    parts = decode_content(content)
    if parts is None:
        raise TypeError(f"content expected, got {type(content).__name__}")
    return parts


def _join(target: dict[str, Any], key: str, value: Any) -> None:
    """Lists grow, objects are joined by their keys, of all else the last value holds."""
    known = target.get(key)
    if isinstance(value, list):
        target[key] = [*known, *value] if isinstance(known, list) else list(value)
    elif isinstance(value, dict):
        inner = target[key] = dict(known) if isinstance(known, dict) else {}
        for name, item in value.items():
            if item is not None or name not in inner:
                _join(inner, name, item)
    else:
        target[key] = value


def _join_details(details: list[Any], new: list[Any]) -> None:
    """Pieces of one block of `reasoning_details` make one entry, as in an answer that is not streamed."""
    for piece in new:
        last = details[-1] if details else None
        if isinstance(last, dict) and isinstance(piece, dict) and _same_block(last, piece):
            details[-1] = {**last, **{key: value for key, value in piece.items() if value is not None}}
            for key in ("text", "summary"):
                if isinstance(last.get(key), str) and isinstance(piece.get(key), str):
                    details[-1][key] = last[key] + piece[key]
        else:
            details.append(piece)


def _same_block(one: dict[str, Any], other: dict[str, Any]) -> bool:
    kind = one.get("type")
    return (
        kind in ("reasoning.text", "reasoning.summary")
        and kind == other.get("type")
        and one.get("index") == other.get("index")
        and (one.get("id") or other.get("id")) == (other.get("id") or one.get("id"))
    )


def _join_sound(sound: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for key, value in piece.items():
        if key == "data":
            sound.setdefault(key, []).append(_text(value))
        elif key == "transcript":
            sound[key] = sound.get(key, "") + _text(value)
        else:
            sound[key] = value


def _sound(sound: dict[str, Any]) -> Audio | None:
    if not sound:
        return None
    pieces = sound.get("data", [])
    try:  # each piece is encoded for itself, or the whole was cut after it was encoded
        data = b"".join([b64decode(piece, validate=True) for piece in pieces])
    except ValueError:
        try:
            data = b64decode("".join(pieces), validate=True)
        except ValueError:
            return None
    raw = {key: value for key, value in sound.items() if key not in ("data", "transcript")}
    return Audio(data, transcript=sound.get("transcript"), raw=packed(WIRE, raw))
