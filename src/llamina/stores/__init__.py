"""Where shared state lives: a `Store` keeps bytes under a string key for a while, in memory or in a file.

    from llamina.stores import MemoryCache, SQLiteCache

    Cache(store=MemoryCache(maxsize=10_000, maxbytes=64 * 2**20))
    Cache(store=SQLiteCache("answers.db"), ttl=86_400)

A store of your own is any object with the six methods of `Store`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamina._lazy import lazy_exports

_EXPORTS = {
    "Entry": ".base",
    "MemoryCache": ".memory",
    "SQLiteCache": ".sqlite",
    "Store": ".base",
    "StoreError": ".base",
}

if TYPE_CHECKING:
    from .base import Entry as Entry
    from .base import Store as Store
    from .base import StoreError as StoreError
    from .memory import MemoryCache as MemoryCache
    from .sqlite import SQLiteCache as SQLiteCache

__all__ = sorted(_EXPORTS)  # noqa: PLE0605 - kept beside the table that loads them
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
