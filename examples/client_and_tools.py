"""The client: chats, streams, a conversation, and a model that calls functions. Offline; time is simulated.

python examples/client_and_tools.py
"""

from decimal import Decimal

from llamina import Client, CostMeter, LLMError, Retry, ServerError, TextDelta, ToolCallDelta, build_stack
from llamina.client import ToolRoundsError
from llamina.testing import FakeTransport, simulated_time, tool_call

PRICES = {"small": {"input": "0.15", "output": "0.60"}, "large": {"input": "2.50", "output": "10"}}


def client_for(*script: object) -> Client:
    """A client as an app has it; only the provider plays a script."""
    stack = build_stack([Retry(attempts=3), CostMeter(prices=PRICES)], FakeTransport(list(script)))
    return Client(stack, model="small", timeout=60, tags={"app": "examples"})


async def weather(city: str) -> str:
    """The weather of a city."""
    return {"Paris": "rain", "Rome": "sun"}.get(city, "unknown")


@simulated_time
async def chats() -> None:
    """One answer after a bad moment, one of another model."""
    client = client_for(ServerError("down"), "Scattering.", "It is a long story.")
    answer = await client.chat("Why is the sky blue?", temperature=0)
    print(f"{answer.text} ({len(answer.call.attempts)} tries, ${answer.call.cost})")
    print((await client.with_(model="large").chat("Explain in full.")).text)


@simulated_time
async def streams() -> None:
    """The text as it comes."""
    async for piece in client_for(["Once ", 0.3, "upon ", 0.3, "a time."]).stream("Tell me a story").text:
        print(piece, end="", flush=True)
    print()


@simulated_time
async def a_conversation() -> None:
    """A turn that fails is not remembered, and can be asked again."""
    talk = client_for("Scattering.", *[ServerError("down")] * 3, "Redder.").conversation(system="Be brief.")
    await talk.chat("Why is the sky blue?")
    try:
        await talk.chat("And at dusk?")
    except LLMError as error:
        print(f"failed ({error.outcome}), {len(talk.messages)} messages are remembered")
    await talk.chat("And at dusk?")
    print([message.text for message in talk.messages])


@simulated_time
async def tools() -> None:
    """Two functions at once in the first round, the answer in the second; the stream shows both."""
    both = ["Let me look. "]
    both += [
        ToolCallDelta(n, f'{{"city": "{city}"}}', f"call_{n}", "weather") for n, city in enumerate(["Paris", "Rome"])
    ]
    helper = client_for(both, ["Rain in Paris, ", "sun in Rome."]).tools([weather])
    async with helper.stream("Paris or Rome?") as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                print(event.text, end="")
            elif isinstance(event, ToolCallDelta):
                print(f"[{event.name} {event.arguments}] ", end="")
    print(f"\n  (the answer: {stream.response.text!r}, {len(stream.call.attempts)} calls of the model)")
    assert stream.call.cost > Decimal(0)


@simulated_time
async def a_model_without_an_end() -> None:
    """The rounds are bounded, and the error knows what they cost."""
    helper = client_for(*[tool_call("weather", {"city": "Paris"})] * 3).tools([weather], max_rounds=3)
    try:
        await helper.chat("Is it still raining?")
    except ToolRoundsError as error:
        print(f"{error} ${error.call.cost}")


for example in (chats, streams, a_conversation, tools, a_model_without_an_end):
    print(f"--- {example.__doc__}")
    example()
