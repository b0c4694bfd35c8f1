"""Answers kept in a SQLite file: they outlive the process, and several processes can share them.

    store = SQLiteCache("~/.cache/myapp/answers.db", namespace="v1", ttl=7 * 86400)
    ...
    await store.aclose()

The file is in WAL mode and is opened at first use, in two threads of the store's own: one reads, one writes. The
event loop is never blocked. Sets that come together are committed together; `set` returns when its value is
committed, so whoever reads after it, in whatever process, finds it. With `synchronous="normal"` a crash of the process
loses nothing that was committed, a crash of the machine may lose the last moments but leaves the file whole.

Time is the wall clock, the only one that processes share. When it is set back, entries "from the future" are
misses, so none lives longer than its time.

A damaged row is a miss. A damaged file is renamed (`answers.db.damaged-1`), never deleted, and a new one is begun.
Everything else that goes wrong is a `StoreError`. After a fork the child opens the file anew by itself.

The one surprise: after `aclose` the object can be used again, as it opens the file at the next use. So two stacks can
share one store and each close it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
import time
from collections.abc import Sequence
from functools import partial
from math import inf
from pathlib import Path
from threading import Lock
from typing import Any
from zlib import crc32

from attrs import Attribute, define, field
from attrs.setters import frozen

from llamina.errors import ConfigurationError
from llamina.policy._validate import at_least, optional, positive

from ._lane import Lane, Outcome
from ._sqlite_file import SYNCHRONOUS, Job, Link
from .base import Entry, StoreError, refuse_lifetime

__all__ = ["SQLiteCache"]

_ROW_VERSION = 1
"""Part of every row's checksum: a row of another version is a damaged one."""

_CLOCK_STEP = 60.0
"""Seconds by which the wall clock may be set back without making misses of what was stored just before."""

_SWEEP = 100
"""Expired rows removed by one transaction at most, so that none takes long."""

_LARGEST = 2**29
"""Bytes of a value that any SQLite takes; a larger one would make the whole transaction fail."""

_pack_times = struct.Struct("<3d").pack

_SELECT = """SELECT rank, checksum, value, stored_at, fresh_until, expires_at FROM entries
    WHERE namespace = ? AND key = ?"""
_REPLACE = """REPLACE INTO entries (namespace, key, value, checksum, stored_at, fresh_until, expires_at)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
_DELETE = "DELETE FROM entries WHERE namespace = ? AND key = ?"
_DELETE_ROW = "DELETE FROM entries WHERE rank = ? AND stored_at = ?"
_DELETE_RANGE = "DELETE FROM entries WHERE namespace = ? AND key >= ? AND key < ?"
_DELETE_EXPIRED = """DELETE FROM entries WHERE rank IN
    (SELECT rank FROM entries WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"""


class _Session:
    """What is open between the first use and `aclose`: two threads with a connection each."""

    def __init__(self, store: SQLiteCache) -> None:
        self.pid = os.getpid()
        options: dict[str, Any] = {"synchronous": store.synchronous, "busy_timeout": store.busy_timeout}
        self._links = Link(store.path, **options), Link(store.path, **options)
        reading, writing = self._links
        self.reader: Lane[Job] = Lane("llamina-sqlite-read", partial(reading.transaction, "BEGIN"))

        def write(jobs: Sequence[Job]) -> Sequence[Outcome]:
            return writing.transaction("BEGIN IMMEDIATE", [*jobs, store._trim])[:-1]

        self.writer: Lane[Job] = Lane("llamina-sqlite-write", write)

    def forget_if_inherited(self) -> bool:
        """Whether the session is a parent process's, of whose threads a fork has made no copies."""
        if self.pid == os.getpid():
            return False
        _inherited.append(self)
        return True

    async def aclose(self) -> None:
        """Do what waits, then close the connections in their threads and end these."""
        reading, writing = self._links
        try:
            await self.reader.aclose(reading.close)
        finally:
            await self.writer.aclose(writing.close)


_inherited: list[_Session] = []
"""Sessions of a parent process. Closing one, or letting it be collected, would take the parent's locks away."""


def _to_path(path: str | os.PathLike[str]) -> Path:
    if not os.fspath(path) or os.fspath(path) == ":memory:":
        raise ConfigurationError(f"SQLiteCache.path must name a file, got {path!r}; use MemoryCache to keep none")
    return Path(path).expanduser().absolute()


def _check_namespace(_: SQLiteCache, __: Attribute[str], value: object) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(f"SQLiteCache.namespace must be a text, got {value!r}; leave it out to need none")


def _check_synchronous(_: SQLiteCache, __: Attribute[str], value: object) -> None:
    if value not in SYNCHRONOUS:
        choices = ", ".join([repr(choice) for choice in SYNCHRONOUS])
        raise ConfigurationError(
            f"SQLiteCache.synchronous must be one of {choices}, got {value!r}; leave it at 'normal'"
        )


@define(eq=False, repr=False)
class SQLiteCache:
    """A store in a SQLite file.

    Attributes:
        path: the file; it and its folder are made when missing, for the owner's eyes only.
        namespace: keeps apart those who share the file; the same key in two namespaces is two entries.
        ttl: seconds for which an entry is fresh when `set` does not say; None: until it is evicted.
        maxsize: entries in the file at most, all namespaces together; None for no bound.
        maxbytes: sum of the values' sizes in the file at most. What was stored first leaves first. The file is about
            a fifth larger, and keeps its largest size.
        synchronous: "off", "normal" or "full", as SQLite's pragma.
        busy_timeout: seconds to wait for another process that is writing.

    Raises:
        ConfigurationError: a setting makes no sense.
    """

    path: Path = field(converter=_to_path, on_setattr=frozen)
    namespace: str = field(default="", validator=_check_namespace, on_setattr=frozen)
    ttl: float | None = field(
        default=None, validator=optional(positive(remedy="leave it out for no end")), kw_only=True, on_setattr=frozen
    )
    maxsize: int | None = field(
        default=None,
        validator=optional(at_least(1, integer=True, remedy="leave it out for no bound")),
        kw_only=True,
        on_setattr=frozen,
    )
    maxbytes: int = field(
        default=2**30,
        validator=at_least(1, integer=True, remedy="leave it out for 1 GiB"),
        kw_only=True,
        on_setattr=frozen,
    )
    synchronous: str = field(default="normal", validator=_check_synchronous, kw_only=True, on_setattr=frozen)
    busy_timeout: float = field(default=5.0, validator=positive(), kw_only=True, on_setattr=frozen)
    _space: bytes = field(init=False)
    _lock: Lock = field(init=False, factory=Lock)
    _session: _Session | None = field(init=False, default=None)
    _counts: dict[str, int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._space = _encode(self.namespace)
        self._counts = dict.fromkeys(("entries", "bytes", "evictions", "expirations", "oversized", "damaged"), 0)

    async def get(self, key: str, /) -> Entry | None:
        """The entry under *key*, or None if there is none, its time is over, or its row is damaged."""
        key_bytes = _encode(key)
        row = await self._run(self._open().reader, partial(_find, (self._space, key_bytes)))
        if row is None:
            return None
        now = time.time()
        rank, checksum, value, stored_at, fresh_until, expires_at = row
        is_sound = _is_sound(checksum, key_bytes, value, stored_at, fresh_until, expires_at)
        if is_sound and stored_at - _CLOCK_STEP <= now < expires_at:
            return Entry(value, max(0.0, now - stored_at), now < fresh_until)
        self._counts["expirations" if is_sound else "damaged"] += 1
        # Removed at once: a file that is only read would keep it, and a clock set back would bring it back.
        with contextlib.suppress(StoreError):
            await self._write(_DELETE_ROW, rank, stored_at)
        return None

    async def set(self, key: str, value: bytes, /, *, ttl: float | None = None, stale: float = 0.0) -> None:
        """Keep *value* under *key*, fresh for *ttl* seconds and for *stale* seconds more; return when committed.

        If the caller is cancelled meanwhile, the value may have been kept or not.
        """
        if ttl is None:
            ttl = inf if self.ttl is None else self.ttl
        if not (ttl >= 0.0 and stale >= 0.0):
            refuse_lifetime(ttl, stale)
        if ttl + stale == 0.0:
            return await self.delete(key)
        if len(value) > min(self.maxbytes, _LARGEST):
            self._counts["oversized"] += 1
            return await self.delete(key)
        now = time.time()
        key_bytes, value, times = _encode(key), bytes(value), (now, now + ttl, now + ttl + stale)
        checksum = _checksum(key_bytes, value, *times)
        await self._write(_REPLACE, self._space, key_bytes, value, checksum, *times)
        return None

    async def delete(self, key: str, /) -> None:
        """Forget *key*, if it is there."""
        await self._write(_DELETE, self._space, _encode(key))

    async def clear(self, prefix: str = "", /) -> None:
        """Forget every key of this namespace that begins with *prefix*; without one, all of them."""
        start = _encode(prefix)
        end = start + b"\xff"  # a byte that no encoded text has, above all that could follow
        await self._write(_DELETE_RANGE, self._space, start, end)

    async def aclose(self) -> None:
        """Commit what waits, close the file and end both threads. The next use opens them again."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None and not session.forget_if_inherited():
            await session.aclose()

    def stats(self) -> dict[str, int]:
        """Entries and bytes in the file when this object last wrote, and how many left, by reason, through it."""
        return dict(self._counts)

    def __repr__(self) -> str:
        return f"<SQLiteCache at {str(self.path)!r}, namespace={self.namespace!r}>"

    def _open(self) -> _Session:
        with self._lock:
            if self._session is None or self._session.forget_if_inherited():
                self._session = _Session(self)
            return self._session

    async def _write(self, statement: str, *values: Any) -> None:
        await self._run(self._open().writer, partial(_change, statement, values))

    async def _run(self, lane: Lane[Job], job: Job) -> Any:
        try:
            return await lane.run(job)
        except (sqlite3.Error, OSError, RuntimeError) as error:
            raise StoreError(f"the cache file {self.path} cannot be used: {error}") from error

    def _trim(self, connection: sqlite3.Connection) -> None:
        """Part of every transaction that writes: remove what has expired, then the oldest until the bounds hold."""
        counts = self._counts
        counts["expirations"] += connection.execute(_DELETE_EXPIRED, (time.time(), _SWEEP)).rowcount
        entries, size = connection.execute("SELECT entries, bytes FROM totals").fetchone()
        maxsize = self.maxsize or inf
        if entries > maxsize or size > self.maxbytes:
            last = None
            for rank, length in connection.execute("SELECT rank, length(value) FROM entries ORDER BY rank"):
                if entries <= maxsize and size <= self.maxbytes:
                    break
                entries, size, last = entries - 1, size - length, rank
            counts["evictions"] += connection.execute("DELETE FROM entries WHERE rank <= ?", (last,)).rowcount
        counts["entries"], counts["bytes"] = entries, size


# Jobs of the two threads. Their cursors stay in them.


def _find(place: tuple[bytes, bytes], connection: sqlite3.Connection) -> Any:
    return connection.execute(_SELECT, place).fetchone()


def _change(statement: str, values: tuple[Any, ...], connection: sqlite3.Connection) -> None:
    connection.execute(statement, values)


def _encode(text: str) -> bytes:
    # Keys are bytes in the file: every str has an encoding, and no collation, NUL or surrogate merges two of them.
    return text.encode("utf-8", "surrogatepass")


def _checksum(key: bytes, value: bytes, *times: float) -> int:
    """Over all that a row means, so that a flipped bit in a time cannot make it immortal."""
    return crc32(value, crc32(_pack_times(*times), crc32(key, _ROW_VERSION)))


def _is_sound(checksum: Any, key: bytes, value: Any, *times: Any) -> bool:
    try:
        return bool(checksum == _checksum(key, value, *times))
    except (TypeError, struct.error):  # columns of a damaged row can be of any type
        return False
