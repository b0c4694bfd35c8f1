"""Anthropic: a cached document, thoughts and signatures, a stream and its cost. Simulated unless ANTHROPIC_API_KEY is set.

python examples/anthropic_messages.py
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from llamina import CostMeter, File, Message, Reasoning, Request, Response, Retry, Text, Timeout, Usage, build_stack
from llamina.messages import cache_mark
from llamina.testing import SimulatedProvider
from llamina.transports import AnthropicTransport

MODEL = "claude-sonnet-5"
PRICES = {  # USD per million tokens; yours may differ
    "claude-sonnet-5*": {
        "input": "3",
        "output": "15",
        "cache_read": "0.30",
        "cache_write": "3.75",
        "cache_write_long": "6",
    }
}
HANDBOOK = "\n".join([f"Rule {number}: bring {number} umbrellas to Lyon." for number in range(1, 401)])


def thinking(thought: str, said: str, usage: Usage) -> Response:
    """What Anthropic answers: a thought with its signature, then the text."""
    signed = Reasoning(thought, {"anthropic": {"signature": "EqQBCgIYAhIk..."}})
    return Response(Message("assistant", (signed, Text(said))), usage)


SCRIPT = [
    thinking("I look for rule 7.", "Seven umbrellas.", Usage(5_240, 40, cache_write_tokens=5_200)),
    thinking("They ask for the next.", "Eight.", Usage(5_300, 30, cache_read_tokens=5_200)),
]


@asynccontextmanager
async def anthropic() -> AsyncIterator[AnthropicTransport]:
    """The real one where its key is set."""
    if os.environ.get("ANTHROPIC_API_KEY"):
        yield AnthropicTransport()
        return
    async with SimulatedProvider(SCRIPT, wire="anthropic") as provider:
        yield AnthropicTransport(api_key="sk-simulated", base_url=provider.base_url)


async def main() -> None:
    handbook = cache_mark(File.from_bytes(HANDBOOK.encode(), "handbook.txt"))
    asked = Request.chat(
        MODEL,
        [Message.system("Answer by the handbook, in one sentence."), Message.user(handbook, "What does rule 7 say?")],
        max_tokens=2_000,
        thinking={"type": "adaptive", "display": "summarized"},
        reasoning_effort="low",
    )
    layers = [Retry(attempts=3), CostMeter(prices=PRICES), Timeout(60)]
    async with anthropic() as transport, build_stack(layers, transport) as stack:
        for following in ("And the rule after it?", None):
            async with stack.stream(asked) as stream:
                async for event in stream:
                    print(event.text, end="", flush=True)
            print(f"\n  thought: {stream.response.reasoning}")
            used = stream.response.usage
            print(f"  input {used.input_tokens}: {used.cache_write_tokens} written to the cache,", end=" ")
            print(f"{used.cache_read_tokens} read from it; {stream.call.cost:.6f} USD")
            if following is not None:
                asked = asked.reply(stream.response, following)  # the thought goes back with its signature


asyncio.run(main())
