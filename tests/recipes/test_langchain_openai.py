"""langchain-openai: models, streams, structured output, tools, embeddings and batches through a stack."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel
from recipe import Setting, in_front_of

from llamina.doors import httpx2_async_client, httpx2_client
from llamina.testing import answer, status, tool_call, vectors


class City(BaseModel):
    """What is asked for."""

    name: str
    people: int


def model_behind(setting: Setting, **settings: Any) -> ChatOpenAI:
    """A model as an app has it, with one door for its sync and one for its async methods."""
    return ChatOpenAI(
        model="gpt-4o-mini",
        api_key="unused",
        http_client=httpx2_client(setting.stack),
        http_async_client=httpx2_async_client(setting.stack),
        **settings,
    )


def test_invoke() -> None:
    """A 503 is tried again by the stack, and the usage is langchain's."""
    with in_front_of(status(503), "Paris.") as behind:
        message = model_behind(behind).invoke("The capital of France?")

    assert message.content == "Paris."
    assert message.usage_metadata["total_tokens"] == behind.provider.billed.total_tokens
    assert behind.outcomes == [["server_error", "ok"]]


def test_ainvoke() -> None:
    """The async methods have a door of their own."""
    with in_front_of(status(503), "Paris.") as behind:
        message = behind.run(model_behind(behind).ainvoke("The capital of France?"))

    assert message.content == "Paris."
    assert behind.outcomes == [["server_error", "ok"]]


def test_stream() -> None:
    """Pieces come one by one, and the usage with the last."""
    with in_front_of(status(503), ["Par", "is", "."]) as behind:
        chunks = list(model_behind(behind, stream_usage=True).stream("The capital of France?"))

    assert [chunk.content for chunk in chunks if chunk.content] == ["Par", "is", "."]
    assert sum([chunk.usage_metadata["total_tokens"] for chunk in chunks if chunk.usage_metadata]) > 0
    assert behind.outcomes == [["server_error", "ok"]]


def test_astream() -> None:
    """The same for async code."""

    async def texts() -> list[str]:
        return [chunk.content async for chunk in model_behind(behind).astream("The capital of France?")]

    with in_front_of(status(503), ["Par", "is", "."]) as behind:
        pieces = behind.run(texts())

    assert "".join(pieces) == "Paris."
    assert behind.outcomes == [["server_error", "ok"]]


def test_structured_output() -> None:
    """The schema reaches the provider, the answer is read by langchain."""
    with in_front_of(status(503), '{"name": "Paris", "people": 2100000}') as behind:
        city = model_behind(behind).with_structured_output(City).invoke("Paris?")

    assert city.model_dump() == {"name": "Paris", "people": 2_100_000}
    assert behind.provider.requests[1].json["response_format"]["json_schema"]["name"] == "City"
    assert behind.outcomes == [["server_error", "ok"]]


def test_tools() -> None:
    """A round of tools is two calls of the stack."""

    @tool
    def weather(city: str) -> str:
        """The weather of a city."""
        return f"rain in {city}"

    with in_front_of(tool_call("weather", {"city": "Paris"}), status(503), "Take an umbrella.") as behind:
        model = model_behind(behind).bind_tools([weather])
        asked = model.invoke("Do I need an umbrella?")
        results = [weather.invoke(call) for call in asked.tool_calls]
        message = model.invoke([("user", "Do I need an umbrella?"), asked, *results])

    assert message.content == "Take an umbrella."
    assert behind.provider.requests[2].json["messages"][-1]["content"] == "rain in Paris"
    assert behind.outcomes == [["ok"], ["server_error", "ok"]]


def test_the_responses_api() -> None:
    """`use_responses_api` speaks another wire, to a transport of that wire."""
    with in_front_of(status(503), "Paris.", ["Par", "is."], wire="responses") as behind:
        model = model_behind(behind, use_responses_api=True)
        message = model.invoke("The capital of France?")
        pieces = [chunk.text for chunk in model.stream("The capital of France?")]

    assert message.text == "Paris."
    assert "".join(pieces) == "Paris."
    assert behind.outcomes == [["server_error", "ok"], ["ok"]]


def test_embeddings() -> None:
    """One call for a list of texts."""
    with in_front_of(status(503), vectors([0.5, 0.25], [1, 0])) as behind:
        embeddings = OpenAIEmbeddings(
            model="text-embedding-3-small",
            api_key="unused",
            http_client=httpx2_client(behind.stack),
            check_embedding_ctx_length=False,
        )
        found = embeddings.embed_documents(["a", "b"])

    assert found == [[0.5, 0.25], [1, 0]]
    assert behind.outcomes == [["server_error", "ok"]]


def test_the_retries_of_langchain_multiply_nothing() -> None:
    """What the stack gave up is answered once, whatever `max_retries` says."""
    with in_front_of(*[status(503)] * 3) as behind, pytest.raises(openai.InternalServerError):
        model_behind(behind, max_retries=4).invoke("The capital of France?")

    assert behind.outcomes == [["server_error"] * 3]


def test_a_batch_of_threads_shares_the_stack() -> None:
    """`batch` asks from threads, all over one loop."""
    with in_front_of(status(503), *[answer("Paris.")] * 8) as behind:
        messages = model_behind(behind).batch(["The capital of France?"] * 8)

    assert {message.content for message in messages} == {"Paris."}
    assert sorted(behind.outcomes) == [["ok"]] * 7 + [["server_error", "ok"]]
