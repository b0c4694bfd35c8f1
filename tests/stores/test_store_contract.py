"""The contract of stores: the shipped ones keep it, and it finds what people get wrong."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from llamina.stores import Entry, MemoryCache, SQLiteCache, Store
from llamina.testing.conformance import ConformanceError
from llamina.testing.store_contract import check_store


def broken_clauses(kind: type[MemoryCache]) -> set[str]:
    """Names of the clauses that stores of this kind break."""
    with pytest.raises(ConformanceError) as caught:
        check_store(kind)
    return {broken.clause for broken in caught.value.broken}


def test_the_memory_store_keeps_the_contract() -> None:
    """Every clause holds for MemoryCache."""
    assert len(check_store(MemoryCache)) > 15


def test_a_memory_store_bounded_in_bytes_keeps_the_contract() -> None:
    """Every clause holds when bytes are counted too."""
    assert check_store(lambda: MemoryCache(maxbytes=1_000_000))


def test_the_sqlite_store_keeps_the_contract(tmp_path: Path) -> None:
    """Every clause holds for SQLiteCache."""
    numbers = itertools.count()

    assert check_store(lambda: SQLiteCache(tmp_path / f"{next(numbers)}.db"))


def test_namespaces_of_one_file_keep_the_contract(tmp_path: Path) -> None:
    """Every clause holds for a namespace of a file that is full of others."""
    numbers = itertools.count()

    assert check_store(lambda: SQLiteCache(tmp_path / "shared.db", namespace=f"space {next(numbers)}"))


@pytest.mark.parametrize("kind", [MemoryCache, SQLiteCache])
def test_a_shipped_store_is_recognised_as_a_store(kind: type, tmp_path: Path) -> None:
    """The protocol tells, by isinstance, a store from something else."""
    store = kind(tmp_path / "answers.db") if kind is SQLiteCache else kind()

    assert isinstance(store, Store)
    assert not isinstance({}, Store)


def test_a_store_that_forgets_the_time_is_found() -> None:
    """A store without expiry breaks the clauses about time and says what it gave."""

    class Everlasting(MemoryCache):
        async def set(self, key: str, value: bytes, /, *, ttl: float | None = None, stale: float = 0.0) -> None:
            await super().set(key, value)

    with pytest.raises(ConformanceError, match="an entry is fresh for `ttl` seconds") as caught:
        check_store(Everlasting)

    assert "gone-at-its-time" in str(caught.value)


def test_a_store_that_merges_keys_is_found() -> None:
    """A store whose keys are case-insensitive breaks one clause."""

    class Folding(MemoryCache):
        async def get(self, key: str, /) -> Entry | None:
            return await super().get(key.lower())

        async def set(self, key: str, value: bytes, /, *, ttl: float | None = None, stale: float = 0.0) -> None:
            await super().set(key.lower(), value, ttl=ttl, stale=stale)

    assert broken_clauses(Folding) == {"keys-are-exact"}


def test_a_store_that_prolongs_what_is_read_is_found() -> None:
    """A store whose reads renew the time breaks the clause that forbids it."""

    class Sliding(MemoryCache):
        async def get(self, key: str, /) -> Entry | None:
            entry = await super().get(key)
            if entry is not None:
                await super().set(key, entry.value, ttl=10.0)
            return entry

    assert "reading-prolongs-nothing" in broken_clauses(Sliding)


def test_a_store_that_shows_its_content_is_found() -> None:
    """A repr with keys in it breaks the clause about secrets."""

    class Talkative(MemoryCache):
        def __repr__(self) -> str:
            return f"Talkative({list(self._records)})"

    assert broken_clauses(Talkative) == {"no-content-shown"}
