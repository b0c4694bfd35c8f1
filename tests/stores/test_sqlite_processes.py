"""SQLiteCache across processes: killed while writing, forked, several at once, a disk without room."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llamina.stores import SQLiteCache

WRITE_FOR_EVER = """
import asyncio, itertools, sys
from llamina.stores import SQLiteCache

async def main():
    store = SQLiteCache(sys.argv[1])
    for batch in itertools.count():
        keys = [f"{batch}-{number}" for number in range(20)]
        await asyncio.gather(*(store.set(key, key.encode() * 300) for key in keys))
        print(*keys, sep="\\n", flush=True)

asyncio.run(main())
"""

WRITE_A_HUNDRED = """
import asyncio, sys
from llamina.stores import SQLiteCache

async def main():
    store = SQLiteCache(sys.argv[1])
    for number in range(100):
        await store.set(f"{sys.argv[2]}-{number}", b"value")
    await store.aclose()

asyncio.run(main())
"""

FORK = """
import asyncio, os, sys, warnings
from llamina.stores import SQLiteCache

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads, which is the point
store = SQLiteCache(sys.argv[1])
asyncio.run(store.set("parent", b"value"))
child = os.fork()

async def visit():
    entry = await store.get("parent")
    await store.set("child" if child == 0 else "again", entry.value)
    await store.aclose()
    return await store.get("child")

if child == 0:
    asyncio.run(visit())
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert asyncio.run(visit()).value == b"value"
asyncio.run(store.aclose())
"""

FILL_THE_DISK = """
import asyncio, resource, signal, sys
from llamina.stores import SQLiteCache, StoreError

async def main():
    store = SQLiteCache(sys.argv[1])
    await store.set("key", b"value")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        await store.set("large", bytes(1_000_000))
    except StoreError as error:
        print(error)
    print((await store.get("key")).value, await store.get("large"))
    await store.set("small", b"fits")
    await store.aclose()

asyncio.run(main())
"""

posix_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="fork and resource limits are POSIX's")


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python process that runs *script*."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    """What *process* printed, once it has ended well."""
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output


def values(path: Path, keys: list[str]) -> list[bytes | None]:
    """What is under *keys* in the file, and that it can be written."""

    async def read() -> list[bytes | None]:
        store = SQLiteCache(path)
        try:
            await store.set("written", b"afterwards")
            entries = await asyncio.gather(*(store.get(key) for key in keys))
            return [entry and entry.value for entry in entries]
        finally:
            await store.aclose()

    return asyncio.run(read())


def test_a_killed_process_leaves_what_it_had_set(tmp_path: Path) -> None:
    """After kill -9 in the middle of writing, the file is whole and holds every set that had returned."""
    path = tmp_path / "answers.db"

    with start(WRITE_FOR_EVER, path) as process:
        assert process.stdout is not None
        keys = [process.stdout.readline().strip() for _ in range(1_000)]
        process.kill()
        process.communicate()

    assert values(path, keys) == [key.encode() * 300 for key in keys]
    assert not list(tmp_path.glob("*.damaged*"))


def test_several_processes_share_a_file(tmp_path: Path) -> None:
    """Three processes that begin and write the same file at once all find their place in it."""
    path = tmp_path / "answers.db"

    processes = [start(WRITE_A_HUNDRED, path, name) for name in "abc"]
    for process in processes:
        finish(process)

    assert values(path, [f"{name}-{number}" for name in "abc" for number in range(100)]) == [b"value"] * 300


@posix_only
def test_a_forked_child_opens_the_file_anew(tmp_path: Path) -> None:
    """A store that was used before a fork works in the child and goes on working in the parent."""
    path = tmp_path / "answers.db"

    finish(start(FORK, path))

    assert values(path, ["parent", "child", "again"]) == [b"value"] * 3


@posix_only
def test_a_full_disk_is_a_store_error(tmp_path: Path) -> None:
    """A set for which there is no room fails with the reason, and the store goes on with what fits."""
    path = tmp_path / "answers.db"

    output = finish(start(FILL_THE_DISK, path))

    assert f"the cache file {path} cannot be used" in output
    assert output.endswith("b'value' None\n")
    assert values(path, ["key", "small"]) == [b"value", b"fits"]
