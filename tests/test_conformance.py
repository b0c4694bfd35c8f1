"""What we ask of others holds for ours: the kit over every shipped layer, transport, store and backoff."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llamina import (
    Adaptive,
    Budget,
    Cache,
    CircuitBreaker,
    CostMeter,
    Dedup,
    Handler,
    InvalidRequestError,
    Logger,
    Middleware,
    Request,
    Response,
    Retry,
    Timeout,
    build_stack,
    map_text,
    middleware,
)
from llamina.errors import ConfigurationError
from llamina.layers.chaos import Chaos
from llamina.layers.recorder import Recorder
from llamina.policy.backoff import Constant, DecorrelatedJitter, Exponential, Fibonacci, Linear
from llamina.stores import MemoryCache, SQLiteCache
from llamina.testing import (
    CallLog,
    ConformanceError,
    FakeTransport,
    check_backoff,
    check_handler,
    check_middleware,
    check_store,
)
from llamina.testing._handler_clauses import HANDLER
from llamina.testing._middleware_clauses import MIDDLEWARE
from llamina.transports import EchoTransport

PRICES = {"model": {"input": "1", "output": "2"}}

LAYERS: dict[str, Callable[[], Middleware]] = {
    "Logger": lambda: Logger(logger="test.conformance"),
    "Cache": Cache,
    "Cache, stale while revalidate": lambda: Cache(ttl=1, stale_while_revalidate=100),
    "Dedup": Dedup,
    "Retry": Retry,
    "Retry, adaptive": lambda: Retry(attempts=2, backoff=Adaptive()),
    "CostMeter": lambda: CostMeter(PRICES),
    "CostMeter, budgets": lambda: CostMeter(PRICES, [Budget("100", period="day", scope="user"), Budget("200")]),
    "CircuitBreaker": lambda: CircuitBreaker(fail_max=50),
    "CircuitBreaker, rates": lambda: CircuitBreaker(failure_rate=0.99, minimum_calls=100, key="model"),
    "Timeout": lambda: Timeout(100_000),
    "Timeout, in place": lambda: Timeout(100_000, grace=None),
    "Timeout, streams": lambda: Timeout(first_event=100_000, idle=100_000),
    "map_text": lambda: map_text(lambda text: text),
    "map_text by word": lambda: map_text(str, by="word"),
    "map_text that rewrites": lambda: map_text(str.upper),
    "Chaos that does nothing yet": lambda: Chaos(seed=7),
    "Chaos that is slow": lambda: Chaos(seed=7, latency=(0.1, 0.5)),
    "CallLog": CallLog,
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_shipped_layer_keeps_every_clause(name: str) -> None:
    """Nothing is found against it."""
    assert len(check_middleware(LAYERS[name])) == len(MIDDLEWARE.entries)


@pytest.mark.parametrize("mode", ["once", "record"])
def test_a_recorder_keeps_every_clause(mode: str, tmp_path: Path) -> None:
    """With a cassette of its own for each."""
    numbers = itertools.count()

    held = check_middleware(lambda: Recorder(tmp_path / f"{next(numbers)}.json", mode=mode))

    assert len(held) == len(MIDDLEWARE.entries)


@pytest.mark.parametrize(
    "handler",
    [
        EchoTransport(),
        EchoTransport(delay=0.5, piece_delay=0.1),
        FakeTransport("hello"),
        FakeTransport([["Hel", 0.1, "lo"]], repeat=True),
        build_stack([], FakeTransport("hello")),
        build_stack([Cache(), Dedup(), Retry(), CostMeter(PRICES), CircuitBreaker(), Timeout(30)], EchoTransport()),
    ],
    ids=["echo", "slow echo", "fake", "fake in pieces", "bare stack", "stack"],
)
def test_a_shipped_handler_keeps_every_clause(handler: Handler) -> None:
    """Terminals, fakes and stacks are one thing: handlers."""
    assert len(check_handler(handler)) == len(HANDLER.entries)


def test_shipped_stores_keep_every_clause(tmp_path: Path) -> None:
    """In memory and on disk."""
    numbers = itertools.count()

    assert len(check_store(MemoryCache)) == 19
    assert len(check_store(lambda: SQLiteCache(tmp_path / f"{next(numbers)}.db"))) == 19


@pytest.mark.parametrize("kind", [Constant, Linear, Exponential, Fibonacci, DecorrelatedJitter, Adaptive])
@pytest.mark.parametrize("jitter", ["full", "equal", "none"])
def test_a_shipped_backoff_keeps_every_clause(kind: Any, jitter: str) -> None:
    """With each kind of jitter."""
    assert len(check_backoff(lambda: kind(jitter=jitter))) == 8


@middleware
async def passes(request: Request, call_next: Handler) -> Response:
    """The least that a layer can do."""
    return await call_next(request)


def test_some_clauses_can_be_played_alone() -> None:
    """In the order of the kit."""
    held = check_middleware(lambda: passes, only=("nothing-twice", "cancellation"))

    assert held == ["nothing-twice", "cancellation"]


class Needy:
    """A layer that cannot be built without a setting."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def __call__(self, call_next: Handler) -> Handler:
        return call_next


@pytest.mark.parametrize(
    ("factory", "complaint"),
    [
        (Retry(), r"takes a factory, got a Retry; write lambda: Retry\(\.\.\.\)"),
        (passes, r"got the layer passes itself; write lambda: passes"),
        (Needy, r"Needy needs limit; write lambda: Needy\(limit=\.\.\.\)"),
        (7, r"a function without arguments that builds what is checked; got 7"),
        (lambda: None, r"returned None; does it lack a `return`"),
        (lambda: 7, r"must be a layer \(Handler -> Handler\), got 7"),
        (lambda: Retry, r"is the class Retry; build it"),
    ],
)
def test_what_is_no_factory_is_refused_with_what_to_write(factory: Any, complaint: str) -> None:
    """A wrong use is no finding about the layer."""
    with pytest.raises(ConfigurationError, match=complaint):
        check_middleware(factory)


def test_what_is_no_handler_is_refused_with_what_to_write() -> None:
    """As `build_stack` does."""
    with pytest.raises(ConfigurationError, match="is the class EchoTransport; build it first"):
        check_handler(EchoTransport)


def test_a_store_itself_is_no_factory() -> None:
    """Each clause needs a store of its own."""
    with pytest.raises(ConfigurationError, match="check_store takes a factory"):
        check_store(MemoryCache())  # type: ignore[arg-type]


def test_a_layer_that_never_asks_below_is_told_so() -> None:
    """Nothing can be said of it."""

    @middleware
    async def closed_for_today(request: Request, call_next: Handler) -> Response:
        return Response.of("come back tomorrow")

    with pytest.raises(ConformanceError, match="it answered by itself"):
        check_middleware(lambda: closed_for_today)


def test_an_unknown_clause_is_refused_with_the_nearest() -> None:
    """A typing mistake must not look as if the clause held."""
    with pytest.raises(ConfigurationError, match="did you mean 'cancellation'"):
        check_middleware(lambda: passes, only=("cancelation",))


def test_inside_a_running_loop_the_kit_says_so() -> None:
    """It has loops of its own."""

    async def inside() -> None:
        check_middleware(lambda: passes)

    with pytest.raises(RuntimeError, match="event loop of its own"):
        asyncio.run(inside())


def test_a_layer_that_refuses_the_request_is_told_to_bring_one() -> None:
    """And nothing else is played: it would all fail for the same reason."""

    @middleware
    async def refuses_hello(request: Request, call_next: Handler) -> Response:
        if request.messages[0].text == "hello":
            raise InvalidRequestError("no greetings")
        return await call_next(request)

    with pytest.raises(
        ConformanceError, match=r"pass `request=` one that the layer lets through .*were not played"
    ) as it:
        check_middleware(lambda: refuses_hello)

    assert [broken.clause for broken in it.value.broken] == ["answers"]
    assert check_middleware(lambda: refuses_hello, request=Request.chat("model", "what is new?"))
