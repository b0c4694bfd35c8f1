"""llama-index's OpenAILike over the OpenAI SDK 2, which is built on httpx 0.28, through a stack."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel
from recipe import Setting, in_front_of

from llamina.doors import httpx_async_client, httpx_client
from llamina.testing import status, tool_call

ASKED = [ChatMessage(role="user", content="The capital of France?")]


class City(BaseModel):
    """What is asked for."""

    name: str
    people: int


def model_behind(setting: Setting, **settings: Any) -> OpenAILike:
    """A model as an app has it; `max_retries=0` switches off the tries of llama-index."""
    given = {"max_retries": 0, "is_chat_model": True, "is_function_calling_model": True, **settings}
    return OpenAILike(
        model="gpt-4o-mini",
        api_key="unused",
        http_client=httpx_client(setting.stack),
        async_http_client=httpx_async_client(setting.stack),
        **given,
    )


def test_chat() -> None:
    """A 503 is tried again by the stack."""
    with in_front_of(status(503), "Paris.") as behind:
        answer = model_behind(behind).chat(ASKED)

    assert answer.message.content == "Paris."
    assert answer.raw.usage.total_tokens == behind.provider.billed.total_tokens
    assert behind.outcomes == [["server_error", "ok"]]


def test_achat() -> None:
    """The async methods have a door of their own."""
    with in_front_of(status(503), "Paris.") as behind:
        answer = behind.run(model_behind(behind).achat(ASKED))

    assert answer.message.content == "Paris."
    assert behind.outcomes == [["server_error", "ok"]]


def test_complete() -> None:
    """A prompt without roles is a chat of one message."""
    with in_front_of(status(503), "Paris.") as behind:
        answer = model_behind(behind).complete("The capital of France?")

    assert answer.text == "Paris."
    assert behind.outcomes == [["server_error", "ok"]]


def test_stream_chat() -> None:
    """Pieces come one by one."""
    with in_front_of(status(503), ["Par", "is", "."]) as behind:
        pieces = [chunk.delta for chunk in model_behind(behind).stream_chat(ASKED) if chunk.delta]

    assert pieces == ["Par", "is", "."]
    assert behind.outcomes == [["server_error", "ok"]]


def test_astream_chat() -> None:
    """The same for async code."""

    async def texts() -> list[str]:
        return [chunk.delta or "" async for chunk in await model_behind(behind).astream_chat(ASKED)]

    with in_front_of(status(503), ["Par", "is", "."]) as behind:
        pieces = behind.run(texts())

    assert "".join(pieces) == "Paris."
    assert behind.outcomes == [["server_error", "ok"]]


def test_tools() -> None:
    """llama-index runs what the model calls, between two calls of the stack."""

    def weather(city: str) -> str:
        """The weather of a city."""
        return f"rain in {city}"

    with in_front_of(status(503), tool_call("weather", {"city": "Paris"})) as behind:
        answer = model_behind(behind).predict_and_call([FunctionTool.from_defaults(weather)], "An umbrella?")

    assert str(answer) == "rain in Paris"
    assert behind.outcomes == [["server_error", "ok"]]


def test_structured_output() -> None:
    """The schema is asked for as a tool."""
    with in_front_of(status(503), tool_call("City", {"name": "Paris", "people": 21})) as behind:
        city = model_behind(behind).as_structured_llm(City).chat(ASKED).raw

    assert city.model_dump() == {"name": "Paris", "people": 21}
    assert behind.outcomes == [["server_error", "ok"]]


def test_what_the_stack_gave_up_is_not_tried_again() -> None:
    """With `max_retries=0` nobody else tries."""
    with in_front_of(*[status(503)] * 3) as behind, pytest.raises(openai.InternalServerError):
        model_behind(behind).chat(ASKED)

    assert behind.outcomes == [["server_error"] * 3]


def test_the_tries_of_llama_index_itself_multiply() -> None:
    """It repeats what the SDK raised, whatever the answer says: so `max_retries` belongs to 0."""
    with in_front_of(*[status(503)] * 6) as behind, pytest.raises(openai.InternalServerError):
        model_behind(behind, max_retries=2).chat(ASKED)

    assert behind.outcomes == [["server_error"] * 3] * 2
