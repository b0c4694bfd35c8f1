"""instructor over the OpenAI SDK: an answer that does not validate is asked for again, and each ask is a call."""

from __future__ import annotations

import instructor
import openai
import pytest
from instructor.core import InstructorRetryException
from pydantic import BaseModel, Field
from recipe import in_front_of

from llamina import LLMError, ToolCallDelta
from llamina.doors import httpx2_async_client, httpx2_client
from llamina.testing import status, tool_call


class City(BaseModel):
    """What is asked for."""

    name: str
    people: int = Field(gt=0)


ASKED = {"messages": [{"role": "user", "content": "Paris?"}], "response_model": City}
WRONG = tool_call("City", {"name": "Paris", "people": 0})
RIGHT = tool_call("City", {"name": "Paris", "people": 2_100_000})
PARIS = {"name": "Paris", "people": 2_100_000}


def test_each_ask_is_a_call_with_tries_of_its_own() -> None:
    """The stack tries again what the server failed at; instructor asks again what the model got wrong."""
    with in_front_of(status(503), WRONG, RIGHT) as behind:
        sdk = openai.OpenAI(api_key="unused", http_client=httpx2_client(behind.stack), max_retries=0)
        client = instructor.from_openai(sdk)
        city, completion = client.create_with_completion(model="gpt-4o-mini", max_retries=2, **ASKED)

    assert city.model_dump() == PARIS
    assert behind.outcomes == [["server_error", "ok"], ["ok"]]
    assert "greater than 0" in str(behind.provider.requests[2].json["messages"])
    assert completion.usage.total_tokens == behind.provider.billed.total_tokens  # instructor adds the asks up


def test_async_asks_go_through_the_stack() -> None:
    """The same for an async client."""
    with in_front_of(status(503), WRONG, RIGHT) as behind:
        sdk = openai.AsyncOpenAI(api_key="unused", http_client=httpx2_async_client(behind.stack), max_retries=0)
        client = instructor.from_openai(sdk)
        city = behind.run(client.create(model="gpt-4o-mini", max_retries=2, **ASKED))

    assert city.model_dump() == PARIS
    assert behind.outcomes == [["server_error", "ok"], ["ok"]]


def test_a_partial_answer_grows_as_the_stream_comes() -> None:
    """Pieces of the arguments pass the door one by one."""
    pieces = [ToolCallDelta(0, '{"name": "Par', "call_1", "City"), ToolCallDelta(0, 'is", "people": 21}')]
    with in_front_of(status(503), pieces) as behind:
        sdk = openai.OpenAI(api_key="unused", http_client=httpx2_client(behind.stack), max_retries=0)
        cities = list(instructor.from_openai(sdk).create_partial(model="gpt-4o-mini", **ASKED))

    assert [city.name for city in cities][-2:] == ["Par", "Paris"]
    assert cities[-1].people == 21
    assert behind.outcomes == [["server_error", "ok"]]


def test_a_client_that_instructor_builds_takes_the_door_too() -> None:
    """`from_provider` hands the argument to the SDK."""
    with in_front_of(status(503), RIGHT) as behind:
        client = instructor.from_provider(
            "openai/gpt-4o-mini", api_key="unused", http_client=httpx2_client(behind.stack)
        )
        city = client.create(**ASKED)

    assert city.model_dump() == PARIS
    assert behind.outcomes == [["server_error", "ok"]]


def test_what_the_stack_gave_up_is_tried_again_by_nobody() -> None:
    """Neither by the SDK, left with its two retries, nor by instructor, which asks again for answers alone."""
    with in_front_of(*[status(503)] * 3) as behind:
        sdk = openai.OpenAI(api_key="unused", http_client=httpx2_client(behind.stack))
        with pytest.raises(InstructorRetryException) as raised:
            instructor.from_openai(sdk).create(model="gpt-4o-mini", max_retries=3, **ASKED)

    assert behind.outcomes == [["server_error"] * 3]
    cause = raised.value.__cause__
    assert isinstance(cause.response.extensions["llamina"], LLMError)
