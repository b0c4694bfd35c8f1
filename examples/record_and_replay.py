"""Record a conversation once and play it back, then make the provider bad. Offline: the provider is simulated.

python examples/record_and_replay.py
"""

import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from llamina import CassetteMissError, Chaos, Constant, CostMeter, Recorder, Request, Retry, Stack, build_stack
from llamina.testing import FakeTransport

PRICES = {"small": {"input": "1", "output": "2"}}  # USD per million tokens; yours may differ
QUESTION = Request.chat("small", "Name three rivers.", temperature=0)


async def rivers(stack: Stack) -> None:
    """What an app does: a stream, and its cost."""
    async with stack.stream(QUESTION) as stream:
        async for event in stream:
            print(event.text, end="|", flush=True)
    tries = [f"{attempt.provider} {attempt.outcome}" for attempt in stream.call.attempts]
    print(f"   {tries}, {stream.call.cost:f} USD")


async def main() -> None:
    with TemporaryDirectory() as folder:
        cassette = Path(folder) / "cassettes" / "rivers.json"
        provider = FakeTransport([["Loire, ", 0.01, "Rhône, ", 0.01, "Seine."]])

        print("recorded: ", end="")
        await rivers(build_stack([Retry(), CostMeter(PRICES), Recorder(cassette)], provider))

        nobody = FakeTransport([])  # fails whoever asks it
        print("played:   ", end="")
        await rivers(build_stack([Retry(), CostMeter(PRICES), Recorder(cassette, mode="replay")], nobody))

        (entry,) = json.loads(cassette.read_text())["recordings"].values()
        print("on file:  ", [event["text"] for event in entry["takes"][0]["events"]])

        try:
            await build_stack([Recorder(cassette, mode="replay")], nobody)(QUESTION.with_params(temperature=1))
        except CassetteMissError as error:
            print("changed:  ", *error.differences)

        print("bad day:  ", end="")
        bad = Chaos(script=["overloaded", {"truncate": 0}, "ok"])
        layers = [Retry(backoff=Constant(0)), CostMeter(PRICES), bad, Recorder(cassette, mode="replay")]
        await rivers(build_stack(layers, nobody))
        assert provider.calls == 1


asyncio.run(main())
