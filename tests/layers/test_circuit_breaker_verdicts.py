"""What counts: only failures of the service, and a stream when it has ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from llamina import (
    AuthenticationError,
    BudgetExceededError,
    CircuitBreaker,
    CircuitOpenError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    LLMError,
    MalformedResponseError,
    NetworkError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    Request,
    RequestTimeoutError,
    Response,
    ServerError,
    Timeout,
    build_stack,
)
from llamina.record import CutByLimit
from llamina.testing import FakeTransport, simulated_time

ASK = Request.chat("m", "hi")


def breaker(**changes: Any) -> CircuitBreaker:
    """One failure opens it, one success closes it."""
    settings = {"fail_max": 1, "reset_timeout": 60, "success_threshold": 1, "jitter": 0}
    return CircuitBreaker(**(settings | changes))


async def swallow(awaitable: Any) -> None:
    """Ask, whatever comes of it."""
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await awaitable


FAILURES = [
    ServerError("500"),
    OverloadedError("529"),
    NetworkError("reset"),
    RequestTimeoutError("slow"),
    RequestTimeoutError("slow connect", limit="connect", processed=False),
    MalformedResponseError("html"),
]
NEUTRAL = [
    RateLimitError("429"),
    QuotaExceededError("spent"),
    InvalidRequestError("400"),
    ContextLengthError("long"),
    ContentFilterError("no"),
    AuthenticationError("401"),
    PermissionDeniedError("403"),
    NotFoundError("404"),
    CircuitOpenError("another breaker"),
    BudgetExceededError("no money"),
    RequestTimeoutError("no time left to ask", limit="deadline", processed=False),
    RequestTimeoutError("no connection of ours was free", limit="pool", processed=False),
    LLMError("unknown"),
    ValueError("a mistake of ours"),
    asyncio.CancelledError(),
    KeyboardInterrupt(),
]


def _name(error: BaseException) -> str:
    return f"{type(error).__name__} {error}"


def _raising(error: BaseException) -> Callable[[Request], Any]:
    async def service(request: Request) -> Response:
        raise error

    return service


@pytest.mark.parametrize("error", FAILURES, ids=_name)
def test_failures_of_the_service_count(error: Exception) -> None:
    """Server errors, overload, timeouts, network errors and malformed answers open the circuit."""
    layer = breaker()

    simulated_time(swallow)(layer.wrap(_raising(error))(ASK))

    assert layer.state() == "open"
    assert layer.stats()["circuit.requests.failed"] == 1


@pytest.mark.parametrize("error", NEUTRAL, ids=_name)
@pytest.mark.parametrize("when", ["closed", "half-open"])
def test_what_says_nothing_of_the_service_changes_nothing(error: BaseException, when: str) -> None:
    """Rate limits, mistakes of the caller, refusals of other layers, cancellations, unknown exceptions: neutral.

    A closed circuit keeps its count of failures, a half-open one stays so and gives the slot to the next.
    """

    async def play() -> tuple[str, str]:
        layer = breaker(fail_max=2)
        service = FakeTransport([ServerError("1"), ServerError("2"), "up"])
        handler = layer.wrap(service)
        await swallow(handler(ASK))
        if when == "half-open":
            await swallow(handler(ASK))
            await asyncio.sleep(60)
        with pytest.raises(type(error)) as caught:
            await layer.wrap(_raising(error))(ASK)
        assert caught.value is error
        between = layer.state()
        await swallow(handler(ASK))
        return between, layer.state()

    expected = ("closed", "open") if when == "closed" else ("half-open", "closed")
    assert simulated_time(play)() == expected


@simulated_time
async def test_a_stream_counts_when_it_has_ended() -> None:
    """A probe that streams closes the circuit at its end, not at its first event."""
    layer = breaker()
    stack = build_stack([layer], FakeTransport([ServerError("down"), ["Hel", 5.0, "lo", 5.0]]))
    await swallow(stack(ASK))
    await asyncio.sleep(60)

    async with stack.stream(ASK) as stream:
        states = [layer.state() async for _event in stream]

    assert states == ["half-open", "half-open"]
    assert layer.state() == "closed"


@simulated_time
async def test_a_stream_that_dies_in_the_middle_is_a_failure() -> None:
    """Although it began well."""
    layer = breaker()
    stack = build_stack([layer], FakeTransport([["Hel", ServerError("cut")]]))

    with pytest.raises(ServerError):
        async with stack.stream(ASK) as stream:
            await stream.complete()

    assert layer.state() == "open"


@simulated_time
async def test_a_consumer_who_leaves_a_stream_says_nothing_of_the_service() -> None:
    """The probe's slot is free again, the circuit neither opens nor closes."""
    layer = breaker()
    stack = build_stack([layer], FakeTransport([ServerError("down"), ["Hel", 5.0, "lo"], "up"]))
    await swallow(stack(ASK))
    await asyncio.sleep(60)

    async with stack.stream(ASK) as stream:
        async for _event in stream:
            break

    assert layer.state() == "half-open"
    assert layer.stats()["circuit.probes"] == 0
    assert layer.stats()["circuit.requests.neutral"] == 1


@simulated_time
async def test_a_limit_inside_the_breaker_is_a_failure() -> None:
    """The service was too slow."""
    layer = breaker()
    stack = build_stack([layer, Timeout(1)], FakeTransport([[100.0, "late"]]))

    with pytest.raises(RequestTimeoutError):
        await stack(ASK)

    assert layer.state() == "open"


@simulated_time
async def test_a_limit_outside_of_the_breaker_is_a_failure_too() -> None:
    """It arrives as a cancellation, but it is the service that was too slow; the refusal's cause says so."""
    layer = breaker()
    stack = build_stack([Timeout(1), layer], FakeTransport([[100.0, "late"]]))
    with pytest.raises(RequestTimeoutError):
        await stack(ASK)

    with pytest.raises(CircuitOpenError) as caught:
        await stack(ASK)

    assert isinstance(caught.value.__cause__, RequestTimeoutError)


@simulated_time
async def test_a_cut_by_a_limit_goes_on_as_the_cancellation_that_it_is() -> None:
    """The layer judges it, and does not turn it into anything."""
    handler = breaker().wrap(FakeTransport([[100.0, "late"]]))
    task = asyncio.create_task(handler(ASK))  # type: ignore[arg-type]
    await asyncio.sleep(1)

    task.cancel(CutByLimit("cut"))
    await asyncio.wait([task])

    assert task.cancelled()


@simulated_time
async def test_a_classifier_of_your_own_decides() -> None:
    """A word, or an object that has it as `.breaker`."""
    layer = breaker(classify=lambda error: "failure" if isinstance(error, RateLimitError) else "neutral")
    handler = layer(FakeTransport([ServerError("down"), RateLimitError("slow down")]))

    await swallow(handler(ASK))
    first = layer.state()
    await swallow(handler(ASK))

    assert (first, layer.state()) == ("closed", "open")


@simulated_time
async def test_an_error_may_be_declared_a_success() -> None:
    """The service answered, and that closes a half-open circuit."""
    layer = breaker(classify=lambda error: "failure" if isinstance(error, ServerError) else "success")
    handler = layer(FakeTransport([ServerError("down"), NotFoundError("but alive")]))
    await swallow(handler(ASK))
    await asyncio.sleep(60)

    await swallow(handler(ASK))

    assert layer.state() == "closed"


@pytest.mark.parametrize("classify", [lambda error: 1 / 0, lambda error: "bad", lambda error: None])
def test_a_broken_classifier_does_not_replace_the_error(
    classify: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets the service's error; the verdict is neutral, and the log says why."""

    @simulated_time
    async def play() -> None:
        with pytest.raises(ServerError):
            await layer(FakeTransport(ServerError("down")))(ASK)

    layer = breaker(classify=classify)
    play()

    assert layer.state() == "closed"
    assert "classify" in caplog.text


@simulated_time
async def test_permits_return_when_a_call_is_dropped_unfinished() -> None:
    """A coroutine that is closed instead of awaited to its end leaves no slot taken."""
    layer = breaker()
    handler = layer.wrap(FakeTransport([ServerError("down"), [5.0, "never"]]))
    await swallow(handler(ASK))
    await asyncio.sleep(60)
    call: Any = handler(ASK)
    call.send(None)
    taken = layer.stats()["circuit.probes"]

    call.close()

    assert (taken, layer.stats()["circuit.probes"]) == (1, 0)


class _Strange(Exception):
    """An error of a client library: it holds the request with the key, and cannot be made anew."""

    def __init__(self, request: dict[str, str], extra: str) -> None:
        super().__init__("connection lost")
        self.request = request


@simulated_time
async def test_a_strangers_error_is_kept_as_text_only() -> None:
    """What an error of another library holds (headers, a key) does not live on in the cause of refusals."""
    layer = breaker(classify=lambda error: "failure")
    handler = layer(FakeTransport(_Strange({"authorization": "sk-secret"}, "x")))
    await swallow(handler(ASK))

    with pytest.raises(CircuitOpenError) as caught:
        await handler(ASK)

    cause = caught.value.__cause__
    assert str(cause) == "_Strange: connection lost"
    assert "sk-secret" not in repr(vars(cause))


class _Uncopyable(ServerError):
    """An error of ours that somebody made impossible to copy."""

    def __copy__(self) -> ServerError:
        raise TypeError("no")


@simulated_time
async def test_an_error_that_cannot_be_copied_still_counts_and_still_goes_through() -> None:
    """The refusal's cause then says what can be said: its class."""
    layer = breaker()
    handler = layer(FakeTransport(_Uncopyable("down")))
    with pytest.raises(_Uncopyable):
        await handler(ASK)

    with pytest.raises(CircuitOpenError) as caught:
        await handler(ASK)

    assert "_Uncopyable" in str(caught.value.__cause__)
