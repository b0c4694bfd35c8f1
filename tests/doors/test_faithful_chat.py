"""Through the door, the OpenAI SDK's chat completions behave as they do without it."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from door_fidelity import Case, compare

from llamina import Message, Reasoning, Response, Text, ToolCall, Usage
from llamina.testing import answer, cut, error_event, garbage, status, tool_call

HI = [{"role": "user", "content": "hi"}]
PNG = "data:image/png;base64,iVBORw0KGgo="
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "x", "parameters": {"type": "object", "properties": {}}},
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
USAGE = Usage(100, 50, 60, 0, 20)


def ask(*messages: Any, **params: Any) -> Any:
    """An app that asks for a completion."""

    async def use(client: Any) -> Any:
        return await client.chat.completions.create(model="gpt-5", messages=list(messages) or HI, **params)

    return use


def follow(*messages: Any, **params: Any) -> Any:
    """An app that reads a stream to its end."""

    async def use(client: Any) -> Any:
        chunks = []
        async for chunk in await client.chat.completions.create(
            model="gpt-5", messages=list(messages) or HI, stream=True, **params
        ):
            chunks.append(chunk)
        return chunks

    return use


async def leave(client: Any) -> Any:
    """An app that leaves a stream after the first text."""
    async with await client.chat.completions.create(model="gpt-5", messages=HI, stream=True) as stream:
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                return chunk.choices[0].delta.content
    return None


async def gather(client: Any) -> Any:
    """An app that uses the helper of the SDK for streams."""
    async with client.chat.completions.stream(model="gpt-5", messages=HI) as stream:
        text = "".join([event.delta async for event in stream if event.type == "content.delta"])
        return text, await stream.get_final_completion()


async def raw(client: Any) -> Any:
    """An app that looks at the HTTP response."""
    found = await client.chat.completions.with_raw_response.create(model="gpt-5", messages=HI)
    return found.status_code, found.headers["content-type"], found.headers["x-request-id"], found.parse()


def whole(*parts: Any, finish: str = "stop", **fields: Any) -> Response:
    """An answer of these parts."""
    return Response(Message("assistant", parts), USAGE, finish, **fields)


ASKED = {
    "text": {},
    "temperature": {"temperature": 0},
    "limits": {"max_tokens": 9, "max_completion_tokens": 9},
    "top_p": {"top_p": 0.5, "frequency_penalty": 0.1, "presence_penalty": 0.2},
    "stop word": {"stop": "END"},
    "stop words": {"stop": ["a", "b"]},
    "seed": {"seed": 7},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "choices": {"n": 2},
    "json object": {"response_format": {"type": "json_object"}},
    "json schema": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    },
    "tools": {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False},
    "one tool": {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
    "who": {"user": "u1", "metadata": {"a": "b"}, "safety_identifier": "s", "service_tier": "flex", "store": True},
    "effort": {"reasoning_effort": "low", "verbosity": "low"},
    "bias": {"logit_bias": {"50256": -100}},
    "unknown parameters": {"extra_body": {"x_more": {"deep": [1, 2.5, None]}, "min_p": 0.1}},
    "unknown headers": {"extra_headers": {"x-more": "1"}},
    "modalities": {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
    "prediction": {"prediction": {"type": "content", "content": "hi"}},
}
SAID: dict[str, list[Any]] = {
    "system": [{"role": "system", "content": "Be brief."}, *HI],
    "developer": [{"role": "developer", "content": [{"type": "text", "text": "Be brief."}]}, *HI],
    "name": [{"role": "user", "content": "hi", "name": "ada"}],
    "image by address": [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "https://e.org/a.png", "detail": "low"}}],
        }
    ],
    "image": [
        {"role": "user", "content": [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": PNG}}]}
    ],
    "sound": [
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}]}
    ],
    "file": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}],
    "calls and results": [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ],
    "refusal": [*HI, {"role": "assistant", "content": None, "refusal": "no"}, *HI],
    "unknown part": [{"role": "user", "content": [{"type": "hologram", "depth": 3}]}],
    "unknown field": [{"role": "user", "content": "hi", "weight": 2}],
}
ANSWERS: dict[str, Any] = {
    "nothing": answer(""),
    "cached and reasoning tokens": answer("hi", usage=USAGE),
    "cut by its limit": answer("hi", usage=USAGE, finish_reason="length"),
    "filtered": answer("hi", usage=USAGE, finish_reason="content_filter"),
    "a call": tool_call("weather", {"city": "Paris"}),
    "two calls": whole(ToolCall("c1", "weather", '{"a":1}'), ToolCall("c2", "weather", "{}"), finish="tool_calls"),
    "text and a call": whole(Text("Let me see."), ToolCall("c1", "weather", "{}"), finish="tool_calls"),
    "reasoning": whole(Reasoning("hm"), Text("hi")),
    "letters of all kinds": answer('é 漢字 😀 "quoted"\n\ttab', usage=USAGE),
    "fields of tomorrow": whole(Text("hi"), extra={"system_fingerprint": "fp", "service_tier": "flex", "x_more": [1]}),
    "log probabilities": whole(Text("hi"), extra={"choices": [{"logprobs": {"content": [], "refusal": None}}]}),
}
REFUSALS: dict[str, Any] = {
    **{str(number): status(number) for number in (400, 401, 403, 404, 409, 413, 422, 429, 500, 502, 503, 504, 529)},
    "402": status(402),
    "quota": status(429, code="insufficient_quota"),
    "throttled": status(429, retry_after=2),
    "with a code": status(400, code="context_length_exceeded", message="too long"),
}

CASES = [
    *[Case(f"ask: {name}", ask(**params), ["hello"]) for name, params in ASKED.items()],
    *[Case(f"say: {name}", ask(*messages), ["hello"]) for name, messages in SAID.items()],
    *[Case(f"answer: {name}", ask(), [item]) for name, item in ANSWERS.items()],
    *[Case(f"refusal: {name}", ask(), [item]) for name, item in REFUSALS.items()],
    *[Case(f"refused stream: {name}", follow(), [item]) for name, item in REFUSALS.items()],
    *[
        Case(f"stream: {name}", follow(stream_options={"include_usage": True}), [item])
        for name, item in ANSWERS.items()
        if name != "nothing"
    ],
    Case("stream: pieces", follow(), [["Hel", "lo", " you"]]),
    Case("stream: a tool", follow(tools=[TOOL]), [tool_call("weather", {"city": "Paris"})]),
    Case("stream: left early", leave, [["Hel", 0.01, "lo", 60, "never"]]),
    Case("stream: an error in it", follow(), [["Hel", error_event("server_error", message="broke")]]),
    Case("helper: stream", gather, [["Hel", "lo"]]),
    Case("raw response", raw, [answer("hello")]),
    Case("cut before the answer", ask(), [cut()]),
    Case("one after the other", ask(), ["one", status(500), "three"], times=3),
]


def client(url: str, http_client: Any) -> Any:
    """The SDK's client as an app builds it; only the last argument is of the door."""
    return openai.AsyncOpenAI(api_key="sk-app", base_url=url, max_retries=0, http_client=http_client)


def same_bodies(bodies: list[Any]) -> list[Any]:
    """What the provider received, but for two freedoms of the stack.

    It asks for the account at the end of a stream itself, and says content that is one plain text as that text.
    """
    return [
        {
            **{key: value for key, value in body.items() if key != "stream_options"},
            "messages": [{**message, "content": spoken(message.get("content"))} for message in body["messages"]],
        }
        for body in bodies
    ]


def spoken(content: Any) -> Any:
    """Content that is one plain text as that text."""
    alone = isinstance(content, list) and len(content) == 1 and content[0].keys() == {"type", "text"}
    return content[0]["text"] if alone else content


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_behaves_as_without_the_door(case: Case) -> None:
    """Equal results, exceptions and chunks for the app; equal requests for the provider."""
    directly, through = compare(case, client, openai.OpenAIError)

    assert through.results == directly.results
    assert same_bodies(through.bodies) == same_bodies(directly.bodies)


def test_a_body_that_is_no_answer_is_an_error() -> None:
    """Where the SDK takes a page of HTML for an answer, the stack says what came."""
    _, through = compare(Case("garbage", ask(), [garbage()]), client, openai.OpenAIError)

    assert (through.results[0]["type"], through.results[0]["status"]) == ("InternalServerError", 502)
