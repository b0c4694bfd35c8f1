"""Items of the Responses wire that a model makes: messages, calls of tools, reasoning, calls of hosted tools.

One `message` item may hold several texts, and one answer several such items. The last part of an item carries the
item's further fields (id, status) in its raw slot under "item", the parts before it an `"item": None`: so where an item
begins and ends is known, and the whole goes back as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from llamina.messages import Message, Part, Reasoning, Text, ToolCall, UnknownPart

from ._raw import further, packed
from ._responses_parts import WIRE, encode_input, is_content, kind_of

__all__ = [
    "APART",
    "CALLS",
    "content_part",
    "decode_item",
    "encode_call",
    "encode_items",
    "is_custom",
    "own_reasoning",
    "plain_refusal",
    "thought_texts",
]

CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""The types of items that call a tool of the caller's, and where each has what the model wrote."""
APART = "\n\n"


def decode_item(item: Mapping[str, Any]) -> list[Part]:
    """The parts that one item says; an `UnknownPart` where it is of no type that llamina has."""
    kind = kind_of(item)
    if kind == "message":
        parts = _message_parts(item)
        if parts:
            return parts
    elif kind in CALLS:
        call = _call(item, CALLS[kind])
        if call is not None:
            return [call]
    elif kind == "reasoning" and len(item) > 1:
        rest = {key: value for key, value in item.items() if key != "type"}
        return [Reasoning(APART.join(thought_texts(item)), packed(WIRE, rest))]
    return [UnknownPart(dict(item), WIRE)]


def _message_parts(item: Mapping[str, Any]) -> list[Part] | None:
    content = item.get("content")
    if item.get("role") != "assistant" or not isinstance(content, list | tuple):
        return None
    if not all(isinstance(piece, Mapping) and "item" not in piece for piece in content):
        return None
    fields = {key: value for key, value in item.items() if key not in ("type", "role", "content")}
    last = len(content) - 1
    return [content_part(piece, fields if place == last else None) for place, piece in enumerate(content)]


def content_part(piece: Mapping[str, Any], item: Mapping[str, Any] | None) -> Part:
    """A part of the content of a message item; *item* are the item's further fields at its last part."""
    text = piece.get("text")
    if piece.get("type") == "output_text" and isinstance(text, str):
        rest = {key: value for key, value in piece.items() if key not in ("type", "text")}
        return Text(text, {WIRE: {**rest, "item": item}})
    return UnknownPart({**piece, "item": item}, WIRE)


def _call(item: Mapping[str, Any], word: str) -> ToolCall | None:
    call_id, name, written = item.get("call_id"), item.get("name"), item.get(word)
    if not isinstance(call_id, str) or not isinstance(name, str) or not isinstance(written, str):
        return None
    raw = {key: value for key, value in item.items() if key not in ("type", "call_id", "name", word)}
    if item["type"] != "function_call":
        raw["type"] = item["type"]
    return ToolCall(call_id, name, written, packed(WIRE, raw))


def is_custom(call: ToolCall) -> bool:
    """Whether a custom tool is called, whose input is text and not JSON."""
    return further(call, WIRE).get("type") == "custom_tool_call" or further(call, "chat").get("type") == "custom"


def encode_call(call: ToolCall) -> dict[str, Any]:
    """The item of a tool call."""
    kind = "custom_tool_call" if is_custom(call) else "function_call"
    return {
        **further(call, WIRE),
        "type": kind,
        "call_id": call.id,
        "name": call.name,
        CALLS[kind]: call.arguments_text,
    }


def thought_texts(item: Mapping[str, Any]) -> list[str]:
    """The texts of a reasoning item: its summaries, then its content; empty ones left out."""
    texts = []
    for name in ("summary", "content"):
        pieces = item.get(name)
        for piece in pieces if isinstance(pieces, list | tuple) else ():
            text = piece.get("text") if isinstance(piece, Mapping) else None
            if text and isinstance(text, str):
                texts.append(text)
    return texts


def own_reasoning(part: Reasoning) -> list[dict[str, Any]]:
    """The reasoning item as it came; nothing for the thoughts of another wire, which a provider refuses."""
    raw = further(part, WIRE)
    return [{**raw, "type": "reasoning"}] if raw else []


def plain_refusal(part: Any) -> bool:
    """Whether *part* is a refusal."""
    return type(part) is UnknownPart and isinstance(part.raw, Mapping) and part.raw.get("type") == "refusal"


_NOT_SAID: Any = object()


def encode_items(
    message: Message, wrap: Callable[[list[dict[str, Any]]], dict[str, Any]], other: Callable[[Any], Iterable[Any]]
) -> list[dict[str, Any]]:
    """The items of a message of the assistant, in the order of its parts.

    Args:
        wrap: makes a message item of content that belongs to none yet.
        other: makes the items of a part that is no content.
    """
    items: list[dict[str, Any]] = []
    content: list[dict[str, Any]] = []
    goes_on = False

    def flush() -> None:
        if content:
            items.append(wrap(list(content)))
            content.clear()

    for part in message.parts:
        if type(part) is Text:
            piece = {"type": "output_text", **further(part, WIRE), "text": part.text}
        elif type(part) is UnknownPart and is_content(part):
            piece = encode_input(part)
        else:
            flush()
            items += other(part)
            continue
        item = piece.pop("item", _NOT_SAID)
        if (item is not _NOT_SAID) != goes_on:
            flush()
        content.append(piece)
        goes_on = item is None
        if isinstance(item, Mapping):
            items.append({**item, "type": "message", "role": "assistant", "content": list(content)})
            content.clear()
    flush()
    return items
