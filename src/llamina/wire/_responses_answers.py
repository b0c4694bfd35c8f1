"""Answers on the Responses wire: a response object as a Response, and back without losing a field.

What llamina has no name for (the echoed parameters, `created_at`, `metadata`) is kept in `response.extra`, in the shape of
the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamina.errors import LLMError, MalformedResponseError
from llamina.messages import Message, Part, Reasoning, Text, ToolCall, UnknownPart, Usage
from llamina.protocol import Response

from ._counts import count
from ._openai_errors import error_in_success
from ._raw import verbatim
from ._responses_items import CALLS, decode_item, encode_call, encode_items, own_reasoning, plain_refusal
from ._responses_parts import WIRE, kind_of

__all__ = [
    "ECHOES",
    "answer_of",
    "decode_response",
    "decode_usage",
    "encode_response",
    "encode_usage",
    "failed",
    "made_id",
    "sayable",
]

_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}
_WORDS = {finish: reason for reason, finish in _REASONS.items()}
_UNFINISHED = {
    "queued": "it waits to be answered in the background",
    "in_progress": "it is still being written in the background",
    "cancelled": "it was cancelled",
}
_NAMED = frozenset({"id", "model", "output", "usage"})

ECHOES: Mapping[str, Any] = {
    "error": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
"""What every answer of this wire says, for one that was not said on it."""


def decode_response(
    body: Any, *, request_id: str | None = None, provider: str | None = None, model: str | None = None
) -> Response:
    """The Response that a response object says; *provider* and *model* are named in an error.

    Raises:
        MalformedResponseError: it is none: not an object, without output, or not finished.
        LLMError: its status is `failed`, or it holds an error; it is classified.
    """
    facts: dict[str, Any] = {"request_id": request_id, "provider": provider, "model": model}
    if not isinstance(body, Mapping):
        raise MalformedResponseError(f"the answer is no response: its body is of type {type(body).__name__}", **facts)
    if body.get("error") or body.get("status") == "failed":
        raise failed(body, **facts)
    output = body.get("output")
    if not isinstance(output, list | tuple) or not all(isinstance(item, Mapping) for item in output):
        raise MalformedResponseError(
            "the answer is no response: it has no list of output items", usage=decode_usage(body.get("usage")), **facts
        )
    message = Message("assistant", tuple([part for item in output for part in decode_item(item)]))
    return answer_of(body, message, **facts)


def failed(body: Mapping[str, Any], *, partial: Response | None = None, **facts: Any) -> LLMError:
    """The error of a response that failed; with its usage, which is billed."""
    failure = body.get("error") or {"code": "server_error", "message": "the response failed without a reason"}
    return error_in_success(failure, usage=decode_usage(body.get("usage")), partial=partial, **facts)


def answer_of(
    body: Mapping[str, Any],
    message: Message,
    *,
    request_id: str | None = None,
    provider: str | None = None,
    model: str | None = None,
) -> Response:
    """The Response of a response object whose output is *message*.

    Raises:
        MalformedResponseError: its status says that there is no answer yet, or never will be.
    """
    usage, status = decode_usage(body.get("usage")), body.get("status")
    if isinstance(status, str) and status in _UNFINISHED:
        raise MalformedResponseError(
            f"the answer is not finished: {_UNFINISHED[status]} (status {status!r})",
            usage=usage,
            request_id=request_id,
            provider=provider,
            model=model,
        )
    details = body.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, Mapping) else None
    raw_finish = reason if status == "incomplete" and isinstance(reason, str) else status
    raw_finish = raw_finish if isinstance(raw_finish, str) else None
    extra = {key: value for key, value in body.items() if key not in _NAMED}
    if extra.get("object") == "response":
        del extra["object"]
    name, answered = body.get("id"), body.get("model")
    if name is not None and not isinstance(name, str):
        extra["id"], name = name, None
    if not isinstance(answered, str):
        if answered is not None:
            extra["model"] = answered
        answered = ""
    if usage is None and "usage" in body:
        extra["usage"] = body["usage"]
    finish = _unified(body, message)
    return Response(message, usage, finish, answered, name, raw_finish, request_id, extra, wire=WIRE)


def _unified(body: Mapping[str, Any], message: Message) -> str:
    """The finish reason that all wires share."""
    status, details = body.get("status"), body.get("incomplete_details")
    if status in (None, "completed"):
        return "tool_calls" if message.tool_calls else "stop"
    reason = details.get("reason") if isinstance(details, Mapping) else None
    return _REASONS.get(reason, "other") if status == "incomplete" and isinstance(reason, str) else "other"


def _ending(response: Response) -> dict[str, Any]:
    """How this wire says that an answer ended that did not come in its words."""
    if response.finish_reason in _WORDS:
        return {"status": "incomplete", "incomplete_details": {"reason": _WORDS[response.finish_reason]}}
    return {"status": "completed", "incomplete_details": None}


def encode_response(response: Response, *, created: int = 0) -> dict[str, Any]:
    """The response object that says *response*; *created* (seconds of the epoch) where the answer does not say it."""
    native = response.wire == WIRE
    extra = dict(response.extra) if native or not response.wire else {}
    if not native or _unified(extra, response.message) != response.finish_reason:
        extra.update(_ending(response))
    body: dict[str, Any] = {
        "id": response.id or "resp_0",
        "object": "response",
        "created_at": created,
        "model": response.model,
        **({} if native else ECHOES),
        "output": encode_output(response.message, native=native),
    }
    if response.usage is not None:
        body["usage"] = encode_usage(response.usage)
    return {**body, **extra}


_TO_BE_MADE: Any = object()
_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc"}


def made_id(kind: str, place: int) -> str:
    """The id of an item that came without one: unique in its answer, by its place."""
    return f"{_PREFIXES[kind]}_{place}"


def encode_output(message: Message, *, native: bool) -> list[dict[str, Any]]:
    """The output items; what another wire said and this one cannot is left out.

    Items that this wire did not say get ids; those of a *native* answer only where they never were items.
    """
    said = Message("assistant", tuple([part for part in message.parts if sayable(part)]))
    items = encode_items(said, _made_message, _encode_other)
    for place, item in enumerate(items):
        if item.get("id") is _TO_BE_MADE or (not native and kind_of(item) in CALLS and "id" not in item):
            item["id"] = made_id(kind_of(item), place)
            if kind_of(item) in CALLS:
                item.setdefault("status", "completed")
    return items


def sayable(part: Part) -> bool:
    """Whether this wire has a place for *part* in an answer."""
    if type(part) is UnknownPart:
        return isinstance(part.raw, Mapping) and (
            part.wire in ("", WIRE) or (part.wire == "chat" and plain_refusal(part))
        )
    return isinstance(part, Text | ToolCall | Reasoning)


def _made_message(content: list[dict[str, Any]]) -> dict[str, Any]:
    """A message item for content that came without one; its id is still to be given."""
    whole = [{"annotations": [], **piece} if piece.get("type") == "output_text" else piece for piece in content]
    return {"type": "message", "id": _TO_BE_MADE, "status": "completed", "role": "assistant", "content": whole}


def _encode_other(part: Any) -> list[dict[str, Any]]:
    """The item of a part that is no content of a message."""
    if type(part) is ToolCall:
        return [encode_call(part)]
    if type(part) is UnknownPart:
        return [verbatim(part, WIRE)]
    summary = [{"type": "summary_text", "text": part.text}] if part.text else []
    return own_reasoning(part) or [{"type": "reasoning", "id": _TO_BE_MADE, "summary": summary}]


def decode_usage(usage: Any) -> Usage | None:
    """Token counts as all wires share them, or None for what is no account: missing, null, negative, text."""
    if not isinstance(usage, Mapping):
        return None
    given, answer = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    total = count(usage.get("total_tokens"))
    if given is None or answer is None:
        if total is None or (given is None and answer is None):
            return None
        given = max(0, total - (answer or 0)) if given is None else given
        answer = max(0, total - given) if answer is None else answer
    details, spoken = usage.get("input_tokens_details"), usage.get("output_tokens_details")
    details, spoken = details if isinstance(details, Mapping) else {}, spoken if isinstance(spoken, Mapping) else {}
    read, written = count(details.get("cached_tokens")) or 0, count(details.get("cache_write_tokens")) or 0
    reasoning = count(spoken.get("reasoning_tokens")) or 0
    if read + written > given:
        given += read + written
    if reasoning > answer:
        answer += reasoning
    return Usage(given, answer, read, written, reasoning, raw=usage)


def encode_usage(usage: Usage) -> dict[str, Any]:
    """The account of this wire: the provider's own where it says the same, else made from the counts."""
    if isinstance(usage.raw, Mapping) and decode_usage(usage.raw) == usage:
        return dict(usage.raw)
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
