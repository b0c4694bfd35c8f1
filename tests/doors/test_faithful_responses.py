"""Through the door, the Responses API of the OpenAI SDK behaves as it does without it."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from door_fidelity import Case, compare

from llamina import Message, Response, Text, ToolCall, Usage
from llamina.testing import answer, cut, error_event, status, tool_call, vectors

TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}, "strict": False}
USAGE = Usage(100, 50, 60, 0, 20)


def ask(given: Any = "hi", **params: Any) -> Any:
    """An app that asks for a response."""

    async def use(client: Any) -> Any:
        return await client.responses.create(model="gpt-5", input=given, **params)

    return use


def follow(given: Any = "hi", **params: Any) -> Any:
    """An app that reads a stream to its end."""

    async def use(client: Any) -> Any:
        return [event async for event in await ask(given, stream=True, **params)(client)]

    return use


async def gather(client: Any) -> Any:
    """An app that uses the helper of the SDK for streams."""
    async with client.responses.stream(model="gpt-5", input="hi") as stream:
        text = "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])
        return text, (await stream.get_final_response()).output_text


def embed(**params: Any) -> Any:
    """An app that asks for vectors."""

    async def use(client: Any) -> Any:
        return await client.embeddings.create(model="e", input=["one", "two"], **params)

    return use


def said(*parts: Any) -> list[Any]:
    """Input of one message with these parts."""
    return [{"role": "user", "content": list(parts)}]


ASKED: dict[str, dict[str, Any]] = {
    "text": {},
    "temperature": {"temperature": 0, "top_p": 0.5},
    "instructions": {"instructions": "Be brief."},
    "limit": {"max_output_tokens": 64, "max_tool_calls": 2, "truncation": "auto"},
    "tools": {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False},
    "one tool": {"tools": [TOOL], "tool_choice": {"type": "function", "name": "weather"}},
    "hosted tool": {"tools": [{"type": "web_search"}]},
    "reasoning": {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]},
    "format": {
        "text": {
            "format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True},
            "verbosity": "low",
        }
    },
    "log probabilities": {"top_logprobs": 2, "include": ["message.output_text.logprobs"]},
    "who": {"user": "u1", "metadata": {"a": "b"}, "service_tier": "flex", "store": False, "prompt_cache_key": "k"},
    "before": {"previous_response_id": "resp_1"},
    "unknown parameters": {"extra_body": {"x_more": {"deep": [1, 2.5, None]}}},
}
SAID: dict[str, Any] = {
    "a message": [{"role": "user", "content": "hi"}],
    "a typed message": [{"type": "message", "role": "user", "content": "hi"}],
    "parts": said(
        {"type": "input_text", "text": "?"},
        {"type": "input_image", "image_url": "https://e.org/a.png", "detail": "low"},
    ),
    "image": said({"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"}),
    "file": said({"type": "input_file", "file_id": "file-1"}),
    "roles": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "hi"}],
    "calls and results": [
        {"role": "user", "content": "hi"},
        {
            "type": "function_call",
            "call_id": "c1",
            "name": "weather",
            "arguments": "{}",
            "id": "fc_1",
            "status": "completed",
        },
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
    ],
    "thoughts": [
        {"role": "user", "content": "hi"},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": "x",
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "hi", "annotations": []}],
        },
        {"role": "user", "content": "and?"},
    ],
    "an item of tomorrow": [{"role": "user", "content": "hi"}, {"type": "hologram", "depth": 3}],
}
ANSWERS: dict[str, Any] = {
    "cached and reasoning tokens": answer("hi", usage=USAGE),
    "cut by its limit": answer("hi", usage=USAGE, finish_reason="length"),
    "filtered": answer("hi", usage=USAGE, finish_reason="content_filter"),
    "a call": tool_call("weather", {"city": "Paris"}),
    "two calls": Response(
        Message("assistant", (ToolCall("c1", "weather", '{"a":1}'), ToolCall("c2", "weather", "{}"))),
        USAGE,
        "tool_calls",
    ),
    "text and a call": Response(
        Message("assistant", (Text("Let me see."), ToolCall("c1", "weather", "{}"))), USAGE, "tool_calls"
    ),
    "letters of all kinds": answer('é 漢字 😀 "quoted"\n\ttab', usage=USAGE),
}
REFUSALS: dict[str, Any] = {
    **{str(n): status(n) for n in (400, 401, 403, 404, 409, 413, 422, 429, 500, 502, 503, 504)},
    "quota": status(429, code="insufficient_quota"),
    "throttled": status(429, retry_after=2),
}
CASES = [
    *[Case(f"ask: {name}", ask(**params), ["hello"], "responses") for name, params in ASKED.items()],
    *[Case(f"say: {name}", ask(given), ["hello"], "responses") for name, given in SAID.items()],
    *[Case(f"answer: {name}", ask(), [item], "responses") for name, item in ANSWERS.items()],
    *[Case(f"stream: {name}", follow(), [item], "responses") for name, item in ANSWERS.items()],
    *[Case(f"refusal: {name}", ask(), [item], "responses") for name, item in REFUSALS.items()],
    *[Case(f"refused stream: {name}", follow(), [item], "responses") for name, item in REFUSALS.items()],
    Case("stream: pieces", follow(), [["Hel", "lo", " you"]], "responses"),
    Case("stream: an error in it", follow(), [["Hel", error_event("server_error", code="server_error")]], "responses"),
    Case("helper: stream", gather, [["Hel", "lo"]], "responses"),
    Case("cut before the answer", ask(), [cut()], "responses"),
    Case("vectors", embed(), [vectors([0.1, 0.2], [0.3, 0.4])], "embeddings"),
    Case("vectors as numbers", embed(encoding_format="float", dimensions=2), [vectors([0.1], [0.3])], "embeddings"),
    Case("refused vectors", embed(), [status(429, retry_after=1)], "embeddings"),
]


def asked(body: dict[str, Any]) -> dict[str, Any]:
    """What the provider received; the stack says input that is one message of plain text as that text."""
    given = body.get("input")
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], dict):
        (message,) = given
        if message.keys() == {"role", "content"} and message["role"] == "user" and isinstance(message["content"], str):
            return {**body, "input": message["content"]}
    return body


def client(url: str, http_client: Any) -> Any:
    """The SDK's client as an app builds it; only the last argument is of the door."""
    return openai.AsyncOpenAI(api_key="sk-app", base_url=url, max_retries=0, http_client=http_client)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_behaves_as_without_the_door(case: Case) -> None:
    """Equal results, exceptions and events for the app; equal requests for the provider."""
    directly, through = compare(case, client, openai.OpenAIError)

    assert through.results == directly.results
    assert [asked(body) for body in through.bodies] == [asked(body) for body in directly.bodies]
