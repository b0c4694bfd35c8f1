"""Answers on the Responses wire: what is no answer, tokens, failures, and what a server says of any answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import (
    Audio,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    LLMError,
    MalformedResponseError,
    Message,
    QuotaExceededError,
    RateLimitError,
    Reasoning,
    Response,
    ServerError,
    Text,
    ToolCall,
    UnknownPart,
    Usage,
)
from llamina.wire.openai_responses import (
    decode_error,
    decode_response,
    decode_usage,
    encode_error,
    encode_response,
    encode_usage,
)

HEAD = {"id": "resp_1", "object": "response", "created_at": 1, "model": "sim", "status": "completed"}
WORD = st.text("abcdefgh_0", min_size=1, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3),
    max_leaves=6,
)
MORE = st.dictionaries(WORD.map("x_{}".format), JSON, max_size=3)


def shape(*needed: tuple[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with these fields, and unknown ones beside."""
    known = st.fixed_dictionaries(
        {name: value if isinstance(value, st.SearchStrategy) else st.just(value) for name, value in needed},
        optional=optional,
    )
    return st.builds(lambda fields, more: {**more, **fields}, known, MORE)


PIECES = st.one_of(
    shape(("type", "output_text"), text=st.text(max_size=5) | JSON, annotations=JSON, logprobs=JSON),
    shape(("type", "refusal"), refusal=WORD | JSON),
    shape(("type", JSON)),
)
ITEMS = st.one_of(
    shape(("type", "message"), ("role", "assistant"), ("content", st.lists(PIECES, max_size=3)), id=WORD, status=WORD),
    shape(("type", "message"), role=WORD, content=JSON),
    shape(("type", "function_call"), call_id=WORD, name=WORD, arguments=st.text(max_size=5), id=WORD, status=WORD),
    shape(("type", "custom_tool_call"), call_id=WORD, name=WORD, input=st.text(max_size=5), id=WORD),
    shape(("type", "reasoning"), summary=st.lists(shape(text=WORD), max_size=2) | JSON, content=JSON),
    shape(("type", JSON)),
)
BODIES = st.builds(
    lambda known, ending, more: {**HEAD, **more, **known, **ending},
    st.fixed_dictionaries({"output": st.lists(ITEMS, max_size=3)}, optional={"usage": JSON, "model": WORD}),
    st.sampled_from(
        [
            {},
            {"status": "completed", "incomplete_details": None},
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens", "x": 1}},
            {"status": "incomplete", "incomplete_details": {"reason": "steered"}},
            {"status": "incomplete"},
            {"status": "of_tomorrow"},
            {"status": None, "object": "of_tomorrow", "id": None},
        ]
    ),
    MORE,
)


def answered(*output: Any, **fields: Any) -> dict[str, Any]:
    """A response object."""
    return {**HEAD, "output": list(output), **fields}


@given(BODIES)
def test_what_is_read_is_written_again(body: dict[str, Any]) -> None:
    """Any items and fields, known and unknown ones."""
    expected = {**body, "id": "resp_0"} if body["id"] is None else body

    written = encode_response(decode_response(body))

    assert {**written, "id": expected["id"]} == expected


@pytest.mark.parametrize(
    "body",
    [None, [], "text", {}, answered(7), {**HEAD, "output": {}}, {**HEAD, "output": None}],
)
def test_a_body_that_is_no_answer_is_malformed(body: Any) -> None:
    """Whatever it is, the error is of one kind."""
    with pytest.raises(MalformedResponseError, match="no response") as caught:
        decode_response(body, request_id="r-1", provider="sim")

    assert (caught.value.request_id, caught.value.provider) == ("r-1", "sim")


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelled"])
def test_an_answer_that_is_not_finished_is_none(status: str) -> None:
    """The error says why."""
    with pytest.raises(MalformedResponseError, match=status):
        decode_response(answered(status=status))


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        ({"code": "server_error", "message": "m"}, ServerError),
        ({"code": "rate_limit_exceeded", "message": "m"}, RateLimitError),
        ({"code": "invalid_prompt", "message": "m"}, ContentFilterError),
        (None, ServerError),
    ],
)
def test_an_answer_that_failed_is_raised(failure: Any, kind: type[LLMError]) -> None:
    """Classified by its code, with the tokens that are billed."""
    body = answered(status="failed", error=failure, usage={"input_tokens": 3, "output_tokens": 1})

    with pytest.raises(LLMError) as caught:
        decode_response(body, request_id="r-1")

    assert type(caught.value) is kind
    assert (caught.value.usage, caught.value.request_id) == (Usage(3, 1), "r-1")


def test_a_changed_answer_says_the_change() -> None:
    """A layer that changes how it ended or what it says is believed over the fields that came."""
    body = answered(
        {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
        incomplete_details=None,
    )
    response = decode_response(body)

    cut = encode_response(response.evolve(finish_reason="length"))
    other = encode_response(response.with_text("y"))

    assert (cut["status"], cut["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert other["output"][0]["content"] == [{"type": "output_text", "text": "y", "annotations": []}]


def test_an_answer_of_no_wire_or_another_is_said_with_all_that_clients_look_for() -> None:
    """Items get ids; what cannot be said here, and the fields of another wire, are left out."""
    message = Message.assistant(
        Reasoning("hm", {"anthropic": {"signature": "x"}}),
        Text("a", {"anthropic": {"citations": [1]}}),
        UnknownPart({"type": "refusal", "refusal": "no"}, "chat"),
        Audio(b"x", "audio/wav"),
        UnknownPart({"type": "server_tool_use"}, "anthropic"),
        ToolCall("c1", "f", "{}"),
    )
    response = Response(message, Usage(3, 4), "tool_calls", "sim", extra={"system_fingerprint": "fp"}, wire="anthropic")

    written = encode_response(response, created=5)

    assert written["output"] == [
        {"type": "reasoning", "id": "rs_0", "summary": [{"type": "summary_text", "text": "hm"}]},
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [
                {"type": "output_text", "annotations": [], "text": "a"},
                {"type": "refusal", "refusal": "no"},
            ],
        },
        {"type": "function_call", "id": "fc_2", "call_id": "c1", "name": "f", "arguments": "{}", "status": "completed"},
    ]
    assert (written["status"], written["created_at"], written["tools"]) == ("completed", 5, [])
    assert "system_fingerprint" not in written


def test_tokens_are_read_as_all_wires_share_them() -> None:
    """The input includes what was read from the cache and written to it, the output the reasoning."""
    account = {
        "input_tokens": 120,
        "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 32},
        "output_tokens": 40,
        "output_tokens_details": {"reasoning_tokens": 24},
        "total_tokens": 160,
    }

    usage = decode_usage(account)

    assert usage == Usage(120, 40, 64, 32, 24)
    assert usage is not None
    assert usage.raw is account
    assert encode_usage(usage) == account
    assert encode_usage(Usage(120, 40, 64, 32, 24)) == account


@pytest.mark.parametrize(
    "account",
    [
        None,
        [],
        {},
        {"input_tokens": None, "output_tokens": 1},
        {"input_tokens": -1, "output_tokens": 1},
        {"input_tokens": "3", "output_tokens": 1},
        {"input_tokens": True, "output_tokens": 1},
        {"input_tokens": float("nan"), "output_tokens": 1},
    ],
)
def test_what_is_no_account_is_none(account: Any) -> None:
    """Unknown is not zero."""
    assert decode_usage(account) is None


@pytest.mark.parametrize(
    ("account", "usage"),
    [
        ({"input_tokens": 0, "output_tokens": 0}, Usage()),
        ({"input_tokens": 3, "total_tokens": 7}, Usage(3, 4)),
        ({"output_tokens": 4, "total_tokens": 7}, Usage(3, 4)),
        ({"input_tokens": 3, "output_tokens": 4, "input_tokens_details": None}, Usage(3, 4)),
        (
            {"input_tokens": 3, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 9}},
            Usage(3, 13, 0, 0, 9),
        ),
        ({"input_tokens": 3, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 9}}, Usage(12, 4, 9)),
    ],
)
def test_accounts_of_other_servers_are_evened_out(account: Any, usage: Usage) -> None:
    """An explicit zero is kept; what was left out of a sum is added."""
    assert decode_usage(account) == usage


@pytest.mark.parametrize(
    ("status", "failure", "kind"),
    [
        (400, {"code": "context_length_exceeded", "message": "m"}, ContextLengthError),
        (400, {"type": "invalid_request_error", "message": "m", "param": "input"}, InvalidRequestError),
        (429, {"code": "insufficient_quota", "message": "m"}, QuotaExceededError),
        (429, {"code": "rate_limit_exceeded", "message": "m"}, RateLimitError),
    ],
)
def test_a_refused_request_is_classified_and_said_again(status: int, failure: Any, kind: type[LLMError]) -> None:
    """In the words that both OpenAI wires share."""
    error = decode_error(status, msgspec.json.encode({"error": failure}), {}, provider="sim", model="m")

    said, _, body = encode_error(error)

    assert type(error) is kind
    assert (said, body["error"]["message"]) == (status, "m")
