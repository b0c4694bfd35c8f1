"""Content on the Responses wire: the texts, images and files of a prompt, and the results of tools.

A part is read as a typed one only where writing it back gives the same JSON; otherwise it stays an `UnknownPart`. So
nothing that a caller or a provider said is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamina.errors import InvalidRequestError
from llamina.messages import Audio, File, Image, Part, Text, ToolResult, UnknownPart

from ._openai_parts import _address, _data_url
from ._raw import further, packed, result_content, verbatim

__all__ = [
    "CUSTOM_OUTPUT",
    "RESULTS",
    "WIRE",
    "decode_input",
    "decode_result",
    "encode_input",
    "encode_result",
    "is_content",
    "kind_of",
]

WIRE = "responses"
"""The entry of the raw slots that is this wire's."""

FUNCTION_OUTPUT, CUSTOM_OUTPUT = "function_call_output", "custom_tool_call_output"
RESULTS = frozenset({FUNCTION_OUTPUT, CUSTOM_OUTPUT})
"""The types of items that bring what a tool gave back."""

_CONTENT = frozenset({"output_text", "refusal", "text", "image_url", "file", "summary_text", "reasoning_text"})
_ITEMS = frozenset({"message", "reasoning", "function_call", "item_reference", "compaction", "program"})
_OF_ITEMS = ("_call", "_output", "_response")


def kind_of(item: Mapping[str, Any]) -> str:
    """The type of an item or of a part; "" where it says none."""
    kind = item.get("type")
    return kind if isinstance(kind, str) else ""


def is_content(part: UnknownPart) -> bool:
    """Whether an unknown part stands inside the content of a message; else it is an item of its own."""
    raw = part.raw
    if not isinstance(raw, Mapping):
        return True
    kind = kind_of(raw)
    if part.wire == WIRE and isinstance(raw.get("item", ""), Mapping | None):  # as a part of a message is kept
        return kind not in _ITEMS and not kind.endswith(_OF_ITEMS)
    if not kind:
        return part.wire != WIRE
    if part.wire == WIRE:
        return kind in _CONTENT or kind.startswith("input_")
    return kind not in _ITEMS and not kind.endswith(_OF_ITEMS)


def encode_input(part: Part) -> dict[str, Any]:
    """A part of the content of a prompt.

    Raises:
        InvalidRequestError: this wire cannot say it; the message names the part and what is wrong.
    """
    if type(part) is UnknownPart:
        if part.wire == "chat" and isinstance(part.raw, Mapping) and part.raw.get("type") == "refusal":
            return dict(part.raw)  # OpenAI says a refusal in the same words on both of its wires
        return verbatim(part, WIRE)
    if type(part) is Audio:
        raise InvalidRequestError(
            "the responses wire takes no Audio; send it on the chat wire, or its transcript as text"
        )
    fields = {key: value for key, value in further(part, WIRE).items() if key != "item"}
    if type(part) is Text:
        return {"type": "input_text", **fields, "text": part.text}
    if type(part) is Image:
        image = {"type": "input_image", **fields}
        if part.detail is not None:
            image["detail"] = part.detail
        if part.data is not None or part.url is not None or not isinstance(fields.get("file_id"), str):
            image["image_url"] = _address(part)
        return image
    if type(part) is File:
        return {"type": "input_file", **fields, **_document(part)}
    raise InvalidRequestError(f"the responses wire cannot say a {type(part).__name__} at this place")


def _document(part: File) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if part.file_id is not None:
        document["file_id"] = part.file_id
    if part.data is not None:
        document["file_data"] = _address(part)
    if part.url is not None:
        document["file_url"] = part.url
    if not document:
        raise InvalidRequestError("File must have data, a url or the file_id of an upload, got none")
    if part.name is not None:
        document["filename"] = part.name
    return document


def decode_input(content: Any) -> tuple[Part, ...] | None:
    """The parts of a list of content, or None where it is none."""
    if isinstance(content, list | tuple) and all(isinstance(piece, Mapping) for piece in content):
        return tuple([_decode_piece(piece) for piece in content])
    return None


def _decode_piece(piece: Mapping[str, Any]) -> Part:
    try:
        part = _typed(piece)
        if part is not None and encode_input(part) == piece:
            return part
    except (AttributeError, TypeError, ValueError, InvalidRequestError):
        pass  # an odd form of a known type: it travels as it is
    return UnknownPart(dict(piece), WIRE)


def _typed(piece: Mapping[str, Any]) -> Part | None:
    kind = piece.get("type")
    taken: dict[str, Any] = {}

    def take(name: str) -> Any:
        """A field that our part has, where it is text; a null is kept with what has no name."""
        value = piece.get(name)
        if isinstance(value, str):
            taken[name] = value
            return value
        return None

    def rest() -> dict[str, Any] | None:
        return packed(WIRE, {key: value for key, value in piece.items() if key not in taken and key != "type"})

    if kind == "input_text":
        text = take("text")
        return None if text is None else Text(text, rest())
    if kind == "input_image":
        url, detail = take("image_url"), take("detail")
        media_type, data = _data_url(url)
        return Image(data, media_type, url if data is None else None, detail, rest())
    if kind == "input_file":
        media_type, data = _data_url(take("file_data"))
        url, name, file_id = take("file_url"), take("filename"), take("file_id")
        return File(data, media_type, name, url, file_id, rest())
    return None


def encode_result(result: ToolResult, *, custom: bool) -> dict[str, Any]:
    """The item that brings what a tool gave back; *custom* where the call was one of a custom tool.

    A failed one is marked as `incomplete`, the nearest that the wire has. The result of a custom tool has no such mark:
    there only the content tells.
    """
    raw = further(result, WIRE)
    kind = raw.get("type") or (CUSTOM_OUTPUT if custom else FUNCTION_OUTPUT)
    output: Any = result_content(result)
    if not isinstance(output, str):
        output = [encode_input(part) for part in output]
    body = {**raw, "type": kind, "call_id": result.id, "output": output}
    if result.is_error and kind == FUNCTION_OUTPUT:
        body["status"] = "incomplete"
    return body


def decode_result(item: Mapping[str, Any], *, custom: bool) -> ToolResult | None:
    """What a tool gave back, or None where the item has no known form."""
    output, call_id, kind = item.get("output"), item.get("call_id"), item.get("type")
    content = output if isinstance(output, str) else decode_input(output)
    if content is None or not isinstance(call_id, str):
        return None
    raw = {key: value for key, value in item.items() if key not in ("type", "call_id", "output")}
    failed = kind == FUNCTION_OUTPUT and raw.get("status") == "incomplete"
    if failed:
        del raw["status"]
    if (kind == CUSTOM_OUTPUT) != custom:
        raw["type"] = kind
    return ToolResult(call_id, content, is_error=failed, raw=packed(WIRE, raw))
