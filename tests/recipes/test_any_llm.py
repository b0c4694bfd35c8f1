"""any-llm: one function for many providers, through a stack. It is async inside, so the async door serves its sync functions too."""

from __future__ import annotations

from typing import Any

import any_llm
import openai
import pytest
from recipe import Setting, in_front_of

from llamina.doors import httpx2_async_client, httpx_async_client
from llamina.testing import status, vectors

ASKED = {
    "model": "gpt-4o-mini",
    "provider": "openai",
    "messages": [{"role": "user", "content": "The capital of France?"}],
}


def through(setting: Setting, **settings: Any) -> dict[str, Any]:
    """What an app passes on: arguments of the client of the SDK."""
    door = httpx2_async_client(setting.stack)
    return {"api_key": "unused", "client_args": {"http_client": door, **settings}}


def test_completion() -> None:
    """Sync code."""
    with in_front_of(status(503), "Paris.") as behind:
        found = any_llm.completion(**ASKED, **through(behind))

    assert found.choices[0].message.content == "Paris."
    assert found.usage.total_tokens == behind.provider.billed.total_tokens
    assert behind.outcomes == [["server_error", "ok"]]


def test_acompletion() -> None:
    """Async code."""
    with in_front_of(status(503), "Paris.") as behind:
        found = behind.run(any_llm.acompletion(**ASKED, **through(behind)))

    assert found.choices[0].message.content == "Paris."
    assert behind.outcomes == [["server_error", "ok"]]


def test_a_stream() -> None:
    """Sync code reads what comes on another loop."""
    with in_front_of(status(503), ["Par", "is", "."]) as behind:
        chunks = list(any_llm.completion(**ASKED, stream=True, **through(behind)))

    assert [text for chunk in chunks if (text := chunk.choices[0].delta.content)] == ["Par", "is", "."]
    assert behind.outcomes == [["server_error", "ok"]]


def test_an_async_stream() -> None:
    """Async code."""

    async def texts() -> list[str]:
        chunks = await any_llm.acompletion(**ASKED, stream=True, **through(behind))
        return [chunk.choices[0].delta.content or "" async for chunk in chunks]

    with in_front_of(status(503), ["Par", "is", "."]) as behind:
        pieces = behind.run(texts())

    assert "".join(pieces) == "Paris."
    assert behind.outcomes == [["server_error", "ok"]]


def test_responses() -> None:
    """Another wire, to a transport of that wire."""
    with in_front_of(status(503), "Paris.", wire="responses") as behind:
        found = any_llm.responses("gpt-4o-mini", "The capital of France?", provider="openai", **through(behind))

    assert found.output[0].content[0].text == "Paris."
    assert behind.outcomes == [["server_error", "ok"]]


def test_the_provider_anthropic() -> None:
    """any-llm keeps to an SDK of Anthropic that is still built on httpx 0.28: it takes the legacy door."""
    with in_front_of(status(529), "Paris.", ["Par", "is."], wire="anthropic") as behind:
        asked = {**ASKED, "provider": "anthropic", "model": "claude-sonnet-5", "max_tokens": 64}
        settings = {"api_key": "unused", "client_args": {"http_client": httpx_async_client(behind.stack)}}
        found = any_llm.completion(**asked, **settings)
        chunks = list(any_llm.completion(**asked, **settings, stream=True))

    assert found.choices[0].message.content == "Paris."
    assert "".join([chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]) == "Paris."
    assert behind.outcomes == [["overloaded", "ok"], ["ok"]]


def test_embeddings() -> None:
    """One call for a list of texts."""
    with in_front_of(status(503), vectors([0.5, 0.25], [1, 0])) as behind:
        found = any_llm.embedding("text-embedding-3-small", ["a", "b"], provider="openai", **through(behind))

    assert [item.embedding for item in found.data] == [[0.5, 0.25], [1, 0]]
    assert behind.outcomes == [["server_error", "ok"]]


@pytest.mark.filterwarnings("ignore:Provider-specific exceptions:DeprecationWarning")
def test_the_retries_of_the_sdk_multiply_nothing() -> None:
    """What the stack gave up is answered once, whatever `max_retries` says."""
    with in_front_of(*[status(503)] * 3) as behind, pytest.raises(openai.InternalServerError):
        any_llm.completion(**ASKED, **through(behind, max_retries=4))

    assert behind.outcomes == [["server_error"] * 3]
