"""Embeddings through a stack: a small search by meaning, with a cache and its cost. Simulated unless OPENAI_API_KEY is set.

python examples/embeddings.py
"""

import asyncio
import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from llamina import Cache, CostMeter, Request, Response, Retry, Stack, Timeout, build_stack
from llamina.testing import SimulatedProvider, vectors
from llamina.transports import OpenAITransport

MODEL = "text-embedding-3-small"
PRICES = {MODEL: {"input": "0.02", "output": "0"}}  # USD per million tokens
NOTES = ["how to bake bread at home", "the train to Lyon leaves at nine", "rain is expected over the weekend"]


def simulated(request: Request) -> Response:
    """A vector that counts a few words: enough for this."""
    words = [("bread", "bake", "oven"), ("train", "Lyon", "leaves", "travel"), ("rain", "weather", "weekend")]
    return vectors(
        *[[0.01 + sum(message.text.count(word) for word in few) for few in words] for message in request.messages]
    )


@asynccontextmanager
async def openai() -> AsyncIterator[OpenAITransport]:
    """The real one where its key is set."""
    if os.environ.get("OPENAI_API_KEY"):
        yield OpenAITransport()
        return
    async with SimulatedProvider(simulated, wire="embeddings") as provider:
        yield OpenAITransport(api_key="sk-simulated", base_url=provider.base_url)


def alike(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The cosine of the angle between two vectors."""
    return sum(a * b for a, b in zip(one, other, strict=True)) / math.hypot(*one) / math.hypot(*other)


async def best(stack: Stack, question: str) -> str:
    notes, asked = await asyncio.gather(stack(Request.embed(MODEL, NOTES)), stack(Request.embed(MODEL, question)))
    found = max(range(len(NOTES)), key=lambda place: alike(notes.vectors[place], asked.vectors[0]))
    return f"{NOTES[found]!r} ({'from the cache' if notes.call.cached else 'embedded'})"


async def main() -> None:
    meter = CostMeter(prices=PRICES)
    layers = [Cache(), Retry(attempts=3), meter, Timeout(30)]
    async with openai() as transport, build_stack(layers, transport) as stack:
        for question in ("When do I travel, and by which train?", "Do I need an oven?", "Will the weather be fine?"):
            print(f"{question:40} {await best(stack, question)}")
    print(meter.totals())


asyncio.run(main())
