"""One conversation over all wires: what a provider of one said goes on with a provider of another, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import Image, Message, Reasoning, Request, Response, Text, ToolCall, ToolResult, Usage
from llamina.errors import LLMError
from llamina.events import events_of, fold
from llamina.messages import cache_mark
from llamina.wire import anthropic_messages, openai_chat, openai_embeddings, openai_responses
from llamina.wire.sse import SSEDecoder, frame

GOLDEN = Path(__file__).parent / "golden"
WIRES: dict[str, Any] = {"chat": openai_chat, "responses": openai_responses, "anthropic": anthropic_messages}
OWN_REASONING = {
    "chat": {"chat": {"field": "reasoning_content"}},
    "responses": {"responses": {"id": "rs_secret", "encrypted_content": "secret"}},
    "anthropic": {"anthropic": {"signature": "secret"}},
}
ODD: list[Any] = [None, True, -1, 1.5, 2**60, "", "odd", [], {}, [None], [[]], [{}], {"type": []}, {"type": "text"}]
PAIRS = [(one, other) for one in WIRES for other in WIRES if one != other]

every_wire = pytest.mark.parametrize("wire", WIRES)

# Some providers take no text that is blank.
texts = st.text(max_size=12).map(lambda text: f"x{text}")
leaves = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5)
arguments = st.dictionaries(st.text(max_size=5), leaves | st.lists(leaves, max_size=2), max_size=3)
images = st.binary(min_size=1, max_size=8).map(lambda data: Image(data, "image/png"))


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Instructions, then turns: a user, an answer of any wire, and what the tools that it called gave back."""
    messages = [Message.system(draw(texts))] if draw(st.booleans()) else []
    count = 0
    for _ in range(draw(st.integers(1, 3))):
        messages.append(Message.user(draw(texts), *draw(st.lists(images, max_size=2))))
        thought = Reasoning(draw(texts), OWN_REASONING[draw(st.sampled_from(list(WIRES)))])
        written = draw(st.lists(arguments, max_size=3))
        calls = [
            ToolCall(f"call_{count + place}", "look_up", json.dumps(each, ensure_ascii=False))
            for place, each in enumerate(written)
        ]
        count += len(calls)
        messages.append(Message.assistant(thought, draw(texts), *calls))
        results = [ToolResult(call.id, draw(texts), is_error=draw(st.booleans())) for call in calls]
        if draw(st.booleans()):
            messages += [Message.tool(result) for result in results]
        elif results:
            messages.append(Message.tool(*results))
    return [*messages, Message.user(draw(texts))]


@st.composite
def answers(draw: st.DrawFn) -> Response:
    """What any provider may answer: a thought, a text, calls, tokens."""
    calls = [
        ToolCall(f"call_{place}", "look_up", json.dumps(each, ensure_ascii=False))
        for place, each in enumerate(draw(st.lists(arguments, max_size=3)))
    ]
    thoughts = [Reasoning(draw(texts))] if draw(st.booleans()) else []
    message = Message.assistant(*thoughts, draw(texts), *calls)
    usage = Usage(100, 50, 20, 30, 10)
    finish = "tool_calls" if calls else draw(st.sampled_from(["stop", "length", "content_filter"]))
    return Response(message, usage, finish, "sim-1", "answer_1")


def said(messages: Iterable[Message]) -> dict[str, Any]:
    """What a conversation says, however its messages are cut."""
    parts = [part for message in messages for part in message.parts]
    return {
        "text": "".join([part.text for part in parts if type(part) is Text]),
        "images": [part.data for part in parts if type(part) is Image],
        "calls": [(part.id, part.name, part.arguments) for part in parts if type(part) is ToolCall],
        "results": [(part.id, part.text) for part in parts if type(part) is ToolResult],
    }


def told(response: Response) -> tuple[Any, ...]:
    """What an answer says on every wire."""
    message = response.message
    calls = [(call.id, call.name, call.arguments) for call in message.tool_calls]
    return message.text, message.reasoning, calls, response.finish_reason, response.usage, response.model


def over_json(body: Any) -> Any:
    """*body* as it is read on the other side."""
    return json.loads(msgspec.json.encode(body))


def streamed(codec: Any, response: Response, cuts: list[int]) -> tuple[Message, Response]:
    """What a client makes of a stream in which a server says *response*, cut into pieces of these sizes."""
    encoder = codec.StreamEncoder(response.id, response.model, True)
    payloads = [*encoder.start(), *[each for event in events_of(response.message) for each in encoder.event(event)]]
    data = frame([*payloads, *encoder.finish(response)], named=codec is not openai_chat)
    frames, decoder, events = SSEDecoder(), codec.StreamDecoder(), []
    for size in [*cuts, len(data)]:
        for payload in frames.feed(data[:size]):
            events += decoder.feed_bytes(payload)
        data = data[size:]
    return fold(events), decoder.finish()


@every_wire
@given(messages=conversations())
def test_a_conversation_says_the_same_on_every_wire(wire: str, messages: list[Message]) -> None:
    """Whoever answered so far, texts, images, calls and results reach a provider of any wire."""
    codec = WIRES[wire]

    body = codec.encode_request(Request.chat("m", messages), stream=False)
    read = codec.decode_request(over_json(body))

    assert said(read.messages) == said(messages)


@pytest.mark.parametrize("wire", ["anthropic", "responses"])
@given(messages=conversations())
def test_a_failed_tool_is_marked_where_the_wire_has_a_mark(wire: str, messages: list[Message]) -> None:
    """Which results are errors is known on the other side too."""
    codec = WIRES[wire]
    failed = [part.id for each in messages for part in each.parts if type(part) is ToolResult and part.is_error]

    read = codec.decode_request(over_json(codec.encode_request(Request.chat("m", messages), stream=False)))

    marked = [part.id for each in read.messages for part in each.parts if type(part) is ToolResult and part.is_error]
    assert marked == failed


@every_wire
@given(messages=conversations())
def test_a_body_that_was_read_is_written_again(wire: str, messages: list[Message]) -> None:
    """A proxy between two of a wire changes nothing."""
    codec = WIRES[wire]
    body = codec.encode_request(Request.chat("m", messages, max_tokens=9), stream=False)

    again = codec.encode_request(codec.decode_request(body), stream=False)

    assert again == body


@pytest.mark.parametrize(("one", "other"), PAIRS)
@given(messages=conversations())
def test_a_proxy_speaks_one_wire_and_asks_on_another(one: str, other: str, messages: list[Message]) -> None:
    """What is read on one wire and written on another says the same there."""
    asked = WIRES[one].decode_request(over_json(WIRES[one].encode_request(Request.chat("m", messages), stream=False)))

    passed_on = over_json(WIRES[other].encode_request(asked, stream=False))

    assert said(WIRES[other].decode_request(passed_on).messages) == said(messages)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_what_a_provider_wants_back_is_shown_to_no_other(one: str, other: str) -> None:
    """Signatures, encrypted thoughts and cache marks stay on their own wire."""
    thought = Reasoning("hidden thought", OWN_REASONING[one])
    text = cache_mark(Text("hello", {one: {"own": "secret"}})) if other != "anthropic" else Text("hello", {one: {}})
    request = Request.chat("m", [Message.user("hi"), Message.assistant(thought, text), Message.user("go on")])

    written = json.dumps(WIRES[other].encode_request(request, stream=False))

    assert "hello" in written
    assert not any(word in written for word in ("secret", "hidden", "cache_control"))


@every_wire
@given(messages=conversations())
def test_messages_in_the_chat_dialect_are_the_typed_ones(wire: str, messages: list[Message]) -> None:
    """An app that passes mappings can change to a provider of any wire."""
    mappings = openai_chat.encode_request(Request.chat("m", messages), stream=False)["messages"]

    body = WIRES[wire].encode_request(Request.chat("m", mappings), stream=False)

    assert said(WIRES[wire].decode_request(over_json(body)).messages) == said(messages)


@every_wire
@given(response=answers())
def test_a_server_says_the_answer_of_any_provider(wire: str, response: Response) -> None:
    """Text, thoughts, calls, the reason of the end and the tokens are the same on any server's wire."""
    codec = WIRES[wire]

    read = codec.decode_response(over_json(codec.encode_response(response)))

    assert told(read) == told(response)


@every_wire
@given(response=answers(), cuts=st.lists(st.integers(1, 60), max_size=12))
def test_a_server_streams_the_answer_of_any_provider(wire: str, response: Response, cuts: list[int]) -> None:
    """The same in a stream, wherever its bytes are cut; and its events are the whole."""
    codec = WIRES[wire]

    events, read = streamed(codec, response, cuts)

    assert told(read) == told(response)
    assert events.parts == read.message.parts


@pytest.mark.parametrize(("one", "other"), PAIRS)
@given(response=answers())
def test_a_gateway_hands_an_answer_on(one: str, other: str, response: Response) -> None:
    """An answer that came on one wire is said on another without loss."""
    came = WIRES[one].decode_response(over_json(WIRES[one].encode_response(response)))

    handed_on = WIRES[other].decode_response(over_json(WIRES[other].encode_response(came)))

    assert told(handed_on) == told(response)


def places(body: Any) -> list[tuple[Any, Any]]:
    """Each place in *body* where something stands: what holds it, and its key."""
    inner = list(body.items() if isinstance(body, dict) else enumerate(body)) if isinstance(body, dict | list) else []
    return [place for key, value in inner for place in [(body, key), *places(value)]]


def spoiled(data: st.DataObject, body: Any) -> Any:
    """*body* with one or two things in it missing, or of another type."""
    body = deepcopy(body)
    for _ in range(data.draw(st.integers(1, 2))):
        found = places(body)
        if not found:
            break
        holder, key = data.draw(st.sampled_from(found))
        if data.draw(st.booleans()):
            holder[key] = deepcopy(data.draw(st.sampled_from(ODD)))
        else:
            del holder[key]
    return body


def goldens(pattern: str) -> list[Any]:
    """The golden files of one kind."""
    return [json.loads(path.read_text()) for path in sorted(GOLDEN.glob(pattern))]


ANSWERS: dict[str, list[Any]] = {
    "chat": goldens("response_*.json"),
    "responses": goldens("responses_answer_*.json"),
    "anthropic": goldens("anthropic_response_*.json"),
}


@every_wire
@given(data=st.data())
def test_a_spoiled_answer_is_read_or_refused(wire: str, data: st.DataObject) -> None:
    """Nothing that a provider says in an odd form raises anything but an error of ours."""
    body = spoiled(data, data.draw(st.sampled_from(ANSWERS[wire])))

    try:
        read = WIRES[wire].decode_response(body)
    except LLMError:
        return

    assert isinstance(read, Response)


@every_wire
@given(data=st.data())
def test_a_spoiled_failure_is_still_a_failure(wire: str, data: st.DataObject) -> None:
    """An error whose body is odd is one of ours, and a server can say it again."""
    failure = {"type": "error", "error": {"type": "api_error", "message": "no", "details": {"error_code": "x"}}}
    body = spoiled(data, data.draw(st.sampled_from([failure, [failure], {"detail": [failure]}])))

    error = WIRES[wire].decode_error(
        data.draw(st.sampled_from([400, 401, 429, 500, 529])), json.dumps(body).encode(), {}
    )

    assert isinstance(error, LLMError)
    assert WIRES[wire].encode_error(error)[0] >= 400


@pytest.mark.parametrize("codec", [*WIRES.values(), openai_embeddings])
@pytest.mark.parametrize("key", ["sk-ant-api03-abcdefgh", "sk-proj-abcdefgh", "AIzaSyA1234567890", "hush"])
def test_a_key_that_a_provider_echoes_is_masked(codec: Any, key: str) -> None:
    """Whatever form the failure has, no part of the error shows the key."""
    bodies: list[Any] = [
        {"error": f"bad key {key}"},
        {"error": {"message": f"bad key {key}", "code": key, "type": key, "param": key}},
        [{"error": {"message": {"inner": key}}}],
        f"<html><body>bad key {key}</body></html>",
    ]

    for body in bodies:
        error = codec.decode_error(401, json.dumps(body).encode(), {}, provider="sim", model="m", secrets=("hush",))

        assert key not in f"{error!r} {error} {error.details} {error.code} {codec.encode_error(error)}"
