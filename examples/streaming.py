"""Streams: to a screen, left early, read slowly, broken in the middle, rewritten on the way. Time is simulated.

python examples/streaming.py
"""

import asyncio

from llamina import LLMError, Request, Retry, ServerError, Timeout, build_stack, map_text
from llamina.testing import FakeTransport, simulated_time

STORY = ["Once ", 0.3, "upon ", 0.3, "a time ", 0.3, "there was a secret."]
ask = Request.chat("small", "Tell me a story")


@simulated_time
async def to_a_screen() -> None:
    """Events come while the call is under way; the Response is complete at the end."""
    async with build_stack([Timeout(60, first_event=10, idle=5)], FakeTransport([STORY])).stream(ask) as stream:
        async for event in stream:
            print(event.text, end="", flush=True)
    attempt = stream.call.attempts[0]
    print(
        f"\n  ({stream.response.usage.output_tokens} tokens, {attempt.elapsed:.1f} s, first word at {attempt.first_event:.1f} s)"
    )


@simulated_time
async def left_early() -> None:
    """Leaving the block cancels the call and cleans it up."""
    fake = FakeTransport([STORY])
    async with build_stack([], fake).stream(ask) as stream:
        async for event in stream:
            print(event.text, "... that is enough")
            break
    print(f"  ({fake.in_flight} calls in flight, recorded as {stream.call.attempts[0].outcome})")


@simulated_time
async def read_slowly() -> None:
    """A reader may take his time: it counts against no limit."""
    words = [f"word{number} " for number in range(200)]
    async with build_stack([Timeout(10)], FakeTransport([words])).stream(ask) as stream:
        async for _ in stream:
            await asyncio.sleep(1)
    attempt = stream.call.attempts[0]
    print(f"200 words, {attempt.elapsed:.0f} s under a limit of 10\n  ({attempt.held:.0f} s of them were the reader's)")


@simulated_time
async def broken_in_the_middle() -> None:
    """Before the first word a failure is tried again; after it, what came is on the error."""
    fake = FakeTransport([ServerError("down"), ["Once ", "upon ", ServerError("the connection broke")]])
    try:
        async with build_stack([Retry(attempts=3)], fake).stream(ask) as stream:
            async for event in stream:
                print(event.text, end="")
    except LLMError as error:
        print(f"...\n  ({error}; so far: {error.partial.text!r}; {fake.calls} tries)")


@simulated_time
async def rewritten() -> None:
    """One function for events and Response."""
    redact = map_text(lambda text: text.replace("secret", "***"), by="line")
    async with build_stack([redact], FakeTransport([STORY])).stream(ask) as stream:
        print("".join([event.text async for event in stream]))
    assert "secret" not in stream.response.text


for example in (to_a_screen, left_early, read_slowly, broken_in_the_middle, rewritten):
    print(f"--- {example.__doc__}")
    example()
