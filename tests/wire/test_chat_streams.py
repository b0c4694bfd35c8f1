"""Streams on the chat wire: events while they come, the whole at the end, and what a broken one says."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import (
    Audio,
    Event,
    LLMError,
    MalformedResponseError,
    Message,
    OverloadedError,
    PartDelta,
    QuotaExceededError,
    RateLimitError,
    Reasoning,
    ReasoningDelta,
    Response,
    ServerError,
    Started,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    UnknownPart,
    Usage,
    fold,
)
from llamina.events import events_of
from llamina.wire.openai_chat import StreamDecoder, StreamEncoder
from llamina.wire.sse import SSEDecoder

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def chunk(delta: Any = None, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """A chunk with one choice."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "sim", "choices": [choice], **fields}


def fed(*chunks: Any, **facts: Any) -> tuple[StreamDecoder, list[Event]]:
    """A decoder that has read these chunks, and what it gave."""
    decoder = StreamDecoder(**facts)
    return decoder, [event for each in chunks for event in decoder.feed_bytes(msgspec.json.encode(each))]


def test_the_first_event_says_that_the_provider_answers() -> None:
    """It carries the id and the model, and is no content."""
    decoder, events = fed(chunk({"role": "assistant", "content": ""}), chunk({"content": "hi"}), chunk({}, "stop"))

    assert events == [Started("c", "sim"), TextDelta("hi")]
    assert (decoder.finish().id, decoder.finish().model) == ("c", "sim")


def test_a_model_that_is_named_late_is_still_known() -> None:
    """Some providers open with a chunk about the prompt that names no model."""
    opening = {"id": "", "model": "", "choices": [], "prompt_filter_results": [1]}

    decoder, events = fed(opening, chunk({"content": "hi"}), chunk({}, "stop"))

    assert events[0] == Started()
    assert decoder.finish().model == "sim"
    assert decoder.finish().extra["prompt_filter_results"] == [1]


def test_usage_is_the_last_that_was_said() -> None:
    """Counts in a stream are cumulative: summed they would charge twice; a null does not erase them."""
    counts = [{"prompt_tokens": 3, "completion_tokens": number} for number in (1, 2, 4)]

    decoder, _ = fed(*[chunk({"content": "x"}, usage=count) for count in counts], chunk({}, "stop", usage=None))

    assert decoder.usage == decoder.finish().usage == Usage(3, 4, raw=counts[-1])


def test_usage_may_stand_where_one_provider_puts_it() -> None:
    """In a field of its own at the last chunk."""
    decoder, _ = fed(chunk({"content": "x"}), chunk({}, "stop", x_groq={"id": "r", "usage": USAGE}))

    assert decoder.finish().usage == Usage(3, 4, raw=USAGE)


@pytest.mark.parametrize("done", [False, True], ids=["without [DONE]", "with [DONE]"])
def test_a_stream_without_a_finish_reason_was_cut(done: object) -> None:
    """[DONE] proves nothing; the error tells what came, and no account that is not the last."""
    decoder, _ = fed(chunk({"content": "par"}, usage=USAGE))
    if done:
        assert decoder.feed_bytes(b"[DONE]") == []

    with pytest.raises(MalformedResponseError, match="without a finish reason") as caught:
        decoder.finish()

    assert caught.value.partial.text == "par"
    assert caught.value.usage is None
    assert decoder.usage.output_tokens == 4


def test_a_stream_without_done_is_whole_when_it_has_a_finish_reason() -> None:
    """The mark at the end is optional."""
    decoder, _ = fed(chunk({"content": "hi"}), chunk({}, "length"))

    assert not decoder.ended
    assert decoder.finish().finish_reason == "length"


def test_an_empty_stream_was_cut() -> None:
    """A body without a single event is no answer, and there is nothing partial of it."""
    with pytest.raises(MalformedResponseError) as caught:
        StreamDecoder().finish()

    assert caught.value.partial is None


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        ({"message": "busy", "type": "overloaded_error"}, OverloadedError),
        ({"message": "slow", "type": "rate_limit_error", "code": "rate_limit_exceeded"}, RateLimitError),
        ({"message": "spent", "type": "insufficient_quota", "code": "insufficient_quota"}, QuotaExceededError),
        ({"message": "oops", "type": "server_error"}, ServerError),
        ({"message": "upstream", "code": 502}, ServerError),
        ("only a text", ServerError),
    ],
)
def test_an_error_inside_a_stream_is_classified(failure: Any, kind: type[LLMError]) -> None:
    """By its words, for the status was a success; what came before is kept."""
    decoder, _ = fed(chunk({"content": "par"}, usage=USAGE), provider="sim", request_id="r-1")

    with pytest.raises(LLMError) as caught:
        decoder.feed({"error": failure})

    assert type(caught.value) is kind
    assert caught.value.status is None
    assert caught.value.partial.text == "par"
    assert (caught.value.usage, caught.value.provider, caught.value.request_id) == (None, "sim", "r-1")


def test_an_error_after_the_end_was_said_knows_the_account() -> None:
    """What failed after the finish reason was paid in full."""
    decoder, _ = fed(chunk({"content": "all"}, usage=USAGE), chunk({}, "stop"))

    with pytest.raises(LLMError) as caught:
        decoder.feed({"error": "late"})

    assert caught.value.usage == decoder.usage


@pytest.mark.parametrize(
    "said",
    [
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "error", "error": {"code": 502, "message": "m"}}]},
        {"object": "error", "message": "m", "type": "BadRequestError", "code": 400},
        chunk({"content": "x"}, error={"message": "m"}),
    ],
)
def test_an_error_is_found_where_servers_put_it(said: Any) -> None:
    """In the choice, as the whole chunk, beside a piece of text."""
    decoder, _ = fed(chunk({"content": "par"}))

    with pytest.raises(LLMError, match=r"^m\b") as caught:
        decoder.feed_bytes(msgspec.json.encode(said))

    assert not isinstance(caught.value, MalformedResponseError)


def test_a_secret_that_is_echoed_in_a_stream_is_masked() -> None:
    """Its error can be logged."""
    decoder, _ = fed(chunk({"content": "par"}), secrets=("my-own-key",))

    with pytest.raises(LLMError) as caught:
        decoder.feed({"error": {"message": "bad key my-own-key or sk-abcdef123456"}})

    assert "my-own-key" not in str(caught.value)
    assert "sk-abcdef" not in repr(caught.value)


@pytest.mark.parametrize(
    "odd",
    [
        b"<html>",
        b'{"choices": [',
        b"[]",
        b'"text"',
        b"7",
        b'{"choices": 7}',
        b'{"choices": [7]}',
        b'{"choices": [{"index": "a"}]}',
        b'{"choices": [{"index": 0, "delta": 7}]}',
        b'{"choices": [{"index": 0, "delta": {"content": 7}}]}',
        b'{"choices": [{"index": 0, "delta": {"tool_calls": [7]}}]}',
        b'{"choices": [{"index": 0, "delta": {"tool_calls": {"a": 1}}}]}',
        b'{"choices": [{"index": 0, "delta": {"reasoning": 7}}]}',
        b"[" * 100_000,
    ],
)
def test_a_chunk_that_is_none_is_malformed(odd: bytes) -> None:
    """Whatever it is, the error is of one kind and keeps what came before."""
    decoder, _ = fed(chunk({"content": "par"}))

    with pytest.raises(MalformedResponseError) as caught:
        decoder.feed_bytes(odd)

    assert caught.value.partial.text == "par"


def test_keep_alives_give_nothing() -> None:
    """Empty payloads, chunks without choices, deltas of null."""
    decoder, _ = fed(chunk({"content": "hi"}))

    assert decoder.feed_bytes(b"") == decoder.feed_bytes(b" ") == []
    assert decoder.feed({"choices": []}) == decoder.feed({"choices": None}) == []
    assert decoder.feed({"choices": [{"index": 0, "delta": None, "finish_reason": None}]}) == []


def test_calls_that_all_have_number_0_are_kept_apart() -> None:
    """Some providers number every parallel call 0; a new id begins a new call."""
    calls = [
        {"index": 0, "id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": f"{n}"}} for n in (1, 2)
    ]

    decoder, _ = fed(*[chunk({"tool_calls": [call]}) for call in calls], chunk({}, "tool_calls"))

    assert decoder.finish().tool_calls == (ToolCall("c1", "f", "1"), ToolCall("c2", "f", "2"))


def test_calls_without_numbers_are_kept_apart() -> None:
    """A piece with an id begins a call, one without goes on with the latest."""
    first = {"id": "c1", "function": {"name": "f", "arguments": "1"}}
    second = {"id": "c2", "function": {"name": "g", "arguments": "2"}}
    rest = {"function": {"arguments": "3"}}

    decoder, _ = fed(chunk({"tool_calls": [first, second]}), chunk({"tool_calls": [rest]}), chunk({}, "tool_calls"))

    assert decoder.finish().tool_calls == (ToolCall("c1", "f", "1"), ToolCall("c2", "g", "23"))


def test_the_name_of_a_call_comes_once() -> None:
    """Servers that repeat id and name in every piece give the same events as those that do not."""
    piece = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "x"}}

    _, events = fed(chunk({"tool_calls": [piece]}), chunk({"tool_calls": [piece]}))

    assert events[1:] == [ToolCallDelta(0, "x", "c1", "f"), ToolCallDelta(0, "x")]


def test_reasoning_that_is_never_followed_by_an_answer_is_kept() -> None:
    """A stream that ends, or is cut, while the model thinks."""
    decoder, events = fed(chunk({"reasoning": "hm"}), chunk({"reasoning": "m"}))

    partial = decoder.partial
    ending = decoder.feed(chunk({}, "length"))

    assert [event.reasoning for event in events] == ["", "hm", "m"]
    assert partial.message.parts == (Reasoning("hmm", {"chat": {"field": "reasoning"}}),)
    assert ending == [ReasoningDelta("", {"chat": {"field": "reasoning"}})]
    assert decoder.finish().message == partial.message


def test_a_sound_in_pieces_becomes_one_part() -> None:
    """Bytes and transcript are joined; the id is kept for the way back."""
    pieces = [
        {"id": "a1", "transcript": "Hel"},
        {"data": "UklG", "transcript": "lo"},
        {"data": "Rg==", "expires_at": 9},
    ]

    decoder, _ = fed(*[chunk({"audio": piece}) for piece in pieces], chunk({}, "stop"))

    (sound,) = decoder.finish().message.parts
    assert (sound.data, sound.transcript, sound.raw) == (b"RIFF", "Hello", {"chat": {"id": "a1", "expires_at": 9}})  # type: ignore[union-attr]


@pytest.mark.parametrize(("data", "heard"), [(["UklG", "Rg=="], b"RIFF"), (["UklGR", "g=="], b"RIFF"), (["?"], None)])
def test_a_sound_is_joined_however_it_was_encoded(data: list[str], heard: bytes | None) -> None:
    """Each piece for itself, or the whole and then cut; what is neither is no sound, and no failure."""
    decoder, _ = fed(*[chunk({"audio": {"id": "a1", "data": piece}}) for piece in data], chunk({}, "stop"))

    assert [part.data for part in decoder.finish().message.parts] == ([heard] if heard else [])  # type: ignore[union-attr]


def test_a_call_of_a_custom_tool_comes_in_pieces() -> None:
    """Its input is text, and its type goes back with it."""
    first = {"index": 0, "id": "c1", "type": "custom", "custom": {"name": "shell", "input": "l"}}
    rest = {"index": 0, "custom": {"input": "s", "x_more": 1}}

    decoder, _ = fed(chunk({"tool_calls": [first]}), chunk({"tool_calls": [rest]}), chunk({}, "tool_calls"))

    assert decoder.finish().tool_calls == (
        ToolCall("c1", "shell", "ls", {"chat": {"type": "custom", "custom": {"x_more": 1}}}),
    )


def test_fields_that_have_no_name_here_are_kept() -> None:
    """Lists grow, objects join, of all else the last value holds; the caller's chunks are not changed."""
    deltas: list[Any] = [
        {"content": "a", "x_list": [1], "x_object": {"a": 1}, "x_word": "one"},
        {"content": "b", "x_list": [2], "x_object": {"b": 2}, "x_word": "two"},
    ]
    decoder = StreamDecoder()

    for delta in deltas:
        decoder.feed(chunk(delta))
    kept = decoder.partial.extra["choices"][0]["message"]

    assert kept == {"x_list": [1, 2], "x_object": {"a": 1, "b": 2}, "x_word": "two"}
    assert deltas[0]["x_list"] == [1]


def test_text_and_reasoning_in_one_piece_are_kept_apart() -> None:
    """Also in the middle of a stream, where pieces are read the fast way."""
    both = chunk({"content": "yes", "reasoning": "hm"})

    decoder, _ = fed(both, both, chunk({"content": "!"}), chunk({}, "stop"))

    assert decoder.finish().text == "yesyes!"
    assert decoder.finish().reasoning == "hmhm"


def test_every_choice_must_have_ended() -> None:
    """With several choices a cut in the second is a cut."""
    other = {"index": 1, "delta": {"content": "tai"}, "finish_reason": None}

    decoder, _ = fed(chunk({"content": "heads"}), {"choices": [other]}, chunk({}, "stop"))

    with pytest.raises(MalformedResponseError):
        decoder.finish()


TEXTS = st.text(min_size=1, max_size=8)
EVENTS = st.lists(
    st.one_of(
        TEXTS.map(TextDelta),
        TEXTS.map(ReasoningDelta),
        st.builds(ToolCallDelta, st.integers(0, 2), st.text(max_size=5)),
        TEXTS.map(lambda text: PartDelta(UnknownPart({"type": "x_part", "text": text}, "chat"))),
    ),
    max_size=12,
)


def spoken(events: list[Event], response: Response, *, newline: bytes = b"\n") -> bytes:
    """The bytes that a server sends for these events."""
    encoder = StreamEncoder("c", "sim", include_usage=True)
    chunks = [*encoder.start(), *[each for event in events for each in encoder.event(event)], *encoder.finish(response)]
    payloads = [*[msgspec.json.encode(each) for each in chunks], b"[DONE]"]
    return b"".join([b": ping" + newline * 2 + b"data: " + payload + newline * 2 for payload in payloads])


def heard(data: bytes, cuts: list[int]) -> Response:
    """What a client reads of them, in pieces."""
    edges = sorted({0, len(data), *[cut % (len(data) + 1) for cut in cuts]})
    split, decoder = SSEDecoder(), StreamDecoder()
    for begin, end in itertools.pairwise(edges):
        for payload in split.feed(data[begin:end]):
            decoder.feed_bytes(payload)
    return decoder.finish()


def named(events: list[Event]) -> list[Event]:
    """The same events, with an id and a name at the first piece of each tool call."""
    seen: set[int] = set()
    done: list[Event] = []
    for event in events:
        if type(event) is ToolCallDelta and event.index not in seen:
            seen.add(event.index)
            event = ToolCallDelta(event.index, event.arguments, f"id{event.index}", f"tool{event.index}")
        done.append(event)
    return done


def bare(message: Message) -> list[Any]:
    """The content without the field that reasoning came in; neighbouring runs of it are one."""
    parts: list[Any] = []
    for part in message.parts:
        if type(part) is Reasoning:
            before = parts.pop().text if parts and type(parts[-1]) is Reasoning else ""
            parts.append(Reasoning(before + part.text))
        else:
            parts.append(part)
    return parts


@given(EVENTS.map(named), st.lists(st.integers(0, 5000), max_size=20), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_what_a_server_says_is_what_a_client_reads(events: list[Event], cuts: list[int], newline: bytes) -> None:
    """Any events, through our own server's words, cut anywhere, fold to the same message."""
    response = Response(fold(events), Usage(3, 4), "stop", model="sim", id="c")

    read = heard(spoken(events, response, newline=newline), cuts)

    assert bare(read.message) == bare(response.message)
    assert read.usage is not None
    assert (read.usage.input_tokens, read.usage.output_tokens, read.finish_reason) == (3, 4, "stop")


def test_a_server_tells_tokens_only_to_who_asked() -> None:
    """As providers do: without `include_usage` no chunk of them is sent."""
    response = Response.of("hi", usage=Usage(3, 4))

    asked = StreamEncoder("c", "sim", include_usage=True).finish(response)
    unasked = StreamEncoder("c", "sim", include_usage=False).finish(response)

    assert asked[-1]["choices"] == []
    assert asked[-1]["usage"]["total_tokens"] == 7
    assert unasked == asked[:-1]


def test_a_server_passes_on_what_the_provider_said_besides() -> None:
    """Further choices, log probabilities and unknown fields survive being streamed again."""
    extra = {
        "system_fingerprint": "fp",
        "choices": [
            {"logprobs": {"content": [{"token": "hi"}]}},
            {"index": 1, "message": {"content": "other"}, "finish_reason": "stop"},
        ],
    }
    response = Response.of("hi", usage=Usage(3, 4), extra=extra, id="c", model="sim")

    read = heard(spoken(events_of(response.message), response), [])

    assert read.text == "hi"
    assert read.extra["system_fingerprint"] == "fp"
    assert read.extra["choices"][0]["logprobs"] == {"content": [{"token": "hi"}]}
    assert read.extra["choices"][1]["message"]["content"] == "other"


def test_a_server_says_a_sound_a_refusal_and_signed_thoughts() -> None:
    """Parts that come whole, and what a provider wants back of its reasoning."""
    signed = {"field": "reasoning", "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}
    parts = (
        Reasoning("hm", {"chat": signed}),
        UnknownPart({"type": "refusal", "refusal": "no"}, "chat"),
        Audio(b"RIFF", transcript="no", raw={"chat": {"id": "a1"}}),
    )
    response = Response(Message("assistant", parts), Usage(3, 4), "stop", model="sim", id="c")

    read = heard(spoken(events_of(response.message), response), [])

    assert read.message == response.message
    assert StreamEncoder("c", "sim", include_usage=False).event(Started()) == []


def test_a_part_with_further_fields_is_no_plain_text() -> None:
    """Citations on a piece of text stay with it."""
    parts = [{"type": "text", "text": "plain"}, {"type": "text", "text": "cited", "citations": [1]}]

    _, events = fed(chunk({"content": parts}))

    assert events[1:] == [TextDelta("plain"), TextDelta("cited", {"chat": {"citations": [1]}}, new=True)]
