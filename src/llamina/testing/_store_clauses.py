"""The clauses of the contract of stores: bytes under a key, for a while."""

from __future__ import annotations

import asyncio
import math

from llamina.stores.base import Store

from ._bench import Clauses, Seen

__all__ = ["STORE", "STORE_TIMED"]

STORE = Clauses()
STORE_TIMED = Clauses()
_clause = STORE.clause
_timed_clause = STORE_TIMED.clause

_SECRET = "the answer is forty-two"  # noqa: S105 - it stands for a prompt, which must not be shown either


async def _expect(store: Store, key: str, value: bytes | None) -> None:
    entry = await store.get(key)
    found = None if entry is None else entry.value
    if found != value:
        raise Seen(f"get({key!r}) gave {found!r} in place of {value!r}")


@_clause("bytes-come-back", "a value comes back byte for byte, as bytes", "12.1")
async def _bytes_come_back(store: Store) -> None:
    for value in (b"", b"\0", bytes(range(256)) * 40, "é\ud7ff☃".encode()):
        await store.set("key", value)

        await _expect(store, "key", value)
        entry = await store.get("key")
        if entry is None or type(entry.value) is not bytes:
            raise Seen(f"the value is of type {type(entry and entry.value).__name__}")


@_clause("unknown-is-none", "a key that was never set is None, and deleting it is no error", "12.1")
async def _unknown_is_none(store: Store) -> None:
    await _expect(store, "unknown", None)
    await store.delete("unknown")


@_clause("last-one-wins", "a second set replaces the first", "12.2")
async def _last_one_wins(store: Store) -> None:
    await store.set("key", b"first")
    await store.set("key", b"second")

    await _expect(store, "key", b"second")


@_clause("delete-is-one-key", "delete forgets one key and no other", "12.2")
async def _delete_is_one_key(store: Store) -> None:
    await store.set("a", b"1")
    await store.set("ab", b"2")

    await store.delete("a")

    await _expect(store, "a", None)
    await _expect(store, "ab", b"2")


@_clause("clear-forgets-all", "clear forgets everything", "12.2")
async def _clear_forgets_all(store: Store) -> None:
    for key in ("a", "b", ""):
        await store.set(key, b"value")

    await store.clear()

    for key in ("a", "b", ""):
        await _expect(store, key, None)


@_clause(
    "clear-goes-by-prefix",
    "clear with a prefix forgets the keys that begin with it, whatever its characters mean elsewhere",
    "12.2",
)
async def _clear_goes_by_prefix(store: Store) -> None:
    for prefix in ("a_", "a%", "a*", "a?", "[a]", "a:", "a\\", "é"):
        await store.clear()
        for key in (prefix, prefix + "1", "b" + prefix, "axx"):
            await store.set(key, b"value")

        await store.clear(prefix)

        for key, value in ((prefix, None), (prefix + "1", None), ("b" + prefix, b"value"), ("axx", b"value")):
            await _expect(store, key, value)


@_clause("keys-are-exact", "two keys that differ in anything are two entries", "12.1")
async def _keys_are_exact(store: Store) -> None:
    keys = [
        "k",
        "K",
        "k ",
        " k",
        "k\0",
        "k\0x",
        "",
        "é",
        "e\u0301",
        "1",
        "1.0",
        "n:k",
        "n",
        ":k",
        "k" * 1000,
        "k" * 1001,
    ]
    for number, key in enumerate(keys):
        await store.set(key, str(number).encode())

    for number, key in enumerate(keys):
        await _expect(store, key, str(number).encode())


@_clause("kept-without-ttl", "an entry without a ttl is fresh and young", "12.3")
async def _kept_without_ttl(store: Store) -> None:
    await store.set("key", b"value")

    entry = await store.get("key")

    if entry is None or not entry.fresh or not 0.0 <= entry.age < 1.0:
        raise Seen(f"get gave {entry!r}")


@_clause("no-time-is-no-entry", "with a ttl of 0 nothing is kept, and what was there is gone", "12.3")
async def _no_time_is_no_entry(store: Store) -> None:
    await store.set("key", b"old")

    await store.set("key", b"new", ttl=0.0)

    await _expect(store, "key", None)


@_clause(
    "lengths-are-lengths",
    "a ttl or a stale that is negative or NaN is refused with a ValueError, and nothing is kept",
    "12.3",
)
async def _lengths_are_lengths(store: Store) -> None:
    for ttl, stale in ((-1.0, 0.0), (math.nan, 0.0), (1.0, -1.0), (1.0, math.nan)):
        try:
            await store.set("key", b"value", ttl=ttl, stale=stale)
        except ValueError:
            await _expect(store, "key", None)
        else:
            raise Seen(f"ttl={ttl}, stale={stale} was taken")


@_clause("many-at-once", "many callers at once do not get in each other's way", "12.5")
async def _many_at_once(store: Store) -> None:

    async def visit(number: int) -> None:
        key, value = f"key{number % 7}", str(number % 7).encode()
        await store.set(key, value)
        await _expect(store, key, value)

    await asyncio.gather(*(visit(number) for number in range(70)))


@_clause(
    "cancelled-callers-leave", "a caller that is cancelled raises CancelledError and leaves the store usable", "12.5"
)
async def _cancelled_callers_leave(store: Store) -> None:
    for steps in range(6):
        callers = [asyncio.ensure_future(store.set("a", b"value")), asyncio.ensure_future(store.get("a"))]
        for _ in range(steps):
            await asyncio.sleep(0)
        for caller in callers:
            caller.cancel()
        for outcome in await asyncio.gather(*callers, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise Seen(f"a cancelled caller got {outcome!r}")

        await store.set("b", b"%d" % steps)
        await _expect(store, "b", b"%d" % steps)


@_clause("closing-twice", "a store can be closed unused, and twice", "12.6")
async def _closing_twice(store: Store) -> None:
    await store.aclose()
    await store.aclose()


@_clause("no-content-shown", "neither repr nor stats show a key or a value, and stats are numbers", "12.7")
async def _no_content_shown(store: Store) -> None:
    await store.set(_SECRET, _SECRET.encode())
    entry = await store.get(_SECRET)

    shown = f"{store!r} {store.stats()!r} {entry!r}"
    if _SECRET in shown:
        raise Seen(f"they show {shown}")
    for name, value in store.stats().items():
        if not isinstance(value, int | float):
            raise Seen(f"stats()[{name!r}] is {value!r}")


@_timed_clause(
    "fresh-then-stale-then-gone", "an entry is fresh for `ttl` seconds, stale for `stale` more, then gone", "12.4"
)
async def _fresh_then_stale_then_gone(store: Store) -> None:
    await store.set("key", b"value", ttl=10.0, stale=5.0)

    for pause, wanted in ((9.0, True), (2.0, False), (3.0, False), (2.0, None)):
        await asyncio.sleep(pause)
        entry = await store.get("key")
        found = None if entry is None else entry.fresh
        if found is not wanted:
            raise Seen(f"after {pause} more seconds fresh is {found}, not {wanted}")


@_timed_clause("gone-at-its-time", "without `stale` an entry is gone when its ttl is over", "12.4")
async def _gone_at_its_time(store: Store) -> None:
    await store.set("key", b"value", ttl=10.0)

    await asyncio.sleep(10.001)

    await _expect(store, "key", None)


@_timed_clause("age-counts-seconds", "`age` is the number of seconds since the last set", "12.4")
async def _age_counts_seconds(store: Store) -> None:
    await store.set("key", b"old", ttl=100.0)
    await asyncio.sleep(50.0)
    await store.set("key", b"new", ttl=100.0)
    await asyncio.sleep(60.0)

    entry = await store.get("key")

    if entry is None or not 59.9 < entry.age < 60.1:
        raise Seen(f"60 seconds after the set, get gave {entry!r}")


@_timed_clause(
    "set-renews-the-time", "a set takes over with its own time, be it longer or shorter than the one before", "12.4"
)
async def _set_renews_the_time(store: Store) -> None:
    await store.set("longer", b"value", ttl=1.0)
    await store.set("longer", b"value", ttl=100.0)
    await store.set("shorter", b"value", ttl=100.0)
    await store.set("shorter", b"value", ttl=1.0)

    await asyncio.sleep(50.0)

    await _expect(store, "longer", b"value")
    await _expect(store, "shorter", None)


@_timed_clause("reading-prolongs-nothing", "reading an entry does not prolong it", "12.4")
async def _reading_prolongs_nothing(store: Store) -> None:
    await store.set("key", b"value", ttl=10.0)

    for _ in range(4):
        await asyncio.sleep(3.0)
        await store.get("key")

    await _expect(store, "key", None)
