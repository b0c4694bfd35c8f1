"""MemoryCache: bounds, time, threads."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from llamina.errors import ConfigurationError
from llamina.stores import MemoryCache
from llamina.testing import simulated_time

OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["set", "get", "delete"]), st.sampled_from("abcdef"), st.integers(0, 60)),
    min_size=15,
    max_size=60,
)


class LoopAt(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still."""

    def __init__(self, now: float) -> None:
        self.now = now
        super().__init__()

    def time(self) -> float:
        """Where the clock stands."""
        return self.now


def run_at(now: float, coroutine: Any) -> Any:
    """Run *coroutine* under a clock that shows *now*."""
    with asyncio.Runner(loop_factory=lambda: LoopAt(now)) as runner:
        return runner.run(coroutine)


async def held(store: MemoryCache, keys: str) -> str:
    """Those of *keys* that are in the store."""
    return "".join([key for key in keys if await store.get(key)])


@simulated_time
async def test_the_least_recently_used_entry_leaves_first() -> None:
    """When all places are taken, a read entry stays and the one that nobody used goes."""
    store = MemoryCache(maxsize=2)
    await store.set("a", b"1")
    await store.set("b", b"2")

    await store.get("a")
    await store.set("c", b"3")

    assert await held(store, "abc") == "ac"
    assert store.stats()["evictions"] == 1


@simulated_time
async def test_bytes_are_bounded() -> None:
    """Entries leave until the sum of the values fits."""
    store = MemoryCache(maxbytes=100)
    await store.set("a", bytes(40))
    await store.set("b", bytes(40))

    await store.set("c", bytes(70))

    assert await held(store, "abc") == "c"
    assert store.stats()["bytes"] == 70


@simulated_time
async def test_an_oversize_value_is_not_kept_and_takes_the_old_one_along() -> None:
    """A value that can never fit evicts nobody, and its key does not go on giving the old value."""
    store = MemoryCache(maxbytes=100)
    await store.set("a", b"old")
    await store.set("b", b"other")

    await store.set("a", bytes(101))

    assert await held(store, "ab") == "b"
    assert store.stats()["oversized"] == 1


@simulated_time
async def test_replacing_a_value_needs_no_room_for_both() -> None:
    """A new value for a key evicts nobody if it fits into the room of the old one."""
    store = MemoryCache(maxbytes=100)
    await store.set("a", bytes(50))
    await store.set("b", bytes(50))

    await store.set("b", bytes(40))

    assert await held(store, "ab") == "ab"
    assert store.stats()["bytes"] == 90


@given(OPERATIONS, st.integers(1, 5), st.none() | st.integers(1, 150))
def test_it_holds_what_a_model_of_it_holds(
    operations: list[tuple[str, str, int]], maxsize: int, maxbytes: int | None
) -> None:
    """Whatever is done to it, it holds what least-recently-used order and both bounds leave, and counts it right."""
    store, model, room = MemoryCache(maxsize, maxbytes=maxbytes), OrderedDict[str, bytes](), maxbytes or 10_000

    async def play() -> None:
        for verb, key, size in operations:
            if verb == "get":
                entry = await store.get(key)
                assert (entry and entry.value) == model.get(key)
                if key in model:
                    model.move_to_end(key)
                continue
            model.pop(key, None)
            if verb == "delete":
                await store.delete(key)
                continue
            await store.set(key, bytes(size))
            if size <= room:
                model[key] = bytes(size)
            while len(model) > maxsize or sum(map(len, model.values())) > room:
                model.popitem(last=False)
        assert set(await held(store, "abcdef")) == set(model)

    run_at(0.0, play())

    assert store.stats()["entries"] == len(model)
    assert store.stats()["bytes"] == sum(map(len, model.values()))


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9), st.integers(0, 9), st.integers(0, 5))))
def test_nothing_outlives_its_time(steps: list[tuple[str, int, int, int]]) -> None:
    """Whatever is set when, a read gives the last value within its time and None after it."""
    store, model, loop = MemoryCache(), dict[str, tuple[bytes, float, float]](), LoopAt(100.0)

    async def play() -> None:
        for number, (key, ttl, stale, pause) in enumerate(steps):
            value = b"%d" % number
            await store.set(key, value, ttl=ttl, stale=stale)
            model[key] = (value, loop.now + ttl, loop.now + ttl + stale)
            loop.now += pause
            for key_, (value_, fresh_until, expires_at) in model.items():
                entry = await store.get(key_)
                found = entry and (entry.value, entry.fresh)
                assert found == ((value_, loop.now < fresh_until) if loop.now < expires_at else None)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(play())


@simulated_time
async def test_what_has_expired_is_freed_by_reads_of_other_keys() -> None:
    """Nobody has to write, nor to ask for the expired keys, for their memory to be freed."""
    store = MemoryCache()
    await store.set("stays", b"value")
    for number in range(100):
        await store.set(f"key{number}", bytes(1000), ttl=10.0)
    await asyncio.sleep(11.0)

    for _ in range(100):
        await store.get("stays")

    assert store.stats()["entries"] == 1
    assert store.stats()["bytes"] == len(b"value")
    assert store.stats()["expirations"] == 100


@simulated_time
async def test_entries_that_came_during_a_sweep_are_freed_too() -> None:
    """An expiry that is nearer than those which the running sweep has seen is not overlooked."""
    store = MemoryCache()
    for number in range(50):
        await store.set(f"long{number}", b"", ttl=100.0)
    await store.set("due", b"", ttl=1.0)
    await asyncio.sleep(2.0)
    await store.get("x")  # the sweep has begun
    await store.set("late", b"", ttl=1.0)
    await asyncio.sleep(2.0)

    for _ in range(50):
        await store.get("x")

    assert store.stats()["entries"] == 50
    await asyncio.sleep(100.0)
    for _ in range(50):
        await store.get("x")
    assert store.stats()["entries"] == 0


def test_an_entry_is_gone_at_the_very_end_of_its_time() -> None:
    """Entries that end together are all gone when the clock shows their end, also those not yet freed."""
    store = MemoryCache(ttl=10.0)

    async def fill() -> None:
        for number in range(50):
            await store.set(str(number), b"value")

    run_at(100.0, fill())

    assert run_at(110.0, held(store, "0123456789")) == ""


@simulated_time
async def test_the_default_ttl_holds_where_a_set_names_none() -> None:
    """`ttl` of the store is for entries without one; a longer one of their own wins."""
    store = MemoryCache(ttl=10.0)
    await store.set("a", b"1")
    await store.set("b", b"2", ttl=60.0)

    await asyncio.sleep(11.0)

    assert await held(store, "ab") == "b"


def test_a_jump_of_the_wall_clock_changes_nothing() -> None:
    """An entry is as old as the loop's clock says, whatever happens to the date."""
    store = MemoryCache(ttl=10.0)

    async def play() -> None:
        with freeze_time("2026-01-01", real_asyncio=True) as frozen:
            await store.set("key", b"value")
            for date in ("2027-01-01", "2025-01-01"):
                frozen.move_to(date)
                entry = await store.get("key")
                assert entry is not None
                assert entry.age < 5.0

    asyncio.run(play())


def test_an_entry_of_a_clock_that_is_ahead_is_a_miss() -> None:
    """What was set under a simulated clock is not kept for ever by a loop whose clock shows less."""
    store = MemoryCache(ttl=10.0)
    run_at(1e9, store.set("key", b"value"))

    assert run_at(50.0, store.get("key")) is None
    assert store.stats()["entries"] == 0


def test_clocks_of_two_loops_may_differ_by_a_moment() -> None:
    """A loop that lags a little behind the one that set the entry finds it, and new."""
    store = MemoryCache(ttl=10.0)
    run_at(50.0, store.set("key", b"value"))

    entry = run_at(49.99, store.get("key"))

    assert entry is not None
    assert entry.age == 0.0


@simulated_time
async def test_a_value_is_copied() -> None:
    """Who goes on writing into a buffer does not write into the cache."""
    store = MemoryCache()
    buffer = bytearray(b"value")

    await store.set("key", buffer)
    buffer[:] = b"other"

    entry = await store.get("key")
    assert entry is not None
    assert entry.value == b"value"


@simulated_time
async def test_a_text_is_refused() -> None:
    """Values are bytes; a text has no size in bytes and is refused at once."""
    with pytest.raises(TypeError):
        await MemoryCache().set("key", "text")  # type: ignore[arg-type]


def test_threads_do_not_corrupt_it() -> None:
    """Eight threads with a loop each leave a store that still adds up and still works."""
    store = MemoryCache(maxsize=50, maxbytes=5_000)

    async def hammer(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(1500):
            key, verb = str(rng.randrange(100)), rng.random()
            if verb < 0.5:
                await store.set(key, bytes(rng.randrange(200)), ttl=rng.choice([None, 0.0, 0.001, 60.0]))
            elif verb < 0.9:
                await store.get(key)
            elif verb < 0.99:
                await store.delete(key)
            else:
                await store.clear(key)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda seed: asyncio.run(hammer(seed)), range(8)))
    finally:
        sys.setswitchinterval(interval)

    assert store.stats()["entries"] <= 50
    assert store.stats()["bytes"] <= 5_000
    asyncio.run(store.clear())
    assert (store.stats()["entries"], store.stats()["bytes"]) == (0, 0)


@simulated_time
async def test_entries_are_no_work_for_the_garbage_collector() -> None:
    """A thousand entries add next to nothing to what a full collection visits."""
    store = MemoryCache()
    gc.collect()
    before = len(gc.get_objects())

    for number in range(1000):
        await store.set(str(number), b"value", ttl=60.0)
    gc.collect()

    assert len(gc.get_objects()) - before < 100


@simulated_time
async def test_closing_it_keeps_the_entries() -> None:
    """A stack that closes does not empty the store that another stack shares."""
    store = MemoryCache()
    await store.set("key", b"value")

    await store.aclose()

    assert await store.get("key") is not None


@simulated_time
async def test_its_repr_shows_counts() -> None:
    """The repr says how full it is."""
    store = MemoryCache(maxsize=7, maxbytes=99)
    await store.set("key", b"value")

    assert repr(store) == "<MemoryCache of 1 entries, 5 bytes; maxsize=7, maxbytes=99>"


@pytest.mark.parametrize(
    ("field", "value"),
    [("maxsize", 0), ("maxsize", 1.5), ("maxsize", True), ("maxsize", None), ("maxbytes", 0), ("maxbytes", "1 MB")]
    + [("ttl", value) for value in (0, -1.0, float("nan"), float("inf"), "10")],
)
def test_a_setting_without_sense_is_refused(field: str, value: Any) -> None:
    """A wrong bound or ttl is found when the store is built, and the message names it."""
    with pytest.raises(ConfigurationError, match=field):
        MemoryCache(**{field: value})
