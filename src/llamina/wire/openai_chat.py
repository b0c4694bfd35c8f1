"""The chat-completions wire of OpenAI and everybody who speaks like it, both ways: what to send, what came, what to answer.

    body = encode_request(request, stream=False)         # a client sends
    response = decode_response(answered)                 # and reads

    request = decode_request(body)                       # a server reads
    answer = encode_response(response)                   # and answers

    decoder = StreamDecoder()                            # a client reads a stream
    for payload in sse.feed(received):                   # see llamina.wire.sse
        for event in decoder.feed_bytes(payload):
            await out.send(event)
    response = decoder.finish()

Pure functions on decoded JSON. Fields without a name here survive in `response.extra`, `message.extra` and the `raw`
slot of a part; a part without a type is an `UnknownPart` and travels as it is. Where something cannot be said on this
wire, `encode_request` raises `InvalidRequestError` that names it.

Dialects are read as they come: reasoning as `reasoning_content` (DeepSeek, vLLM) or `reasoning` with
`reasoning_details` (OpenRouter), cached tokens of either name, content as text or as parts.

The one surprise: a stream is only whole when a `finish_reason` came. `[DONE]` is optional and proves nothing.
"""

from __future__ import annotations

from ._openai_answers import decode_response, decode_usage, encode_response, encode_usage
from ._openai_errors import decode_error, encode_error, masked
from ._openai_requests import decode_request, encode_request
from ._openai_server_stream import StreamEncoder
from ._openai_streams import StreamDecoder

__all__ = [
    "StreamDecoder",
    "StreamEncoder",
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
