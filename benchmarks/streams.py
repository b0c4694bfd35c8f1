"""Microseconds per streamed event, with no layer and with seven, in bursts and arriving alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from calls import real_layers
from llamina import Request, Response, Stack, TextDelta, Timeout, Usage, build_stack
from measure import Row, Table, in_turns

EVENTS = 500
PIECE = TextDelta("word ")
DONE = Response.of("word " * EVENTS, usage=Usage(10, EVENTS), model="m")


async def burst(request: Request) -> Response:
    """A provider whose events are all there."""
    out = request.begin()
    for _ in range(EVENTS):
        await out.send(PIECE)
    return DONE


async def one_by_one(request: Request) -> Response:
    """A provider whose events come alone: the loop turns between them."""
    out = request.begin()
    for _ in range(EVENTS):
        await asyncio.sleep(0)
        await out.send(PIECE)
    return DONE


def reading(stack: Stack) -> Callable[[int], Awaitable[None]]:
    """Read whole streams; one call of the measure is one event."""

    async def run(events: int) -> None:
        for number in range(max(1, events // EVENTS)):
            async with stack.stream(Request.chat("m", f"hi {number}")) as stream:
                async for _ in stream:
                    pass

    return run


async def turns(events: int) -> None:
    """The baseline of events that arrive alone: as many turns of the loop."""
    for _ in range(events):
        await asyncio.sleep(0)


async def per_event() -> Table:
    """The cost of an event."""
    layers = [layer for layer in real_layers(dedup=True)[2:] if not isinstance(layer, Timeout)]
    watched = [*layers, Timeout(30, first_event=10, idle=10)]
    seen = await in_turns(
        {
            "turns": turns,
            "burst 0": reading(build_stack([], burst)),
            "burst 5": reading(build_stack([*layers, Timeout(30)], burst)),
            "burst 5w": reading(build_stack(watched, burst)),
            "alone 0": reading(build_stack([], one_by_one)),
            "alone 5": reading(build_stack([*layers, Timeout(30)], one_by_one)),
        },
        calls=EVENTS * 10,
    )
    return Table(
        "Streamed events",
        "CPU per event, consumer included. Five real layers (Dedup, Retry, CostMeter, CircuitBreaker, Timeout) as a miss.",
        [
            Row("in bursts, no layer", seen["burst 0"], "us", 1.0),
            Row("in bursts, real layers", seen["burst 5"], "us", seen["burst 5"] / seen["burst 0"], "1 us"),
            Row(
                "in bursts, real layers, idle limit watched", seen["burst 5w"], "us", seen["burst 5w"] / seen["burst 0"]
            ),
            Row("a turn of the loop (baseline of the next two)", seen["turns"], "us", 1.0),
            Row("arriving alone, no layer", seen["alone 0"], "us", seen["alone 0"] / seen["turns"]),
            Row("arriving alone, real layers", seen["alone 5"], "us", seen["alone 5"] / seen["turns"], "6.5 us"),
        ],
    )


SECTIONS = [per_event]
