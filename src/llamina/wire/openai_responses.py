"""The Responses wire of OpenAI, both ways: what to send, what came, what to answer.

    body = encode_request(request, stream=False)         # a client sends
    response = decode_response(answered)                 # and reads

    request = decode_request(body)                       # a server reads
    answer = encode_response(response)                   # and answers

    decoder = StreamDecoder()                            # a client reads a stream
    for payload in sse.feed(received):                   # see llamina.wire.sse
        for event in decoder.feed_bytes(payload):
            await out.send(event)
    response = decoder.finish()

Pure functions on decoded JSON. The same `Request` as for chat completions: its parameters (`max_tokens`, `tools`,
`response_format`, `reasoning_effort` ...) are said in this wire's words, and this wire's own ones (`instructions`,
`store`, `previous_response_id`, `include`, `reasoning`, `text` ...) go through untouched. What the API cannot do (`stop`,
`seed`, several answers, sound) raises `InvalidRequestError` that names it. Fields without a name here survive in
`response.extra` and in the `raw` slot of a part; an item without a type is an `UnknownPart` and goes back verbatim.

A server frames each server event as `event: <type>` and `data: <json>`; the type is in the JSON.

The one surprise: a stream is only whole when `response.completed`, `response.incomplete` or `response.failed` came, and a
part's ids and annotations come after its text, as a piece without text that closes it.
"""

from __future__ import annotations

from ._openai_errors import decode_error, encode_error, masked
from ._responses_answers import decode_response, decode_usage, encode_response, encode_usage
from ._responses_requests import decode_request, encode_request
from ._responses_server_stream import StreamEncoder
from ._responses_streams import StreamDecoder

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
