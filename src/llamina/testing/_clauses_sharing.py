"""Clauses about many callers: they do not mix, do not harm each other, and lend each other nothing."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
from typing import Any

from llamina.errors import InvalidRequestError, LLMError, ServerError
from llamina.messages import Usage
from llamina.protocol import Request, Response
from llamina.stack import Stack

from ._bench import Bench, Clauses, expect, read_all, whatever_comes

__all__ = ["SHARING"]

SHARING = Clauses()
_clause = SHARING.clause


async def _plain(stack: Stack, request: Request) -> Response:
    return await stack(request)


@_clause("concurrent-use", "many calls at once through one layer get each its own answer", "4.4")
async def _concurrent_use(bench: Bench) -> None:
    def echo(request: Request) -> Any:
        return [0.1, f"answer {request.params['conformance_number']}"]

    # What each request gets when it is alone: a layer may rewrite answers, but not mix them up.
    alone = [(await bench.stack(echo)[0](bench.numbered(number))).text for number in range(20)]
    stack, fake = bench.stack(echo)
    try:
        async with asyncio.timeout(36_000), asyncio.TaskGroup() as group:
            plain = [group.create_task(_plain(stack, bench.numbered(number))) for number in range(10)]
        async with asyncio.timeout(36_000), asyncio.TaskGroup() as group:
            streamed = [group.create_task(read_all(stack, bench.numbered(number))) for number in range(10, 20)]
    except* Exception as errors:  # noqa: BLE001 - the first of them is the finding
        raise errors.exceptions[0] from None
    answers = [task.result() for task in plain]
    streams = [task.result() for task in streamed]
    texts = [response.text for response in answers] + [response.text for _, response in streams]
    expect(texts == alone, f"answers were mixed up: {texts} instead of {alone}")
    expect(fake.in_flight == 0, f"{fake.in_flight} calls of the provider still ran")


@_clause("reusable", "one layer object can serve several stacks, one after the other and at once", "4.4")
async def _reusable(bench: Bench) -> None:
    layer = bench.build()
    one, below_one = bench.stack("hello", layer=layer)
    other, below_other = bench.stack("hello", layer=layer)
    first, second = await asyncio.gather(one(bench.numbered(1)), other(bench.numbered(2)))
    expect(bool(first.text) and first.text == second.text, f"got {first.text!r} and {second.text!r}")
    calls = f"its first stack called below {below_one.calls} times, its second {below_other.calls} times"
    hint = "keep the next handler in a closure, not on the object"
    expect(below_one.calls == below_other.calls, f"asked once each, {calls}; {hint}")
    expect((await one(bench.numbered(3))).text == first.text, "the second use gave another answer")


@_clause("tenants-are-apart", "what one tenant was answered never reaches another who asks the same", "2.6")
async def _tenants_are_apart(bench: Bench) -> None:
    def of(tenant: str) -> Request:
        return bench.request.evolve(tags={**bench.request.tags, "tenant": tenant})

    def answers(request: Request) -> Any:
        return [1.0, f"answer for {request.tags['tenant']}"]

    names = ("ada", "bob", "cleo")
    alone = [(await bench.stack(answers)[0](of(name))).text for name in names]
    stack, _ = bench.stack(answers)
    both = await asyncio.gather(*[_plain(stack, of(name)) for name in names[:2]])
    texts = [response.text for response in both] + [(await stack(of(names[2]))).text]
    for name, text, own in zip(names, texts, alone, strict=True):
        expect(text == own, f"{name} asked and got {text!r}; keep apart by the tag tenant what callers share")


_runs = itertools.count(1_000_000)


@_clause(
    "fresh-state", "two layers that were built apart share nothing: what one has seen does not change the other", "4.4"
)
async def _fresh_state(bench: Bench) -> None:
    hint = "keep state on the object, not on its class or module"
    request = bench.numbered(next(_runs))  # one that nobody has ever asked
    untouched, asked_first = bench.stack("hello")
    expected = (await untouched(request)).text
    spoiled, _ = bench.stack([ServerError("down")], repeat=True)
    for number in range(10):
        async with whatever_comes():
            await spoiled(bench.numbered(number))
    clean, asked_second = bench.stack("hello")
    try:
        text = (await clean(request)).text
    except LLMError as error:
        expect(False, f"a fresh layer failed with {error!r} after another had seen failures; {hint}")
    expect(text == expected, f"a fresh layer was changed by what another one had seen; {hint}")
    known = asked_first.calls == 1 and asked_second.calls == 0
    expect(not known, f"a fresh layer knew the answer that another one had been given; {hint}")


@_clause("no-context-leak", "the caller's context variables stay the caller's: none is left changed by the call", "4.5")
async def _no_context_leak(bench: Bench) -> None:
    before = dict(contextvars.copy_context())
    stack, _ = bench.stack("hello")
    await stack(bench.request)
    failing, _ = bench.stack(InvalidRequestError("bad"))
    with contextlib.suppress(LLMError):
        await failing(bench.request)
    after = dict(contextvars.copy_context())
    changed = [variable.name for variable in after if variable not in before or before[variable] is not after[variable]]
    expect(not changed, f"context variables changed in the caller's context: {changed}; reset them in `finally`")


_caller: contextvars.ContextVar[str] = contextvars.ContextVar("conformance_caller", default="")


@_clause(
    "context-is-not-lent",
    "work that serves several callers, or outlives its caller, does not run in the context of one of them",
    "4.7",
)
async def _context_is_not_lent(bench: Bench) -> None:
    waiting: set[str] = set()
    seen: list[str] = []
    outlived: list[str] = []

    async def provider(_: Request) -> Response:
        mine = _caller.get()
        seen.append(mine)
        await asyncio.sleep(2)
        if mine and mine not in waiting:
            outlived.append(mine)
        return Response.of("hello", usage=Usage(1, 1))

    async def ask(name: str) -> None:
        _caller.set(name)
        waiting.add(name)
        try:
            await stack(bench.request)
        finally:
            waiting.discard(name)

    hint = "start shared work with `create_task(..., context=Context())`"
    stack = bench.round(provider)
    await asyncio.gather(ask("first"), ask("second"))
    lent = len(seen) == 1 and seen[0] != ""
    expect(not lent, f"one call below served two callers, and ran in the context of the {''.join(seen[:1])}; {hint}")
    for name in ("third", "fourth"):
        await asyncio.sleep(3)
        await asyncio.create_task(ask(name))
    await asyncio.sleep(10)
    expect(not outlived, f"a call below ran on in the context of the {''.join(outlived[:1])}, who had gone; {hint}")


@_clause("leaving-harms-nobody", "a caller who is cancelled does not disturb another who asks the same", "4.4", "9.4")
async def _leaving_harms_nobody(bench: Bench) -> None:
    alone = (await bench.stack([[2.0, "hello"]], repeat=True)[0](bench.request)).text
    for leaves in (0, 1):
        stack, fake = bench.stack(lambda _: [2.0, "hello"])
        tasks = [asyncio.ensure_future(_plain(stack, bench.request)) for _ in range(3)]
        await asyncio.sleep(1)
        tasks[leaves].cancel()
        await asyncio.wait(tasks, timeout=36_000)
        for place, task in enumerate(tasks):
            if place == leaves:
                continue
            expect(task.done(), "another caller waited for ever")
            expect(not task.cancelled(), "another caller, who asked the same, was cancelled with him")
            error = task.exception()
            expect(error is None, f"another caller, who asked the same, got {error!r}")
            expect(task.result().text == alone, f"another caller, who asked the same, got {task.result().text!r}")
        expect(fake.in_flight == 0, f"{fake.in_flight} calls of the provider still ran")


@_clause("deadlines-are-personal", "the deadline of one caller cuts nothing that another asks for", "5.2")
async def _deadlines_are_personal(bench: Bench) -> None:
    def patient(request: Request) -> Any:  # as a transport does, it gives up at the deadline
        left = request.remaining
        return [2.0, "hello"] if left is None or left > 2 else [left, ServerError("the deadline has passed")]

    stack, _ = bench.stack(patient)
    hurried = bench.request.evolve(deadline=asyncio.get_running_loop().time() + 1)
    tasks = [asyncio.ensure_future(_plain(stack, request)) for request in (hurried, bench.request)]
    await asyncio.wait(tasks, timeout=36_000)
    expect(all([task.done() for task in tasks]), "a caller waited for ever")
    if not tasks[0].cancelled():
        tasks[0].exception()
    error = tasks[1].exception() if not tasks[1].cancelled() else asyncio.CancelledError()
    hint = "hand no deadline into shared work, and keep it for each caller"
    expect(error is None, f"a caller without a deadline got {error!r}, beside one whose deadline passed; {hint}")
