"""The record of a call, as one looks at it in a debugger or a notebook."""

from __future__ import annotations

from llamina import CostMeter, RateLimitError, Request, Retry, build_stack
from llamina.call import Attempt, Call, Ledger
from llamina.testing import FakeTransport, simulated_time

PRICES = {"m": {"input": "1", "output": "1"}}


@simulated_time
async def test_a_call_shows_how_many_tries_it_took_and_what_it_cost() -> None:
    """One line, not every field of every attempt."""
    stack = build_stack([Retry(), CostMeter(prices=PRICES)], FakeTransport([RateLimitError("slow"), "hello"]))

    call = (await stack(Request.chat("m", "hi"))).call

    assert repr(call) == f"Call({call.id}, 2 attempts, ${call.cost})"
    assert repr(call.attempts[0]) == "Attempt('fake/m', 'rate_limited' after 0 s, $0)"


def test_a_cost_that_is_not_all_says_so() -> None:
    """An attempt without a price may have cost something."""
    call = Call({}, Ledger())
    call.ledger.add(Attempt("openai", "m", outcome="ok", elapsed=0.5))

    assert repr(call).endswith("1 attempts, $0 or more)")


def test_an_attempt_in_flight_says_so() -> None:
    """It has no outcome yet."""
    assert repr(Attempt(None, "m")) == "Attempt('m', in flight)"
