"""The kit over every shipped layer, and a zoo of wrong layers that it must catch by the clause named for the mistake."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from typing import Any

import pytest

from llamina import (
    Adaptive,
    Budget,
    Cache,
    CircuitBreaker,
    CostMeter,
    Dedup,
    Handler,
    LLMError,
    Logger,
    Message,
    Middleware,
    Request,
    Response,
    Retry,
    ServerError,
    TextDelta,
    Timeout,
    Usage,
    build_stack,
    map_text,
    middleware,
)
from llamina.testing import ConformanceError, FakeTransport, check_handler, check_middleware
from llamina.transports import EchoTransport

PRICES = {"model": {"input": "1", "output": "2"}}

SHIPPED: dict[str, Callable[[], Middleware]] = {
    "Logger": lambda: Logger(logger="test.conformance"),
    "Cache": Cache,
    "Cache, stale while revalidate": lambda: Cache(ttl=1, stale_while_revalidate=100),
    "Dedup": Dedup,
    "Retry": Retry,
    "Retry, adaptive": lambda: Retry(attempts=2, backoff=Adaptive()),
    "CostMeter": lambda: CostMeter(PRICES),
    "CostMeter, budgets": lambda: CostMeter(PRICES, [Budget("100", period="day", scope="user"), Budget("200")]),
    "CircuitBreaker": lambda: CircuitBreaker(fail_max=50),
    "CircuitBreaker, rates": lambda: CircuitBreaker(failure_rate=0.99, minimum_calls=100, key="model"),
    "Timeout": lambda: Timeout(100_000),
    "Timeout, in place": lambda: Timeout(100_000, grace=None),
    "Timeout, streams": lambda: Timeout(first_event=100_000, idle=100_000),
    "map_text": lambda: map_text(lambda text: text),
    "map_text by word": lambda: map_text(str, by="word"),
    "map_text that rewrites": lambda: map_text(str.upper),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_layer_keeps_every_clause(name: str) -> None:
    """What we ask of others holds for ours."""
    assert len(check_middleware(SHIPPED[name])) >= 19


def test_the_echo_and_a_stack_of_all_layers_are_good_handlers() -> None:
    """Terminals and stacks are one thing: handlers."""
    layers = [make() for name, make in SHIPPED.items() if "Cache" not in name]

    assert check_handler(EchoTransport())
    assert check_handler(build_stack(layers, FakeTransport([["Hel", 0.1, "lo"]], repeat=True)))


# --- the zoo ---------------------------------------------------------------------------------------------------------


def forgets_the_permit(call_next: Handler) -> Handler:
    """Acquires, awaits, releases: without `finally`."""
    slots = asyncio.Semaphore(1)

    async def handle(request: Request) -> Response:
        await slots.acquire()
        response = await call_next(request)
        slots.release()
        return response

    return handle


def loses_a_few_of_many_permits(call_next: Handler) -> Handler:
    """Releases on errors, not on cancellation; there are enough permits for a while."""
    slots = asyncio.Semaphore(15)

    async def handle(request: Request) -> Response:
        await slots.acquire()
        try:
            response = await call_next(request)
        except Exception:
            slots.release()
            raise
        slots.release()
        return response

    return handle


@middleware
async def swallows_the_cancellation(request: Request, call_next: Handler) -> Response:
    """Turns a cancellation into an answer."""
    try:
        return await call_next(request)
    except asyncio.CancelledError:
        return Response.of("cancelled", usage=Usage(1, 1))


@middleware
async def turns_the_cancellation_into_an_error(request: Request, call_next: Handler) -> Response:
    """As pybreaker does."""
    try:
        return await call_next(request)
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError):
            raise ServerError("failed") from error
        raise


@middleware
async def retries_after_delivery(request: Request, call_next: Handler) -> Response:
    """Hides the failure of a stream that has begun behind a canned answer."""
    try:
        return await call_next(request)
    except ServerError:
        return Response.of("par and something else", usage=Usage(1, 1))


@middleware
async def wraps_errors(request: Request, call_next: Handler) -> Response:
    """Replaces every error by its own."""
    try:
        return await call_next(request)
    except Exception as error:
        raise LLMError("it failed") from error


@middleware
async def builds_a_new_request(request: Request, call_next: Handler) -> Response:
    """Names the fields it knows, and loses the others."""
    return await call_next(Request.chat(request.model, [m.text for m in request.messages], max_tokens=5))


@middleware
async def drops_unknown_parameters(request: Request, call_next: Handler) -> Response:
    """Keeps a list of parameters that it knows."""
    known = {key: value for key, value in request.params.items() if key in ("temperature", "max_tokens")}
    return await call_next(request.evolve(params=known))


@middleware
async def rebuilds_the_response(request: Request, call_next: Handler) -> Response:
    """Returns the text and forgets the rest."""
    return Response.of((await call_next(request)).text)


@middleware
async def changes_the_request(request: Request, call_next: Handler) -> Response:
    """Writes into a value that belongs to the caller."""
    nested = request.params.get("nested")
    if nested is not None:
        nested["list"].append(3)
    return await call_next(request)


@middleware
async def lengthens_the_deadline(request: Request, call_next: Handler) -> Response:
    """Gives every call its own thirty hours."""
    return await call_next(request.evolve(deadline=asyncio.get_running_loop().time() + 108_000))


@middleware
async def rewrites_only_the_response(request: Request, call_next: Handler) -> Response:
    """Forgets that the text has been streamed."""
    response = await call_next(request)
    return response.with_text(response.text.upper())


@middleware
async def rewrites_only_the_events(request: Request, call_next: Handler) -> Response:
    """Forgets that the Response is returned too."""
    from llamina import Writer

    class Upper(Writer):
        def __init__(self, inner: Writer) -> None:
            super().__init__()
            self.inner = inner

        async def send(self, event: Any) -> None:
            await self.inner.send(TextDelta(event.text.upper()) if event.text else event)

    if request.sink is not None:
        request = request.evolve(sink=request.sink.through(Upper))
    return await call_next(request)


_seen_errors = 0


@middleware
async def keeps_state_in_the_module(request: Request, call_next: Handler) -> Response:
    """A breaker for the whole process, by mistake."""
    global _seen_errors
    if _seen_errors >= 5:
        raise ServerError("open for everyone")
    try:
        return await call_next(request)
    except ServerError:
        _seen_errors += 1
        raise


_tenant = contextvars.ContextVar("tenant", default="")


@middleware
async def leaves_a_context_variable_set(request: Request, call_next: Handler) -> Response:
    """Sets and never resets."""
    _tenant.set("mine")
    return await call_next(request)


def leaves_work_behind(call_next: Handler) -> Handler:
    """Shields the call and forgets it."""

    async def handle(request: Request) -> Response:
        return await asyncio.shield(asyncio.ensure_future(call_next(request)))

    return handle


@middleware
async def calls_twice(request: Request, call_next: Handler) -> Response:
    """Writes into a ledger of its own, so that its attempts are lost."""
    from llamina import Ledger

    return await call_next(request.evolve(ledger=Ledger()))


def one_answer_for_all(call_next: Handler) -> Handler:
    """A cache whose key is the model."""
    answers: dict[str, Response] = {}

    async def handle(request: Request) -> Response:
        if request.model not in answers:
            answers[request.model] = await call_next(request)
        return answers[request.model]

    return handle


def holds_a_lock_for_ever_after_an_error(call_next: Handler) -> Handler:
    """Releases on success and on cancellation, not on errors."""
    lock = asyncio.Lock()

    async def handle(request: Request) -> Response:
        await lock.acquire()
        try:
            response = await call_next(request)
        except asyncio.CancelledError:
            lock.release()
            raise
        lock.release()
        return response

    return handle


@middleware
async def answers_in_place_of_the_provider(request: Request, call_next: Handler) -> Response:
    """Answers each failure, also the ones that it cannot mend."""
    with contextlib.suppress(Exception):
        return await call_next(request)
    return Response(Message.assistant("sorry"), Usage(1, 1), "stop")


ZOO: dict[str, tuple[Middleware, str]] = {
    "permit lost on cancel": (forgets_the_permit, "cancellation"),
    "permit lost on error": (forgets_the_permit, "free-after-error"),
    "permit lost on leaving": (forgets_the_permit, "free-after-leaving"),
    "a few of many permits lost": (loses_a_few_of_many_permits, "cancellation"),
    "lock lost on error": (holds_a_lock_for_ever_after_an_error, "free-after-error"),
    "cancellation swallowed": (swallows_the_cancellation, "cancellation"),
    "cancellation turned into an error": (turns_the_cancellation_into_an_error, "cancellation"),
    "two attempts in one stream": (retries_after_delivery, "nothing-twice"),
    "errors wrapped": (wraps_errors, "errors-pass-through"),
    "errors answered": (answers_in_place_of_the_provider, "errors-pass-through"),
    "request rebuilt": (builds_a_new_request, "request-reaches-below"),
    "unknown parameters dropped": (drops_unknown_parameters, "request-reaches-below"),
    "response rebuilt": (rebuilds_the_response, "response-comes-back"),
    "request changed": (changes_the_request, "request-is-a-value"),
    "deadline lengthened": (lengthens_the_deadline, "deadline-never-grows"),
    "response rewritten alone": (rewrites_only_the_response, "stream-is-the-response"),
    "events rewritten alone": (rewrites_only_the_events, "stream-is-the-response"),
    "state in the module": (keeps_state_in_the_module, "fresh-state"),
    "context variable left": (leaves_a_context_variable_set, "no-context-leak"),
    "work left behind": (leaves_work_behind, "free-after-leaving"),
    "ledger replaced": (calls_twice, "ledger-is-complete"),
    "answers mixed up": (one_answer_for_all, "concurrent-use"),
}


@pytest.mark.parametrize("name", ZOO)
def test_the_kit_catches_a_wrong_layer_by_the_clause_it_breaks(name: str) -> None:
    """Each mistake is one that real projects shipped."""
    layer, clause = ZOO[name]

    with pytest.raises(ConformanceError) as caught:
        check_middleware(lambda: layer)

    assert clause in [broken.clause for broken in caught.value.broken], str(caught.value)
    assert clause in str(caught.value)
