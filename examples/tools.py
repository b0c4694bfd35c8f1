"""A conversation with tools: two functions, one of them async, called by the model until it has its answer.

python examples/tools.py
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from llamina import Request, Response, Retry, Stack, build_stack
from llamina.testing import FakeTransport, tool_call
from llamina.tools import Tool, run_tools, tool


@dataclass
class Place:
    """Where."""

    city: str
    country: str | None = None


@dataclass
class Weather:
    """What it is like there."""

    sky: str
    degrees: float


@tool
def weather(place: Place, unit: Literal["celsius", "fahrenheit"] = "celsius") -> Weather:
    """The weather at a place, now.

    Args:
        place: where
        unit: of the temperature
    """
    return Weather(f"rain over {place.city}", 12 if unit == "celsius" else 53.6)


@tool
async def trains(to: str, limit: int = 3) -> list[str]:
    """The next trains to a city."""
    if to == "Atlantis":
        raise LookupError("there is no line to Atlantis")
    await asyncio.sleep(0.01)  # a timetable service, say
    return [f"{hour}:05 to {to}" for hour in range(9, 9 + limit)]


TOOLS: list[Tool[..., Any]] = [weather, trains]

# What a model would answer. It forgets the place at first, and is told so.
MODEL = FakeTransport(
    [
        tool_call("weather", {"unit": "celsius"}),
        tool_call("weather", {"place": {"city": "Lyon"}}),
        tool_call("trains", {"to": "Lyon", "limit": "2"}),
        tool_call("trains", {"to": "Atlantis"}),
        "It rains in Lyon, at 12 degrees. Take the train at 9:05, and an umbrella.",
    ]
)


async def answered(stack: Stack, asked: Request, rounds: int = 8) -> Response:
    """Ask, run what the model calls, and ask again, until it calls nothing."""
    for _ in range(rounds):
        answer = await stack(asked)
        if not answer.tool_calls:
            return answer
        results = await run_tools(answer, TOOLS, on_error=lambda _call, error: f"failed: {error}")
        for call, result in zip(answer.tool_calls, results, strict=True):
            print(f"{call.name}({call.arguments_text}) -> {result.text}")
        asked = asked.reply(answer, *results)
    raise RuntimeError(f"no answer after {rounds} rounds")


async def main() -> None:
    async with build_stack([Retry(attempts=3)], MODEL) as stack:
        asked = Request.chat("small", "How do I get to Lyon, and what do I wear?", tools=TOOLS)
        print((await answered(stack, asked)).text)


asyncio.run(main())
