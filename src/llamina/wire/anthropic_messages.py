"""The wire of Anthropic's Messages, both ways: what to send, what came, what to answer.

    body = encode_request(request, stream=False)         # a client sends
    response = decode_response(answered)                 # and reads

    request = decode_request(body)                       # a server reads
    answer = encode_response(response)                   # and answers

    decoder = StreamDecoder()                            # a client reads a stream
    for payload in sse.feed(received):                   # see llamina.wire.sse
        for event in decoder.feed_bytes(payload):
            await out.send(event)
    response = decoder.finish()

Pure functions on decoded JSON. Instructions at the start of a conversation become the top-level `system`; results of
tools become a user's message. Parameters are those that all wires share (`stop`, `tools`, `tool_choice`,
`response_format`, `user`, `reasoning_effort` ...) or native ones (`thinking`, `cache_control`, `stop_sequences`); what
the provider has no way to do (`seed`, `logprobs`, audio) raises `InvalidRequestError` that names it. Participants' names
and an image's `detail` are hints that this wire has no place for; they are left out.

What a block carries besides (a signature, citations, a cache mark) is in the part's raw slot, and goes back from there:
`Text("...", raw={"anthropic": {"cache_control": {"type": "ephemeral"}}})`. Thoughts that the provider did not sign, and
those of other providers, are left out of a request, for it would be refused.

A server frames each payload of `StreamEncoder` as `event: <its type>` and `data: <its JSON>`.

The one surprise: this wire wants `max_tokens` in every request, so one that does not say it gets `DEFAULT_MAX_TOKENS`;
an answer that was longer ends with the finish reason "length".
"""

from __future__ import annotations

from ._anthropic_answers import decode_response, encode_response
from ._anthropic_errors import decode_error, encode_error
from ._anthropic_params import DEFAULT_MAX_TOKENS
from ._anthropic_requests import decode_request, encode_request
from ._anthropic_server_stream import StreamEncoder
from ._anthropic_streams import StreamDecoder
from ._anthropic_usage import decode_usage, encode_usage
from ._openai_errors import masked

__all__ = [
    "DEFAULT_MAX_TOKENS",
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
