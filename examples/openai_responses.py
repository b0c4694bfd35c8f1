"""OpenAI's Responses API: a picture, an answer of a given shape, thoughts that go back. Simulated unless OPENAI_API_KEY is set.

python examples/openai_responses.py
"""

import asyncio
import os
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from struct import pack

from llamina import Image, Message, Reasoning, Request, Response, Retry, Text, Timeout, Usage, build_stack
from llamina.structured import json_schema, parse_json
from llamina.testing import SimulatedProvider
from llamina.transports import OpenAITransport


@dataclass
class Picture:
    """What is seen."""

    color: str
    shape: str


def red_square(size: int = 32) -> bytes:
    """A PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\xff\0\0" * size) * size
    head = chunk(b"IHDR", pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


THOUGHT = Reasoning("All of it is red.", {"responses": {"id": "rs_1", "summary": [], "encrypted_content": "gAAAA..."}})
SCRIPT = [
    Response(
        Message("assistant", (THOUGHT, Text('{"color": "red", "shape": "square"}'))), Usage(80, 40, reasoning_tokens=30)
    ),
    ["The ", "first ", "pixel ", "tells."],
]


@asynccontextmanager
async def openai() -> AsyncIterator[OpenAITransport]:
    """The real one where its key is set."""
    if os.environ.get("OPENAI_API_KEY"):
        yield OpenAITransport(api="responses")
        return
    async with SimulatedProvider(SCRIPT, wire="responses") as provider:
        yield OpenAITransport(api_key="sk-simulated", base_url=provider.base_url, api="responses")


async def main() -> None:
    asked = Request.chat(
        "gpt-5.4-mini",
        Message.user("What is on this picture?", Image.from_bytes(red_square(), detail="low")),
        response_format=json_schema(Picture),
        reasoning_effort="low",
        store=False,  # OpenAI keeps nothing, so the thoughts come encrypted, to be sent back
        include=["reasoning.encrypted_content"],
    )
    async with openai() as transport, build_stack([Retry(attempts=3), Timeout(60)], transport) as stack:
        seen = await stack(asked)
        print(parse_json(seen, Picture), f"({seen.usage.reasoning_tokens} tokens of thought)")

        why = asked.reply(seen, "How did you see it?").with_params(response_format={"type": "text"})
        async with stack.stream(why) as stream:
            async for event in stream:
                print(event.text, end="", flush=True)
    print()


asyncio.run(main())
