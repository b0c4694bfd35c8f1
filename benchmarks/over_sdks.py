"""The official SDKs beside the transports: calls, streamed events and open streams on each wire.

Every rival sends the same request of some 160 characters to the same simulated provider, which has a process of its own.
The SDK alone is the baseline; its own retries are off.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from llamina import Request, build_stack
from llamina.transports import AnthropicTransport, HTTPTransport, OpenAITransport
from measure import Row, Table
from over_http import drive, provider

PIECES = 200
OPEN = 512
PROVIDER = f"""
import asyncio
from llamina.testing import SimulatedProvider

PIECES = [f"word{{number}} " for number in range({PIECES})]

def script(request):
    if request.model == "held":
        return ["the first words", asyncio.Event()]
    return PIECES if request.model == "long" else "a short answer of a few words"

async def main():
    async with SimulatedProvider(script) as provider:
        print(provider.base_url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
PROMPT = "Why is the sky blue? " * 8
MOST = 100  # the tokens to answer with, which Anthropic's wire must be told

Call = Callable[[], Awaitable[Any]]
OpenStream = Callable[[str], AbstractAsyncContextManager[Any]]


class Client(NamedTuple):
    """What a rival does: a whole call, and the stream of a model, to be entered."""

    call: Call
    stream: OpenStream


Rival = Callable[[str], AbstractAsyncContextManager[Client]]


@asynccontextmanager
async def ours(transport: Callable[[str], Any], url: str) -> AsyncIterator[Client]:
    """A transport and the two pins of a stack."""
    request = Request.chat("sim", PROMPT, max_tokens=MOST)
    async with build_stack([], transport(url)) as stack:
        yield Client(lambda: stack(request), lambda model: stack.stream(request.evolve(model=model)))


@asynccontextmanager
async def bare(client: Any, create: Callable[..., Awaitable[Any]], **fields: Any) -> AsyncIterator[Client]:
    """A client of an SDK, as its own documentation calls it; *fields* are those of a request on its wire."""

    @asynccontextmanager
    async def stream(model: str) -> AsyncIterator[Any]:
        further = {"stream_options": {"include_usage": True}} if "max_completion_tokens" in fields else {}
        async with await create(model=model, stream=True, **fields, **further) as events:
            yield events

    async with client:
        yield Client(lambda: create(model="sim", **fields), stream)


def bare_chat(url: str) -> AbstractAsyncContextManager[Client]:
    import openai

    client = openai.AsyncOpenAI(api_key="sk", base_url=url, max_retries=0)
    messages = [{"role": "user", "content": PROMPT}]
    return bare(client, client.chat.completions.create, messages=messages, max_completion_tokens=MOST)


def bare_responses(url: str) -> AbstractAsyncContextManager[Client]:
    import openai

    client = openai.AsyncOpenAI(api_key="sk", base_url=url, max_retries=0)
    messages = [{"role": "user", "content": PROMPT}]
    return bare(client, client.responses.create, input=messages, max_output_tokens=MOST)


def bare_anthropic(url: str) -> AbstractAsyncContextManager[Client]:
    import anthropic

    client = anthropic.AsyncAnthropic(
        api_key="sk", base_url=url.removesuffix("/v1"), max_retries=0, open_telemetry=False
    )
    messages = [{"role": "user", "content": PROMPT}]
    return bare(client, client.messages.create, messages=messages, max_tokens=MOST)


def over_http(wire: str, engine: str) -> Rival:
    """HTTPTransport on one of the wires."""

    def build(url: str) -> Any:
        url = url.removesuffix("/v1") if wire == "anthropic" else url
        return HTTPTransport(base_url=url, api_key="sk", wire=wire, engine=engine)

    return partial(ours, build)


def rivals(wire: str) -> dict[str, Rival]:
    """Who speaks *wire*, the SDK alone first; empty without the SDK."""
    sdk = "anthropic" if wire == "anthropic" else "openai"
    if importlib.util.find_spec(sdk) is None:
        return {}
    found: dict[str, Rival] = {
        "chat": {
            "openai SDK": bare_chat,
            "OpenAITransport": partial(ours, lambda url: OpenAITransport("sk", url)),
        },
        "responses": {
            "openai SDK": bare_responses,
            "OpenAITransport": partial(ours, lambda url: OpenAITransport("sk", url, api="responses")),
        },
        "anthropic": {
            "anthropic SDK": bare_anthropic,
            "AnthropicTransport": partial(ours, lambda url: AnthropicTransport("sk", url)),
        },
    }[wire]
    for engine in ("httpx2", "aiohttp"):
        if importlib.util.find_spec(engine):
            found[f"HTTPTransport on {engine}"] = over_http(wire, engine)
    return found


async def follow(stream: OpenStream, streams: int) -> float:
    """CPU microseconds of this process per piece of text, reading *streams* whole ones."""
    started = time.process_time()
    for _ in range(streams):
        async with stream("long") as events:
            async for _ in events:
                pass
    return (time.process_time() - started) / (streams * PIECES) * 1e6


class Figures:
    """The best that was seen of one rival."""

    def __init__(self) -> None:
        self.cpu: dict[int, float] = {}
        self.rate: dict[int, float] = {}
        self.event = float("inf")

    def note(self, concurrency: int, cpu: float, rate: float) -> None:
        """Keep the figures of a round that are better than those of the rounds before."""
        self.cpu[concurrency] = min(cpu, self.cpu.get(concurrency, float("inf")))
        self.rate[concurrency] = max(rate, self.rate.get(concurrency, 0.0))


LOADS = ((1, 60, 8), (64, 256, 4), (512, 512, 2))  # in flight, calls, rounds


async def race(wire: str, url: str) -> dict[str, Figures]:
    """All rivals on *wire*, in turns."""
    figures = {name: Figures() for name in rivals(wire)}
    async with AsyncExitStack() as clients:
        entered = {name: await clients.enter_async_context(rival(url)) for name, rival in rivals(wire).items()}
        for concurrency, calls, rounds in LOADS:
            for client in entered.values():
                await drive(client.call, concurrency, concurrency)
            for _ in range(rounds):
                for name, client in entered.items():
                    gc.collect()
                    cpu, rate = await drive(client.call, concurrency, calls)
                    figures[name].note(concurrency, cpu, rate)
        for _ in range(8):
            for name, client in entered.items():
                gc.collect()
                figures[name].event = min(figures[name].event, await follow(client.stream, 3))
    return figures


TITLES = {
    "chat": "Official SDKs: chat completions",
    "responses": "Official SDKs: the Responses API",
    "anthropic": "Official SDKs: Anthropic's messages",
}


async def beside(wire: str) -> Table:
    """Calls and streamed events of the SDK alone, the transport on it, and HTTPTransport."""
    table = Table(
        TITLES[wire],
        f"CPU of the client's process per call and per piece of text in streams of {PIECES}, and calls per second; the "
        "provider has a process of its own and writes each piece as an event of its own. The baseline is the SDK alone "
        "with `max_retries=0`, in turns with the others.",
    )
    async with provider(PROVIDER) as url:
        figures = await race(wire, url)
    base = next(iter(figures.values()), None)
    if base is None:  # the SDK is not installed
        return table
    for concurrency, _, _ in LOADS:
        at = f"{concurrency} in flight"
        for name, seen in figures.items():
            cpu = seen.cpu[concurrency]
            table.rows.append(Row(f"{name}, {at}", cpu, "us CPU", cpu / base.cpu[concurrency]))
        for name, seen in figures.items():
            rate = seen.rate[concurrency]
            table.rows.append(Row(f"{name}, {at}", rate, "calls/s", rate / base.rate[concurrency]))
    for name, seen in figures.items():
        table.rows.append(Row(f"{name}, a streamed event", seen.event, "us CPU", seen.event / base.event))
    return table


def resident() -> float:
    """KB that this process holds in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


async def hold(wire: str, name: str, url: str) -> float:
    """KB by which this process grows with each stream that it holds open, once each has brought its first event."""
    async with rivals(wire)[name](url) as client, AsyncExitStack() as streams:
        await client.call()

        async def begin() -> None:
            events = await streams.enter_async_context(client.stream("held"))
            await anext(aiter(events))

        await begin()
        gc.collect()
        before = resident()
        for _ in range(OPEN):
            await begin()
        gc.collect()
        print((resident() - before) / OPEN, flush=True)
        os._exit(0)  # without the politeness of closing them all


async def open_streams() -> Table:
    """What a stream holds that waits for its next event."""
    table = Table(
        f"Official SDKs: memory with {OPEN} open streams",
        f"Growth of a fresh process per stream that is held open after its first event, with {OPEN} of them. The baseline "
        "is the SDK alone.",
    )
    if sys.platform != "linux":
        return table
    async with provider(PROVIDER) as url:
        for wire in TITLES:
            base = 0.0
            for name in rivals(wire):
                command = [sys.executable, __file__, wire, name, url]
                done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
                used = float(done.stdout)
                base = base or used
                table.rows.append(Row(f"{name}, {wire}", used, "KB", used / base))
    return table


SECTIONS = [*[partial(beside, wire) for wire in TITLES], open_streams]

if __name__ == "__main__":
    asyncio.run(hold(*sys.argv[1:]))
