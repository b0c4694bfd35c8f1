"""Through the door, the Anthropic SDK behaves as it does without it."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest
from door_fidelity import Case, compare

from llamina import Message, Reasoning, Response, Text, ToolCall, UnknownPart, Usage
from llamina.testing import answer, cut, error_event, status, tool_call

HI = [{"role": "user", "content": "hi"}]
TOOL = {"name": "weather", "description": "x", "input_schema": {"type": "object", "properties": {}}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
USAGE = Usage(100, 50, 60, 10)


def ask(*messages: Any, **params: Any) -> Any:
    """An app that asks for a message."""

    async def use(client: Any) -> Any:
        return await client.messages.create(
            **{"model": "claude-test", "max_tokens": 64, "messages": list(messages) or HI, **params}
        )

    return use


def follow(*messages: Any, **params: Any) -> Any:
    """An app that reads a stream to its end."""

    async def use(client: Any) -> Any:
        stream = await ask(*messages, stream=True, **params)(client)
        return [event async for event in stream]

    return use


async def gather(client: Any) -> Any:
    """An app that uses the helper of the SDK for streams."""
    async with client.messages.stream(model="claude-test", max_tokens=64, messages=HI) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        return text, await stream.get_final_message()


async def leave(client: Any) -> Any:
    """An app that leaves a stream after the first text."""
    async with client.messages.stream(model="claude-test", max_tokens=64, messages=HI) as stream:
        async for piece in stream.text_stream:
            return piece
    return None


async def raw(client: Any) -> Any:
    """An app that looks at the HTTP response."""
    found = await client.messages.with_raw_response.create(model="claude-test", max_tokens=64, messages=HI)
    return found.status_code, found.headers["content-type"], found.headers["request-id"], await found.parse()


def whole(*parts: Any, finish: str = "stop", **fields: Any) -> Response:
    """An answer of these parts."""
    return Response(Message("assistant", parts), USAGE, finish, **fields)


def said(*blocks: Any) -> dict[str, Any]:
    """A message of the user with these blocks."""
    return {"role": "user", "content": list(blocks)}


ASKED: dict[str, dict[str, Any]] = {
    "text": {},
    "temperature": {"extra_body": {"temperature": 0.0, "top_p": 0.5, "top_k": 4}},
    "system": {"system": "Be brief."},
    "marked system": {"system": [{"type": "text", "text": "Be brief.", **MARK}]},
    "two systems": {"system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]},
    "stop words": {"stop_sequences": ["a", "b"]},
    "tools": {"tools": [TOOL]},
    "marked tool": {"tools": [{**TOOL, **MARK}]},
    "server tool": {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]},
    "any tool": {"tools": [TOOL], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
    "one tool": {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "weather"}},
    "no tool": {"tools": [TOOL], "tool_choice": {"type": "none"}},
    "thinking": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    "who": {"metadata": {"user_id": "u1"}, "service_tier": "standard_only"},
    "unknown parameters": {"extra_body": {"x_more": {"deep": [1, 2.5, None]}}},
    "unknown headers": {"extra_headers": {"x-more": "1"}},
}
SAID: dict[str, list[Any]] = {
    "blocks": [said({"type": "text", "text": "a"}, {"type": "text", "text": "b"})],
    "marked text": [said({"type": "text", "text": "a", **MARK})],
    "image": [said(IMAGE, {"type": "text", "text": "?"})],
    "image by address": [said({"type": "image", "source": {"type": "url", "url": "https://e.org/a.png"}})],
    "document": [
        said({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}})
    ],
    "text document": [
        said({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}, "title": "t"})
    ],
    "cited document": [
        said(
            {
                "type": "document",
                "source": {"type": "url", "url": "https://e.org/a.pdf"},
                "citations": {"enabled": True},
                "context": "c",
            }
        )
    ],
    "calls and results": [
        *HI,
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Paris", "days": 2}},
                {"type": "tool_use", "id": "t2", "name": "weather", "input": {}},
            ],
        },
        said(
            {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"},
            {"type": "tool_result", "tool_use_id": "t2", "content": [IMAGE], "is_error": True},
            {"type": "text", "text": "and?"},
        ),
    ],
    "thoughts": [
        *HI,
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "eA=="},
                {"type": "text", "text": "hi"},
            ],
        },
        *HI,
    ],
    "prefilled": [*HI, {"role": "assistant", "content": "Once"}],
    "unknown block": [said({"type": "hologram", "depth": 3})],
}
ANSWERS: dict[str, Any] = {
    "cached tokens": answer("hi", usage=USAGE),
    "cut by its limit": answer("hi", usage=USAGE, finish_reason="length"),
    "refused": answer("no", usage=USAGE, finish_reason="content_filter"),
    "a call": tool_call("weather", {"city": "Paris"}),
    "two calls": whole(ToolCall("c1", "weather", '{"a":1}'), ToolCall("c2", "weather", "{}"), finish="tool_calls"),
    "text and a call": whole(Text("Let me see."), ToolCall("c1", "weather", "{}"), finish="tool_calls"),
    "thoughts": whole(Reasoning("hm", {"anthropic": {"signature": "c2ln"}}), Text("hi")),
    "hidden thoughts": whole(Reasoning("", {"anthropic": {"type": "redacted_thinking", "data": "eA=="}}), Text("hi")),
    "a tool of the server": whole(
        UnknownPart(
            {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}}, "anthropic"
        ),
        Text("hi"),
    ),
    "letters of all kinds": answer('é 漢字 😀 "quoted"\n\ttab', usage=USAGE),
}
REFUSALS: dict[str, Any] = {
    **{str(n): status(n) for n in (400, 401, 402, 403, 404, 409, 413, 422, 429, 500, 502, 503, 504, 529)},
    "quota": status(429, code="insufficient_quota"),
    "throttled": status(429, retry_after=2),
}
CASES = [
    *[Case(f"ask: {name}", ask(**params), ["hello"], "anthropic") for name, params in ASKED.items()],
    *[Case(f"say: {name}", ask(*messages), ["hello"], "anthropic") for name, messages in SAID.items()],
    *[Case(f"answer: {name}", ask(), [item], "anthropic") for name, item in ANSWERS.items()],
    *[Case(f"stream: {name}", follow(), [item], "anthropic") for name, item in ANSWERS.items()],
    *[Case(f"refusal: {name}", ask(), [item], "anthropic") for name, item in REFUSALS.items()],
    *[Case(f"refused stream: {name}", follow(), [item], "anthropic") for name, item in REFUSALS.items()],
    Case("stream: pieces", follow(), [["Hel", "lo", " you"]], "anthropic"),
    Case("stream: left early", leave, [["Hel", 0.01, "lo", 60, "never"]], "anthropic"),
    Case("stream: an error in it", follow(), [["Hel", error_event("overloaded_error", message="broke")]], "anthropic"),
    Case("helper: stream", gather, [["Hel", "lo"]], "anthropic"),
    Case("raw response", raw, [answer("hello")], "anthropic"),
    Case("cut before the answer", ask(), [cut()], "anthropic"),
    Case("one after the other", ask(), ["one", status(500), "three"], "anthropic", times=3),
]


def at_the_end(results: list[Any]) -> list[Any]:
    """Results without what the door knows at the end of a stream only: its first event counts no tokens yet."""
    for result in results:
        if isinstance(result, list) and result and isinstance(result[0], dict) and "message" in result[0]:
            result[0]["message"].pop("usage")
    return results


def client(url: str, http_client: Any) -> Any:
    """The SDK's client as an app builds it; only the last argument is of the door."""
    return anthropic.AsyncAnthropic(
        api_key="sk-app", base_url=url.removesuffix("/v1"), max_retries=0, http_client=http_client
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_behaves_as_without_the_door(case: Case) -> None:
    """Equal results, exceptions and events for the app; equal requests for the provider."""
    directly, through = compare(case, client, anthropic.AnthropicError)

    assert at_the_end(through.results) == at_the_end(directly.results)
    assert through.bodies == directly.bodies
