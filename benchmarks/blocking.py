"""What a thread pays for the blocking face, beside the async one: per call and per streamed event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from llamina import Client, Request, Response, Stack, Usage, build_stack
from measure import Row, Table, in_turns
from streams import EVENTS, burst, one_by_one, reading

REQUEST = Request.chat("m", "hi")
DONE = Response.of("hello", usage=Usage(10, 5), model="m")


async def at_once(request: Request) -> Response:
    """A provider that answers at once."""
    return DONE


def calls(stack: Stack) -> Callable[[int], Awaitable[None]]:
    """Calls, one after the other, in this loop."""

    async def run(count: int) -> None:
        for _ in range(count):
            await stack(REQUEST)

    return run


def blocking_calls(stack: Stack) -> Callable[[int], Awaitable[None]]:
    """The same from this thread, through the background loop."""
    face = stack.blocking()

    async def run(count: int) -> None:
        for _ in range(count):
            face(REQUEST)

    return run


def chats(stack: Stack) -> Callable[[int], Awaitable[None]]:
    """Calls of the client, in this loop."""
    client = Client(stack, model="m")

    async def run(count: int) -> None:
        for _ in range(count):
            await client.chat("hi")

    return run


def blocking_chats(stack: Stack) -> Callable[[int], Awaitable[None]]:
    """Calls of the blocking client."""
    client = Client(stack, model="m").blocking()

    async def run(count: int) -> None:
        for _ in range(count):
            client.chat("hi")

    return run


def portal_calls(stack: Stack) -> Callable[[int], Awaitable[None]]:
    """The same through a blocking portal of anyio."""
    from anyio.from_thread import start_blocking_portal

    async def run(count: int) -> None:
        with start_blocking_portal() as portal:
            for _ in range(count):
                portal.call(stack, REQUEST)

    return run


def blocking_reading(stack: Stack) -> Callable[[int], Awaitable[None]]:
    """Read whole streams in this thread; one call of the measure is one event."""
    face = stack.blocking()

    async def run(events: int) -> None:
        for number in range(max(1, events // EVENTS)):
            with face.stream(Request.chat("m", f"hi {number}")) as stream:
                for _ in stream:
                    pass

    return run


async def per_call() -> Table:
    """The cost of a call."""
    stack = build_stack([], at_once)
    seen = await in_turns(
        {
            "async": calls(stack),
            "chat": chats(stack),
            "blocking": blocking_calls(stack),
            "blocking chat": blocking_chats(stack),
            "portal": portal_calls(stack),
        },
        calls=2000,
    )
    return Table(
        "Blocking calls",
        "CPU per call of both threads, no layer, a provider that answers at once.",
        [
            Row("async, the stack (baseline)", seen["async"], "us", 1.0),
            Row("async, the client", seen["chat"], "us", seen["chat"] / seen["async"]),
            Row("blocking, the stack", seen["blocking"], "us", seen["blocking"] / seen["async"], "async + 100 us"),
            Row("blocking, the client", seen["blocking chat"], "us", seen["blocking chat"] / seen["async"]),
            Row("a blocking portal of anyio", seen["portal"], "us", seen["portal"] / seen["async"]),
        ],
    )


async def per_event() -> Table:
    """The cost of an event."""
    quick, slow = build_stack([], burst), build_stack([], one_by_one)
    seen = await in_turns(
        {
            "async burst": reading(quick),
            "blocking burst": blocking_reading(quick),
            "async alone": reading(slow),
            "blocking alone": blocking_reading(slow),
        },
        calls=EVENTS * 10,
    )
    return Table(
        "Blocking streams",
        "CPU per event of both threads, no layer. Each kind beside the async stream of the same events.",
        [
            Row("in bursts, async (baseline)", seen["async burst"], "us", 1.0),
            Row(
                "in bursts, blocking",
                seen["blocking burst"],
                "us",
                seen["blocking burst"] / seen["async burst"],
                "5 us",
            ),
            Row("a turn of the loop between them, async (baseline)", seen["async alone"], "us", 1.0),
            Row("the same, blocking", seen["blocking alone"], "us", seen["blocking alone"] / seen["async alone"]),
        ],
    )


SECTIONS = [per_call, per_event]
