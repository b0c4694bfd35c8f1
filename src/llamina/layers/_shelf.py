"""A store as a cache sees it: never in the way, and without a gap between "answered" and "stored".

    shelf = Shelf(store, timeout=0.25, rest=5.0)
    found = shelf.look(key)                          # None when the store fails, or is too slow
    entry = await found if isawaitable(found) else found
    await shelf.put(key, value, ttl=60, stale=0.0)

A fault of the store is a miss and a warning; a store that did not answer in time is left alone for a while. When it was
the event loop that came late, nobody knows whether the store was slow: then it is a miss, and nothing more.

What a store takes long to keep is found all the same: while a `set` is under way its value is answered from here, and a
`get` that was under way when a value came gets that value in place of a miss that is no longer true.

The one surprise: a timer is armed only when the store really waits. A store in memory answers in its first step, and
pays nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import types
from asyncio import get_running_loop
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any

from llamina.stores.base import Entry, Store

__all__ = ["Shelf"]

_QUIET = 60.0
"""Seconds between two warnings of one cache at least."""

_LATE = 0.02
"""Seconds after which a timer that fires late says more about a busy event loop than about the store."""

_logger = logging.getLogger("llamina")


class _Look:
    """Those who wait for one key's `get`, and the value that came meanwhile."""

    __slots__ = ("value", "waiting")

    def __init__(self) -> None:
        self.value: bytes | None = None
        self.waiting = 0


class Shelf:
    """What one cache layer knows of its store."""

    __slots__ = ("_coming", "_looks", "_quiet_until", "_rest", "_rests_until", "_timeout", "errors", "store")

    def __init__(self, store: Store, *, timeout: float | None, rest: float) -> None:
        self.store = store
        self.errors = 0
        self._timeout = timeout
        self._rest = rest
        self._rests_until: float | None = None
        self._quiet_until: float | None = None
        self._coming: dict[str, bytes] = {}  # values whose `set` has not ended
        self._looks: dict[str, _Look] = {}  # keys whose `get` has not ended

    def look(self, key: str) -> Entry | Awaitable[Entry | None] | None:
        """The entry under *key* if the store answers in its first step, else what to await for it; None: a miss."""
        if self._coming and (value := self._coming.get(key)) is not None:
            return Entry(value, 0.0, True)
        if self._rests_until is not None and self._rests():
            return None
        try:
            getting: Any = self.store.get(key)
            try:
                waits_for = getting.send(None)
            except StopIteration as found:
                return _entry(found.value)
        except Exception as error:  # noqa: BLE001 - a broken store is a miss, whatever breaks in it
            self.failed("get", error)
            return None
        return self._wait(key, getting, waits_for)

    async def _wait(self, key: str, getting: Coroutine[Any, Any, Entry | None], waits_for: Any) -> Entry | None:
        look = self._looks.setdefault(key, _Look())
        look.waiting += 1
        entry = None
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                entry = _entry(await _rest_of(getting, waits_for))
        except Exception as error:  # noqa: BLE001 - as above
            self.failed("get", error, rest=not _late(limit))
        finally:
            look.waiting -= 1
            if not look.waiting:
                self._looks.pop(key, None)
        if look.value is not None and (entry is None or not entry.fresh):
            return Entry(look.value, 0.0, True)
        return entry

    async def put(self, key: str, value: bytes, *, ttl: float | None, stale: float) -> bool:
        """Store *value* and say whether the store took it; found by `look` from now on."""
        look = self._looks.get(key)
        if look is not None:
            look.value = value
        if self._rests_until is not None and self._rests():
            return False
        limit = asyncio.timeout(self._timeout)
        try:
            setting: Any = self.store.set(key, value, ttl=ttl, stale=stale)
            try:
                waits_for = setting.send(None)
            except StopIteration:
                return True
            self._coming[key] = value
            try:
                async with limit:
                    await _rest_of(setting, waits_for)
            finally:
                if self._coming.get(key) is value:
                    del self._coming[key]
        except Exception as error:  # noqa: BLE001 - as above
            self.failed("set", error, rest=not _late(limit))
            return False
        return True

    async def drop(self, key: str) -> None:
        """Forget *key*, if the store can."""
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                await self.store.delete(key)
        except Exception as error:  # noqa: BLE001 - as above
            self.failed("delete", error, rest=not _late(limit))

    def failed(self, doing: str, error: Exception, *, rest: bool = True) -> None:
        """Count a fault, leave a store that hangs alone for a while (if *rest*), and warn once a minute."""
        self.errors += 1
        now = get_running_loop().time()
        if rest and isinstance(error, TimeoutError):
            self._rests_until = now + self._rest
        quiet_until = self._quiet_until
        if quiet_until is not None and now < quiet_until:
            return
        self._quiet_until = now + _QUIET
        with contextlib.suppress(Exception):  # a log handler that raises fails no call either
            # Only the kind of the error: its text may hold the address of a server with a password in it.
            _logger.warning(
                "the cache goes on without its store: %s.%s raised %s; further faults of this minute are only counted, "
                "as cache.errors",
                type(self.store).__name__,
                doing,
                type(error).__name__,
            )

    def _rests(self) -> bool:
        until = self._rests_until  # read once: a thread with a loop of its own may clear it meanwhile
        if until is None:
            return False
        if get_running_loop().time() < until:
            return True
        self._rests_until = None
        return False


def _late(limit: asyncio.Timeout) -> bool:
    """Whether *limit* struck so late that the loop was held up."""
    when = limit.when()
    return limit.expired() and when is not None and get_running_loop().time() - when > _LATE


def _entry(found: Any) -> Entry | None:
    if found is None or isinstance(found, Entry):
        return found
    raise TypeError(f"a store's get must return an Entry or None, got {type(found).__name__}")


@types.coroutine
def _rest_of(coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> Generator[Any, Any, Any]:
    """Go on with a coroutine that has made its first step, and waits for *waits_for*."""
    while True:
        thrown: BaseException | None = None
        sent = None
        try:
            sent = yield waits_for
        except BaseException as error:  # noqa: BLE001 - handed on to the coroutine, where it belongs
            thrown = error
        try:
            waits_for = coroutine.send(sent) if thrown is None else coroutine.throw(thrown)
        except StopIteration as done:
            return done.value
