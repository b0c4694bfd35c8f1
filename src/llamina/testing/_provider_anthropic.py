"""What a simulated provider says on Anthropic's wire, Messages.

The one surprise: it has no codes as OpenAI has. What needs one is said in `error.details.error_code` (a spend limit), or
in the sentence that the provider is known for (a prompt that is too long).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llamina.errors import LLMError
from llamina.events import Event
from llamina.messages import Usage
from llamina.protocol import Request, Response
from llamina.wire import anthropic_messages

from ._provider_openai import named_frames

__all__ = ["AnthropicWire"]

_encode = msgspec.json.encode

_USUAL = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_TYPES = {"server_error": "api_error", "insufficient_quota": "rate_limit_error"}
"""This wire's words for OpenAI's types."""
_CODES: dict[str, str | None] = {"insufficient_quota": "enforced_spend_limit_reached", "rate_limit_exceeded": None}
"""This wire's words for OpenAI's codes; None for what the type says already."""
_SENTENCES = {
    "context_length_exceeded": "prompt is too long: 200001 tokens > 200000 maximum",
    "content_filter": "Output blocked by content filtering policy",
}
"""What stands for a code that this wire does not have."""


class AnthropicWire:
    """Messages."""

    path = "/v1/messages"
    base = ""
    answer_name = "msg_sim_"
    request_header = "request-id"

    def read(self, body: Any) -> Request:
        return anthropic_messages.decode_request(body)

    def streams(self, body: Mapping[str, Any]) -> bool:
        return body.get("stream") is True

    def error(self, error: LLMError) -> tuple[int, dict[str, str], Mapping[str, Any]]:
        return anthropic_messages.encode_error(error)

    def whole(self, response: Response) -> bytes:
        return _encode(anthropic_messages.encode_response(response))

    def stream(self, name: str, model: str, body: Mapping[str, Any], *, usage: Usage | None) -> _AnthropicStream:  # noqa: ARG002
        return _AnthropicStream(anthropic_messages.StreamEncoder(name, model, usage is not None), usage)

    def refusal(
        self,
        status: int | None,
        *,
        type: str | None = None,  # noqa: A002 - the wire's word
        code: str | None = None,
        message: str,
    ) -> Mapping[str, Any]:
        usual = "api_error" if status is None else _USUAL.get(status, "api_error")
        said: dict[str, Any] = {"type": _TYPES.get(type, type) if type else usual, "message": message}
        if code in _SENTENCES:
            said["message"] = f"{_SENTENCES[code]}; {message}"
        elif code and (word := _CODES.get(code, code)):
            said["details"] = {"error_code": word}
        return {"type": "error", "error": said}


class _AnthropicStream:
    def __init__(self, encoder: anthropic_messages.StreamEncoder, usage: Usage | None) -> None:
        self._encoder = encoder
        self._usage = usage

    def start(self) -> bytes:
        # What the input costs is said before the first word.
        return named_frames(self._encoder.start(self._usage))

    def event(self, event: Event) -> bytes:
        return named_frames(self._encoder.event(event))

    def finish(self, response: Response, *, done: bool) -> bytes:
        payloads = self._encoder.finish(response)
        return named_frames([each for each in payloads if done or each["type"] != "message_stop"])

    def failure(self, body: Mapping[str, Any]) -> bytes:
        return named_frames([dict(body)])
