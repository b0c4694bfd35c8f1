"""litellm over the OpenAI SDK 2, which is built on httpx 0.28, through a stack."""

from __future__ import annotations

from typing import Any

import litellm
import openai
import pytest
from litellm.llms.custom_httpx.http_handler import HTTPHandler
from recipe import Setting, in_front_of

from llamina.doors import httpx_async_client, httpx_client
from llamina.testing import status, vectors

pytestmark = [  # all of litellm's own making: its types, and a loop for its logs that it never closes
    pytest.mark.filterwarnings("ignore:Item '.*' on TypedDict class:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

QUESTION = [{"role": "user", "content": "The capital of France?"}]
ASKED: dict[str, Any] = {"model": "openai/gpt-4o-mini", "messages": QUESTION}


def sdk(setting: Setting) -> openai.OpenAI:
    """The SDK's client, which litellm takes as `client=`."""
    return openai.OpenAI(api_key="unused", http_client=httpx_client(setting.stack), max_retries=0)


def async_sdk(setting: Setting) -> openai.AsyncOpenAI:
    """The same for async code."""
    return openai.AsyncOpenAI(api_key="unused", http_client=httpx_async_client(setting.stack), max_retries=0)


def test_completion() -> None:
    """A 503 is tried again by the stack."""
    with in_front_of(status(503), "Paris.") as behind:
        found = litellm.completion(**ASKED, client=sdk(behind))

    assert found.choices[0].message.content == "Paris."
    assert found.usage.total_tokens == behind.provider.billed.total_tokens
    assert behind.outcomes == [["server_error", "ok"]]


def test_acompletion() -> None:
    """Async code."""
    with in_front_of(status(503), "Paris.") as behind:
        found = behind.run(litellm.acompletion(**ASKED, client=async_sdk(behind)))

    assert found.choices[0].message.content == "Paris."
    assert behind.outcomes == [["server_error", "ok"]]


def test_a_stream() -> None:
    """Pieces come one by one."""
    with in_front_of(status(503), ["Par", "is", "."]) as behind:
        chunks = list(litellm.completion(**ASKED, stream=True, client=sdk(behind)))

    assert [text for chunk in chunks if (text := chunk.choices[0].delta.content)] == ["Par", "is", "."]
    assert behind.outcomes == [["server_error", "ok"]]


def test_an_async_stream() -> None:
    """Async code."""

    async def texts() -> list[str]:
        chunks = await litellm.acompletion(**ASKED, stream=True, client=async_sdk(behind))
        return [chunk.choices[0].delta.content or "" async for chunk in chunks]

    with in_front_of(status(503), ["Par", "is", "."]) as behind:
        pieces = behind.run(texts())

    assert "".join(pieces) == "Paris."
    assert behind.outcomes == [["server_error", "ok"]]


def test_one_setting_for_the_whole_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """`litellm.client_session` is given to every client of the SDK that litellm builds."""
    with in_front_of(status(503), "Paris.") as behind:
        monkeypatch.setattr(litellm, "client_session", httpx_client(behind.stack))
        found = litellm.completion(**ASKED, api_key="unused")
        litellm.in_memory_llm_clients_cache.flush_cache()

    assert found.choices[0].message.content == "Paris."
    assert behind.outcomes == [["server_error", "ok"]]


def test_embeddings() -> None:
    """One call for a list of texts."""
    with in_front_of(status(503), vectors([0.5, 0.25], [1, 0])) as behind:
        found = litellm.embedding("openai/text-embedding-3-small", ["a", "b"], client=sdk(behind))

    assert [item["embedding"] for item in found.data] == [[0.5, 0.25], [1, 0]]
    assert behind.outcomes == [["server_error", "ok"]]


def test_a_provider_without_an_sdk() -> None:
    """Here litellm speaks Anthropic's wire itself, over a handler that takes a client of httpx."""
    with in_front_of(status(529), "Paris.", ["Par", "is."], wire="anthropic") as behind:
        asked = {
            "model": "anthropic/claude-sonnet-5",
            "messages": QUESTION,
            "api_key": "unused",
            "client": HTTPHandler(client=httpx_client(behind.stack)),
        }
        found = litellm.completion(**asked)
        chunks = list(litellm.completion(**asked, stream=True))

    assert found.choices[0].message.content == "Paris."
    assert "".join([chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]) == "Paris."
    assert behind.outcomes == [["overloaded", "ok"], ["ok"]]


def test_the_retries_of_the_sdk_multiply_nothing() -> None:
    """What the stack gave up is answered once, whatever `max_retries` says."""
    with in_front_of(*[status(503)] * 3) as behind, pytest.raises(litellm.ServiceUnavailableError):
        litellm.completion(**ASKED, max_retries=2, client=sdk(behind))

    assert behind.outcomes == [["server_error"] * 3]


def test_the_tries_of_litellm_itself_multiply() -> None:
    """It repeats what it raised, whatever the answer says: so `num_retries` is left out."""
    pytest.importorskip("tenacity")  # litellm asks for it when it is to try again
    with in_front_of(*[status(503)] * 6) as behind, pytest.raises(litellm.ServiceUnavailableError):
        litellm.completion(**ASKED, num_retries=1, client=sdk(behind))

    assert behind.outcomes == [["server_error"] * 3] * 2
