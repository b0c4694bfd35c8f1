"""Clauses about the layer as an object: where it can be used, what it says of itself, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from llamina.errors import ConfigurationError, InvalidRequestError, LLMError, ServerError
from llamina.events import Event
from llamina.order import EFFECTS
from llamina.protocol import Response
from llamina.sink import Sink, Writer

from ._bench import Bench, Clauses, Seen, expect, read_all, whatever_comes
from .clock import simulated_time
from .fake import FakeTransport

__all__ = ["LIFE"]

LIFE = Clauses()
_clause = LIFE.clause


@_clause("several-loops", "one layer object works in several event loops, one after the other", "4.4")
def _several_loops(bench: Bench) -> None:
    layer = bench.build()
    stack, _ = bench.stack("hello", layer=layer)

    async def use(number: int) -> None:
        async with stack:
            await stack(bench.numbered(number))
            await read_all(stack, bench.numbered(number + 1))

    for number in (0, 10):
        with simulated_time(allow_leaks=True) as clock:
            try:
                clock.run(use(number))
            except Exception as error:
                which = "the second" if number else "the first"
                hint = "keep no loop, future or task from construction"
                raise Seen(f"{hint}: in {which} loop it raised {type(error).__name__}: {error}") from error


class _Kept(Sink):
    """A sink that somebody else wrote: no stack has made it."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def begin(self) -> Writer:
        return _Keeping(self.texts)


class _Keeping(Writer):
    def __init__(self, texts: list[str]) -> None:
        super().__init__()
        self._texts = texts

    async def send(self, event: Event) -> None:
        self._texts.append(event.text)


@_clause(
    "works-alone", "round a bare handler, without a stack, it works too: then there is no call and no ledger", "10.6"
)
async def _works_alone(bench: Bench) -> None:
    for streams in (False, True):
        sink = _Kept() if streams else None
        layer = bench.build()
        try:
            response = await layer(FakeTransport([["Hel", 0.1, "lo"]] * 3))(bench.request.evolve(sink=sink))
        except (AttributeError, TypeError, AssertionError) as error:
            raise Seen(f"{type(error).__name__}: {error}; `request.call` and `.ledger` may be None") from error
        expect(isinstance(response, Response), f"it returned a {type(response).__name__}")
        shown = response.text if sink is None else "".join(sink.texts)
        expect(response.text.startswith(shown), f"{shown!r} was streamed, {response.text!r} was returned")
        await _close(layer)


@_clause(
    "statistics-are-plain", "`stats()` gives plain values under dotted names, and reading them changes nothing", "4.6"
)
async def _statistics_are_plain(bench: Bench) -> None:
    layer = bench.build()
    stats = getattr(layer, "stats", None)
    if stats is None:
        return
    stack, _ = bench.stack(["hello", ServerError("down"), *(["hello"] * 4)], layer=layer)
    for number in range(3):
        with contextlib.suppress(LLMError):
            await stack(bench.numbered(number))
    first = stats()
    expect(isinstance(first, Mapping), f"stats() gave a {type(first).__name__} in place of a mapping")
    expect(dict(first) == dict(stats()), "two readings, one right after the other, differ")
    for name, value in first.items():
        expect(isinstance(name, str) and "." in name.strip("."), f"the name {name!r} is not like 'layer.what'")
        for plain in value.values() if isinstance(value, Mapping) else (value,):
            good = plain is None or isinstance(plain, str | int | float | Decimal)
            expect(good, f"{name} has a {type(plain).__name__}; give numbers, texts, booleans, or a mapping to them")


_STEP = 300
_ENOUGH = 1500  # a layer may have rows for some users, a thousand say


@_clause("statistics-are-bounded", "the number of statistics does not grow with users, models or requests", "4.6")
async def _statistics_are_bounded(bench: Bench) -> None:
    layer = bench.build()
    stats = getattr(layer, "stats", None)
    if stats is None:
        return
    stack, _ = bench.stack("hello", layer=layer)

    async def rows_after(first: int) -> int:
        for number in range(first, first + _STEP):
            tags = {name: f"{name} {number}" for name in ("user", "tenant", "project")}
            request = bench.numbered(number).evolve(model=f"model {number}", tags={**bench.request.tags, **tags})
            with contextlib.suppress(LLMError):  # it may not like the model
                await stack(request)
        return sum([len(value) if isinstance(value, Mapping) else 1 for value in stats().values()])

    before = await rows_after(0)
    for first in range(_STEP, _ENOUGH, _STEP):
        rows = await rows_after(first)
        if rows - before < _STEP:
            return
        before = rows
    expect(False, f"after {_ENOUGH} users and models it has {before} statistics; keep a bounded number")


@_clause(
    "nothing-left-behind", "when it is closed no task of its own runs on; closing twice, or unused, is no error", "4.7"
)
async def _nothing_left_behind(bench: Bench) -> None:
    await _close(bench.build())
    layer = bench.build()
    script = ["hello", InvalidRequestError("bad"), ["Hel", 3600.0, "lo"], [3600.0, "late"], ServerError("down")]
    stack, _ = bench.stack([*script, *(["hello"] * 9)], layer=layer)
    for number in range(2):
        async with whatever_comes():
            await stack(bench.numbered(number))
    with contextlib.suppress(LLMError):  # a layer that asks more than once is further on in the script
        async with stack.stream(bench.numbered(2)) as stream:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await anext(stream)
    with contextlib.suppress(TimeoutError, LLMError):
        async with asyncio.timeout(5):
            await stack(bench.numbered(3))
    for _ in range(2):
        async with whatever_comes():
            await stack(bench.request)
    turns = itertools.cycle(["hello", [3600.0, "late"]])  # who asks twice for one answer must not leave the slower
    stack, _ = bench.stack(lambda _: next(turns), layer=layer)
    async with whatever_comes():
        await stack(bench.numbered(4))
    loop = asyncio.get_running_loop()
    started = loop.time()
    await _close(layer)
    await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    names = ", ".join([getattr(task.get_coro(), "__qualname__", task.get_name()) for task in left])
    for task in left:
        task.cancel()
    where = "" if hasattr(layer, "aclose") else "; write `async def aclose(self)`, or end them with the call"
    expect(not left, f"tasks that the layer began still ran: {names}{where}")
    expect(loop.time() - started < 3600, f"closing took {loop.time() - started:g} s")


async def _close(layer: Any) -> None:
    close = getattr(layer, "aclose", None)
    if close is None:
        return
    await close()
    await close()


@_clause(
    "declares-itself", "`effects`, `explain` and `to_config`, where it has them, are what the protocol says", "4.8"
)
async def _declares_itself(bench: Bench) -> None:
    layer = bench.build()
    effects = getattr(layer, "effects", None)
    if effects is not None:
        expect(isinstance(effects, frozenset | set | tuple | list), f"`effects` is a {type(effects).__name__}")
        unknown = sorted([str(word) for word in effects if word not in EFFECTS])
        expect(not unknown, f"`effects` has {', '.join(unknown)}; the words are in `llamina.order.EFFECTS`")
    explain = getattr(layer, "explain", None)
    if explain is not None:
        for request in (None, bench.request):
            text = explain(request)
            good = isinstance(text, str) and text.strip()
            expect(bool(good), f"`explain({'None' if request is None else 'request'})` gave {text!r}, not a sentence")
    to_config = getattr(layer, "to_config", None)
    if to_config is not None:
        try:
            table = to_config()
        except ConfigurationError:
            return  # it cannot be said in plain data, and it says so
        plain = isinstance(table, Mapping) and all([isinstance(key, str) for key in table])
        expect(plain, f"`to_config()` gave {table!r}, not a table of settings")
