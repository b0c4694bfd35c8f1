"""Calls over HTTP: HTTPTransport beside bare clients, against the simulated provider in a process of its own."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from llamina import Request, build_stack
from llamina.transports import HTTPTransport
from measure import Row, Table

PROVIDER = """
import asyncio
from llamina.testing import SimulatedProvider

async def main():
    async with SimulatedProvider("a short answer of a few words") as provider:
        print(provider.base_url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""

REQUEST = Request.chat("sim", "Why is the sky blue? " * 8)
BODY = {"model": "sim", "messages": [{"role": "user", "content": "Why is the sky blue? " * 8}]}
ENGINES = [name for name in ("httpx", "httpx2", "aiohttp") if importlib.util.find_spec(name)]


@asynccontextmanager
async def provider(code: str = PROVIDER) -> AsyncIterator[str]:
    """A simulated provider in a process of its own; its base URL."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def bare(engine: str, url: str) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """One call of the client itself: a POST of JSON, the answer decoded."""
    headers = {"authorization": "Bearer sk"}
    if engine == "aiohttp":
        import aiohttp

        connector = aiohttp.TCPConnector(limit=1000)
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

            async def call() -> Any:
                async with session.post(f"{url}/chat/completions", json=BODY) as answer:
                    return json.loads(await answer.read())

            yield call
        return
    module: Any = __import__(engine)
    limits = module.Limits(max_connections=1000, max_keepalive_connections=1000)
    async with module.AsyncClient(limits=limits, headers=headers, timeout=60) as client:

        async def post() -> Any:
            return (await client.post(f"{url}/chat/completions", json=BODY)).json()

        yield post


@asynccontextmanager
async def ours(engine: str, url: str) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """One call through HTTPTransport and the two pins of a stack."""
    transport = HTTPTransport(base_url=url, api_key="sk", engine=engine)
    async with build_stack([], transport) as stack:
        yield lambda: stack(REQUEST)


async def drive(call: Callable[[], Awaitable[Any]], concurrency: int, calls: int) -> tuple[float, float]:
    """CPU microseconds of this process per call, and calls per second, with *concurrency* calls in flight."""
    left = calls

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call()

    cpu, clock = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return (time.process_time() - cpu) / calls * 1e6, calls / (time.perf_counter() - clock)


async def calls_over_http() -> Table:
    """CPU per call and calls per second at 1, 64 and 512 in flight."""
    table = Table(
        "Calls over HTTP",
        "CPU of the client's process per call, and calls per second (the provider has a process of its own). "
        "The baseline is the bare client of the same family, in turns with it.",
    )
    async with provider() as url:
        for concurrency, calls in ((1, 300), (64, 1200), (512, 1536)):
            for engine in ENGINES:
                async with bare(engine, url) as base, ours(engine, url) as transport:
                    for warm in (base, transport):
                        await drive(warm, concurrency, concurrency)
                    best: dict[str, tuple[float, float]] = {}
                    for _ in range(5):
                        for name, call in (("bare", base), ("ours", transport)):
                            cpu, rate = await drive(call, concurrency, calls)
                            seen = best.get(name, (float("inf"), 0.0))
                            best[name] = (min(seen[0], cpu), max(seen[1], rate))
                at = f"{engine}, {concurrency} in flight"
                cpu, rate = best["bare"]
                table.rows += [
                    Row(f"bare {at}", cpu, "us CPU", 1.0),
                    Row(f"HTTPTransport on {at}", best["ours"][0], "us CPU", best["ours"][0] / cpu, "1.15 x"),
                    Row(f"bare {at}", rate, "calls/s", 1.0),
                    Row(f"HTTPTransport on {at}", best["ours"][1], "calls/s", best["ours"][1] / rate),
                ]
    return table


SECTIONS = [calls_over_http]
