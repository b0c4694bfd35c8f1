"""Requests on Anthropic's wire: what a client sends, what it cannot say, and what a server reads."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import (
    Audio,
    File,
    Image,
    InvalidRequestError,
    Message,
    Reasoning,
    Request,
    Text,
    ToolCall,
    ToolResult,
    UnknownPart,
)
from llamina.wire.anthropic_messages import DEFAULT_MAX_TOKENS, decode_request, encode_request

TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "Of a city.", "parameters": {"type": "object"}, "strict": True},
}
SIGNED = {"anthropic": {"signature": "c2ln"}}


def sent(*messages: Any, **params: Any) -> dict[str, Any]:
    """The body of a request."""
    return encode_request(Request.chat("m", list(messages) or "hi", **params), stream=False)


def turns(*messages: Any) -> list[Any]:
    """The messages of a body."""
    found: list[Any] = sent(*messages)["messages"]
    return found


def test_a_plain_question_is_sent_as_text() -> None:
    """One text is a string, and the number of tokens that this wire wants is there."""
    assert sent("hi") == {
        "model": "m",
        "max_tokens": DEFAULT_MAX_TOKENS,
        "messages": [{"role": "user", "content": "hi"}],
    }


def test_a_stream_is_asked_for() -> None:
    """Options that other wires have for it are left out."""
    body = encode_request(Request.chat("m", "hi", stream_options={"include_usage": True}), stream=True)

    assert body["stream"] is True
    assert "stream_options" not in body


def test_instructions_at_the_start_are_the_system_prompt() -> None:
    """One plain text is a string; several are blocks, with their cache marks."""
    mark = {"cache_control": {"type": "ephemeral"}}

    one = sent(Message.system("Be brief."), "hi")
    two = sent(Message.system("Be brief."), Message.developer(Text("Be kind.", {"anthropic": mark})), "hi")

    assert one["system"] == "Be brief."
    assert two["system"] == [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind.", **mark}]
    assert one["messages"] == two["messages"] == [{"role": "user", "content": "hi"}]


def test_later_instructions_stay_where_they_are() -> None:
    """They are messages of the role that this wire has for them."""
    assert turns("hi", Message.assistant("hello"), Message.developer("In French."), "go on")[2] == {
        "role": "system",
        "content": "In French.",
    }


def test_a_native_system_prompt_comes_before_the_messages() -> None:
    """Neither is lost."""
    alone, both = sent("hi", system="First."), sent(Message.system("Second."), "hi", system="First.")

    assert alone["system"] == "First."
    assert [block["text"] for block in both["system"]] == ["First.", "Second."]


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([Message.system("only")], "besides the instructions"),
        ([Message.system(Image(b"x", "image/png")), "hi"], "instructions as text"),
        ([Message("tool", (Text("sunny"),))], "ToolResult"),
        ([Message.user(Audio(b"x", "audio/wav"))], "Audio; send its transcript"),
        ([Message.user(Image())], "file_id"),
        ([Message.user(Image(b"x"))], "media_type"),
        ([Message.user(File())], "got none"),
        ([Message.user(File(b"x", "application/zip"))], "application/zip"),
        ([Message.user(File(b"\xff", "text/plain"))], "UTF-8"),
        ([Message.assistant(ToolCall("1", "f", "{bad")), "hi"], "'f'.*no JSON object"),
        ([Message.assistant(ToolCall("1", "f", "[1]")), "hi"], "'f'.*no JSON object"),
        ([Message.assistant(ToolCall("1", "f", {"a": 1})), "hi"], "arguments_text.*got dict"),  # type: ignore[arg-type]
        ([Message.tool(ToolResult("1", None))], "ToolResult.content.*got NoneType"),  # type: ignore[arg-type]
        ([{"role": "function", "name": "f", "content": "x"}], "role 'function'.*ToolResult"),
        ([{"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}, "hi"], "function_call.*ToolCall"),
        ([Message.user(UnknownPart("secret words"))], "must be a mapping.*got str"),
        ([Message.user(UnknownPart({"type": "x"}, "chat"))], "came from the chat wire"),
        ([Message.user(Text("x", {"cache_control": 1}))], "no wire"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(messages: list[Any], words: str) -> None:
    """Before anything is sent, with what to do about it."""
    with pytest.raises(InvalidRequestError, match=words):
        sent(*messages)


def test_a_request_of_another_kind_is_refused() -> None:
    """This wire has no embeddings."""
    with pytest.raises(InvalidRequestError, match="embed"):
        encode_request(Request.embed("m", "text"), stream=False)


def test_results_of_parallel_calls_are_one_message() -> None:
    """The provider wants all of them directly after the calls, and what the user says after them."""
    call = Message.assistant(ToolCall("1", "f", '{"a": 1}'), ToolCall("2", "f"))

    found = turns(
        "go", call, Message.tool(ToolResult("1", "x")), "thanks", Message.tool(ToolResult("2", "y", is_error=True))
    )

    assert found[1]["content"][1] == {"type": "tool_use", "id": "2", "name": "f", "input": {}}
    assert found[2:] == [
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "1", "content": "x"},
                {"type": "tool_result", "tool_use_id": "2", "content": "y", "is_error": True},
                {"type": "text", "text": "thanks"},
            ],
        }
    ]


def test_users_that_speak_in_turn_are_not_joined() -> None:
    """Without results between them every message stays one."""
    assert [turn["content"] for turn in turns("one", "two")] == ["one", "two"]


def test_a_result_of_parts_is_blocks() -> None:
    """Text and pictures of a tool."""
    result = ToolResult("1", (Text("see"), Image(b"x", "image/png")))

    (turn,) = turns(Message.tool(result))

    assert [block["type"] for block in turn["content"][0]["content"]] == ["text", "image"]


def test_documents_are_sent_by_what_they_are() -> None:
    """Text as text, whatever kind of it; the rest as base64, by address or by id."""
    (turn,) = turns(
        Message.user(
            File(b"a,b", "text/csv; charset=utf-8", "a.csv"),
            File(b"%PDF", "application/pdf"),
            File(url="https://x/y.pdf"),
            File(file_id="file_1"),
        )
    )

    assert [block["source"]["type"] for block in turn["content"]] == ["text", "base64", "url", "file"]
    assert turn["content"][0] == {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "a,b"},
        "title": "a.csv",
    }


def test_thoughts_go_back_only_to_the_provider_that_signed_them() -> None:
    """Those of another wire, and unsigned ones, would be refused."""
    (turn, _) = turns(
        Message.assistant(
            Reasoning("mine", SIGNED),
            Reasoning("theirs", {"chat": {"field": "reasoning"}}),
            Reasoning("unsigned"),
            Text(""),
            Text("so"),
        ),
        "go on",
    )

    assert turn["content"] == [
        {"type": "thinking", "thinking": "mine", "signature": "c2ln"},
        {"type": "text", "text": "so"},
    ]


def test_a_refusal_of_another_wire_is_text() -> None:
    """It is what the assistant said."""
    refusal = UnknownPart({"type": "refusal", "refusal": "No."}, "chat")

    assert turns(Message.assistant(refusal), "why?")[0]["content"] == "No."


def test_messages_written_for_a_chat_provider_are_understood() -> None:
    """So an app that passes mappings can change the provider."""
    found = turns(
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]},
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "sunny"},
    )

    assert found == [
        {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "sunny"}]},
    ]


def test_blocks_of_this_wire_in_mappings_are_kept() -> None:
    """A cache mark that a caller wrote is not taken for one of another wire."""
    blocks = [
        {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "eA=="}},
        {"type": "tomorrow", "x": 1},
    ]

    assert turns({"role": "user", "content": blocks})[0]["content"] == blocks


def test_tools_are_translated() -> None:
    """Names of this wire for what all wires share; entries of other wires are dropped, native tools stay."""
    mark = {"cache_control": {"type": "ephemeral"}}
    native = {"type": "bash_20250124", "name": "bash"}

    tools = sent(tools=[{**TOOL, "anthropic": mark, "chat": {"x": 1}}, {"type": "function", "function": {"name": "f"}}, native])["tools"]  # fmt: skip

    assert tools[0] == {
        "name": "weather",
        "description": "Of a city.",
        "strict": True,
        "input_schema": {"type": "object"},
        **mark,
    }
    assert tools[1:] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}, native]


@pytest.mark.parametrize(
    ("params", "choice"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"type": "tool", "name": "f"}),
        ({"tool_choice": {"type": "tool", "name": "f"}}, {"type": "tool", "name": "f"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"tool_choice": "required", "parallel_tool_calls": False},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        ({"parallel_tool_calls": True}, None),
        ({"tool_choice": None}, None),
    ],
)
def test_the_choice_among_tools_is_translated(params: dict[str, Any], choice: Any) -> None:
    """This wire says in it, too, whether calls may be parallel."""
    assert sent(tools=[TOOL], **params).get("tool_choice") == choice


def test_without_tools_nothing_is_said_of_parallel_calls() -> None:
    """A choice without tools would be refused."""
    assert "tool_choice" not in sent(parallel_tool_calls=False)


@pytest.mark.parametrize(
    ("params", "fields"),
    [
        ({"max_completion_tokens": 7}, {"max_tokens": 7}),
        ({"max_tokens": 5, "max_completion_tokens": 7}, {"max_tokens": 7}),
        ({"service_tier": "default"}, {"service_tier": "standard_only"}),
        ({"service_tier": "auto"}, {"service_tier": "auto"}),
        ({"service_tier": "of_tomorrow"}, {"service_tier": "of_tomorrow"}),
        ({"service_tier": None}, {}),
        ({"tools": None}, {}),
        ({"max_tokens": None}, {"max_tokens": DEFAULT_MAX_TOKENS}),
        ({"stop": "END"}, {"stop_sequences": ["END"]}),
        ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"stop_sequences": ["a"]}, {"stop_sequences": ["a"]}),
        ({"user": "u", "metadata": {"x": 1}}, {"metadata": {"x": 1, "user_id": "u"}}),
        ({"reasoning_effort": "xhigh"}, {"output_config": {"effort": "xhigh"}}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": 1}}}},
            {"output_config": {"format": {"type": "json_schema", "schema": {"a": 1}}}},
        ),
        ({"temperature": 0.5, "top_k": 3, "service_tier": "auto"}, {"temperature": 0.5, "top_k": 3}),
        ({"thinking": {"type": "adaptive"}, "brand_new": None}, {"thinking": {"type": "adaptive"}, "brand_new": None}),
    ],
)  # fmt: skip
def test_parameters_are_translated(params: dict[str, Any], fields: dict[str, Any]) -> None:
    """What all wires share gets its native name; native and unknown ones go through."""
    body = sent(**params)

    assert {key: body[key] for key in fields} == fields
    assert not {"stop", "user", "response_format", "reasoning_effort", "max_completion_tokens"} & body.keys()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 0),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("n", 2),
        ("frequency_penalty", 0.5),
        ("presence_penalty", -1),
        ("logit_bias", {"1": 2}),
        ("audio", {"voice": "x"}),
        ("modalities", ["text", "audio"]),
        ("response_format", {"type": "json_object"}),
        ("reasoning_effort", "minimal"),
        ("tool_choice", "any"),
        ("tool_choice", {"type": "allowed_tools", "allowed_tools": {}}),
    ],
)
def test_a_parameter_that_the_provider_does_not_have_is_refused_by_name(name: str, value: Any) -> None:
    """It would be refused anyway, or worse, be ignored."""
    with pytest.raises(InvalidRequestError, match=name):
        sent(**{name: value})


@pytest.mark.parametrize(
    "params",
    [
        {"seed": None, "logprobs": False, "top_logprobs": None, "n": 1, "frequency_penalty": 0, "logit_bias": {}},
        {"modalities": ["text"], "response_format": {"type": "text"}, "stop": None, "user": None, "audio": None},
    ],
)
def test_a_parameter_that_asks_for_nothing_is_dropped(params: dict[str, Any]) -> None:
    """An app that always sends them can change the provider."""
    assert sent(**params).keys() == {"model", "max_tokens", "messages"}


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"stop": "a", "stop_sequences": ["b"]}, "'stop' and 'stop_sequences'"),
        ({"user": "a", "metadata": {"user_id": "b"}}, "'user' and 'metadata.user_id'"),
        ({"reasoning_effort": "low", "output_config": {"effort": "high"}}, "output_config.effort"),
        ({"user": "a", "metadata": "x"}, "must be a mapping"),
    ],
)
def test_a_thing_that_is_said_twice_is_refused(params: dict[str, Any], words: str) -> None:
    """One of the two would be lost in silence."""
    with pytest.raises(InvalidRequestError, match=words):
        sent(**params)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "object"),
        ({"model": "m", "max_tokens": 1}, "messages"),
        ({"model": "m", "max_tokens": 1, "messages": []}, "at least one"),
        ({"model": "m", "messages": [{"role": "user", "content": "x"}]}, "max_tokens"),
        ({"model": 5, "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}, "model"),
        ({"model": "m", "max_tokens": 1, "messages": ["x"]}, r"messages\[0\]"),
        ({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": None}]}, r"messages\[0\].content"),
        ({"model": "m", "max_tokens": 1, "messages": [{"role": "tool", "content": "x"}]}, r"messages\[0\].role"),
    ],
)
def test_a_server_refuses_what_is_no_request(body: Any, words: str) -> None:
    """As the provider does; the error names the field."""
    with pytest.raises(InvalidRequestError, match=words):
        decode_request(body)


@pytest.mark.parametrize(
    "blank",
    [
        Text(""),
        Text(" \n"),
        UnknownPart({"type": "refusal", "refusal": ""}, "chat"),
        UnknownPart({"type": "refusal"}, "responses"),
    ],
)
def test_a_blank_text_is_left_out(blank: Any) -> None:
    """The provider refuses a block without a letter; an answer of nothing else is left out whole."""
    picture = Image(b"x", "image/png")

    said = turns(
        Message.user(blank, picture), Message.assistant(blank), Message.tool(ToolResult("1", (blank, picture)))
    )

    assert [[block["type"] for block in turn["content"]] for turn in said] == [["image"], ["tool_result"]]
    assert [block["type"] for block in said[1]["content"][0]["content"]] == ["image"]


def test_a_result_of_blank_text_has_no_content() -> None:
    """It is the same as one that brings nothing."""
    said = turns(Message.tool(ToolResult("1", (Text(""), Text(" ")))))

    assert said[0]["content"] == [{"type": "tool_result", "tool_use_id": "1"}]


WORDS = st.text(min_size=1, max_size=8)
IDS = st.from_regex(r"[a-zA-Z0-9_-]{1,8}", fullmatch=True)
"""Ids of calls in the form that the provider takes."""
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)
MARKS = st.fixed_dictionaries({}, optional={"cache_control": st.just({"type": "ephemeral"}), "new_field": VALUES})


def block(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Blocks of one type, with marks of any kind."""
    said = st.fixed_dictionaries({"type": st.just(kind), **fields})
    return st.builds(lambda rest, named: {**rest, **named}, MARKS, said)


PICTURE = st.sampled_from(
    [
        {"type": "base64", "media_type": "image/png", "data": "eA=="},
        {"type": "url", "url": "https://x/y"},
        {"type": "file", "file_id": "f"},
        {"type": "base64", "media_type": "image/png", "data": "?"},
    ]
)
TEXTS = block("text", text=st.text(max_size=5))
RESULTS = block("tool_result", tool_use_id=IDS, content=st.one_of(WORDS, st.lists(TEXTS, max_size=2)))
BLOCKS = st.one_of(
    TEXTS,
    block("image", source=PICTURE),
    block("document", source=PICTURE, title=st.none() | WORDS),
    block("tool_use", id=IDS, name=WORDS, input=st.dictionaries(WORDS, VALUES, max_size=2)),
    RESULTS,
    block("thinking", thinking=WORDS, signature=st.text(max_size=3)),
    block("redacted_thinking", data=WORDS),
    block("tomorrow", anything=VALUES),
    st.dictionaries(WORDS, VALUES, max_size=2),
)
CONTENT = st.one_of(st.text(max_size=5), st.lists(BLOCKS, max_size=3), st.lists(RESULTS, min_size=1, max_size=2))
TURNS = st.builds(
    lambda rest, role, content: {**rest, "role": role, "content": content},
    st.dictionaries(st.sampled_from(["weight", "name"]), VALUES, max_size=1),
    st.sampled_from(["user", "assistant", "system"]),
    CONTENT,
)
TOOLS = st.builds(
    lambda rest, named: {**rest, **named},
    MARKS,
    st.fixed_dictionaries(
        {"name": WORDS},
        optional={
            "description": WORDS,
            "strict": st.booleans(),
            "input_schema": VALUES,
            "type": st.sampled_from(["custom", "bash_20250124"]),
        },
    ),
)
BODIES = st.fixed_dictionaries(
    {"model": WORDS, "max_tokens": st.integers(1, 9), "messages": st.lists(TURNS, min_size=1, max_size=4)},
    optional={
        "system": st.one_of(st.text(max_size=5), st.lists(TEXTS, max_size=2)),
        "stop_sequences": st.lists(WORDS, max_size=2),
        "temperature": st.floats(0, 1),
        "service_tier": st.sampled_from(["auto", "standard_only", "of_tomorrow"]),
        "metadata": st.dictionaries(st.sampled_from(["user_id", "other"]), st.none() | WORDS),
        "tools": st.lists(TOOLS, max_size=2),
        "tool_choice": st.builds(
            lambda rest, kind: {**rest, "type": kind},
            st.dictionaries(st.sampled_from(["disable_parallel_tool_use", "name"]), st.booleans() | WORDS),
            st.sampled_from(["auto", "any", "tool", "none", "tomorrow"]),
        ),
        "output_config": st.dictionaries(
            st.sampled_from(["effort", "format", "other"]),
            st.sampled_from(["low", "odd", {"type": "json_schema", "schema": {"a": 1}}, None]),
        ),
        "thinking": VALUES,
        "unknown": VALUES,
    },
)


def normal(value: Any) -> Any:
    """*value* where a list of one plain text and the text are the same."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        first = value[0]
        if first.keys() == {"type", "text"} and first["type"] == "text":
            return first["text"]
    return value


@pytest.mark.parametrize("content", [" ", [{"type": "text", "text": " "}, {"type": "text", "text": "be brief"}]])
def test_blank_instructions_among_the_messages_stay_there(content: Any) -> None:
    """Text without a letter is left out of what a caller wrote, and not of a body that was read."""
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "system", "content": content}]}

    assert encode_request(decode_request(body), stream=False) == body


@given(BODIES)
def test_any_body_is_written_as_it_was_read(body: dict[str, Any]) -> None:
    """Known fields, odd forms of them and unknown ones: nothing is lost or added."""
    written = encode_request(decode_request(body), stream=False)

    for side in (written, body):
        side["messages"] = [{**turn, "content": normal(turn["content"])} for turn in side["messages"]]
        if "system" in side:
            side["system"] = normal(side["system"])
    assert written == body
    assert msgspec.json.encode(written, order="sorted") == msgspec.json.encode(body, order="sorted")
