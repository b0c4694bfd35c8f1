"""`CallLog`: a layer that keeps every call of a test, to assert on requests, tries, tokens and money.

    log = CallLog()
    stack = build_stack([log, *app.layers], FakeTransport("hello"))     # or round a whole stack: build_stack([log], app.stack)
    ...
    assert [attempt.outcome for attempt in log.attempts] == ["server_error", "ok"]
    assert log.usage.total_tokens < 500

In pytest it is the fixture `ledger`.

The one surprise: it stands where you put it. Outermost it has every call; below Dedup only what Dedup let through.
"""

from __future__ import annotations

from decimal import Decimal

from attrs import define, field

from llamina.call import Attempt, Call
from llamina.layer import Layer
from llamina.messages import Usage
from llamina.protocol import Handler, Request, Response

__all__ = ["CallLog"]


@define(eq=False, slots=False, repr=False)
class CallLog(Layer):
    """Keeps the requests that pass, and the record of the calls that they belong to.

    Attributes:
        requests: every Request that passed, in order.
        calls: the Call of each, once, in order; one in flight is among them.
    """

    requests: list[Request] = field(init=False, factory=list)
    calls: list[Call] = field(init=False, factory=list)

    def wrap(self, call_next: Handler) -> Handler:
        """The bare layer round *call_next*."""

        async def handle(request: Request) -> Response:
            self.requests.append(request)
            if request.call is not None and all([request.call is not call for call in self.calls]):
                self.calls.append(request.call)
            return await call_next(request)

        return handle

    @property
    def attempts(self) -> list[Attempt]:
        """Every physical try of these calls."""
        return [attempt for call in self.calls for attempt in call.attempts]

    @property
    def usage(self) -> Usage:
        """The tokens of all tries together."""
        return sum([call.usage for call in self.calls], Usage())

    @property
    def cost(self) -> Decimal:
        """USD: the sum over the tries whose cost is known; a CostMeter prices them."""
        return sum([call.cost for call in self.calls], Decimal(0))

    @property
    def cost_complete(self) -> bool:
        """Whether the cost of every try is known, exactly."""
        return all([call.cost_complete for call in self.calls])

    def clear(self) -> None:
        """Forget what was seen so far."""
        self.requests.clear()
        self.calls.clear()

    def __repr__(self) -> str:
        return f"CallLog({len(self.calls)} calls, {len(self.attempts)} attempts)"
