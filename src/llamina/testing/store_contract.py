"""What every store must do, as a check that runs over yours.

    def test_my_store_keeps_the_contract():
        check_store(lambda: MyStore(url, prefix=uuid4().hex))

Each clause gets a new store, runs in simulated time, and closes the store. The clauses that do not hold come together in
one `ConformanceError`, which names them and says what was found instead.

The one surprise: expiry is tested by letting simulated seconds pass. A store whose clock simulated time does not move
(a server of its own process, say) cannot keep the clauses about time: pass `timed=False`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeAlias

from llamina.stores.base import Store

from .clock import simulated_time
from .conformance import Broken, ConformanceError

__all__ = ["check_store"]

Clause: TypeAlias = Callable[[Store], Awaitable[None]]

_SECRET = "the answer is forty-two"  # noqa: S105 - it stands for a prompt, which must not be shown either


def check_store(factory: Callable[[], Store], *, timed: bool = True) -> list[str]:
    """Run every clause over a store of its own; the names of the clauses that held.

    Args:
        factory: makes a store that is empty and has no default `ttl`.
        timed: whether simulated time moves the store's clock.

    Raises:
        ConformanceError: clauses were broken; the message and `.broken` say which and how.
        RuntimeError: called inside a running event loop.
    """
    clauses = _CLAUSES + (_TIMED_CLAUSES if timed else ())
    findings = [_check(factory, clause) for clause in clauses]
    broken = [finding for finding in findings if finding is not None]
    if broken:
        raise ConformanceError(type(factory()).__name__, broken, of="the contract of stores")
    return [_name(clause) for clause in clauses]


def _name(clause: Clause) -> str:
    return clause.__name__.removeprefix("_")


def _check(factory: Callable[[], Store], clause: Clause) -> Broken | None:
    @simulated_time
    async def run() -> None:
        store = factory()
        try:
            await clause(store)
        finally:
            await store.aclose()

    try:
        run()
    except Exception as error:  # noqa: BLE001 - whatever a store raises is a finding
        seen = str(error) if isinstance(error, _FoundError) else f"{type(error).__name__}: {error}"
        return Broken(_name(clause), clause.__doc__ or "", seen)
    return None


class _FoundError(AssertionError):
    """What was found instead of what the clause says; its text goes into the report."""


def _broken(seen: str) -> NoReturn:
    raise _FoundError(seen)


async def _expect(store: Store, key: str, value: bytes | None) -> None:
    entry = await store.get(key)
    found = None if entry is None else entry.value
    if found != value:
        _broken(f"get({key!r}) gave {found!r} in place of {value!r}")


async def _bytes_come_back(store: Store) -> None:
    """A value comes back byte for byte, as bytes."""
    for value in (b"", b"\0", bytes(range(256)) * 40, "é\ud7ff☃".encode()):
        await store.set("key", value)

        await _expect(store, "key", value)
        entry = await store.get("key")
        if entry is None or type(entry.value) is not bytes:
            _broken(f"the value is of type {type(entry and entry.value).__name__}")


async def _unknown_is_none(store: Store) -> None:
    """A key that was never set is None, and deleting it is no error."""
    await _expect(store, "unknown", None)
    await store.delete("unknown")


async def _last_one_wins(store: Store) -> None:
    """A second set replaces the first."""
    await store.set("key", b"first")
    await store.set("key", b"second")

    await _expect(store, "key", b"second")


async def _delete_is_one_key(store: Store) -> None:
    """Delete forgets one key and no other."""
    await store.set("a", b"1")
    await store.set("ab", b"2")

    await store.delete("a")

    await _expect(store, "a", None)
    await _expect(store, "ab", b"2")


async def _clear_forgets_all(store: Store) -> None:
    """Clear forgets everything."""
    for key in ("a", "b", ""):
        await store.set(key, b"value")

    await store.clear()

    for key in ("a", "b", ""):
        await _expect(store, key, None)


async def _clear_goes_by_prefix(store: Store) -> None:
    """Clear with a prefix forgets the keys that begin with it, whatever its characters mean elsewhere."""
    for prefix in ("a_", "a%", "a*", "a?", "[a]", "a:", "a\\", "é"):
        await store.clear()
        for key in (prefix, prefix + "1", "b" + prefix, "axx"):
            await store.set(key, b"value")

        await store.clear(prefix)

        for key, value in ((prefix, None), (prefix + "1", None), ("b" + prefix, b"value"), ("axx", b"value")):
            await _expect(store, key, value)


async def _keys_are_exact(store: Store) -> None:
    """Two keys that differ in anything are two entries."""
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


async def _kept_without_ttl(store: Store) -> None:
    """An entry without a ttl is fresh and young."""
    await store.set("key", b"value")

    entry = await store.get("key")

    if entry is None or not entry.fresh or not 0.0 <= entry.age < 1.0:
        _broken(f"get gave {entry!r}")


async def _no_time_is_no_entry(store: Store) -> None:
    """With a ttl of 0 nothing is kept, and what was there is gone."""
    await store.set("key", b"old")

    await store.set("key", b"new", ttl=0.0)

    await _expect(store, "key", None)


async def _lengths_are_lengths(store: Store) -> None:
    """A ttl or a stale that is negative or NaN is refused with a ValueError, and nothing is kept."""
    for ttl, stale in ((-1.0, 0.0), (math.nan, 0.0), (1.0, -1.0), (1.0, math.nan)):
        try:
            await store.set("key", b"value", ttl=ttl, stale=stale)
        except ValueError:
            await _expect(store, "key", None)
        else:
            _broken(f"ttl={ttl}, stale={stale} was taken")


async def _many_at_once(store: Store) -> None:
    """Many callers at once do not get in each other's way."""

    async def visit(number: int) -> None:
        key, value = f"key{number % 7}", str(number % 7).encode()
        await store.set(key, value)
        await _expect(store, key, value)

    await asyncio.gather(*(visit(number) for number in range(70)))


async def _cancelled_callers_leave(store: Store) -> None:
    """A caller that is cancelled raises CancelledError and leaves the store usable."""
    for steps in range(6):
        callers = [asyncio.ensure_future(store.set("a", b"value")), asyncio.ensure_future(store.get("a"))]
        for _ in range(steps):
            await asyncio.sleep(0)
        for caller in callers:
            caller.cancel()
        for outcome in await asyncio.gather(*callers, return_exceptions=True):
            if isinstance(outcome, Exception):
                _broken(f"a cancelled caller got {outcome!r}")

        await store.set("b", b"%d" % steps)
        await _expect(store, "b", b"%d" % steps)


async def _closing_twice(store: Store) -> None:
    """A store can be closed unused, and twice."""
    await store.aclose()
    await store.aclose()


async def _no_content_shown(store: Store) -> None:
    """Neither repr nor stats show a key or a value, and stats are numbers."""
    await store.set(_SECRET, _SECRET.encode())
    entry = await store.get(_SECRET)

    shown = f"{store!r} {store.stats()!r} {entry!r}"
    if _SECRET in shown:
        _broken(f"they show {shown}")
    for name, value in store.stats().items():
        if not isinstance(value, int | float):
            _broken(f"stats()[{name!r}] is {value!r}")


async def _fresh_then_stale_then_gone(store: Store) -> None:
    """An entry is fresh for `ttl` seconds, stale for `stale` more, then gone."""
    await store.set("key", b"value", ttl=10.0, stale=5.0)

    for pause, wanted in ((9.0, True), (2.0, False), (3.0, False), (2.0, None)):
        await asyncio.sleep(pause)
        entry = await store.get("key")
        found = None if entry is None else entry.fresh
        if found is not wanted:
            _broken(f"after {pause} more seconds fresh is {found}, not {wanted}")


async def _gone_at_its_time(store: Store) -> None:
    """Without `stale` an entry is gone when its ttl is over."""
    await store.set("key", b"value", ttl=10.0)

    await asyncio.sleep(10.001)

    await _expect(store, "key", None)


async def _age_counts_seconds(store: Store) -> None:
    """`age` is the number of seconds since the last set."""
    await store.set("key", b"old", ttl=100.0)
    await asyncio.sleep(50.0)
    await store.set("key", b"new", ttl=100.0)
    await asyncio.sleep(60.0)

    entry = await store.get("key")

    if entry is None or not 59.9 < entry.age < 60.1:
        _broken(f"60 seconds after the set, get gave {entry!r}")


async def _set_renews_the_time(store: Store) -> None:
    """A set takes over with its own time, be it longer or shorter than the one before."""
    await store.set("longer", b"value", ttl=1.0)
    await store.set("longer", b"value", ttl=100.0)
    await store.set("shorter", b"value", ttl=100.0)
    await store.set("shorter", b"value", ttl=1.0)

    await asyncio.sleep(50.0)

    await _expect(store, "longer", b"value")
    await _expect(store, "shorter", None)


async def _reading_prolongs_nothing(store: Store) -> None:
    """Reading an entry does not prolong it."""
    await store.set("key", b"value", ttl=10.0)

    for _ in range(4):
        await asyncio.sleep(3.0)
        await store.get("key")

    await _expect(store, "key", None)


_CLAUSES: tuple[Clause, ...] = (
    _bytes_come_back,
    _unknown_is_none,
    _last_one_wins,
    _delete_is_one_key,
    _clear_forgets_all,
    _clear_goes_by_prefix,
    _keys_are_exact,
    _kept_without_ttl,
    _no_time_is_no_entry,
    _lengths_are_lengths,
    _many_at_once,
    _cancelled_callers_leave,
    _closing_twice,
    _no_content_shown,
)
_TIMED_CLAUSES: tuple[Clause, ...] = (
    _fresh_then_stale_then_gone,
    _gone_at_its_time,
    _age_counts_seconds,
    _set_renews_the_time,
    _reading_prolongs_nothing,
)
