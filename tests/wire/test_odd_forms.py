"""What is odd in a request or an event raises an error of ours that names it, or is left out; never a TypeError."""

from __future__ import annotations

from typing import Any

import pytest

from llamina import Message, PartDelta, Request, Response, TextDelta, ToolCall, ToolResult, UnknownPart
from llamina.errors import InvalidRequestError, MalformedResponseError
from llamina.wire import anthropic_messages, openai_chat, openai_responses

CODECS: dict[str, Any] = {"chat": openai_chat, "responses": openai_responses, "anthropic": anthropic_messages}
FUNCTION = {"type": "function", "function": {"name": "f"}}


def sent(wire: str, *messages: Any, **params: Any) -> Any:
    """The body of a streamed request."""
    return CODECS[wire].encode_request(Request.chat("m", list(messages) or "hi", **params), stream=True)


@pytest.mark.parametrize(
    ("wire", "params", "named"),
    [
        ("chat", {"stream_options": 3}, "stream_options must be a mapping, got int"),
        ("responses", {"stream_options": 3}, "stream_options must be a mapping, got int"),
        ("responses", {"include": 5, "logprobs": True}, "include must be a list"),
        ("responses", {"modalities": 5}, "modalities must be a list, got int"),
        ("anthropic", {"modalities": 5}, "'modalities', got 5"),
        ("chat", {"tools": [{**FUNCTION, "chat": 5}]}, "'chat' of a tool must be a mapping"),
        ("responses", {"tools": [{**FUNCTION, "responses": 5}]}, "'responses' of a tool must be a mapping"),
        ("anthropic", {"tools": [{**FUNCTION, "anthropic": 5}]}, "'anthropic' of a tool must be a mapping"),
        ("anthropic", {"tools": [{"type": "custom", "custom": {"name": "sh"}}]}, "custom tool 'sh'"),
        ("anthropic", {"service_tier": "flex"}, "service_tier must be auto or default.*'flex'"),
    ],
)
def test_a_parameter_of_an_odd_form_is_named(wire: str, params: dict[str, Any], named: str) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidRequestError, match=named):
        sent(wire, **params)


@pytest.mark.parametrize("wire", CODECS)
def test_a_result_without_content_is_named(wire: str) -> None:
    """None is neither text nor parts."""
    with pytest.raises(InvalidRequestError, match=r"ToolResult.content .* got NoneType"):
        sent(wire, Message.tool(ToolResult("c", None)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wire", "name", "value"),
    [
        ("responses", "stop", ["secret"]),
        ("responses", "logit_bias", {"secret": 5}),
        ("anthropic", "logit_bias", {"secret": 5}),
        ("anthropic", "audio", "secret"),
    ],
)
def test_a_refusal_does_not_show_what_was_given(wire: str, name: str, value: Any) -> None:
    """It may be long, or what a user wrote."""
    with pytest.raises(InvalidRequestError, match=f"{name}.*got a ") as caught:
        sent(wire, **{name: value})

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("wire", CODECS)
def test_no_tools_are_none(wire: str) -> None:
    """An app that always sends the parameter need not leave it out; providers refuse the null."""
    assert "tools" not in sent(wire, tools=None)


@pytest.mark.parametrize("wire", ["responses", "anthropic"])
def test_the_newer_word_for_the_longest_answer_wins(wire: str) -> None:
    """The same rule on every wire that has one word for both."""
    body = sent(wire, max_tokens=5, max_completion_tokens=7)

    assert {body.get("max_output_tokens"), body.get("max_tokens")} - {None} == {7}


@pytest.mark.parametrize("wire", ["responses", "anthropic"])
def test_a_name_is_a_hint_that_other_wires_have_no_place_for(wire: str) -> None:
    """An app that sends it can change the provider."""
    named = sent(wire, Message("user", Message.user("hi").parts, "Ann"), "and?")

    assert named == sent(wire, "hi", "and?")


@pytest.mark.parametrize("wire", CODECS)
@pytest.mark.parametrize("call", [{"id": ["x"]}, {"id": 5}, {"function": {"name": ["f"], "arguments": ""}}])
def test_a_call_whose_id_or_name_is_no_text_is_no_call(wire: str, call: dict[str, Any]) -> None:
    """It stays what it was, for the wire that it came on."""
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}, **call}]
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "x", "tool_calls": calls}]

    asked = openai_chat.decode_request({"model": "m", "messages": messages})

    assert asked.messages[1].tool_calls == ()
    assert CODECS[wire].encode_request(asked, stream=False)["model"] == "m"


def test_a_streamed_call_whose_id_is_no_text_is_malformed() -> None:
    """An answer with it could not be sent back."""
    chunk = {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": ["x"], "function": {"name": "f"}}]}}]}

    with pytest.raises(MalformedResponseError):
        openai_chat.StreamDecoder().feed(chunk)


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "refusal", "refusal": 5},
        {"type": "output_text", "text": None, "item": {"id": "m"}},
        {"type": "output_text", "text": "x", "item": 5},
        {"type": "x_item", "item": 5},
    ],
)
@pytest.mark.parametrize("origin", ["", "responses"])
def test_a_server_of_responses_says_an_odd_part(raw: dict[str, Any], origin: str) -> None:
    """A layer may put anything into an answer."""
    part = UnknownPart(raw, origin)
    response = Response(Message.assistant(part, "so"), finish_reason="stop")
    encoder = openai_responses.StreamEncoder("r", "m")

    said = [*encoder.start(), *encoder.event(PartDelta(part)), *encoder.event(TextDelta("so"))]
    said += encoder.finish(response)

    assert said[-1]["type"] == "response.completed"
    assert openai_responses.decode_response(openai_responses.encode_response(response)).text.endswith("so")


def test_a_refusal_of_no_openai_wire_is_left_out_of_an_answer() -> None:
    """As every part that this wire cannot say."""
    response = Response(Message.assistant(UnknownPart({"type": "refusal"}, "anthropic"), "so"))

    assert openai_responses.decode_response(openai_responses.encode_response(response)).text == "so"


@pytest.mark.parametrize("choices", [[{}, 5, {"index": 1, "message": 5}], [5], 5, [{"message": 5}]])
def test_a_server_of_chat_says_what_it_can_of_odd_choices(choices: Any) -> None:
    """What a layer put beside the answer."""
    response = Response(Message.assistant("so"), finish_reason="stop", extra={"choices": choices}, wire="chat")

    chunks = openai_chat.StreamEncoder("r", "m", False).finish(response)

    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert openai_chat.encode_response(response)["choices"][0]["message"]["content"] == "so"


@pytest.mark.parametrize("field", ["index", "kind", "type", "self"])
def test_a_server_of_anthropic_says_a_late_field_of_any_name(field: str) -> None:
    """Also one that is called as something of ours."""
    encoder = anthropic_messages.StreamEncoder("r", "m", False)
    encoder.event(TextDelta("x"))

    said = encoder.event(TextDelta("", {"anthropic": {field: "y"}}))

    assert said[0]["delta"]["type"] == f"{field}_delta"
    assert said[0]["index"] == 0


@pytest.mark.parametrize("item", [{"id": "i"}, "text", 5, None])
def test_an_unknown_item_with_a_field_called_item_stays_one(item: Any) -> None:
    """It is not taken for a part of a message."""
    body = {"model": "m", "input": [{"role": "user", "content": "hi"}, {"type": "future_call", "item": item}]}

    asked = openai_responses.decode_request(body)

    assert openai_responses.encode_request(asked, stream=False) == body


def test_arguments_that_are_an_object_are_named_where_text_is_wanted() -> None:
    """Also an empty one, which would pass for no arguments."""
    call = ToolCall("c", "f", {})  # type: ignore[arg-type]

    with pytest.raises(InvalidRequestError, match=r"ToolCall.arguments_text .* got dict"):
        sent("anthropic", "hi", Message.assistant(call))
