"""What a store is: opaque bytes under a string key, kept for a while.

    store = MemoryCache()
    await store.set("9f2c...", b'{"text": "Paris"}', ttl=60, stale=10)
    entry = await store.get("9f2c...")          # None, or: entry.value, entry.age, entry.fresh

To write a store of your own, write the six methods of `Store` and run `llamina.testing.store_contract.check_store`
over it.

The one surprise: a store speaks in durations only. A moment of one machine or of one event loop means nothing to
another, so each store keeps time on the clock that fits it (the loop's in memory, the wall clock in a file) and
nobody above has to know which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, Protocol, runtime_checkable

import msgspec

from llamina.errors import ConfigurationError

__all__ = ["Entry", "Store", "StoreError"]


class StoreError(Exception):
    """A store cannot do what it was asked: a disk is full, a file is locked or not ours, a server does not answer.

    It says nothing about the call in which it happened: who uses a store as a cache takes it for a miss.
    """


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What a store gives back.

    Attributes:
        value: the bytes that were set.
        age: seconds since they were set, never negative.
        fresh: whether *age* is still below the `ttl` they were set with; False in the `stale` seconds after it.
    """

    value: bytes
    age: float
    fresh: bool

    def __repr__(self) -> str:
        state = "fresh" if self.fresh else "stale"
        return f"<Entry of {len(self.value)} bytes, {state}, {self.age:.3f} s old>"


@runtime_checkable
class Store(Protocol):
    """Where answers are kept. Each method may be called from several tasks, threads and event loops at once.

    Any method may raise `StoreError`. A caller that is cancelled leaves the store usable.
    """

    async def get(self, key: str, /) -> Entry | None:
        """The entry under *key*, or None: never one that is older than its `ttl + stale`, never a damaged one."""

    async def set(self, key: str, value: bytes, /, *, ttl: float | None = None, stale: float = 0.0) -> None:
        """Keep *value* under *key*: fresh for *ttl* seconds, and for *stale* seconds more.

        With `ttl=None` the store's own default holds. What was under *key* is gone, also when the new value is not
        kept because it is larger than the store may hold, or because it would live for no time at all.

        Raises:
            ConfigurationError: *ttl* or *stale* is negative or not a number.
        """

    async def delete(self, key: str, /) -> None:
        """Forget *key*, if it is there."""

    async def clear(self, prefix: str = "", /) -> None:
        """Forget every key that begins with *prefix*; without one, everything."""

    async def aclose(self) -> None:
        """Finish what has begun, let go of threads, files and connections. Closing twice is closing once."""

    def stats(self) -> Mapping[str, Any]:
        """What the store has counted, as numbers; cheap, and never a key or a value."""


def refuse_lifetime(ttl: float, stale: float) -> NoReturn:
    """Raise the error for a *ttl* or *stale* that is not a length of time."""
    name, value = ("stale", stale) if ttl >= 0.0 else ("ttl", ttl)
    message = f"{name} must be a number of seconds, 0 or more, got {value!r}; leave it out to keep the store's default"
    raise ConfigurationError(message)
