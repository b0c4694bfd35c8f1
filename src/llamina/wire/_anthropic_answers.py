"""Answers on Anthropic's wire: a message as a Response, and back without losing a field.

What llamina has no name for is kept in `response.extra` as the wire has it: `extra["stop_sequence"]`,
`extra["container"]`, `extra["stop_details"]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamina.errors import InvalidRequestError, MalformedResponseError
from llamina.messages import Message, Usage
from llamina.protocol import Response

from ._anthropic_blocks import WIRE, decode_block, encode_block
from ._anthropic_errors import error_in_success
from ._anthropic_usage import decode_usage, encode_usage

__all__ = ["decode_response", "encode_response", "further_fields", "unified", "wire_stop"]

_STOPS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_WORDS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_NAMED = frozenset({"id", "type", "role", "model", "content", "stop_reason", "usage"})


def unified(stop: Any) -> str | None:
    """The finish reason that all wires share, for this wire's word."""
    if stop is None:
        return None
    return _STOPS.get(stop, "other") if isinstance(stop, str) else "other"


def wire_stop(response: Response) -> str | None:
    """This wire's word for how an answer ended: the provider's own, unless a layer changed it or it is of no wire."""
    if response.raw_finish_reason is not None and unified(response.raw_finish_reason) == response.finish_reason:
        return response.raw_finish_reason
    return None if response.finish_reason is None else _WORDS.get(response.finish_reason, "end_turn")


def decode_response(
    body: Any, *, request_id: str | None = None, provider: str | None = None, model: str | None = None
) -> Response:
    """The Response that a message says; *provider* and *model* are named in an error.

    Raises:
        MalformedResponseError: it is no message: not an object, of another type, without a list of blocks.
        LLMError: the body is an error although its status was a success; it is classified as in a failure.
    """
    if not isinstance(body, Mapping):
        raise _malformed(f"its body is of type {type(body).__name__}", None, request_id, provider, model)
    usage = decode_usage(body.get("usage"))
    if body.get("type") == "error" or ("content" not in body and body.get("error")):
        raise error_in_success(body, provider=provider, model=model, usage=usage, request_id=request_id)
    content = body.get("content")
    if body.get("type", "message") != "message":
        raise _malformed(f"its type is {str(body['type'])[:100]!r}", usage, request_id, provider, model)
    if not isinstance(content, list | tuple) or not all(isinstance(block, Mapping) for block in content):
        raise _malformed("its content is no list of blocks", usage, request_id, provider, model)
    role, stop = body.get("role"), body.get("stop_reason")
    extra = {key: value for key, value in body.items() if key not in _NAMED}
    name, answered = body.get("id"), body.get("model")
    if "id" in body and not isinstance(name, str):
        extra["id"], name = name, None
    if not isinstance(answered, str):
        if "model" in body:
            extra["model"] = answered
        answered = ""
    if usage is None and "usage" in body:
        extra["usage"] = body["usage"]
    if stop is not None and not isinstance(stop, str):
        extra["stop_reason"] = stop
    message = Message(role if isinstance(role, str) else "assistant", tuple([decode_block(block) for block in content]))
    raw_stop = stop if isinstance(stop, str) else None
    return Response(message, usage, unified(stop), answered, name, raw_stop, request_id, extra, wire=WIRE)


def _malformed(
    why: str, usage: Usage | None, request_id: str | None, provider: str | None, model: str | None
) -> MalformedResponseError:
    return MalformedResponseError(
        f"the answer is no message: {why}", usage=usage, request_id=request_id, provider=provider, model=model
    )


def encode_response(response: Response, *, created: int = 0) -> dict[str, Any]:  # noqa: ARG001
    """The message that says *response*; this wire says no time, so *created* is not looked at."""
    body: dict[str, Any] = {
        "id": response.id or "msg_0",
        "type": "message",
        "role": response.message.role,
        "model": response.model,
        "content": encode_blocks(response.message),
        "stop_reason": wire_stop(response),
    }
    if response.raw_finish_reason not in _STOPS:  # of another wire, where nothing says what stopped it
        body["stop_sequence"] = None
    if response.usage is not None:
        body["usage"] = encode_usage(response.usage)
    return {**body, **further_fields(response)}


def further_fields(response: Response) -> Mapping[str, Any]:
    """What the answer says besides, if this wire said it: the fields of another mean something else here."""
    return response.extra if response.wire in ("", WIRE) else {}


def encode_blocks(message: Message) -> list[dict[str, Any]]:
    """The content of an answer."""
    blocks = []
    for part in message.parts:
        try:
            blocks.append(encode_block(part))
        except InvalidRequestError:  # an answer of another wire: what cannot be said here is left out
            continue
    return blocks
