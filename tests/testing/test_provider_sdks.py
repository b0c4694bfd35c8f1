"""The official clients take the simulated provider for the real one, on every wire."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llamina import Message, Reasoning, Response, ToolCall, Usage
from llamina.testing import SimulatedProvider, answer, error_event, status, tool_call, vectors

SIGNED = Reasoning("First, think.", {"anthropic": {"signature": "c2lnbmVk"}})
CALLS = ToolCall("call_a", "weather", '{"city":"Paris"}'), ToolCall("call_b", "time", '{"zone":"CET"}')
FULL = Response(Message.assistant(SIGNED, "Let me look.", *CALLS), Usage(90, 30, 50, 10, 20), "tool_calls")
ASK: list[Any] = [{"role": "user", "content": "hi"}]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the machine must not stand between a client and its loopback socket."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def openai_reads(script: Any, read: Any, wire: str = "chat") -> Any:
    """What *read* makes of a client of OpenAI and a provider that plays *script*."""
    openai = pytest.importorskip("openai")

    async def main() -> Any:
        async with (
            SimulatedProvider(script, wire=wire) as provider,
            openai.AsyncOpenAI(api_key="sk-x", base_url=provider.base_url, max_retries=0) as client,
        ):
            return await read(client)

    return asyncio.run(main())


def anthropic_reads(script: Any, read: Any) -> Any:
    """The same for Anthropic's."""
    anthropic = pytest.importorskip("anthropic")

    async def main() -> Any:
        async with (
            SimulatedProvider(script, wire="anthropic") as provider,
            anthropic.AsyncAnthropic(api_key="sk-x", base_url=provider.base_url, max_retries=0) as client,
        ):
            return await read(client)

    return asyncio.run(main())


def test_openai_reads_a_completion() -> None:
    """Text, calls of tools, tokens and the end."""
    completion = openai_reads([FULL], lambda client: client.chat.completions.create(model="sim", messages=ASK))

    (choice,) = completion.choices
    assert choice.message.content == "Let me look."
    assert [call.function.name for call in choice.message.tool_calls] == ["weather", "time"]
    assert choice.finish_reason == "tool_calls"
    assert completion.usage.prompt_tokens_details.cached_tokens == 50
    assert completion.usage.completion_tokens_details.reasoning_tokens == 20


def test_openai_accumulates_a_streamed_completion() -> None:
    """Its helper puts the pieces together."""

    async def read(client: Any) -> Any:
        options = {"include_usage": True}
        async with client.chat.completions.stream(model="sim", messages=ASK, stream_options=options) as stream:
            async for _ in stream:
                pass
            return await stream.get_final_completion()

    completion = openai_reads([FULL], read)

    message = completion.choices[0].message
    assert message.content == "Let me look."
    assert [call.function.arguments for call in message.tool_calls] == ['{"city":"Paris"}', '{"zone":"CET"}']
    assert completion.usage.completion_tokens == 30


def test_openai_reads_a_response() -> None:
    """Its output items, and its tokens."""
    response = openai_reads([FULL], lambda client: client.responses.create(model="sim", input="hi"), "responses")

    assert response.output_text == "Let me look."
    assert [item.call_id for item in response.output if item.type == "function_call"] == ["call_a", "call_b"]
    assert (response.status, response.id) == ("completed", "resp_sim_1")
    assert response.usage.input_tokens_details.cached_tokens == 50
    assert response.usage.output_tokens_details.reasoning_tokens == 20


def test_openai_accumulates_a_streamed_response() -> None:
    """Its helper checks the order of the events, and puts them together."""

    async def read(client: Any) -> Any:
        async with client.responses.stream(model="sim", input="hi") as stream:
            texts = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            return texts, await stream.get_final_response()

    texts, response = openai_reads([["Hel", "lo", answer("Hello", usage=Usage(9, 2))]], read, "responses")

    assert texts == ["Hel", "lo"]
    assert response.output_text == "Hello"
    assert response.usage.total_tokens == 11


def test_openai_accumulates_streamed_calls_of_tools() -> None:
    """Two of them, beside a text and a thought."""

    async def read(client: Any) -> Any:
        async with client.responses.stream(model="sim", input="hi") as stream:
            return await stream.get_final_response()

    response = openai_reads([FULL], read, "responses")

    calls = [item for item in response.output if item.type == "function_call"]
    assert [(call.call_id, call.name, call.arguments) for call in calls] == [
        (call.id, call.name, call.arguments_text) for call in CALLS
    ]


def test_openai_reads_vectors() -> None:
    """In the packed form that it asks for by default, and as plain numbers."""

    async def read(client: Any) -> Any:
        packed = await client.embeddings.create(model="sim", input=["one", "two"])
        plain = await client.embeddings.create(model="sim", input=["one", "two"], encoding_format="float")
        return packed, plain

    packed, plain = openai_reads(vectors([0.5, 0.25], [1, 2]), read, "embeddings")

    for answered in (packed, plain):
        assert [each.embedding for each in answered.data] == [[0.5, 0.25], [1.0, 2.0]]
        assert answered.usage.prompt_tokens == 8


@pytest.mark.parametrize(("code", "name"), [(401, "AuthenticationError"), (429, "RateLimitError")])
@pytest.mark.parametrize("wire", ["chat", "responses"])
def test_openai_raises_for_a_refusal(wire: str, code: int, name: str) -> None:
    """With its class for the status, the code, and the name of the request."""
    openai = pytest.importorskip("openai")

    async def read(client: Any) -> Any:
        with pytest.raises(getattr(openai, name)) as caught:
            if wire == "chat":
                await client.chat.completions.create(model="sim", messages=ASK)
            else:
                await client.responses.create(model="sim", input="hi")
        return caught.value

    error = openai_reads([status(code)], read, wire)

    assert error.request_id == "req-sim-1"
    assert error.code in ("invalid_api_key", "rate_limit_exceeded")


def test_anthropic_reads_a_message() -> None:
    """Blocks with their signatures, the end, and tokens."""
    message = anthropic_reads([FULL], lambda client: client.messages.create(model="sim", max_tokens=9, messages=ASK))

    thought, text, *calls = message.content
    assert (thought.thinking, thought.signature) == ("First, think.", "c2lnbmVk")
    assert text.text == "Let me look."
    assert [(call.id, call.input) for call in calls] == [("call_a", {"city": "Paris"}), ("call_b", {"zone": "CET"})]
    assert message.stop_reason == "tool_use"
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (30, 50)
    assert message._request_id == "req-sim-1"


def test_anthropic_accumulates_a_streamed_message() -> None:
    """Its helper puts the same message together from the events."""

    async def read(client: Any) -> Any:
        asked = {"model": "sim", "max_tokens": 9, "messages": ASK}
        async with client.messages.stream(**asked) as stream:
            texts = [text async for text in stream.text_stream]
            return texts, await stream.get_final_message(), await client.messages.create(**asked)

    texts, streamed, whole = anthropic_reads([FULL, FULL], read)

    assert texts == ["Let me look."]
    assert [block.to_dict() for block in streamed.content] == [block.to_dict() for block in whole.content]
    assert (streamed.stop_reason, streamed.usage.output_tokens) == ("tool_use", 30)
    assert streamed.usage.input_tokens == whole.usage.input_tokens


def test_anthropic_accumulates_a_call_of_a_tool() -> None:
    """Its arguments come as pieces of JSON."""

    async def read(client: Any) -> Any:
        async with client.messages.stream(model="sim", max_tokens=9, messages=ASK) as stream:
            return await stream.get_final_message()

    message = anthropic_reads([tool_call("weather", {"city": "Zürich", "days": 2})], read)

    (block,) = message.content
    assert (block.name, block.input) == ("weather", {"city": "Zürich", "days": 2})


@pytest.mark.parametrize(
    ("refusal", "name"),
    [
        (status(401), "AuthenticationError"),
        (status(429), "RateLimitError"),
        (status(529), "OverloadedError"),
        (status(413), "ContentTooLargeError"),
    ],
)
def test_anthropic_raises_for_a_refusal(refusal: Any, name: str) -> None:
    """With its class for the status, and the name of the request."""
    anthropic = pytest.importorskip("anthropic")

    async def read(client: Any) -> Any:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await client.messages.create(model="sim", max_tokens=9, messages=ASK)
        return caught.value

    error = anthropic_reads([refusal], read)

    assert type(error).__name__ == name
    assert error.request_id == "req-sim-1"


def test_anthropic_raises_for_an_error_in_a_stream() -> None:
    """What came before it had come."""
    anthropic = pytest.importorskip("anthropic")
    texts: list[str] = []

    async def read(client: Any) -> None:
        with pytest.raises(anthropic.APIStatusError, match="busy"):
            async with client.messages.stream(model="sim", max_tokens=9, messages=ASK) as stream:
                async for text in stream.text_stream:
                    texts.append(text)

    anthropic_reads([["par", error_event("overloaded_error", message="busy")]], read)

    assert texts == ["par"]
