"""The conformance kit: does a layer keep the protocol?

    check_middleware(lambda: MyLayer(...))       # raises ConformanceError, which names every clause that was broken

Each check builds a fresh layer with *factory*, puts it round a fake provider and plays one situation in simulated time:
plain and streamed calls, failures, cancellations injected at every point at which the call waits, many calls at once.

The one surprise: a layer may refuse a request (a limiter, a filter); give such a layer a *request* that it lets through.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from attrs import field, frozen

from llamina.call import Ledger
from llamina.errors import InvalidRequestError, LLMError, ServerError
from llamina.events import TextDelta, fold
from llamina.messages import Message, Text, UnknownPart, Usage
from llamina.protocol import Handler, Middleware, Request, Response
from llamina.stack import Stack, build_stack

from .clock import simulated_time
from .fake import FakeTransport
from .script import answer

__all__ = ["Broken", "ConformanceError", "check_handler", "check_middleware"]


@frozen
class Broken:
    """One clause of the protocol that was broken, and how it showed."""

    clause: str
    says: str
    seen: str

    def __str__(self) -> str:
        return f"{self.clause}: {self.says}\n    seen: {self.seen}"


class ConformanceError(AssertionError):
    """What was checked does not keep the protocol; `broken` lists the clauses."""

    def __init__(self, subject: str, broken: list[Broken]) -> None:
        self.broken = broken
        count = f"{len(broken)} clause{'s' if len(broken) != 1 else ''}"
        super().__init__(f"{subject} breaks {count} of the protocol:\n" + "\n".join([f"  {one}" for one in broken]))


class _Seen(AssertionError):
    """A check found something; its text goes into the report."""


def _expect(holds: bool, seen: str) -> None:  # noqa: FBT001
    if not holds:
        raise _Seen(seen)


@frozen
class _Bench:
    """What one check works with: a way to build the layer, and a request that it lets through."""

    build: Callable[[], Middleware]
    request: Request
    _made: list[Stack] = field(init=False, factory=list)

    def stack(self, script: Any, *, layer: Middleware | None = None, repeat: bool = False) -> tuple[Stack, FakeTransport]:
        fake = FakeTransport(script, repeat=repeat)
        stack = build_stack([self.build() if layer is None else layer], fake)
        self._made.append(stack)
        return stack, fake

    def numbered(self, number: int) -> Request:
        """Requests that differ, so that a cache or a single flight keeps them apart."""
        return self.request.with_params(conformance_number=number)

    async def close(self) -> None:
        for stack in self._made:
            await stack.aclose()


Check = Callable[[_Bench], Awaitable[None]]
_CHECKS: list[tuple[str, str, Check]] = []


def _clause(name: str, says: str) -> Callable[[Check], Check]:
    def enter(check: Check) -> Check:
        _CHECKS.append((name, says, check))
        return check

    return enter


def check_middleware(factory: Callable[[], Middleware], *, request: Request | None = None) -> list[str]:
    """Run every check against the layers that *factory* builds; the names of the clauses that held.

    Args:
        factory: builds a fresh layer; called once or more per check.
        request: a chat request that the layer lets through; by default a short greeting.

    Raises:
        ConformanceError: clauses were broken; the message and `.broken` say which and how.
    """
    request = request if request is not None else Request.chat("model", "hello", tags={"user": "ada"})
    return _run(_CHECKS, lambda: _Bench(factory, request), _subject(factory))


def _subject(factory: Callable[[], Any]) -> str:
    made = factory()
    return str(getattr(made, "__qualname__", None) or type(made).__name__)


def _run(checks: list[tuple[str, str, Any]], bench: Callable[[], Any], subject: str) -> list[str]:
    broken: list[Broken] = []
    for name, says, check in checks:
        try:
            _play(check, bench())
        except _Seen as seen:
            broken.append(Broken(name, says, str(seen)))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a layer raises is a finding
            broken.append(Broken(name, says, f"{type(error).__name__}: {error}"))
    if broken:
        raise ConformanceError(subject, broken)
    return [name for name, _, _ in checks]


def _play(check: Check, bench: Any) -> None:
    async def play() -> None:
        try:
            await check(bench)
        finally:
            await bench.close()

    with simulated_time() as clock:
        clock.run(play())


class _CancelAt:
    """Awaits a call and cancels the task that does so at the *step*-th point at which the call waits."""

    def __init__(self, call: Awaitable[Any], step: int) -> None:
        self._call = call
        self._step = step
        self.struck = False

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._call.__await__()
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        steps = 0
        send: Any = None
        throw: BaseException | None = None
        while True:
            try:
                waits_for = inner.send(send) if throw is None else inner.throw(throw)  # type: ignore[attr-defined]
            except StopIteration as stop:
                return stop.value
            steps += 1
            if steps == self._step:
                self.struck = True
                loop.call_soon(task.cancel)
            send, throw = None, None
            try:
                send = yield waits_for
            except BaseException as error:  # noqa: BLE001 - handed to the call, where it belongs
                throw = error


_PIECES: list[Any] = [0.25, "Hel", 0.25, "lo", 0.25]


async def _strike(run: Callable[[], Awaitable[Any]], cancel: Callable[[asyncio.Task[Any]], Awaitable[bool]]) -> bool:
    """Run a call and cancel it; whether the cancellation struck before it had ended.

    The task must then be cancelled: a cancellation that does not come out was swallowed or turned into something else.
    """

    async def call() -> Any:
        return await run()

    task = asyncio.ensure_future(call())
    struck = await cancel(task)
    await asyncio.wait([task], timeout=3600)
    _expect(task.done(), "an hour after it was cancelled the call had not ended")
    if not struck:
        task.exception() if not task.cancelled() else None
        return False
    if not task.cancelled():
        error = task.exception()
        seen = f"raised {error!r}" if error is not None else f"returned {task.result()!r}"
        raise _Seen(f"the task was cancelled, but it {seen}")
    return True


async def _every_cancellation(bench: _Bench, run: Callable[[Stack, Request], Awaitable[Any]]) -> None:
    """Cancel at every point at which the call waits, in every turn of the loop, and at moments in between."""
    moments: list[Callable[[Stack, Request], Awaitable[bool]]] = []

    def at_step(step: int) -> Callable[[Stack, Request], Awaitable[bool]]:
        async def strike(stack: Stack, request: Request) -> bool:
            cancelling = _CancelAt(run(stack, request), step)

            async def cancel(task: asyncio.Task[Any]) -> bool:
                await asyncio.wait([task], timeout=3600)
                return cancelling.struck

            return await _strike(lambda: cancelling, cancel)

        return strike

    def after(seconds: float, turns: int) -> Callable[[Stack, Request], Awaitable[bool]]:
        async def cancel(task: asyncio.Task[Any]) -> bool:
            if seconds:
                await asyncio.sleep(seconds)
            for _ in range(turns):
                await asyncio.sleep(0)
            return task.cancel()

        async def strike(stack: Stack, request: Request) -> bool:
            return await _strike(lambda: run(stack, request), cancel)

        return strike

    moments += [after(0, turns) for turns in range(8)]
    moments += [after(seconds, turns) for seconds in (0.25, 0.5, 0.75) for turns in range(4)]
    for number, strike in enumerate(moments):
        await _struck_then_free(bench, strike, number)
    for step in range(1, 60):
        if not await _struck_then_free(bench, at_step(step), 1000 + step):
            return


async def _struck_then_free(bench: _Bench, strike: Any, number: int) -> bool:
    stack, fake = bench.stack([_PIECES] * 3)
    struck: bool = await strike(stack, bench.numbered(number))
    await asyncio.sleep(30)
    _expect(fake.in_flight == 0, f"after the cancellation {fake.in_flight} calls of the provider still ran")
    await _still_works(stack, bench.numbered(number + 10_000), "after a cancellation")
    return struck


async def _still_works(stack: Stack, request: Request, when: str) -> Response:
    try:
        async with asyncio.timeout(7200):
            return await stack(request)
    except TimeoutError:
        raise _Seen(f"{when} the next call waits for ever: something was not given back") from None


async def _events(stack: Stack, request: Request) -> tuple[list[Any], Response]:
    async with stack.stream(request) as stream:
        events = [event async for event in stream]
        return events, stream.response


# --- what goes down and what comes back ------------------------------------------------------------------------------


@_clause("request-reaches-below", "every field of the request reaches the next handler, known or not")
async def _request_reaches_below(bench: _Bench) -> None:
    stack, fake = bench.stack("hello")
    unknown = UnknownPart({"type": "hologram", "depth": [1, 2.5, None]})
    messages = (*bench.request.messages, Message("user", (Text("and this"), unknown), extra={"x": 1}))
    request = bench.request.evolve(messages=messages).with_params(temperature=0.5, a_new_parameter={"deep": [1]})

    await stack(request)

    seen = fake.requests[0]
    _expect(seen.params.get("a_new_parameter") == {"deep": [1]}, "an unknown parameter was lost or changed")
    _expect(seen.params.get("temperature") == 0.5, "the parameter temperature was lost or changed")
    _expect(any([unknown in message.parts for message in seen.messages]), "an unknown part of a message was lost")
    _expect(seen.tags == request.tags, f"the tags {dict(request.tags)} became {dict(seen.tags)}")
    _expect(seen.call is not None, "the call was lost on the way down")


@_clause("response-comes-back", "every field of the response comes back, known or not")
async def _response_comes_back(bench: _Bench) -> None:
    given = answer("hello", usage=Usage(3, 4), id="r1", model="model", extra={"a_new_field": {"deep": [1]}})
    stack, _ = bench.stack(given)

    response = await stack(bench.request)

    _expect(isinstance(response, Response), f"a {type(response).__name__} came back instead of a Response")
    _expect(response.usage == given.usage, f"usage {given.usage!r} became {response.usage!r}")
    _expect(response.extra == given.extra, "an unknown field of the answer was lost")
    _expect((response.id, response.model) == (given.id, given.model), "the id or the model of the answer was lost")
    _expect(bool(response.call.id), "the response has no call")


@_clause("request-is-a-value", "a request is never changed, only copied; it can be sent many times")
async def _request_is_a_value(bench: _Bench) -> None:
    request = bench.request.with_params(nested={"list": [1, 2]}, stop=["a"])
    before = copy.deepcopy((request.model, request.messages, dict(request.params), dict(request.tags)))
    for _ in range(2):
        stack, _fake = bench.stack("hello")
        await stack(request)
        await _events(stack, request.with_params(streamed=True))
    after = (request.model, request.messages, dict(request.params), dict(request.tags))
    _expect(before == after, f"the caller's request was changed: {before} became {after}")
    _expect(request.call is None and request.sink is None, "a call or a sink was left on the caller's request")


@_clause("deadline-never-grows", "a deadline that came from above is kept or shortened, never lengthened or dropped")
async def _deadline_never_grows(bench: _Bench) -> None:
    deadline = asyncio.get_running_loop().time() + 1000
    stack, fake = bench.stack("hello")

    await stack(bench.request.evolve(deadline=deadline))

    seen = fake.requests[0].deadline
    _expect(seen is not None and seen <= deadline, f"the deadline {deadline:g} became {seen}")


@_clause("ledger-is-complete", "each try that reaches the provider is on the ledger of its call, exactly once")
async def _ledger_is_complete(bench: _Bench) -> None:
    for streams in (False, True):
        stack, fake = bench.stack(["hello", ServerError("down"), "hello", "hello"])
        for number in range(2):
            request = bench.numbered(number)
            before = fake.calls
            try:
                call = (await _events(stack, request))[1].call if streams else (await stack(request)).call
            except LLMError as error:
                _expect(error.call is not None, "the error that came out has no call")
                call = error.call
            tries = fake.calls - before
            _expect(
                len(call.attempts) == tries and len({id(one) for one in call.attempts}) == tries,
                f"the provider was asked {tries} times, the ledger has {len(call.attempts)} attempts",
            )


@_clause("ledger-node-is-kept", "the handlers below record into the request's ledger node, or a child of it")
async def _ledger_node_is_kept(bench: _Bench) -> None:
    branch = Ledger()

    def open_branch(call_next: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            return await call_next(request.evolve(ledger=branch))

        return handle

    stack = build_stack([open_branch, bench.build()], FakeTransport("hello"))
    await stack(bench.request)
    await stack.aclose()
    _expect(len(branch.attempts) == 1, f"the branch above saw {len(branch.attempts)} of 1 attempts below")


# --- errors ----------------------------------------------------------------------------------------------------------


@_clause("errors-pass-through", "an error that the layer cannot mend comes out as the same object")
async def _errors_pass_through(bench: _Bench) -> None:
    for error in (InvalidRequestError("no such parameter"), LookupError("a bug below")):
        for streams in (False, True):
            stack, _ = bench.stack([error] * 5)
            try:
                await (_events(stack, bench.request) if streams else stack(bench.request))
            except Exception as seen:  # noqa: BLE001 - compared below
                _expect(seen is error, f"{error!r} became {seen!r}" if seen != error else f"{error!r} was copied")
            else:
                raise _Seen(f"{error!r} was swallowed")


@_clause("free-after-error", "after a failure everything that was held is given back")
async def _free_after_error(bench: _Bench) -> None:
    script = [InvalidRequestError("bad") for _ in range(12)] + ["hello"] * 20
    stack, fake = bench.stack(script)
    for number in range(12):
        try:
            await stack(bench.numbered(number))
        except LLMError:
            pass
    _expect(fake.in_flight == 0, f"{fake.in_flight} calls of the provider still ran")
    await _still_works(stack, bench.numbered(99), "after twelve failures")


# --- streams ---------------------------------------------------------------------------------------------------------


@_clause("stream-is-the-response", "what is streamed folds to what is returned")
async def _stream_is_the_response(bench: _Bench) -> None:
    for script in ([["Hel", 0.1, "lo"]], [answer("hello")], [["only"]]):
        stack, _ = bench.stack(script)
        events, response = await _events(stack, bench.request)
        text = "".join([event.text for event in events])
        _expect(text == response.text, f"{text!r} was streamed, {response.text!r} was returned")
        _expect(fold(events).tool_calls == response.tool_calls, "tool calls that were streamed are not those returned")


@_clause("streams-and-returns-alike", "a call gives the same answer whether it is streamed or not")
async def _streams_and_returns_alike(bench: _Bench) -> None:
    plain, _ = bench.stack([["Hel", 0.1, "lo"]])
    streamed, _ = bench.stack([["Hel", 0.1, "lo"]])
    one = await plain(bench.request)
    _, other = await _events(streamed, bench.request)
    _expect(one.message == other.message, f"plain {one.text!r}, streamed {other.text!r}")
    _expect(one.usage == other.usage, f"plain {one.usage!r}, streamed {other.usage!r}")


@_clause("nothing-twice", "no content is delivered twice, and none after an error")
async def _nothing_twice(bench: _Bench) -> None:
    stack, _ = bench.stack([["par", ServerError("cut")], ["never", " twice"], ["never", " twice"]])
    seen: list[str] = []
    try:
        async with stack.stream(bench.request) as stream:
            async for event in stream:
                seen.append(event.text)
    except LLMError:
        _expect("".join(seen) in ("par", ""), f"after the cut, {seen} had been delivered")
    else:
        _expect(seen.count("par") == 0, f"two attempts were mixed in one stream: {seen}")


@_clause("every-attempt-begins-afresh", "each attempt below gets a writer without traces of an earlier one")
async def _attempts_begin_afresh(bench: _Bench) -> None:
    async def twice(request: Request) -> Response:
        request.begin()
        out = request.begin()
        for piece in ("Hel", "lo"):
            await out.send(TextDelta(piece))
        return Response.of("Hello", usage=Usage(1, 1))

    stack = build_stack([bench.build()], twice)
    events, response = await _events(stack, bench.request)
    _expect("".join([event.text for event in events]) == response.text, "an unused writer disturbed the stream")
    await stack.aclose()


@_clause("free-after-leaving", "a consumer who leaves a stream early frees everything, at once")
async def _free_after_leaving(bench: _Bench) -> None:
    stack, fake = bench.stack([["Hel", 3600.0, "lo"]] * 12 + [["Hel", "lo"]] * 3)
    loop = asyncio.get_running_loop()
    for number in range(12):
        started = loop.time()
        async with stack.stream(bench.numbered(number)) as stream:
            # A layer may hold events back: the consumer leaves whether or not it has seen one.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10):
                    await anext(stream)
        _expect(loop.time() - started < 1800, "leaving the stream waited for the provider")
    await asyncio.sleep(10)
    _expect(fake.in_flight == 0, f"{fake.in_flight} calls of the provider still ran")
    await _still_works(stack, bench.numbered(99), "after streams were left early")


# --- cancellation ----------------------------------------------------------------------------------------------------


@_clause("cancellation", "a cancellation at any point comes out as one, and everything that was held is given back")
async def _cancellation(bench: _Bench) -> None:
    await _every_cancellation(bench, lambda stack, request: stack(request))


@_clause("cancellation-of-streams", "the same holds while a stream is read")
async def _cancellation_of_streams(bench: _Bench) -> None:
    await _every_cancellation(bench, _events)


# --- many calls ------------------------------------------------------------------------------------------------------


@_clause("concurrent-use", "many calls at once through one layer get each its own answer")
async def _concurrent_use(bench: _Bench) -> None:
    def echo(request: Request) -> Any:
        return [0.1, f"answer {request.params['conformance_number']}"]

    stack, fake = bench.stack(echo)
    async with asyncio.timeout(36_000):
        plain = [stack(bench.numbered(number)) for number in range(10)]
        streamed = [_events(stack, bench.numbered(number)) for number in range(10, 20)]
        answers = await asyncio.gather(*plain)
        streams = await asyncio.gather(*streamed)
    texts = [response.text for response in answers] + [response.text for _, response in streams]
    _expect(texts == [f"answer {number}" for number in range(20)], f"answers were mixed up: {texts}")
    _expect(fake.in_flight == 0, f"{fake.in_flight} calls of the provider still ran")


@_clause("reusable", "one layer object can serve several stacks, one after the other and at once")
async def _reusable(bench: _Bench) -> None:
    layer = bench.build()
    one, _ = bench.stack("hello", layer=layer)
    other, _ = bench.stack("hello", layer=layer)
    first, second = await asyncio.gather(one(bench.numbered(1)), other(bench.numbered(2)))
    _expect(first.text == second.text == "hello", f"got {first.text!r} and {second.text!r}")
    _expect((await one(bench.numbered(3))).text == "hello", "the second use failed")


@_clause("fresh-state", "two layers that were built apart share nothing: what one has seen does not change the other")
async def _fresh_state(bench: _Bench) -> None:
    spoiled, _ = bench.stack([ServerError("down")], repeat=True)
    for number in range(10):
        try:
            await spoiled(bench.numbered(number))
        except LLMError:
            pass
    clean, _ = bench.stack("hello")
    _expect((await clean(bench.numbered(1))).text == "hello", "a fresh layer was changed by what another one had seen")


@_clause("no-context-leak", "the caller's context variables stay the caller's: none is left changed by the call")
async def _no_context_leak(bench: _Bench) -> None:
    before = dict(contextvars.copy_context())
    stack, _ = bench.stack("hello")
    await stack(bench.request)
    after = dict(contextvars.copy_context())
    changed = [variable.name for variable in after if variable not in before or before[variable] is not after[variable]]
    _expect(not changed, f"context variables changed in the caller's context: {changed}")


# --- handlers --------------------------------------------------------------------------------------------------------

_HANDLER_CHECKS: list[tuple[str, str, Callable[[Stack, Request], Awaitable[None]]]] = []


def check_handler(handler: Handler, *, request: Request | None = None, simulated: bool = True) -> list[str]:
    """Run the checks for a terminal, a stack or any handler that answers; the names of the clauses that held.

    Args:
        handler: answers *request* every time it is asked.
        request: what to ask; by default a short greeting to the model "model".
        simulated: play in simulated time; False for a handler that talks to a real socket in real time.

    Raises:
        ConformanceError: clauses were broken; the message and `.broken` say which and how.
    """
    request = request if request is not None else Request.chat("model", "hello", tags={"user": "ada"})
    broken: list[Broken] = []
    for name, says, check in _HANDLER_CHECKS:
        try:
            _in_loop(check(build_stack([], handler), request), simulated=simulated)
        except _Seen as seen:
            broken.append(Broken(name, says, str(seen)))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises is a finding
            broken.append(Broken(name, says, f"{type(error).__name__}: {error}"))
    if broken:
        raise ConformanceError(str(getattr(handler, "__qualname__", None) or type(handler).__name__), broken)
    return [name for name, _, _ in _HANDLER_CHECKS]


def _in_loop(call: Any, *, simulated: bool) -> None:
    if not simulated:
        asyncio.run(call)
        return
    with simulated_time() as clock:
        clock.run(call)


def _handler_clause(name: str, says: str) -> Callable[[Any], Any]:
    def enter(check: Any) -> Any:
        _HANDLER_CHECKS.append((name, says, check))
        return check

    return enter


@_handler_clause("complete-response", "the response is complete: a message, and a finish reason")
async def _complete_response(stack: Stack, request: Request) -> None:
    response = await stack(request)
    _expect(bool(response.message.parts), "the message is empty")
    _expect(response.finish_reason is not None, "there is no finish reason")
    _expect(len(response.call.attempts) >= 1, "nothing was recorded on the ledger")


@_handler_clause("stream-is-the-response", "what is streamed folds to what is returned")
async def _handler_streams(stack: Stack, request: Request) -> None:
    events, response = await _events(stack, request)
    text = "".join([event.text for event in events])
    _expect(text == response.text, f"{text!r} was streamed, {response.text!r} was returned")


@_handler_clause("request-is-a-value", "a request is never changed, and unknown parameters are no error")
async def _handler_keeps_request(stack: Stack, request: Request) -> None:
    asked = request.with_params(an_unknown_parameter={"deep": [1]})
    before = copy.deepcopy((asked.model, asked.messages, dict(asked.params)))
    await stack(asked)
    _expect(before == (asked.model, asked.messages, dict(asked.params)), "the request was changed")


@_handler_clause("cancellation", "a cancellation comes out as one, and the next call works")
async def _handler_cancels(stack: Stack, request: Request) -> None:
    for turns in (0, 1, 2, 3, 5, 8):

        async def cancel(task: asyncio.Task[Any], turns: int = turns) -> bool:
            for _ in range(turns):
                await asyncio.sleep(0)
            return task.cancel()

        await _strike(lambda: stack(request), cancel)
        await stack(request)


@_handler_clause("leaving-early", "a consumer who leaves a stream early frees everything")
async def _handler_left(stack: Stack, request: Request) -> None:
    for _ in range(3):
        async with stack.stream(request) as stream:
            async for _event in stream:
                break
    await stack(request)


@_handler_clause("concurrent-use", "many calls at once get each an answer")
async def _handler_concurrent(stack: Stack, request: Request) -> None:
    answers = await asyncio.gather(*(stack(request.with_params(number=number)) for number in range(20)))
    _expect(len(answers) == 20 and all([one.message.parts for one in answers]), "an answer is missing")


@_handler_clause("same-everywhere", "two calls of one request give the same kind of answer, streamed or not")
async def _handler_alike(stack: Stack, request: Request) -> None:
    plain = await stack(request)
    _, streamed = await _events(stack, request)
    _expect(plain.finish_reason == streamed.finish_reason, f"{plain.finish_reason!r}, {streamed.finish_reason!r}")
