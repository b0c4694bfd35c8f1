"""One circuit for each key, control by hand, modes, settings."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from attrs.exceptions import FrozenAttributeError

from llamina import CircuitBreaker, CircuitOpenError, ConfigurationError, Request, Response, ServerError
from llamina.testing import FakeTransport, check_middleware, simulated_time

ASK = Request.chat("m", "hi")


def breaker(**changes: Any) -> CircuitBreaker:
    """One failure opens it, one success closes it."""
    settings = {"fail_max": 1, "reset_timeout": 60, "success_threshold": 1, "jitter": 0}
    return CircuitBreaker(**(settings | changes))


def model(name: str) -> Request:
    """A request for a model."""
    return Request.chat(name, "hi")


async def only_bad_fails(request: Request) -> Response:
    """A service of which the models called bad are down."""
    if request.model.startswith("bad"):
        raise ServerError("down")
    return Response.of("up")


async def fail(handler: Any, request: Request = ASK) -> None:
    """Ask, and see the service fail."""
    with pytest.raises(ServerError):
        await handler(request)


async def refused(handler: Any, request: Request = ASK) -> CircuitOpenError:
    """Ask, and be refused."""
    with pytest.raises(CircuitOpenError) as caught:
        await handler(request)
    return caught.value


@simulated_time
async def test_each_model_has_a_circuit_of_its_own() -> None:
    """A model that is down does not stop the others."""
    layer = breaker(key="model")
    handler = layer(only_bad_fails)

    await fail(handler, model("bad"))
    await handler(model("good"))
    error = await refused(handler, model("bad"))

    assert error.circuit == "bad"
    assert layer.states() == {"bad": "open", "good": "closed"}
    assert (layer.state("bad"), layer.state("good"), layer.state("never seen")) == ("open", "closed", "closed")
    assert layer.state() == "open"


@simulated_time
async def test_a_function_may_choose_the_circuit() -> None:
    """From anything that the request holds."""
    layer = breaker(key=lambda request: request.model.partition("/")[0])
    handler = layer(only_bad_fails)

    await fail(handler, model("bad/large"))

    await refused(handler, model("bad/small"))


@simulated_time
async def test_a_key_that_is_no_string_is_refused() -> None:
    """With the layer's name and the value."""
    handler = breaker(key=lambda request: None)(only_bad_fails)

    with pytest.raises(ConfigurationError, match=r"CircuitBreaker\.key must return a string, got None"):
        await handler(ASK)


@simulated_time
async def test_the_number_of_circuits_is_bounded_and_an_open_one_stays() -> None:
    """The closed one that was not used for the longest time is forgotten; never one that is open."""
    layer = breaker(key="model", max_circuits=3)
    handler = layer(only_bad_fails)
    await fail(handler, model("bad"))
    await handler(model("a"))
    await handler(model("b"))
    await handler(model("a"))

    await handler(model("c"))

    assert layer.states() == {"bad": "open", "a": "closed", "c": "closed"}


@simulated_time
async def test_without_room_calls_pass_unguarded() -> None:
    """When every circuit is open a new key has none; its calls go through and are counted."""
    layer = breaker(key="model", max_circuits=2)
    handler = layer(only_bad_fails)
    await fail(handler, model("bad 1"))
    await fail(handler, model("bad 2"))

    await fail(handler, model("bad 3"))
    await fail(handler, model("bad 3"))

    assert set(layer.states()) == {"bad 1", "bad 2"}
    assert layer.stats()["circuit.requests.unguarded"] == 2


@simulated_time
async def test_an_isolated_circuit_stays_open_until_it_is_closed_by_hand() -> None:
    """No time and no success of an earlier call ends it; the refusal names no time to wait."""
    layer = breaker()
    handler = layer(FakeTransport([[5.0, "earlier"], "up"]))
    earlier = asyncio.create_task(handler(ASK))  # type: ignore[arg-type]
    await asyncio.sleep(0)

    layer.isolate()
    await earlier
    await asyncio.sleep(86_400)
    error = await refused(handler)
    layer.close()

    assert error.retry_after is None
    assert "isolated by hand" in str(error)
    assert (await handler(ASK)).text == "up"


@simulated_time
async def test_a_refusal_by_hand_has_no_cause() -> None:
    """A failure that opened nothing is not why."""
    layer = breaker(fail_max=2)
    handler = layer(FakeTransport(ServerError("one")))
    await fail(handler)

    layer.isolate()

    assert (await refused(handler)).__cause__ is None


@simulated_time
async def test_a_recovery_forgets_the_failure() -> None:
    """What opened the circuit in the morning is not the cause of a slow afternoon."""
    layer = breaker(slow_call=1, slow_rate=1.0, minimum_calls=2)
    handler = layer(FakeTransport([ServerError("morning"), "up", [2.0, "slow"], [2.0, "slow"]]))
    await fail(handler)
    await asyncio.sleep(60)
    for _ in range(3):
        await handler(ASK)

    assert (await refused(handler)).__cause__ is None


@simulated_time
async def test_isolating_a_half_open_circuit_voids_its_probes() -> None:
    """By hand wins: the success of a probe in flight closes nothing."""
    layer = breaker()
    handler = layer(FakeTransport([ServerError("down"), [5.0, "up"]]))
    await fail(handler)
    await asyncio.sleep(60)
    probe = asyncio.create_task(handler(ASK))  # type: ignore[arg-type]
    await asyncio.sleep(1)

    layer.isolate()
    await probe

    assert layer.state() == "isolated"


@simulated_time
async def test_one_key_may_be_isolated() -> None:
    """Also before its first call; the others go on."""
    layer = breaker(key="model")
    handler = layer(only_bad_fails)

    layer.isolate("a")

    await refused(handler, model("a"))
    await handler(model("b"))
    layer.close("a")
    await handler(model("a"))


@simulated_time
async def test_isolating_without_a_key_holds_for_circuits_to_come() -> None:
    """A key that is seen for the first time is refused too, until `close`."""
    layer = breaker(key="model")
    handler = layer(only_bad_fails)

    layer.isolate()
    await refused(handler, model("new"))
    assert layer.state("newer still") == "isolated"
    layer.close()

    await handler(model("new"))


def test_a_breaker_can_be_isolated_outside_of_any_loop() -> None:
    """Before the program has started one."""
    layer = breaker()

    layer.isolate()

    assert layer.state() == "isolated"


@simulated_time
async def test_closing_by_hand_forgets_the_failures() -> None:
    """The circuit closes at once, its count begins anew, and so does its reset time."""
    layer = breaker(fail_max=2, growth=10)
    handler = layer(FakeTransport(ServerError("down")))
    await fail(handler)
    await fail(handler)
    await asyncio.sleep(60)
    await fail(handler)

    layer.close()
    await fail(handler)
    await fail(handler)

    assert (await refused(handler)).retry_after == pytest.approx(60)


@simulated_time
async def test_reset_makes_it_as_new() -> None:
    """Circuits, counts and mode."""
    layer = breaker(key="model")
    handler = layer(only_bad_fails)
    await fail(handler, model("bad"))
    layer.isolate("good")
    layer.disable()

    layer.reset()

    assert layer.states() == {}
    assert not any(value for name, value in layer.stats().items() if name != "circuit.state")
    await fail(handler, model("bad"))
    await refused(handler, model("bad"))


@simulated_time
async def test_a_disabled_breaker_lets_everything_pass_and_counts_nothing() -> None:
    """Until it is enabled; then an open circuit is open as before."""
    layer = breaker()
    handler = layer(FakeTransport(ServerError("down")))
    await fail(handler)

    layer.disable()
    await fail(handler)
    counted = layer.stats()["circuit.requests.total"]
    layer.enable()

    assert counted == 1
    await refused(handler)


@simulated_time
async def test_a_breaker_that_observes_judges_but_refuses_nothing() -> None:
    """The circuit opens, is probed and closes as it would; what it would have refused is counted."""
    layer = breaker(mode="observe")
    handler = layer(FakeTransport([ServerError("down"), "passes", ServerError("passes"), "probe"]))
    await fail(handler)

    await handler(ASK)
    await fail(handler)
    between = layer.state()
    await asyncio.sleep(60)
    await handler(ASK)

    assert (between, layer.state()) == ("open", "closed")
    assert layer.stats()["circuit.requests.spared"] == 2
    assert layer.stats()["circuit.requests.rejected"] == 0


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"fail_max": 0}, r"CircuitBreaker\.fail_max must be .*, got 0"),
        ({"fail_max": 2.5}, r"CircuitBreaker\.fail_max"),
        ({"fail_max": None}, "nothing would ever open it"),
        ({"reset_timeout": 0}, r"CircuitBreaker\.reset_timeout must be .*, got 0"),
        ({"reset_timeout": float("nan")}, "reset_timeout"),
        ({"reset_timeout": float("inf")}, "reset_timeout"),
        ({"reset_timeout": "60"}, "reset_timeout"),
        ({"success_threshold": 0}, "success_threshold"),
        ({"half_open_max": True}, "half_open_max"),
        ({"failure_rate": 0}, "failure_rate"),
        ({"failure_rate": 50}, r"CircuitBreaker\.failure_rate must be .* up to 1, got 50"),
        ({"window": -1}, "window"),
        ({"minimum_calls": 0}, "minimum_calls"),
        ({"slow_call": 5}, "slow_rate"),
        ({"slow_rate": 0.5}, "slow_call"),
        ({"probe_lease": 0}, "probe_lease"),
        ({"growth": 0.5}, "growth"),
        ({"jitter": -0.1}, "jitter"),
        ({"max_reset_timeout": 10}, r"max_reset_timeout must be at least reset_timeout \(60\.0\), got 10"),
        ({"key": "provider"}, "key"),
        ({"max_circuits": 0}, "max_circuits"),
        ({"mode": "sometimes"}, "mode"),
        ({"classify": "default"}, "classify"),
        ({"listeners": [3]}, "listeners"),
        ({"key": "model", "storage": object()}, "storage"),
        ({"name": 7}, "name"),
        ({"rng": 7}, "rng"),
    ],
)
def test_a_wrong_setting_is_refused_when_it_is_built(settings: dict[str, Any], complaint: str) -> None:
    """With the field, the value and a remedy."""
    with pytest.raises(ConfigurationError, match=complaint):
        CircuitBreaker(**settings)


def test_settings_are_final() -> None:
    """A change that no circuit would see is refused; `disable` and `observe` are how the mode is changed."""
    layer = breaker()

    with pytest.raises(FrozenAttributeError):
        layer.fail_max = 10


def test_its_repr_shows_the_settings_that_differ() -> None:
    """And no function's address."""
    layer = CircuitBreaker(failure_rate=0.5, key=only_bad_fails)  # type: ignore[arg-type]

    assert repr(layer) == "CircuitBreaker(failure_rate=0.5, key=only_bad_fails)"


@pytest.mark.parametrize("settings", [{}, {"failure_rate": 0.5, "slow_call": 5, "slow_rate": 0.5}, {"key": "model"}])
def test_it_keeps_the_protocol(settings: dict[str, Any]) -> None:
    """The conformance kit finds nothing."""
    check_middleware(lambda: CircuitBreaker(**settings))
