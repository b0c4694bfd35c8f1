"""Five hundred prompts, at most twenty at a time, over a transport that fails now and then; no prompt is lost.

python examples/batch_with_progress.py
"""

import asyncio
import random
import sys

from llamina import (
    CostMeter,
    Exponential,
    Handler,
    LLMError,
    OverloadedError,
    RateLimitError,
    Request,
    Response,
    Retry,
    Stack,
    Timeout,
    build_stack,
)
from llamina.transports import EchoTransport

CHANCE = random.Random(7)
PROMPTS = [f"Summarise document {number}" for number in range(500)]


def shaky(inner: Handler) -> Handler:
    """A provider with bad moments: one call in ten fails."""

    async def handle(request: Request) -> Response:
        if CHANCE.random() < 0.1:
            raise CHANCE.choice([OverloadedError("no room"), RateLimitError("slow down", retry_after=0.02)])
        return await inner(request)

    return handle


async def run(stack: Stack, prompts: list[str], *, at_once: int) -> dict[str, Response | LLMError]:
    """Every prompt with its answer or its error. Workers take from one list, so that there are never more tasks."""
    done: dict[str, Response | LLMError] = {}
    waiting = iter(prompts)

    async def work() -> None:
        for prompt in waiting:
            try:
                done[prompt] = await stack(Request.chat("echo", prompt, max_tokens=200))
            except LLMError as error:
                done[prompt] = error
            if len(done) % 100 == 0:
                print(f"{len(done):4} of {len(prompts)}", file=sys.stderr, flush=True)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
    return done


async def main() -> None:
    meter = CostMeter(prices={"echo": {"input": "0.15", "output": "0.60"}})
    layers = [Retry(attempts=6, backoff=Exponential(base=0.01, cap=0.2)), meter, Timeout(30)]
    async with build_stack(layers, shaky(EchoTransport(delay=0.01))) as stack:
        done = await run(stack, PROMPTS, at_once=20)
        stats = stack.stats()

    failed = [prompt for prompt, answer in done.items() if isinstance(answer, LLMError)]
    assert len(done) == len(PROMPTS)
    print(f"answered {len(done) - len(failed)}, failed {len(failed)}")
    print(f"tries    {stats['retry.attempts']}, of which {stats['retry.retries']} were not the first")
    print(f"cost     {meter.totals()}")


asyncio.run(main())
