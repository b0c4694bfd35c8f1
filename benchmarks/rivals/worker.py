"""One library in a process of its own, which measures on command: `worker.py KIND NAME [URL]`.

Each line on its input is a JSON object, and so is each line of its answer; `{"failed": reason}` is one too. A process of
its own means that the memory, the garbage and the imports of no library burden another; the conductor lets the processes
take turns, so that a noisy machine is noisy for all of them alike.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from clients import CLIENTS, Client, numbered

PIECES = 200
SETTLE = 0.02
"""Seconds after a round in which a library may end what it does in the background; its CPU counts."""

FULL = 8.0
"""Seconds after which a stream that does not open waits for a connection of a pool that is full."""

Command = dict[str, Any]
Answer = dict[str, Any]
Task = Callable[[Command], Awaitable[Answer]]


def resident() -> float:
    """MB that this process holds in memory."""
    with open("/proc/self/statm") as file:  # noqa: PTH123 - pathlib would be an import of ours in a bare process
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def calls(client: Client, command: Command) -> Answer:
    """CPU microseconds per call, and calls per second, with so many in flight."""
    left = count = command["calls"]

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await client.call(numbered())

    gc.collect()
    cpu, clock = time.process_time(), time.perf_counter()
    await asyncio.gather(*[work() for _ in range(command["in_flight"])])
    took = time.perf_counter() - clock
    await asyncio.sleep(SETTLE)
    return {"cpu": (time.process_time() - cpu) / count * 1e6, "rate": count / took}


async def events(client: Client, command: Command) -> Answer:
    """CPU microseconds per piece of text of whole streams."""
    gc.collect()
    cpu = time.process_time()
    for _ in range(command["streams"]):
        seen = 0
        async with client.stream("long") as stream:
            async for _ in stream:
                seen += 1
        if seen < PIECES * 0.9:
            raise RuntimeError(f"only {seen} events of {PIECES} came")
    await asyncio.sleep(SETTLE)
    return {"cpu": (time.process_time() - cpu) / (command["streams"] * PIECES) * 1e6}


async def memory(client: Client, command: Command) -> Answer:
    """MB after the first call; KB by which the process grows with each stream that is held open."""
    await client.call(numbered())
    gc.collect()
    rest = resident()
    streams = AsyncExitStack()

    async def begin() -> None:
        stream = await streams.enter_async_context(client.stream("held"))
        await anext(aiter(stream))

    await begin()
    gc.collect()
    before = resident()
    held = 0
    while held < command["streams"]:
        try:
            async with asyncio.timeout(FULL):
                await begin()
        except TimeoutError:  # its pool of connections is full
            break
        held += 1
    gc.collect()
    return {"rest": rest, "stream": (resident() - before) * 1000 / max(held, 1), "held": held + 1}


@asynccontextmanager
async def a_client(name: str, url: str) -> AsyncIterator[Task]:
    """What is asked of a client."""
    async with CLIENTS[name].enter(url) as client:
        kinds = {"calls": calls, "events": events, "memory": memory}
        yield lambda command: kinds[command["do"]](client, command)


@asynccontextmanager
async def a_concern(name: str, _url: str) -> AsyncIterator[Task]:
    """What is asked of one concern of one library."""
    from concerns import CONCERNS

    async with CONCERNS[name].enter() as measure:
        yield lambda _command: measure()


@asynccontextmanager
async def a_fact(name: str, _url: str) -> AsyncIterator[Task]:
    """What is asked of the facts of one library."""
    from facts import FACTS

    yield lambda command: FACTS[name].find(command["do"])


KINDS = {"client": a_client, "concern": a_concern, "fact": a_fact}


def reason(error: BaseException) -> str:
    """Why it failed, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


async def serve(kind: str, name: str, url: str, out: Any) -> None:
    """Answer each line."""

    def answer(found: Answer) -> None:
        print(json.dumps(found), file=out, flush=True)

    try:
        async with KINDS[kind](name, url) as task:
            answer({"ready": True})
            while line := await asyncio.to_thread(sys.stdin.readline):
                try:
                    answer(await asyncio.wait_for(task(json.loads(line)), 90))
                except Exception as error:
                    answer({"failed": reason(error)})
            os._exit(0)  # without the politeness of closing what is open
    except BaseException as error:
        answer({"failed": reason(error)})
        os._exit(1)


def main() -> None:
    """Give standard output to the answers alone: libraries print."""
    warnings.simplefilter("ignore")
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    kind, name, *url = sys.argv[1:]
    asyncio.run(serve(kind, name, url[0] if url else "", out))


if __name__ == "__main__":
    main()
