"""Memory of the cache: 100,000 answers of 1.9 KB, and the pause of a full garbage collection over them."""

from __future__ import annotations

import gc
import time
import tracemalloc

import msgspec

from llamina import MemoryCache, Response, Usage
from measure import Row, Table

COUNT = 100_000


async def memory() -> Table:
    """Bytes per answer in three kinds of store."""
    text = "x" * 1700

    def answer(number: int) -> Response:
        return Response.of(f"{number} {text}", usage=Usage(100, 400), model="gpt-4o-mini", id=f"chatcmpl-{number:024d}")

    size = len(msgspec.json.encode(answer(1)))
    store = MemoryCache(maxsize=COUNT + 1)
    plain: dict[str, bytes] = {}
    objects: dict[str, Response] = {}

    async def fill_store() -> None:
        for number in range(COUNT):
            await store.set(f"{number:064d}", msgspec.json.encode(answer(number)), ttl=3600)

    async def fill_bytes() -> None:
        for number in range(COUNT):
            plain[f"{number:064d}"] = bytes(memoryview(msgspec.json.encode(answer(number))))

    async def fill_objects() -> None:
        for number in range(COUNT):
            objects[f"{number:064d}"] = answer(number)

    rows: list[Row] = []
    base = 0.0
    for name, fill, drop in (
        ("a dict of exact bytes", fill_bytes, plain.clear),
        ("MemoryCache", fill_store, None),
        ("a dict of Response objects", fill_objects, objects.clear),
    ):
        gc.collect()
        tracemalloc.start()
        await fill()
        used = tracemalloc.get_traced_memory()[0] / COUNT / 1000
        tracemalloc.stop()
        started = time.perf_counter()
        gc.collect()
        pause = (time.perf_counter() - started) * 1000
        base = base or used
        budget = "2.4 KB" if name == "MemoryCache" else ""
        rows.append(Row(f"{name}, per answer of {size / 1000:.1f} KB", used, "KB", used / base, budget))
        rows.append(Row(f"{name}, full collection", pause, "ms", None, "15 ms" if name == "MemoryCache" else ""))
        if drop is not None:
            drop()
        else:
            await store.clear()
    return Table("Memory of a cache", f"{COUNT:,} answers; the baseline is a dict of exact bytes.", rows)


SECTIONS = [memory]
