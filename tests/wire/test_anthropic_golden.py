"""Anthropic's wire against golden files: what the provider sends and takes, in the shapes of its public reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import (
    Event,
    File,
    Image,
    Message,
    Reasoning,
    Response,
    Started,
    Text,
    ToolCall,
    ToolResult,
    UnknownPart,
    Usage,
    fold,
)
from llamina.events import events_of
from llamina.wire.anthropic_messages import (
    StreamDecoder,
    StreamEncoder,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from llamina.wire.sse import SSEDecoder

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> Any:
    """One golden file."""
    return json.loads((GOLDEN / f"anthropic_{name}.json").read_text())


def names(prefix: str) -> list[str]:
    """The golden files of one kind."""
    return sorted(path.stem.removeprefix("anthropic_") for path in GOLDEN.glob(f"anthropic_{prefix}_*.json"))


def received(name: str) -> bytes:
    """The bytes of a stream."""
    return (GOLDEN / f"anthropic_{name}.sse").read_bytes()


def read(*pieces: bytes) -> tuple[list[Event], Response]:
    """What a stream says that arrives in these pieces."""
    frames, decoder = SSEDecoder(), StreamDecoder()
    events = [event for piece in pieces for payload in frames.feed(piece) for event in decoder.feed_bytes(payload)]
    return events, decoder.finish()


@pytest.mark.parametrize("name", names("request"))
def test_a_request_is_written_as_it_was_read(name: str) -> None:
    """Reading a body and writing it again loses and adds nothing."""
    body = golden(name)

    written = encode_request(decode_request(body), stream=False)

    assert written == body


@pytest.mark.parametrize("name", names("response"))
def test_an_answer_is_written_as_it_was_read(name: str) -> None:
    """Reading a message and writing it again loses and adds nothing."""
    body = golden(name)

    written = encode_response(decode_response(body))

    assert written == body


@pytest.mark.parametrize("name", names("stream"))
def test_a_stream_folds_to_the_answer_that_is_not_streamed(name: str) -> None:
    """The events make the message, and the end is what the same answer is in one piece."""
    answer = golden(name)

    events, response = read(received(name))

    assert fold(events) == response.message == decode_response(answer).message
    assert encode_response(response) == answer


@pytest.mark.parametrize("name", names("stream"))
@given(data=st.data())
def test_how_a_stream_is_cut_makes_no_difference(name: str, data: st.DataObject) -> None:
    """Bytes may arrive in any pieces."""
    stream = received(name)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))

    events, response = read(*[stream[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)])

    assert (events, encode_response(response)) == (read(stream)[0], golden(name))


@pytest.mark.parametrize("name", names("stream"))
def test_decoded_events_give_what_bytes_give(name: str) -> None:
    """The fast way through the bytes and the way through decoded JSON agree on every event."""
    payloads = SSEDecoder().feed(received(name))
    by_bytes, by_values = StreamDecoder(), StreamDecoder()

    for payload in payloads:
        assert by_bytes.feed_bytes(payload) == by_values.feed(msgspec.json.decode(payload))

    assert encode_response(by_bytes.finish()) == encode_response(by_values.finish())


@pytest.mark.parametrize("name", names("response"))
def test_an_answer_survives_being_streamed(name: str) -> None:
    """What a server streams of an answer is read as the answer."""
    response = decode_response(golden(name))
    encoder = StreamEncoder("msg_01", response.model, include_usage=True)

    payloads = encoder.start(response.usage)
    for event in events_of(response.message):
        payloads += encoder.event(event)
    payloads += encoder.finish(response)
    decoder = StreamDecoder()
    for payload in payloads:
        decoder.feed_bytes(msgspec.json.encode(payload))

    again = decoder.finish()
    assert again.usage == response.usage
    if name not in ("response_odd", "response_empty"):  # a stream says a signature and a reason in any case
        assert again.message == response.message
        assert encode_response(again) == golden(name)


def test_content_is_read_as_typed_parts() -> None:
    """Pictures and documents become bytes, addresses stay addresses, what has no type stays as it is."""
    parts = decode_request(golden("request_parts")).messages[0].parts

    assert parts[1] == Text("Remember it.", {"anthropic": {"cache_control": {"type": "ephemeral"}}})
    assert parts[2] == Image(bytes.fromhex("89504e470d0a1a0a"), "image/png")
    assert parts[3] == Image(
        url="https://example.org/cat.png", raw={"anthropic": {"cache_control": {"type": "ephemeral"}}}
    )
    assert parts[4] == Image(raw={"anthropic": {"source": {"type": "file", "file_id": "file_1"}}})
    assert parts[5] == File(
        b"%PDF-", "application/pdf", "report.pdf", raw={"anthropic": {"citations": {"enabled": True}}}
    )
    assert parts[6] == File("Grüße".encode(), "text/plain", "note.txt", raw={"anthropic": {"context": "from a friend"}})
    assert parts[7] == File(url="https://example.org/a.pdf")
    assert isinstance(parts[9], File)
    assert parts[10].wire == parts[11].wire == "anthropic"  # type: ignore[union-attr]


def test_a_conversation_with_tools_is_read_as_typed_parts() -> None:
    """Calls, results and failures are parts; a message of results is a tool's."""
    request = decode_request(golden("request_tools"))
    calls, results = request.messages[1], request.messages[2]

    assert calls.tool_calls[0] == ToolCall("toolu_1", "weather", '{"city":"Paris"}')
    assert calls.tool_calls[2].arguments == {}
    assert results.role == "tool"
    assert results.parts[:2] == (
        ToolResult("toolu_1", "sunny, 21 °C"),
        ToolResult("toolu_2", "no such city", is_error=True),
    )
    assert request.messages[4] == Message("user", (ToolResult("toolu_9", ()), Text("Thanks.")))


def test_parameters_are_read_in_the_dialect_that_all_wires_share() -> None:
    """So a request that came on this wire can go on with another."""
    text, tools = decode_request(golden("request_text")).params, decode_request(golden("request_tools")).params
    structured = decode_request(golden("request_structured")).params

    assert (text["stop"], text["user"]) == (["END", "\n\nHuman:"], "u-17")
    assert tools["tools"][0]["function"]["parameters"]["required"] == ["city"]
    assert tools["tools"][1]["anthropic"] == {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert tools["tools"][3]["type"] == "web_search_20260209"
    assert (tools["tool_choice"], tools["parallel_tool_calls"]) == ("required", False)
    assert structured["response_format"]["json_schema"]["schema"]["required"] == ["colour"]
    assert structured["reasoning_effort"] == "medium"


def test_thoughts_keep_what_the_provider_wants_back() -> None:
    """The signature and the encrypted form are in the raw slot."""
    message = decode_response(golden("response_thinking")).message

    assert message.parts[0] == Reasoning("The user asks. I think.", {"anthropic": {"signature": "c2lnbmF0dXJl"}})
    assert message.parts[1] == Reasoning("", {"anthropic": {"type": "redacted_thinking", "data": "ZW5jcnlwdGVk"}})


def test_cache_tokens_are_part_of_the_input() -> None:
    """This wire counts them apart; here the input is all that was read."""
    usage = decode_response(golden("response_cache")).usage

    assert usage == Usage(6510, 8, 5000, 1500, 0, 1000)


def test_tokens_of_thoughts_are_known() -> None:
    """They are part of the output."""
    usage = decode_response(golden("response_thinking")).usage

    assert usage == Usage(20, 300, reasoning_tokens=280)


def test_what_has_no_name_here_is_kept_in_the_extra_of_an_answer() -> None:
    """Containers, stop details and context edits are where the wire has them."""
    refused, searched = decode_response(golden("response_refusal")), decode_response(golden("response_server_tool"))

    assert (refused.finish_reason, refused.raw_finish_reason) == ("content_filter", "refusal")
    assert refused.extra["stop_details"]["category"] == "cyber"
    assert searched.extra["container"]["id"] == "container_1"


def test_blocks_of_server_tools_are_parts_that_can_be_sent_back() -> None:
    """They travel as they are, and their citations with the text."""
    answer = decode_response(golden("response_server_tool"))
    asked = decode_request(golden("request_text"))

    written = encode_request(asked.reply(answer, "And tomorrow?"), stream=False)

    assert [type(part) for part in answer.message.parts] == [Text, UnknownPart, UnknownPart, Text]
    assert written["messages"][3]["content"] == golden("response_server_tool")["content"]


def test_a_ping_says_that_the_provider_is_there() -> None:
    """It is an event, so that an idle limit sees it, and no content."""
    events, _ = read(received("stream_text"))

    assert events[1] == Started("msg_01", "claude-sim-1-20260101")
    assert [event.text for event in events[2:]] == ["Rome", ", of", " course."]
