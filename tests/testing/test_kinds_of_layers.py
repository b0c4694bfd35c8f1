"""The kit raises no false alarm: layers of many kinds, written as strangers write them, keep every clause."""

from __future__ import annotations

import asyncio
import copy
from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context
from typing import Any

import pytest

from llamina import Handler, LLMError, RequestTimeoutError, Response, ServerError, map_text
from llamina.messages import Message
from llamina.protocol import Middleware, Request, middleware
from llamina.testing import ConformanceError, check_middleware
from llamina.testing._middleware_clauses import MIDDLEWARE


class TokenBucket:
    """At most *rate* calls a second."""

    def __init__(self, rate: float = 100.0, burst: float = 5.0) -> None:
        self.rate, self.burst, self.tokens, self.at = rate, burst, burst, 0.0

    def __call__(self, call_next: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            while True:
                now = asyncio.get_running_loop().time()
                self.tokens = min(self.burst, self.tokens + max(0.0, now - self.at) * self.rate)
                self.at = now
                if self.tokens >= 1:
                    self.tokens -= 1
                    return await call_next(request)
                await asyncio.sleep((1 - self.tokens) / self.rate + 1e-6)

        return handle


@middleware
async def asks_twice(request: Request, call_next: Handler) -> Response:
    """Two answers, of which the longer is kept."""
    if request.sink is not None or request.kind != "chat":
        return await call_next(request)
    first = await call_next(request)
    second = await call_next(request)
    return max(first, second, key=lambda response: len(response.text))


@middleware
async def scores(request: Request, call_next: Handler) -> Response:
    """A field of its own in what is further in the answer."""
    response = await call_next(request)
    return response.evolve(extra={**response.extra, "score": 0.5})


@middleware
async def falls_back(request: Request, call_next: Handler) -> Response:
    """Another model, if the first is down."""
    try:
        return await call_next(request)
    except ServerError as first:
        if not request.replayable:
            raise
        try:
            return await call_next(request.evolve(model="other"))
        except LLMError:
            raise first from None


@middleware
async def hedges(request: Request, call_next: Handler) -> Response:
    """A second call when the first is slow."""
    if request.sink is not None:
        return await call_next(request)
    tasks = {asyncio.ensure_future(call_next(request))}
    try:
        done, _ = await asyncio.wait(tasks, timeout=5)
        if not done:
            tasks.add(asyncio.ensure_future(call_next(request)))
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@middleware
async def enriches(request: Request, call_next: Handler) -> Response:
    """A word before every conversation."""
    if request.kind != "chat":
        return await call_next(request)
    return await call_next(request.evolve(messages=(Message.system("be brief"), *request.messages)))


@middleware
async def tags_the_tenant(request: Request, call_next: Handler) -> Response:
    """Somebody is always asking."""
    return await call_next(request.evolve(tags={"tenant": "nobody", **request.tags}))


class Remembers:
    """A cache that asks only what is like what."""

    def __init__(self) -> None:
        self.kept: OrderedDict[Any, Response] = OrderedDict()

    def __call__(self, call_next: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            if request.sink is not None or request.kind != "chat":
                return await call_next(request)
            key = (request.tags.get("tenant"), request.identity)
            if key not in self.kept:
                response = await call_next(request)
                self.kept[key] = response.evolve(extra=copy.deepcopy(dict(response.extra)))
                return response
            return self.kept[key].evolve(call=request.call, extra=copy.deepcopy(dict(self.kept[key].extra)))

        return handle


class Audits:
    """Rows that a task of its own writes down, and ends with when it is closed."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.task: asyncio.Task[None] | None = None
        self.queue: asyncio.Queue[str | None] = asyncio.Queue()

    async def _write(self, queue: asyncio.Queue[str | None]) -> None:
        while (row := await queue.get()) is not None:
            await asyncio.sleep(0.01)
            self.rows.append(row)

    def __call__(self, call_next: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            loop = asyncio.get_running_loop()
            if self.task is None or self.task.get_loop() is not loop:
                self.queue = asyncio.Queue()
                self.task = loop.create_task(self._write(self.queue), context=Context())
            try:
                return await call_next(request)
            finally:
                self.queue.put_nowait(request.model)

        return handle

    async def aclose(self) -> None:
        """Write what is left, and end."""
        task, self.task = self.task, None
        if task is not None:
            self.queue.put_nowait(None)
            await task


class Gathers:
    """Calls that start together, fifty milliseconds at a time."""

    def __init__(self) -> None:
        self.gate: asyncio.Event | None = None

    def __call__(self, call_next: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            gate = self.gate
            if gate is None:
                gate = self.gate = asyncio.Event()
                asyncio.get_running_loop().call_later(0.05, self._open, gate)
            await gate.wait()
            return await call_next(request)

        return handle

    def _open(self, gate: asyncio.Event) -> None:
        self.gate = None
        gate.set()


class Quota:
    """So many tokens for each user."""

    def __init__(self, tokens: int = 1_000_000) -> None:
        self.tokens, self.used = tokens, OrderedDict[str, int]()

    def __call__(self, call_next: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            if request.ledger is None:
                return await call_next(request)
            user, node = str(request.tags.get("user")), request.ledger.child()
            try:
                return await call_next(request.evolve(ledger=node))
            finally:
                spent = sum([attempt.usage.total_tokens for attempt in node.attempts if attempt.usage])
                self.used[user] = self.used.pop(user, 0) + spent
                while len(self.used) > 500:
                    self.used.popitem(last=False)

        return handle

    def stats(self) -> dict[str, int]:
        """How many users it knows."""
        return {"quota.users": len(self.used)}


class Patience:
    """A deadline that follows how long calls take."""

    def __init__(self) -> None:
        self.usual = 100.0

    def __call__(self, call_next: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            started = asyncio.get_running_loop().time()
            limit = started + 10 * self.usual
            mine = limit if request.deadline is None else min(limit, request.deadline)
            response = await call_next(request.evolve(deadline=mine))
            self.usual = 0.9 * self.usual + 0.1 * max(1.0, asyncio.get_running_loop().time() - started)
            return response

        return handle


KINDS: dict[str, Callable[[], Middleware]] = {
    "a token bucket": TokenBucket,
    "a vote of two": lambda: asks_twice,
    "a score": lambda: scores,
    "a fallback": lambda: falls_back,
    "a hedge": lambda: hedges,
    "a word before": lambda: enriches,
    "a tenant": lambda: tags_the_tenant,
    "a cache": Remembers,
    "a redactor": lambda: map_text(lambda text: text.replace("hello", "[greeting]"), by="word"),
    "an audit log": Audits,
    "a gate": Gathers,
    "a quota": Quota,
    "a patient deadline": Patience,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_layer_keeps_every_clause(kind: str) -> None:
    """Whatever it is for, and however often it asks."""
    assert len(check_middleware(KINDS[kind])) == len(MIDDLEWARE.entries)


def test_a_limit_that_counts_the_consumers_time_breaks_that_clause_alone() -> None:
    """What is about reading ahead does not take it for its own."""

    @middleware
    async def limits(request: Request, call_next: Handler) -> Response:
        now = asyncio.get_running_loop().time()
        limit = min(now + 60, request.deadline or now + 60)
        try:
            async with asyncio.timeout_at(limit):
                return await call_next(request.evolve(deadline=limit))
        except LLMError:
            raise
        except TimeoutError as error:
            raise RequestTimeoutError("too slow") from error

    with pytest.raises(ConformanceError) as caught:
        check_middleware(lambda: limits)

    assert [one.clause for one in caught.value.broken] == ["slow-consumers-are-no-fault"]


def test_a_word_before_texts_to_embed_is_told_in_words() -> None:
    """Not as a fault of the script that the kit plays."""

    @middleware
    async def always_enriches(request: Request, call_next: Handler) -> Response:
        return await call_next(request.evolve(messages=(Message.system("be brief"), *request.messages)))

    with pytest.raises(ConformanceError, match="3 texts were sent down in place of 2"):
        check_middleware(lambda: always_enriches)
