"""Ids of tool calls: a conversation goes on at a provider that would refuse the ids of the one before."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import Message, Request, Response, ToolCall, ToolResult
from llamina.wire import anthropic_messages, openai_chat, openai_responses

CODECS: dict[str, Any] = {"chat": openai_chat, "responses": openai_responses, "anthropic": anthropic_messages}
TAKEN = {"chat": r"(?s).{1,64}", "responses": r"(?s).{1,64}", "anthropic": r"[a-zA-Z0-9_-]+"}
NAMES = {"id", "call_id", "tool_use_id", "tool_call_id"}

every_wire = pytest.mark.parametrize("wire", CODECS)
odd_ids = pytest.mark.parametrize("name", ["functions.weather:0", "", "c" * 80, "\udc80", "é"])


def ids(body: Any) -> list[str]:
    """All ids of calls in a body, in their order."""
    if isinstance(body, list):
        return [name for each in body for name in ids(each)]
    if not isinstance(body, dict):
        return []
    return [value for key, value in body.items() if key in NAMES] + [
        name for value in body.values() for name in ids(value)
    ]


def sent(wire: str, *messages: Any) -> list[str]:
    """The ids of calls in the body of a request."""
    return ids(CODECS[wire].encode_request(Request.chat("m", ["hi", *messages]), stream=False))


@every_wire
@given(name=st.text(max_size=80))
def test_a_call_and_its_result_have_one_id_that_the_wire_takes(wire: str, name: str) -> None:
    """Whatever id another provider gave."""
    found = sent(wire, Message.assistant(ToolCall(name, "f", "{}")), Message.tool(ToolResult(name, "x")))

    assert len(found) == 2
    assert found[0] == found[1]
    assert re.fullmatch(TAKEN[wire], found[0])


@every_wire
@odd_ids
def test_a_call_and_its_result_agree_in_whatever_form_they_are_written(wire: str, name: str) -> None:
    """An app may write the one as a mapping and the other as a value; the mapping stays what it was."""
    calls = [{"id": name, "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    asked = {"role": "assistant", "content": None, "tool_calls": calls}
    given_back = {"role": "tool", "tool_call_id": name, "content": "x"}

    typed = sent(wire, Message.assistant(ToolCall(name, "f", "{}")), Message.tool(ToolResult(name, "x")))

    assert sent(wire, asked, given_back) == typed
    assert sent(wire, Message.assistant(ToolCall(name, "f", "{}")), given_back) == typed
    assert calls[0]["id"] == name


@every_wire
@pytest.mark.parametrize("name", ["call_1", "toolu_01A", "a-B_9" * 12])
def test_an_id_that_fits_stays_as_it_is(wire: str, name: str) -> None:
    """A provider finds its own ids again."""
    found = sent(wire, Message.assistant(ToolCall(name, "f", "{}")), Message.tool(ToolResult(name, "x")))

    assert found == [name, name]


@pytest.mark.parametrize(("one", "other"), [("a.b", "a:b"), ("a" * 80, "a" * 81), (".", "")])
def test_ids_that_differ_stay_apart(one: str, other: str) -> None:
    """What is cleaned away still counts."""
    for wire in CODECS:
        found = sent(wire, Message.assistant(ToolCall(one, "f", "{}"), ToolCall(other, "f", "{}")))

        assert len(set(found)) == 2


@every_wire
@odd_ids
def test_an_answer_has_the_id_that_was_given(wire: str, name: str) -> None:
    """Only requests are written so: an app may look the id up."""
    codec = CODECS[wire]
    response = Response(Message.assistant(ToolCall(name, "f", "{}")))

    read = codec.decode_response(codec.encode_response(response))

    assert read.tool_calls[0].id == name


@every_wire
@odd_ids
def test_a_server_reads_the_id_that_it_gave(wire: str, name: str) -> None:
    """A call whose id this wire would not take is a call all the same, so that it can go to another wire."""
    fits = json.dumps(sent_body(wire, "fits"))
    asked = CODECS[wire].decode_request(json.loads(fits.replace('"fits"', json.dumps(name))))

    parts = [part for message in asked.messages for part in message.parts]

    assert [part.id for part in parts if isinstance(part, ToolCall | ToolResult)] == [name, name]


def sent_body(wire: str, name: str) -> Any:
    """The body of a request with one call and its result."""
    messages = ["hi", Message.assistant(ToolCall(name, "f", "{}")), Message.tool(ToolResult(name, "x"))]
    return CODECS[wire].encode_request(Request.chat("m", messages), stream=False)
