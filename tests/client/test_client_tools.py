"""The tool loop of a client, through both of its faces."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from typing import Any

import pytest

from llamina import (
    Client,
    ConfigurationError,
    Constant,
    CostMeter,
    Logger,
    Message,
    PartDelta,
    Retry,
    ServerError,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    build_stack,
    fold,
)
from llamina.client import ToolRoundsError
from llamina.testing import FakeTransport, answer, simulated_time, tool_call
from llamina.tools import tool


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"rain in {city}"


PARIS = tool_call("weather", {"city": "Paris"}, usage=Usage(10, 5))


def test_the_tools_that_the_model_calls_are_run_and_it_is_asked_again(client_of: Any) -> None:
    """The provider is told of the tools, gets the results, and its last answer comes back."""
    fake = FakeTransport([PARIS, "Take an umbrella."])

    response = client_of(fake, model="m").tools([weather]).chat("Umbrella?")

    assert response.text == "Take an umbrella."
    assert [each["function"]["name"] for each in fake.requests[0].params["tools"]] == ["weather"]
    assert fake.requests[1].messages == (
        Message.user("Umbrella?"),
        PARIS.message,
        Message.tool(ToolResult("call_1", "rain in Paris", "weather")),
    )


def test_cost_and_usage_are_those_of_all_rounds(client_of: Any) -> None:
    """The record of the answer has every attempt."""
    meter = CostMeter(prices={"m": {"input": "1", "output": "1"}})
    stack = build_stack([meter], FakeTransport([PARIS, answer("x", usage=Usage(20, 5))]))

    response = client_of(stack, model="m").tools([weather]).chat("Umbrella?", tags={"user": "ada"})

    assert len(response.call.attempts) == 2
    assert response.usage == response.call.usage == Usage(30, 10)
    assert response.call.cost == meter.totals().cost
    assert response.call.tags == {"user": "ada"}


def test_each_round_is_logged_for_itself(client_of: Any, caplog: Any) -> None:
    """A layer sees one call for each round, so that its sums are right."""
    caplog.set_level("INFO", "llamina")
    stack = build_stack([Logger()], FakeTransport([PARIS, "x"]))

    client_of(stack, model="m").tools([weather]).chat("Umbrella?")

    assert [record.llm_attempts for record in caplog.records] == [1, 1]


def test_a_round_is_tried_again_by_the_stack(client_of: Any) -> None:
    """Only the round that failed, streamed or not, though an earlier one has been delivered."""
    fake = FakeTransport([PARIS, ServerError("down"), "x"])
    client = client_of(build_stack([Retry(backoff=Constant(0))], fake), model="m").tools([weather])

    with client.stream("Umbrella?") as stream:
        list(stream)

    assert stream.response.text == "x"
    assert [attempt.outcome for attempt in stream.call.attempts] == ["ok", "server_error", "ok"]


def test_a_stream_shows_all_rounds_and_answers_with_the_last(client_of: Any) -> None:
    """What is said before a call, the call, its result and the answer go by; `response` is the last round's."""
    script = [["Let me look. ", ToolCallDelta(0, '{"city": "Paris"}', "call_1", "weather")], ["It ", "rains."]]
    client = client_of(FakeTransport(script), model="m").tools([weather])

    with client.stream("Umbrella?") as stream:
        events = list(stream)

    result = ToolResult("call_1", "rain in Paris", "weather")
    assert "".join(event.text for event in events) == "Let me look. It rains."
    assert events[1].arguments == '{"city": "Paris"}'
    assert events[2] == PartDelta(result)
    assert stream.response.text == "It rains."


def test_calls_of_several_rounds_stay_apart_in_a_stream() -> None:
    """Their indices go on, so that the events fold to the whole transcript."""
    rome = tool_call("weather", {"city": "Rome"}, id="call_2")
    client = Client(FakeTransport([PARIS, rome, "x"]), model="m").tools([weather]).blocking()

    with client.stream("Umbrella?") as stream:
        message = fold(list(stream))

    assert [part.id for part in message.parts if isinstance(part, ToolCall)] == ["call_1", "call_2"]
    assert [part.id for part in message.parts if isinstance(part, ToolResult)] == ["call_1", "call_2"]


def test_a_tool_that_is_not_there_gives_the_model_an_error_to_read(client_of: Any) -> None:
    """As do arguments that do not fit: the model may try again."""
    wrong = tool_call("weather", {"town": "Paris"}, id="call_2")
    fake = FakeTransport([tool_call("wetter", {}), wrong, "x"])

    client_of(fake, model="m").tools([weather]).chat("Umbrella?")

    results = [message.parts[0] for message in fake.requests[2].messages if message.role == "tool"]
    assert [result.is_error for result in results] == [True, True]
    assert "there is no tool 'wetter'" in results[0].text


def test_what_a_tool_raises_ends_the_chat_unless_the_model_is_to_be_told(client_of: Any) -> None:
    """`on_error` says what the model may read of it."""

    def broken(city: str) -> str:
        raise LookupError("no such city")

    call = tool_call("broken", {"city": "Paris"})
    fake = FakeTransport([call, call, "x"])
    client = client_of(fake, model="m")

    with pytest.raises(LookupError, match="no such city"):
        client.tools([broken]).chat("hi")
    told = client.tools([broken], on_error=lambda call, error: f"failed: {error}").chat("hi")

    assert told.text == "x"
    assert fake.requests[2].messages[-1].parts[0].text == "failed: no such city"


def test_the_rounds_are_bounded(client_of: Any) -> None:
    """After the last one the error has the answer, what was said, and the cost."""
    client = client_of(FakeTransport(PARIS), model="m").tools([weather], max_rounds=2)

    with pytest.raises(ToolRoundsError, match=r"still calls tools \(weather\) in round 2") as caught:
        client.chat("Umbrella?")

    assert caught.value.partial.tool_calls == PARIS.tool_calls
    assert [message.role for message in caught.value.messages] == ["user", "assistant", "tool"]
    assert len(caught.value.call.attempts) == 2


def test_a_forced_choice_holds_for_the_first_round(client_of: Any) -> None:
    """Kept, it would have the model call tools for ever."""
    fake = FakeTransport([PARIS, "x"])

    client_of(fake, model="m").tools([weather]).chat("Umbrella?", tool_choice="required")

    assert [request.params["tool_choice"] for request in fake.requests] == ["required", "auto"]


def test_a_conversation_remembers_the_rounds(client_of: Any) -> None:
    """Calls and results stand between the question and the answer."""
    talk = client_of(FakeTransport([PARIS, "Take one."]), model="m").tools([weather]).conversation()

    list(talk.stream("Umbrella?").text)

    assert [message.role for message in talk.messages] == ["user", "assistant", "tool", "assistant"]
    assert talk.messages[-1] == Message.assistant("Take one.")


def test_a_tool_that_is_not_async_leaves_the_loop_alone(client_of: Any) -> None:
    """It runs in a thread, where it may use a blocking client itself."""
    inner = Client(FakeTransport("sunny"), model="m").blocking()
    where = []

    def ask(city: str) -> str:
        where.append(threading.current_thread())
        return inner.chat(city).text

    fake = FakeTransport([tool_call("ask", {"city": "Paris"}), "x"])
    client_of(fake, model="m").tools([ask]).chat("hi")

    assert fake.requests[1].messages[-1].parts[0].text == "sunny"
    assert where[0] is not threading.main_thread()


def test_tools_in_threads_do_not_wait_for_each_others_threads(client_of: Any) -> None:
    """Sixty that wait for each other all end: none of them needs a place that another holds."""
    together = threading.Barrier(60, timeout=30)

    def meet() -> str:
        together.wait()
        return "met"

    calls = fold([ToolCallDelta(number, "{}", f"call_{number}", "meet") for number in range(60)])
    fake = FakeTransport([answer("").evolve(message=calls), "x"])

    assert client_of(fake, model="m").tools([meet]).chat("hi").text == "x"


def test_a_tool_sees_the_context_of_the_call() -> None:
    """In its thread too."""
    user = ContextVar("user", default="nobody")
    user.set("ada")
    fake = FakeTransport([tool_call("who", {}), "x"])

    def who() -> str:
        return user.get()

    Client(fake, model="m").tools([who]).blocking().chat("hi")

    assert fake.requests[1].messages[-1].parts[0].text == "ada"


@simulated_time
async def test_a_tool_in_a_thread_works_in_simulated_time() -> None:
    """The clock waits for it."""
    assert (await Client(FakeTransport([PARIS, "x"]), model="m").tools([weather]).chat("hi")).text == "x"


@simulated_time
async def test_the_tools_of_a_round_run_side_by_side() -> None:
    """Two tools that wait for each other both end."""
    first, second = asyncio.Event(), asyncio.Event()

    async def one() -> str:
        first.set()
        await second.wait()
        return "1"

    async def two() -> str:
        second.set()
        await first.wait()
        return "2"

    both = fold([ToolCallDelta(0, "{}", "a", "one"), ToolCallDelta(1, "{}", "b", "two")])
    fake = FakeTransport([answer("").evolve(message=both), "x"])

    response = await Client(fake, model="m").tools([one, two]).chat("hi")

    assert response.text == "x"


@pytest.mark.parametrize(
    ("tools", "rounds", "says"),
    [
        ([], 8, "at least one tool"),
        ([weather, weather], 8, "different names"),
        (weather, 8, "takes a list of tools"),
        (["weather"], 8, "a tool is made of a function"),
        ([weather], 0, "whole number of at least 1, got 0"),
    ],
)
def test_wrong_tools_are_refused_at_once(tools: Any, rounds: Any, says: str) -> None:
    """Before any provider is asked."""
    with pytest.raises(ConfigurationError, match=says):
        Client(FakeTransport("hello")).tools(tools, max_rounds=rounds)
