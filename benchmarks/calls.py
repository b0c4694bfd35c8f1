"""Microseconds per call: the protocol, each layer alone, seven layers on a miss and on a hit, identity."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

from llamina import (
    Budget,
    Cache,
    Chaos,
    CircuitBreaker,
    CostMeter,
    Dedup,
    Handler,
    Logger,
    MemoryCache,
    Recorder,
    Request,
    Response,
    Retry,
    Timeout,
    Usage,
    build_stack,
)
from measure import Row, Table, in_turns

PRICES = {"m": {"input": "0.15", "output": "0.60"}}
ANSWER = Response.of("x" * 200, usage=Usage(50, 50), model="m")


async def terminal(request: Request) -> Response:
    """The cheapest terminal there is."""
    return ANSWER


def empty(call_next: Handler) -> Handler:
    """A layer that does nothing."""

    async def handle(request: Request) -> Response:
        return await call_next(request)

    return handle


def same(handler: Handler, request: Request) -> Callable[[int], Awaitable[None]]:
    """Send one request many times."""

    async def run(calls: int) -> None:
        for _ in range(calls):
            await handler(request)

    return run


_numbers = itertools.count()


def fresh(handler: Handler, size: int = 200) -> Callable[[int], Awaitable[None]]:
    """Send requests that all differ (built beforehand), so that every one of them is a miss.

    The list is longer than the cache, which has forgotten a request when its turn comes again.
    """

    async def run(calls: int) -> None:
        for request in prepared[:calls]:
            await handler(request.evolve(model="m"))  # a copy without the identity

    prompt = "x" * size
    prepared = [Request.chat("m", f"{next(_numbers)} {prompt}", tags={"user": "ada"}) for _ in range(3000)]
    return run


async def protocol() -> Table:
    """Seven empty layers."""
    request = Request.chat("m", "hi")
    bare: Handler = terminal
    for _ in range(7):
        bare = empty(bare)
    seen = await in_turns(
        {
            "transport": same(terminal, request),
            "closures": same(bare, request),
            "stack": same(build_stack([empty] * 7, terminal), request),
            "pins": same(build_stack([], terminal), request),
        },
        calls=5000,
    )
    base = seen["closures"]
    return Table(
        "The protocol",
        "CPU per call; the baseline is seven bare closures.",
        [
            Row("bare transport", seen["transport"], "us", seen["transport"] / base),
            Row("seven bare closures", base, "us", 1.0, "0.8 us"),
            Row("no layer through build_stack: the two pins", seen["pins"], "us", seen["pins"] / base),
            Row("seven empty layers through build_stack", seen["stack"], "us", seen["stack"] / base, "2.0 us"),
        ],
    )


def silent() -> logging.Logger:
    """A logger whose handler drops everything: the cost is that of making the record."""
    logger = logging.getLogger("llamina.benchmark")
    logger.handlers = [logging.NullHandler()]
    logger.propagate = False
    logger.setLevel(logging.INFO)
    return logger


def real_layers(*, dedup: bool) -> list[Any]:
    """The seven, in the recommended order."""
    layers: list[Any] = [
        Logger(logger=silent()),
        Cache(store=MemoryCache(maxsize=100)),
        Dedup(),
        Retry(attempts=3),
        CostMeter(PRICES),
        CircuitBreaker(),
        Timeout(30),
    ]
    return [layer for layer in layers if dedup or not isinstance(layer, Dedup)]


async def alone() -> Table:
    """Each layer alone: what it adds to a stack without layers."""
    request = Request.chat("m", "hi", tags={"user": "ada"})
    quiet = logging.getLogger("llamina.benchmark.off")
    quiet.setLevel(logging.CRITICAL)
    layers = {
        "Timeout(30)": (Timeout(30), "3.5 us"),
        "Timeout(30, grace=None)": (Timeout(30, grace=None), "3.5 us"),
        "Retry()": (Retry(), "0.5 us"),
        "CircuitBreaker()": (CircuitBreaker(), "0.5 us"),
        "CostMeter(prices)": (CostMeter(PRICES), "0.7 us"),
        "CostMeter(prices, one budget)": (CostMeter(PRICES, [Budget("1000000", period="day", scope="user")]), ""),
        "Logger(), level off": (Logger(logger=quiet), ""),
        "Logger(), one record": (Logger(logger=silent()), "1.5 us"),
        "Dedup()": (Dedup(), "9 us"),
    }
    variants = {"base": same(build_stack([], terminal), request)}
    folder = tempfile.TemporaryDirectory()
    cassette = f"{folder.name}/cassette.json"
    await build_stack([Recorder(cassette, "record")], terminal)(request)
    layers["Chaos(), every rate 0"] = (Chaos(), "")
    layers["Chaos(error_rate=1e-9), drawn for each call"] = (Chaos(error_rate=1e-9), "")
    replay = Recorder(cassette, "replay")
    variants |= {name: same(build_stack([layer], terminal), request) for name, (layer, _) in layers.items()}
    variants["Recorder(), a replay of 0.2 KB"] = same(build_stack([replay], terminal), request)
    variants["Cache(), a hit of 0.2 KB"] = same(build_stack([Cache()], terminal), Request.chat("m", "x" * 200))
    variants["fresh base"] = fresh(build_stack([], terminal))
    variants["Cache(), a miss"] = fresh(build_stack([Cache(store=MemoryCache(maxsize=100))], terminal))
    seen = await in_turns(variants, calls=2000)
    base = seen["base"]
    rows = [Row("no layer", base, "us", 1.0)]
    rows += [
        Row(f"{name} adds", seen[name] - base, "us", seen[name] / base, budget) for name, (_, budget) in layers.items()
    ]
    rows.append(Row("Cache(), a miss adds", seen["Cache(), a miss"] - seen["fresh base"], "us", None))
    rows.append(Row("Cache(), a hit of 0.2 KB, in all", seen["Cache(), a hit of 0.2 KB"], "us", None, "3 us"))
    rows.append(Row("Recorder(), a replay of 0.2 KB, in all", seen["Recorder(), a replay of 0.2 KB"], "us", None))
    folder.cleanup()
    return Table("Each layer alone", "CPU that a layer adds to a call through `build_stack([], transport)`.", rows)


async def seven() -> Table:
    """Seven real layers."""
    small, large = (
        Request.chat("m", "x" * 200, tags={"user": "ada"}),
        Request.chat("m", "x" * 1000, tags={"user": "ada"}),
    )
    # Without a handler that listens, as an app has it that only counts.
    hit = build_stack([Cache(), *real_layers(dedup=True)[2:]], terminal)
    seen = await in_turns(
        {
            "bare": fresh(terminal),
            "without": fresh(build_stack(real_layers(dedup=False), terminal)),
            "with": fresh(build_stack(real_layers(dedup=True), terminal)),
            "grace": fresh(build_stack([*real_layers(dedup=False)[:-1]], terminal)),
            "small": same(hit, small),
            "large": same(hit, large),
        },
        calls=2000,
    )
    base = seen["bare"]
    return Table(
        "Seven real layers",
        "CPU per call. A miss: every request is new and goes through all layers; figures are what is added to the bare "
        "transport. A hit: the whole call.",
        [
            Row("bare transport", base, "us", 1.0),
            Row("miss, six layers (no Dedup), added", seen["without"] - base, "us", seen["without"] / base, "9 us"),
            Row("miss, seven layers, added", seen["with"] - base, "us", seen["with"] / base, "18 us"),
            Row("miss, five layers (no Dedup, no Timeout), added", seen["grace"] - base, "us", seen["grace"] / base),
            Row("hit through the stack, request of 0.2 KB", seen["small"], "us", None, "3 us"),
            Row("hit through the stack, request of 1 KB", seen["large"], "us", None, "5 us"),
        ],
    )


async def identity() -> Table:
    """The digest."""
    table = Table(
        "Identity", "CPU per digest; the baseline is json.dumps(sort_keys=True) with SHA-256, in the same run."
    )
    for kilobytes, budget in ((1, "1.5 us"), (10, "11.5 us"), (100, "120 us")):
        request = Request.chat("m", "x" * (1000 * kilobytes), temperature=0.7, max_tokens=100)
        body = {
            "model": "m",
            "messages": [{"role": "user", "content": "x" * (1000 * kilobytes)}],
            "temperature": 0.7,
            "max_tokens": 100,
        }

        async def ours(calls: int, request: Request = request) -> None:
            for _ in range(calls):
                _ = request.evolve(model="m").identity

        async def copies(calls: int, request: Request = request) -> None:
            for _ in range(calls):
                request.evolve(model="m")

        async def theirs(calls: int, body: dict[str, Any] = body) -> None:
            for _ in range(calls):
                hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()

        async def floor(calls: int, data: bytes = b"x" * (1000 * kilobytes)) -> None:
            for _ in range(calls):
                hashlib.sha256(data).hexdigest()

        seen = await in_turns(
            {"ours": ours, "copies": copies, "json": theirs, "sha": floor}, calls=max(50, 3000 // kilobytes)
        )
        value = seen["ours"] - seen["copies"]
        table.rows.append(Row(f"identity, {kilobytes} KB", value, "us", value / seen["json"], budget))
        table.rows.append(Row(f"json + sha256, {kilobytes} KB", seen["json"], "us", 1.0))
        table.rows.append(Row(f"sha256 alone, {kilobytes} KB", seen["sha"], "us", seen["sha"] / seen["json"]))
    return table


SECTIONS = [protocol, alone, seven, identity]
