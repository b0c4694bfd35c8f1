"""`llamina demo`: the seven layers between a scripted traffic and a simulated provider, on this machine.

    show(calls=300, seed=7, seconds=9, plain=False, as_json=False)      # 0, or 1 when the sums do not add up

Real sockets and a real clock: what is shown is what the layers do. Nothing leaves the machine.

The one surprise: the waits and limits of the stack grow with `seconds`, so a demo of a minute shows the same in slow
motion.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from llamina.errors import ConfigurationError
from llamina.layers.cache import Cache
from llamina.layers.circuit_breaker import CircuitBreaker
from llamina.layers.cost import CostMeter
from llamina.layers.dedup import Dedup
from llamina.layers.logger import Logger
from llamina.layers.retry import Retry
from llamina.layers.timeout import Timeout
from llamina.policy.accounts import Budget
from llamina.policy.backoff import Exponential
from llamina.policy.retry_budget import RetryBudget
from llamina.protocol import Request
from llamina.stack import Stack, build_stack

from .display import Display, Scene, choose_display
from .happenings import Happenings
from .scenario import PRICES, Scenario, plan
from .summary import Summary
from .traffic import Traffic

__all__ = ["answers", "perform", "seven_layers", "show"]


def show(*, calls: int, seed: int, seconds: float, plain: bool, as_json: bool) -> int:
    """Run the demo, print its summary, and return the exit code."""
    if not math.isfinite(seconds):
        raise ConfigurationError(f"--seconds must be a number of seconds, got {seconds}; write --seconds 9")
    scenario = plan(calls=calls, seed=seed, seconds=seconds)
    display = choose_display(plain=plain, quiet=as_json)
    summary = asyncio.run(perform(scenario, display))
    display.conclude(summary)
    return 0 if summary.adds_up else 1


async def perform(scenario: Scenario, display: Display) -> Summary:
    """Play *scenario* while *display* follows it, and add up what happened."""
    from llamina.testing import SimulatedProvider
    from llamina.transports import HTTPTransport

    loop = asyncio.get_running_loop()
    started = loop.time()
    await _load_the_client()
    happenings = Happenings()
    async with SimulatedProvider(answers(scenario, lambda: traffic.now)) as provider:
        transport = HTTPTransport(base_url=provider.base_url, api_key="sk-demo", provider="simulated")
        with _kept_off_the_console(happenings) as logger:
            meter, stack = seven_layers(scenario, transport, happenings, logger)
            traffic = Traffic(scenario, stack, happenings.ended)
            happenings.clock = lambda: traffic.now
            async with stack:
                scene = Scene(scenario, traffic, stack, meter, provider, happenings)
                await _until_first_ends(traffic.run(), display.follow(scene))
            await provider.settled()
            return Summary.of(traffic, stack, meter, provider, seconds=loop.time() - started)


async def _load_the_client() -> None:
    """One call to another provider: what is loaded late must not take the time of the first call that is shown."""
    from llamina.testing import SimulatedProvider
    from llamina.transports import HTTPTransport

    async with SimulatedProvider("warm") as provider, build_stack([], HTTPTransport(provider.base_url)) as stack:
        await stack(Request.chat("sim-mini", "Are you there?"))


async def _until_first_ends(play: Coroutine[Any, Any, None], show: Coroutine[Any, Any, None]) -> None:
    """Play to the end while it is shown; a display that fails ends the play."""
    tasks = [asyncio.ensure_future(play), asyncio.ensure_future(show)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if task in done or not task.cancelled():
            task.result()


def seven_layers(
    scenario: Scenario, transport: Any, happenings: Happenings, logger: logging.Logger
) -> tuple[CostMeter, Stack]:
    """The stack of the demo, and its meter."""
    unit = scenario.unit
    meter = CostMeter(
        prices=PRICES, budgets=[Budget(scenario.budget, scope="user")], on_warning=happenings.budget_warns
    )
    layers = [
        Logger(logger=logger),
        Cache(),
        Dedup(),
        Retry(
            attempts=3,
            backoff=Exponential(base=0.06 * unit, cap=0.5 * unit, jitter="equal", rng=random.Random(scenario.seed)),
            budget=RetryBudget(capacity=40, ratio=0.2),
            rng=random.Random(scenario.seed),
        ),
        meter,
        CircuitBreaker(
            fail_max=5,
            reset_timeout=0.8 * unit,
            growth=1.5,
            jitter=0.0,
            success_threshold=2,
            half_open_max=2,
            name="simulated",
            listeners=(happenings.circuit_changes,),
        ),
        # Never so short that a busy machine cuts off what it has not sent yet.
        Timeout(max(1.5, 3.0 * unit), first_event=max(0.5, unit), idle=max(0.5, unit)),
    ]
    return meter, build_stack(layers, transport)


def answers(scenario: Scenario, now: Callable[[], float]) -> Callable[[Request], Any]:
    """The provider's script: a function of the request, which plays the faults of its question one by one."""
    from llamina.testing import cut, garbage, stall, status

    questions = {call.question.prompt: call.question for call in scenario.calls}
    tries: Counter[str] = Counter()
    since, until = scenario.outage
    faults: dict[str, Any] = {
        "429": status(429, retry_after=round(0.15 * scenario.unit, 3)),
        "500": status(500),
        "garbage": garbage(),
        "hang up": cut(),
    }

    def answer(request: Request) -> Any:
        question = questions[request.messages[-1].text]
        if since <= now() < until:
            return status(503)
        fault = next(iter(question.faults[tries[question.prompt] :]), None)
        tries[question.prompt] += 1
        if fault in faults:
            return faults[fault]
        spoken: list[Any] = [question.latency]
        for word in question.words:
            spoken += [word, question.pace]
        if fault == "stall":
            return [question.latency, stall()]
        return [*spoken[:9], cut()] if fault == "cut" else spoken

    return answer


@contextmanager
def _kept_off_the_console(happenings: Happenings) -> Iterator[logging.Logger]:
    """A logger for the demo whose records, and those of the package, go to a ring in memory."""
    package = logging.getLogger("llamina")
    before = package.level, package.propagate
    package.propagate = False
    package.addHandler(happenings.log)
    logger = logging.Logger("llamina.demo", logging.INFO)  # noqa: LOG001 - of its own: no setting of others counts
    logger.addHandler(happenings.log)
    try:
        yield logger
    finally:
        package.removeHandler(happenings.log)
        package.setLevel(before[0])
        package.propagate = before[1]
