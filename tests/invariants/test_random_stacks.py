"""The invariants of the protocol over random stacks, random faults and random cancellations."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import random
import shutil
import tempfile
from collections import Counter
from decimal import Decimal
from typing import Any

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamina import (
    Budget,
    Cache,
    Call,
    Chaos,
    CircuitBreaker,
    Constant,
    CostMeter,
    Dedup,
    Handler,
    InvalidRequestError,
    LLMError,
    Logger,
    NetworkError,
    OverloadedError,
    RateLimitError,
    Recorder,
    Request,
    Response,
    Retry,
    ServerError,
    Stack,
    Timeout,
    Usage,
    build_stack,
    middleware,
)
from llamina.testing import FakeTransport, answer, simulated_time, tool_call

PRICES = {"m": {"input": "1", "output": "2"}}

CASSETTES = tempfile.mkdtemp(prefix="llamina-invariants-")
atexit.register(shutil.rmtree, CASSETTES, ignore_errors=True)
_numbers = itertools.count()

LAYERS: dict[str, Any] = {
    "logger": lambda: Logger(logger="test.invariants"),
    "cache": lambda: Cache(ttl=50),
    "dedup": Dedup,
    "retry": lambda: Retry(attempts=3, backoff=Constant(1), rng=random.Random(1)),
    "meter": lambda: CostMeter(PRICES),
    "budget": lambda: CostMeter(PRICES, [Budget("1", period="day", scope="user")], default_output_tokens=100),
    "breaker": lambda: CircuitBreaker(fail_max=3, reset_timeout=10, rng=random.Random(1)),
    "timeout": lambda: Timeout(6, grace=0.5),
    "timeout in place": lambda: Timeout(7, grace=None),
    "idle": lambda: Timeout(first_event=5, idle=3),
    "recorder": lambda: Recorder(f"{CASSETTES}/{next(_numbers)}.json", "record"),
    "chaos": lambda: Chaos(error_rate=0.2, latency=(0, 2), truncate_rate=0.1, stall_rate=0.2, stall=4),
}


@attrs.frozen
class Caller:
    """One call of the play: what it asks, when it begins, how it is read, when it is cancelled."""

    prompt: str
    begins: float
    streams: bool
    leaves_after: int | None
    cancelled_after: float | None


CALLERS = st.builds(
    Caller,
    prompt=st.sampled_from(["a", "b", "c"]),
    begins=st.sampled_from([0.0, 0.0, 0.5, 1.0, 8.0, 60.0]),
    streams=st.booleans(),
    leaves_after=st.none() | st.integers(0, 2),
    cancelled_after=st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.5, 6.0, 6.25]),
)

PIECES = st.sampled_from(["x", "yz", 0.0, 0.25, 1.0, 4.0])
ENDS = st.sampled_from(
    [
        None,
        answer("", usage=Usage(7, 11)),
        ServerError("down"),
        ServerError("died late", usage=Usage(5, 3)),
        NetworkError("refused", processed=False),
        RateLimitError("slow", retry_after=2),
        OverloadedError("busy"),
        InvalidRequestError("bad"),
        LookupError("a bug"),
        1000.0,
    ]
)


@st.composite
def scripts(draw: st.DrawFn) -> Any:
    """What the provider does with one request."""
    pieces = draw(st.lists(PIECES, max_size=4))
    end = draw(ENDS)
    if isinstance(end, Response):
        text = "".join([piece for piece in pieces if isinstance(piece, str)])
        return [*pieces, tool_call("f", {"a": 1}, usage=end.usage) if not text else answer(text, usage=end.usage)]
    return [*pieces, end] if end is not None else [*pieces, "done"]


STACKS = st.lists(st.sampled_from(sorted(LAYERS)), unique=True, max_size=7)
CALM_STACKS = st.lists(st.sampled_from(sorted(LAYERS.keys() - {"chaos"})), unique=True, max_size=7)


class Play:
    """Runs the callers against a stack and keeps what they saw."""

    def __init__(self, layers: list[str], script: list[Any]) -> None:
        self.fake = FakeTransport(script, repeat=True)
        self.calls: list[Call] = []
        self.seen: Counter[str] = Counter()
        self.broken: list[str] = []

        @middleware
        async def witness(request: Request, call_next: Handler) -> Response:
            assert request.call is not None
            self.calls.append(request.call)
            return await call_next(request)

        self.stack: Stack = build_stack([witness, *[LAYERS[name]() for name in layers]], self.fake, check="off")

    async def call(self, caller: Caller) -> None:
        request = Request.chat("m", caller.prompt, tags={"user": "ada"}, max_tokens=50)
        await asyncio.sleep(caller.begins)
        try:
            if caller.streams:
                await self.read(request, caller.leaves_after)
            else:
                await self.stack(request)
            self.seen["answered"] += 1
        except (LLMError, LookupError) as error:
            self.seen[type(error).__name__] += 1
            if isinstance(error, LLMError) and error.call is None:
                self.broken.append(f"{error!r} came out without its call")

    async def read(self, request: Request, leaves_after: int | None) -> None:
        texts: list[str] = []
        async with self.stack.stream(request) as stream:
            async for event in stream:
                texts.append(event.text)
                if leaves_after is not None and len(texts) > leaves_after:
                    return
        if "".join(texts) != stream.response.text:
            self.broken.append(f"streamed {texts}, returned {stream.response.text!r}")

    async def perform(self, callers: list[Caller]) -> None:
        tasks = [asyncio.create_task(self.call(caller)) for caller in callers]
        for task, caller in zip(tasks, callers, strict=True):
            if caller.cancelled_after is not None:
                asyncio.get_running_loop().call_later(caller.begins + caller.cancelled_after, task.cancel)
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        await asyncio.sleep(2_000)
        await self.stack.aclose()


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    layers=STACKS,
    script=st.lists(scripts(), min_size=1, max_size=5),
    callers=st.lists(CALLERS, min_size=1, max_size=6),
)
def test_the_invariants_hold_whatever_happens(layers: list[str], script: list[Any], callers: list[Caller]) -> None:
    """No attempt is lost or counted twice, nothing is left running or held, what is streamed is what is returned."""
    play = Play(layers, script)

    with simulated_time() as clock:
        clock.run(play.perform(callers))

    assert not play.broken
    assert play.fake.in_flight == 0
    attempts = [attempt for call in play.calls for attempt in call.attempts]
    asked = [attempt for attempt in attempts if attempt.provider == "fake"]  # the others were played by Chaos
    assert len(asked) == len({id(attempt) for attempt in asked}) == play.fake.calls
    assert all(attempt.outcome and attempt.elapsed is not None and attempt.usage is not None for attempt in attempts)
    known = sum([a.usage for a in attempts if a.usage_source == "exact" and a.usage is not None], Usage())
    assert (known.input_tokens, known.output_tokens) == (play.fake.billed.input_tokens, play.fake.billed.output_tokens)
    for attempt in asked:
        if attempt.outcome in ("timeout", "cancelled", "overloaded", "error"):
            assert attempt.usage is not None
            assert attempt.usage.input_tokens > 0

    stats = play.stack.stats()
    assert not [name for name in stats if name.endswith(("in_flight", "left_behind")) and stats[name]]
    if {"meter", "budget"} & set(layers):
        total = sum([call.cost for call in play.calls], Decimal(0))
        metered = [stats[name] for name in stats if name.endswith("cost.total") or name == "cost#2.total"]
        assert set(metered) == {total}
        assert all(attempt.cost is not None for attempt in attempts)


@settings(max_examples=60, deadline=None)
@given(layers=CALM_STACKS, callers=st.lists(CALLERS, min_size=2, max_size=8))
def test_after_any_crowd_the_stack_still_answers(layers: list[str], callers: list[Caller]) -> None:
    """No permit, probe, hold or flight is lost, wherever callers were cancelled or left."""
    play = Play(layers, [["x", 1.0, "y"]])

    async def perform() -> None:
        crowd = [asyncio.create_task(play.call(caller)) for caller in callers]
        for task, caller in zip(crowd, callers, strict=True):
            if caller.cancelled_after is not None:
                asyncio.get_running_loop().call_later(caller.begins + caller.cancelled_after, task.cancel)
        await asyncio.wait(crowd)
        async with asyncio.timeout(3_600):
            response = await play.stack(Request.chat("m", "fresh", tags={"user": "ada"}, max_tokens=50))
        assert response.text == "xy"
        await play.stack.aclose()

    with simulated_time() as clock:
        clock.run(perform())

    assert not play.broken
