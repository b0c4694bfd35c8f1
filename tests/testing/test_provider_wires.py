"""The simulated provider on each wire: what it says, in whose words, and what it charges."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import (
    ConfigurationError,
    InvalidRequestError,
    Message,
    Reasoning,
    Request,
    Response,
    TextDelta,
    ToolCall,
    Usage,
    build_stack,
)
from llamina.events import events_of
from llamina.testing import (
    FakeTransport,
    SimulatedProvider,
    answer,
    error_event,
    no_done,
    no_usage,
    simulated_time,
    status,
    vectors,
)
from llamina.testing._provider_wire import find_wire
from llamina.transports import HTTPTransport
from llamina.wire.sse import SSEDecoder

CODECS = {"chat": "openai_chat", "responses": "openai_responses", "anthropic": "anthropic_messages"}
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "anthropic": "/v1/messages"}
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
BODIES = {
    "chat": {"model": "sim", "messages": [{"role": "user", "content": "hi"}]},
    "responses": {"model": "sim", "input": "hi"},
    "anthropic": {"model": "sim", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
    "embeddings": {"model": "sim", "input": ["hi"]},
}
each_wire = pytest.mark.parametrize("wire", list(CODECS))


def codec(wire: str) -> Any:
    """The codec of a wire."""
    return importlib.import_module(f"llamina.wire.{CODECS[wire]}")


async def post(provider: SimulatedProvider, path: str, body: Any) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to one request, by hand; zeros where the connection was cut."""
    port = int(provider.base_url.split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = msgspec.json.encode(body)
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    answered = await reader.read()
    writer.close()
    await writer.wait_closed()
    if not answered:
        return 0, {}, b""
    top, _, rest = answered.partition(b"\r\n\r\n")
    first, *lines = top.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), rest


def said(script: Any, wire: str, **body: Any) -> tuple[int, dict[str, str], bytes]:
    """What a provider of *wire* that plays *script* answers."""

    async def main() -> tuple[int, dict[str, str], bytes]:
        async with SimulatedProvider(script, wire=wire) as provider:
            path = {**PATHS, "embeddings": "/v1/embeddings"}[wire]
            return await post(provider, path, {**BODIES[wire], **body})

    return asyncio.run(main())


def usages(wire: str) -> st.SearchStrategy[Usage]:
    """Every account that a wire can give."""
    count = st.integers(0, 10**6)

    def account(
        fresh: int, read: int, short: int, long: int, thought: int, rest: int, heard: int, spoken: int
    ) -> Usage:
        long, heard, spoken = (long if wire == "anthropic" else 0), *((heard, spoken) if wire == "chat" else (0, 0))
        return Usage(
            fresh + read + short + long + heard,
            thought + rest + spoken,
            read,
            short + long,
            thought,
            long,
            heard,
            spoken,
        )

    return st.builds(account, *[count] * 8)


@each_wire
@given(data=st.data())
def test_every_account_is_read_as_it_was_written(wire: str, data: Any) -> None:
    """Cached, written, reasoning and audio tokens, whole and streamed, come out as the script gave them."""
    usage = data.draw(usages(wire))
    server, response = find_wire(wire), answer("Hi", usage=usage, model="sim")
    started = msgspec.structs.replace(usage, output_tokens=0, reasoning_tokens=0, output_audio_tokens=0)

    whole = codec(wire).decode_response(msgspec.json.decode(server.whole(response)))
    stream = server.stream("id", "sim", STREAMED, usage=started)
    frames = stream.start() + stream.event(TextDelta("Hi")) + stream.finish(response, done=True)

    assert whole.usage == usage
    assert decoded(wire, frames).usage == usage


def decoded(wire: str, frames: bytes) -> Response:
    """The answer that a stream says."""
    decoder = codec(wire).StreamDecoder()
    for payload in SSEDecoder().feed(frames):
        decoder.feed_bytes(payload)
    return decoder.finish()


@each_wire
def test_all_that_an_answer_holds_is_said(wire: str) -> None:
    """Thoughts, text and several calls of tools, in pieces and whole, are the same message."""
    calls = ToolCall("call_1", "weather", '{"city":"Paris"}'), ToolCall("call_2", "time", "{}")
    message = Message.assistant(Reasoning("Hm."), "Let me see.", *calls)
    response = Response(message, Usage(5, 6), "tool_calls", model="sim")
    server = find_wire(wire)

    whole = codec(wire).decode_response(msgspec.json.decode(server.whole(response)))
    stream = server.stream("id", "sim", STREAMED, usage=Usage(5))
    pieces = [stream.event(event) for event in events_of(message)]
    streamed = decoded(wire, b"".join([stream.start(), *pieces, stream.finish(response, done=True)]))

    assert [(type(part), getattr(part, "id", "")) for part in whole.message.parts] == [
        (type(part), getattr(part, "id", "")) for part in message.parts
    ]
    assert whole.message == streamed.message
    assert whole.finish_reason == streamed.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("wire", "named", "header"),
    [
        ("chat", "chatcmpl-sim-1", "x-request-id"),
        ("responses", "resp_sim_1", "x-request-id"),
        ("anthropic", "msg_sim_1", "request-id"),
    ],
)
def test_names_are_those_of_the_wire(wire: str, named: str, header: str) -> None:
    """The id of an answer, and the header that names the request."""
    _, headers, body = said(["hi"], wire)

    assert msgspec.json.decode(body)["id"] == named
    assert headers[header] == "req-sim-1"


@pytest.mark.parametrize(
    ("wire", "base"), [("chat", "/v1"), ("responses", "/v1"), ("embeddings", "/v1"), ("anthropic", "")]
)
def test_the_address_is_that_of_the_wire(wire: str, base: str) -> None:
    """Clients of Anthropic append the version themselves."""

    async def main() -> str:
        async with SimulatedProvider(wire=wire) as provider:
            return provider.base_url

    assert asyncio.run(main()).partition("//")[2].partition("/")[2] == base.strip("/")


@pytest.mark.parametrize("wire", list(BODIES))
def test_it_answers_on_every_wire_whatever_it_was_made_for(wire: str) -> None:
    """The path decides; so one provider serves a program that chats and embeds."""

    async def main() -> None:
        def play(request: Request) -> Any:
            return vectors([1.0]) if request.kind == "embed" else "hi"

        async with SimulatedProvider(play, wire=wire) as provider:
            statuses = [(await post(provider, path, BODIES[name]))[0] for name, path in PATHS.items()]
            statuses.append((await post(provider, "/v1/embeddings", BODIES["embeddings"]))[0])

        assert statuses == [200] * 4
        assert [model for model, _ in provider.bills] == ["sim"] * 4

    asyncio.run(main())


@pytest.mark.parametrize("wire", list(BODIES))
def test_a_stranger_is_told_so_in_the_words_of_the_wire(wire: str) -> None:
    """A path that no wire has is not found, and nothing of the script is used up."""

    async def main() -> None:
        async with SimulatedProvider(["hi"], wire=wire) as provider:
            code, _, body = await post(provider, "/v1/nowhere", {})
            fields = msgspec.json.decode(body)

            assert code == 404
            assert fields["error"]["message"] == "no such path: /v1/nowhere"
            assert (fields.get("type") == "error") == (wire == "anthropic")
            assert provider.bills == []

    asyncio.run(main())


ANTHROPIC_WORDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@pytest.mark.parametrize("code", ANTHROPIC_WORDS)
def test_refusals_of_anthropic_are_in_its_words(code: int) -> None:
    """A type for each status, in an object that says that it is an error, and none of the codes of others."""
    answered, _, body = said([status(code, message="no")], "anthropic")

    assert answered == code
    assert msgspec.json.decode(body) == {"type": "error", "error": {"type": ANTHROPIC_WORDS[code], "message": "no"}}


def test_a_used_up_quota_is_said_as_each_provider_says_it() -> None:
    """OpenAI has a code for it, Anthropic the details of a rate limit."""
    refusal = [status(429, code="insufficient_quota")]

    chat = msgspec.json.decode(said(refusal, "chat")[2])["error"]
    anthropic = msgspec.json.decode(said(refusal, "anthropic")[2])["error"]

    assert (chat["type"], chat["code"]) == ("insufficient_quota", "insufficient_quota")
    assert anthropic["type"] == "rate_limit_error"
    assert anthropic["details"] == {"error_code": "enforced_spend_limit_reached"}


def test_a_word_of_the_script_stands_above_the_usual_one() -> None:
    """Whoever writes a type or a code gets it."""
    _, _, body = said([status(429, type="my_type", code="my_code", message="no")], "anthropic")

    assert msgspec.json.decode(body)["error"] == {
        "type": "my_type",
        "message": "no",
        "details": {"error_code": "my_code"},
    }


def payloads(answered: tuple[int, dict[str, str], bytes]) -> list[Any]:
    """The events of a stream."""
    data = b"".join([chunk.partition(b"\r\n")[2] for chunk in split_chunks(answered[2])])
    return [each if each == b"[DONE]" else msgspec.json.decode(each) for each in SSEDecoder().feed(data)]


def split_chunks(body: bytes) -> list[bytes]:
    """The chunks of a body, each with its length in front."""
    chunks = []
    while body:
        size = int(body.partition(b"\r\n")[0], 16)
        end = body.index(b"\r\n") + 2 + size
        chunks.append(body[:end])
        body = body[end + 2 :]
    return chunks


def test_a_stream_of_anthropic_counts_at_both_ends_and_says_when_it_is_over() -> None:
    """The input at its start, the output at its end; `message_stop` and no `[DONE]`."""
    usage = Usage(100, 7, 60)
    events = payloads(said([["H", "i", answer("Hi", usage=usage)]], "anthropic", stream=True))

    start = next(event for event in events if event["type"] == "message_start")["message"]["usage"]
    end = next(event for event in events if event["type"] == "message_delta")["usage"]
    assert (start["input_tokens"], start["cache_read_input_tokens"], end["output_tokens"]) == (40, 60, 7)
    assert events[-1]["type"] == "message_stop"


def test_manners_of_anthropic_leave_out_what_they_should() -> None:
    """Without an account there is none at either end; without the last word the reason to stop still comes."""
    uncounted = payloads(said([no_usage("hi")], "anthropic", stream=True))
    unfinished = payloads(said([no_done("hi")], "anthropic", stream=True))

    assert not any([event.get("usage") or event.get("message", {}).get("usage") for event in uncounted])
    assert uncounted[-1]["type"] == "message_stop"
    assert unfinished[-1]["delta"]["stop_reason"] == "end_turn"


def test_a_stream_of_responses_ends_with_its_answer() -> None:
    """`response.completed` is the end, numbered as all that came before; there is nothing to leave out."""
    events = payloads(said([no_done("hi")], "responses", stream=True))

    assert events[-1]["type"] == "response.completed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


@pytest.mark.parametrize(
    ("wire", "shown"),
    [
        ("chat", {"error": {"message": "busy", "type": "overloaded_error", "param": None, "code": None}}),
        ("anthropic", {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}),
        ("responses", {"type": "error", "code": "overloaded_error", "message": "busy", "param": None}),
    ],
)
def test_an_error_in_a_stream_is_said_as_the_wire_says_it(wire: str, shown: Any) -> None:
    """As an event of the stream, after what had been said."""
    events = payloads(said([["hi", error_event("overloaded_error", message="busy")]], wire, stream=True))

    last = dict(events[-1])
    assert last.pop("sequence_number", len(events) - 1) == len(events) - 1
    assert last == shown


def test_vectors_are_said_and_charged() -> None:
    """One for each text, in order; only the input costs."""

    async def main() -> None:
        script = [vectors([0.1, 0.2], [0.3, 0.4]), vectors([1, 2], usage=Usage(9))]
        async with SimulatedProvider(script, wire="embeddings") as provider:
            transport = HTTPTransport(provider.base_url, wire="embeddings")
            async with build_stack([], transport) as stack:
                first = await stack(Request.embed("sim-embed", ["one", "three"]))
                second = await stack(Request.embed("sim-embed", "one"))

            assert first.vectors == ((0.1, 0.2), (0.3, 0.4))
            assert (first.finish_reason, first.message.parts, first.id) == ("stop", (), None)
            assert first.usage == Usage(1 + 3 + 2 + 3)
            assert provider.bills == [("sim-embed", first.usage), ("sim-embed", Usage(9))]
            assert second.usage == Usage(9)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("item", "wire", "named"),
    [
        ("text", "embeddings", "use vectors"),
        (answer("text"), "embeddings", "use vectors"),
        ([0.0, "text"], "embeddings", "use vectors"),
        (vectors([1.0]), "chat", "a chat request with vectors"),
        (vectors([1.0]), "anthropic", "a chat request with vectors"),
    ],
)
def test_an_answer_of_the_wrong_kind_fails_the_test(item: Any, wire: str, named: str) -> None:
    """It is a mistake of the script, and is raised when the provider is left."""
    with pytest.raises(ConfigurationError, match=named):
        said([item], wire)


def test_a_fault_is_one_of_every_kind() -> None:
    """An embed request can be refused, too."""
    code, _, body = said([status(429)], "embeddings")

    assert code == 429
    assert msgspec.json.decode(body)["error"]["code"] == "rate_limit_exceeded"


@simulated_time
async def test_a_fake_plays_vectors() -> None:
    """As its answer to an embed request, and to nothing else."""
    fake = FakeTransport([vectors([0.5]), "text", vectors([0.5])])
    asked = Request.embed("sim", ["one"])
    stack = build_stack([], fake)

    response = await stack(asked)
    with pytest.raises(ConfigurationError, match="use vectors"):
        await stack(asked)
    with pytest.raises(ConfigurationError, match="with vectors"):
        await stack(Request.chat("sim", "hi"))

    assert response.vectors == ((0.5,),)
    assert response.usage == Usage(4)


@pytest.mark.parametrize(
    ("texts", "given", "complaint"),
    [
        (2, vectors([0.5]), r"1 vector for 2 texts; write vectors\(\[...\], \[...\]\)"),
        (1, vectors([0.5], [1.5]), r"2 vectors for 1 text; write vectors\(\[...\]\)"),
        (1, vectors(), "no vectors; use vectors"),
    ],
)
def test_a_fake_takes_a_wrong_number_of_vectors_for_a_mistake(texts: int, given: Response, complaint: str) -> None:
    """The message says how many there were, how many there should be, and how to write them."""
    stack = build_stack([], FakeTransport(given))

    with pytest.raises(ConfigurationError, match=complaint):
        asyncio.run(stack(Request.embed("sim", ["text"] * texts)))


def test_errors_of_the_caller_are_refused_in_the_words_of_the_wire() -> None:
    """A body that is no request gets a 400 that the client reads as such."""

    async def main() -> None:
        async with SimulatedProvider("hi") as provider:
            for wire, path in PATHS.items():
                code, headers, body = await post(provider, path, {"model": "sim"})
                error = codec(wire).decode_error(code, body, headers, provider="sim", model="sim")

                assert code == 400
                assert type(error) is InvalidRequestError

    asyncio.run(main())
