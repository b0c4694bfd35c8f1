"""What is spelt otherwise, or put in the wrong place, is answered with what was meant."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from llamina import (
    Budget,
    Cache,
    ConfigurationError,
    CostMeter,
    InvalidRequestError,
    Request,
    Retry,
    Timeout,
    build_stack,
    middleware,
)
from llamina.testing import FakeTransport, simulated_time
from llamina.transports import HTTPTransport


@pytest.mark.parametrize(
    ("kind", "name", "meant"),
    [
        (Retry, "max_attempts", "attempts"),
        (Retry, "atempts", "attempts"),
        (CostMeter, "budget", "budgets"),
        (HTTPTransport, "url", "base_url"),
        (HTTPTransport, "key", "api_key"),
    ],
)
def test_a_setting_that_is_spelt_otherwise_gets_the_right_name(kind: Any, name: str, meant: str) -> None:
    """People come from other libraries."""
    with pytest.raises(TypeError, match=f"{kind.__name__} has no setting '{name}'; did you mean '{meant}'"):
        kind(**{name: 3})


@pytest.mark.parametrize("kind", [Timeout, Cache])
def test_a_setting_that_nothing_is_like_gets_all_names(kind: Any) -> None:
    """There are few."""
    with pytest.raises(TypeError, match="it has "):
        kind(zzzz=3)


def test_a_function_that_is_no_tool_is_named() -> None:
    """Before the request is sent."""

    def weather(city: str) -> str:
        return city

    with pytest.raises(InvalidRequestError, match=r"tools\[0\] is 'weather'.*@tool"):
        Request.chat("m", "hi", tools=[weather])


def test_messages_by_name_are_not_lost() -> None:
    """They are the second argument."""
    with pytest.raises(InvalidRequestError, match="second argument"):
        Request.chat("m", "hi", messages=[{"role": "user", "content": "B"}])


def test_a_layer_of_one_argument_is_found_where_it_is_written() -> None:
    """Not at the first call."""
    with pytest.raises(ConfigurationError, match=r"\(request, call_next\); 'one' takes others"):

        @middleware  # type: ignore[arg-type]
        async def one(request: Request) -> None:
            pass


@simulated_time
async def test_a_model_that_no_budget_counts_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    """A mistake in a name would be a budget that holds nothing."""
    meter = CostMeter(prices={"gpt": {"input": "1", "output": "1"}}, budgets=[Budget("1", "day")])
    stack = build_stack([meter], FakeTransport("hi"))

    with caplog.at_level(logging.WARNING, "llamina"):
        for _ in range(3):
            await stack(Request.chat("gtp", "hi"))

    assert [record.getMessage().startswith("there is no price for the model 'gtp'") for record in caplog.records] == [
        True
    ]
