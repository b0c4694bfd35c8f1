"""pybreaker below: its listeners hear, its storages are fed, and neither can do harm."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pybreaker
import pytest

from llamina import CircuitBreaker, CircuitOpenError, ConfigurationError, Request, ServerError
from llamina.testing import FakeTransport, simulated_time

ASK = Request.chat("m", "hi")


def breaker(**changes: Any) -> CircuitBreaker:
    """Two failures open it, two successes close it."""
    settings = {"fail_max": 2, "reset_timeout": 60, "success_threshold": 2, "jitter": 0}
    return CircuitBreaker(**(settings | changes))


async def ask(handler: Any, times: int = 1) -> None:
    """Ask, whatever comes of it."""
    for _ in range(times):
        with contextlib.suppress(ServerError, CircuitOpenError):
            await handler(ASK)


class Heard(pybreaker.CircuitBreakerListener):
    """A listener that writes down what it hears."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def failure(self, cb: Any, exc: BaseException) -> None:
        self.events.append(f"failure {exc} ({cb.fail_counter})")

    def success(self, cb: Any) -> None:
        self.events.append("success")

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        self.events.append(f"{cb.name}: {old_state.name} > {new_state.name}")


@simulated_time
async def test_listeners_of_pybreaker_hear_what_happens() -> None:
    """Failures with their error and count, successes that change something, and each change of state, in order."""
    listener = Heard()
    fake = FakeTransport(["up", ServerError("a"), "up", "up", ServerError("b"), ServerError("c"), "up", "up"])
    handler = breaker(listeners=[listener])(fake)

    await ask(handler, 6)
    await asyncio.sleep(60)
    await ask(handler, 2)

    assert listener.events == [
        "failure a (1)",
        "success",
        "failure b (1)",
        "failure c (2)",
        "default: closed > open",
        "default: open > half-open",
        "success",
        "default: half-open > closed",
        "success",
    ]


@simulated_time
async def test_a_function_may_listen() -> None:
    """It is told the circuit's name, its old and its new state."""
    heard: list[tuple[str, str, str]] = []
    handler = breaker(fail_max=1, key="model", listeners=[lambda *change: heard.append(change)])(
        FakeTransport(ServerError("down"))
    )

    await ask(handler)

    assert heard == [("m", "closed", "open")]


@simulated_time
async def test_what_changes_nothing_is_not_heard() -> None:
    """Closing a closed circuit by hand is no change of its state."""
    heard: list[tuple[str, str, str]] = []
    layer = breaker(listeners=[lambda *change: heard.append(change)])

    layer.close()

    assert heard == []


@simulated_time
async def test_an_open_circuit_that_is_opened_again_does_not_stay_so_for_longer() -> None:
    """Whoever calls pybreaker's `open` once more."""
    seen: list[Any] = []

    class Keeps(pybreaker.CircuitBreakerListener):
        def failure(self, cb: Any, exc: BaseException) -> None:
            seen.append(cb)

    handler = breaker(fail_max=1, reset_timeout=60, listeners=[Keeps()])(FakeTransport([ServerError("down"), "up"]))
    await ask(handler)
    await asyncio.sleep(50)

    seen[0].open()
    await asyncio.sleep(10)

    assert (await handler(ASK)).text == "up"


@simulated_time
async def test_an_opening_by_rate_is_heard_too() -> None:
    """The machine below is told to open, although its own counter would not."""
    heard: list[tuple[str, str, str]] = []
    layer = breaker(fail_max=None, failure_rate=0.5, minimum_calls=2, listeners=[lambda *change: heard.append(change)])

    await ask(layer(FakeTransport(ServerError("down"))), 3)

    assert heard == [("default", "closed", "open")]


def _broken(*facts: Any) -> Any:
    raise RuntimeError("broken")


class BrokenListener(pybreaker.CircuitBreakerListener):
    """Raises at everything."""

    failure = success = state_change = _broken  # type: ignore[assignment]


class BrokenStorage(pybreaker.CircuitBreakerStorage):
    """Raises at everything."""

    state = opened_at = counter = success_counter = property(_broken, _broken)  # type: ignore[assignment]
    increment_counter = reset_counter = increment_success_counter = reset_success_counter = _broken  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__("broken")


def test_a_broken_listener_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets the service's error, the circuit opens, and the log has the listener's."""

    @simulated_time
    async def play() -> None:
        handler = layer(FakeTransport(down))
        for _ in range(2):
            with pytest.raises(ServerError) as caught:
                await handler(ASK)
            assert caught.value is down

    down = ServerError("down")
    layer = breaker(listeners=[BrokenListener()])
    play()

    assert layer.state() == "open"
    assert "a listener of a circuit breaker failed" in caplog.text


def test_a_broken_storage_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The circuit decides in memory: it opens, is probed and closes all the same."""

    @simulated_time
    async def play() -> list[str]:
        handler = layer(FakeTransport([ServerError("a"), ServerError("b"), "up", "up"]))
        await ask(handler, 2)
        states = [layer.state()]
        await asyncio.sleep(60)
        await ask(handler, 2)
        return [*states, layer.state()]

    layer = breaker(storage=BrokenStorage())

    assert play() == ["open", "closed"]
    assert "storage" in caplog.text


@simulated_time
async def test_a_storage_is_fed() -> None:
    """State, counters and the moment of the opening."""
    storage = pybreaker.CircuitMemoryStorage("closed")
    handler = breaker(storage=storage)(FakeTransport([ServerError("a"), ServerError("b"), "up"]))

    await ask(handler)
    counter = storage.counter
    await ask(handler)
    opened = (storage.state, storage.opened_at is not None)
    await asyncio.sleep(60)
    await ask(handler)

    assert counter == 1
    assert opened == ("open", True)
    assert (storage.state, storage.success_counter) == ("half-open", 1)


@simulated_time
async def test_a_circuit_begins_as_its_storage_says() -> None:
    """A circuit that was open when the process ended is open in the next one, for one reset time."""
    layer = breaker(storage=pybreaker.CircuitMemoryStorage("open"))
    handler = layer(FakeTransport("up"))

    with pytest.raises(CircuitOpenError) as caught:
        await handler(ASK)
    await asyncio.sleep(60)
    await handler(ASK)

    assert caught.value.retry_after == pytest.approx(60)
    assert layer.state() == "half-open"


@simulated_time
async def test_failures_that_the_storage_remembers_count() -> None:
    """One before, one now: two in a row."""
    storage = pybreaker.CircuitMemoryStorage("closed")
    storage.increment_counter()
    layer = breaker(fail_max=2, storage=storage)

    await ask(layer(FakeTransport(ServerError("down"))))

    assert layer.state() == "open"


@simulated_time
async def test_each_key_has_a_storage_of_its_own() -> None:
    """A function makes it from the circuit's name."""
    storages: dict[str, pybreaker.CircuitMemoryStorage] = {}

    def storage_of(name: str) -> pybreaker.CircuitMemoryStorage:
        return storages.setdefault(name, pybreaker.CircuitMemoryStorage("closed"))

    await ask(breaker(fail_max=1, key="model", storage=storage_of)(FakeTransport(ServerError("down"))))

    assert {name: storage.state for name, storage in storages.items()} == {"m": "open"}


def test_a_storage_that_cannot_be_made_fails_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """The circuit does without, and the log says why."""

    @simulated_time
    async def play() -> str:
        return (await layer(FakeTransport("up"))(ASK)).text

    layer = breaker(key="model", storage=_broken)

    assert play() == "up"
    assert "could not be made" in caplog.text


def test_a_storage_that_is_none_is_refused() -> None:
    """A URL, say."""
    with pytest.raises(ConfigurationError, match=r"must be a pybreaker\.CircuitBreakerStorage, got str"):
        CircuitBreaker(storage="redis://localhost")


def test_the_redis_storage_is_refused() -> None:
    """It would make the event loop wait for redis at every verdict."""
    storage = pybreaker.CircuitRedisStorage.__new__(pybreaker.CircuitRedisStorage)

    with pytest.raises(ConfigurationError, match="must not be a CircuitRedisStorage"):
        CircuitBreaker(storage=storage)


@simulated_time
async def test_a_listener_that_turns_the_state_round_is_overruled_and_not_obeyed_by_halves() -> None:
    """Layer and pybreaker never disagree about the state."""

    class Stubborn(pybreaker.CircuitBreakerListener):
        def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
            if new_state.name == "open":
                cb.close()
            states.append(cb)

    states: list[Any] = []
    layer = breaker(fail_max=1, listeners=[Stubborn()])
    handler = layer(FakeTransport([ServerError("down"), "up", "up"]))

    await ask(handler)

    assert layer.state() == states[0].current_state == "open"
    await asyncio.sleep(60)
    await ask(handler, 2)
    assert layer.state() == "closed"


@simulated_time
async def test_what_pybreaker_is_told_by_hand_holds_at_once() -> None:
    """The object that a listener is given may be opened and closed later on."""
    seen: list[Any] = []

    class Keeps(pybreaker.CircuitBreakerListener):
        def failure(self, cb: Any, exc: BaseException) -> None:
            seen.append(cb)

    layer = breaker(listeners=[Keeps()])
    handler = layer(FakeTransport([ServerError("down"), "up"]))
    await ask(handler)

    seen[0].open()
    with pytest.raises(CircuitOpenError):
        await handler(ASK)
    seen[0].close()

    assert (await handler(ASK)).text == "up"
