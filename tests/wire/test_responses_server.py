"""Speaking the stream of the Responses wire, so that our decoder and the official SDK read what was meant."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamina import (
    Audio,
    Event,
    Message,
    PartDelta,
    Reasoning,
    ReasoningDelta,
    Response,
    Started,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    UnknownPart,
    Usage,
    fold,
)
from llamina.events import events_of
from llamina.wire.openai_responses import StreamDecoder, StreamEncoder, decode_response, encode_response

WORD = st.text("abc\n", min_size=1, max_size=8)
HOSTED = UnknownPart({"type": "web_search_call"}, "responses")
EVENTS = st.lists(
    st.one_of(
        WORD.map(TextDelta),
        st.builds(lambda text: TextDelta(text, None, new=True), WORD),
        st.builds(lambda text: TextDelta(text, {"anthropic": {"citations": [1]}}), WORD),
        WORD.map(ReasoningDelta),
        st.builds(lambda text: ReasoningDelta(text, {"anthropic": {"signature": "x"}}), WORD),
        st.builds(ToolCallDelta, st.integers(0, 2), st.text("ab{}", max_size=5)),
        st.just(PartDelta(UnknownPart({"type": "refusal", "refusal": "no"}, "chat"))),
        st.just(PartDelta(HOSTED)),
        st.just(PartDelta(UnknownPart({"type": "server_tool_use"}, "anthropic"))),
    ),
    max_size=10,
)


def spoken(events: list[Event], response: Response) -> list[dict[str, Any]]:
    """The server events for these events."""
    encoder = StreamEncoder("resp_1", "sim", include_usage=True, created=1)
    return [
        *encoder.start(),
        *[each for event in events for each in encoder.event(event)],
        *encoder.finish(response),
    ]


def heard(said: list[dict[str, Any]]) -> Response:
    """What our decoder reads of them."""
    decoder = StreamDecoder()
    for each in said:
        decoder.feed_bytes(msgspec.json.encode(each))
    return decoder.finish()


def named(events: list[Event]) -> list[Event]:
    """The same events, with an id and a name at the first piece of each tool call, and hosted calls told apart."""
    seen: set[int] = set()
    done: list[Event] = []
    for event in events:
        if type(event) is ToolCallDelta and event.index not in seen:
            seen.add(event.index)
            event = ToolCallDelta(event.index, event.arguments, f"id{event.index}", f"tool{event.index}")
        if type(event) is PartDelta and event.part == HOSTED:
            event = PartDelta(UnknownPart({"type": "web_search_call", "id": f"ws_{len(done)}"}, "responses"))
        done.append(event)
    return done


def bare(message: Message) -> list[Any]:
    """The content without what this wire adds to it."""
    parts: list[Any] = []
    for part in message.parts:
        if isinstance(part, Text | Reasoning | ToolCall):
            parts.append(msgspec.structs.replace(part, raw=None))
        elif isinstance(part, UnknownPart) and part.wire != "anthropic":
            parts.append({key: value for key, value in part.raw.items() if key != "item"})
    return parts


@given(EVENTS.map(named))
def test_what_a_server_says_is_what_a_client_reads(events: list[Event]) -> None:
    """Any events, of any wire, fold to the same content; the end repeats what was streamed."""
    response = Response(fold(events), Usage(3, 4), "stop", model="sim", id="resp_1")

    said = spoken(events, response)
    read = heard(said)

    assert bare(read.message) == bare(response.message)
    assert (read.usage, read.id, read.model) == (Usage(3, 4), "resp_1", "sim")
    assert bare(decode_response(said[-1]["response"]).message) == bare(response.message)
    assert [each["sequence_number"] for each in said] == list(range(len(said)))


@settings(deadline=None, max_examples=50)
@given(EVENTS.map(named))
def test_the_official_sdk_accumulates_what_a_server_says(events: list[Event]) -> None:
    """Each event finds its item, ids stay what they were, and the final response is that of the end."""
    response = Response(fold(events), Usage(3, 4), "stop", model="sim", id="resp_1")

    final, kinds = accumulated(spoken(events, response))

    assert final.output_text == response.text
    assert [item.name for item in final.output if item.type == "function_call"] == [
        call.name for call in response.tool_calls
    ]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"


def accumulated(said: list[dict[str, Any]]) -> tuple[Any, list[str]]:
    """What the SDK makes of a stream: the final response, and the types of its events."""
    httpx2, openai = pytest.importorskip("httpx2"), pytest.importorskip("openai")
    body = b"".join(
        [f"event: {each['type']}\n".encode() + b"data: " + msgspec.json.encode(each) + b"\n\n" for each in said]
    )
    answer = httpx2.Response(200, content=body, headers={"content-type": "text/event-stream"})
    with (
        httpx2.Client(transport=httpx2.MockTransport(lambda _: answer)) as http,
        openai.OpenAI(api_key="sk", base_url="http://sim/v1", http_client=http, max_retries=0) as client,
        client.responses.stream(model="sim", input="hi") as stream,
    ):
        kinds = [str(event.type) for event in stream]
        return stream.get_final_response(), kinds


def test_the_official_sdk_iterates_what_a_server_says() -> None:
    """Also without its helper that accumulates."""
    httpx2, openai = pytest.importorskip("httpx2"), pytest.importorskip("openai")
    said = spoken([TextDelta("Hel"), TextDelta("lo")], Response.of("Hello", usage=Usage(3, 4), model="sim"))
    body = b"".join([b"data: " + msgspec.json.encode(each) + b"\n\n" for each in said])
    answer = httpx2.Response(200, content=body, headers={"content-type": "text/event-stream"})

    with (
        httpx2.Client(transport=httpx2.MockTransport(lambda _: answer)) as http,
        openai.OpenAI(api_key="sk", base_url="http://sim/v1", http_client=http, max_retries=0) as client,
    ):
        read = list(client.responses.create(model="sim", input="hi", stream=True))

    assert [event.delta for event in read if event.type == "response.output_text.delta"] == ["Hel", "lo"]
    assert read[-1].response.usage.output_tokens == 4  # type: ignore[union-attr]


def test_an_answer_of_this_wire_keeps_its_ids_when_it_is_said_again() -> None:
    """A part that comes with all that belongs to it is said whole, under its own id."""
    item = {"id": "msg_9", "status": "completed", "phase": "final_answer"}
    message = Message.assistant(
        Reasoning("hm", {"responses": {"id": "rs_9", "summary": [], "encrypted_content": "x"}}),
        Text("a", {"responses": {"annotations": [{"type": "file_path"}], "item": None}}),
        Text("b", {"responses": {"annotations": [], "item": item}}),
        ToolCall("c1", "f", "ls", {"responses": {"type": "custom_tool_call", "id": "ctc_9"}}),
    )
    response = Response(message, Usage(3, 4), "tool_calls", "sim", "resp_1", wire="responses")

    said = spoken(events_of(message), response)

    done = [each["item"] for each in said if each["type"] == "response.output_item.done"]
    assert [each["id"] for each in done] == ["rs_9", "msg_1", "ctc_9"]
    assert done[1]["phase"] == "final_answer"
    assert said[-1]["response"]["output"] == encode_response(response)["output"]
    assert said[-1]["response"]["output"][1]["id"] == "msg_9"


def test_an_incomplete_answer_ends_with_its_own_event() -> None:
    """As the provider says it."""
    said = spoken([TextDelta("x")], Response.of("x", finish_reason="length"))

    assert said[-1]["type"] == "response.incomplete"
    assert heard(said).finish_reason == "length"


def test_an_answer_that_was_not_streamed_is_in_the_end() -> None:
    """A client gets it all the same."""
    assert heard(spoken([], Response.of("hello"))).text == "hello"


def test_a_typed_part_that_comes_whole_is_said() -> None:
    """Whoever sends it so."""
    parts = (Text("a"), Reasoning("hm"), ToolCall("c1", "f", "{}"), ToolCall("c2", "f", "{}"))

    read = heard(
        spoken([PartDelta(part) for part in parts], Response(Message("assistant", parts), Usage(3, 4), "stop"))
    )

    assert bare(read.message) == list(parts)


def test_what_is_no_content_is_not_said() -> None:
    """A sign of life, a sound."""
    encoder = StreamEncoder("resp_1", "sim", include_usage=False)

    assert encoder.event(Started()) == encoder.event(PartDelta(Audio(b"x"))) == []
