"""The blocking faces from many threads: one loop, nothing lost, and every thread gets its own."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llamina import (
    Budget,
    BudgetExceededError,
    Client,
    CostMeter,
    Dedup,
    LLMError,
    Request,
    Response,
    Retry,
    ServerError,
    TextDelta,
    Timeout,
    Usage,
    build_stack,
    middleware,
)
from llamina.testing import FakeTransport, answer

REQUEST = Request.chat("m", "hi")


def on_the_loop(stack: Any, function: Any) -> Any:
    """What *function* returns in the loop of the blocking faces."""

    async def handle(request: Request) -> Response:
        return Response.of("", extra={"found": function()})

    return build_stack([], handle).blocking()(REQUEST).extra["found"]


def test_sixty_four_threads_make_one_call_of_equal_requests() -> None:
    """Dedup sees them all on one loop: the provider is asked once, everybody is answered."""
    everybody = asyncio.Event()
    fake = FakeTransport([[everybody, "hello"]])
    dedup = Dedup()
    stack = build_stack([dedup], fake)

    @middleware
    async def release(request: Request, call_next: Any) -> Response:
        if dedup.stats()["dedup.joined"] == 62:
            everybody.set()
        return await call_next(request)

    client = Client(build_stack([release], stack), model="m").blocking()
    with ThreadPoolExecutor(64) as pool:
        texts = list(pool.map(lambda _: client.chat("hi").text, range(64)))

    assert texts == ["hello"] * 64
    assert fake.calls == 1


def test_sixty_four_threads_lose_nothing() -> None:
    """Calls and streams of many threads at once: each gets its own answer, whole."""

    async def echo(request: Request) -> Response:
        text, out = request.messages[-1].text, request.begin()
        for number in range(200):
            await out.send(TextDelta(f"{text}.{number} "))
        return Response.of("".join([f"{text}.{number} " for number in range(200)]))

    client = Client(build_stack([Retry(), Timeout(60)], echo), model="m").blocking()

    def use(number: int) -> bool:
        streamed = "".join(client.stream(f"{number}").text)
        return streamed == client.chat(f"{number}").text == "".join([f"{number}.{piece} " for piece in range(200)])

    with ThreadPoolExecutor(64) as pool:
        assert all(pool.map(use, range(256)))


def test_a_budget_holds_across_threads() -> None:
    """Not one call more than the budget has room for."""
    meter = CostMeter(prices={"m": {"input": "0", "output": "1"}}, budgets=[Budget("0.01")])
    fake = FakeTransport(answer("x", usage=Usage(0, 1000)))
    client = Client(build_stack([meter], fake), model="m", max_tokens=1000).blocking()

    def use(number: int) -> str:
        try:
            return client.chat(f"{number}").text
        except BudgetExceededError:
            return "refused"

    with ThreadPoolExecutor(32) as pool:
        outcomes = list(pool.map(use, range(64)))

    assert outcomes.count("x") == fake.calls == 10


def test_all_faces_share_one_loop() -> None:
    """Stacks and clients of different threads meet on one loop, which is not the caller's."""
    found = [on_the_loop(None, asyncio.get_running_loop)]
    thread = threading.Thread(target=lambda: found.append(on_the_loop(None, asyncio.get_running_loop)))

    thread.start()
    thread.join()

    assert found[0] is found[1]
    assert on_the_loop(None, threading.current_thread).daemon


def test_layers_see_the_context_of_the_calling_thread() -> None:
    """Each call, and each stream, has a copy of the context variables that its thread has."""
    user = contextvars.ContextVar("user", default="nobody")

    async def who(request: Request) -> Response:
        name = user.get()
        user.set("changed below")
        return Response.of(name)

    client = Client(who, model="m").blocking()

    def use(name: str) -> list[str]:
        user.set(name)
        return [client.chat("hi").text, *client.stream("hi").text, user.get()]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(use, "abcd")) == [[name] * 3 for name in "abcd"]


def test_it_works_where_an_event_loop_runs_already() -> None:
    """As in a notebook: the call is made on the other loop, and this one waits."""
    client = Client(FakeTransport(["hello", ["Hel", "lo"]]), model="m").blocking()

    async def cell() -> list[str]:
        return [client.chat("hi").text, *client.stream("hi").text]

    assert asyncio.run(cell()) == ["hello", "Hel", "lo"]


def test_the_loops_own_thread_is_refused() -> None:
    """A layer that uses a blocking face would wait for itself for ever: it gets a clear error."""
    inner = Client(FakeTransport("hello"), model="m").blocking()

    async def naive(request: Request) -> Response:
        return inner.chat("hi")

    async def naive_stream(request: Request) -> Response:
        return Response.of("".join(inner.stream("hi").text))

    for handler in (naive, naive_stream):
        with pytest.raises(RuntimeError, match="thread of its own event loop"):
            build_stack([], handler).blocking()(REQUEST)


def test_a_cancellation_from_below_is_an_error_that_sync_code_knows() -> None:
    """A `CancelledError` would pass `except Exception` in a thread that nobody has cancelled."""

    async def gives_up(request: Request) -> Response:
        raise asyncio.CancelledError

    stack = build_stack([], gives_up).blocking()

    with pytest.raises(LLMError, match="cancelled from below"):
        stack(REQUEST)
    with pytest.raises(LLMError, match="cancelled from below"), stack.stream(REQUEST) as stream:
        list(stream)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_layer_that_exits_does_not_stop_the_loop_of_the_others(kind: type[BaseException]) -> None:
    """Who called it gets what it raised; the next call is answered."""

    async def exits(request: Request) -> Response:
        raise kind

    stack = build_stack([], exits).blocking()

    with pytest.raises(kind):
        stack(REQUEST)
    with pytest.raises(kind), stack.stream(REQUEST) as stream:
        list(stream)
    assert build_stack([], FakeTransport("hello")).blocking()(REQUEST).text == "hello"


def test_an_error_leaves_no_cycle_behind() -> None:
    """What an error holds is freed with it, without the garbage collector."""

    async def down(request: Request) -> Response:
        raise ServerError("down")

    stack = build_stack([], down).blocking()
    for _ in range(3):
        with pytest.raises(ServerError):
            stack(REQUEST)
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(50):
            with contextlib.suppress(ServerError):
                stack(REQUEST)
        assert len(gc.get_objects()) - before < 50
    finally:
        gc.enable()


def test_a_stack_of_a_face_has_its_statistics_and_is_closed_with_it() -> None:
    """`stats`, `close` and the block are those of the stack."""
    fake = FakeTransport("hello")

    with build_stack([Retry()], fake).blocking() as stack:
        stack(REQUEST)

    assert fake.closed == 1
    assert "retry.retries" in stack.stats() or stack.stats()
    assert repr(stack) == "<BlockingStack Retry > FakeTransport>"


def test_a_request_that_is_none_is_refused() -> None:
    """With the sentence that the stack has for it."""
    stack: Any = build_stack([], FakeTransport("hello")).blocking()

    with pytest.raises(LLMError, match="a handler takes a Request"):
        stack("hi")
    with pytest.raises(LLMError, match="a handler takes a Request"):
        stack.stream("hi")
