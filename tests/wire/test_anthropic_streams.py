"""Streams on Anthropic's wire: events while they come, the whole at the end, and what a broken one says."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import (
    Event,
    LLMError,
    MalformedResponseError,
    Message,
    OverloadedError,
    PartDelta,
    RateLimitError,
    Reasoning,
    ReasoningDelta,
    Response,
    ServerError,
    Started,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    UnknownPart,
    Usage,
    fold,
)
from llamina.events import events_of
from llamina.wire.anthropic_messages import StreamDecoder, StreamEncoder, decode_response, encode_response

START = {"id": "m1", "type": "message", "role": "assistant", "model": "sim", "content": [], "stop_reason": None}
USAGE = {"input_tokens": 3, "output_tokens": 1}
STOP = {"type": "message_stop"}


def start(**fields: Any) -> dict[str, Any]:
    """The first event."""
    return {"type": "message_start", "message": {**START, "usage": USAGE, **fields}}


def begin(index: int, **block: Any) -> dict[str, Any]:
    """A block begins."""
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    """A piece of a block."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def text(index: int, piece: str) -> dict[str, Any]:
    """A piece of text."""
    return delta(index, "text_delta", text=piece)


def arguments(index: int, piece: str) -> dict[str, Any]:
    """A piece of a tool's arguments."""
    return delta(index, "input_json_delta", partial_json=piece)


def end(index: int) -> dict[str, Any]:
    """A block ends."""
    return {"type": "content_block_stop", "index": index}


def last(reason: str | None = "end_turn", usage: Any = None, **fields: Any) -> dict[str, Any]:
    """The event with the stop reason and the account."""
    return {"type": "message_delta", "delta": {"stop_reason": reason, **fields}, "usage": usage or {"output_tokens": 9}}


def fed(*events: Any, **facts: Any) -> tuple[StreamDecoder, list[Event]]:
    """A decoder that has read these events, and what it gave."""
    decoder = StreamDecoder(**facts)
    return decoder, [event for each in events for event in decoder.feed_bytes(msgspec.json.encode(each))]


def parts(*events: Any) -> tuple[Any, ...]:
    """The parts that these events make, as the events fold and as the answer has them."""
    decoder, found = fed(start(), *events, last(), STOP)
    answer = decoder.finish().message
    assert fold(found) == answer
    return answer.parts


def test_text_goes_out_as_it_comes() -> None:
    """The first event names the answer; each piece is an event."""
    block = {"type": "text", "text": ""}

    decoder, events = fed(start(), begin(0, **block), text(0, "Hel"), text(0, "lo"), end(0), last(), STOP)

    assert events == [Started("m1", "sim"), TextDelta("Hel"), TextDelta("lo")]
    assert decoder.ended
    assert decoder.finish().finish_reason == "stop"


def test_blocks_of_one_kind_stay_apart() -> None:
    """A text after a text, and a thought after a thought, begin a part of their own."""
    found = parts(
        begin(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="a"),
        delta(0, "signature_delta", signature="s"),
        end(0),
        begin(1, type="redacted_thinking", data="d"),
        end(1),
        begin(2, type="text", text=""),
        text(2, "one"),
        end(2),
        begin(3, type="text", text=""),
        text(3, "two"),
        text(3, "!"),
        end(3),
    )

    assert found == (
        Reasoning("a", {"anthropic": {"signature": "s"}}),
        Reasoning("", {"anthropic": {"type": "redacted_thinking", "data": "d"}}),
        Text("one"),
        Text("two!"),
    )


def test_an_empty_text_is_a_part_as_in_an_answer_of_one_piece() -> None:
    """Nothing of what the provider said is lost."""
    found = parts(begin(0, type="text", text=""), end(0), begin(1, type="text", text=""), text(1, "x"), end(1))

    assert (
        found
        == decode_response({"content": [{"type": "text", "text": ""}, {"type": "text", "text": "x"}]}).message.parts
    )


def test_calls_are_counted_apart_from_other_blocks() -> None:
    """The index of a call is its number among the calls."""
    tool = {"type": "tool_use", "name": "f", "input": {}}

    _, events = fed(
        start(),
        begin(0, type="text", text=""),
        text(0, "x"),
        end(0),
        begin(1, id="a", **tool),
        arguments(1, ""),
        arguments(1, '{"x": 1}'),
        end(1),
        begin(2, id="b", **tool),
        end(2),
        last("tool_use"),
    )

    assert events[2:] == [
        ToolCallDelta(0, "", "a", "f"),
        ToolCallDelta(0, '{"x":1}'),
        ToolCallDelta(1, "", "b", "f"),
        ToolCallDelta(1, "{}"),
    ]


def test_calls_that_come_side_by_side_do_not_wait() -> None:
    """Pieces of parallel calls go out at once, each with the number of its call."""
    _, events = fed(
        start(),
        begin(0, type="tool_use", id="a", name="f", input={}),
        begin(1, type="tool_use", id="b", name="g", input={}),
        arguments(1, '{"y":2'),
        arguments(0, '{"x":1}'),
        arguments(1, "}"),
    )

    assert [(event.index, event.arguments) for event in events[3:] if type(event) is ToolCallDelta] == [
        (1, '{"y":'),
        (0, '{"x":1}'),
        (1, "2}"),
    ]


def test_blocks_that_come_interleaved_are_parts_in_their_order() -> None:
    """What belongs to a later block waits until the one before it has ended."""
    found = parts(
        begin(0, type="text", text=""),
        begin(1, type="tool_use", id="a", name="f", input={}),
        begin(2, type="text", text=""),
        text(2, "sec"),
        arguments(1, '{"a":'),
        text(0, "fir"),
        text(2, "ond"),
        end(2),
        arguments(1, "1}"),
        text(0, "st"),
        end(0),
        end(1),
    )

    assert found == (Text("first"), ToolCall("a", "f", '{"a":1}'), Text("second"))


def test_citations_belong_to_their_text() -> None:
    """They come one by one and go out when the text has ended."""
    block = {"type": "text", "text": "", "citations": []}

    found = parts(
        begin(0, **block), text(0, "a"), delta(0, "citations_delta", citation={"n": 1}), text(0, "b"), end(0),
        begin(1, **block), delta(1, "citations_delta", citation={"n": 2}), end(1),
    )  # fmt: skip

    assert found == (
        Text("ab", {"anthropic": {"citations": [{"n": 1}]}}),
        Text("", {"anthropic": {"citations": [{"n": 2}]}}),
    )


def test_blocks_without_a_type_here_are_parts_when_they_end() -> None:
    """With what their deltas said: arguments of server tools, fields of tomorrow's blocks."""
    found = parts(
        begin(0, type="server_tool_use", id="s", name="web_search", input={}),
        arguments(0, '{"query":'),
        arguments(0, '"x"}'),
        end(0),
        begin(1, type="tomorrow", note="a", list=[1]),
        delta(1, "tomorrow_delta", note="b", list=[2], more={"c": 1}),
        end(1),
    )

    assert found == (
        UnknownPart({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}, "anthropic"),
        UnknownPart({"type": "tomorrow", "note": "ab", "list": [1, 2], "more": {"c": 1}}, "anthropic"),
    )


def test_deltas_of_tomorrow_stay_with_their_block() -> None:
    """A new field is kept by its name; one that only looks known is kept as it is."""
    found = parts(
        begin(0, type="text", text=""),
        text(0, "x"),
        delta(0, "mood_delta", mood="gl"),
        delta(0, "mood_delta", mood="ad"),
        delta(0, "odd_delta", text="y"),
        end(0),
    )

    assert found == (Text("x", {"anthropic": {"mood": "glad", "odd_delta": [{"text": "y"}]}}),)


def test_events_of_tomorrow_are_passed_over() -> None:
    """So are pieces that a proxy sends without the beginning of their block: they imply it."""
    decoder, events = fed(start(), {"type": "tomorrow", "x": 1}, {"no": "type"}, text(0, "hi"), last())

    assert events[1:] == [TextDelta("hi")]
    assert decoder.finish().text == "hi"


def test_a_keep_alive_is_no_content() -> None:
    """A ping is an event that a limit on silence sees; an empty payload is nothing."""
    decoder, events = fed({"type": "ping"}, start(), {"type": "ping"})

    assert [event.content for event in events] == [False, False, False]
    assert decoder.feed_bytes(b"  ") == []


def test_usage_is_the_last_that_was_said() -> None:
    """Counts are cumulative; what the last account leaves out is as the first said it."""
    first = {"input_tokens": 3, "cache_read_input_tokens": 5, "output_tokens": 1, "service_tier": "standard"}
    decoder, _ = fed(start(usage=first))
    seen = decoder.usage

    for count in (4, 9):
        decoder.feed(last(None, {"output_tokens": count, "cache_read_input_tokens": None}))

    assert seen == Usage(8, 1, 5)
    assert decoder.usage == Usage(8, 9, 5)
    assert decoder.usage.raw == {**first, "output_tokens": 9}


@pytest.mark.parametrize("odd", [{"output_tokens": -1}, {"output_tokens": "9"}, "9", None])
def test_what_is_no_account_changes_none(odd: Any) -> None:
    """And an answer without one at its end has none: the first knew nothing of the answer."""
    decoder, _ = fed(start(), {**last(), "usage": odd})

    assert decoder.usage == Usage(3, 1)
    assert decoder.finish().usage is None


def test_zeros_at_the_start_are_no_account() -> None:
    """A server says them that does not know the prompt's tokens yet; at the end an explicit 0 is one."""
    decoder, _ = fed(start(usage={"input_tokens": 0, "output_tokens": 0}))
    seen = decoder.usage

    decoder.feed(last(usage={"output_tokens": 0}))

    assert seen is None
    assert decoder.finish().usage == Usage(0, 0)


def test_a_stream_without_a_stop_reason_was_cut() -> None:
    """The error tells what came; what it costs nobody has said."""
    decoder, _ = fed(start(), begin(0, type="text", text=""), text(0, "par"), request_id="r")

    with pytest.raises(MalformedResponseError, match="without a stop reason") as caught:
        decoder.finish()

    assert caught.value.partial.text == "par"
    assert caught.value.usage is None
    assert decoder.usage == Usage(3, 1)
    assert caught.value.request_id == "r"


def test_what_is_open_when_a_stream_is_cut_is_partial() -> None:
    """Half a call, what waited behind it, and a thought without its end."""
    decoder, _ = fed(
        start(),
        begin(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="hm"),
        begin(1, type="tool_use", id="a", name="f", input={}),
        arguments(1, '{"a": 1'),
        begin(2, type="text", text=""),
    )

    partial = decoder.partial.message

    assert partial.parts[0].text == "hm"  # type: ignore[union-attr]
    assert partial.parts[1:] == (ToolCall("a", "f", '{"a":1'),)
    assert decoder.partial.message == partial


def test_an_empty_stream_was_cut() -> None:
    """There is nothing partial of it."""
    with pytest.raises(MalformedResponseError, match="before it began") as caught:
        StreamDecoder().finish()

    assert caught.value.partial is None


def test_a_stream_without_its_last_event_is_whole_when_it_has_a_stop_reason() -> None:
    """Blocks that a proxy does not end are ended with it."""
    decoder, events = fed(start(), begin(0, type="tool_use", id="a", name="f", input={"x": 1}), last("tool_use"))

    assert not decoder.ended
    assert decoder.finish().tool_calls == fold(events).tool_calls == (ToolCall("a", "f", '{"x":1}'),)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, OverloadedError),
        ({"type": "rate_limit_error", "message": "slow"}, RateLimitError),
        ({"type": "api_error", "message": "sk-ant-secret"}, ServerError),
        ({"type": "timeout_error", "message": "late"}, ServerError),
        ("odd", ServerError),
    ],
)
def test_an_error_in_the_stream_is_classified_by_its_type(failure: Any, kind: type[LLMError]) -> None:
    """It has no status, tells how far the stream came, and no key."""
    decoder, _ = fed(start(), begin(0, type="text", text=""), text(0, "par"), provider="sim", model="m")

    with pytest.raises(kind) as caught:
        decoder.feed_bytes(msgspec.json.encode({"type": "error", "error": failure, "request_id": "r1"}))

    error = caught.value
    assert (error.status, error.usage, error.request_id, error.provider) == (None, None, "r1", "sim")
    assert error.partial.text == "par"
    assert "secret" not in repr(error)


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"[]",
        b"null",
        b'{"type":"message_start"}',
        b'{"type":"content_block_start","index":0,"content_block":"x"}',
        b'{"type":"content_block_start","index":"0","content_block":{}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":5}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta"}}',
        b'{"type":"content_block_delta","index":0,"delta":7}',
        b'{"type":"message_delta","delta":3}',
    ],
)
def test_what_is_no_event_is_malformed(payload: bytes) -> None:
    """Never an error of ours that a layer has no class for."""
    decoder, _ = fed(start(), begin(0, type="text", text=""), text(0, "par"))

    with pytest.raises(MalformedResponseError) as caught:
        decoder.feed_bytes(payload)

    assert caught.value.partial.text == "par"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=3), st.booleans(), st.sampled_from([None, 2]), st.data())
def test_arguments_are_the_same_text_however_they_come(
    given_arguments: dict[str, Any], plain: object, indent: int | None, data: st.DataObject
) -> None:
    """Spaces, escapes and cuts make no difference to the answer of one piece."""
    said = json.dumps(given_arguments, ensure_ascii=not plain, indent=indent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=8)))
    pieces = [said[first:second] for first, second in zip([0, *cuts], [*cuts, None], strict=True)]
    block = {"type": "tool_use", "id": "a", "name": "f", "input": {}}

    found = parts(begin(0, **block), *[arguments(0, piece) for piece in pieces], end(0))

    whole = decode_response({"content": [{**block, "input": msgspec.json.decode(said)}]})
    assert found == whole.message.parts


@pytest.mark.parametrize("said", ['{"a": "\\ud83d', '{"a": "\\ud800x"}', "\\u12", "not json {]", '{"a": 1e999}', "--1"])
def test_arguments_that_are_no_json_are_kept(said: str) -> None:
    """As the model wrote them, but for the spaces between the tokens."""
    (call,) = parts(
        begin(0, type="tool_use", id="a", name="f", input={}), *[arguments(0, letter) for letter in said], end(0)
    )

    assert call.arguments_text.replace(" ", "") == said.replace(" ", "")


PIECES = st.text(max_size=4)
WORDS = st.text(min_size=1, max_size=4)
BLOCKS = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": PIECES}, optional={"citations": st.lists(st.just({"n": 1}), max_size=2)}),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": PIECES, "signature": PIECES}, optional={"new": PIECES}),
    st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": PIECES}),
    st.fixed_dictionaries(
        {"type": st.just("tool_use"), "id": WORDS, "name": WORDS, "input": st.dictionaries(WORDS, st.integers(0, 9), max_size=2)},
        optional={"caller": st.just({"type": "direct"})},
    ),
    st.fixed_dictionaries({"type": st.sampled_from(["server_tool_use", "tomorrow"]), "input": st.dictionaries(WORDS, PIECES, max_size=1)}),
)  # fmt: skip


def streamed(place: int, block: dict[str, Any]) -> list[dict[str, Any]]:
    """A block as the provider streams it: typed fields in pieces, all else at its start."""
    opening, pieces = dict(block), []
    for key, kind in (("text", "text_delta"), ("thinking", "thinking_delta")):
        if key in block:
            opening[key] = ""
            pieces += [delta(place, kind, **{key: letter}) for letter in block[key]]
    if "signature" in block:
        opening["signature"] = ""
        pieces.append(delta(place, "signature_delta", signature=block["signature"]))
    if "citations" in block:
        opening["citations"] = []
        pieces += [delta(place, "citations_delta", citation=citation) for citation in block["citations"]]
    if "input" in block:
        opening["input"] = {}
        pieces += [arguments(place, letter) for letter in json.dumps(block["input"])]
    return [begin(place, **opening), *pieces, end(place)]


@given(st.lists(BLOCKS, max_size=5), st.randoms())
def test_any_stream_is_the_answer_of_one_piece(blocks: list[dict[str, Any]], rng: Any) -> None:
    """Also when blocks come interleaved."""
    waiting = [streamed(place, block) for place, block in enumerate(blocks)]
    events = [lane.pop(0) for lane in waiting]
    while any(waiting):
        events.append(rng.choice([lane for lane in waiting if lane]).pop(0))

    assert parts(*events) == decode_response({"content": blocks}).message.parts


@given(st.lists(BLOCKS, max_size=5))
def test_any_answer_survives_being_served_as_a_stream(blocks: list[dict[str, Any]]) -> None:
    """What a server makes of the events is read as the same message."""
    response = decode_response(
        {**START, "content": blocks, "stop_reason": "end_turn", "stop_sequence": None, "usage": USAGE}
    )
    encoder = StreamEncoder("m1", "sim", include_usage=True)

    payloads = [*encoder.start(), *[one for event in events_of(response.message) for one in encoder.event(event)]]
    decoder, _ = fed(*payloads, *encoder.finish(response))

    assert decoder.finish().message == response.message
    assert encode_response(decoder.finish()) == encode_response(response)


def served(*events: Event, usage: bool = True, response: Response | None = None) -> list[dict[str, Any]]:
    """What a server says for these events."""
    encoder = StreamEncoder("m1", "sim", usage)
    payloads = [*encoder.start(Usage(3, 0)), *[one for event in events for one in encoder.event(event)]]
    return [*payloads, *encoder.finish(response or Response(fold(events), Usage(3, 4), "stop"))]


def test_a_server_streams_blocks_in_the_order_of_the_provider() -> None:
    """Every block is stopped before the next begins, and the account comes at both ends."""
    payloads = served(TextDelta("a"), TextDelta("b", new=True), ToolCallDelta(0, "{}", "1", "f"), Started())

    assert [payload["type"].removeprefix("content_block_") for payload in payloads] == [
        "message_start", "start", "delta", "stop", "start", "delta", "stop", "start", "delta", "stop", "message_delta", "message_stop",
    ]  # fmt: skip
    assert payloads[0]["message"]["usage"]["input_tokens"] == 3
    assert payloads[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert payloads[-2]["usage"]["output_tokens"] == 4


def test_a_server_may_withhold_the_account() -> None:
    """Then no event has one."""
    payloads = served(TextDelta("a"), usage=False)

    assert "usage" not in payloads[0]["message"]
    assert "usage" not in payloads[-2]


def test_a_server_streams_what_came_from_another_wire() -> None:
    """Thoughts without a signature, a refusal, calls side by side; what cannot be said is left out."""
    refusal = UnknownPart({"type": "refusal", "refusal": "No."}, "chat")
    events = [
        ReasoningDelta("hm", {"chat": {"field": "reasoning"}}),
        PartDelta(refusal),
        PartDelta(UnknownPart({"type": "x"}, "chat")),
        ToolCallDelta(0, "", "1", "f"),
        ToolCallDelta(1, "", "2", "g"),
        ToolCallDelta(0, '{"a":1}'),
        ToolCallDelta(1, '{"b":2}'),
    ]

    decoder, _ = fed(*served(*events))

    assert decoder.finish().message == Message(
        "assistant",
        (
            Reasoning("hm", {"anthropic": {"signature": ""}}),
            Text("No."),
            ToolCall("1", "f", '{"a":1}'),
            ToolCall("2", "g", '{"b":2}'),
        ),
    )


def test_a_stream_may_end_as_those_of_openai_do() -> None:
    """Some servers say `[DONE]` on every wire."""
    decoder, _ = fed(start(), begin(0, type="text", text=""), text(0, "Hi"), end(0), last(), STOP)

    assert decoder.feed_bytes(b"[DONE]") == []
    assert decoder.finish().text == "Hi"


def test_a_piece_that_does_not_say_its_type_is_read_wherever_it_stands() -> None:
    """The first piece of a block and those that go on with it, as bytes and as decoded JSON."""
    pieces = [{"index": 0, "delta": {"type": "text_delta", "text": word}} for word in ("a", "b", "c")]

    decoder, _ = fed(start(), begin(0, type="text", text=""), *pieces)
    events = decoder.feed(pieces[0])

    assert events == [TextDelta("a")]
    assert decoder.partial.text == "abca"


def test_calls_that_are_open_at_once_are_looked_at_once() -> None:
    """What a piece costs does not grow with the calls that are open: no block is compared with those before it."""
    looks: list[int] = []

    class Watched(deque[Any]):
        def __iter__(self) -> Iterator[Any]:
            looks.append(len(self))
            return super().__iter__()

    decoder = StreamDecoder()
    decoder._order._queue = Watched()
    begun = [begin(index, type="tool_use", id=f"t{index}", name="f", input={}) for index in range(50)]

    for event in [
        start(),
        *begun,
        *[arguments(index, "{}") for index in range(50)],
        *[end(index) for index in range(50)],
    ]:
        decoder.feed(event)

    assert looks == []
    assert len(decoder.partial.message.tool_calls) == 50


def test_what_waits_is_freed_in_the_order_in_which_it_began() -> None:
    """Calls behind a text go on together when it ends, up to the next text."""
    call = {"type": "tool_use", "name": "f", "input": {}}

    decoder, _ = fed(start(), begin(0, type="text", text="a"))
    waiting = [decoder.feed(begin(1, id="x", **call)), decoder.feed(begin(2, id="y", **call))]
    waiting += [decoder.feed(begin(3, type="text", text="b")), decoder.feed(arguments(2, "{}"))]
    freed = decoder.feed(end(0))

    assert waiting == [[], [], [], []]
    assert [event.id or event.arguments for event in freed if type(event) is ToolCallDelta] == ["x", "y", "{}"]
    assert decoder.feed(end(1)) == [ToolCallDelta(0, "{}")]
    assert decoder.feed(end(2)) == [TextDelta("b")]


def test_citations_that_came_are_not_changed_by_those_that_come() -> None:
    """What an error shows of a stream is of its time."""
    decoder, _ = fed(start(), begin(0, type="text", text="a", citations=[]))
    decoder.feed(delta(0, "citations_delta", citation={"n": 1}))
    before = decoder.partial
    decoder.feed(delta(0, "citations_delta", citation={"n": 2}))

    assert before.message.parts[0].raw == {"anthropic": {"citations": [{"n": 1}]}}  # type: ignore[union-attr]
    assert decoder.partial.message.parts[0].raw == {"anthropic": {"citations": [{"n": 1}, {"n": 2}]}}  # type: ignore[union-attr]
