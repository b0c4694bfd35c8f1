"""Recorder: what a cassette keeps, and what is played from it."""

from __future__ import annotations

import asyncio
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from llamina import (
    Budget,
    BudgetExceededError,
    CassetteMissError,
    Chaos,
    CircuitBreaker,
    Constant,
    CostMeter,
    Event,
    LLMError,
    MalformedResponseError,
    Message,
    NetworkError,
    PartDelta,
    RateLimitError,
    Reasoning,
    ReasoningDelta,
    Recorder,
    Request,
    RequestTimeoutError,
    Response,
    Retry,
    ServerError,
    Stack,
    Started,
    Text,
    TextDelta,
    Timeout,
    ToolCall,
    ToolCallDelta,
    UnknownPart,
    Usage,
    build_stack,
)
from llamina.testing import FakeTransport, answer, simulated_time, vectors

HI = Request.chat("m", "hi")
RICH = Response(
    Message(
        "assistant",
        (
            Reasoning("hm", {"anthropic": {"signature": "c2ln"}}),
            Text("hello", {"anthropic": {"citations": [1]}}),
            ToolCall("c1", "look", '{"a": 1}'),
            UnknownPart({"type": "hologram", "depth": [1, 2.5, None]}, "chat"),
        ),
    ),
    Usage(30, 4, cache_read_tokens=10, reasoning_tokens=2, raw={"prompt_tokens": 30}),
    "tool_calls",
    "m-2026",
    id="r1",
    raw_finish_reason="tool_use",
    request_id="q1",
    extra={"new": {"deep": [1]}},
    rate_limit={"remaining_tokens": 5},
    wire="chat",
)


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    """Where the cassette of a test is."""
    return tmp_path / "cassettes" / "talk.json"


def recording(path: Path, script: Any, **settings: Any) -> Stack:
    """A stack that records what the script plays."""
    return build_stack([Recorder(path, "record", **settings)], FakeTransport(script))


def playing(path: Path, **settings: Any) -> Stack:
    """A stack that can only play."""
    return build_stack([Recorder(path, "replay", **settings)], FakeTransport([]))


async def read(stack: Stack, request: Request = HI) -> tuple[list[Event], Response]:
    """All events, and the Response."""
    async with stack.stream(request) as stream:
        events = [event async for event in stream]
    return events, stream.response


@simulated_time
async def test_an_answer_comes_back_with_every_field(cassette):
    """Parts with what a wire needs back, tokens, reasons, ids and unknown fields: all of it."""
    await recording(cassette, [RICH])(HI)

    played = await playing(cassette)(HI)

    lost = [name for name in Response.__struct_fields__ if getattr(played, name) != getattr(RICH, name)]
    assert lost == ["_call"]
    assert played.usage.raw == {"prompt_tokens": 30}


@simulated_time
async def test_vectors_come_back(cassette):
    """Embeddings are answers too, and a vector stands on one line of the file."""
    asked = Request.embed("e", ["a", "b"])
    await recording(cassette, [vectors([0.1] * 40, [0.2] * 40)])(asked)

    played = await playing(cassette)(asked)

    assert played.vectors == ((0.1,) * 40, (0.2,) * 40)
    assert len(cassette.read_text().splitlines()) < 40


@simulated_time
async def test_a_stream_comes_back_with_its_cuts(cassette):
    """The very pieces, of every kind, the ones that commit nothing too."""
    pieces = [
        Started("r1", "m"),
        ReasoningDelta("h"),
        ReasoningDelta("m", {"anthropic": {"signature": "s"}}),
        TextDelta("Hel"),
        TextDelta("lo"),
        ToolCallDelta(0, '{"a"', "c1", "look"),
        ToolCallDelta(0, ": 1}"),
        PartDelta(UnknownPart({"x": 1})),
    ]
    live, answered = await read(recording(cassette, [pieces]))

    events, played = await read(playing(cassette))

    assert events == live == pieces[1:]
    assert played.message == answered.message


@simulated_time
async def test_a_plain_answer_can_be_streamed_and_a_stream_be_asked_for_plainly(cassette):
    """The form in which it was recorded binds nobody."""
    stack = recording(cassette, [RICH, ["in ", "pieces"]])
    await stack(HI)
    await read(stack, Request.chat("m", "pieces"))

    streamed, _ = await read(playing(cassette))
    plain = await playing(cassette)(Request.chat("m", "pieces"))

    assert "".join([event.text for event in streamed]) == "hello"
    assert plain.text == "in pieces"


@simulated_time
async def test_a_failure_is_raised_again_as_the_same_class_with_its_facts(cassette):
    """Retry, breakers and handlers above see what they saw."""
    error = RateLimitError("slow down", retry_after=2.5, status=429, code="x", request_id="q", provider="p", model="m")
    with pytest.raises(RateLimitError):
        await recording(cassette, [error])(HI)

    with pytest.raises(RateLimitError) as played:
        await playing(cassette)(HI)

    again = played.value
    assert again is not error
    assert str(again) == str(error)
    assert (again.retry_after, again.status, again.code, again.request_id) == (2.5, 429, "x", "q")


ODD = [
    RequestTimeoutError("late", limit="read", seconds=3.0, processed=False, retryable=False),
    RateLimitError("never", retry_after=float("inf"), should_retry=False, rate_limit={"remaining_requests": 0}),
    MalformedResponseError("cut", usage=Usage(5, 3), details={"type": "x"}),
    LLMError("unknown"),
]


@pytest.mark.parametrize("error", ODD, ids=lambda error: type(error).__name__)
@simulated_time
async def test_what_an_error_says_of_itself_is_kept(cassette, error):
    """Also what differs from its class, and what is a class's own."""
    with pytest.raises(LLMError):
        await recording(cassette, [error])(HI)

    with pytest.raises(type(error)) as played:
        await playing(cassette)(HI)

    known = {name: value for name, value in vars(error).items() if name != "call"}
    assert {name: value for name, value in vars(played.value).items() if name != "call"} == known


@simulated_time
async def test_a_refusal_of_a_layer_below_is_played_without_an_attempt(cassette):
    """Nobody was asked then, and nobody is now; its money and its moment come back too."""
    meter = CostMeter({"m": {"input": "1", "output": "1"}}, [Budget("0.000001", period="day")])
    live = build_stack([Recorder(cassette, "record"), meter], FakeTransport([]), check="off")
    with pytest.raises(BudgetExceededError) as refused:
        await live(HI)

    with pytest.raises(BudgetExceededError) as played:
        await playing(cassette)(HI)

    assert (played.value.limit, played.value.resets_at) == (refused.value.limit, refused.value.resets_at)
    assert played.value.call.attempts == []


@simulated_time
async def test_a_stream_that_died_dies_at_the_same_piece(cassette):
    """What came is delivered, then it fails, with the partial answer."""
    script = [["Hel", ServerError("died", usage=Usage(5, 3))]]
    with pytest.raises(ServerError):
        await read(recording(cassette, script))
    seen = []

    with pytest.raises(ServerError) as played:
        async with playing(cassette).stream(HI) as stream:
            async for event in stream:
                seen.append(event.text)

    assert seen == ["Hel"]
    assert played.value.partial.text == "Hel"
    assert played.value.call.attempts[0].usage == Usage(5, 3)


@simulated_time
async def test_an_exception_of_nobodys_making_is_not_recorded(cassette):
    """A bug is no answer of a provider."""
    with pytest.raises(KeyError):
        await recording(cassette, [KeyError("a bug")])(HI)

    assert not cassette.exists()


@simulated_time
async def test_a_stream_that_was_left_is_not_recorded(cassette):
    """Half an answer would be played as a whole one."""
    stack = recording(cassette, [["Hel", 5.0, "lo"]])
    async with stack.stream(HI) as stream:
        await anext(stream)

    assert not cassette.exists()
    assert stack.stats()["recorder.recorded"] == 0


@simulated_time
async def test_a_call_that_a_limit_cut_is_not_recorded(cassette):
    """It is a cancellation: what the provider would have said is not known."""
    fake = FakeTransport([[60.0, "late"], "in time"])
    stack = build_stack([Retry(backoff=Constant(0)), Timeout(5), Recorder(cassette, "record")], fake, check="off")

    assert (await stack(HI)).text == "in time"

    assert [attempt.outcome for attempt in (await playing(cassette)(HI)).call.attempts] == ["ok"]


@simulated_time
async def test_the_same_request_is_played_take_by_take_then_the_last_repeats(cassette):
    """A loop that polls sees what it saw."""
    stack = recording(cassette, ["queued", "running", "done"])
    for _ in range(3):
        await stack(HI)
    stack = playing(cassette)

    played = [(await stack(HI)).text for _ in range(5)]

    assert played == ["queued", "running", "done", "done", "done"]


@simulated_time
async def test_without_repeat_a_take_is_played_once(cassette):
    """As many answers as were recorded, and then a miss that says so."""
    await recording(cassette, ["once"])(HI)
    stack = playing(cassette, repeat=False)
    await stack(HI)

    with pytest.raises(CassetteMissError, match="all 1 takes of this request"):
        await stack(HI)


@simulated_time
async def test_rewound_it_plays_from_the_start(cassette):
    """One object can serve several tests."""
    stack = recording(cassette, ["first", "second"])
    await stack(HI)
    await stack(HI)
    recorder = Recorder(cassette, "replay")
    stack = build_stack([recorder], FakeTransport([]))
    await stack(HI)

    recorder.rewind()

    assert (await stack(HI)).text == "first"


@simulated_time
async def test_calls_side_by_side_are_all_recorded_in_the_order_in_which_they_began(cassette):
    """The one that ends first is not the first take."""
    stack = recording(cassette, [[3.0, "slow"], [1.0, "quick"], [2.0, "middling"]])

    await asyncio.gather(stack(HI), stack(HI), stack(HI))

    replay = playing(cassette)
    assert [(await replay(HI)).text for _ in range(3)] == ["slow", "quick", "middling"]


@simulated_time
async def test_what_is_played_counts_as_a_call_of_the_provider(cassette):
    """A meter and a logger above show what they showed live."""
    prices = {"m": {"input": "1", "output": "2"}}
    totals = []
    for mode, script in (("record", [answer("hi", usage=Usage(10, 20))]), ("replay", [])):
        meter = CostMeter(prices)
        response = await build_stack([meter, Recorder(cassette, mode)], FakeTransport(script))(HI)
        (attempt,) = response.call.attempts
        totals.append((meter.totals().cost, attempt.provider, attempt.outcome, attempt.usage, attempt.usage_source))

    assert totals[0] == totals[1]
    assert totals[0][1:] == ("fake", "ok", Usage(10, 20), "exact")


@simulated_time
async def test_below_retry_each_try_is_a_take(cassette):
    """The test of a retry runs without a provider."""
    outcomes = []
    for mode, script in (("record", [ServerError("down"), RateLimitError("slow"), "yes"]), ("replay", [])):
        stack = build_stack([Retry(backoff=Constant(1)), Recorder(cassette, mode)], FakeTransport(script))
        response = await stack(HI)
        outcomes.append([attempt.outcome for attempt in response.call.attempts])

    assert outcomes == [["server_error", "rate_limited", "ok"]] * 2


@simulated_time
async def test_above_retry_the_answer_is_one_take(cassette):
    """What came out at its place is what it keeps."""
    fake = FakeTransport([ServerError("down"), ["in ", "pieces"]])
    await read(build_stack([Recorder(cassette, "record"), Retry(backoff=Constant(1))], fake, check="off"))

    events, response = await read(playing(cassette))

    assert [event.text for event in events] == ["in ", "pieces"]
    assert len(response.call.attempts) == 1


@simulated_time
async def test_failures_that_are_played_open_a_breaker(cassette):
    """What stands above cannot tell."""
    for mode, script in (("record", [ServerError("down")] * 2), ("replay", [])):
        breaker = CircuitBreaker(fail_max=2)
        stack = build_stack([breaker, Recorder(cassette, mode)], FakeTransport(script))
        for _ in range(2):
            with pytest.raises(ServerError):
                await stack(HI)

        assert breaker.stats()["circuit.opened"] == 1


@simulated_time
async def test_it_plays_at_once_or_as_slowly_as_it_was(cassette):
    """The pauses are on the cassette; time in which the consumer held the provider back is not."""
    loop = asyncio.get_running_loop()
    await read(recording(cassette, [[2.0, "a", 4.0, "b", 1.0]]))
    took = []

    for speed in (None, 1, 2):
        started = loop.time()
        await read(playing(cassette, speed=speed))
        took.append(round(loop.time() - started, 2))

    assert took == [0, 7, 3.5]


@simulated_time
async def test_time_in_which_the_consumer_held_the_provider_back_is_not_played(cassette):
    """It was the reader who was slow."""
    loop = asyncio.get_running_loop()
    fake = FakeTransport([["a", "b", 2.0, "c", "d"]])
    async with build_stack([Recorder(cassette, "record")], fake, stream_buffer=1).stream(HI) as stream:
        async for _ in stream:
            await asyncio.sleep(60)
    started = loop.time()

    await read(playing(cassette, speed=1))

    assert loop.time() - started < 3


@simulated_time
async def test_of_several_writers_the_one_that_delivered_is_recorded(cassette):
    """What another one begins beside it, a hedge say, is no part of the answer."""

    async def hedged(request: Request) -> Response:
        one, other = request.begin(), request.begin()
        await other.send(Started("r2"))
        await one.send(TextDelta("Hel"))
        await other.send(Started("r2"))
        await one.send(TextDelta("lo"))
        await other.send(Started("r2"))
        return Response.of("Hello", usage=Usage(1, 1))

    await read(build_stack([Recorder(cassette, "record")], hedged))

    events, _ = await read(playing(cassette))

    assert [event.text for event in events] == ["Hel", "lo"]


@simulated_time
async def test_one_object_serves_several_stacks_and_shares_what_it_has_played(cassette):
    """State is born with the layer, not with the stack."""
    stack = recording(cassette, ["first", "second"])
    await stack(HI)
    await stack(HI)
    recorder = Recorder(cassette, "replay")

    one, other = (build_stack([recorder], FakeTransport([])) for _ in range(2))

    assert [(await one(HI)).text, (await other(HI)).text] == ["first", "second"]


@simulated_time
async def test_an_answer_belongs_to_who_asked(cassette):
    """Writing into one does not change the next."""
    await recording(cassette, [RICH])(HI)
    stack = playing(cassette)

    (await stack(HI)).extra["new"]["deep"].append("mine")

    assert (await stack(HI)).extra == {"new": {"deep": [1]}}


@simulated_time
async def test_an_unknown_request_names_what_differs_from_the_nearest(cassette):
    """The places, not what stands there: the error may be printed anywhere."""
    stack = recording(cassette, ["a", "b"])
    await stack(Request.chat("m", "the private question", temperature=0, seed=1))
    await stack(Request.chat("other", "something else"))

    with pytest.raises(CassetteMissError) as missed:
        await playing(cassette)(Request.chat("m", "the private question", temperature=1, seed=2))

    error = missed.value
    assert error.differences == ("params.seed", "params.temperature")
    assert f"in {cassette}: the nearest of 2 differs in params.seed, params.temperature" in str(error)
    assert "private" not in str(error)
    assert (error.cassette, error.processed, error.retryable) == (str(cassette), False, False)
    assert error.call.attempts == []


def test_a_miss_can_be_pickled_and_is_a_lookup_error():
    """It crosses processes, as pytest-xdist sends it."""
    error = CassetteMissError("no recording", cassette="x.json", differences=("model",))

    twin = pickle.loads(pickle.dumps(error))

    assert isinstance(twin, LookupError)
    assert (twin.cassette, twin.differences, str(twin)) == ("x.json", ("model",), str(error))


@simulated_time
async def test_a_miss_is_not_tried_again(cassette):
    """The cassette will not have it the next time either."""
    await recording(cassette, ["a"])(HI)
    stack = build_stack([Retry(attempts=5), Recorder(cassette, "replay")], FakeTransport([]))

    with pytest.raises(CassetteMissError):
        await stack(Request.chat("m", "else"))

    assert stack.stats()["recorder.missed"] == 1


@simulated_time
async def test_a_concurrent_crowd_replays_without_losing_a_take(cassette):
    """A hundred at once get the takes that there are."""
    stack = recording(cassette, [str(number) for number in range(100)])
    for _ in range(100):
        await stack(HI)
    replay = playing(cassette, repeat=False)

    answers = await asyncio.gather(*[replay(HI) for _ in range(100)])

    assert sorted([int(response.text) for response in answers]) == list(range(100))


@simulated_time
async def test_statistics_count_what_was_written_played_and_missed(cassette):
    """Under dotted names."""
    live = recording(cassette, ["a"])
    await live(HI)
    replay = playing(cassette)
    await replay(HI)
    with pytest.raises(CassetteMissError):
        await replay(Request.chat("m", "else"))

    assert live.stats() == {"recorder.recorded": 1, "recorder.replayed": 0, "recorder.missed": 0}
    assert replay.stats() == {"recorder.recorded": 0, "recorder.replayed": 1, "recorder.missed": 1}


def test_a_cassette_is_one_file_and_says_its_version(cassette):
    """Nothing is left beside it; it was written after each call."""

    async def play() -> None:
        stack = recording(cassette, ["a", "b"])
        await stack(HI)
        await stack(HI)

    asyncio.run(play())

    assert [path.name for path in cassette.parent.iterdir()] == [cassette.name]
    assert json.loads(cassette.read_text())["version"] == 1


@simulated_time
async def test_a_stream_that_died_is_on_the_ledger_as_it_was(cassette):
    """With the tokens, the id and the limits that the provider had told before."""

    async def dying(request: Request) -> Response:
        out = request.begin()
        out.usage, out.request_id, out.rate_limit = Usage(100, 1), "q1", {"remaining_tokens": 3.0}
        await out.send(TextDelta("Hel"))
        raise NetworkError("cut")

    entered = []
    for stack in (build_stack([Recorder(cassette, "record")], dying), playing(cassette)):
        with pytest.raises(NetworkError) as died:
            await read(stack)
        (attempt,) = died.value.call.attempts
        entered.append((attempt.usage, attempt.usage_source, attempt.request_id, attempt.rate_limit))

    assert entered == [(Usage(100, 1), "estimated", "q1", {"remaining_tokens": 3.0})] * 2


@simulated_time
async def test_a_fault_of_a_layer_above_is_not_recorded(cassette):
    """The provider did not cut it."""
    stack = build_stack([Chaos(script=["truncate"]), Recorder(cassette, "record")], FakeTransport([["a", "b"]]))

    with pytest.raises(NetworkError):
        await read(stack)

    assert not cassette.exists()
