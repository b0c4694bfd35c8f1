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
    Response,
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


def test_a_layer_whose_arguments_are_swapped_is_found_where_it_is_written() -> None:
    """Else it would call the request."""
    with pytest.raises(ConfigurationError, match=r"write async def swapped\(request, call_next\)"):

        @middleware
        async def swapped(call_next: Any, request: Any) -> Any:
            return await call_next(request)


@pytest.mark.parametrize(
    ("changes", "meant"),
    [
        ({"modle": "small"}, "did you mean 'model'"),
        ({"temperature": 0}, r"request\.with_params\(temperature=\.\.\.\)"),
        ({"model": "small", "zzzz": 0}, r"request\.with_params\(zzzz=\.\.\.\)"),
    ],
)
def test_what_is_no_field_of_a_request_is_said_with_what_was_meant(changes: dict[str, Any], meant: str) -> None:
    """Parameters have a way of their own."""
    with pytest.raises(TypeError, match=f"a Request has no field .*{meant}"):
        Request.chat("m", "hi").evolve(**changes)


@pytest.mark.parametrize(
    ("name", "meant"), [("usages", "did you mean 'usage'"), ("zzzz", "extra"), ("words", "with_text")]
)
def test_what_is_no_field_of_a_response_is_said_with_what_was_meant(name: str, meant: str) -> None:
    """The words of an answer are in its message."""
    with pytest.raises(TypeError, match=f"a Response has no field '{name}'.*{meant}"):
        Response.of("hi").evolve(**{name: "x"})


def test_the_name_of_a_layer_is_no_layer() -> None:
    """Names are for stack files."""
    with pytest.raises(ConfigurationError, match=r"layers\[0\].*got the text 'retry'; build it, .*load_stack"):
        build_stack(["retry"], FakeTransport("hi"))  # type: ignore[list-item]


def test_a_sync_test_is_told_how_it_gets_the_clock() -> None:
    """The decorator is for async ones."""
    with pytest.raises(TypeError, match=r"`async def`, or `with simulated_time\(\) as clock:`"):
        simulated_time(lambda: None)  # type: ignore[arg-type, return-value]


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
