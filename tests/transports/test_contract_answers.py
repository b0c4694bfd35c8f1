"""Every transport on every wire: answers, whole and streamed, and all that can be in them."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Any

import pytest
from contract_cases import ASK, KINDS, LIMITS, Kind, each_form, each_transport, skip_without, talking, without_raw

from llamina import Image, Message, Reasoning, Request, Response, Text, ToolCall, ToolResult, UnknownPart, Usage
from llamina.testing import (
    SimulatedProvider,
    answer,
    check_handler,
    drip,
    no_done,
    no_usage,
    slow_headers,
    with_headers,
)

USAGE = Usage(200, 90, 120, 30, 40)
CALLS = (ToolCall("call_a", "weather", '{"city":"Paris"}'), ToolCall("call_b", "time", '{"zone":"CET","exact":true}'))
SIGNATURE = {"anthropic": {"signature": "c2lnbmVk"}}
ANSWERS = {
    "text": answer("Hello there."),
    "usage": answer("Counted.", usage=USAGE),
    "length": answer("It goes on and", finish_reason="length"),
    "filtered": answer("It may not", finish_reason="content_filter"),
    "no text": answer(""),
    "letters": answer("日本語, déjà vu, 🙂\n\n\tend "),
    "one tool": Response(Message.assistant(CALLS[0]), None, "tool_calls"),
    "parallel tools": Response(Message.assistant(*CALLS), None, "tool_calls"),
    "text and tools": Response(Message.assistant("Let me look.", *CALLS), None, "tool_calls"),
    "no arguments": Response(Message.assistant(ToolCall("call_c", "now", "{}")), None, "tool_calls"),
    "reasoning": Response(Message.assistant(Reasoning("First, think.", SIGNATURE), "Then speak."), USAGE, "stop"),
    "thought tool": Response(Message.assistant(Reasoning("Hm.", SIGNATURE), CALLS[0]), None, "tool_calls"),
}
TOOLS = [
    {
        "type": "function",
        "function": {"name": name, "description": f"The {name}.", "parameters": {"type": "object", "properties": {}}},
    }
    for name in ("weather", "time")
]
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452")


@each_form
@each_transport
def test_an_answer_arrives(kind: Kind, streams: bool) -> None:
    """Its text, why it ended, who answered, what it took, and the name of the request at the provider."""

    async def main() -> None:
        async with talking(kind, [answer("Because.", usage=USAGE, model="sim-large")]) as talk:
            response = await talk.ask(streams)

            (attempt,) = response.call.attempts
            assert (response.text, response.finish_reason, response.model) == ("Because.", "stop", "sim-large")
            assert response.usage == USAGE
            assert response.request_id == attempt.request_id == "req-sim-1"
            assert (attempt.outcome, attempt.usage_source) == ("ok", "exact")

    asyncio.run(main())


@each_form
@each_transport
def test_what_is_left_of_the_limits_is_told(kind: Kind, streams: bool) -> None:
    """The provider's headers, in the same words whoever it is."""

    async def main() -> None:
        async with talking(kind, [with_headers("hi", LIMITS[kind.wire])]) as talk:
            response = await talk.ask(streams)

        assert response.rate_limit == response.call.rate_limit == {"limit_tokens": 1000, "remaining_tokens": 90}

    asyncio.run(main())


@pytest.mark.parametrize("name", ANSWERS)
@each_transport
def test_an_answer_is_the_same_in_either_form(kind: Kind, name: str) -> None:
    """The message, the tokens and the end do not depend on how it came; and nothing that was said is missing."""

    async def main() -> None:
        said = ANSWERS[name]
        async with talking(kind, [said, said]) as talk:
            whole, streamed = await talk.whole(), await talk.streamed()

        assert whole.message == streamed.message
        assert whole.usage == streamed.usage
        assert (whole.finish_reason, whole.raw_finish_reason) == (streamed.finish_reason, streamed.raw_finish_reason)
        assert without_raw(whole.message) == without_raw(said.message)
        assert whole.finish_reason == said.finish_reason

    asyncio.run(main())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.wire != "anthropic"], ids=str)
def test_what_a_model_refuses_is_the_same_in_either_form(kind: Kind) -> None:
    """A refusal is a part of its own on the wires of OpenAI; Anthropic says it as the reason to stop."""

    async def main() -> None:
        refusal = UnknownPart({"type": "refusal", "refusal": "I will not."}, kind.wire)
        said = Response(Message.assistant(refusal), None, "stop")
        async with talking(kind, [said, said]) as talk:
            whole, streamed = await talk.whole(), await talk.streamed()

        assert whole.message == streamed.message
        assert [part.raw["refusal"] for part in whole.message.parts] == ["I will not."]
        assert whole.finish_reason == streamed.finish_reason

    asyncio.run(main())


@each_transport
def test_pieces_come_one_by_one(kind: Kind) -> None:
    """A stream is handed on as it comes, and folds to the answer."""

    async def main() -> None:
        async with talking(kind, [["Hel", 0.002, "lo", 0.002, " there"]]) as talk:
            events, response = await talk.events()

        assert [event.text for event in events if event.text] == ["Hel", "lo", " there"]
        assert response.text == "Hello there"

    asyncio.run(main())


@each_form
@each_transport
def test_tools_are_called_and_answered(kind: Kind, streams: bool) -> None:
    """The provider is told of the tools, calls two of them at once, and gets back both results and its own calls."""

    async def main() -> None:
        heard: list[Request] = []

        def hear(request: Request) -> Any:
            heard.append(request)
            return Response(Message.assistant(*CALLS), None, "tool_calls") if len(heard) == 1 else "Sunny at noon."

        asked = ASK.with_params(tools=TOOLS, tool_choice="auto")
        results = ToolResult("call_a", "sunny"), ToolResult("call_b", "noon")
        async with talking(kind, hear) as talk:
            first = await talk.ask(streams, asked)
            second = await talk.ask(streams, asked.reply(first, *results))

        assert [tool["function"]["name"] for tool in heard[0].params["tools"]] == ["weather", "time"]
        assert [call.arguments for call in first.tool_calls] == [{"city": "Paris"}, {"zone": "CET", "exact": True}]
        parts = [part for message in heard[1].messages for part in message.parts]
        assert [part.id for part in parts if isinstance(part, ToolCall)] == ["call_a", "call_b"]
        assert [part.text for part in parts if isinstance(part, ToolResult)] == ["sunny", "noon"]
        assert second.text == "Sunny at noon."

    asyncio.run(main())


@each_transport
def test_thoughts_go_back_as_they_came(kind: Kind) -> None:
    """What the provider thought before it called a tool is in the next request, with its signature."""

    async def main() -> None:
        heard: list[Request] = []

        def hear(request: Request) -> Any:
            heard.append(request)
            return ANSWERS["thought tool"] if len(heard) == 1 else "done"

        async with talking(kind, hear) as talk:
            first = await talk.streamed()
            await talk.whole(ASK.reply(first, ToolResult("call_a", "sunny")))

        (thought,) = [part for message in heard[1].messages for part in message.parts if isinstance(part, Reasoning)]
        assert thought.text == "Hm."
        assert thought == next(part for part in first.message.parts if isinstance(part, Reasoning))

    asyncio.run(main())


@each_transport
def test_an_image_is_sent_in_the_form_of_the_wire(kind: Kind) -> None:
    """The bytes are there, with their type, beside the text."""

    async def main() -> None:
        asked = Request.chat("sim", [Message.user("What is it?", Image(PNG, "image/png"))], max_tokens=100)
        async with talking(kind, ["a picture"]) as talk:
            await talk.whole(asked)
            body = talk.body

        data = b64encode(PNG).decode()
        url = f"data:image/png;base64,{data}"
        text, image = (body["input"] if kind.wire == "responses" else body["messages"])[0]["content"]
        assert text["text"] == "What is it?"
        assert image == {
            "chat": {"type": "image_url", "image_url": {"url": url}},
            "responses": {"type": "input_image", "image_url": url},
            "anthropic": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
        }[kind.wire] | ({"detail": image["detail"]} if "detail" in image else {})

    asyncio.run(main())


@each_transport
def test_instructions_and_turns_arrive(kind: Kind) -> None:
    """Whatever place a wire has for them, the provider reads the same conversation."""

    async def main() -> None:
        heard: list[Request] = []

        def hear(request: Request) -> str:
            heard.append(request)
            return "Third."

        turns = [Message.system("Be brief."), Message.user("One."), Message.assistant("Two."), Message.user("And?")]
        async with talking(kind, [hear]) as talk:
            await talk.whole(Request.chat("sim", turns, max_tokens=7, temperature=0.5))

        assert [(message.role, message.text) for message in heard[0].messages] == [
            (message.role, message.text) for message in turns
        ]
        assert heard[0].params["temperature"] == 0.5
        assert 7 in heard[0].params.values()

    asyncio.run(main())


@each_form
@each_transport
def test_an_answer_without_an_account_is_estimated(kind: Kind, streams: bool) -> None:
    """Unknown is not zero."""

    async def main() -> None:
        async with talking(kind, [no_usage("nobody counts this")]) as talk:
            response = await talk.ask(streams)

            (attempt,) = response.call.attempts
            assert response.usage is None
            assert attempt.usage_source == "estimated"
            assert min(attempt.usage.input_tokens, attempt.usage.output_tokens) > 0

    asyncio.run(main())


@pytest.mark.parametrize(
    "item",
    [no_done("slowly and surely"), drip("slowly and surely", 0.00002), slow_headers(0.02, "slowly and surely")],
    ids=["no last word", "dripped", "slow headers"],
)
@each_form
@each_transport
def test_an_odd_manner_is_no_fault(kind: Kind, item: Any, streams: bool) -> None:
    """Without the mark that nothing follows, byte by byte, after a while: it is an answer all the same."""

    async def main() -> None:
        async with talking(kind, [item]) as talk:
            response = await talk.ask(streams)

        assert (response.text, response.finish_reason) == ("slowly and surely", "stop")

    asyncio.run(main())


@each_transport
def test_five_hundred_calls_at_once_are_answered(kind: Kind) -> None:
    """Half of them streamed; each gets its own answer, and each is one request."""

    async def main() -> None:
        def echo(request: Request) -> list[str]:
            return ["you said ", request.messages[-1].text]

        async with talking(kind, echo) as talk:
            asked = [Request.chat("sim", f"number {number}", max_tokens=100) for number in range(512)]
            calls = [talk.ask(number % 2 == 0, request) for number, request in enumerate(asked)]
            answers = await asyncio.gather(*calls)

            assert [answer.text for answer in answers] == [f"you said number {number}" for number in range(512)]
            assert len(talk.provider.requests) == 512
            assert talk.provider.aborted == 0

    asyncio.run(main())


@each_transport
def test_a_slow_consumer_loses_nothing(kind: Kind) -> None:
    """Two thousand pieces, and a reader who looks away now and then."""

    async def main() -> None:
        pieces = [f"{number} " for number in range(2000)]
        async with talking(kind, [pieces]) as talk, talk.stack.stream(ASK) as stream:
            read = []
            async for event in stream:
                read.append(event.text)
                if len(read) % 500 == 0:
                    await asyncio.sleep(0.01)

            assert "".join(read) == stream.response.text == "".join(pieces)
            assert stream.call.attempts[0].outcome == "ok"

    asyncio.run(main())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.engine != "httpx"], ids=str)
def test_it_keeps_the_protocol(kind: Kind) -> None:
    """The conformance checks for handlers, over real sockets."""
    skip_without(kind)
    with SimulatedProvider([["in ", "pieces"]], wire=kind.wire, repeat=True).in_thread() as url:

        async def handler(request: Request) -> Response:
            transport = kind.build(url)
            try:
                return await transport(request)
            finally:
                await transport.aclose()

        assert check_handler(handler, request=ASK, simulated=False)


def test_the_texts_of_a_message_are_one_text() -> None:
    """A guard for the comparison that this suite makes: it sees a difference in a part."""
    one, other = Message.assistant("a", CALLS[0]), Message.assistant("a", CALLS[1])

    assert without_raw(one) == [Text("a"), CALLS[0]]
    assert without_raw(one) != without_raw(other)


@each_transport
def test_headers_of_a_request_reach_the_provider(kind: Kind) -> None:
    """Beside those of every request, and in their place where they have the same name."""
    request = Request.chat("sim", "hi", headers={"x-app": "1", "user-agent": "mine/2"})

    async def main() -> None:
        async with talking(kind, ["hi"]) as talk:
            await talk.stack(request)

            (seen,) = talk.provider.requests
            assert (seen.headers["x-app"], seen.headers["user-agent"]) == ("1", "mine/2")
            assert "application/json" in seen.headers["content-type"]

    asyncio.run(main())
