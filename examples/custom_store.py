"""A store of your own under the cache: answers in a folder, one file each, kept over restarts.

python examples/custom_store.py
"""

import asyncio
import hashlib
import json
import tempfile
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

from llamina import Cache, Request, build_stack
from llamina.stores import Entry, StoreError
from llamina.testing import FakeTransport, check_store


class FolderStore:
    """One file for each answer. Several processes may share the folder; nothing is evicted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._reads = self._writes = 0

    async def get(self, key: str, /) -> Entry | None:
        """The entry under *key*, unless its time is over."""
        self._reads += 1
        found = await asyncio.to_thread(self._read, self._path(key))
        if found is None:
            return None
        head, value = found
        age = max(0.0, time.time() - head["stored"])
        return Entry(value, age, age < head["fresh"]) if age < head["kept"] else None

    async def set(self, key: str, value: bytes, /, *, ttl: float | None = None, stale: float = 0.0) -> None:
        """Keep *value*: fresh for *ttl* seconds, stale for so many more."""
        if (ttl is not None and not ttl >= 0) or not stale >= 0:
            raise ValueError(f"ttl and stale must be 0 or more seconds, got {ttl!r} and {stale!r}")
        self._writes += 1
        fresh = float("inf") if ttl is None else ttl
        if fresh + stale == 0:
            await self.delete(key)
            return
        head = {"key": key, "stored": time.time(), "fresh": fresh, "kept": fresh + stale}
        await asyncio.to_thread(self._write, self._path(key), json.dumps(head).encode() + b"\n" + value)

    async def delete(self, key: str, /) -> None:
        """Forget *key*."""
        await asyncio.to_thread(self._path(key).unlink, missing_ok=True)

    async def clear(self, prefix: str = "", /) -> None:
        """Forget every key that begins with *prefix*."""
        await asyncio.to_thread(self._clear, prefix)

    async def aclose(self) -> None:
        """Nothing is kept open."""

    def stats(self) -> Mapping[str, Any]:
        """What was counted."""
        return {"folder.reads": self._reads, "folder.writes": self._writes}

    def _path(self, key: str) -> Path:
        return self._folder / hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()

    def _read(self, path: Path) -> tuple[dict[str, Any], bytes] | None:
        try:
            head, _, value = path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"cannot read from {self._folder}") from error
        return json.loads(head), value

    def _write(self, path: Path, data: bytes) -> None:
        half_written = path.with_suffix(f".{uuid4().hex}")  # replaced in one step: no reader sees half of it
        try:
            half_written.write_bytes(data)
            half_written.replace(path)
        except OSError as error:
            raise StoreError(f"cannot write to {self._folder}") from error

    def _clear(self, prefix: str) -> None:
        for path in self._folder.iterdir():
            found = None if path.suffix else self._read(path)
            if found is not None and found[0]["key"].startswith(prefix):
                path.unlink(missing_ok=True)


async def one_process(folder: Path) -> None:
    """Ask once; whether a provider was needed shows."""
    fake = FakeTransport(["It is forty-two."])
    async with build_stack([Cache(FolderStore(folder), ttl=86_400)], fake) as stack:
        response = await stack(Request.chat("small", "What is the answer?"))
        print(f"{response.text:20} {'from the folder' if response.call.cached else 'from the provider'}")


with tempfile.TemporaryDirectory() as temporary:
    numbers = count()
    held = check_store(lambda: FolderStore(Path(temporary) / f"checked-{next(numbers)}"))
    print(len(held), "clauses of the store contract hold")
    asyncio.run(one_process(Path(temporary) / "answers"))
    asyncio.run(one_process(Path(temporary) / "answers"))
