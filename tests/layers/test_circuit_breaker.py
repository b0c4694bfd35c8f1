"""A circuit opens, refuses, probes, and closes: the states of the CircuitBreaker layer."""

from __future__ import annotations

import asyncio
import gc
import random
import subprocess
import sys
import weakref
from typing import Any

import pytest
from freezegun import freeze_time

from llamina import CircuitBreaker, CircuitOpenError, Request, Response, ServerError, build_stack
from llamina.testing import FakeTransport, simulated_time

ASK = Request.chat("m", "hi")


def breaker(**changes: Any) -> CircuitBreaker:
    """A breaker without chance and without growth."""
    settings = {"fail_max": 3, "reset_timeout": 60, "success_threshold": 1, "jitter": 0, "growth": 1}
    return CircuitBreaker(**(settings | changes))


async def fail(handler: Any, times: int = 1) -> None:
    """Ask, and see the service fail."""
    for _ in range(times):
        with pytest.raises(ServerError):
            await handler(ASK)


async def refused(handler: Any) -> CircuitOpenError:
    """Ask, and be refused."""
    with pytest.raises(CircuitOpenError) as caught:
        await handler(ASK)
    return caught.value


@simulated_time
async def test_so_many_failures_in_a_row_open_the_circuit() -> None:
    """From then on no call reaches the service."""
    fake = FakeTransport(ServerError("down"))
    layer = breaker(fail_max=3)
    stack = build_stack([layer], fake)

    await fail(stack, times=3)
    await refused(stack)

    assert fake.calls == 3
    assert layer.state() == "open"


@simulated_time
async def test_a_success_between_failures_sets_the_count_back() -> None:
    """Only failures in a row count against fail_max."""
    down = ServerError("down")
    layer = breaker(fail_max=3)
    stack = build_stack([layer], FakeTransport([down, down, "up", down, down]))

    await fail(stack, times=2)
    await stack(ASK)
    await fail(stack, times=2)

    assert layer.state() == "closed"


@simulated_time
async def test_the_tripping_call_raises_its_own_error() -> None:
    """The very object that the service's failure was, without a frame of the report in its traceback."""
    down = ServerError("down")
    handler = breaker(fail_max=1)(FakeTransport(down))

    with pytest.raises(ServerError) as caught:
        await handler(ASK)

    assert caught.value is down
    assert not [entry for entry in caught.traceback if "pybreaker" in str(entry.path)]
    assert caught.value.__context__ is None


@simulated_time
async def test_a_refusal_says_how_long_it_lasts_and_why() -> None:
    """Seconds until the next probe, the circuit's name, and the last failure as the cause."""
    handler = breaker(fail_max=1, reset_timeout=60, name="gpt")(FakeTransport(ServerError("down", status=503)))
    await fail(handler)

    await asyncio.sleep(20)
    error = await refused(handler)

    assert error.retry_after == pytest.approx(40)
    assert error.circuit == "gpt"
    assert isinstance(error.__cause__, ServerError)
    assert error.__cause__.status == 503


@simulated_time
async def test_the_cause_of_a_refusal_holds_on_to_nothing() -> None:
    """No traceback (its frames hold prompts), no call, no partial answer; and each refusal has one of its own."""
    partial = Response.of("secret")
    handler = breaker(fail_max=1)(FakeTransport(ServerError("down", partial=partial)))
    await fail(handler)

    first, second = await refused(handler), await refused(handler)

    cause = first.__cause__
    assert isinstance(cause, ServerError)
    assert cause.__traceback__ is cause.__cause__ is cause.__context__ is cause.call is cause.partial is None
    assert cause is not second.__cause__


@simulated_time
async def test_nothing_keeps_the_error_of_a_call_alive() -> None:
    """Neither the circuit nor a cycle: without the collector it is gone once its caller lets go, and so is a refusal."""
    errors: list[weakref.ref[BaseException]] = []

    async def service(request: Request) -> Response:
        raise ServerError("down")

    handler = breaker(fail_max=1)(service)
    gc.disable()
    try:
        for _ in range(2):
            try:
                await handler(ASK)
            except (ServerError, CircuitOpenError) as error:
                errors.append(weakref.ref(error))
        alive = [ref() for ref in errors]
    finally:
        gc.enable()

    assert alive == [None, None]


@simulated_time
async def test_a_successful_probe_closes_the_circuit() -> None:
    """After the reset time one call is let through; its success ends the matter."""
    fake = FakeTransport([ServerError("down"), "up", "up", "up"])
    layer = breaker(fail_max=1)
    stack = build_stack([layer], fake)
    await fail(stack)

    await asyncio.sleep(60)
    await stack(ASK)

    assert layer.state() == "closed"
    await asyncio.gather(stack(ASK), stack(ASK))


@simulated_time
async def test_a_failed_probe_opens_it_again() -> None:
    """One failure is enough, whatever fail_max says."""
    handler = (layer := breaker(fail_max=2))(FakeTransport(ServerError("down")))
    await fail(handler, times=2)

    await asyncio.sleep(60)
    await fail(handler)

    assert layer.state() == "open"
    assert (await refused(handler)).retry_after == pytest.approx(60)


@simulated_time
async def test_several_successes_may_be_needed() -> None:
    """With success_threshold=2 the circuit is half open until the second success."""
    layer = breaker(fail_max=1, success_threshold=2)
    handler = layer(FakeTransport([ServerError("down"), "up", "up"]))
    await fail(handler)
    await asyncio.sleep(60)

    await handler(ASK)
    between = layer.state()
    await handler(ASK)

    assert (between, layer.state()) == ("half-open", "closed")


@pytest.mark.parametrize("slots", [1, 3])
def test_half_open_admits_exactly_so_many_probes(slots: int) -> None:
    """Of 100 concurrent callers, half_open_max reach the service; the others are refused without it."""

    @simulated_time
    async def play() -> tuple[int, int]:
        layer = breaker(fail_max=1, half_open_max=slots, success_threshold=slots)
        fake = FakeTransport([ServerError("down"), *[[1.0, "up"]] * 100])
        stack = build_stack([layer], fake)
        await fail(stack)
        await asyncio.sleep(60)
        done = await asyncio.gather(*[stack(ASK) for _ in range(100)], return_exceptions=True)
        return fake.max_in_flight, len([one for one in done if isinstance(one, CircuitOpenError)])

    assert play() == (slots, 100 - slots)


@simulated_time
async def test_a_refusal_while_a_probe_is_in_flight_names_a_time_too() -> None:
    """At the latest when the probe's lease ends, and no later than one reset time from now."""
    handler = breaker(fail_max=1, reset_timeout=60, probe_lease=10)(FakeTransport([ServerError("down"), [5.0, "up"]]))
    await fail(handler)
    await asyncio.sleep(60)
    probe = asyncio.create_task(handler(ASK))
    await asyncio.sleep(1)

    error = await refused(handler)

    assert error.retry_after == pytest.approx(9)
    await probe


@simulated_time
async def test_a_cancelled_probe_frees_its_slot_and_decides_nothing() -> None:
    """The circuit stays half open, and the next caller probes at once."""
    layer = breaker(fail_max=1)
    handler = layer(FakeTransport([ServerError("down"), [100.0, "never"], "up"]))
    await fail(handler)
    await asyncio.sleep(60)
    probe = asyncio.create_task(handler(ASK))
    await asyncio.sleep(1)

    probe.cancel()
    await asyncio.wait([probe])

    assert probe.cancelled()
    assert layer.state() == "half-open"
    assert (await handler(ASK)).text == "up"


@simulated_time
async def test_a_probe_that_never_settles_loses_its_slot() -> None:
    """After probe_lease seconds the next caller probes, and the late verdict of the first is dropped."""
    layer = breaker(fail_max=1, probe_lease=30, success_threshold=2)
    handler = layer(FakeTransport([ServerError("down"), [100.0, ServerError("late")], "up", "up"]))
    await fail(handler)
    await asyncio.sleep(60)
    hung = asyncio.create_task(handler(ASK))
    await asyncio.sleep(29)

    await refused(handler)
    await asyncio.sleep(1)
    await handler(ASK)
    await asyncio.gather(hung, return_exceptions=True)

    assert layer.state() == "half-open"
    await handler(ASK)
    assert layer.state() == "closed"


@simulated_time
async def test_the_verdict_of_a_probe_beyond_its_lease_is_dropped_though_nobody_asked_meanwhile() -> None:
    """Whether another caller came in between makes no difference."""
    layer = breaker(fail_max=1, probe_lease=30)
    handler = layer(FakeTransport([ServerError("down"), [31.0, "late"]]))
    await fail(handler)
    await asyncio.sleep(60)

    await handler(ASK)

    assert layer.state() == "half-open"


@simulated_time
async def test_a_late_failure_does_not_prolong_the_opening() -> None:
    """A call from before the opening that fails during it changes neither the state nor the time left."""
    layer = breaker(fail_max=1, reset_timeout=60)
    handler = layer(FakeTransport([[50.0, ServerError("late")], ServerError("down"), "up"]))
    slow = asyncio.create_task(handler(ASK))
    await asyncio.sleep(0)
    await fail(handler)
    await asyncio.wait([slow])

    left = (await refused(handler)).retry_after

    assert left == pytest.approx(10)
    assert isinstance(slow.exception(), ServerError)
    assert layer.stats()["circuit.opened"] == 1


@simulated_time
async def test_a_late_success_does_not_end_the_opening() -> None:
    """A call from before the opening that succeeds during it does not close the circuit."""
    layer = breaker(fail_max=1)
    handler = layer(FakeTransport([[5.0, "late"], ServerError("down")]))
    slow = asyncio.create_task(handler(ASK))
    await asyncio.sleep(0)
    await fail(handler)

    await slow

    assert layer.state() == "open"


@simulated_time
async def test_a_verdict_from_before_the_opening_is_none_of_the_half_open_circuit() -> None:
    """Neither a late failure nor a late success of an earlier time decides while a probe is due."""
    layer = breaker(fail_max=1)
    script = [[70.0, ServerError("late")], [70.0, "late"], ServerError("down"), [30.0, "up"]]
    handler = layer(FakeTransport(script))
    old = [asyncio.create_task(handler(ASK)) for _ in range(2)]
    await asyncio.sleep(0)
    await fail(handler)
    await asyncio.sleep(60)
    probe = asyncio.create_task(handler(ASK))

    await asyncio.gather(*old, return_exceptions=True)

    assert layer.state() == "half-open"
    await probe
    assert layer.state() == "closed"


@simulated_time
async def test_a_failure_from_before_does_not_count_in_the_circuit_that_has_closed_since() -> None:
    """A permit of an earlier closed time is void."""
    layer = breaker(fail_max=1)
    handler = layer(FakeTransport([[70.0, ServerError("late")], ServerError("down"), "up"]))
    old = asyncio.create_task(handler(ASK))
    await asyncio.sleep(0)
    await fail(handler)
    await asyncio.sleep(60)
    await handler(ASK)

    await asyncio.gather(old, return_exceptions=True)

    assert layer.state() == "closed"


@simulated_time
async def test_an_open_circuit_becomes_half_open_only_when_a_call_asks() -> None:
    """Nothing runs in the background."""
    layer = breaker(fail_max=1)
    handler = layer(FakeTransport(ServerError("down")))
    await fail(handler)

    await asyncio.sleep(3600)

    assert layer.state() == "open"
    assert len(asyncio.all_tasks()) == 1


@simulated_time
async def test_reset_times_grow_while_it_opens_again_and_begin_anew_once_it_closed() -> None:
    """60, 120, 240 seconds, at most max_reset_timeout; after a recovery 60 again."""
    layer = breaker(fail_max=1, growth=2, max_reset_timeout=200)
    down = ServerError("down")
    handler = layer(FakeTransport([down, down, down, down, "up", down]))
    waits = []
    for _ in range(4):
        await fail(handler)
        waits.append((await refused(handler)).retry_after or 0)
        await asyncio.sleep(waits[-1])

    await handler(ASK)
    await fail(handler)

    assert waits == pytest.approx([60, 120, 200, 200])
    assert (await refused(handler)).retry_after == pytest.approx(60)


def test_no_number_of_openings_makes_the_reset_time_overflow() -> None:
    """After 3,000 failed probes it is at its cap and finite."""

    @simulated_time
    async def play() -> float:
        handler = breaker(fail_max=1, growth=10, max_reset_timeout=600)(FakeTransport(ServerError("down")))
        for _ in range(3000):
            await fail(handler)
            await asyncio.sleep((await refused(handler)).retry_after or 0)
        await fail(handler)
        return (await refused(handler)).retry_after or 0

    assert play() == pytest.approx(600)


@pytest.mark.parametrize("seed", range(5))
def test_jitter_lengthens_the_reset_time_by_its_share_at_most(seed: int) -> None:
    """Between 60 and 66 seconds with the default of 10 %, and from the given generator."""

    @simulated_time
    async def play() -> float:
        handler = CircuitBreaker(fail_max=1, reset_timeout=60, rng=random.Random(seed))(
            FakeTransport(ServerError("down"))
        )
        await fail(handler)
        return (await refused(handler)).retry_after or 0

    assert 60 < play() <= 66
    assert play() == play()


@pytest.mark.parametrize("jump", ["2025-12-31 23:00:00", "2026-01-01 01:00:00"])
def test_a_jump_of_the_wall_clock_changes_nothing(jump: str) -> None:
    """An hour forwards or back neither ends nor prolongs an opening, nor disturbs a probe."""

    @simulated_time(start="2026-01-01T00:00:00Z")
    async def play() -> tuple[float | None, str]:
        layer = breaker(fail_max=1, success_threshold=1)
        handler = layer(FakeTransport([ServerError("down"), "up"]))
        await fail(handler)
        with freeze_time(jump, real_asyncio=True):
            left = (await refused(handler)).retry_after
        await asyncio.sleep(60)
        with freeze_time(jump, real_asyncio=True):
            await handler(ASK)
        return left, layer.state()

    assert play() == (pytest.approx(60), "closed")


def test_a_breaker_may_go_on_under_another_loop() -> None:
    """An opening timed on a clock that is far ahead (simulated time) does not last for ever on a real one."""
    layer = breaker(fail_max=1)
    handler = layer(FakeTransport([ServerError("down"), "up"]))
    simulated_time(fail)(handler)

    answer = asyncio.run(handler(ASK))  # type: ignore[arg-type]

    assert answer.text == "up"


@simulated_time
async def test_a_closed_circuit_is_transparent() -> None:
    """The same request goes down, the same response and the same exception come up."""
    answer = Response.of("hello")
    seen: list[Request] = []

    async def service(request: Request) -> Response:
        seen.append(request)
        if len(seen) > 1:
            raise unknown
        return answer

    unknown = KeyError("mine")
    handler = breaker().wrap(service)

    assert await handler(ASK) is answer
    assert seen[0] is ASK
    with pytest.raises(KeyError) as caught:
        await handler(ASK)
    assert caught.value is unknown


@simulated_time
async def test_statistics_add_up() -> None:
    """The total is what succeeded, failed, said nothing, was refused and is in flight."""
    fake = FakeTransport(["up", KeyError("mine"), ServerError("down"), [60.0, "probe"]])
    layer = breaker(fail_max=1)
    handler = layer(fake)
    await handler(ASK)
    with pytest.raises(KeyError):
        await handler(ASK)
    await fail(handler)
    await refused(handler)
    await asyncio.sleep(60)
    probe = asyncio.create_task(handler(ASK))
    await asyncio.sleep(1)

    counts = layer.stats()

    assert {name.removeprefix("circuit."): value for name, value in counts.items() if value} == {
        "state": "half-open",
        "circuits": 1,
        "not_closed": 1,
        "probes": 1,
        "opened": 1,
        "half_opened": 1,
        "requests.total": 5,
        "requests.successful": 1,
        "requests.failed": 1,
        "requests.neutral": 1,
        "requests.rejected": 1,
    }
    await probe


@simulated_time
async def test_one_object_in_two_stacks_shares_its_circuit() -> None:
    """On purpose: what one stack learns, the other knows."""
    layer = breaker(fail_max=1)
    await fail(build_stack([layer], FakeTransport(ServerError("down"))))

    await refused(build_stack([layer], FakeTransport("up")))


def test_pybreaker_is_loaded_with_the_first_breaker_and_not_before() -> None:
    """It imports redis where that is installed: who builds no breaker does not wait for it, and no call ever does."""
    code = (
        "import sys; from llamina import CircuitBreaker; before = 'pybreaker' in sys.modules; "
        "CircuitBreaker(key='model'); print(before, 'pybreaker' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "True"]
