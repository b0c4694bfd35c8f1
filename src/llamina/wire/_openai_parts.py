"""Parts of messages on the chat-completions wire: text, images, sounds, files, tool calls, reasoning.

A part is read as a typed one only where writing it back gives the same JSON; otherwise it stays an `UnknownPart`. So
nothing that a caller or a provider said is lost, whatever dialect it is in.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import msgspec

from llamina.errors import InvalidRequestError
from llamina.messages import Audio, File, Image, Part, Reasoning, Text, ToolCall, UnknownPart

from ._raw import further, packed, verbatim

__all__ = [
    "REASONING_FIELDS",
    "WIRE",
    "add_reasoning",
    "decode_content",
    "decode_reasoning",
    "decode_tool_call",
    "decode_tool_calls",
    "encode_part",
    "encode_tool_call",
]

WIRE = "chat"
"""The entry of the raw slots that is this wire's."""

REASONING_FIELDS = ("reasoning_content", "reasoning")
"""Where providers put reasoning; the first that holds text counts."""

_AUDIO_FORMATS = {"audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/x-wav": "wav", "audio/wave": "wav"}
_AUDIO_TYPES = {"mp3": "audio/mpeg"}


def encode_part(part: Part) -> dict[str, Any]:
    """A part of `content`.

    Raises:
        InvalidRequestError: this wire cannot say it; the message names the part and what is wrong.
    """
    if type(part) is Text:
        return {**further(part, WIRE), "type": "text", "text": part.text}
    if type(part) is UnknownPart:
        if part.wire == "responses" and isinstance(part.raw, Mapping) and part.raw.get("type") == "refusal":
            # OpenAI says a refusal in the same words on both of its wires.
            return {"type": "refusal", "refusal": part.raw.get("refusal")}
        return verbatim(part, WIRE)
    if type(part) is Image:
        image: dict[str, Any] = {"url": _address(part)}
        if part.detail is not None:
            image["detail"] = part.detail
        return {**further(part, WIRE), "type": "image_url", "image_url": image}
    if type(part) is Audio:
        return {**further(part, WIRE), "type": "input_audio", "input_audio": _sound(part)}
    if type(part) is File:
        return {**further(part, WIRE), "type": "file", "file": _document(part)}
    raise InvalidRequestError(f"the chat wire cannot say a {type(part).__name__} at this place")


def _address(part: Image | File) -> str:
    if part.data is not None:
        if not part.media_type:
            kind = type(part).__name__
            raise InvalidRequestError(f"{kind}.media_type must say what its bytes are; write {kind}(data, 'image/png')")
        return f"data:{part.media_type};base64,{b64encode(part.data).decode()}"
    if part.url is None:
        raise InvalidRequestError(f"{type(part).__name__} must have data or a url, got neither")
    return part.url


def _sound(part: Audio) -> dict[str, Any]:
    if part.data is None:
        raise InvalidRequestError("the chat wire takes Audio as data only, not by url; download it first")
    kind = part.media_type.lower()
    form = _AUDIO_FORMATS.get(kind) or kind.removeprefix("audio/")
    if not form:
        raise InvalidRequestError("Audio.media_type must say what its bytes are, like 'audio/wav'")
    return {"data": b64encode(part.data).decode(), "format": form}


def _document(part: File) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if part.file_id is not None:
        document["file_id"] = part.file_id
    if part.url is not None and part.data is None and not part.url.startswith("data:"):
        raise InvalidRequestError("the chat wire takes a File as data or by file_id, not by url; download it first")
    if part.data is not None or part.url is not None:
        document["file_data"] = _address(part)
    if not document:
        raise InvalidRequestError("File must have data, a url or the file_id of an upload, got none")
    if part.name is not None:
        document["filename"] = part.name
    return document


def decode_content(content: Any) -> tuple[Part, ...] | None:
    """The parts of `content`, or None where it is no content at all."""
    if type(content) is str:
        return (Text(content),) if content else ()
    if content is None:
        return ()
    if isinstance(content, list | tuple) and all(isinstance(part, Mapping) for part in content):
        return tuple([_decode_part(part) for part in content])
    return None


def _decode_part(part: Mapping[str, Any]) -> Part:
    try:
        typed = _typed(part)
        if typed is not None and encode_part(typed) == part:
            return typed
    except (AttributeError, KeyError, TypeError, ValueError, InvalidRequestError):
        pass  # an odd form of a known type: it travels as it is
    return UnknownPart(dict(part), WIRE)


def _typed(part: Mapping[str, Any]) -> Part | None:
    kind = part.get("type")
    rest = packed(WIRE, {key: value for key, value in part.items() if key not in ("type", kind)})
    if kind == "text":
        return Text(part["text"], rest) if type(part["text"]) is str else None
    inner = part[kind] if isinstance(kind, str) else {}
    if kind == "image_url":
        media_type, data = _data_url(inner["url"])
        if data is None:
            return Image(url=inner["url"], detail=inner.get("detail"), raw=rest)
        return Image(data, media_type, detail=inner.get("detail"), raw=rest)
    if kind == "input_audio":
        form = inner["format"]
        return Audio(b64decode(inner["data"], validate=True), _AUDIO_TYPES.get(form, f"audio/{form}"), raw=rest)
    if kind == "file":
        media_type, data = _data_url(inner.get("file_data"))
        url = inner.get("file_data") if data is None else None
        return File(data, media_type, inner.get("filename"), url, inner.get("file_id"), rest)
    return None


def _data_url(url: Any) -> tuple[str, bytes | None]:
    if not isinstance(url, str) or not url.startswith("data:"):
        return "", None
    head, mark, data = url[5:].partition(";base64,")
    if not mark or not head:
        return "", None
    try:
        return head, b64decode(data, validate=True)
    except binascii.Error:
        return "", None


def encode_tool_call(call: ToolCall) -> dict[str, Any]:
    """An entry of `tool_calls`."""
    raw = further(call, WIRE)
    kind = raw.get("type", "function")
    inner = {"name": call.name, "input" if kind == "custom" else "arguments": call.arguments_text}
    if isinstance(raw.get(kind), Mapping):
        inner = {**raw[kind], **inner}
    return {**raw, "id": call.id, "type": kind, kind: inner}


def decode_tool_call(call: Mapping[str, Any]) -> ToolCall:
    """A tool call; what is missing is empty, and arguments that came as an object are written as text.

    Raises:
        KeyError, TypeError, AttributeError: it is no tool call.
    """
    kind = call.get("type") or "function"
    inner = call[kind]
    word = "input" if kind == "custom" else "arguments"
    arguments = inner.get(word)
    if type(arguments) is not str:
        arguments = "" if arguments is None else msgspec.json.encode(arguments).decode()
    raw = {key: value for key, value in call.items() if key not in ("id", "type", kind)}
    if rest := {key: value for key, value in inner.items() if key not in ("name", word)}:
        raw[kind] = rest
    if kind != "function":
        raw["type"] = kind
    name, label = call.get("id") or "", inner["name"]
    if not isinstance(name, str) or not isinstance(label, str):
        raise TypeError("the id and the name of a tool call must be text")
    return ToolCall(name, label, arguments, packed(WIRE, raw))


def decode_tool_calls(calls: Any) -> tuple[ToolCall, ...] | None:
    """The entries of `tool_calls`, or None where they are none."""
    if not isinstance(calls, list | tuple):
        return None
    try:
        return tuple([decode_tool_call(call) for call in calls])
    except (AttributeError, KeyError, TypeError):
        return None


def decode_reasoning(message: Mapping[str, Any]) -> Reasoning | None:
    """What the model thought aloud, with what the provider wants back of it."""
    name = next((name for name in REASONING_FIELDS if message.get(name) and type(message[name]) is str), None)
    details = message.get("reasoning_details")
    if name is None and not details:
        return None
    raw: dict[str, Any] = {"field": name or "reasoning"}
    if details:
        raw["reasoning_details"] = details
    return Reasoning(message[name] if name else "", {WIRE: raw})


def add_reasoning(fields: dict[str, Any], part: Reasoning, *, default: str | None) -> None:
    """Put reasoning into the fields of a message; *default* is the field for reasoning that is not of this wire.

    Without a default such reasoning is left out: a provider refuses the thoughts of another.
    """
    raw = further(part, WIRE)
    name = raw.get("field", default)
    if name is None:
        return
    if part.text:
        fields[name] = fields.get(name, "") + part.text
    for key, value in raw.items():
        if key != "field":
            fields[key] = [*fields[key], *value] if key in fields and isinstance(value, list) else value
