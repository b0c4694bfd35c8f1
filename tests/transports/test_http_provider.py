"""HTTPTransport and the simulated provider: the ledger says what the provider bills, and the protocol holds."""

from __future__ import annotations

import asyncio

import pytest

from llamina import Constant, CostMeter, LLMError, Request, Response, Retry, Timeout, build_stack
from llamina.testing import (
    SimulatedProvider,
    check_handler,
    cut,
    drip,
    error_event,
    garbage,
    no_done,
    no_usage,
    stall,
    status,
)
from llamina.transports import EchoTransport

PRICES = {"sim": {"input": "1", "output": "2"}}
FAULTS = {
    "refused": status(429, retry_after=0.01),
    "failed": status(500),
    # Only the provider knows whether it worked on these, so the ledger takes it that it did.
    "unavailable": status(503, billed=True),
    "overloaded": status(529, billed=True),
    "quota": status(429, code="insufficient_quota"),
    "unauthorised": status(401),
    "invalid": status(400),
    "cut": ["par", cut()],
    "reset": ["par", 0.01, cut(reset=True)],
    "cut at once": [cut()],
    "error event": ["par", error_event("overloaded_error")],
    "stalled": ["par", stall()],
    "silent": [stall()],
    "garbage": garbage(),
}
KINDS = {
    "plain": "hello there",
    "pieces": ["Hel", 0.002, "lo"],
    "dripped": drip("slowly", 0.00003),
    "uncounted": no_usage("nobody counts this"),
    "without done": no_done("no last word"),
}


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_attempt_costs_what_the_provider_bills(transport_to, fault: str, streams: bool) -> None:
    """What was certainly not worked on costs nothing; anything else is charged, as an estimate where it is one."""

    async def main() -> None:
        async with SimulatedProvider([FAULTS[fault]]) as provider:
            meter = CostMeter(prices=PRICES)
            limit = Timeout(0.15 if fault in ("stalled", "silent") else 30)
            async with build_stack([meter, limit], transport_to(provider)) as stack:
                with pytest.raises(LLMError) as caught:
                    await ask(stack, streams)
                await provider.settled()

            (attempt,) = caught.value.call.attempts
            assert attempt.outcome == caught.value.outcome
            assert meter.totals().cost == provider.billed_cost(PRICES)

    asyncio.run(main())


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_costs_what_the_provider_bills(transport_to, kind: str, streams: bool) -> None:
    """Exactly where the provider says the usage, and close by where it says none."""

    async def main() -> None:
        async with SimulatedProvider([KINDS[kind]]) as provider:
            meter = CostMeter(prices=PRICES)
            async with build_stack([meter], transport_to(provider)) as stack:
                response = await ask(stack, streams)

            assert response.finish_reason == "stop"
            assert response.call.attempts[0].usage_source == ("estimated" if kind == "uncounted" else "exact")
            assert meter.totals().cost == provider.billed_cost(PRICES)

    asyncio.run(main())


def test_many_calls_with_retries_add_up(transport_to) -> None:
    """Fifty calls at once, streams among them, over a provider that fails now and then: the sums are equal."""

    async def main() -> None:
        script = ["one", status(500), ["Hel", "lo"], garbage(), "two", [cut()], status(429)]
        async with SimulatedProvider(script, repeat=True) as provider:
            meter = CostMeter(prices=PRICES)
            layers = [Retry(attempts=6, backoff=Constant(0), budget=None), meter]
            async with build_stack(layers, transport_to(provider)) as stack:
                calls = [ask(stack, number % 2 == 0) for number in range(50)]
                answers = await asyncio.gather(*calls, return_exceptions=True)
                await provider.settled()

            assert sum(isinstance(answer, Response) for answer in answers) > 25
            assert meter.totals().attempts == len(provider.requests)
            assert meter.totals().cost == provider.billed_cost(PRICES)

    asyncio.run(main())


def test_it_keeps_the_protocol(transport_to) -> None:
    """The conformance checks for handlers, over real sockets."""
    with SimulatedProvider([["in ", "pieces"]], repeat=True).in_thread() as url:

        async def handler(request: Request) -> Response:
            transport = transport_to(url)
            try:
                return await transport(request)
            finally:
                await transport.aclose()

        assert check_handler(handler, request=Request.chat("sim", "hi"), simulated=False)


def test_the_echo_keeps_the_protocol() -> None:
    """The conformance checks for handlers, in simulated time."""
    assert check_handler(EchoTransport(delay=0.5, piece_delay=0.1))


async def ask(stack, streams: bool) -> Response:
    """One call, streamed or not."""
    request = Request.chat("sim", "how much is it?")
    if not streams:
        return await stack(request)
    async with stack.stream(request) as stream:
        return await stream.complete()
