"""SQLiteCache in one process: what it keeps, what it drops, and what it does when the file is not as it should be."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import stat
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time
from hypothesis import given, settings
from hypothesis import strategies as st

from llamina.errors import ConfigurationError
from llamina.stores import SQLiteCache, StoreError
from llamina.stores._sqlite_file import Link


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test's file will be."""
    return tmp_path / "answers.db"


def play(scene: Callable[..., Awaitable[Any]], *stores: SQLiteCache) -> Any:
    """Run a scene with its stores in real time, and close them."""

    async def run() -> Any:
        try:
            return await scene(*stores)
        finally:
            for store in stores:
                await store.aclose()

    return asyncio.run(run())


def change(path: Path, statement: str, *values: Any) -> None:
    """Do something to the file behind the store's back."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement, values)
    connection.close()


async def value_of(store: SQLiteCache, key: str) -> bytes | None:
    """The value under *key*."""
    entry = await store.get(key)
    return None if entry is None else entry.value


def test_entries_outlive_the_object(path: Path) -> None:
    """Another object on the same path finds what the first one kept, with its time."""
    play(lambda store: store.set("key", b"value", ttl=60.0), SQLiteCache(path))

    entry = play(lambda store: store.get("key"), SQLiteCache(path))

    assert entry.value == b"value"
    assert entry.fresh
    assert 0.0 <= entry.age < 30.0


def test_two_objects_share_a_file_at_once(path: Path) -> None:
    """What one has set, the other reads and deletes."""

    async def scene(one: SQLiteCache, other: SQLiteCache) -> None:
        await one.set("key", b"value")
        assert await value_of(other, "key") == b"value"

        await other.delete("key")

        assert await value_of(one, "key") is None

    play(scene, SQLiteCache(path), SQLiteCache(path))


def test_many_open_a_new_file_at_once(tmp_path: Path) -> None:
    """Whoever comes while another one is just making the file waits and finds it made."""

    async def scene(*stores: SQLiteCache) -> None:
        await asyncio.gather(*(store.set(f"key{number}", b"value") for number, store in enumerate(stores)))
        assert [await value_of(stores[0], f"key{number}") for number in range(len(stores))] == [b"value"] * len(stores)

    for number in range(5):
        play(scene, *[SQLiteCache(tmp_path / f"{number}.db") for _ in range(12)])


def test_a_new_file_that_somebody_is_reading_is_waited_for(path: Path) -> None:
    """A file can be made a cache's only when nobody else uses it: the store waits for that."""
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM sqlite_master").fetchall()

    async def scene(store: SQLiteCache) -> bytes | None:
        asyncio.get_running_loop().call_later(0.05, reader.close)
        await store.set("key", b"value")
        return await value_of(store, "key")

    assert play(scene, SQLiteCache(path)) == b"value"


def test_a_refused_switch_to_wal_is_tried_again(path: Path) -> None:
    """When two make a file at once, SQLite refuses one of them without waiting; the store waits instead."""

    class Refusing:
        refusals = 2

        def execute(self, statement: str) -> None:
            if self.refusals:
                self.refusals -= 1
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise error

    connection: Any = Refusing()

    Link(path, synchronous="normal", busy_timeout=1.0)._switch_to_wal(connection)

    assert connection.refusals == 0


def test_namespaces_are_apart(path: Path) -> None:
    """Equal keys in two namespaces are two entries, and no pair of namespace and key is taken for another."""
    pairs = [("", "abc"), ("a", "bc"), ("ab", "c"), ("abc", ""), ("a\0", "bc"), ("a:b", "c"), ("a", "b:c")]
    stores = [SQLiteCache(path, namespace) for namespace, _ in pairs]

    async def scene(*stores: SQLiteCache) -> list[bytes | None]:
        for store, (namespace, key) in zip(stores, pairs, strict=True):
            await store.set(key, f"{namespace}|{key}".encode())
        return [await value_of(store, key) for store, (_, key) in zip(stores, pairs, strict=True)]

    assert play(scene, *stores) == [f"{namespace}|{key}".encode() for namespace, key in pairs]


def test_clearing_one_namespace_spares_the_others(path: Path) -> None:
    """`clear` knows only its own namespace."""

    async def scene(one: SQLiteCache, other: SQLiteCache) -> tuple[bytes | None, bytes | None]:
        await one.set("key", b"1")
        await other.set("key", b"2")
        await one.clear()
        return await value_of(one, "key"), await value_of(other, "key")

    assert play(scene, SQLiteCache(path, "one"), SQLiteCache(path, "other")) == (None, b"2")


def test_what_was_stored_first_leaves_first(path: Path) -> None:
    """With all places taken the oldest goes; a set makes its entry the newest."""

    async def scene(store: SQLiteCache) -> list[bytes | None]:
        for key in "abac":
            await store.set(key, key.encode())
        return [await value_of(store, key) for key in "abc"]

    assert play(scene, SQLiteCache(path, maxsize=2)) == [b"a", None, b"c"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 60)), min_size=8, max_size=25), st.integers(1, 5))
def test_it_holds_what_a_model_of_it_holds(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int]], maxsize: int
) -> None:
    """Whatever is set, it holds what oldest-first order and both bounds leave, and counts it right."""
    model: dict[str, bytes] = {}

    async def scene(store: SQLiteCache) -> tuple[dict[str, bytes | None], Any]:
        for key, size in operations:
            await store.set(key, bytes(size))
            model.pop(key, None)
            if size <= 50:
                model[key] = bytes(size)
            while len(model) > maxsize or sum(map(len, model.values())) > 50:
                del model[next(iter(model))]
        return {key: await value_of(store, key) for key in "abcdef"}, store.stats()

    path = tmp_path_factory.mktemp("model") / "answers.db"
    found, stats = play(scene, SQLiteCache(path, maxsize=maxsize, maxbytes=50))

    assert {key: value for key, value in found.items() if value is not None} == model
    assert (stats["entries"], stats["bytes"]) == (len(model), sum(map(len, model.values())))


def test_an_oversize_value_is_not_kept_and_takes_the_old_one_along(path: Path) -> None:
    """A value that can never fit evicts nobody, and its key does not go on giving the old value."""

    async def scene(store: SQLiteCache) -> tuple[bytes | None, bytes | None]:
        await store.set("a", b"old")
        await store.set("b", b"other")
        await store.set("a", bytes(101))
        return await value_of(store, "a"), await value_of(store, "b")

    assert play(scene, SQLiteCache(path, maxbytes=100)) == (None, b"other")


def test_expired_rows_are_removed_by_sets_of_other_keys(path: Path) -> None:
    """A file into which somebody writes does not keep what has expired."""
    with freeze_time("2026-01-01", real_asyncio=True) as frozen:

        async def scene(store: SQLiteCache) -> Any:
            await asyncio.gather(*(store.set(f"key{number}", b"value", ttl=10.0) for number in range(50)))
            frozen.tick(11.0)
            await store.set("other", b"value")
            return store.stats()

        stats = play(scene, SQLiteCache(path))

    assert stats["entries"] == 1
    assert stats["expirations"] == 50


def test_an_expired_row_that_is_read_is_removed(path: Path) -> None:
    """A file from which is only read does not keep what has expired, so no clock can bring it back."""
    with freeze_time("2026-01-01", real_asyncio=True) as frozen:

        async def scene(store: SQLiteCache) -> tuple[bytes | None, bytes | None]:
            await store.set("key", b"value", ttl=7200.0)
            frozen.tick(7201.0)
            late = await value_of(store, "key")
            frozen.tick(-3600.0)
            return late, await value_of(store, "key")

        assert play(scene, SQLiteCache(path)) == (None, None)


def test_an_entry_from_the_future_is_a_miss(path: Path) -> None:
    """With the clock set back by a year, an entry does not live for a year and its ttl."""
    with freeze_time("2026-01-01", real_asyncio=True) as frozen:

        async def scene(store: SQLiteCache) -> bytes | None:
            await store.set("key", b"value", ttl=10.0)
            frozen.move_to("2025-01-01")
            return await value_of(store, "key")

        assert play(scene, SQLiteCache(path)) is None


def test_a_small_step_back_of_the_clock_costs_nothing(path: Path) -> None:
    """With the clock corrected by seconds, an entry is found and has no negative age."""
    with freeze_time("2026-01-01", real_asyncio=True) as frozen:

        async def scene(store: SQLiteCache) -> Any:
            await store.set("key", b"value", ttl=10.0)
            frozen.tick(-5.0)
            return await store.get("key")

        entry = play(scene, SQLiteCache(path))

    assert entry.age == 0.0


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE entries SET value = X'00'",
        "UPDATE entries SET value = 'a text'",
        "UPDATE entries SET value = 17",
        "UPDATE entries SET checksum = checksum + 1",
        "UPDATE entries SET key = CAST('key' AS BLOB), checksum = 'x'",
        "UPDATE entries SET expires_at = expires_at * 2",
        "UPDATE entries SET stored_at = 'yesterday'",
    ],
)
def test_a_damaged_row_is_a_miss_and_is_removed(path: Path, damage: str) -> None:
    """A row that is not what was written is no answer, and does not stay."""
    play(lambda store: store.set("key", b"value", ttl=60.0), SQLiteCache(path))
    change(path, damage)

    async def scene(store: SQLiteCache) -> bytes | None:
        found = await value_of(store, "key")
        await store.set("other", b"value")
        assert store.stats() | {"entries": 1, "damaged": 1} == store.stats()
        return found

    assert play(scene, SQLiteCache(path)) is None


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_set_aside(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is no database is renamed, not deleted, with a warning, and the cache goes on with a new one."""
    path.write_bytes(content)
    path.with_name("answers.db-shm").write_bytes(b"an index of something")

    async def scene(store: SQLiteCache) -> bytes | None:
        assert await value_of(store, "key") is None
        await store.set("key", b"value")
        return await value_of(store, "key")

    with caplog.at_level(logging.WARNING, "llamina"):
        assert play(scene, SQLiteCache(path)) == b"value"

    assert path.with_name("answers.db.damaged-1").read_bytes() == content
    assert path.with_name("answers.db.damaged-1-shm").exists()
    assert "set aside as answers.db.damaged-1" in caplog.text


def test_damage_in_the_middle_of_a_file_ends_no_call(path: Path) -> None:
    """With pages overwritten, every read is a hit or a miss, and what is set afterwards is found."""
    keys = [f"key{number}" for number in range(300)]

    async def fill(store: SQLiteCache) -> None:
        await asyncio.gather(*(store.set(key, bytes(500)) for key in keys))

    async def use(store: SQLiteCache) -> bytes | None:
        for key in keys:
            assert await value_of(store, key) in {bytes(500), None}
        await asyncio.gather(*(store.set(key, b"new") for key in keys))
        return await value_of(store, keys[-1])

    play(fill, SQLiteCache(path))
    content = bytearray(path.read_bytes())
    content[4096 * 8 : 4096 * 40] = b"\xa5" * (4096 * 32)
    path.write_bytes(content)

    assert play(use, SQLiteCache(path)) == b"new"
    assert path.with_name("answers.db.damaged-1").exists()


def test_another_programs_database_is_left_alone(path: Path) -> None:
    """A wrong path neither changes nor moves a database that is not a cache."""
    change(path, "CREATE TABLE accounts (name TEXT)")
    before = path.read_bytes()

    with pytest.raises(StoreError, match=r"answers\.db.*another program"):
        play(lambda store: store.set("key", b"value"), SQLiteCache(path))

    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_tables_of_another_version_are_left_alone(path: Path) -> None:
    """A file of a later llamina is refused with both versions named."""
    play(lambda store: store.set("key", b"value"), SQLiteCache(path))
    change(path, "PRAGMA user_version = 7")

    with pytest.raises(StoreError, match="version 7, this llamina reads 1"):
        play(lambda store: store.get("key"), SQLiteCache(path))


def test_a_file_that_cannot_be_opened_is_a_store_error(tmp_path: Path) -> None:
    """A path at which no file can be fails each use with its name and the reason, and closes all the same."""
    (tmp_path / "file").write_text("")

    for path in (tmp_path, tmp_path / "file" / "answers.db"):
        with pytest.raises(StoreError, match=str(path)) as caught:
            play(lambda store: store.get("key"), SQLiteCache(path))
        assert caught.value.__cause__ is not None


def test_a_locked_file_refuses_sets_and_goes_on_reading(path: Path) -> None:
    """While somebody else holds the write lock, a set fails after `busy_timeout` and reads are answered meanwhile."""
    order: list[str] = []

    async def scene(store: SQLiteCache) -> bytes | None:
        await store.set("key", b"value")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        blocked = asyncio.ensure_future(store.set("key", b"new"))
        blocked.add_done_callback(lambda _: order.append("set"))
        found = await value_of(store, "key")
        order.append("get")
        with pytest.raises(StoreError, match="locked"):
            await blocked
        other.close()
        await store.set("later", b"value")
        return found

    assert play(scene, SQLiteCache(path, busy_timeout=0.2)) == b"value"
    assert order == ["get", "set"]


def test_a_file_that_was_deleted_is_begun_anew(path: Path) -> None:
    """When somebody deletes the file of a running cache, it does not go on writing into nothing."""

    async def scene(store: SQLiteCache) -> tuple[bytes | None, bytes | None]:
        await store.set("old", b"value")
        for file in path.parent.iterdir():
            file.unlink()
        await store.set("new", b"value")
        return await value_of(store, "old"), await value_of(store, "new")

    assert play(scene, SQLiteCache(path)) == (None, b"value")
    assert path.exists()


def test_sets_that_come_together_are_committed_together(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five hundred concurrent sets take a handful of transactions."""
    sizes: list[int] = []
    transaction = Link.transaction

    def watched(link: Link, begin: str, jobs: Sequence[Any]) -> Any:
        sizes.append(len(jobs))
        return transaction(link, begin, jobs)

    monkeypatch.setattr(Link, "transaction", watched)

    async def scene(store: SQLiteCache) -> None:
        await asyncio.gather(*(store.set(f"key{number}", b"value") for number in range(500)))

    play(scene, SQLiteCache(path))
    assert sum(sizes) >= 500
    assert len(sizes) <= 5


def test_a_transaction_is_done_whole_or_not_at_all(path: Path) -> None:
    """When one job of a transaction fails, none of it is kept, and the next transaction works."""
    link = Link(path, synchronous="normal", busy_timeout=1.0)
    good, bad = "UPDATE totals SET bytes = bytes + 1", "UPDATE nothing"

    failed = link.transaction("BEGIN IMMEDIATE", [lambda on: on.execute(good), lambda on: on.execute(bad)])
    (found,) = link.transaction("BEGIN", [lambda on: on.execute("SELECT bytes FROM totals").fetchone()])
    link.close()

    assert [type(outcome.error) for outcome in failed] == [sqlite3.OperationalError] * 2
    assert found.value == (0,)


def test_a_cancelled_caller_takes_nobody_along(path: Path) -> None:
    """Of many sets in one transaction one is cancelled: the others return and are kept."""

    async def scene(store: SQLiteCache) -> list[bytes | None]:
        callers = [asyncio.ensure_future(store.set(str(number), b"value")) for number in range(10)]
        await asyncio.sleep(0)
        callers[3].cancel()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        assert [type(outcome).__name__ for outcome in outcomes].count("CancelledError") == 1
        return [await value_of(store, str(number)) for number in range(10) if number != 3]

    assert play(scene, SQLiteCache(path)) == [b"value"] * 9


def test_closing_leaves_no_thread_and_only_the_file(path: Path) -> None:
    """After `aclose` the threads have ended and SQLite's side files are gone."""
    before = set(threading.enumerate())

    async def scene(store: SQLiteCache) -> set[threading.Thread]:
        await store.set("key", b"value")
        await store.get("key")
        used = set(threading.enumerate()) - before
        await store.aclose()
        assert not set(threading.enumerate()) & used
        return used

    assert len(play(scene, SQLiteCache(path))) == 2
    assert list(path.parent.iterdir()) == [path]


def test_closing_waits_for_what_has_begun(path: Path) -> None:
    """Sets in flight when the store is closed are kept."""

    async def scene(store: SQLiteCache) -> None:
        callers = [asyncio.ensure_future(store.set(str(number), b"value")) for number in range(20)]
        await asyncio.sleep(0)
        await store.aclose()
        await asyncio.gather(*callers)

    play(scene, SQLiteCache(path))

    assert play(lambda store: value_of(store, "19"), SQLiteCache(path)) == b"value"


def test_it_can_be_used_after_closing(path: Path) -> None:
    """A store that two stacks share goes on working when the first one closes it."""

    async def scene(store: SQLiteCache) -> bytes | None:
        await store.set("key", b"value")
        await store.aclose()
        return await value_of(store, "key")

    assert play(scene, SQLiteCache(path)) == b"value"


def test_several_event_loops_share_one_object(path: Path) -> None:
    """Loops in four threads set and get through one object at the same time."""
    store = SQLiteCache(path)

    async def visit(name: str) -> None:
        for number in range(30):
            await store.set(f"{name}{number}", name.encode())
            assert await value_of(store, f"{name}{number}") == name.encode()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda name: asyncio.run(visit(name)), "abcd"))

    assert play(lambda store: value_of(store, "d29"), store) == b"d"


def test_the_file_is_its_owners(path: Path) -> None:
    """Nobody else can read the answers, in the file or beside it."""

    async def scene(store: SQLiteCache) -> None:
        await store.set("key", b"value")
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}

    play(scene, SQLiteCache(path))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("path", ""),
        ("path", ":memory:"),
        ("namespace", b"bytes"),
        ("maxsize", 0),
        ("maxbytes", 0),
        ("maxbytes", None),
        ("ttl", float("nan")),
        ("synchronous", "sometimes"),
        ("busy_timeout", -1.0),
    ],
)
def test_a_setting_without_sense_is_refused(field: str, value: Any) -> None:
    """A wrong setting is found when the store is built, before any file is touched, and the message names it."""
    with pytest.raises(ConfigurationError, match=field):
        SQLiteCache(**{"path": "answers.db", field: value})
