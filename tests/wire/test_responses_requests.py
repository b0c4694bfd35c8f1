"""Requests on the Responses wire: what is sent for what was asked, and what cannot be said."""

from __future__ import annotations

from typing import Any

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
from llamina.wire.openai_responses import decode_request, encode_request

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
WORD = st.text("abcdefgh_0", min_size=1, max_size=8)
MORE = st.dictionaries(WORD.map("x_{}".format), JSON, max_size=2)


def shape(*needed: tuple[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with these fields, and unknown ones beside."""
    known = st.fixed_dictionaries(
        {name: value if isinstance(value, st.SearchStrategy) else st.just(value) for name, value in needed},
        optional=optional,
    )
    return st.builds(lambda fields, more: {**more, **fields}, known, MORE)


STATUS = st.sampled_from(["completed", "incomplete", "in_progress"])
INPUT = st.one_of(
    shape(("type", "input_text"), ("text", st.text(max_size=6))),
    shape(("type", "input_image"), image_url=st.sampled_from(["https://a", "data:image/png;base64,UE5H", "data:x"])),
    shape(("type", "input_image"), file_id=WORD, detail=st.sampled_from(["low", None]), image_url=st.none() | JSON),
    shape(("type", "input_file"), file_data=st.just("data:a/b;base64,UE5H"), filename=WORD, file_url=st.none()),
    shape(("type", "input_file"), file_url=WORD, file_id=WORD | st.none()),
    shape(("type", "input_audio"), input_audio=JSON),
    shape(("type", "input_of_tomorrow")),
)
OUTPUT = st.one_of(
    shape(
        ("type", "output_text"), ("text", st.text(max_size=6)), annotations=st.lists(JSON, max_size=2), logprobs=JSON
    ),
    shape(("type", "refusal"), ("refusal", WORD)),
    shape(("type", "output_of_tomorrow")),
)
ANSWERED = st.one_of(
    shape(
        ("type", "message"),
        ("role", "assistant"),
        ("content", st.lists(OUTPUT, max_size=3)),
        id=WORD,
        status=STATUS,
        phase=st.sampled_from(["commentary", None]),
    ),
    shape(("type", "function_call"), ("call_id", WORD), ("name", WORD), ("arguments", st.text(max_size=6)), id=WORD),
    shape(("type", "function_call"), arguments=JSON, status=STATUS),
    shape(("type", "custom_tool_call"), ("call_id", WORD), ("name", WORD), ("input", st.text(max_size=6)), id=WORD),
    shape(
        ("type", "reasoning"),
        summary=st.lists(shape(("type", "summary_text"), ("text", st.text(max_size=6))), max_size=2) | JSON,
        encrypted_content=st.none() | WORD,
        id=WORD,
    ),
    shape(("type", st.sampled_from(["web_search_call", "mcp_call", "of_tomorrow", "compaction"])), id=WORD),
)
ITEMS = st.one_of(
    ANSWERED,
    shape(
        ("role", st.sampled_from(["user", "system", "developer", "critic"])),
        ("content", st.text(max_size=6) | st.lists(INPUT, max_size=3)),
        type=st.just("message"),
        status=STATUS,
    ),
    shape(
        ("role", "assistant"),
        ("content", st.text(max_size=6) | st.lists(OUTPUT, max_size=3)),
        phase=st.just("commentary"),
    ),
    shape(
        ("type", st.sampled_from(["function_call_output", "custom_tool_call_output"])),
        ("call_id", WORD),
        ("output", st.text(max_size=6) | st.lists(INPUT, max_size=2) | JSON),
        status=STATUS,
        name=WORD,
    ),
)
TOOLS = st.one_of(
    shape(("type", "function"), ("name", WORD), parameters=JSON, strict=st.booleans() | st.none(), description=WORD),
    shape(("type", "custom"), ("name", WORD)),
    shape(("type", "web_search")),
)
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "max_output_tokens": st.none() | st.integers(1, 9),
        "tools": st.lists(TOOLS, max_size=2) | JSON.filter(lambda tools: tools is not None),  # null asks for nothing
        "tool_choice": shape(("type", "function"), ("name", WORD)) | JSON,
        "text": st.fixed_dictionaries(
            {},
            optional={
                "format": shape(("type", "json_schema"), ("name", WORD), schema=JSON) | shape(("type", "text")) | JSON,
                "verbosity": st.none() | WORD,
                "x_more": JSON,
            },
        ),
        "reasoning": st.fixed_dictionaries({}, optional={"effort": st.none() | WORD, "summary": st.just("auto")}),
        "include": st.lists(
            st.sampled_from(["message.output_text.logprobs", "reasoning.encrypted_content"]), max_size=3
        ),
        "top_logprobs": st.integers(0, 5),
        "instructions": st.none() | WORD,
        "temperature": st.floats(0, 2),
        "store": st.booleans(),
    },
)


def normal(body: dict[str, Any]) -> dict[str, Any]:
    """The one form of what can be said in two: a lone plain text is a string, and so is a prompt of it."""

    def item(each: Any) -> Any:
        content = each.get("content")
        own = "output_text" if each.get("role") == "assistant" else "input_text"
        answered = each.get("role") == "assistant" and each.get("type") == "message"
        lone = isinstance(content, list) and len(content) == 1 and content[0].keys() == {"type", "text"}
        if "role" in each and lone and not answered and content[0]["type"] == own:
            return {**each, "content": content[0]["text"]}
        return each

    prompt = body["input"]
    if isinstance(prompt, str):
        return body
    items = [item(each) for each in prompt]
    plain = len(items) == 1 and items[0].keys() == {"role", "content"} and items[0]["role"] == "user"
    if plain and isinstance(items[0]["content"], str) and items[0]["content"]:
        return {**body, "input": items[0]["content"]}
    return {**body, "input": items}


def sent(*messages: Any, **params: Any) -> dict[str, Any]:
    """The body for a request of these messages, not streamed."""
    return encode_request(Request.chat("sim", list(messages), **params), stream=False)


def items(*messages: Any) -> Any:
    """The input of a request that has a further message, so that it is a list."""
    return sent(*messages, Message.user("?"))["input"][:-1]


@given(st.text(max_size=6) | st.lists(ITEMS, min_size=1, max_size=5), PARAMS, MORE)
def test_what_is_read_is_written_again(prompt: Any, params: dict[str, Any], more: dict[str, Any]) -> None:
    """Any items and parameters go out as they came in, known and unknown ones."""
    body = {**more, **params, "model": "sim", "input": prompt}

    assert encode_request(decode_request(body), stream=False) == normal(body)


CONTENT = st.one_of(
    WORD.map(Text),
    st.builds(Image, st.binary(max_size=9), st.sampled_from(["image/png", "image/webp"])),
    st.builds(lambda url: Image(url="https://" + url, detail="low"), WORD),
    st.builds(lambda data, name: File(data, "application/pdf", name), st.binary(max_size=9), WORD),
    st.builds(lambda name: File(file_id=name), WORD),
)
MESSAGES = st.one_of(
    st.builds(lambda parts: Message("user", tuple(parts)), st.lists(CONTENT, min_size=1, max_size=3)),
    st.builds(
        lambda text, calls: Message("assistant", (Text(text), *calls)),
        WORD,
        st.lists(st.builds(ToolCall, WORD, WORD, st.text(max_size=5)), max_size=2),
    ),
    st.builds(lambda text: Message.system(text), WORD),
)


@given(st.lists(MESSAGES, min_size=1, max_size=4), MORE)
def test_what_is_written_is_read_back(messages: list[Message], params: dict[str, Any]) -> None:
    """Typed parts of any messages come back as they were."""
    request = Request.chat("sim", messages).evolve(params=params)

    back = decode_request(encode_request(request, stream=False))

    assert back.messages == request.messages
    assert back.identity == request.identity


def test_a_lone_text_of_a_user_is_a_plain_string() -> None:
    """In both ways; a list of that one message says the same and is read as the same."""
    body = {"model": "sim", "input": "hi"}

    listed = decode_request({"model": "sim", "input": [{"role": "user", "content": "hi"}]})

    assert sent("hi") == body
    assert encode_request(decode_request(body), stream=False) == body
    assert listed.identity == decode_request(body).identity


def test_the_order_of_parts_is_the_order_of_items() -> None:
    """Text before a call, results and what a user adds, all as they stand."""
    said = items(
        Message.assistant("first", ToolCall("c1", "f", "{}"), "then", "more"),
        Message.user(ToolResult("c1", "1"), "and now?"),
    )

    assert said == [
        {"role": "assistant", "content": "first"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {
            "role": "assistant",
            "content": [{"type": "output_text", "text": "then"}, {"type": "output_text", "text": "more"}],
        },
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
        {"role": "user", "content": "and now?"},
    ]


def test_a_result_is_of_the_kind_of_its_call() -> None:
    """Custom tools have an item of their own, whichever OpenAI wire the call came from."""
    calls = [
        ToolCall("c1", "f", "ls", {"responses": {"type": "custom_tool_call"}}),
        ToolCall("c2", "f", "ls", {"chat": {"type": "custom"}}),
        ToolCall("c3", "f", "{}"),
    ]

    said = items(Message.assistant(*calls), Message.tool(*[ToolResult(call.id, "1") for call in calls]))

    custom, function = ("custom_tool_call", "custom_tool_call_output"), ("function_call", "function_call_output")
    assert [item["type"] for item in said] == [custom[0], custom[0], function[0], custom[1], custom[1], function[1]]


def test_a_failed_result_is_marked() -> None:
    """The wire has no word for it but the status; it is read back as a failure."""
    result = ToolResult("c1", "no such city", is_error=True)

    (item,) = items(Message.tool(result))

    assert item["status"] == "incomplete"
    assert decode_request({"model": "sim", "input": [item]}).messages[0].parts == (result,)


def test_messages_in_the_chat_dialect_are_said_here() -> None:
    """An app that passes mappings can change the wire."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}

    said = items(
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a", "detail": "low"}}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
    )

    assert said == [
        {"role": "user", "content": [{"type": "input_image", "detail": "low", "image_url": "https://a"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
    ]


def test_items_of_this_wire_that_a_caller_writes_go_out_as_they_are() -> None:
    """Content stands inside its message, an item by itself."""
    piece, item = {"type": "input_text", "text": "x"}, {"type": "web_search_call", "id": "ws_1"}

    said = items(Message("user", (UnknownPart(piece), Text("y"))), Message("assistant", (UnknownPart(item),)))

    assert said == [{"role": "user", "content": [piece, {"type": "input_text", "text": "y"}]}, item]


def test_the_thoughts_of_another_wire_are_not_sent() -> None:
    """A provider refuses what another one signed; its own go back verbatim, and a refusal is the same on both wires."""
    own = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    thought = Message.assistant(
        Reasoning("hm", {"anthropic": {"signature": "of another"}}),
        Reasoning("", {"responses": {key: value for key, value in own.items() if key != "type"}}),
        UnknownPart({"type": "refusal", "refusal": "no"}, "chat"),
    )

    assert items(thought) == [own, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}]
    assert items(Message.assistant(Reasoning("only", {"anthropic": {"signature": "x"}}))) == []


def test_parameters_of_all_wires_are_said_in_the_words_of_this_one() -> None:
    """What asks for nothing is left out; a tool without `strict` must not be taken for a strict one."""
    body = sent(
        "hi",
        max_tokens=5,
        n=1,
        stop=None,
        frequency_penalty=0,
        modalities=["text"],
        tools=[{"type": "function", "function": {"name": "f"}, "anthropic": {"cache_control": {}}}],
        tool_choice={"type": "function", "function": {"name": "f"}},
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "strict": True}},
        verbosity="low",
        reasoning_effort="high",
        reasoning={"summary": "auto"},
        logprobs=True,
        top_logprobs=2,
        temperature=0.5,
    )

    del body["model"], body["input"]
    assert body == {
        "max_output_tokens": 5,
        "tools": [{"type": "function", "name": "f", "parameters": None, "strict": False}],
        "tool_choice": {"type": "function", "name": "f"},
        "text": {"format": {"type": "json_schema", "name": "a", "schema": {}, "strict": True}, "verbosity": "low"},
        "reasoning": {"effort": "high", "summary": "auto"},
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
        "temperature": 0.5,
    }


def test_custom_tools_and_allowed_tools_are_flattened() -> None:
    """As the functions are."""
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /a/"}}
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]}

    body = sent(
        "hi",
        tools=[{"type": "custom", "custom": {"name": "shell", "format": grammar}}],
        tool_choice={"type": "allowed_tools", "allowed_tools": allowed},
    )

    assert body["tools"][0]["format"] == {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}
    assert body["tool_choice"] == {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "f"}],
    }


def test_what_is_said_in_the_words_of_this_wire_wins() -> None:
    """A parameter of its own over a translated one."""
    body = sent("hi", max_tokens=5, max_output_tokens=7, reasoning_effort="low", reasoning={"effort": "high"})

    assert body["max_output_tokens"] == 7
    assert body["reasoning"] == {"effort": "high"}
    assert "max_tokens" not in body


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stop", ["x"]),
        ("seed", 0),
        ("n", 2),
        ("frequency_penalty", 0.5),
        ("presence_penalty", 0.5),
        ("logit_bias", {"1": 5}),
        ("background", True),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy"}),
        ("text", 7),
    ],
)
def test_what_the_api_cannot_do_is_named(name: str, value: Any) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidRequestError, match=name):
        sent("hi", **{"verbosity": "low", name: value})


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (Message.user(Audio(b"x", "audio/wav")), "Audio"),
        (Message.user(Image(b"x")), "Image.media_type"),
        (Message.user(Image()), "Image must have data or a url"),
        (Message.user(File()), "File must have data"),
        (Message.user(UnknownPart("no mapping")), "UnknownPart.raw"),
        (Message.user(UnknownPart({"type": "document"}, "anthropic")), "anthropic wire"),
        (Message.assistant(Image(url="https://a")), "Image of the assistant"),
        (Message.assistant(Audio(b"x", "audio/wav")), "Audio of the assistant; send its transcript"),
        (Message.tool(ToolResult("1", None)), "ToolResult.content must be text or parts, got NoneType"),  # type: ignore[arg-type]
        (Message.of({"role": "function", "name": "f", "content": "x"}), "role 'function'"),
    ],
)
def test_what_cannot_be_said_is_named(message: Message, named: str) -> None:
    """The error names the part, and it is found before anything is sent."""
    with pytest.raises(InvalidRequestError) as caught:
        sent(message)

    assert named in str(caught.value)


def test_another_kind_of_request_is_refused() -> None:
    """An embedding is no answer."""
    with pytest.raises(InvalidRequestError, match="embed"):
        encode_request(Request.embed("sim", "hi"), stream=False)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], "must be an object"),
        ({"model": "sim"}, "input must be text or a list"),
        ({"model": "sim", "input": []}, "at least one message"),
        ({"input": "hi"}, "model"),
        ({"model": "sim", "input": ["hi"]}, r"input\[0\]"),
        ({"model": "sim", "input": [{"role": "user", "content": 7}]}, r"input\[0\].content"),
    ],
)
def test_a_body_that_is_no_request_is_refused(body: Any, named: str) -> None:
    """The error names the field, for the client of a server."""
    with pytest.raises(InvalidRequestError, match=named):
        decode_request(body)


def test_a_prompt_that_is_kept_at_the_provider_needs_no_input() -> None:
    """A template, or a conversation that goes on by itself."""
    body = {"model": "sim", "prompt": {"id": "pmpt_1"}}

    assert encode_request(decode_request(body), stream=False) == body


def test_how_a_client_streams_is_no_parameter_of_the_request() -> None:
    """The same question, streamed or not, is one request; further options of the stream are kept."""
    body = {"model": "sim", "input": "hi"}
    options = {"include_usage": True, "include_obfuscation": False}

    streamed = decode_request({**body, "stream": True, "stream_options": options})

    assert streamed.params == {"stream_options": {"include_obfuscation": False}}
    assert encode_request(streamed, stream=True) == {
        **body,
        "stream": True,
        "stream_options": {"include_obfuscation": False},
    }
    assert encode_request(streamed, stream=False) == body
    assert encode_request(decode_request(body), stream=True) == {**body, "stream": True}
