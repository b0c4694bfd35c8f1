"""Answers on the chat wire: what is a completion, what is none, and what its tokens are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import (
    Image,
    LLMError,
    MalformedResponseError,
    Message,
    OverloadedError,
    RateLimitError,
    Reasoning,
    Response,
    ServerError,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from llamina.wire.openai_chat import decode_response, decode_usage, encode_response, encode_usage

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
MORE = st.dictionaries(st.text(max_size=6).map("x_{}".format), JSON, max_size=2)


def body(message: Any = None, **fields: Any) -> dict[str, Any]:
    """A completion."""
    choice = {"index": 0, "message": message or {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "sim", "choices": [choice], **fields}


@st.composite
def completions(draw: st.DrawFn) -> dict[str, Any]:
    """A completion with further fields at every level."""
    calls = st.builds(
        lambda name, text, more: {
            "id": name,
            "type": "function",
            "function": {"name": name, "arguments": text},
            **more,
        },
        st.text(max_size=5),
        st.text(max_size=9),
        MORE,
    )
    message = {"role": "assistant", "content": draw(st.sampled_from([None, "", "text", "mehr Text é"])), **draw(MORE)}
    for field, value in {
        "tool_calls": st.lists(calls, max_size=2),
        "refusal": st.sampled_from([None, "no"]),
        "reasoning_content": st.sampled_from([None, "hm"]),
        "annotations": st.just([]),
    }.items():
        if draw(st.booleans()):
            message[field] = draw(value)
    choice = {"index": 0, "message": message, "finish_reason": draw(st.sampled_from([None, "stop", "length", "odd"]))}
    whole = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "sim",
        "choices": [{**choice, **draw(MORE)}],
    }
    if draw(st.booleans()):
        whole["choices"].append({"index": 1, "message": {"role": "assistant", "content": "other"}, **draw(MORE)})
    if draw(st.booleans()):
        whole["usage"] = draw(st.none() | st.just({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}))
    return {**whole, **draw(MORE)}


@given(completions())
def test_a_completion_is_written_as_it_was_read(whole: dict[str, Any]) -> None:
    """Fields that have no name here survive at every level."""
    assert encode_response(decode_response(whole)) == whole


def test_a_changed_answer_is_written_as_it_is_now() -> None:
    """What a layer rewrote goes out; what the provider said of it before does not come back."""
    read = decode_response(body({"role": "assistant", "content": "", "refusal": None}))

    written = encode_response(read.with_text("new"))

    assert written["choices"][0]["message"] == {"role": "assistant", "content": "new", "refusal": None}


def test_names_of_an_odd_type_are_kept() -> None:
    """An id that is a number is no id here, and goes out as it came."""
    whole = {**body(), "id": 7, "model": 8, "x_more": 9}

    response = decode_response(whole)

    assert (response.id, response.model) == (None, "")
    assert encode_response(response) == whole


def test_what_this_wire_cannot_say_of_an_answer_is_left_out() -> None:
    """The rest of an answer of another wire still reaches the client."""
    response = Response(Message.assistant("text", ToolResult("1", "of a server tool"), Image()), None, "stop")

    assert encode_response(response)["choices"][0]["message"] == {"role": "assistant", "content": "text"}


def test_an_answer_of_no_wire_can_be_written() -> None:
    """A canned answer, or one of another provider, becomes a completion."""
    written = encode_response(Response.of("hi", usage=Usage(3, 4, 2, 0, 1), finish_reason="length"), created=7)

    assert written["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": "hi"},
        "finish_reason": "length",
    }
    assert written["created"] == 7
    assert decode_usage(written["usage"]) == Usage(3, 4, 2, 0, 1, raw=written["usage"])


@pytest.mark.parametrize(
    ("word", "unified"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("a_word_of_tomorrow", "other"),
        (None, None),
    ],
)
def test_the_finish_reason_is_unified(word: str | None, unified: str | None) -> None:
    """The provider's own word stays beside it."""
    whole = body()
    whole["choices"][0]["finish_reason"] = word

    response = decode_response(whole)

    assert (response.finish_reason, response.raw_finish_reason) == (unified, word)


@pytest.mark.parametrize(
    "odd",
    [
        None,
        [],
        "text",
        {},
        {"weird": 1},
        {"choices": []},
        {"choices": None},
        {"choices": {}},
        {"choices": ["hi"]},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {}}]},
        {"choices": [{"message": {"content": 7}}]},
        {"choices": [{"message": {"content": ["hi"]}}]},
    ],
)
def test_what_is_no_completion_is_malformed(odd: Any) -> None:
    """A success without an answer is an error that is worth another attempt."""
    with pytest.raises(MalformedResponseError) as caught:
        decode_response(odd, request_id="r-1")

    assert caught.value.retryable
    assert caught.value.request_id == "r-1"


def test_a_malformed_answer_tells_what_it_cost() -> None:
    """The tokens that it says were billed."""
    with pytest.raises(MalformedResponseError) as caught:
        decode_response({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}})

    assert caught.value.usage.total_tokens == 7


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"error": {"message": "busy", "type": "overloaded_error"}}, OverloadedError),
        ({"error": {"message": "slow", "code": "rate_limit_exceeded"}}, RateLimitError),
        ({"error": {"message": "slow", "code": 429}}, RateLimitError),
        ({"error": {"message": "bad", "code": 502}}, ServerError),
        ({"error": "a text"}, ServerError),
        ({"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "upstream"}}]}, ServerError),
    ],
)
def test_an_error_inside_a_success_is_classified(said: Any, kind: type[LLMError]) -> None:
    """By its code and type, as in a failure; no status is invented for it."""
    with pytest.raises(LLMError) as caught:
        decode_response(said, request_id="r-1")

    assert type(caught.value) is kind
    assert caught.value.status is None
    assert caught.value.request_id == "r-1"


def test_odd_tool_calls_are_read_as_far_as_they_go() -> None:
    """A missing id is empty, arguments that came as an object are text, further fields are kept."""
    call = {"function": {"name": "f", "arguments": {"a": 1}, "x_more": 1}, "x_sign": "s"}

    response = decode_response(body({"role": "assistant", "tool_calls": [call]}))

    assert response.tool_calls == (ToolCall("", "f", '{"a":1}', {"chat": {"x_sign": "s", "function": {"x_more": 1}}}),)


def test_reasoning_comes_before_what_is_said() -> None:
    """The parts stand in the order in which they were made."""
    response = decode_response(body({"role": "assistant", "content": "yes", "reasoning": "hm"}))

    assert [type(part) for part in response.message.parts] == [Reasoning, Text]


@pytest.mark.parametrize(
    ("account", "usage"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4}, (3, 4, 0, 0, 0)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, (0, 0, 0, 0, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}, (9, 4, 8, 0, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_cache_hit_tokens": 8}, (9, 4, 8, 0, 0)),
        ({"prompt_tokens": 1, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}, (9, 4, 8, 0, 0)),
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 27}, (3, 24, 0, 0, 0)),
        (
            {
                "prompt_tokens": 3,
                "completion_tokens": 4,
                "total_tokens": 27,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            (3, 24, 0, 0, 20),
        ),
        (
            {"prompt_tokens": 3, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 20}},
            (3, 24, 0, 0, 20),
        ),
        (
            {"prompt_tokens": 3, "completion_tokens": 24, "completion_tokens_details": {"reasoning_tokens": 20}},
            (3, 24, 0, 0, 20),
        ),
        (
            {
                "prompt_tokens": 90,
                "completion_tokens": 40,
                "prompt_tokens_details": {"audio_tokens": 60, "text_tokens": 30, "cached_tokens": 0},
                "completion_tokens_details": {"audio_tokens": 30, "text_tokens": 10, "reasoning_tokens": 0},
            },
            (90, 40, 0, 0, 0, 0, 60, 30),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cache_write_tokens": 8}},
            (9, 4, 0, 8, 0),
        ),
        ({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"audio_tokens": None}}, (3, 4)),
        ({"prompt_tokens": 3, "total_tokens": 7}, (3, 4, 0, 0, 0)),
        ({"prompt_tokens": 3.0, "completion_tokens": 4.0, "completion_tokens_details": None}, (3, 4, 0, 0, 0)),
    ],
)
def test_tokens_are_counted_alike_for_all_providers(account: dict[str, Any], usage: tuple[int, ...]) -> None:
    """Input includes what was cached, output includes the reasoning, an explicit zero stays zero; raw is kept."""
    assert decode_usage(account) == Usage(*usage, raw=account)


@pytest.mark.parametrize(
    "account",
    [
        None,
        {},
        [],
        "12",
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": "3", "completion_tokens": "4"},
        {"prompt_tokens": -1, "completion_tokens": 4},
        {"prompt_tokens": True, "completion_tokens": False},
        {"prompt_tokens": 3},
        {"prompt_tokens": 1.5, "completion_tokens": 4},
        {"prompt_tokens": float("nan"), "completion_tokens": float("inf")},
        {"prompt_tokens": 10**30, "completion_tokens": 4},
    ],
)
def test_an_odd_account_is_unknown_and_not_zero(account: Any) -> None:
    """What cannot be counted is no usage; it never raises and never hides the answer."""
    response = decode_response(body(usage=account))

    assert response.usage is None
    assert response.text == "hi"
    assert response.extra["usage"] is account


@given(JSON | st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens"]), JSON))
def test_no_account_is_so_odd_that_it_raises(account: Any) -> None:
    """The provider has answered: its arithmetic must not lose the answer."""
    usage = decode_usage(account)

    assert usage is None or min(usage.input_tokens, usage.output_tokens) >= 0


def test_an_account_is_written_back_verbatim_unless_it_was_changed() -> None:
    """Details that have no name here go out again; a corrected count is written anew."""
    account = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "x_detail": 1}
    usage = decode_usage(account)
    assert usage is not None

    assert encode_usage(usage) == account
    assert encode_usage(Usage(5, 6, raw=account)) == {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}


def test_sound_is_written_as_the_part_that_it_is() -> None:
    """An account of another wire keeps its audio counts on this one, and the details that are 0 stay out."""
    usage = Usage(90, 40, input_audio_tokens=60, output_audio_tokens=30)

    written = encode_usage(usage)

    assert written["prompt_tokens_details"] == {"cached_tokens": 0, "audio_tokens": 60}
    assert written["completion_tokens_details"] == {"audio_tokens": 30}
    assert decode_usage(written) == usage


def test_an_account_whose_sound_was_recounted_is_written_anew() -> None:
    """The provider's own words go out only where they say what the counts say."""
    account = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"audio_tokens": 8}}

    written = encode_usage(Usage(9, 4, input_audio_tokens=2, raw=account))

    assert written["prompt_tokens_details"] == {"cached_tokens": 0, "audio_tokens": 2}


def test_output_includes_reasoning_even_where_the_total_does_not() -> None:
    """Thoughts are billed as output."""
    said = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    usage = decode_usage({**said, "completion_tokens_details": {"reasoning_tokens": 100}})

    assert usage is not None
    assert (usage.output_tokens, usage.reasoning_tokens) == (102, 100)
