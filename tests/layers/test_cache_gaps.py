"""Cache over Dedup: concurrent misses make one call, whatever the store's pace and whenever they come."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llamina import MemoryCache, Request, Response, ServerError, Stack, build_stack
from llamina.layers.cache import Cache
from llamina.layers.dedup import Dedup
from llamina.stores.base import Entry
from llamina.testing import FakeTransport, simulated_time

ASK = Request.chat("model", "hello")


class Slow(MemoryCache):
    """A store that takes its time: to look before and after it does, to keep before it does."""

    def __init__(self, before: float = 0.0, after: float = 0.0, keeping: float = 0.0) -> None:
        super().__init__()
        self.before, self.after, self.keeping = before, after, keeping
        self.sets = 0

    async def get(self, key: str, /) -> Entry | None:
        await asyncio.sleep(self.before)
        entry = await super().get(key)
        await asyncio.sleep(self.after)
        return entry

    async def set(self, key: str, value: bytes, /, **times: Any) -> None:
        self.sets += 1
        await asyncio.sleep(self.keeping)
        await super().set(key, value, **times)


async def ask(stack: Stack, after: float, *, streams: bool = False, turns: int = 0) -> Response:
    """One caller, who comes after some seconds and some turns of the loop."""
    await asyncio.sleep(after)
    for _ in range(turns):
        await asyncio.sleep(0)
    if not streams:
        return await stack(ASK)
    async with stack.stream(ASK) as stream:
        return await stream.complete()


@pytest.mark.parametrize("streams", [False, True])
@simulated_time
async def test_a_thousand_concurrent_misses_make_one_call_and_one_entry(*, streams: bool) -> None:
    """One caller asks, and he alone writes the answer down."""
    fake = FakeTransport([["be", 1.0, "cause"]])
    store = Slow()
    stack = build_stack([Cache(store), Dedup()], fake)

    answers = await asyncio.gather(*(ask(stack, 0, streams=streams) for _ in range(1000)))

    assert (fake.calls, store.sets) == (1, 1)
    assert sum(len(response.call.attempts) for response in answers) == 1
    assert (await stack(ASK)).call.cached


@simulated_time
async def test_a_thousand_callers_at_the_instant_of_expiry_make_one_call() -> None:
    """When an answer ceases to be fresh, one caller renews it for all who come then."""
    fake = FakeTransport([[1.0, "answer"]], repeat=True)
    stack = build_stack([Cache(ttl=60), Dedup()], fake)
    await stack(ASK)

    await asyncio.gather(*(ask(stack, 60 + number / 1000) for number in range(-500, 500)))

    assert fake.calls == 2


@simulated_time
async def test_who_looks_while_the_answer_is_being_stored_finds_it() -> None:
    """Between "answered" and "stored" the answer is not in the store; it is a hit all the same."""
    fake = FakeTransport([[1.0, "answer"]], repeat=True)
    stack = build_stack([Cache(Slow(keeping=0.2)), Dedup()], fake)
    first = asyncio.create_task(ask(stack, 0))
    await asyncio.sleep(1.1)  # answered at 1.0, stored at 1.2

    during = await stack(ASK)
    await first

    assert (fake.calls, during.call.cache, during.call.joined) == (1, "hit", False)


@simulated_time
async def test_who_began_to_look_before_the_answer_came_gets_it() -> None:
    """A slow "not there" that is no longer true is not believed."""
    fake = FakeTransport([[1.0, "answer"]], repeat=True)
    stack = build_stack([Cache(Slow(after=0.2)), Dedup()], fake)
    first = asyncio.create_task(ask(stack, 0))
    await asyncio.sleep(1.19)  # looks until 1.39; asked at 0.2, answered at 1.2

    late = await stack(ASK)
    await first

    assert (fake.calls, late.call.cache) == (1, "hit")


@simulated_time
async def test_who_comes_in_the_turn_of_the_loop_in_which_the_flight_lands_joins_it() -> None:
    """The flight has its answer, the caller who will store it has not run yet: no turn in between is a gap."""
    for turns in range(12):
        fake = FakeTransport([[1.0, "answer"]], repeat=True)
        stack = build_stack([Cache(), Dedup()], fake)

        await asyncio.gather(ask(stack, 0), ask(stack, 1.0, turns=turns))

        assert fake.calls == 1


arrivals = st.lists(
    st.tuples(st.integers(0, 40).map(lambda tenths: tenths / 10), st.booleans(), st.integers(0, 8)),
    min_size=1,
    max_size=8,
)
pauses = st.sampled_from([0.0, 0.1, 0.2])


@settings(max_examples=300, deadline=None)
@simulated_time
@given(arrivals=arrivals, before=pauses, after=pauses, keeping=pauses, memory=st.booleans())
@example(arrivals=[(0.0, False, 0), (1.0, False, 3)], before=0.0, after=0.0, keeping=0.0, memory=True)
async def test_whenever_callers_come_and_however_slow_the_store_is_there_is_one_call(
    arrivals: list[tuple[float, bool, int]], before: float, after: float, keeping: float, *, memory: bool
) -> None:
    """Random arrivals, streams and paces of the store: one upstream call, one attempt on all ledgers together."""
    fake = FakeTransport([["an", 1.0, "swer"]], repeat=True)
    store = MemoryCache() if memory else Slow(before, after, keeping)
    stack = build_stack([Cache(store, store_timeout=None), Dedup()], fake)

    answers = await asyncio.gather(*(ask(stack, at, streams=streams, turns=turns) for at, streams, turns in arrivals))

    assert {response.text for response in answers} == {"answer"}
    assert fake.calls == 1
    assert sum(len(response.call.attempts) for response in answers) == 1


@settings(max_examples=200, deadline=None)
@simulated_time
@given(
    plan=st.lists(st.tuples(arrivals.map(lambda some: some[0]), st.none() | pauses.map(lambda p: p * 7)), max_size=6),
    before=pauses,
    keeping=pauses,
)
async def test_whoever_is_cancelled_nothing_stays_and_everything_is_paid_once(
    plan: list[tuple[tuple[float, bool, int], float | None]], before: float, keeping: float
) -> None:
    """Random callers, some of them cut, over a slow store: ledgers and calls agree, and no mark is left behind."""
    fake = FakeTransport([["an", 1.0, "swer"]], repeat=True)
    cache = Cache(Slow(before, 0.0, keeping), store_timeout=None)
    calls: list[Any] = []

    def note(call_next: Any) -> Any:
        def handle(request: Request) -> Any:
            calls.append(request.call)
            return call_next(request)

        return handle

    stack = build_stack([note, cache, Dedup()], fake)

    async def play(at: float, leaves: float | None, *, streams: bool, turns: int) -> None:
        caller = asyncio.create_task(ask(stack, at, streams=streams, turns=turns))
        await asyncio.wait([caller], timeout=None if leaves is None else at + leaves)
        caller.cancel()
        await asyncio.wait([caller])
        assert caller.cancelled() or caller.result().text == "answer"

    await asyncio.gather(*(play(at, leaves, streams=streams, turns=turns) for (at, streams, turns), leaves in plan))

    assert sum(len(call.attempts) for call in calls) == fake.calls
    assert fake.in_flight == 0
    assert not cache._shelf._coming
    assert not cache._shelf._looks


@simulated_time
async def test_without_dedup_each_concurrent_miss_makes_its_own_call() -> None:
    """A Cache alone joins nobody; sharing a call in flight is Dedup's concern."""
    fake = FakeTransport([[1.0, "answer"]], repeat=True)
    stack = build_stack([Cache()], fake)

    await asyncio.gather(*(ask(stack, 0) for _ in range(3)))

    assert fake.calls == 3


@simulated_time
async def test_when_the_first_caller_leaves_the_next_one_stores() -> None:
    """The answer is kept by whoever pays for it."""
    fake = FakeTransport([[1.0, "answer"]])
    stack = build_stack([Cache(), Dedup()], fake)
    first, second = (asyncio.create_task(ask(stack, 0)) for _ in range(2))
    await asyncio.sleep(0.5)

    first.cancel()
    await second

    assert (await stack(ASK)).call.cached


@simulated_time
async def test_an_error_that_was_shared_is_not_stored() -> None:
    """Everybody gets the error, the next one a new try."""
    stack = build_stack([Cache(), Dedup()], FakeTransport([[1.0, ServerError("down")], "fine"]))

    errors = await asyncio.gather(*(ask(stack, 0) for _ in range(3)), return_exceptions=True)

    assert [type(error) for error in errors] == [ServerError] * 3
    assert (await stack(ASK)).text == "fine"


@simulated_time
async def test_a_cache_below_dedup_marks_the_callers_call_as_cached() -> None:
    """The other order works too: the caller who pays for the flight sees that a cache answered it."""
    stack = build_stack([Dedup(), Cache()], FakeTransport(["answer"]))
    await stack(ASK)

    hit = await stack(ASK)

    assert (hit.call.cached, hit.call.cache, hit.call.cost) == (True, "hit", 0)
