"""Seven layers round an echo: plain, cached, joined and streamed calls, and what each of them cost.

python examples/quickstart.py
"""

import asyncio
import logging

from llamina import (
    Budget,
    Cache,
    CircuitBreaker,
    CostMeter,
    Dedup,
    Exponential,
    Logger,
    Request,
    Retry,
    Timeout,
    build_stack,
)
from llamina.transports import EchoTransport


async def main() -> None:
    meter = CostMeter(
        prices={"echo": {"input": "0.15", "output": "0.60"}},  # USD per million tokens
        budgets=[Budget("5.00", period="day", scope="user")],
    )
    layers = [
        Logger(),  # outermost: sees the request first
        Cache(),
        Dedup(),
        Retry(attempts=3, backoff=Exponential(base=0.5, cap=30)),
        meter,
        CircuitBreaker(fail_max=5, reset_timeout=60),
        Timeout(30),  # innermost: the limit of one try
    ]
    async with build_stack(layers, EchoTransport(delay=0.02, piece_delay=0.01)) as stack:
        question = Request.chat("echo", "Why is the sky blue?", tags={"user": "ada"})

        first = await stack(question)
        print(f"asked      {first.text}")
        print(f"           {first.usage.total_tokens} tokens, {first.call.cost:f} USD")

        again = await stack(question)
        print(f"cached     {again.call.cached}, {again.call.cost} USD")

        many = await asyncio.gather(*[stack(Request.chat("echo", "All at once")) for _ in range(10)])
        print(f"joined     10 callers, {sum(len(response.call.attempts) for response in many)} upstream call")

        async with stack.stream(Request.chat("echo", "Tell me a story", temperature=0.7)) as stream:
            pieces = [event.text async for event in stream]
        print(f"streamed   {'|'.join(pieces)}")

        print(f"all in all {meter.totals()}")
        print(f"by user    {meter.by('user')}")


logging.basicConfig(level=logging.INFO, format="log        %(message)s")
asyncio.run(main())
