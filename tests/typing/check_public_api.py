"""What users write must type-check under mypy --strict; this file is checked, not run."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, assert_type

from llamina import (
    Adaptive,
    Attempt,
    Budget,
    Cache,
    Call,
    CircuitBreaker,
    Constant,
    CostMeter,
    Dedup,
    Event,
    Exponential,
    Fibonacci,
    Handler,
    Logger,
    MemoryCache,
    Message,
    Middleware,
    NetworkError,
    RateLimitError,
    Request,
    Response,
    Retry,
    Stack,
    Stream,
    Timeout,
    Usage,
    build_stack,
    map_text,
    middleware,
)
from llamina.messages import Image, ToolCall, ToolResult, cache_mark
from llamina.structured import json_schema, parse_json
from llamina.testing import FakeTransport, check_middleware, simulated_time
from llamina.tools import Tool, run_tools, tool
from llamina.transports import EchoTransport, HTTPTransport


@middleware
async def layer(request: Request, call_next: Handler) -> Response:
    """A layer as people write it."""
    return await call_next(request.with_params(temperature=0))


def by_hand(call_next: Handler) -> Handler:
    """A layer without the decorator."""

    async def handle(request: Request) -> Response:
        return await call_next(request)

    return handle


assert_type(layer, Middleware)

stack = build_stack(
    [
        Logger(level="DEBUG", content=True, redact=str.upper),
        Cache(store=MemoryCache(maxsize=10), ttl=60, scope=("user",)),
        Dedup(),
        Retry(attempts=3, backoff=Exponential(base=0.5, cap=30)),
        Retry(attempts=3, backoff={RateLimitError: Fibonacci(0.5), NetworkError: Constant(0)}, budget=None),
        Retry(5, backoff=Adaptive(), retry_on=lambda error: isinstance(error, ValueError)),
        CostMeter(prices={"m": {"input": "1", "output": "2"}}, budgets=[Budget("5", period="day", scope="user")]),
        CircuitBreaker(fail_max=5, reset_timeout=60, key="model"),
        Timeout(30, first_event=5, idle=5),
        layer,
        by_hand,
        map_text(str.strip, by="line"),
    ],
    EchoTransport(),
)
assert_type(stack, Stack)


async def use() -> None:
    """Plain and streamed calls."""
    response = await stack(Request.chat("m", [Message.system("a"), "b", {"role": "user", "content": "c"}], seed=1))
    assert_type(response, Response)
    assert_type(response.text, str)
    assert_type(response.usage, Usage | None)
    assert_type(response.call, Call)
    assert_type(response.call.attempts, list[Attempt])
    assert_type(response.call.cost, Decimal)
    async with stack.stream(Request.chat("m", "hi", tags={"user": "ada"})) as stream:
        assert_type(stream, Stream)
        async for event in stream:
            assert_type(event, Event)
            assert_type(event.text, str)
    nested = build_stack([Retry()], stack)
    await nested(Request.chat("m", "hi"))
    async with build_stack([], HTTPTransport(base_url="http://127.0.0.1:1/v1", api_key="sk")) as entered:
        assert_type(entered, Stack)
    stats: Mapping[str, Any] = stack.stats()
    assert stats


@simulated_time
async def test_something() -> None:
    """A decorated test takes no arguments and returns nothing."""
    await build_stack([layer], FakeTransport(["a", ["b", 1.0, "c"]]))(Request.chat("m", "hi"))


assert_type(test_something(), None)
check_middleware(lambda: layer)


@tool
def weather(city: str, days: int = 1) -> str:
    """A tool as people write it."""
    return city * days


@tool(name="clock", strict=True)
async def time_of(city: str) -> str:
    """An async one, with settings."""
    return city


assert_type(weather("Paris", days=2), str)
weather(3)  # type: ignore[arg-type]


async def use_tools(call: ToolCall) -> None:
    """Tools are called as their functions are, and give results."""
    assert_type(await time_of("Paris"), str)
    assert_type(weather.result(call), ToolResult)
    tools: list[Tool[..., Any]] = [weather, time_of]
    asked = Request.chat("m", Message.user("hi", cache_mark(Image.from_path("cat.png"))), tools=tools)
    answer = await stack(asked)
    await stack(asked.reply(answer, *await run_tools(answer, tools)))
    assert_type(parse_json(await stack(asked.with_params(response_format=json_schema(Usage))), Usage), Usage)
