"""OpenAI's chat completions: a tool, a stream and what it cost. With OPENAI_API_KEY set it asks OpenAI, else a simulation.

python examples/openai_chat.py
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from llamina import CostMeter, Request, Retry, Stack, Timeout, build_stack
from llamina.testing import SimulatedProvider, answer, tool_call
from llamina.tools import run_tools, tool
from llamina.transports import OpenAITransport

MODEL = "gpt-5.4-mini"
PRICES = {
    "gpt-5*": {"input": "0.75", "cache_read": "0.075", "output": "4.50"}
}  # USD per million tokens; yours may differ


@tool
def weather(city: str, days: int = 1) -> str:
    """The weather of a city for the next days."""
    return f"{city}, for {days} day(s): rain, 12 degrees"


SCRIPT = [
    tool_call("weather", {"city": "Lyon", "days": 2}),
    ["Rain ", "in Lyon. ", "Take ", "an umbrella."],
    answer("Bye!"),
]


@asynccontextmanager
async def openai() -> AsyncIterator[OpenAITransport]:
    """The real one where its key is set."""
    if os.environ.get("OPENAI_API_KEY"):
        yield OpenAITransport()
        return
    async with SimulatedProvider(SCRIPT) as provider:
        yield OpenAITransport(api_key="sk-simulated", base_url=provider.base_url)


async def talk(stack: Stack) -> None:
    asked = Request.chat(MODEL, "What do I wear in Lyon, tomorrow and the day after?", tools=[weather])
    answered = await stack(asked)
    for call in answered.tool_calls:
        print(f"called: {call.name}({call.arguments_text})")

    asked = asked.reply(answered, *await run_tools(answered, [weather]))
    async with stack.stream(asked) as stream:
        async for event in stream:
            print(event.text, end="", flush=True)
    print()

    attempt = stream.call.attempts[-1]
    print(
        f"{attempt.provider}, {attempt.model}: {stream.response.usage.total_tokens} tokens, {stream.call.cost:.6f} USD"
    )
    print((await stack(asked.reply(stream.response, "Thanks, bye."))).text)


async def main() -> None:
    meter = CostMeter(prices=PRICES)
    async with openai() as transport, build_stack([Retry(attempts=3), meter, Timeout(60)], transport) as stack:
        await talk(stack)
    print(meter.totals())


asyncio.run(main())
