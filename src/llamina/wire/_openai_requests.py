"""Requests on the chat-completions wire: the JSON body that a client sends, and back.

One message of ours with several tool results is one `tool` message for each; all else is one to one. Parameters go
through untouched, known or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamina.errors import InvalidRequestError
from llamina.messages import Audio, Message, Part, Reasoning, Text, ToolCall, ToolResult
from llamina.protocol import Request

from ._call_ids import fit_messages
from ._openai_parts import (
    WIRE,
    add_reasoning,
    decode_content,
    decode_reasoning,
    decode_tool_calls,
    encode_part,
    encode_tool_call,
)
from ._raw import further, own_tools, packed, result_content

__all__ = ["decode_message", "decode_request", "encode_message", "encode_request"]

_NOT_PARAMS = frozenset({"model", "messages", "stream", "stream_options"})


def encode_request(request: Request, *, stream: bool) -> dict[str, Any]:
    """The JSON body of *request*; with *stream* it asks for a stream that ends with its usage.

    The caller's own `stream_options` are merged and win; `stream_options=None` leaves them out for servers that do not
    know them.

    Raises:
        InvalidRequestError: the request cannot be said on this wire; the message names what.
    """
    if request.kind != "chat":
        raise InvalidRequestError(f"the chat wire cannot say a request of kind {request.kind!r}")
    messages: list[dict[str, Any]] = []
    for message in request.messages:
        messages += encode_message(message)
    fit_messages(messages)
    params = request.params
    if "stream" in params or "stream_options" in params:
        params = {key: value for key, value in params.items() if key not in ("stream", "stream_options")}
    body: dict[str, Any] = {**params, "model": request.model, "messages": messages}
    if params.get("tools"):
        body["tools"] = own_tools(params["tools"], WIRE)
    elif "tools" in params and params["tools"] is None:
        del body["tools"]
    if stream:
        body["stream"] = True
        options = request.params.get("stream_options", {})
        if options is not None:
            if not isinstance(options, Mapping):
                raise InvalidRequestError(f"stream_options must be a mapping, got {type(options).__name__}")
            body["stream_options"] = {"include_usage": True, **options}
    return body


def encode_message(message: Message) -> list[dict[str, Any]]:
    """One message as the wire's messages: tool results first, one each, then the rest."""
    parts = message.parts
    if len(parts) == 1 and type(parts[0]) is Text and parts[0].raw is None:
        content: Any = parts[0].text
        body = {"role": message.role, "content": content}
        if message.name is not None:
            body["name"] = message.name
        return [{**body, **message.extra} if message.extra else body]
    pieces: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    fields: dict[str, Any] = {}
    for part in parts:
        if type(part) is ToolCall:
            calls.append(encode_tool_call(part))
        elif type(part) is ToolResult:
            results.append(_encode_result(part, message))
        elif type(part) is Reasoning:
            add_reasoning(fields, part, default=None)
        elif type(part) is Audio and message.role == "assistant":
            fields["audio"] = {"id": _audio_id(part)}
        else:
            pieces.append(encode_part(part))
    if calls:
        fields["tool_calls"] = calls
    if results and not pieces and not fields:
        return results
    if pieces:
        plain = len(pieces) == 1 and pieces[0].keys() == {"type", "text"} and pieces[0]["type"] == "text"
        content = pieces[0]["text"] if plain else pieces
    else:
        content = None if message.role == "assistant" and (fields or message.extra) else ""
    body = {"role": message.role, "content": content}
    if message.name is not None:
        body["name"] = message.name
    return [*results, {**body, **(message.extra or {}), **fields}]


def _encode_result(result: ToolResult, message: Message) -> dict[str, Any]:
    content: Any = result_content(result)
    if not isinstance(content, str):
        content = [encode_part(part) for part in content]
    body = {**further(result, WIRE), "role": "tool", "tool_call_id": result.id, "content": content}
    if result.name is not None:
        body["name"] = result.name
    return {**(message.extra or {}), **body} if message.role == "tool" else body


def _audio_id(part: Audio) -> str:
    name = further(part, WIRE).get("id")
    if not isinstance(name, str):
        raise InvalidRequestError(
            "the chat wire takes an assistant's Audio back by the id that the provider gave it, and this one has none; "
            "send its transcript as text"
        )
    return name


def decode_request(body: Any) -> Request:
    """The Request that a body says; its parameters are whatever is not the model, the messages or the stream.

    Raises:
        InvalidRequestError: it is no chat request; the message names the field.
    """
    if not isinstance(body, Mapping):
        raise InvalidRequestError(f"the body of a chat request must be an object, got {type(body).__name__}")
    messages = body.get("messages")
    if not isinstance(messages, list | tuple):
        raise InvalidRequestError(f"messages must be a list of messages, got {type(messages).__name__}")
    params = {key: value for key, value in body.items() if key not in _NOT_PARAMS}
    options = body.get("stream_options")
    if isinstance(options, Mapping):
        # Whether usage is asked for is part of how it streams, as `stream` is; other options are the caller's.
        kept = {key: value for key, value in options.items() if key != "include_usage"}
        if kept:
            params["stream_options"] = kept
    prompt = [decode_message(message, place) for place, message in enumerate(messages)]
    return Request.chat(body.get("model"), prompt).evolve(params=params)  # type: ignore[arg-type]


def decode_message(body: Any, place: int = 0) -> Message:
    """One message of the wire; *place* is its index, for the error.

    Raises:
        InvalidRequestError: it is no message.
    """
    if not isinstance(body, Mapping) or not isinstance(body.get("role"), str):
        raise InvalidRequestError(f"messages[{place}] must be an object with a role, got {type(body).__name__}")
    role: str = body["role"]
    content = body.get("content")
    parts = decode_content(content)
    if parts is None:
        raise InvalidRequestError(
            f"messages[{place}].content must be text or a list of parts, got {type(content).__name__}"
        )
    name = body.get("name") if isinstance(body.get("name"), str) else None
    rest = {key: value for key, value in body.items() if key not in ("role", "content")}
    if name is not None:
        del rest["name"]
    if role == "tool" and isinstance(rest.get("tool_call_id"), str) and content is not None:
        call = rest.pop("tool_call_id")
        return Message(
            role, (ToolResult(call, content if type(content) is str else parts, name, raw=packed(WIRE, rest)),)
        )
    found: list[Part] = list(parts)
    if role == "assistant":
        thought = decode_reasoning(rest)
        if thought is not None:
            found.insert(0, thought)
            for key in (further(thought, WIRE)["field"], "reasoning_details"):
                rest.pop(key, None)
        calls = decode_tool_calls(rest.get("tool_calls"))
        if calls and [encode_tool_call(call) for call in calls] == list(rest["tool_calls"]):
            found += calls
            del rest["tool_calls"]
    return Message(role, tuple(found), name, rest or None)
