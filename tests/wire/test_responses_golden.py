"""The Responses wire against golden files: what the provider sends and takes, in the shapes of its public reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llamina import File, Image, Message, Reasoning, Text, ToolCall, ToolResult, UnknownPart, Usage
from llamina.wire.openai_responses import (
    StreamDecoder,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from llamina.wire.sse import SSEDecoder

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> Any:
    """One golden file."""
    return json.loads((GOLDEN / f"responses_{name}.json").read_text())


def names(prefix: str, ending: str = "json") -> list[str]:
    """The golden files of one kind."""
    return sorted(path.stem.removeprefix("responses_") for path in GOLDEN.glob(f"responses_{prefix}_*.{ending}"))


def payloads(name: str) -> list[bytes]:
    """The data of the server events of a golden stream."""
    return SSEDecoder().feed((GOLDEN / f"responses_{name}.sse").read_bytes())


@pytest.mark.parametrize("name", names("request"))
def test_a_request_is_written_as_it_was_read(name: str) -> None:
    """Reading a body and writing it again loses and adds nothing."""
    body = golden(name)

    written = encode_request(decode_request(body), stream=False)

    assert written == body


@pytest.mark.parametrize("name", names("answer"))
def test_an_answer_is_written_as_it_was_read(name: str) -> None:
    """Reading a response object and writing it again loses and adds nothing."""
    body = golden(name)

    written = encode_response(decode_response(body))

    assert written == body


@pytest.mark.parametrize("name", names("answer"))
def test_an_answer_goes_back_verbatim_in_the_next_request(name: str) -> None:
    """Every item that came is an item of the next prompt: ids, signatures, hosted calls."""
    body = golden(name)
    asked = decode_request(golden("request_text"))

    written = encode_request(asked.reply(decode_response(body), "Go on."), stream=False)

    assert written["input"][1:-1] == (body["output"] or [{"role": "assistant", "content": ""}])


@pytest.mark.parametrize("name", names("stream", "sse"))
def test_a_stream_folds_to_the_answer_that_is_not_streamed(name: str) -> None:
    """Text comes in events as it was sent, and the end is what the same answer is in one piece."""
    answer = golden(name.replace("stream", "answer"))
    decoder = StreamDecoder()

    events = [event for payload in payloads(name) for event in decoder.feed_bytes(payload)]
    response = decoder.finish()

    said = [json.loads(payload) for payload in payloads(name)]
    assert [event.text for event in events if event.text] == [
        each["delta"] for each in said if each["type"] == "response.output_text.delta"
    ]
    assert response.message == decode_response(answer).message
    assert (response.finish_reason, response.usage) == (
        decode_response(answer).finish_reason,
        decode_response(answer).usage,
    )
    assert encode_response(response) == answer


@pytest.mark.parametrize("name", names("stream", "sse"))
def test_decoded_events_give_what_bytes_give(name: str) -> None:
    """The fast way through the bytes and the way through decoded JSON agree on every event."""
    by_bytes, by_values = StreamDecoder(), StreamDecoder()

    for payload in payloads(name):
        assert by_bytes.feed_bytes(payload) == by_values.feed(json.loads(payload))

    assert by_bytes.finish().message == by_values.finish().message


@pytest.mark.parametrize("name", names("stream", "sse"))
@pytest.mark.parametrize("kept", ["items", "end"])
def test_what_was_not_streamed_in_pieces_is_delivered_once(name: str, kept: str) -> None:
    """Servers leave out deltas, parts or items; whatever comes first with the whole delivers it."""
    left_out = {
        "items": (".delta", "_part.added", "_part.done", "text.done", "arguments.done", "input.done", "refusal.done"),
        "end": (".delta", ".done", ".added"),
    }[kept]
    decoder = StreamDecoder()

    for payload in payloads(name):
        if not json.loads(payload)["type"].endswith(left_out):
            decoder.feed_bytes(payload)

    assert decoder.finish().message == decode_response(golden(name.replace("stream", "answer"))).message


@pytest.mark.parametrize("name", names("stream", "sse"))
def test_items_that_are_never_done_are_said_once(name: str) -> None:
    """A server that sends pieces only gives the same text, thoughts and calls, and none of them twice."""
    whole = decode_response(golden(name.replace("stream", "answer")))
    decoder = StreamDecoder()

    for payload in payloads(name):
        if not json.loads(payload)["type"].endswith(("_part.added", "_part.done", "text.done", "item.done")):
            decoder.feed_bytes(payload)
    response = decoder.finish()

    assert (response.text, response.reasoning) == (whole.text, whole.reasoning)
    assert [(call.id, call.arguments_text) for call in response.tool_calls] == [
        (call.id, call.arguments_text) for call in whole.tool_calls
    ]


def test_content_is_read_as_typed_parts() -> None:
    """Pictures become bytes, addresses stay addresses, a part of tomorrow stays as it is."""
    parts = decode_request(golden("request_parts")).messages[0].parts

    assert parts[:4] == (
        Text("What is this?"),
        Text("Remember it.", {"responses": {"prompt_cache_breakpoint": {"mode": "explicit"}}}),
        Image(url="https://example.org/cat.png", detail="low"),
        Image(bytes.fromhex("89504e470d0a1a0a"), "image/png"),
    )
    assert parts[4] == Image(detail="auto", raw={"responses": {"file_id": "file-1", "image_url": None}})
    assert parts[5:8] == (
        File(b"%PDF-", "application/pdf", "a.pdf"),
        File(url="https://example.org/a.pdf"),
        File(file_id="file-2"),
    )
    assert isinstance(parts[8], UnknownPart)


def test_a_conversation_with_tools_is_read_as_typed_parts() -> None:
    """What the model made in a row is one message; results are one of the role tool."""
    messages = decode_request(golden("request_tools")).messages

    assert [message.role for message in messages] == ["developer", "user", "assistant", "tool", "assistant", "user"]
    thought, first, _, custom = messages[2].parts
    assert isinstance(thought, Reasoning)
    assert thought.text == "Two calls."
    assert isinstance(first, ToolCall)
    assert (first.id, first.name, first.arguments) == ("call_1", "weather", {"city": "Paris"})
    assert isinstance(custom, ToolCall)
    assert custom.arguments_text == "ls"
    assert messages[3].parts[0] == ToolResult("call_1", "sunny")
    assert messages[3].parts[1].text == "rain"  # type: ignore[union-attr]
    assert messages[4].text == "Sunny, then rain."


def test_parameters_are_read_in_the_dialect_of_all_wires() -> None:
    """So that a gateway can pass them on to another provider; the rest stays native."""
    asked = decode_request(golden("request_format")).params
    tools = decode_request(golden("request_tools")).params

    assert asked["response_format"]["json_schema"] == {"name": "answer", "schema": {"type": "object"}, "strict": True}
    assert (asked["verbosity"], asked["reasoning_effort"], asked["logprobs"]) == ("low", "low", True)
    assert asked["reasoning"] == {"summary": "auto"}
    assert asked["include"] == ["reasoning.encrypted_content"]
    assert tools["tools"][0]["function"]["name"] == "weather"
    assert tools["tools"][3]["responses"] == {"defer_loading": True}
    assert tools["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert decode_request(golden("request_text")).params["max_tokens"] == 200


@pytest.mark.parametrize(
    ("name", "finish", "raw"),
    [
        ("text", "stop", "completed"),
        ("tools", "tool_calls", "completed"),
        ("incomplete", "length", "max_output_tokens"),
        ("filtered", "content_filter", "content_filter"),
        ("refusal", "stop", "completed"),
    ],
)
def test_how_an_answer_ended_is_said_in_the_words_of_all_wires(name: str, finish: str, raw: str) -> None:
    """The reason of an incomplete one, else the status; a call of the caller's tools is a reason of its own."""
    response = decode_response(golden(f"answer_{name}"))

    assert (response.finish_reason, response.raw_finish_reason) == (finish, raw)


def test_an_answer_is_read_as_typed_parts() -> None:
    """Thoughts are readable, citations are with their text, hosted calls stay as they are."""
    thought = decode_response(golden("answer_reasoning"))
    cited = decode_response(golden("answer_annotations"))

    assert thought.reasoning == "**Thinking**\n\nFirst.\n\nSecond."
    assert thought.text == "42"
    assert thought.usage == Usage(120, 40, 64, 32, 24)
    assert [type(part) for part in cited.message.parts] == [UnknownPart, Text, Text, Text]
    assert cited.message.parts[1].raw["responses"]["annotations"][0]["title"] == "Rain"
    assert cited.extra["service_tier"] == "default"


def test_the_parts_of_one_message_and_two_messages_are_told_apart() -> None:
    """The last part of an item carries the item's id; those before it say that it goes on."""
    first, second, third = decode_response(golden("answer_annotations")).message.parts[1:]

    assert first.raw["responses"]["item"] is None
    assert second.raw["responses"]["item"]["id"] == "msg_1"
    assert third.raw["responses"]["item"]["id"] == "msg_2"


def test_an_answer_of_this_wire_can_be_sent_on_another() -> None:
    """The chat wire takes text and calls without what only this one knows."""
    from llamina.wire import openai_chat

    answer = decode_response(golden("answer_annotations")).message
    spoken = Message(answer.role, answer.parts[1:])

    written = openai_chat.encode_request(decode_request(golden("request_text")).evolve(messages=[spoken]), stream=False)

    assert [part["text"] for part in written["messages"][0]["content"]] == [
        "It rains (example.org).",
        "See also.",
        "Bye.",
    ]
