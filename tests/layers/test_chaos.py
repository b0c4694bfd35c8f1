"""Chaos: faults by chance and by script, the same way each time, and what they leave on the ledger."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamina import (
    Chaos,
    CircuitBreaker,
    ConfigurationError,
    Constant,
    CostMeter,
    LLMError,
    MalformedResponseError,
    NetworkError,
    OverloadedError,
    RateLimitError,
    Request,
    RequestTimeoutError,
    Retry,
    ServerError,
    Timeout,
    ToolCallDelta,
    Usage,
    build_stack,
    load_stack,
)
from llamina.layers._faults import WORDS
from llamina.testing import FakeTransport, answer, check_middleware, simulated_time

HI = Request.chat("m", "hi")
PIECES = [["a", "b", "c", "d"]]


async def ends(stack: Any, request: Request = HI, *, streams: bool = False) -> str:
    """How a call ends, in one word."""
    try:
        if streams:
            async with stack.stream(request) as stream:
                await stream.complete()
        else:
            await stack(request)
    except LLMError as error:
        return error.outcome
    return "ok"


async def run(chaos: Chaos, calls: int = 60, *, streams: bool = False) -> list[str]:
    """How each of many different calls ends."""
    stack = build_stack([chaos], FakeTransport(PIECES, repeat=True))
    return [await ends(stack, Request.chat("m", str(number)), streams=streams) for number in range(calls)]


# --- by chance -------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**64), streams=st.booleans())
def test_at_rate_nought_it_is_transparent_and_at_one_it_always_strikes(seed, streams):
    """Whatever the seed."""
    with simulated_time() as clock:
        calm = clock.run(run(Chaos(seed), 10, streams=streams))
        failing = clock.run(run(Chaos(seed, error_rate=1, errors="overloaded"), 10, streams=streams))
        cutting = clock.run(run(Chaos(seed, truncate_rate=1), 10, streams=streams))

    assert calm == ["ok"] * 10
    assert failing == ["overloaded"] * 10
    assert set(cutting) <= {"network_error", "malformed"}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), rate=st.floats(0, 1), order=st.permutations(range(12)))
def test_the_same_seed_gives_the_same_faults_in_whatever_order_calls_are_made(seed, rate, order):
    """Chance belongs to the request: calls side by side do not change each other's luck."""

    async def play(numbers: Any) -> dict[int, str]:
        stack = build_stack([Chaos(seed, error_rate=rate, truncate_rate=rate)], FakeTransport("x"))
        return {number: await ends(stack, Request.chat("m", str(number))) for number in numbers}

    with simulated_time() as clock:
        assert clock.run(play(range(12))) == clock.run(play(order))


@simulated_time
async def test_concurrent_calls_have_the_luck_that_they_have_alone():
    """Latency mixes up their order, not their faults."""
    requests = [Request.chat("m", str(number)) for number in range(50)]
    alone = build_stack([Chaos(3, error_rate=0.4, latency=(0, 5))], FakeTransport("x"))
    expected = [await ends(alone, request) for request in requests]

    together = build_stack([Chaos(3, error_rate=0.4, latency=(0, 5))], FakeTransport("x"))
    seen = await asyncio.gather(*[ends(together, request) for request in requests])

    assert list(seen) == expected
    assert len(set(expected)) > 2


@simulated_time
async def test_the_same_request_draws_anew_each_time():
    """A retry must have a chance."""
    stack = build_stack([Chaos(1, error_rate=0.5, errors="network")], FakeTransport("x"))

    seen = [await ends(stack) for _ in range(40)]

    assert set(seen) == {"ok", "network_error"}


@simulated_time
async def test_another_seed_is_another_run():
    """And the first one can be had again."""
    one, other = await run(Chaos(1, error_rate=0.5)), await run(Chaos(2, error_rate=0.5))

    assert one != other
    assert await run(Chaos(1, error_rate=0.5)) == one


@simulated_time
async def test_rates_are_shares_of_the_calls():
    """Over many calls, and each kind of fault for itself."""
    chaos = Chaos(5, error_rate=0.2, latency=0.1, latency_rate=0.5, truncate_rate=0.25, stall_rate=0.1)

    await run(chaos, 2000, streams=True)

    stats = chaos.stats()
    rest = 2000 - stats["chaos.errors"]
    assert stats["chaos.calls"] == 2000
    assert stats["chaos.errors"] == pytest.approx(400, rel=0.15)
    assert stats["chaos.delayed"] == pytest.approx(rest * 0.5, rel=0.15)
    assert stats["chaos.truncated"] == pytest.approx(rest * 0.25, rel=0.15)
    assert stats["chaos.stalled"] == pytest.approx(rest * 0.1, rel=0.5)


@simulated_time
async def test_errors_come_by_their_weights():
    """A mapping from words, classes or errors to how often they come beside each other."""
    special = RateLimitError("mine", retry_after=7)
    chaos = Chaos(2, error_rate=1, errors={"overloaded": 3, ServerError: 1, special: 1})

    seen = Counter(await run(chaos, 500))

    assert seen["overloaded"] == pytest.approx(300, rel=0.2)
    assert seen["server_error"] == pytest.approx(100, rel=0.3)
    assert seen["rate_limited"] == pytest.approx(100, rel=0.3)


@pytest.mark.parametrize("word", WORDS)
@simulated_time
async def test_each_word_is_an_error_as_a_provider_gives_it(word):
    """Of the class whose word the ledger shows."""
    stack = build_stack([Chaos(script=[word])], FakeTransport([]))

    with pytest.raises(WORDS[word][0]) as raised:
        await stack(HI)

    (attempt,) = raised.value.call.attempts
    assert raised.value.model == "m"
    assert attempt.outcome == raised.value.outcome == ("network_error" if word == "network" else word)


@simulated_time
async def test_latency_is_drawn_from_its_range():
    """Seconds before the call is sent."""
    loop = asyncio.get_running_loop()
    stack = build_stack([Chaos(latency=(2, 4))], FakeTransport("x"))
    waits = []

    for number in range(30):
        started = loop.time()
        await stack(Request.chat("m", str(number)))
        waits.append(loop.time() - started)

    assert 2 <= min(waits) < 2.4
    assert 3.6 < max(waits) <= 4.001


@simulated_time
async def test_only_calls_that_are_enabled_are_touched():
    """A predicate of the request."""
    chaos = Chaos(error_rate=1, enabled=lambda request: request.model == "small")
    stack = build_stack([chaos], FakeTransport("x"))

    assert await ends(stack, Request.chat("large", "hi")) == "ok"
    assert await ends(stack, Request.chat("small", "hi")) != "ok"
    assert chaos.stats()["chaos.calls"] == 1


# --- by script -------------------------------------------------------------------------------------------------------


@simulated_time
async def test_a_script_is_played_call_by_call_and_then_calls_go_through():
    """Words, classes, errors and mappings."""
    script = ["ok", "rate_limited", ServerError, OverloadedError("mine"), {"error": "rate_limited", "retry_after": 2}]
    stack = build_stack([Chaos(script=script)], FakeTransport("x"))

    seen = [await ends(stack) for _ in range(7)]

    assert seen == ["ok", "rate_limited", "server_error", "overloaded", "rate_limited", "ok", "ok"]


@simulated_time
async def test_a_script_can_repeat():
    """For as long as it is called."""
    stack = build_stack([Chaos(script=["ok", "overloaded"], repeat=True)], FakeTransport("x"))

    assert [await ends(stack) for _ in range(5)] == ["ok", "overloaded", "ok", "overloaded", "ok"]


@simulated_time
async def test_a_scripted_call_waits_and_then_fails():
    """A provider that is slow to refuse, with the facts that it gives."""
    loop = asyncio.get_running_loop()
    chaos = Chaos(script=[{"latency": 3, "error": "rate_limited", "retry_after": 2, "status": 430, "code": "x"}])
    stack = build_stack([chaos], FakeTransport([]))
    started = loop.time()

    with pytest.raises(RateLimitError) as raised:
        await stack(HI)

    (attempt,) = raised.value.call.attempts
    assert (raised.value.retry_after, attempt.status, attempt.code) == (2, 430, "x")
    assert round(loop.time() - started, 2) == round(attempt.elapsed, 2) == 3


@simulated_time
async def test_retry_above_shows_what_it_does_about_it():
    """The point of it: the waits and tries of a bad provider, in milliseconds."""
    script = [{"error": "rate_limited", "retry_after": 5}, "server_error", "ok"]
    stack = build_stack([Retry(backoff=Constant(1)), Chaos(script=script)], FakeTransport(["answer"]))

    response = await stack(HI)

    assert [attempt.outcome for attempt in response.call.attempts] == ["rate_limited", "server_error", "ok"]
    assert response.call.attempts[0].backoff >= 5


@simulated_time
async def test_a_breaker_above_opens():
    """Faults that are played count as the service's."""
    breaker = CircuitBreaker(fail_max=3)
    stack = build_stack([breaker, Chaos(error_rate=1, errors="server_error")], FakeTransport([]))

    seen = [await ends(stack) for _ in range(5)]

    assert seen == ["server_error"] * 3 + ["circuit_open"] * 2


@simulated_time
async def test_each_raised_error_is_an_object_of_its_own():
    """Facts that one call adds do not show in the next."""
    stack = build_stack([Chaos(script=[OverloadedError("mine")], repeat=True)], FakeTransport([]))
    raised = []
    for _ in range(2):
        with pytest.raises(OverloadedError) as caught:
            await stack(HI)
        raised.append(caught.value)

    assert raised[0] is not raised[1]
    assert raised[0].call is not raised[1].call


# --- streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pieces", "came"), [(0, ""), (1, "a"), (3, "abc"), (4, "abcd"), (9, "abcd")])
@simulated_time
async def test_a_stream_is_cut_after_so_many_pieces(pieces, came):
    """What came is in the error; a cut behind the last piece takes the end away."""
    stack = build_stack([Chaos(script=[{"truncate": pieces}])], FakeTransport(PIECES))
    seen = []

    with pytest.raises(NetworkError) as cut:
        async with stack.stream(HI) as stream:
            async for event in stream:
                seen.append(event.text)

    assert "".join(seen) == came
    assert (cut.value.partial.text if cut.value.partial else "") == came


@simulated_time
async def test_a_cut_stream_is_recorded_as_a_cut_stream_is():
    """By the terminal's own attempt: what came is charged as an estimate."""
    fake = FakeTransport(PIECES)
    meter = CostMeter({"m": {"input": "1", "output": "1"}})
    stack = build_stack([meter, Chaos(script=[{"truncate": 2, "error": "malformed"}])], fake)

    with pytest.raises(MalformedResponseError) as cut:
        async with stack.stream(HI) as stream:
            await stream.complete()

    (attempt,) = cut.value.call.attempts
    assert (attempt.provider, attempt.outcome, attempt.usage_source) == ("fake", "malformed", "estimated")
    assert attempt.usage.output_tokens > 0
    assert cut.value.call.cost == meter.totals().cost > 0


@simulated_time
async def test_a_cut_behind_the_last_piece_is_a_failed_attempt_too():
    """The terminal had not come to its end."""
    stack = build_stack([Chaos(script=[{"truncate": 4}])], FakeTransport(PIECES))
    stream = stack.stream(HI)

    with pytest.raises(NetworkError):
        async with stream:
            await stream.complete()

    assert [attempt.outcome for attempt in stream.call.attempts] == ["network_error"]


@simulated_time
async def test_a_stream_that_was_cut_before_its_first_piece_can_be_tried_again():
    """After that it cannot: the commit point holds for faults that are played."""
    for pieces, expected in ((0, "ok"), (1, "network_error")):
        fake = FakeTransport([["a", "b"]] * 2)
        stack = build_stack([Retry(backoff=Constant(0)), Chaos(script=[{"truncate": pieces}])], fake)

        assert await ends(stack, streams=True) == expected


@simulated_time
async def test_a_plain_call_that_is_cut_fails_after_it_was_billed():
    """The body broke off; the provider had done the work, and the ledger says so."""
    fake = FakeTransport([answer("x", usage=Usage(10, 20))])
    stack = build_stack([Chaos(script=["truncate"])], fake)

    with pytest.raises(NetworkError) as cut:
        await stack(HI)

    (attempt,) = cut.value.call.attempts
    assert attempt.usage == fake.billed == Usage(10, 20)
    assert cut.value.partial is None


@simulated_time
async def test_a_stream_stands_still_and_a_limit_above_notices():
    """The same script without the limit goes on after the pause."""
    script = [{"stall": 30, "after": 2}]
    loop = asyncio.get_running_loop()

    with pytest.raises(RequestTimeoutError) as late:
        async with build_stack([Timeout(idle=10), Chaos(script=script)], FakeTransport(PIECES)).stream(HI) as stream:
            await stream.complete()
    started = loop.time()
    assert await ends(build_stack([Chaos(script=script)], FakeTransport(PIECES)), streams=True) == "ok"

    assert late.value.limit == "idle"
    assert late.value.partial.text == "ab"
    assert late.value.call.attempts[0].outcome == "timeout"
    assert round(loop.time() - started) == 30


# --- the ledger ------------------------------------------------------------------------------------------------------


@simulated_time
async def test_a_fault_that_was_never_sent_is_an_attempt_that_costs_exactly_nothing():
    """The fake was not asked, and nothing is estimated."""
    meter = CostMeter({"fake/m": {"input": "1", "output": "1"}})
    fake = FakeTransport([])
    stack = build_stack([meter, Chaos(script=["server_error"])], fake)

    with pytest.raises(ServerError) as raised:
        await stack(HI)

    (attempt,) = raised.value.call.attempts
    assert (attempt.provider, attempt.usage, attempt.usage_source, attempt.cost) == ("chaos", Usage(), "exact", 0)
    assert raised.value.call.cost_complete
    assert meter.totals().cost == fake.calls == 0


@simulated_time
async def test_a_wait_that_a_limit_cuts_is_an_attempt_that_timed_out():
    """As one of a provider that does not answer; a caller's own cancellation reads as one."""
    stack = build_stack([Timeout(5), Chaos(latency=60)], FakeTransport([]))
    with pytest.raises(RequestTimeoutError) as late:
        await stack(HI)
    plain = build_stack([Chaos(latency=60)], FakeTransport([]))
    stream = plain.stream(HI)
    async with stream:
        await asyncio.sleep(1)

    assert [(a.outcome, a.cost) for a in late.value.call.attempts] == [("timeout", 0)]
    assert [(a.outcome, a.cost) for a in stream.call.attempts] == [("cancelled", 0)]


@pytest.mark.parametrize(
    "item", [{"latency": 2}, {"stall": 2}, {"truncate": 1, "latency": 1}, {"stall": 1, "after": 0}]
)
@pytest.mark.parametrize("streams", [False, True])
@simulated_time
async def test_a_cancellation_at_any_moment_comes_out_as_one_and_leaves_nothing(item, streams):
    """In each turn of the loop and in each pause."""
    for moment in range(12):
        fake = FakeTransport([["a", 0.5, "b"]], repeat=True)
        stack = build_stack([Chaos(script=[item, "ok"])], fake)
        task = asyncio.create_task(ends(stack, streams=streams))
        if moment < 6:
            for _ in range(moment):
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(0.3 * (moment - 5))
        was_running = task.cancel()
        await asyncio.wait([task])

        assert task.cancelled() is was_running
        assert fake.in_flight == 0
        assert await ends(stack, streams=streams) in ("ok", "network_error")


@simulated_time
async def test_below_the_budget_of_a_meter_the_sums_hold_under_any_mixture():
    """Exact tokens of the ledger are those that the provider billed."""
    fake = FakeTransport(lambda request: ["some ", 0.1, answer("some text", usage=Usage(7, 5))])
    chaos = Chaos(9, error_rate=0.3, latency=(0, 3), truncate_rate=0.2, stall_rate=0.2, stall=2)
    stack = build_stack([Retry(attempts=2, backoff=Constant(0), budget=None), Timeout(4), chaos], fake)
    calls = []

    async def ask(number: int) -> None:
        stream = stack.stream(Request.chat("m", str(number)))
        calls.append(stream.call)
        try:
            async with stream:
                await stream.complete()
        except LLMError:
            pass

    await asyncio.gather(*[ask(number) for number in range(200)])

    attempts = [attempt for call in calls for attempt in call.attempts]
    exact = sum([a.usage for a in attempts if a.usage_source == "exact"], Usage())
    assert len([a for a in attempts if a.provider == "fake"]) == fake.calls
    assert exact == fake.billed
    assert all(attempt.outcome for attempt in attempts)


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"seed": "x"}, r"Chaos\.seed"),
        ({"error_rate": 1.5}, r"Chaos\.error_rate must be a number from 0 to 1"),
        ({"error_rate": float("nan")}, r"Chaos\.error_rate"),
        ({"errors": ["overload"]}, r"Chaos\.errors must be .* did you mean 'overloaded'\?"),
        ({"errors": []}, r"Chaos\.errors must name at least one"),
        ({"errors": {"overloaded": -1}}, r"must be a weight above 0"),
        ({"errors": [ValueError]}, r"Chaos\.errors"),
        ({"latency": -1}, r"Chaos\.latency"),
        ({"latency": (3, 1)}, r"Chaos\.latency"),
        ({"latency": (1, 2, 3)}, r"Chaos\.latency"),
        ({"latency": ("a", "b")}, r"Chaos\.latency"),
        ({"truncate_after": 1.5}, r"Chaos\.truncate_after"),
        ({"truncate_after": (3, 1)}, r"Chaos\.truncate_after"),
        ({"stall": 0}, r"Chaos\.stall"),
        ({"script": "ok"}, r"Chaos\.script must be a list"),
        ({"script": ["okay"]}, r"Chaos\.script\[0\] .* did you mean 'ok'\?"),
        ({"script": ["zzz"]}, r"the words are network_error, timeout"),
        ({"script": [3]}, r"Chaos\.script\[0\]"),
        ({"script": [{}]}, r"Chaos\.script\[0\] is empty"),
        ({"script": ["ok", {"delay": 3}]}, r"Chaos\.script\[1\] has the key 'delay'"),
        ({"script": [{"latency": "x"}]}, r"Chaos\.script\[0\]\.latency"),
        ({"script": [{"truncate": 0.5}]}, r"Chaos\.script\[0\]\.truncate"),
        ({"script": [{"retry_after": 3}]}, r"no \"error\""),
        ({"script": [{"truncate": 2, "error": "overloaded"}]}, r"cuts a stream"),
        ({"script": ["ok"], "error_rate": 0.5}, r"Chaos\.script is set, and so is a rate"),
        ({"script": ["ok"], "latency": 1}, r"Chaos\.script is set, and so is a rate"),
        ({"enabled": 3}, r"Chaos\.enabled"),
        ({"repeat": 1}, r"Chaos\.repeat"),
    ],
)
def test_a_wrong_setting_is_refused_when_it_is_built(settings, says):
    """With its name, the value and the remedy."""
    with pytest.raises(ConfigurationError, match=says):
        Chaos(**settings)


@pytest.mark.parametrize("settings", [{}, {"latency": (0.1, 0.3)}, {"stall_rate": 1, "stall": 0.5}], ids=str)
def test_where_it_makes_no_call_fail_it_keeps_every_clause(settings):
    """Slow and stuck is still the protocol."""
    assert check_middleware(lambda: Chaos(**settings))


def test_a_configuration_can_say_it_all():
    """Words, weights and ranges are plain data, and come back as they were."""
    chance = {"type": "chaos", "seed": 3, "latency": [0.1, 2], "error_rate": 0.1, "errors": {"overloaded": 3}}
    script = {"type": "chaos", "script": ["ok", "overloaded", {"latency": 2, "error": "rate_limited"}]}
    stack = load_stack({"transport": {"type": "echo"}, "layers": [chance, script]}, check="off")

    assert [dict(layer) for layer in stack.to_config()["layers"]] == [chance, script]


class _NeedsTwo(LLMError):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"latency": (1, "a")}, "latency must be a number"),
        ({"errors": _NeedsTwo}, "needs more than a message"),
        ({"errors": {"overloaded": 1e308, "network": 1e308}}, "whose sum is a number"),
        ({"errors": []}, "at least one error"),
        ({"script": [{"error": "rate_limited", "retry_after": "soon"}]}, "retry_after must be a number"),
        ({"script": [{"error": "rate_limited", "retry_after": float("nan")}]}, "retry_after must be a number"),
        ({"script": [{"error": "rate_limited", "status": "429"}]}, "status must be an HTTP status"),
    ],
    ids=str,
)
def test_what_would_fail_in_the_middle_of_a_run_is_refused_before(settings, says):
    """As a wrong setting, with its name."""
    with pytest.raises(ConfigurationError, match=says):
        Chaos(**settings)


@simulated_time
async def test_a_tool_call_that_is_cut_has_the_arguments_that_came():
    """Half of its JSON, as a connection that breaks leaves it."""
    pieces = [ToolCallDelta(0, '{"city"', "c1", "weather"), ToolCallDelta(0, ': "Rome"}')]
    stack = build_stack([Chaos(script=["truncate"])], FakeTransport([pieces]))

    with pytest.raises(NetworkError) as cut:
        async with stack.stream(HI) as stream:
            await stream.complete()

    assert [call.arguments_text for call in cut.value.partial.tool_calls] == ['{"city"']


def test_it_says_what_it_does():
    """In one line, for `stack.explain()`."""
    assert Chaos().explain() == "does nothing: every rate is 0"
    assert Chaos(7, error_rate=0.1, latency=2).explain() == "0.1 of the calls fail, all calls wait 2 s (seed 7)"
    assert Chaos(script=["ok"]).explain() == "plays a script of 1 calls, then lets calls through"
    assert repr(Chaos(7, error_rate=0.1)) == "Chaos(seed=7, error_rate=0.1)"


@simulated_time
async def test_what_it_remembers_of_requests_is_bounded(monkeypatch):
    """A load test of millions of different requests does not fill the memory."""
    monkeypatch.setattr("llamina.layers.chaos._MOST_REQUESTS", 100)
    chaos = Chaos(error_rate=0.1)

    await run(chaos, 1000)

    assert len(chaos._counts.asked) <= 100
