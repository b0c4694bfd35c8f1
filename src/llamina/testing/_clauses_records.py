"""Clauses about the ledger: each try is on it once, settles, and counts in the call that it belongs to."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from llamina.call import Attempt, Call, Ledger
from llamina.errors import LLMError, ServerError
from llamina.protocol import Handler, Request, Response, middleware
from llamina.stack import Stack

from ._bench import Bench, Clauses, expect, read_all
from .fake import FakeTransport

__all__ = ["RECORDS"]

RECORDS = Clauses()
_clause = RECORDS.clause


@_clause(
    "ledger-is-complete",
    "each try that reaches the provider is on the ledger of its call, exactly once",
    "7.1",
    "8.3",
)
async def _ledger_is_complete(bench: Bench) -> None:
    for streams in (False, True):
        stack, fake = bench.stack(["hello", ServerError("down"), "hello", "hello"])
        for number in range(2):
            request = bench.numbered(number)
            before = fake.calls
            try:
                call = (await read_all(stack, request))[1].call if streams else (await stack(request)).call
            except LLMError as error:
                expect(error.call is not None, "the error that came out has no call")
                call = error.call
            tries = fake.calls - before
            expect(
                len(call.attempts) == tries and len({id(one) for one in call.attempts}) == tries,
                f"the provider was asked {tries} times, the ledger has {len(call.attempts)} attempts",
            )


@_clause(
    "ledger-node-is-kept", "the handlers below record into the request's ledger node, or a child of it", "5.1", "5.4"
)
async def _ledger_node_is_kept(bench: Bench) -> None:
    branch = Ledger()

    def open_branch(call_next: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            return await call_next(request.evolve(ledger=branch))

        return handle

    fake = FakeTransport("hello")
    await bench.round(fake, above=[open_branch])(bench.request)
    seen = len(branch.attempts)
    expect(seen == fake.calls, f"the branch above saw {seen} attempts, the provider was asked {fake.calls} times")


@_clause(
    "paid-once",
    "a try of the provider is on one call only: who gets its answer from elsewhere pays nothing",
    "7.1",
    "7.6",
)
async def _paid_once(bench: Bench) -> None:
    stack, fake = bench.stack(lambda _: [1.0, "hello"])
    responses = await asyncio.gather(*[_plain(stack, bench.request) for _ in range(3)])
    responses.append(await stack(bench.request))
    recorded = sum([len(response.call.attempts) for response in responses])
    hint = "let no call carry the attempts of another"
    expect(recorded == fake.calls, f"{fake.calls} tries of the provider are {recorded} attempts on 4 calls; {hint}")


@_clause(
    "cut-calls-are-settled",
    "a try that is left, cut or cancelled settles, with the tokens that it may have cost and what had come",
    "7.3",
    "7.5",
)
async def _cut_calls_are_settled(bench: Bench) -> None:
    calls: list[Call] = []

    @middleware
    async def spy(request: Request, call_next: Handler) -> Response:
        assert request.call is not None
        calls.append(request.call)
        return await call_next(request)

    def fresh(*pieces: Any) -> Stack:
        return bench.round(FakeTransport([["Hel", *pieces]], repeat=True), above=[spy])

    async with fresh(3600.0, "lo").stream(bench.request) as stream:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await anext(stream)
    await asyncio.sleep(10)
    _settled(calls[-1].attempts, "a consumer had left its stream")

    task = asyncio.ensure_future(_plain(fresh(3600.0, "lo"), bench.request))
    await asyncio.sleep(10)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(10)
    _settled(calls[-1].attempts, "its caller was cancelled")

    try:
        await read_all(fresh(ServerError("cut")), bench.request)
    except LLMError as error:
        _settled(calls[-1].attempts, "the provider had cut it")
        expect(error.partial is not None, "the error lost its `partial`, what had come before the cut")


def _settled(attempts: list[Attempt], when: str) -> None:
    for attempt in attempts:
        expect(attempt.settled, f"10 s after {when}, the attempt was still in flight on the ledger")
        usage = attempt.usage
        expect(usage is not None and usage.total_tokens > 0, f"after {when}, the attempt has no usage: it looks free")


async def _plain(stack: Stack, request: Request) -> Response:
    return await stack(request)


@_clause(
    "stacks-nest",
    "in a stack inside a stack, a try is recorded once, in the call of the outer one",
    "1.4",
    "5.6",
    "7.2",
)
async def _stacks_nest(bench: Bench) -> None:
    for layer_is in ("inside", "outside"):
        for streams in (False, True):
            fake = FakeTransport("hello")
            inner = bench.round(fake) if layer_is == "inside" else bench.round(fake, layer=_nothing)
            seen: list[Call | None] = []
            note = _noting(seen)
            outer = (
                bench.round(inner, layer=_nothing, above=[note])
                if layer_is == "inside"
                else bench.round(inner, above=[note])
            )
            request = bench.request
            response = (await read_all(outer, request))[1] if streams else await outer(request)
            count = len(response.call.attempts)
            tries = f"with the layer {layer_is}, the provider was asked {fake.calls} times"
            expect(count == fake.calls, f"{tries}, and {count} attempts were recorded")
            expect(response.call is seen[0], f"with the layer {layer_is}, the answer carries another call")


def _nothing(call_next: Handler) -> Handler:
    return call_next


def _noting(seen: list[Call | None]) -> Any:
    @middleware
    async def note(request: Request, call_next: Handler) -> Response:
        seen.append(request.call)
        return await call_next(request)

    return note
