"""Where faults and recordings must stand to be worth something: in one order and not in the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from layers_for_order import ASK, Build, Stamp, attempt, in_both_orders, tries

from llamina import Chaos, CircuitBreaker, Recorder, ServerError, Timeout
from llamina.testing import FakeTransport, simulated_time

DOWN = ServerError("down")


@pytest.mark.parametrize(
    ("rule", "make", "script", "wrong", "right"),
    [
        ("retry-inside-faults", tries, ["server_error"], "ServerError", "Response"),
        ("breaker-inside-faults", lambda: CircuitBreaker(1), ["server_error", "ok"], "Response", "CircuitOpenError"),
        ("timeout-inside-faults", lambda: Timeout(5), [{"latency": 60}], "Response", "RequestTimeoutError"),
    ],
)
@simulated_time
async def test_faults_outside_of_a_layer_do_not_test_it(
    rule: str, make: Any, script: list[Any], wrong: str, right: str
) -> None:
    """A fault is healed, remembered or cut only by what stands outside of it."""

    async def outcome(on: Build) -> str:
        stack = on(FakeTransport("x"))
        results = [await attempt(stack) for _ in script]
        return type(results[-1]).__name__

    inside, outside = await in_both_orders(
        rule, outcome, wrong=lambda: [Chaos(script=script), make()], right=lambda: [make(), Chaos(script=script)]
    )

    assert (inside, outside) == (wrong, right)


@simulated_time
async def test_retry_inside_a_recorder_has_nothing_to_do_when_it_is_played_back(tmp_path: Path) -> None:
    """A call of three tries, played back: one that needs no second, where the tries should be seen again."""

    async def attempts_played(on: Build) -> int:
        await on(FakeTransport([DOWN, DOWN, "x"]))(ASK)
        response = await on(FakeTransport([]))(ASK)
        return len(response.call.attempts)

    inside, outside = await in_both_orders(
        "retry-inside-recorder",
        attempts_played,
        wrong=lambda: [Recorder(tmp_path / "wrong.json"), tries()],
        right=lambda: [tries(), Recorder(tmp_path / "right.json")],
    )

    assert (inside, outside) == (1, 3)


@simulated_time
async def test_faults_inside_a_recorder_are_written_down(tmp_path: Path) -> None:
    """The provider answered; what is played back is a failure that it never had."""

    async def played(on: Build) -> str:
        stack = on(FakeTransport("x"))
        (recorder,) = [layer for layer in stack.layers if isinstance(layer, Recorder)]
        await attempt(stack)
        await attempt(stack)
        return type(await attempt(Recorder(recorder.path)(FakeTransport([])))).__name__

    inside, outside = await in_both_orders(
        "faults-inside-recorder",
        played,
        wrong=lambda: [Recorder(tmp_path / "wrong.json"), Chaos(script=["server_error"])],
        right=lambda: [Chaos(script=["server_error"]), Recorder(tmp_path / "right.json")],
    )

    assert (inside, outside) == ("ServerError", "Response")


@simulated_time
async def test_a_recorder_inside_a_stamp_finds_nothing_to_play_back(tmp_path: Path) -> None:
    """What was recorded has another number than what is asked now."""

    async def played_back(on: Build) -> str:
        await on(FakeTransport("x"))(ASK)
        return type(await attempt(on(FakeTransport("x")))).__name__

    inside, outside = await in_both_orders(
        "recorder-inside-stamp",
        played_back,
        wrong=lambda: [Stamp(), Recorder(tmp_path / "wrong.json")],
        right=lambda: [Recorder(tmp_path / "right.json"), Stamp()],
    )

    assert (inside, outside) == ("CassetteMissError", "Response")
