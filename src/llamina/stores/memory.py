"""Answers kept in the memory of this process: bounded in entries and bytes, the least recently used leave first.

    store = MemoryCache(maxsize=10_000, ttl=3600, maxbytes=64 * 2**20)

It may be shared by several layers, event loops and threads. Time is the running loop's (`loop.time()`), so a jump of
the wall clock changes nothing and simulated time moves it.

The one surprise: `aclose` lets go of nothing and forgets nothing, since there is neither a file nor a thread, and
another stack may be using the same object; `clear` empties it.
"""

from __future__ import annotations

from asyncio import get_running_loop
from collections import OrderedDict
from collections.abc import Callable
from math import inf
from threading import Lock

import cachetools
import msgspec
from attrs import define, field
from attrs.setters import frozen

from llamina.policy._validate import at_least, optional, positive

from .base import Entry, refuse_lifetime

__all__ = ["MemoryCache"]

_SWEEP = 4
"""Entries looked at by one operation while something is due: fast enough to outrun what a `set` adds."""

_ANOTHER_CLOCK = 1.0
"""Seconds by which the clocks of two loops may differ (uvloop's stands still within an iteration). An entry from
further in the future was set under another clock, a simulated one say: its age is unknown, so it is a miss."""


class _Record(msgspec.Struct, gc=False):
    """One entry as it is held. Without a GC header, so that a full collection has 100,000 objects less to visit."""

    value: bytes
    stored_at: float
    fresh_until: float
    expires_at: float


_look: Callable[[cachetools.Cache[str, _Record], str], _Record] = cachetools.Cache.__getitem__
_put = cachetools.Cache.__setitem__
_remove = cachetools.Cache.__delitem__


class _Records(cachetools.Cache[str, _Record]):
    """cachetools' bounded mapping with an order of use, adding up the bytes it holds.

    Its own LRUCache keeps the order private: there a look at a record counts as a use, and an eviction costs twice
    as much, as it cannot call `OrderedDict.popitem`.
    """

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize)
        self.order: OrderedDict[str, None] = OrderedDict()
        self.nbytes = 0
        self.evictions = 0

    def __setitem__(self, key: str, record: _Record) -> None:
        if key in self.order:
            self.nbytes -= len(_look(self, key).value)
            self.order.move_to_end(key)
        _put(self, key, record)  # which calls popitem when a new key finds all places taken
        self.order[key] = None
        self.nbytes += len(record.value)

    def __delitem__(self, key: str) -> None:
        self.nbytes -= len(_look(self, key).value)
        _remove(self, key)
        del self.order[key]

    def popitem(self) -> tuple[str, _Record]:
        """Remove the record that was not used for the longest time."""
        key, _ = self.order.popitem(last=False)
        record = _look(self, key)
        _remove(self, key)
        self.nbytes -= len(record.value)
        self.evictions += 1
        return key, record


@define(eq=False, repr=False)
class MemoryCache:
    """A store in memory.

    Attributes:
        maxsize: entries at most.
        ttl: seconds for which an entry is fresh when `set` does not say; None: until it is evicted.
        maxbytes: sum of the values' sizes at most (256 MiB unless told otherwise), None for no bound. A value above it is not kept. What keys and
            bookkeeping take comes on top: about 0.5 KB an entry.

    Raises:
        ConfigurationError: a bound or the *ttl* makes no sense.
    """

    maxsize: int = field(
        default=10_000,
        validator=at_least(1, integer=True, remedy="leave Cache out of the stack to keep nothing"),
        on_setattr=frozen,
    )
    ttl: float | None = field(
        default=None, validator=optional(positive(remedy="leave it out for no end")), on_setattr=frozen
    )
    maxbytes: int | None = field(
        default=256 * 2**20,
        validator=optional(at_least(1, integer=True, remedy="None is no bound")),
        on_setattr=frozen,
    )
    _lock: Lock = field(init=False, factory=Lock)  # never held across an await
    _records: _Records = field(init=False)
    _round: list[str] = field(init=False, factory=list)
    _due: float = field(init=False, default=inf)
    _due_after_round: float = field(init=False, default=inf)
    _expirations: int = field(init=False, default=0)
    _oversized: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._records = _Records(self.maxsize)

    async def get(self, key: str, /) -> Entry | None:
        """The entry under *key*, or None if there is none or its time is over."""
        now = get_running_loop().time()
        records = self._records
        with self._lock:
            if now >= self._due:
                self._sweep(now)
            if key not in records.order:
                return None
            record = _look(records, key)
            age = now - record.stored_at
            if now >= record.expires_at or age < -_ANOTHER_CLOCK:
                del records[key]
                self._expirations += 1
                return None
            records.order.move_to_end(key)
        return Entry(record.value, max(0.0, age), now < record.fresh_until)

    async def set(self, key: str, value: bytes, /, *, ttl: float | None = None, stale: float = 0.0) -> None:
        """Keep a copy of *value* under *key*, fresh for *ttl* seconds and for *stale* seconds more."""
        if ttl is None:
            ttl = inf if self.ttl is None else self.ttl
        if not (ttl >= 0.0 and stale >= 0.0):
            refuse_lifetime(ttl, stale)
        now = get_running_loop().time()
        fresh_until = now + ttl
        expires_at = fresh_until + stale if stale else fresh_until
        # A join copies: an encoder's bytes may sit in a block of several times their length.
        record = _Record(b"".join((value, b"")), now, fresh_until, expires_at)
        size = len(value)
        records, maxbytes = self._records, self.maxbytes
        with self._lock:
            if now >= self._due:
                self._sweep(now)
            if expires_at <= now:
                self._forget(key)
                return
            if maxbytes is not None:
                self._forget(key)
                if size > maxbytes:
                    self._oversized += 1
                    return
                while records.nbytes + size > maxbytes:
                    records.popitem()
            records[key] = record
            if expires_at < self._due_after_round:
                self._due_after_round = expires_at
                if expires_at < self._due:
                    self._due = expires_at

    async def delete(self, key: str, /) -> None:
        """Forget *key*, if it is there."""
        with self._lock:
            self._forget(key)

    async def clear(self, prefix: str = "", /) -> None:
        """Forget every key that begins with *prefix*; without one, everything."""
        with self._lock:
            for key in [key for key in self._records if key.startswith(prefix)]:
                del self._records[key]

    async def aclose(self) -> None:
        """Nothing to let go of; the entries stay, as another stack may share them."""

    def stats(self) -> dict[str, int]:
        """Entries and bytes held, and how many entries left because of a bound or of time, or were too large."""
        with self._lock:
            return {
                "entries": len(self._records),
                "bytes": self._records.nbytes,
                "evictions": self._records.evictions,
                "expirations": self._expirations,
                "oversized": self._oversized,
            }

    def __repr__(self) -> str:
        with self._lock:
            entries, nbytes = len(self._records), self._records.nbytes
        return f"<MemoryCache of {entries} entries, {nbytes} bytes; maxsize={self.maxsize}, maxbytes={self.maxbytes}>"

    def _forget(self, key: str) -> None:
        if key in self._records.order:
            del self._records[key]

    def _sweep(self, now: float) -> None:
        """Free a few of the entries whose time is over.

        Looks at every entry in rounds, a few keys for each operation. `_due` is never later than the first expiry
        among the entries, so that no round is made in vain; it is known anew when a round has ended.
        """
        records = self._records
        if not self._round:
            self._round = list(records)
            self._due_after_round = inf
        for _ in range(min(_SWEEP, len(self._round))):
            key = self._round.pop()
            if key in records.order:
                expires_at = _look(records, key).expires_at
                if expires_at <= now:
                    del records[key]
                    self._expirations += 1
                elif expires_at < self._due_after_round:
                    self._due_after_round = expires_at
        if not self._round:
            self._due = self._due_after_round
