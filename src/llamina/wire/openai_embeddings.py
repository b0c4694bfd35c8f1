"""The embeddings wire of OpenAI and everybody who speaks like it, both ways: texts in, vectors out.

    body = encode_request(Request.embed("text-embedding-3-small", ["one", "two"]), stream=False)
    response = decode_response(answered)
    response.vectors                             # one tuple of floats for each text, in their order

Vectors that come as base64 (`encoding_format="base64"`, a quarter of the bytes) are unpacked too. Fields without a name
here survive in `response.extra`. A caller who has tokens and no text passes them as `input=`, which goes first.

The one surprise: there is no stream. A request with a sink is answered whole, and nothing is pushed to it.
"""

from __future__ import annotations

import binascii
import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec

from llamina.errors import InvalidRequestError, MalformedResponseError
from llamina.events import Event
from llamina.messages import Message, Text, Usage
from llamina.protocol import Request, Response

from ._openai_errors import decode_error, encode_error, error_in_success, masked

__all__ = [
    "StreamDecoder",
    "check_response",
    "decode_error",
    "decode_request",
    "decode_response",
    "decode_usage",
    "encode_error",
    "encode_request",
    "encode_response",
    "encode_usage",
    "masked",
]

WIRE = "embeddings"
_NAMED = frozenset({"data", "model", "id", "usage"})
_PACKED = "encoding_format"
"""In `response.extra`: how the vectors came, so that a server can hand them on in the same form."""


def encode_request(request: Request, *, stream: bool = False) -> dict[str, Any]:  # noqa: ARG001 - there are no streams
    """The JSON body of *request*; an `input` among its parameters goes before its texts.

    Raises:
        InvalidRequestError: it is no request for embeddings, or a message is more than text.
    """
    if request.kind != "embed":
        raise InvalidRequestError(f"the embeddings wire cannot say a request of kind {request.kind!r}")
    params = request.params
    texts = params["input"] if "input" in params else [_text(each) for each in request.messages]
    return {**params, "model": request.model, "input": texts}


def _text(message: Message) -> str:
    for part in message.parts:
        if type(part) is not Text:
            raise InvalidRequestError(
                f"the embeddings wire takes texts, and a message holds a {type(part).__name__}; "
                "pass what the provider takes as input="
            )
    return message.text


def decode_request(body: Any) -> Request:
    """The Request that a body says: a message for each text; lists of tokens stay in the parameter `input`.

    Raises:
        InvalidRequestError: it is no request for embeddings; the message names the field.
    """
    if not isinstance(body, Mapping):
        raise InvalidRequestError(f"the body of an embeddings request must be an object, got {type(body).__name__}")
    found = body.get("input")
    texts = [found] if isinstance(found, str) else found
    if not isinstance(texts, list | tuple) or not texts:
        raise InvalidRequestError(f"input must be a text or a list of texts, got {type(found).__name__}")
    params = {key: value for key, value in body.items() if key not in ("model", "input")}
    if not all([isinstance(text, str) for text in texts]):
        # Tokens: one list of numbers, or one for each vector.
        params["input"] = found
        texts = [""] * (len(texts) if isinstance(texts[0], list | tuple) else 1)
    return Request.embed(body.get("model"), texts).evolve(params=params)  # type: ignore[arg-type]


def decode_response(
    body: Any, *, request_id: str | None = None, provider: str | None = None, model: str | None = None
) -> Response:
    """The Response that a list of embeddings says, its vectors in the order of the texts.

    Raises:
        MalformedResponseError: it is no list of embeddings.
        LLMError: the body holds an error although its status was a success; it is classified as in a failure.
    """

    def refuse(why: str) -> NoReturn:
        raise MalformedResponseError(
            f"the answer is no list of embeddings: {why}", request_id=request_id, provider=provider, model=model
        )

    if not isinstance(body, Mapping):
        refuse(f"its body is of type {type(body).__name__}")
    usage = decode_usage(body.get("usage"))
    if body.get("error"):
        raise error_in_success(body["error"], provider=provider, model=model, usage=usage, request_id=request_id)
    items = body.get("data")
    if not isinstance(items, list) or not items or not all([isinstance(item, Mapping) for item in items]):
        refuse("it has no data")
    items = [item for _, item in sorted(enumerate(items), key=_place)]
    try:
        vectors = tuple([_vector(item.get("embedding")) for item in items])
    except (msgspec.ValidationError, binascii.Error, struct.error, ValueError):
        refuse("one of its vectors is none")
    extra = {key: value for key, value in body.items() if key not in _NAMED}
    if extra.get("object") == "list":
        del extra["object"]
    if isinstance(items[0]["embedding"], str):
        extra[_PACKED] = "base64"
    rest = [_rest(item, place) for place, item in enumerate(items)]
    if any(rest):
        extra["data"] = rest
    if usage is None and "usage" in body:
        extra["usage"] = body["usage"]
    name, answered = body.get("id"), body.get("model")
    return Response(
        Message("assistant", ()),
        usage,
        "stop",
        answered if isinstance(answered, str) else "",
        name if isinstance(name, str) else None,
        request_id=request_id,
        extra=extra,
        vectors=vectors,
        wire=WIRE,
    )


def _place(numbered: tuple[int, Mapping[str, Any]]) -> int:
    """Which text an item belongs to; where it does not say so, its own place."""
    place, item = numbered
    index = item.get("index")
    return index if isinstance(index, int) else place


def _vector(said: Any) -> tuple[float, ...]:
    if isinstance(said, str):  # little-endian floats of 32 bits
        packed = b64decode(said, validate=True)
        return struct.unpack(f"<{len(packed) // 4}f", packed)
    return msgspec.convert(said, tuple[float, ...])


def _rest(item: Mapping[str, Any], place: int) -> dict[str, Any]:
    """What is not said of an item by its vector and its place."""
    usual = {"object": "embedding", "index": place}
    return {key: value for key, value in item.items() if key != "embedding" and usual.get(key, ...) != value}


def check_response(request: Request, response: Response) -> None:
    """Whether *response* can be the answer to *request*.

    Raises:
        MalformedResponseError: the vectors are not one for each text.
    """
    asked, came = len(request.messages), len(response.vectors)
    if "input" not in request.params and asked != came:
        raise MalformedResponseError(f"{asked} texts were sent and {came} vectors came back", usage=response.usage)


def encode_response(response: Response, *, created: int = 0) -> dict[str, Any]:  # noqa: ARG001 - it has no date
    """The list of embeddings that says *response*."""
    extra = dict(response.extra) if response.wire in ("", WIRE) else {}
    packed = extra.pop(_PACKED, None) == "base64"
    rest = extra.pop("data", None) or [{}] * len(response.vectors)
    data = [
        {"object": "embedding", "index": place, "embedding": _pack(vector) if packed else list(vector), **more}
        for place, (vector, more) in enumerate(zip(response.vectors, rest, strict=False))
    ]
    body: dict[str, Any] = {"object": "list", "data": data, "model": response.model}
    if response.id is not None:
        body["id"] = response.id
    if response.usage is not None:
        body["usage"] = encode_usage(response.usage)
    return {**body, **extra}


def _pack(vector: tuple[float, ...]) -> str:
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def decode_usage(usage: Any) -> Usage | None:
    """Token counts as all wires share them, or None for what is no account. There is no output."""
    if not isinstance(usage, Mapping):
        return None
    for name in ("prompt_tokens", "total_tokens", "input_tokens"):
        count = usage.get(name)
        if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2**53:
            return Usage(count, 0, raw=usage)
    return None


def encode_usage(usage: Usage) -> dict[str, Any]:
    """The account of this wire: the provider's own where it says the same, else made from the counts."""
    if isinstance(usage.raw, Mapping) and decode_usage(usage.raw) == usage:
        return dict(usage.raw)
    return {"prompt_tokens": usage.input_tokens, "total_tokens": usage.total_tokens}


class StreamDecoder:
    """What reads a stream where none can be: a server that sends one is told so."""

    def __init__(
        self,
        provider: str | None = None,
        model: str | None = None,
        secrets: tuple[str, ...] = (),  # noqa: ARG002 - nothing of a stream is shown
        request_id: str | None = None,
    ) -> None:
        self.usage: Usage | None = None
        self.ended = False
        self.partial = Response(Message("assistant", ()))
        self._failure = MalformedResponseError(
            "the answer to a request for embeddings was a stream of events",
            provider=provider,
            model=model,
            request_id=request_id,
        )

    def feed_bytes(self, payload: bytes) -> list[Event]:  # noqa: ARG002 - it means nothing here
        """The events of one payload: there are none."""
        return []

    def finish(self) -> Response:
        """There is no answer.

        Raises:
            MalformedResponseError: always.
        """
        raise self._failure
