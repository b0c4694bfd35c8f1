"""pydantic-ai: agents with tools and typed answers, over the SDKs of OpenAI and Anthropic, through a stack."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from recipe import Setting, in_front_of

from llamina.doors import httpx2_async_client
from llamina.testing import status, tool_call


class City(BaseModel):
    """What is asked for."""

    name: str
    people: int


WRONG = tool_call("final_result", {"name": "Paris", "people": "many"})
RIGHT = tool_call("final_result", {"name": "Paris", "people": 2_100_000})


def model_behind(setting: Setting, kind: Any = OpenAIChatModel) -> Any:
    """A model as an app has it."""
    return kind(
        "gpt-4o-mini", provider=OpenAIProvider(api_key="unused", http_client=httpx2_async_client(setting.stack))
    )


def claude_behind(setting: Setting) -> AnthropicModel:
    """The same with the SDK of Anthropic."""
    door = httpx2_async_client(setting.stack)
    return AnthropicModel("claude-sonnet-5", provider=AnthropicProvider(api_key="unused", http_client=door))


def test_an_agent_of_sync_code() -> None:
    """`run_sync` runs the async client in the loop of the thread."""
    with in_front_of(status(503), "Paris.") as behind, asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())
        result = Agent(model_behind(behind)).run_sync("The capital of France?")
        runner.run(behind.stack.aclose())

    assert result.output == "Paris."
    assert result.usage.total_tokens == behind.provider.billed.total_tokens
    assert behind.outcomes == [["server_error", "ok"]]


def test_each_re_ask_is_a_call() -> None:
    """An answer that does not validate goes back to the model, through the stack again."""
    with in_front_of(status(503), WRONG, RIGHT) as behind:
        result = behind.run(Agent(model_behind(behind), output_type=City).run("Paris?"))

    assert result.output == City(name="Paris", people=2_100_000)
    assert behind.outcomes == [["server_error", "ok"], ["ok"]]


def test_each_round_of_tools_is_a_call() -> None:
    """The agent calls functions between two calls of the stack."""
    with in_front_of(tool_call("weather", {"city": "Paris"}), status(503), "Take an umbrella.") as behind:
        agent = Agent(model_behind(behind))

        @agent.tool_plain
        def weather(city: str) -> str:
            """The weather of a city."""
            return f"rain in {city}"

        result = behind.run(agent.run("Do I need an umbrella?"))

    assert result.output == "Take an umbrella."
    assert behind.outcomes == [["ok"], ["server_error", "ok"]]


def test_a_stream() -> None:
    """Pieces pass the door one by one."""

    async def texts() -> list[str]:
        async with Agent(model_behind(behind)).run_stream("The capital of France?") as result:
            return [text async for text in result.stream_text(delta=True, debounce_by=None)]

    with in_front_of(status(503), ["Par", "is", "."]) as behind:
        pieces = behind.run(texts())

    assert pieces == ["Par", "is", "."]
    assert behind.outcomes == [["server_error", "ok"]]


def test_the_responses_api() -> None:
    """Another wire, to a transport of that wire."""

    async def texts() -> list[str]:
        agent = Agent(model_behind(behind, OpenAIResponsesModel))
        answer = await agent.run("The capital of France?")
        async with agent.run_stream("The capital of France?") as result:
            return [answer.output, *[text async for text in result.stream_text(delta=True, debounce_by=None)]]

    with in_front_of(status(503), "Paris.", ["Par", "is."], wire="responses") as behind:
        pieces = behind.run(texts())

    assert pieces == ["Paris.", "Par", "is."]
    assert behind.outcomes == [["server_error", "ok"], ["ok"]]


def test_the_sdk_of_anthropic() -> None:
    """Answers, streams and re-asks."""

    async def texts() -> list[Any]:
        answer = await Agent(claude_behind(behind), output_type=City).run("Paris?")
        async with Agent(claude_behind(behind)).run_stream("The capital of France?") as result:
            return [answer.output.people, *[text async for text in result.stream_text(delta=True, debounce_by=None)]]

    with in_front_of(status(529), WRONG, RIGHT, ["Par", "is."], wire="anthropic") as behind:
        pieces = behind.run(texts())

    assert pieces == [2_100_000, "Par", "is."]
    assert behind.outcomes == [["overloaded", "ok"], ["ok"], ["ok"]]


def test_the_retries_of_the_sdk_multiply_nothing() -> None:
    """What the stack gave up is answered once; pydantic-ai builds its client with the SDK's two retries."""
    with in_front_of(*[status(503)] * 3) as behind, pytest.raises(ModelHTTPError) as raised:
        behind.run(Agent(model_behind(behind)).run("The capital of France?"))

    assert raised.value.status_code == 503
    assert behind.outcomes == [["server_error"] * 3]
