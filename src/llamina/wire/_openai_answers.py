"""Answers on the chat-completions wire: a completion as a Response, and back without losing a field.

What llamina has no name for is kept in `response.extra`, in the shape of the wire: `extra["system_fingerprint"]`,
`extra["choices"][0]["logprobs"]`, further choices whole from `extra["choices"][1]` on.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from llamina.errors import InvalidRequestError, MalformedResponseError
from llamina.messages import Audio, Message, Part, Reasoning, ToolCall, UnknownPart, Usage
from llamina.protocol import Response

from ._counts import count
from ._openai_errors import error_in_success
from ._openai_parts import (
    WIRE,
    add_reasoning,
    decode_content,
    decode_reasoning,
    decode_tool_calls,
    encode_part,
    encode_tool_call,
)
from ._raw import further, packed

__all__ = [
    "decode_response",
    "decode_sound",
    "decode_usage",
    "encode_choice",
    "encode_response",
    "encode_usage",
    "further_fields",
    "refusal",
    "unified",
    "wire_finish",
]

_FINISH = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
}
_NAMED = frozenset({"id", "model", "choices", "usage"})


def unified(finish: Any) -> str | None:
    """The finish reason that all wires share, for this wire's word."""
    if finish is None:
        return None
    return _FINISH.get(finish, "other") if isinstance(finish, str) else "other"


def further_fields(response: Response) -> dict[str, Any]:
    """What the answer says besides, if this wire said it: the fields of another mean something else here."""
    return dict(response.extra) if response.wire in ("", WIRE) else {}


def wire_finish(response: Response) -> str | None:
    """This wire's word for how an answer ended: the provider's own, unless a layer changed it or it is of no wire."""
    if response.raw_finish_reason is not None and unified(response.raw_finish_reason) == response.finish_reason:
        return response.raw_finish_reason
    return "stop" if response.finish_reason == "other" else response.finish_reason


def decode_response(
    body: Any, *, request_id: str | None = None, provider: str | None = None, model: str | None = None
) -> Response:
    """The Response that a completion says; *provider* and *model* are named in an error.

    Raises:
        MalformedResponseError: it is no completion: not an object, without choices, without a message.
        LLMError: the body holds an error although its status was a success; it is classified as in a failure.
    """
    if not isinstance(body, Mapping):
        raise _malformed(f"its body is of type {type(body).__name__}", None, request_id, provider, model)
    usage = decode_usage(body.get("usage"))
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    failure = body.get("error") or (first.get("error") if isinstance(first, Mapping) else None)
    if failure:
        raise error_in_success(failure, provider=provider, model=model, usage=usage, request_id=request_id)
    if not isinstance(first, Mapping):
        raise _malformed("it has no choices", usage, request_id, provider, model)
    message = first.get("message")
    if not isinstance(message, Mapping) or not message:
        raise _malformed("its first choice has no message", usage, request_id, provider, model)
    decoded = decode_answer(message)
    if decoded is None:
        raise _malformed("the content of its message is neither text nor parts", usage, request_id, provider, model)
    finish = first.get("finish_reason")
    extra = {key: value for key, value in body.items() if key not in _NAMED}
    if extra.get("object") == "chat.completion":
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
    assert isinstance(choices, list)
    rest = _rest_of_choice(first, message, encode_answer(decoded))
    if rest or len(choices) > 1:
        extra["choices"] = [rest, *choices[1:]]
    raw_finish = finish if isinstance(finish, str) else None
    return Response(decoded, usage, unified(finish), answered, name, raw_finish, request_id, extra, wire=WIRE)


def _malformed(
    why: str, usage: Usage | None, request_id: str | None, provider: str | None, model: str | None
) -> MalformedResponseError:
    return MalformedResponseError(
        f"the answer is no completion: {why}", usage=usage, request_id=request_id, provider=provider, model=model
    )


def _rest_of_choice(
    choice: Mapping[str, Any], message: Mapping[str, Any], written: Mapping[str, Any]
) -> dict[str, Any]:
    """What the typed fields do not say of a choice; a typed field only where it says nothing in another way."""
    rest = {key: value for key, value in choice.items() if key not in ("message", "finish_reason")}
    if rest.get("index") == 0:
        del rest["index"]
    kept = {key: value for key, value in message.items() if key not in written or (not value and written[key] != value)}
    if kept:
        rest["message"] = kept
    return rest


def decode_answer(message: Mapping[str, Any]) -> Message | None:
    """The message of a choice, or None where its content is none."""
    content = decode_content(message.get("content"))
    if content is None:
        return None
    role = message.get("role")
    thought = decode_reasoning(message)
    parts: list[Part] = [*content] if thought is None else [thought, *content]
    if message.get("refusal") and isinstance(message["refusal"], str):
        parts.append(refusal(message["refusal"]))
    sound = decode_sound(message.get("audio"))
    if sound is not None:
        parts.append(sound)
    parts += decode_tool_calls(message.get("tool_calls")) or ()
    return Message(role if isinstance(role, str) else "assistant", tuple(parts))


def refusal(text: str) -> UnknownPart:
    """A refusal, as the content part that this wire takes back in a conversation."""
    return UnknownPart({"type": "refusal", "refusal": text}, WIRE)


def decode_sound(audio: Any) -> Audio | None:
    """A spoken answer; its raw slot holds the id by which the provider takes it back."""
    try:
        raw = {key: value for key, value in audio.items() if key not in ("data", "transcript")}
        return Audio(b64decode(audio["data"], validate=True), transcript=audio.get("transcript"), raw=packed(WIRE, raw))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def encode_answer(message: Message) -> dict[str, Any]:
    """The message of a choice."""
    body: dict[str, Any] = {"role": message.role, "content": None}
    pieces: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for part in message.parts:
        if type(part) is ToolCall:
            calls.append(encode_tool_call(part))
        elif type(part) is Reasoning:
            add_reasoning(body, part, default="reasoning_content")
        elif type(part) is Audio and part.data is not None:
            body["audio"] = {
                **further(part, WIRE),
                "data": b64encode(part.data).decode(),
                "transcript": part.transcript,
            }
        elif type(part) is UnknownPart and _is_refusal(part.raw):
            body["refusal"] = body.get("refusal", "") + part.raw["refusal"]
        else:
            try:
                pieces.append(encode_part(part))
            except InvalidRequestError:  # an answer of another wire: what cannot be said here is left out
                continue
    if pieces:
        plain = all(type(piece.get("text")) is str and len(piece) == 2 for piece in pieces)
        body["content"] = "".join([piece["text"] for piece in pieces]) if plain else pieces
    if calls:
        body["tool_calls"] = calls
    return body


def _is_refusal(raw: Any) -> bool:
    return isinstance(raw, Mapping) and raw.get("type") == "refusal" and isinstance(raw.get("refusal"), str)


def encode_choice(message: Message, finish: str | None, rest: Mapping[str, Any]) -> dict[str, Any]:
    """The first choice: what the Response says now, and what the provider said besides."""
    written = encode_answer(message)
    further_message = rest.get("message")
    for key, value in further_message.items() if isinstance(further_message, Mapping) else ():
        if key not in written or not written[key]:
            written[key] = value
    others = {key: value for key, value in rest.items() if key != "message"}
    return {"index": 0, **others, "message": written, "finish_reason": finish}


def _rest(choice: Any) -> Mapping[str, Any]:
    return choice if isinstance(choice, Mapping) else {}


def encode_response(response: Response, *, created: int = 0) -> dict[str, Any]:
    """The completion that says *response*; *created* (seconds of the epoch) where the answer does not say it itself."""
    extra = further_fields(response)
    given = extra.pop("choices", None)
    choices: Sequence[Any] = given if isinstance(given, list | tuple) and given else ({},)
    body: dict[str, Any] = {
        "id": response.id or "chatcmpl-0",
        "object": "chat.completion",
        "created": created,
        "model": response.model,
        "choices": [encode_choice(response.message, wire_finish(response), _rest(choices[0])), *choices[1:]],
    }
    if response.usage is not None:
        body["usage"] = encode_usage(response.usage)
    return {**body, **extra}


def decode_usage(usage: Any) -> Usage | None:
    """Token counts as all wires share them, or None for what is no account: missing, null, negative, text.

    Some providers (Gemini, xAI) leave the reasoning out of `completion_tokens` and count it in the total only, others
    leave the cached tokens out of `prompt_tokens`; here output always includes reasoning and input what was cached.
    """
    if not isinstance(usage, Mapping):
        return None
    prompt, answer = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    total = count(usage.get("total_tokens"))
    if prompt is None or answer is None:
        if total is None or (prompt is None and answer is None):
            return None
        prompt = max(0, total - (answer or 0)) if prompt is None else prompt
        answer = max(0, total - prompt) if answer is None else answer
    given, spoken = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    given, spoken = given if isinstance(given, Mapping) else {}, spoken if isinstance(spoken, Mapping) else {}
    read = count(given.get("cached_tokens")) or count(usage.get("prompt_cache_hit_tokens")) or 0
    written = count(given.get("cache_write_tokens")) or 0
    reasoning = count(spoken.get("reasoning_tokens")) or 0
    heard, said = count(given.get("audio_tokens")) or 0, count(spoken.get("audio_tokens")) or 0
    if read + written > prompt:
        prompt += read + written
    if total is not None:
        answer = max(answer, total - prompt)
    if reasoning > answer:
        answer += reasoning
    return Usage(prompt, answer, read, written, reasoning, 0, heard, said, raw=usage)


def encode_usage(usage: Usage) -> dict[str, Any]:
    """The account of this wire: the provider's own where it says the same, else made from the counts."""
    if isinstance(usage.raw, Mapping) and decode_usage(usage.raw) == usage:
        return dict(usage.raw)
    body: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
    given = {
        "cached_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "audio_tokens": usage.input_audio_tokens,
    }
    if any(given.values()):
        body["prompt_tokens_details"] = {key: value for key, value in given.items() if value or key == "cached_tokens"}
    spoken = {"reasoning_tokens": usage.reasoning_tokens, "audio_tokens": usage.output_audio_tokens}
    if any(spoken.values()):
        body["completion_tokens_details"] = {key: value for key, value in spoken.items() if value}
    return body
