"""The SDKs through a door, beside the SDKs alone: what a call and a streamed event cost more, or less.

Without an SDK and without a network first: the stack answers at once, and the HTTP client alone is given the same bytes, in
the same pieces. So the difference is the door and the layers. Then under the SDKs, and then against the simulated
provider, in a process of its own. Every request differs from those before it, so that each is a miss for the cache and has
a flight of its own. Retries of the SDKs are off.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, NamedTuple

from calls import real_layers
from llamina import Handler, Request, Response, Stack, TextDelta, Usage, build_stack
from llamina.doors import httpx2_async_client, httpx2_client
from llamina.transports import HTTPTransport
from measure import Row, Table, Variant, in_turns
from over_http import drive, provider
from over_sdks import MOST, PROMPT

EVENTS = 200
PROVIDER = f"""
import asyncio
from llamina.testing import SimulatedProvider

PIECES = [f"word{{number}} " for number in range({EVENTS})]

def script(request):
    return PIECES if request.messages[-1].text.startswith("Tell") else "a short answer of a few words"

async def main():
    async with SimulatedProvider(script) as provider:
        print(provider.base_url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
SHORT = Response.of("a short answer of a few words", usage=Usage(42, 8), model="m", id="answer-1")
PIECES = [TextDelta(f"word{number} ") for number in range(EVENTS)]
LONG = Response.of("".join(piece.text for piece in PIECES), usage=Usage(42, EVENTS), model="m", id="answer-2")

_numbers = itertools.count()


def answering(pause: bool) -> Handler:
    """A provider that answers at once; with *pause* the loop turns before each event of a stream."""

    async def handle(request: Request) -> Response:
        if request.sink is None:
            return SHORT
        out = request.begin()
        for piece in PIECES:
            if pause:
                await asyncio.sleep(0)
            await out.send(piece)
        return LONG

    return handle


# The apps: an SDK, and the HTTP client that it is given.


class App(NamedTuple):
    """What an app does with its SDK; each call of `call` and of `stream` sends a request that was never sent before."""

    sdk: Any
    call: Callable[[], Any]
    stream: Callable[[], Any]


def fields(sdk: str, task: str) -> dict[str, Any]:
    """A request of some 160 characters, unlike all others."""
    most = {"max_tokens": MOST} if "nthropic" in sdk else {"max_completion_tokens": MOST}
    return {"model": "m", "messages": [{"role": "user", "content": f"{task} {next(_numbers)} {PROMPT}"}], **most}


def app(sdk: str, url: str, client: Any = None) -> App:
    """An app of the class *sdk* whose HTTP client is *client*, its own where that is None."""
    given: dict[str, Any] = {"api_key": "sk", "base_url": url, "max_retries": 0, "http_client": client}
    if "nthropic" in sdk:
        import anthropic

        built = getattr(anthropic, sdk)(**{**given, "base_url": url.removesuffix("/v1")}, open_telemetry=False)
        return App(
            built,
            lambda: built.messages.create(**fields(sdk, "Say")),
            lambda: built.messages.create(**fields(sdk, "Tell"), stream=True),
        )
    import openai

    built = getattr(openai, sdk)(**given)
    usage = {"stream_options": {"include_usage": True}}
    return App(
        built,
        lambda: built.chat.completions.create(**fields(sdk, "Say")),
        lambda: built.chat.completions.create(**fields(sdk, "Tell"), stream=True, **usage),
    )


def calls_of(app: App) -> Variant:
    """Calls, one after the other."""

    async def run(count: int) -> None:
        for _ in range(count):
            answer = app.call()
            if asyncio.iscoroutine(answer):
                await answer

    return run


def streams_of(app: App) -> Variant:
    """Whole streams; one call of the measure is one piece of text."""

    async def run(events: int) -> None:
        for _ in range(max(1, events // EVENTS)):
            stream = app.stream()
            if not asyncio.iscoroutine(stream):
                with stream:
                    for _ in stream:
                        pass
                continue
            async with await stream as chunks:
                async for _ in chunks:
                    pass

    return run


# Without a network.


class Canned(NamedTuple):
    """An HTTP client that answers with bytes it has: what a stack behind a door once said, in the same pieces."""

    whole: bytes
    pieces: Sequence[bytes]

    def client(self, sdk: str, *, pause: bool) -> Any:
        """For *sdk*; with *pause* the loop turns before each piece of a stream."""
        import httpx2

        whole, pieces = self

        class Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
            def __iter__(self) -> Iterator[bytes]:
                return iter(pieces)

            async def __aiter__(self) -> AsyncIterator[bytes]:
                for piece in pieces:
                    if pause:
                        await asyncio.sleep(0)
                    yield piece

        def answer(request: Any) -> Any:
            if b'"stream":true' in request.content:
                return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Body())
            return httpx2.Response(200, headers={"content-type": "application/json"}, content=whole)

        kind = httpx2.AsyncClient if sdk.startswith("Async") else httpx2.Client
        return kind(transport=httpx2.MockTransport(answer))

    @staticmethod
    async def of(sdk: str) -> Canned:
        """What a door says to *sdk*."""
        async with httpx2_async_client(build_stack([], answering(pause=False))) as client:
            whole = await client.post(path_of(sdk), json=fields(sdk, "Say"))
            async with client.stream("POST", path_of(sdk), json=streamed(sdk)) as answer:
                return Canned(whole.content, [piece async for piece in answer.aiter_raw()])


def path_of(sdk: str) -> str:
    """Where *sdk* sends its requests."""
    return "http://door/v1/messages" if "nthropic" in sdk else "http://door/v1/chat/completions"


def streamed(sdk: str) -> dict[str, Any]:
    """The fields of a streamed request."""
    usage = {} if "nthropic" in sdk else {"stream_options": {"include_usage": True}}
    return {**fields(sdk, "Tell"), "stream": True, **usage}


def raw_calls(client: Any, sdk: str) -> Variant:
    """Calls by the HTTP client itself, without an SDK."""

    async def run(count: int) -> None:
        for _ in range(count):
            await client.post(path_of(sdk), json=fields(sdk, "Say"))

    return run


def raw_streams(client: Any, sdk: str) -> Variant:
    """Streams by the HTTP client itself; one call of the measure is one piece of text."""

    async def run(events: int) -> None:
        for _ in range(max(1, events // EVENTS)):
            async with client.stream("POST", path_of(sdk), json=streamed(sdk)) as answer:
                async for _ in answer.aiter_bytes():
                    pass

    return run


def behind(sdk: str, stack: Stack) -> App:
    """An app of which *stack* answers the requests."""
    door = httpx2_async_client if sdk.startswith("Async") else httpx2_client
    return app(sdk, "http://door/v1", door(stack))


def sdks() -> list[str]:
    """The classes that are installed."""
    found = ["AsyncOpenAI", "OpenAI"] if importlib.util.find_spec("openai") else []
    return [*found, *(["AsyncAnthropic"] if importlib.util.find_spec("anthropic") else [])]


SEVEN = "Seven layers: Logger, Cache, Dedup, Retry, CostMeter, CircuitBreaker, Timeout."


async def without_sdk() -> Table:
    """The door alone."""
    table = Table(
        "Doors: without an SDK",
        f"CPU per call and per piece of text in streams of {EVENTS}, of requests that `httpx2.AsyncClient` sends. The "
        "baseline answers at once with the bytes that the door says, in the same pieces. What is above it are the door "
        f"and the stack, and no more. {SEVEN}",
    )
    for sdk, wire in (("AsyncOpenAI", "chat"), ("AsyncAnthropic", "messages")):
        import httpx2

        canned = await Canned.of(sdk)
        wait = httpx2.Timeout(600.0)  # as the SDKs have it
        clients = {
            "alone": canned.client(sdk, pause=False),
            "no layer": httpx2_async_client(build_stack([], answering(pause=False)), timeout=wait),
            "seven layers": httpx2_async_client(
                build_stack(real_layers(dedup=True), answering(pause=False)), timeout=wait
            ),
        }
        for what, variant, count in (("a call", raw_calls, 300), ("an event", raw_streams, EVENTS * 10)):
            variants = {name: variant(client, sdk) for name, client in clients.items()}
            add(
                table,
                f"httpx2 on bytes at hand, {wire}, {what}",
                f"{wire}, {what}",
                await in_turns(variants, calls=count),
            )
    return table


async def without_network() -> Table:
    """The door under an SDK: on bytes at hand, and on a stack that answers at once."""
    table = Table(
        "Doors: without a network",
        f"CPU per call and per piece of text in streams of {EVENTS}, all threads together, the SDK included. The baseline "
        "is the SDK on an HTTP client that answers at once, with the bytes that the door says, in the same pieces. What "
        f"is above it are the door and the stack, with the caches of the processor cold from the work of the SDK. {SEVEN}",
    )
    for sdk in sdks():
        canned = await Canned.of(sdk)
        kinds = [("a call", calls_of, 200, False), ("an event, in bursts", streams_of, EVENTS * 4, False)]
        if sdk.startswith("Async"):
            kinds.append(("an event that arrives alone", streams_of, EVENTS * 4, True))
        for what, variant, count, pause in kinds:
            apps = {
                "alone": app(sdk, "http://door/v1", canned.client(sdk, pause=pause)),
                "no layer": behind(sdk, build_stack([], answering(pause))),
                "seven layers": behind(sdk, build_stack(real_layers(dedup=True), answering(pause))),
            }
            variants = {name: variant(each) for name, each in apps.items()}
            add(table, f"{sdk} on bytes at hand, {what}", what, await in_turns(variants, calls=count))
    return table


def add(table: Table, base: str, what: str, seen: dict[str, float]) -> None:
    """The rows of one thing to do: the baseline, and what is added to it."""
    alone = seen["alone"]
    table.rows.append(Row(base, alone, "us", 1.0))
    for name in ("no layer", "seven layers"):
        table.rows.append(Row(f"a door and {name}, {what}, added", seen[name] - alone, "us", seen[name] / alone))


# Against a provider.


class Seen:
    """The best that was seen of one app."""

    def __init__(self) -> None:
        self.cpu: dict[int, float] = {}
        self.rate: dict[int, float] = {}
        self.event = float("inf")

    def note(self, concurrency: int, cpu: float, rate: float) -> None:
        """Keep what is better than in the rounds before."""
        self.cpu[concurrency] = min(cpu, self.cpu.get(concurrency, float("inf")))
        self.rate[concurrency] = max(rate, self.rate.get(concurrency, 0.0))


LOADS = ((1, 60, 8), (64, 256, 4))  # in flight, calls, rounds


def over_engines(sdk: str, url: str) -> dict[str, Stack | None]:
    """The stacks to measure; None for the SDK alone."""
    wire = "anthropic" if "nthropic" in sdk else "chat"
    base = url.removesuffix("/v1") if wire == "anthropic" else url
    found: dict[str, Stack | None] = {f"{sdk} alone": None}
    for engine in ("httpx2", "aiohttp"):
        if importlib.util.find_spec(engine):
            for name, layers in (("no layer", []), ("seven layers", real_layers(dedup=True))):
                transport = HTTPTransport(base_url=base, api_key="sk", wire=wire, engine=engine)
                found[f"a door, {name}, {engine}"] = build_stack(layers, transport)
    return found


async def race(sdk: str, url: str) -> dict[str, Seen]:
    """All apps of *sdk*, in turns."""
    seen = {name: Seen() for name in over_engines(sdk, url)}
    go = drive if sdk.startswith("Async") else threads
    async with AsyncExitStack() as entered:
        apps = {}
        for name, stack in over_engines(sdk, url).items():
            if stack is None:
                apps[name] = app(sdk, url)
            else:
                apps[name] = behind(sdk, stack)
                face: Any = stack.blocking()
                if go is drive:
                    await entered.enter_async_context(stack)
                else:
                    entered.enter_context(face)
        for concurrency, calls, rounds in LOADS:
            for each in apps.values():
                await go(each.call, concurrency, concurrency)
            for _ in range(rounds):
                for name, each in apps.items():
                    gc.collect()
                    seen[name].note(concurrency, *await go(each.call, concurrency, calls))
        for _ in range(8):
            for name, each in apps.items():
                gc.collect()
                started = time.process_time()
                await streams_of(each)(EVENTS * 3)
                spent = (time.process_time() - started) / (EVENTS * 3) * 1e6
                seen[name].event = min(seen[name].event, spent)
        for each in apps.values():
            closing = each.sdk.close()
            if asyncio.iscoroutine(closing):
                await closing
    return seen


async def threads(call: Callable[[], Any], concurrency: int, calls: int) -> tuple[float, float]:
    """As `drive` does it, with blocking calls in as many threads as are in flight."""
    with ThreadPoolExecutor(concurrency) as pool:
        list(pool.map(lambda _: None, range(concurrency)))
        cpu, clock = time.process_time(), time.perf_counter()
        list(pool.map(lambda _: call(), range(calls)))
        return (time.process_time() - cpu) / calls * 1e6, calls / (time.perf_counter() - clock)


async def through(sdk: str) -> Table:
    """An SDK against the provider, alone and through a door."""
    table = Table(
        f"Doors: {sdk}",
        f"CPU of the client's process per call and per piece of text in streams of {EVENTS}, and calls per second; the "
        "provider has a process of its own. The baseline is the SDK alone, in turns with the others; behind the door is "
        f"HTTPTransport. In flight are {'tasks' if sdk.startswith('Async') else 'threads'}.",
    )
    if sdk not in sdks():
        return table
    async with provider(PROVIDER) as url:
        seen = await race(sdk, url)
    base = seen[f"{sdk} alone"]
    for concurrency, _, _ in LOADS:
        at = f"{concurrency} in flight"
        for name, each in seen.items():
            cpu = each.cpu[concurrency]
            table.rows.append(Row(f"{name}, {at}", cpu, "us CPU", cpu / base.cpu[concurrency]))
        for name, each in seen.items():
            rate = each.rate[concurrency]
            table.rows.append(Row(f"{name}, {at}", rate, "calls/s", rate / base.rate[concurrency]))
    for name, each in seen.items():
        table.rows.append(Row(f"{name}, a streamed event", each.event, "us CPU", each.event / base.event))
    return table


SECTIONS: list[Callable[[], Awaitable[Table]]] = [
    without_sdk,
    without_network,
    *[partial(through, sdk) for sdk in ("AsyncOpenAI", "AsyncAnthropic", "OpenAI")],
]
