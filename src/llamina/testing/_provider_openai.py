"""What a simulated provider says on OpenAI's wires: chat completions, responses, embeddings.

The one surprise: the end of a responses stream is an event of the wire itself, `response.completed`, so there is no
`[DONE]` that could be left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llamina.errors import LLMError
from llamina.events import Event
from llamina.messages import Usage
from llamina.protocol import Request, Response
from llamina.wire import openai_chat, openai_embeddings, openai_responses

__all__ = ["ChatWire", "EmbeddingsWire", "ResponsesWire", "named_frames"]

_encode = msgspec.json.encode

_USUAL: dict[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", None),
    401: ("authentication_error", "invalid_api_key"),
    402: ("billing_error", "insufficient_credits"),
    403: ("permission_error", None),
    404: ("not_found_error", "model_not_found"),
    408: ("timeout_error", None),
    409: ("conflict_error", None),
    413: ("request_too_large", None),
    422: ("invalid_request_error", None),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    500: ("server_error", None),
    502: ("server_error", None),
    503: ("server_error", None),
    504: ("server_error", None),
    529: ("overloaded_error", None),
}
"""Status: type and code of its usual refusal."""


def named_frames(payloads: list[dict[str, Any]]) -> bytes:
    """Payloads as events that say their type twice, in front of the data and in it."""
    return b"".join([b"event: %b\ndata: %b\n\n" % (each["type"].encode(), _encode(each)) for each in payloads])


class _OpenAI:
    base = "/v1"
    request_header = "x-request-id"

    def streams(self, body: Mapping[str, Any]) -> bool:
        return body.get("stream") is True

    def refusal(
        self,
        status: int | None,
        *,
        type: str | None = None,  # noqa: A002 - the wire's word
        code: str | None = None,
        message: str,
    ) -> Mapping[str, Any]:
        usual_type, usual_code = ("server_error", None) if status is None else _USUAL.get(status, ("api_error", None))
        if code == "insufficient_quota":
            usual_type = code
        code = (usual_code if code is None else code) or None
        return {"error": {"message": message, "type": type or usual_type, "param": None, "code": code}}


class ChatWire(_OpenAI):
    """Chat completions."""

    path = "/chat/completions"
    answer_name = "chatcmpl-sim-"

    def read(self, body: Any) -> Request:
        return openai_chat.decode_request(body)

    def error(self, error: LLMError) -> tuple[int, dict[str, str], Mapping[str, Any]]:
        return openai_chat.encode_error(error)

    def whole(self, response: Response) -> bytes:
        return _encode(openai_chat.encode_response(response))

    def stream(self, name: str, model: str, body: Mapping[str, Any], *, usage: Usage | None) -> _ChatStream:
        options = body.get("stream_options")
        asked = isinstance(options, Mapping) and options.get("include_usage") is True
        return _ChatStream(openai_chat.StreamEncoder(name, model, asked and usage is not None))


class _ChatStream:
    def __init__(self, encoder: openai_chat.StreamEncoder) -> None:
        self._encoder = encoder

    @staticmethod
    def _frames(chunks: list[dict[str, Any]]) -> bytes:
        return b"".join([b"data: " + _encode(chunk) + b"\n\n" for chunk in chunks])

    def start(self) -> bytes:
        return self._frames(self._encoder.start())

    def event(self, event: Event) -> bytes:
        return self._frames(self._encoder.event(event))

    def finish(self, response: Response, *, done: bool) -> bytes:
        return self._frames(self._encoder.finish(response)) + (b"data: [DONE]\n\n" if done else b"")

    def failure(self, body: Mapping[str, Any]) -> bytes:
        return self._frames([dict(body)])


class ResponsesWire(_OpenAI):
    """The Responses API."""

    path = "/responses"
    answer_name = "resp_sim_"

    def read(self, body: Any) -> Request:
        return openai_responses.decode_request(body)

    def error(self, error: LLMError) -> tuple[int, dict[str, str], Mapping[str, Any]]:
        return openai_responses.encode_error(error)

    def whole(self, response: Response) -> bytes:
        return _encode(openai_responses.encode_response(response))

    def stream(self, name: str, model: str, body: Mapping[str, Any], *, usage: Usage | None) -> _ResponsesStream:  # noqa: ARG002
        return _ResponsesStream(openai_responses.StreamEncoder(name, model, usage is not None))


class _ResponsesStream:
    def __init__(self, encoder: openai_responses.StreamEncoder) -> None:
        self._encoder = encoder
        self._number = -1

    def _frames(self, payloads: list[dict[str, Any]]) -> bytes:
        if payloads:
            self._number = payloads[-1].get("sequence_number", self._number + len(payloads))
        return named_frames(payloads)

    def start(self) -> bytes:
        return self._frames(self._encoder.start())

    def event(self, event: Event) -> bytes:
        return self._frames(self._encoder.event(event))

    def finish(self, response: Response, *, done: bool) -> bytes:  # noqa: ARG002 - the end is a part of the answer
        return self._frames(self._encoder.finish(response))

    def failure(self, body: Mapping[str, Any]) -> bytes:
        # In a stream the word "type" is taken: what kind of error it is stands in its code.
        said = body["error"]
        code, message = said["code"] or said["type"], said["message"]
        payload = {"type": "error", "code": code, "message": message, "param": None}
        return self._frames([{**payload, "sequence_number": self._number + 1}])


class EmbeddingsWire(_OpenAI):
    """Vectors for texts; there are no streams."""

    path = "/embeddings"
    answer_name = ""

    def read(self, body: Any) -> Request:
        return openai_embeddings.decode_request(body)

    def streams(self, body: Mapping[str, Any]) -> bool:  # noqa: ARG002 - never
        return False

    def error(self, error: LLMError) -> tuple[int, dict[str, str], Mapping[str, Any]]:
        return openai_embeddings.encode_error(error)

    def whole(self, response: Response) -> bytes:
        return _encode(openai_embeddings.encode_response(response))

    def stream(self, name: str, model: str, body: Mapping[str, Any], *, usage: Usage | None) -> _ChatStream:
        raise NotImplementedError("embeddings are never streamed")
