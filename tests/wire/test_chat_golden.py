"""The chat wire against golden files: what providers send and take, in the shapes of their public references."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llamina import Audio, Image, Reasoning, Text, ToolCall, ToolResult, UnknownPart
from llamina.wire.openai_chat import (
    StreamDecoder,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> Any:
    """One golden file."""
    return json.loads((GOLDEN / f"{name}.json").read_text())


def names(prefix: str) -> list[str]:
    """The golden files of one kind."""
    return sorted(path.stem for path in GOLDEN.glob(f"{prefix}_*.json"))


@pytest.mark.parametrize("name", names("request"))
def test_a_request_is_written_as_it_was_read(name: str) -> None:
    """Reading a body and writing it again loses and adds nothing."""
    body = golden(name)

    written = encode_request(decode_request(body), stream=False)

    assert written == body


@pytest.mark.parametrize("name", names("response"))
def test_an_answer_is_written_as_it_was_read(name: str) -> None:
    """Reading a completion and writing it again loses and adds nothing."""
    body = golden(name)

    written = encode_response(decode_response(body))

    assert written == body


@pytest.mark.parametrize("name", names("stream"))
def test_a_stream_folds_to_the_answer_that_is_not_streamed(name: str) -> None:
    """Text comes in events as it was sent, and the end is what the same answer is in one piece."""
    case = golden(name)
    decoder = StreamDecoder()

    events = [event for chunk in case["chunks"] for event in decoder.feed_bytes(msgspec.json.encode(chunk))]
    response = decoder.finish()

    assert [event.text for event in events if event.text] == case["events"]
    assert response.message == decode_response(case["answer"]).message
    assert encode_response(response) == case["answer"]


@pytest.mark.parametrize("name", names("stream"))
def test_decoded_chunks_give_what_bytes_give(name: str) -> None:
    """The fast way through the bytes and the way through decoded JSON agree on every chunk."""
    chunks = golden(name)["chunks"]
    by_bytes, by_values = StreamDecoder(), StreamDecoder()

    for chunk in chunks:
        assert by_bytes.feed_bytes(msgspec.json.encode(chunk)) == by_values.feed(chunk)

    assert encode_response(by_bytes.finish()) == encode_response(by_values.finish())


def test_content_is_read_as_typed_parts() -> None:
    """Pictures and sounds become bytes, addresses stay addresses, a part of tomorrow stays as it is."""
    parts = decode_request(golden("request_parts")).messages[0].parts

    assert parts[0] == Text("What is this?")
    assert parts[1] == Text("Remember it.", {"chat": {"cache_control": {"type": "ephemeral"}}})
    assert parts[2] == Image(url="https://example.org/cat.png", detail="low")
    assert parts[3] == Image(bytes.fromhex("89504e470d0a1a0a"), "image/png")
    assert parts[4] == Audio(b"RIFF", "audio/wav")
    assert isinstance(parts[8], UnknownPart)


def test_a_conversation_with_tools_is_read_as_typed_parts() -> None:
    """Calls, results and thoughts are parts, with what a provider wants back in their raw slot."""
    messages = decode_request(golden("request_tools")).messages

    assert messages[1].tool_calls[0] == ToolCall("call_1", "weather", '{"city": "Paris"}')
    assert messages[1].tool_calls[1].raw == {"chat": {"extra_content": {"google": {"thought_signature": "c2ln"}}}}
    assert messages[1].tool_calls[2].arguments_text == "ls"
    assert messages[2].parts == (ToolResult("call_1", "sunny"),)
    assert isinstance(messages[5].parts[0], Reasoning)


def test_a_dialect_that_is_not_known_passes_through() -> None:
    """Fields and forms that have no type here are kept verbatim, not refused."""
    messages = decode_request(golden("request_odd")).messages

    assert messages[1].extra == {"function_call": {"name": "old", "arguments": "{}"}}
    assert all(isinstance(part, UnknownPart) for part in messages[4].parts)
    assert messages[5].role == "critic"
    assert messages[5].extra == {"weight": 0}


def test_what_has_no_name_here_is_kept_in_the_extra_of_an_answer() -> None:
    """Log probabilities, further choices and fingerprints are where the wire has them."""
    several, plain = decode_response(golden("response_choices")), decode_response(golden("response_text"))

    assert several.extra["choices"][0]["logprobs"]["content"][0]["token"] == "heads"
    assert several.extra["choices"][1]["message"]["content"] == "tails"
    assert plain.extra["system_fingerprint"] == "fp_1"
    assert plain.extra["service_tier"] == "default"


def test_a_refusal_is_a_part_that_can_be_sent_back() -> None:
    """The text of the answer stays empty, and the next request of the conversation says the refusal."""
    refused = decode_response(golden("response_refusal"))
    asked = decode_request(golden("request_text"))

    written = encode_request(asked.reply(refused, "Why not?"), stream=False)

    assert refused.text == ""
    assert written["messages"][2]["content"] == [{"type": "refusal", "refusal": "I cannot help with that."}]


def test_a_spoken_answer_is_sent_back_by_its_id() -> None:
    """The wire takes a sound of the assistant by the id that it gave, not by its bytes."""
    spoken = decode_response(golden("response_audio"))
    asked = decode_request(golden("request_text"))

    written = encode_request(asked.reply(spoken, "Again?"), stream=False)

    assert spoken.message.parts[0].transcript == "Hello."  # type: ignore[union-attr]
    assert written["messages"][2] == {"role": "assistant", "content": None, "audio": {"id": "audio_1"}}


@pytest.mark.parametrize(
    ("name", "field"), [("response_reasoning", "reasoning_content"), ("response_router", "reasoning")]
)
def test_reasoning_goes_back_in_the_field_it_came_in(name: str, field: str) -> None:
    """Each dialect gets its own field back, with the signatures that belong to it."""
    body = golden(name)
    thought = decode_response(body)

    written = encode_request(decode_request(golden("request_text")).reply(thought, "And?"), stream=False)

    sent, got = written["messages"][2], body["choices"][0]["message"]
    assert thought.reasoning == got[field]
    assert sent[field] == got[field]
    assert sent.get("reasoning_details") == got.get("reasoning_details")
