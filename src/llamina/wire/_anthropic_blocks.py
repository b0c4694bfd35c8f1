"""Parts of messages on Anthropic's wire: the blocks of `content`, both ways.

A block is read as a typed part only where writing it back gives the same JSON; otherwise it stays an `UnknownPart`. So
blocks of server tools, and those of tomorrow, travel as they are.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from llamina.errors import InvalidRequestError
from llamina.messages import Audio, File, Image, Part, Reasoning, Text, ToolCall, ToolResult, UnknownPart

from ._raw import further, packed, result_content, verbatim

__all__ = ["WIRE", "compact", "decode_block", "decode_sent", "encode_block", "encode_sent", "is_redacted"]

WIRE = "anthropic"
"""The entry of the raw slots that is this wire's."""

_NO_BLOCK = (AttributeError, KeyError, TypeError, ValueError, RecursionError, InvalidRequestError)


def compact(value: Any) -> str:
    """*value* as JSON without spaces: the text of a tool's arguments, which this wire says as an object."""
    return msgspec.json.encode(value).decode()


def is_redacted(part: Reasoning) -> bool:
    """Whether *part* is a thought that the provider gives in encrypted form only."""
    return further(part, WIRE).get("type") == "redacted_thinking"


def encode_sent(part: Part) -> dict[str, Any] | None:
    """A block of a request; None for what is left out: a blank text, and thoughts that the provider did not sign.

    Raises:
        InvalidRequestError: this wire cannot say it; the message names the part and what is wrong.
    """
    if _is_blank(part):
        return None  # an answer may hold one, and the provider refuses to take it back
    if type(part) is Reasoning and not is_redacted(part) and not further(part, WIRE).get("signature"):
        return None
    if type(part) is ToolResult and not isinstance(part.content, str):
        part = replace(part, content=tuple([inner for inner in result_content(part) if not _is_blank(inner)]))
    block = encode_block(part)
    if type(part) is ToolCall and not isinstance(block["input"], dict):
        raise InvalidRequestError(
            f"the arguments of tool call {part.name!r} ({part.id}) are no JSON object, and the anthropic wire takes "
            "nothing else; mend ToolCall.arguments_text or leave the call out of the messages"
        )
    return block


def _is_blank(part: Any) -> bool:
    """Whether *part* is text without a letter, of which nothing else is said; or a refusal of another wire that is."""
    if type(part) is Text:
        return not part.text.strip() and not further(part, WIRE)
    return type(part) is UnknownPart and (refused := _refusal(part)) is not None and not refused.strip()


def encode_block(part: Part) -> dict[str, Any]:
    """A block of an answer or a request.

    Raises:
        InvalidRequestError: this wire cannot say it; the message names the part and what is wrong.
    """
    if type(part) is Text:
        return {**further(part, WIRE), "type": "text", "text": part.text}
    if type(part) is ToolCall:
        return {**further(part, WIRE), "type": "tool_use", "id": part.id, "name": part.name, "input": _input(part)}
    if type(part) is ToolResult:
        return _result(part)
    if type(part) is Reasoning:
        fields = further(part, WIRE)
        if is_redacted(part):
            return dict(fields)
        signature = {} if part.raw is not None and WIRE in part.raw else {"signature": ""}
        return {**signature, **fields, "type": "thinking", "thinking": part.text}
    if type(part) is Image:
        return {**_sourced(part, _picture), "type": "image"}
    if type(part) is File:
        title = {} if part.name is None else {"title": part.name}
        return {**_sourced(part, _document), **title, "type": "document"}
    if type(part) is UnknownPart:
        return _unknown(part)
    if type(part) is Audio:
        raise InvalidRequestError("the anthropic wire cannot say Audio; send its transcript as text")
    raise InvalidRequestError(f"the anthropic wire cannot say a {type(part).__name__}")


def _input(call: ToolCall) -> Any:
    """The arguments as an object; where the model wrote none, what it wrote."""
    if not isinstance(call.arguments_text, str):
        raise InvalidRequestError(
            f"ToolCall.arguments_text must be the JSON text of an object, got {type(call.arguments_text).__name__}"
        )
    try:
        arguments = msgspec.json.decode(call.arguments_text or "{}")
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return call.arguments_text
    return arguments if isinstance(arguments, dict) else call.arguments_text


def _result(result: ToolResult) -> dict[str, Any]:
    block = {**further(result, WIRE), "type": "tool_result", "tool_use_id": result.id}
    content = result_content(result)
    if isinstance(content, str):
        block["content"] = content
    elif content:
        block["content"] = [encode_block(part) for part in content]
    if result.is_error:
        block["is_error"] = True
    return block


def _sourced(part: Image | File, source: Any) -> dict[str, Any]:
    """The further fields of a picture or a document with its source; a part without one may bring its own."""
    fields = dict(further(part, WIRE))
    named = part.data is not None or part.url is not None or (type(part) is File and part.file_id is not None)
    if named or "source" not in fields:
        fields["source"] = source(part)
    return fields


def _picture(image: Image) -> dict[str, Any]:
    if image.data is not None:
        if not image.media_type:
            raise InvalidRequestError("Image.media_type must say what its bytes are; write Image(data, 'image/png')")
        return {"type": "base64", "media_type": image.media_type, "data": b64encode(image.data).decode()}
    if image.url is None:
        raise InvalidRequestError(
            "Image must have data or a url, got neither; an upload is written "
            'Image(raw={"anthropic": {"source": {"type": "file", "file_id": "..."}}})'
        )
    return {"type": "url", "url": image.url}


def _document(file: File) -> dict[str, Any]:
    if file.file_id is not None:
        return {"type": "file", "file_id": file.file_id}
    if file.data is None:
        if file.url is None:
            raise InvalidRequestError("File must have data, a url or the file_id of an upload, got none")
        return {"type": "url", "url": file.url}
    kind = file.media_type.partition(";")[0].strip().lower()
    if kind == "application/pdf":
        return {"type": "base64", "media_type": kind, "data": b64encode(file.data).decode()}
    if kind.startswith("text/"):
        try:
            return {"type": "text", "media_type": "text/plain", "data": file.data.decode()}
        except UnicodeDecodeError as error:
            raise InvalidRequestError(f"a File of {file.media_type!r} must be UTF-8, and its bytes are not") from error
    raise InvalidRequestError(
        f"the anthropic wire takes a File as 'application/pdf' or text, got media_type {file.media_type!r}; "
        "send a picture as Image, and anything else as text"
    )


def _unknown(part: UnknownPart) -> dict[str, Any]:
    refused = _refusal(part)
    return verbatim(part, WIRE) if refused is None else {"type": "text", "text": refused}


def _refusal(part: UnknownPart) -> str | None:
    """The words of a refusal by OpenAI, which this wire says as text."""
    raw = part.raw
    if part.wire not in ("chat", "responses") or not isinstance(raw, Mapping) or raw.get("type") != "refusal":
        return None
    said = raw.get("refusal")
    return said if isinstance(said, str) else ""


def decode_sent(block: Mapping[str, Any]) -> Part:
    """The part that a block of a request says."""
    part = _typed(block)
    try:
        return part if encode_sent(part) == block else UnknownPart(dict(block), WIRE)
    except _NO_BLOCK:
        return UnknownPart(dict(block), WIRE)


def decode_block(block: Mapping[str, Any]) -> Part:
    """The part that a block of an answer says."""
    if len(block) == 2 and block.get("type") == "text" and type(block.get("text")) is str and block["text"]:
        return Text(block["text"])
    part = _typed(block)
    try:
        return part if encode_block(part) == block else UnknownPart(dict(block), WIRE)
    except _NO_BLOCK:
        return UnknownPart(dict(block), WIRE)


def _typed(block: Mapping[str, Any]) -> Part:
    """The nearest part; whether it says all of the block is for the caller to see."""
    try:
        read = _READERS.get(block.get("type"))  # type: ignore[arg-type]
        found = None if read is None else read(block)
    except _NO_BLOCK:
        found = None
    return UnknownPart(dict(block), WIRE) if found is None else found


def _rest(block: Mapping[str, Any], *named: str) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key != "type" and key not in named}


def _read_text(block: Mapping[str, Any]) -> Part | None:
    text, rest = block["text"], _rest(block, "text")
    if type(text) is not str:
        return None
    # An empty text without a raw slot would be lost in a stream.
    return Text(text, packed(WIRE, rest) if text else {WIRE: rest})


def _read_thinking(block: Mapping[str, Any]) -> Part | None:
    thought = block["thinking"]
    return Reasoning(thought, {WIRE: _rest(block, "thinking")}) if type(thought) is str else None


def _read_redacted(block: Mapping[str, Any]) -> Part:
    return Reasoning("", {WIRE: dict(block)})


def _read_call(block: Mapping[str, Any]) -> Part | None:
    name, label, arguments = block["id"], block["name"], block["input"]
    if type(name) is not str or type(label) is not str:
        return None
    text = arguments if isinstance(arguments, str) else compact(arguments)
    return ToolCall(name, label, text, packed(WIRE, _rest(block, "id", "name", "input")))


def _read_result(block: Mapping[str, Any]) -> Part | None:
    named = ["tool_use_id", "content"]
    content = block.get("content", ())
    if not isinstance(content, str):
        content = tuple([decode_block(inner) for inner in content])
    failed = block.get("is_error") is True
    if failed:
        named.append("is_error")
    if type(block["tool_use_id"]) is not str:
        return None
    return ToolResult(block["tool_use_id"], content, is_error=failed, raw=packed(WIRE, _rest(block, *named)))


def _read_image(block: Mapping[str, Any]) -> Part:
    source, rest = block["source"], _rest(block, "source")
    if _is_exactly(source, "base64", "media_type", "data"):
        return Image(b64decode(source["data"], validate=True), source["media_type"], raw=packed(WIRE, rest))
    if _is_exactly(source, "url", "url"):
        return Image(url=source["url"], raw=packed(WIRE, rest))
    return Image(raw={WIRE: {**rest, "source": source}})


def _read_document(block: Mapping[str, Any]) -> Part:
    source, name = block["source"], block.get("title")
    rest = _rest(block, "source", "title") if type(name) is str else _rest(block, "source")
    name = name if type(name) is str else None
    raw = packed(WIRE, rest)
    if _is_exactly(source, "base64", "media_type", "data") and source["media_type"] == "application/pdf":
        return File(b64decode(source["data"], validate=True), source["media_type"], name, raw=raw)
    if _is_exactly(source, "text", "media_type", "data") and source["media_type"] == "text/plain":
        return File(source["data"].encode(), "text/plain", name, raw=raw)
    if _is_exactly(source, "url", "url"):
        return File(name=name, url=source["url"], raw=raw)
    if _is_exactly(source, "file", "file_id"):
        return File(name=name, file_id=source["file_id"], raw=raw)
    return File(name=name, raw={WIRE: {**rest, "source": source}})


def _is_exactly(source: Mapping[str, Any], kind: str, *fields: str) -> bool:
    named = all(type(source.get(field)) is str and source[field] for field in fields)
    return named and source["type"] == kind and len(source) == len(fields) + 1


_READERS = {
    "text": _read_text,
    "thinking": _read_thinking,
    "redacted_thinking": _read_redacted,
    "tool_use": _read_call,
    "tool_result": _read_result,
    "image": _read_image,
    "document": _read_document,
}
