"""The HTTP transport against a real server on a loopback socket that fails in many ways and keeps the bill.

python examples/faults_over_http.py
"""

import asyncio
from collections.abc import Awaitable
from typing import Any

from llamina import Constant, CostMeter, LLMError, Request, Retry, Timeout, build_stack
from llamina.testing import SimulatedProvider, cut, error_event, garbage, stall, status
from llamina.transports import HTTPTransport

PRICES = {"sim": {"input": "1", "output": "2"}}  # USD per million tokens
SCRIPT = {
    "a 503, then a 429 that says when": [status(503), status(429, retry_after=0.05), "hello"],
    "a 200 that is no completion": [garbage(), "hello"],
    "an error inside a stream of status 200": [[error_event("overloaded_error")], ["Hel", "lo"]],
    "a stream that is cut after some text": [["par", cut()]],
    "a stream that goes silent": [["par", stall()]],
    "a 429 that no waiting heals": [status(429, code="insufficient_quota")],
    "a key that is not accepted": [status(401)],
}


async def told(call: Awaitable[Any]) -> str:
    """How a call ended, with every attempt."""
    try:
        response = await call
        outcome, record = f"{response.text!r}", response.call
    except LLMError as error:
        partial = f" after {error.partial.text!r}" if error.partial else ""
        outcome, record = f"{type(error).__name__}{partial}", error.call
    return f"{outcome:38} {[attempt.outcome for attempt in record.attempts]}"


async def main() -> None:
    meter = CostMeter(prices=PRICES)
    async with SimulatedProvider([item for items in SCRIPT.values() for item in items]) as provider:
        transport = HTTPTransport(base_url=provider.base_url, api_key="sk-this-is-never-shown")
        layers = [Retry(attempts=3, backoff=Constant(0.01)), meter, Timeout(2, idle=0.2)]
        async with build_stack(layers, transport) as stack:

            async def streamed(request: Request) -> Any:
                async with stack.stream(request) as stream:
                    return await stream.complete()

            for title in SCRIPT:
                request = Request.chat("sim", title)
                print(f"{title:40}", await told(streamed(request) if "stream" in title else stack(request)))
        await provider.settled()

        print()
        print(f"requests   {len(provider.requests)}")
        print(f"ledger     {meter.totals()}")
        print(f"bill       {provider.billed_cost(PRICES):f} USD (the 503 was not billed; the ledger cannot know that)")
        assert meter.totals().cost >= provider.billed_cost(PRICES)


asyncio.run(main())
