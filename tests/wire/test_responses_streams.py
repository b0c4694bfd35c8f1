"""Streams on the Responses wire: events while they come, the whole at the end, and what a broken one says."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import (
    ContentFilterError,
    Event,
    LLMError,
    MalformedResponseError,
    PartDelta,
    RateLimitError,
    Reasoning,
    ReasoningDelta,
    ServerError,
    Started,
    Text,
    TextDelta,
    ToolCallDelta,
    UnknownPart,
    Usage,
    fold,
)
from llamina.wire.openai_responses import StreamDecoder, decode_response, encode_response
from llamina.wire.sse import SSEDecoder

USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
WORD = st.text("abc \n", min_size=1, max_size=9)
TEXTS = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("output_text"), "text": st.text(max_size=9)},
        optional={"annotations": st.lists(st.fixed_dictionaries({"type": WORD}), max_size=2), "x_more": WORD},
    ),
    st.fixed_dictionaries({"type": st.just("refusal"), "refusal": WORD}),
    st.fixed_dictionaries({"type": st.just("output_of_tomorrow"), "data": WORD}),
)
ITEMS = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("message"), "role": st.just("assistant"), "content": st.lists(TEXTS, max_size=3)},
        optional={"id": WORD, "status": st.just("completed"), "x_more": WORD},
    ),
    st.fixed_dictionaries(
        {"type": st.just("function_call"), "call_id": WORD, "name": WORD, "arguments": st.text(max_size=9)},
        optional={"id": WORD, "status": st.just("completed"), "x_more": WORD},
    ),
    st.fixed_dictionaries(
        {"type": st.just("custom_tool_call"), "call_id": WORD, "name": WORD, "input": st.text(max_size=9)},
        optional={"id": WORD, "x_more": WORD},
    ),
    st.fixed_dictionaries(
        {"type": st.just("reasoning"), "id": WORD},
        optional={
            "summary": st.lists(st.fixed_dictionaries({"type": st.just("summary_text"), "text": WORD}), max_size=2),
            "content": st.lists(st.fixed_dictionaries({"type": st.just("reasoning_text"), "text": WORD}), max_size=2),
            "encrypted_content": st.none() | WORD,
        },
    ),
    st.fixed_dictionaries({"type": st.sampled_from(["web_search_call", "x_item"])}, optional={"id": WORD}),
)


PIECES = (".added", ".delta", "t.done", "l.done")
"""The ends of the server events that say less than a whole item."""


def answer(output: list[Any], **fields: Any) -> dict[str, Any]:
    """A response object."""
    head = {"id": "resp_1", "object": "response", "created_at": 1, "model": "sim", "status": "completed"}
    return {**head, "error": None, "output": output, "usage": USAGE, **fields}


def server_events(body: dict[str, Any], size: int = 3, left_out: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What a provider streams for this answer, in pieces of *size*; without the events that end so."""
    said: list[dict[str, Any]] = []

    def say(kind: str, **fields: Any) -> None:
        if not kind.endswith(left_out):
            said.append({"type": f"response.{kind}", "sequence_number": len(said), **fields})

    def pieces(text: str) -> list[str]:
        return [text[place : place + size] for place in range(0, len(text), size)]

    say("created", response={**body, "status": "in_progress", "output": [], "usage": None})
    for place, item in enumerate(body["output"]):
        at = {"output_index": place, "item_id": item.get("id", "")}
        kind = item["type"]
        if kind == "message":
            say("output_item.added", output_index=place, item={**item, "content": []})
            for index, part in enumerate(item["content"]):
                here = {**at, "content_index": index}
                word = {"output_text": "text", "refusal": "refusal"}.get(part["type"])
                say("content_part.added", **here, part={**part, word: ""} if word else part)
                for piece in pieces(part[word]) if word else ():
                    say(f"{part['type']}.delta", **here, delta=piece)
                for annotation in part.get("annotations", ()):
                    say("output_text.annotation.added", **here, annotation=annotation)
                if word:
                    say(f"{part['type']}.done", **here, **{word: part[word]})
                say("content_part.done", **here, part=part)
        elif kind in ("function_call", "custom_tool_call"):
            word = "arguments" if kind == "function_call" else "input"
            name = "function_call_arguments" if kind == "function_call" else "custom_tool_call_input"
            say("output_item.added", output_index=place, item={**item, word: ""})
            for piece in pieces(item[word]):
                say(f"{name}.delta", **at, delta=piece)
            say(f"{name}.done", **at, **{word: item[word]})
        elif kind == "reasoning":
            say("output_item.added", output_index=place, item={"type": kind, "id": item["id"], "summary": []})
            for word, field, key in (
                ("reasoning_summary_text", "summary", "summary_index"),
                ("reasoning_text", "content", "content_index"),
            ):
                for index, part in enumerate(item.get(field, ())):
                    for piece in pieces(part["text"]):
                        say(f"{word}.delta", **at, **{key: index}, delta=piece)
                    say(f"{word}.done", **at, **{key: index}, text=part["text"])
        else:
            say("output_item.added", output_index=place, item=item)
            say(f"{kind}.searching", **at)
        say("output_item.done", output_index=place, item=item)
    say("completed" if body["status"] == "completed" else "incomplete", response=body)
    return said


def fed(*said: Any, **facts: Any) -> tuple[StreamDecoder, list[Event]]:
    """A decoder that has read these server events, and what it gave."""
    decoder = StreamDecoder(**facts)
    return decoder, [event for each in said for event in decoder.feed_bytes(msgspec.json.encode(each))]


def message(*texts: str, **fields: Any) -> dict[str, Any]:
    """A message item of these texts."""
    content = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": content, **fields}


CUT = server_events(answer([message("partial")]))[:-3]


@given(st.lists(ITEMS, max_size=4), st.integers(1, 4), st.sampled_from([(), (".delta",), PIECES]))
def test_a_stream_folds_to_what_the_whole_answer_says(output: list[Any], size: int, left_out: tuple[str, ...]) -> None:
    """Whatever the items are, however they were cut, whether or not they came in pieces."""
    body = answer(output)

    decoder, events = fed(*server_events(body, size, left_out))

    assert fold(events) == decoder.finish().message == decode_response(body).message
    assert encode_response(decoder.finish()) == body


@given(st.lists(ITEMS, max_size=3), st.lists(st.integers(0, 5000), max_size=20))
def test_bytes_cut_anywhere_give_the_same(output: list[Any], cuts: list[int]) -> None:
    """As they arrive from a network."""
    body = answer(output)
    frames = [f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in server_events(body)]
    data = "".join(frames).encode()
    edges = sorted({0, len(data), *[cut % (len(data) + 1) for cut in cuts]})
    split, decoder = SSEDecoder(), StreamDecoder()

    for begin, end in itertools.pairwise(edges):
        for payload in split.feed(data[begin:end]):
            decoder.feed_bytes(payload)

    assert decoder.finish().message == decode_response(body).message


def test_text_comes_in_pieces_and_what_belongs_to_it_at_its_end() -> None:
    """A second text right after one begins a part of its own."""
    _, events = fed(*server_events(answer([message("Hello", "you")])))

    assert events == [
        Started("resp_1", "sim"),
        TextDelta("Hel"),
        TextDelta("lo"),
        TextDelta("", {"responses": {"annotations": [], "item": None}}),
        TextDelta("you", None, new=True),
        TextDelta("", {"responses": {"annotations": [], "item": {"id": "msg_1", "status": "completed"}}}),
    ]


def test_calls_come_in_pieces_and_are_counted_by_themselves() -> None:
    """The index of a call counts calls, not the items between them."""
    calls = [
        {"type": "function_call", "id": "fc", "call_id": f"c{n}", "name": "f", "arguments": "{}"} for n in range(2)
    ]

    _, events = fed(*server_events(answer([message("x"), *calls])))

    assert events[3:] == [
        ToolCallDelta(0, "", "c0", "f", {"responses": {"id": "fc"}}),
        ToolCallDelta(0, "{}"),
        ToolCallDelta(0, raw={"responses": {"id": "fc"}}),
        ToolCallDelta(1, "", "c1", "f", {"responses": {"id": "fc"}}),
        ToolCallDelta(1, "{}"),
        ToolCallDelta(1, raw={"responses": {"id": "fc"}}),
    ]


def test_thoughts_come_in_pieces_and_their_signature_at_the_end() -> None:
    """Several summaries are parted by an empty line."""
    texts = [{"type": "summary_text", "text": text} for text in ("one", "two")]
    item = {"type": "reasoning", "id": "rs_1", "summary": texts, "encrypted_content": "x"}

    _, events = fed(*server_events(answer([item])))

    raw = {"responses": {"id": "rs_1", "summary": texts, "encrypted_content": "x"}}
    assert events[1:] == [ReasoningDelta("one"), ReasoningDelta("\n\ntwo"), ReasoningDelta("", raw)]


def test_a_hosted_call_comes_whole_when_it_is_done() -> None:
    """While the provider works, the stream shows that it lives."""
    item = {"type": "web_search_call", "id": "ws_1"}

    _, events = fed(*server_events(answer([item])))

    assert events == [Started("resp_1", "sim"), Started("resp_1", "sim"), PartDelta(UnknownPart(item, "responses"))]


def test_items_that_come_at_the_same_time_lose_nothing() -> None:
    """A call that begins inside a text ends that text's part; its pieces go on."""
    said = server_events(
        answer([message("Hello"), {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}])
    )
    begun = next(place for place, each in enumerate(said) if each.get("output_index") == 1)
    mixed = [*said[:4], *said[begun:-1], *said[4:begun], said[-1]]

    decoder, _ = fed(*mixed)

    assert decoder.finish().text == "Hello"
    assert [call.arguments_text for call in decoder.finish().tool_calls] == ["{}"]


def test_usage_comes_with_the_end() -> None:
    """An error of a stream that was cut has none, so that the ledger estimates."""
    whole, _ = fed(*server_events(answer([message("x")])))
    cut, _ = fed(*CUT)

    assert whole.usage == whole.finish().usage == Usage(3, 4)
    assert cut.usage is None
    assert (whole.ended, cut.ended) == (True, False)


@pytest.mark.parametrize("done", [False, True], ids=["without [DONE]", "with [DONE]"])
def test_a_stream_without_its_end_was_cut(done: object) -> None:
    """Only the event that says so ends it; the error tells what came."""
    decoder, _ = fed(*CUT, request_id="r-1")
    if done:
        assert decoder.feed_bytes(b"[DONE]") == []

    with pytest.raises(MalformedResponseError, match="before the answer did") as caught:
        decoder.finish()

    assert caught.value.partial.text == "partial"
    assert (caught.value.usage, caught.value.request_id) == (None, "r-1")


def test_an_empty_stream_was_cut() -> None:
    """A body without a single event is no answer, and there is nothing partial of it."""
    with pytest.raises(MalformedResponseError, match="before it began") as caught:
        StreamDecoder().finish()

    assert caught.value.partial is None


def test_an_incomplete_answer_is_whole() -> None:
    """It says why it ended."""
    body = answer([message("x")], status="incomplete", incomplete_details={"reason": "max_output_tokens"})

    decoder, _ = fed(*server_events(body))

    assert decoder.finish().finish_reason == "length"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"type": "error", "code": "rate_limit_exceeded", "message": "m", "param": None}, RateLimitError),
        ({"type": "error", "code": None, "message": "m"}, ServerError),
        ({"type": "error", "error": {"type": "rate_limit_error", "message": "m"}}, RateLimitError),
        ({"error": {"message": "m", "code": "server_error"}}, ServerError),
    ],
)
def test_an_error_inside_a_stream_is_classified(said: Any, kind: type[LLMError]) -> None:
    """By its words, for the status was a success; what came before is kept."""
    decoder, _ = fed(*CUT, provider="sim")

    with pytest.raises(LLMError, match=r"^m\b") as caught:
        decoder.feed_bytes(msgspec.json.encode(said))

    assert type(caught.value) is kind
    assert caught.value.partial.text == "partial"
    assert (caught.value.status, caught.value.provider) == (None, "sim")


@pytest.mark.parametrize(
    ("code", "kind"),
    [("server_error", ServerError), ("rate_limit_exceeded", RateLimitError), ("invalid_prompt", ContentFilterError)],
)
def test_a_failed_answer_is_classified(code: str, kind: type[LLMError]) -> None:
    """With its usage, which is billed, and what came of it."""
    body = answer([], status="failed", error={"code": code, "message": "bad key sk-abcdef123456"})
    decoder, _ = fed(*CUT)

    with pytest.raises(LLMError) as caught:
        decoder.feed({"type": "response.failed", "response": body})

    assert type(caught.value) is kind
    assert (caught.value.usage, caught.value.partial.text) == (Usage(3, 4), "partial")
    assert "sk-abcdef" not in str(caught.value)


@pytest.mark.parametrize(
    "odd",
    [
        b"<html>",
        b'{"type": "response.',
        b"[]",
        b'"text"',
        b"7",
        b"{}",
        b'{"type": "response.output_text.delta", "delta": 7}',
        b'{"type": "response.output_item.added", "item": {"type": "message"}}',
        b'{"type": "response.output_item.done", "output_index": 0, "item": 7}',
        b'{"type": "response.output_item.done", "output_index": [], "item": {}}',
        b'{"type": "response.content_part.done", "output_index": 0, "content_index": 0, "part": 7}',
        b'{"type": "response.function_call_arguments.delta", "output_index": 0}',
        b'{"type": "response.completed"}',
        b'{"type": "response.completed", "response": 7}',
        b"[" * 100_000,
    ],
)
def test_an_event_that_is_none_is_malformed(odd: bytes) -> None:
    """Whatever it is, the error is of one kind and keeps what came before."""
    decoder, _ = fed(*CUT)

    with pytest.raises(MalformedResponseError) as caught:
        decoder.feed_bytes(odd)

    assert caught.value.partial.text == "partial"


def test_keep_alives_and_events_of_tomorrow_carry_nothing() -> None:
    """They only show that the stream lives."""
    decoder, _ = fed(*CUT)

    assert decoder.feed_bytes(b"") == decoder.feed_bytes(b" ") == []
    assert decoder.feed({"type": "keepalive"}) == decoder.feed({"type": "response.x"}) == [Started("resp_1", "sim")]


def test_an_answer_that_ends_without_its_items_keeps_what_was_streamed() -> None:
    """Some servers say the end with an empty output."""
    said = server_events(answer([message("Hello")]))
    said[-1] = {**said[-1], "response": answer([])}

    decoder, events = fed(*said)

    assert fold(events) == decoder.finish().message
    assert decoder.finish().text == "Hello"


def test_annotations_that_come_one_by_one_are_kept() -> None:
    """Where the part is never said whole."""
    said = server_events(answer([message("Hello")]), 9, ("part.done", "item.done"))
    note = {"type": "url_citation", "url": "https://a"}
    said.insert(
        -1, {"type": "response.output_text.annotation.added", "output_index": 0, "content_index": 0, "annotation": note}
    )
    said[-1] = {**said[-1], "response": answer([])}

    decoder, _ = fed(*said)

    (text,) = decoder.finish().message.parts
    assert isinstance(text, Text)
    assert text.raw["responses"]["annotations"] == [note]


def test_thoughts_without_text_are_kept() -> None:
    """A provider wants them back although nobody can read them."""
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}

    decoder, _ = fed(*server_events(answer([item, {**item, "id": "rs_2"}])))

    assert [type(part) for part in decoder.finish().message.parts] == [Reasoning, Reasoning]


def added(place: int, item: dict[str, Any]) -> dict[str, Any]:
    """An item begins."""
    return {"type": "response.output_item.added", "output_index": place, "item": {**item, "content": []}}


def piece(place: int, text: str) -> dict[str, Any]:
    """A piece of the text of an item."""
    return {"type": "response.output_text.delta", "output_index": place, "content_index": 0, "delta": text}


def whole(place: int, item: dict[str, Any]) -> dict[str, Any]:
    """An item is done."""
    return {"type": "response.output_item.done", "output_index": place, "item": item}


INTERLEAVED = [
    added(0, message("ab")),
    added(1, message("xy")),
    *[piece(at, word) for at, word in ((0, "a"), (1, "x"))],
]
INTERLEAVED += [piece(0, "b"), piece(1, "y")]


def test_items_that_come_side_by_side_fold_to_the_whole_answer() -> None:
    """One waits until the one before it is done; what can be said at once is."""
    output = [message("ab"), message("xy")]
    decoder, events = fed(*INTERLEAVED)

    ended = [decoder.feed(whole(place, item)) for place, item in enumerate(output)]
    events += [event for each in ended for event in each]
    events += decoder.feed({"type": "response.completed", "response": answer(output)})

    assert "".join([event.text for event in events]) == "abxy"
    assert [event.text for event in ended[0]] == ["", "x", "y"]
    assert fold(events) == decoder.finish().message == decode_response(answer(output)).message


def test_what_waits_is_part_of_what_came() -> None:
    """A stream that is cut loses nothing, and looking does not hand it on."""
    decoder, events = fed(*INTERLEAVED)

    assert decoder.partial.text == "abxy"
    assert "".join([event.text for event in events]) == "ab"
    assert [event.text for event in decoder.feed(whole(0, message("ab")))] == ["", "x", "y"]


def test_nothing_waits_for_a_call() -> None:
    """Its pieces say where they belong; a text after it goes out at once."""
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}
    more = {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "{}"}

    decoder, events = fed(added(0, call), added(1, message("a")), piece(1, "a"), more)

    assert [event.text for event in events if type(event) is TextDelta] == ["a"]
    assert [call.arguments for call in decoder.partial.message.tool_calls] == [{}]


def test_a_server_that_never_says_that_an_item_is_done_delays_nothing() -> None:
    """The end of its text is enough."""
    told = {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "a"}

    _, events = fed(added(0, message("a")), piece(0, "a"), told, added(1, message("b")), piece(1, "b"))

    assert [event.text for event in events if event.text] == ["a", "b"]


def test_an_odd_event_that_waits_is_malformed_when_its_turn_comes() -> None:
    """What came before it is in the error."""
    decoder, _ = fed(added(0, message("a")), piece(0, "a"), added(1, message("b")), {**piece(1, "b"), "delta": 5})

    with pytest.raises(MalformedResponseError) as caught:
        decoder.feed(whole(0, message("a")))

    assert caught.value.partial.text == "a"  # type: ignore[union-attr]
    assert decoder.partial.text == "a"


def test_parts_of_a_message_are_looked_at_while_they_are_open_only() -> None:
    """What a part costs does not grow with those before it."""
    decoder, _ = fed(added(0, message("a")), *[{**piece(0, "a"), "content_index": place} for place in range(50)])

    (item,) = decoder._output._items.values()
    assert len(item.parts) == 50
    assert list(item.open) == [49]
