"""Requests on the Responses wire: the JSON body that a client sends, and back.

A message of ours is one item for each run of its content, and one for each call, result and thought, in their order. A
prompt that is one user's text goes out as `"input": "text"`; a list of that one message is read as the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamina.errors import InvalidRequestError
from llamina.messages import Audio, File, Image, Message, Part, Reasoning, Text, ToolCall, ToolResult, UnknownPart
from llamina.protocol import Request

from ._call_ids import fit_items
from ._dialect import refuse_functions, typed
from ._raw import verbatim
from ._responses_items import decode_item, encode_call, encode_items, is_custom, own_reasoning
from ._responses_params import decode_params, encode_params
from ._responses_parts import (
    RESULTS,
    WIRE,
    decode_input,
    decode_result,
    encode_input,
    encode_result,
    is_content,
    kind_of,
)

__all__ = ["decode_request", "encode_request"]


def encode_request(request: Request, *, stream: bool) -> dict[str, Any]:
    """The JSON body of *request*.

    Parameters of the chat dialect are said in this wire's words (`max_tokens` as `max_output_tokens`, `response_format`
    as `text.format`); its own ones, and unknown ones, go through untouched.

    Raises:
        InvalidRequestError: the request cannot be said on this wire; the message names what.
    """
    if request.kind != "chat":
        raise InvalidRequestError(f"the responses wire cannot say a request of kind {request.kind!r}")
    messages = [typed(message) for message in request.messages]
    refuse_functions(messages, WIRE)
    customs = {call.id for message in messages for call in message.tool_calls if is_custom(call)}
    body = {**encode_params(request.params, stream=stream), "model": request.model}
    if len(messages) == 1 and _is_plain_prompt(messages[0]):
        body["input"] = messages[0].text
    elif messages:
        body["input"] = [item for message in messages for item in _encode_message(message, customs)]
        fit_items(body["input"])
    if stream:
        body["stream"] = True
    return body


def _is_plain_prompt(message: Message) -> bool:
    return message == Message("user", (Text(message.text),))


def _encode_message(message: Message, customs: set[str]) -> list[dict[str, Any]]:
    """One message as items; a participant's name is a hint that this wire has no place for."""
    extra = dict(message.extra or {})

    def wrap(content: list[dict[str, Any]]) -> dict[str, Any]:
        kind = "output_text" if message.role == "assistant" else "input_text"
        plain = len(content) == 1 and content[0].keys() == {"type", "text"} and content[0]["type"] == kind
        return {"role": message.role, "content": content[0]["text"] if plain else content, **extra}

    def other(part: Any) -> list[dict[str, Any]]:
        if type(part) is ToolCall:
            return [encode_call(part)]
        if type(part) is ToolResult:
            result = encode_result(part, custom=part.id in customs)
            return [{**extra, **result} if message.role == "tool" else result]
        if type(part) is Reasoning:
            return own_reasoning(part)
        if type(part) is UnknownPart:
            return [verbatim(part, WIRE)]
        remedy = "send its transcript as text" if type(part) is Audio else "send it in a message of the user"
        raise InvalidRequestError(f"the responses wire takes no {type(part).__name__} of the assistant; {remedy}")

    write = encode_items if message.role == "assistant" else _encode_prompt
    items = write(message, wrap, other)
    if not items and (not message.parts or extra):
        items.append({"role": message.role, "content": "", **extra})
    return items


def _encode_prompt(message: Message, wrap: Any, other: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    content: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, Text | Image | File | Audio) or (type(part) is UnknownPart and is_content(part)):
            content.append(encode_input(part))
            continue
        if content:
            items.append(wrap(content))
            content = []
        items += other(part)
    if content:
        items.append(wrap(content))
    return items


def decode_request(body: Any) -> Request:
    """The Request that a body says.

    Items that follow each other and are of the model become one message of the assistant, results one of the role
    `tool`.

    Raises:
        InvalidRequestError: it is no request of this wire; the message names the field.
    """
    if not isinstance(body, Mapping):
        raise InvalidRequestError(f"the body of a request must be an object, got {type(body).__name__}")
    prompt = body.get("input")
    params = decode_params({key: value for key, value in body.items() if key not in ("model", "input", "stream")})
    if prompt is None and any(body.get(name) for name in ("prompt", "previous_response_id", "conversation")):
        # What is asked is kept at the provider.
        return Request.chat(body.get("model"), "-").evolve(messages=(), params=params)  # type: ignore[arg-type]
    if isinstance(prompt, str):
        messages = [Message("user", (Text(prompt),))]
    elif isinstance(prompt, list | tuple):
        messages = _decode_items(prompt)
    else:
        raise InvalidRequestError(f"input must be text or a list of items, got {type(prompt).__name__}")
    return Request.chat(body.get("model"), messages).evolve(params=params)  # type: ignore[arg-type]


def _decode_items(items: Any) -> list[Message]:
    messages: list[Message] = []
    open_parts: list[Part] = []
    open_role = ""
    customs = {
        part.id
        for item in items
        if isinstance(item, Mapping) and kind_of(item) == "custom_tool_call"
        for part in decode_item(item)
        if type(part) is ToolCall
    }

    def close() -> None:
        if open_parts:
            messages.append(Message(open_role, tuple(open_parts)))
            open_parts.clear()

    for place, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise InvalidRequestError(f"input[{place}] must be an object, got {type(item).__name__}")
        easy = _decode_message(item, place)
        if easy is not None:
            close()
            if easy.role == "assistant" and easy.parts and not easy.extra:
                # Calls that follow belong to what the assistant said.
                open_role, open_parts[:] = easy.role, easy.parts
            else:
                messages.append(easy)
            continue
        role, parts = _decode_other(item, customs)
        if role != open_role:
            close()
        open_role = role
        open_parts += parts
    close()
    return messages


def _decode_other(item: Mapping[str, Any], customs: set[str]) -> tuple[str, list[Part]]:
    kind = kind_of(item)
    if kind in RESULTS:
        call_id = item.get("call_id")
        result = decode_result(item, custom=isinstance(call_id, str) and call_id in customs)
        return "tool", [UnknownPart(dict(item), WIRE) if result is None else result]
    of_the_caller = kind.endswith(("_output", "_response"))
    return "tool" if of_the_caller else "assistant", decode_item(item)


def _decode_message(item: Mapping[str, Any], place: int) -> Message | None:
    """A message of the prompt; None where the item is none, or one that a model made."""
    role, content, kind = item.get("role"), item.get("content"), item.get("type")
    if not isinstance(role, str) or kind not in (None, "message"):
        return None
    if role == "assistant" and kind == "message" and not isinstance(content, str):
        return None
    if not isinstance(content, str | list | tuple):
        raise InvalidRequestError(
            f"input[{place}].content must be text or a list of parts, got {type(content).__name__}"
        )
    if isinstance(content, str):
        parts: tuple[Part, ...] | None = (Text(content),) if content else ()
    elif role == "assistant":
        parts = _said(content)
    else:
        parts = decode_input(content) if _lone_text(content) != "" else ()  # as an empty string is read
    extra = {key: value for key, value in item.items() if key not in ("role", "content")}
    if parts is not None:
        message = Message(role, parts, None, extra or None)
        written = _encode_message(message, set())
        if written == [item] or written == [{**item, "content": _lone_text(content)}]:
            return message
    return Message(role, (UnknownPart(dict(item), WIRE),))


def _said(content: Any) -> tuple[Part, ...] | None:
    """The parts of what the assistant said, in a message that is written by a caller."""
    parts: list[Part] = []
    for piece in content:
        if not isinstance(piece, Mapping):
            return None
        text = piece.get("text")
        if piece.get("type") == "output_text" and isinstance(text, str):
            rest = {key: value for key, value in piece.items() if key not in ("type", "text")}
            parts.append(Text(text, {WIRE: rest} if rest else None))
        else:
            parts.append(UnknownPart(dict(piece), WIRE))
    return tuple(parts)


def _lone_text(content: Any) -> Any:
    """The text of content that is exactly one plain text, which equals the string."""
    one = content[0] if isinstance(content, list | tuple) and len(content) == 1 else None
    plain = isinstance(one, Mapping) and one.keys() == {"type", "text"} and one["type"] in ("input_text", "output_text")
    return one["text"] if plain and one is not None else content
