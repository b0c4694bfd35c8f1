"""Explaining and drawing work for any stack of the shipped layers."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from llamina import (
    Adaptive,
    Budget,
    Cache,
    Chaos,
    CircuitBreaker,
    Constant,
    CostMeter,
    DecorrelatedJitter,
    Dedup,
    Exponential,
    Fibonacci,
    Linear,
    Logger,
    NetworkError,
    RateLimitError,
    Request,
    Retry,
    Timeout,
    build_stack,
    map_text,
)
from llamina.pictures import svg
from llamina.testing import FakeTransport
from llamina.transports import EchoTransport

SECONDS = st.floats(0.001, 1e7, allow_nan=False)
BACKOFFS = st.one_of(
    st.builds(Constant, SECONDS),
    st.sampled_from(
        [Exponential(), Linear(jitter="equal"), Fibonacci(jitter="none"), DecorrelatedJitter(), Adaptive()]
    ),
    st.just({RateLimitError: Exponential(), NetworkError: Constant(0)}),
)
BUDGETS = st.builds(
    Budget,
    st.integers(0, 10**9).map(str),
    period=st.sampled_from([None, "day", "week", "month"]),
    scope=st.sampled_from([None, "user", "model", "provider"]),
    hard=st.booleans(),
)
LAYERS: st.SearchStrategy[Any] = st.one_of(
    st.builds(Logger, content=st.booleans(), level=st.integers(0, 60)),
    st.builds(Cache, ttl=SECONDS, scope=st.lists(st.text(min_size=1), max_size=3), only_deterministic=st.booleans()),
    st.builds(Dedup, scope=st.lists(st.text(min_size=1), max_size=2)),
    st.builds(Retry, st.integers(1, 10**12), backoff=BACKOFFS, retry_after_max=SECONDS),
    st.builds(CostMeter, st.just({"m": {"input": "1", "output": "2"}}), st.lists(BUDGETS, max_size=3)),
    st.builds(
        CircuitBreaker,
        st.integers(1, 9),
        SECONDS,
        key=st.sampled_from([None, "model"]),
        mode=st.sampled_from(["enforce", "observe", "off"]),
    ),
    st.builds(Timeout, st.none() | SECONDS, first_event=st.none() | SECONDS, grace=st.none() | SECONDS),
    st.builds(map_text, st.just(str.upper), by=st.sampled_from(["text", "line", "word"])),
    st.builds(Chaos, error_rate=st.floats(0, 1)),
)
REQUESTS = st.none() | st.builds(
    Request.chat,
    st.text(min_size=1),
    st.just("SECRET PROMPT"),
    tags=st.dictionaries(st.sampled_from(["tenant", "user"]), st.text(min_size=1)),
    temperature=st.floats(),
    store=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(layers=st.lists(LAYERS, max_size=6), inner=st.lists(LAYERS, max_size=2), request=REQUESTS)
def test_any_stack_can_be_explained_and_drawn(layers: list[Any], inner: list[Any], request: Request | None) -> None:
    """Without an error, without the prompt, without a change, and as well-formed XML."""
    below = build_stack(inner, FakeTransport(), check="off") if inner else EchoTransport()
    stack = build_stack(layers, below, check="off")
    before = stack.stats()

    shown = stack.explain(request)
    chart = stack.draw()
    picture = ET.fromstring(svg(stack))

    assert "SECRET PROMPT" not in shown + chart
    assert "(its explain()" not in shown
    assert shown.count("─ ") == len(layers) + len(inner) + (2 if inner else 1)
    assert chart.startswith("flowchart TB\n")
    assert float(picture.attrib["height"]) > 100
    assert stack.stats() == before
