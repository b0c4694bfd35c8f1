"""Small honest layers with the effects that no shipped layer has, and how a test runs a stack in two orders."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from llamina import (
    Budget,
    Constant,
    CostMeter,
    InvalidRequestError,
    LLMError,
    Logger,
    MemoryCache,
    Request,
    Response,
    Retry,
    Usage,
)
from llamina import build_stack as build
from llamina.order import findings
from llamina.protocol import Handler
from llamina.stack import Stack
from llamina.stores.base import Entry
from llamina.testing import answer

ASK = Request.chat("m", "hi", max_tokens=10_000)
CENT = Usage(0, 10_000)  # costs a cent, which is the worst case of ASK but for its few words
PAID = answer("x", usage=CENT)
PRICES = {"m": {"input": "1", "output": "1"}, "dear": {"input": "10", "output": "10"}}

Build = Callable[[Any], Stack]


async def in_both_orders(
    rule: str,
    outcome: Callable[[Build], Awaitable[Any]],
    *,
    wrong: Callable[[], list[Any]],
    right: Callable[[], list[Any]],
) -> tuple[Any, Any]:
    """What *outcome* is in the wrong order and in the right one, of which only the first has a finding of *rule*.

    It is given a function that builds a new stack of the layers on a transport.
    """

    async def run(make: Callable[[], list[Any]], *, found: bool) -> Any:
        def on(transport: Any) -> Stack:
            stack = build(make(), transport, check="off")
            assert (rule in [finding.rule for finding in findings(stack)]) == found, findings(stack)
            return stack

        return await outcome(on)

    return await run(wrong, found=True), await run(right, found=False)


async def attempt(stack: Any, request: Request = ASK) -> Response | LLMError:
    """The answer, or the error in its place."""
    try:
        return await stack(request)
    except LLMError as error:
        return error


def tries(attempts: int = 3, **settings: Any) -> Retry:
    """A Retry that does not wait."""
    return Retry(attempts, **{"backoff": Constant(0), **settings})


def purse(limit: str, **settings: Any) -> CostMeter:
    """A meter with one budget."""
    return CostMeter(PRICES, [Budget(limit, **settings)])


def spent(stack: Stack) -> Decimal:
    """USD that the meter of the stack has counted."""
    meter = next(layer for layer in stack.layers if isinstance(layer, CostMeter))
    return meter.totals().cost


def log() -> Logger:
    """A Logger of its own that writes nowhere and counts."""
    logger = logging.Logger("order", logging.INFO)  # noqa: LOG001 - one for each test
    logger.addHandler(logging.NullHandler())
    return Logger(logger=logger)


class _Layer:
    """Anything callable is a layer."""

    def __call__(self, call_next: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            return await self.handle(request, call_next)

        return handle

    async def handle(self, request: Request, call_next: Handler) -> Response:
        raise NotImplementedError


class RateLimit(_Layer):
    """*calls* in any *seconds*; who comes too early waits."""

    effects = frozenset({"limits-rate"})

    def __init__(self, calls: int = 1, seconds: float = 60) -> None:
        self.calls, self.seconds, self.turns = calls, seconds, []

    async def handle(self, request: Request, call_next: Handler) -> Response:
        now = asyncio.get_running_loop().time()
        start = now if len(self.turns) < self.calls else max(now, self.turns[-self.calls] + self.seconds)
        self.turns.append(start)
        await asyncio.sleep(start - now)
        return await call_next(request)


class ConcurrencyLimit(_Layer):
    """At most *limit* calls in flight."""

    effects = frozenset({"limits-concurrency"})

    def __init__(self, limit: int = 1) -> None:
        self.slots = asyncio.Semaphore(limit)

    async def handle(self, request: Request, call_next: Handler) -> Response:
        async with self.slots:
            return await call_next(request)


class Hedge(_Layer):
    """A second branch after *delay* seconds; the first answer wins, a failure that comes before starts no other."""

    effects = frozenset({"branches"})

    def __init__(self, delay: float = 1) -> None:
        self.delay = delay

    async def handle(self, request: Request, call_next: Handler) -> Response:
        branches = [asyncio.ensure_future(call_next(request))]
        try:
            done, _ = await asyncio.wait(branches, timeout=self.delay)
            if not done:
                branches.append(asyncio.ensure_future(call_next(request)))
            waiting = set(branches)
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if answered := [branch for branch in done if branch.exception() is None]:
                    return answered[0].result()
            return await branches[-1]
        finally:
            for branch in branches:
                branch.cancel()
            await asyncio.gather(*branches, return_exceptions=True)


class Fallback(_Layer):
    """Another model when the first fails."""

    effects = frozenset({"falls-back"})

    def __init__(self, substitute: str = "dear") -> None:
        self.substitute = substitute

    async def handle(self, request: Request, call_next: Handler) -> Response:
        try:
            return await call_next(request)
        except LLMError:
            return await call_next(request.evolve(model=self.substitute))


class ReAsk(_Layer):
    """Asks again until the answer is "yes", at most *rounds* times; in the same words, or *telling* what was wrong."""

    effects = frozenset({"re-asks"})

    def __init__(self, rounds: int = 3, *, telling: bool = False) -> None:
        self.rounds, self.telling = rounds, telling

    async def handle(self, request: Request, call_next: Handler) -> Response:
        for _ in range(self.rounds):
            response = await call_next(request)
            if response.text == "yes":
                return response
            if self.telling:
                request = request.reply(response, "say yes")
        raise InvalidRequestError(f"{self.rounds} answers were not yes")


class Guard(_Layer):
    """Refuses requests that hold a forbidden word; the list may grow."""

    effects = frozenset({"refuses"})

    def __init__(self) -> None:
        self.forbidden: list[str] = []

    async def handle(self, request: Request, call_next: Handler) -> Response:
        if any([word in request.messages[-1].text for word in self.forbidden]):
            raise InvalidRequestError("forbidden")
        return await call_next(request)


class Stamp(_Layer):
    """A number in the parameters that is another for each call."""

    effects = frozenset({"stamps"})
    numbers = itertools.count()

    async def handle(self, request: Request, call_next: Handler) -> Response:
        return await call_next(request.with_params(trace=next(self.numbers)))


class Tenants(_Layer):
    """Says to which tenant a user belongs: to the one of his own name."""

    effects = frozenset({"sets-tags"})

    async def handle(self, request: Request, call_next: Handler) -> Response:
        return await call_next(request.evolve(tags={**request.tags, "tenant": request.tags["user"]}))


class Personal(_Layer):
    """Adds to the words of a request who asks."""

    effects = frozenset({"rewrites-request"})

    async def handle(self, request: Request, call_next: Handler) -> Response:
        words = f"{request.messages[-1].text}, I am {request.tags.get('user', 'nobody')}"
        return await call_next(request.evolve(messages=words))


class Upgrade(_Layer):
    """Takes the dear model, whatever was asked for."""

    effects = frozenset({"rewrites-request"})

    async def handle(self, request: Request, call_next: Handler) -> Response:
        return await call_next(request.evolve(model="dear"))


def of_user(name: str) -> Request:
    """The same request, from one of several users."""
    return ASK.evolve(tags={"user": name})


class Shelf(MemoryCache):
    """A store that takes a moment to answer, as one on a disk or in a network does."""

    async def get(self, key: str, /) -> Entry | None:
        await asyncio.sleep(0.01)
        return await super().get(key)


def says_who_asked(request: Request) -> list[Any]:
    """An item for a fake: the words of the request, given back after a moment."""
    return [0.1, request.messages[-1].text]
