"""A stack behind a door, in front of a provider that plays a script: where the code of a framework runs in these tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator
from typing import Any

from attrs import field, frozen

from llamina import Call, Constant, CostMeter, Handler, Request, Response, Retry, Stack, build_stack, middleware
from llamina.testing import SimulatedProvider
from llamina.transports import HTTPTransport

PRICES = {"*": {"input": "1", "output": "2"}}
"""USD per million tokens of every model."""


@frozen
class Setting:
    """What a recipe runs in: `stack` is what it is given, by way of a door; `calls` are those that came to the stack."""

    provider: SimulatedProvider
    stack: Stack
    meter: CostMeter
    calls: list[Call] = field(factory=list)

    def run(self, work: Awaitable[Any]) -> Any:
        """What *work*, async code of the app, gives; the stack is closed in the loop in which it was used."""

        async def main() -> Any:
            async with self.stack:
                return await work

        return asyncio.run(main())

    @property
    def outcomes(self) -> list[list[str]]:
        """How the tries of each call ended; every one is a request that the provider saw, and on the bill of the meter."""
        tries = [attempt for call in self.calls for attempt in call.attempts]
        assert len(self.provider.requests) == len(tries) == self.meter.totals().attempts
        assert self.meter.totals().cost == sum(call.cost for call in self.calls) >= self.provider.billed_cost(PRICES)
        return [[attempt.outcome for attempt in call.attempts] for call in self.calls]


@contextlib.contextmanager
def in_front_of(*script: Any, wire: str = "chat") -> Iterator[Setting]:
    """A stack that tries three times and meters every try; the provider plays *script*."""

    @middleware
    async def noted(request: Request, call_next: Handler) -> Response:
        assert request.call is not None
        setting.calls.append(request.call)
        return await call_next(request)

    provider = SimulatedProvider(list(script), wire=wire)
    meter = CostMeter(prices=PRICES)
    with provider.in_thread() as url:
        transport = HTTPTransport(base_url=url, api_key="sk-real", wire=wire)
        setting = Setting(
            provider, build_stack([noted, Retry(attempts=3, backoff=Constant(0.01)), meter], transport), meter
        )
        with setting.stack.blocking():
            yield setting
    assert provider.exhausted == 0
