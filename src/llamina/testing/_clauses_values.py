"""Clauses about what goes down and what comes back: requests and responses are values, and pass whole."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from typing import Any

from llamina.errors import ConfigurationError, LLMError
from llamina.messages import Message, Reasoning, Text, ToolCall, UnknownPart, Usage
from llamina.protocol import Request, Response

from ._bench import Bench, Clauses, expect, read_all
from .script import vectors

__all__ = ["VALUES"]

VALUES = Clauses()
_clause = VALUES.clause


@_clause("answers", "the layer lets the kit's request through and returns a Response", "1.1", "1.2", "3.1")
async def _answers(bench: Bench) -> None:
    stack, fake = bench.stack("hello")
    try:
        await stack(bench.request)
    except LLMError as error:
        refused = f"it refused: {error!r}; pass `request=` one that the layer lets through"
        expect(False, refused)
    unasked = (
        "it answered by itself; pass `request=` one that it lets through, or does it keep answers for all objects?"
    )
    expect(fake.calls > 0, unasked)


@_clause("request-reaches-below", "every field of the request reaches the next handler, known or not", "2.3", "5.5")
async def _request_reaches_below(bench: Bench) -> None:
    stack, fake = bench.stack("hello")
    unknown = UnknownPart({"type": "hologram", "depth": [1, 2.5, None]})
    messages = (*bench.request.messages, Message("user", (Text("and this"), unknown), "ada", {"x": 1}))
    request = bench.request.evolve(messages=messages).with_params(temperature=0.5, a_new_parameter={"deep": [1]})
    request = request.evolve(headers={**request.headers, "x-kit": "1"}).with_cache(ttl=60)

    await stack(request)

    seen = fake.requests[0]
    expect(seen.params.get("a_new_parameter") == {"deep": [1]}, "an unknown parameter was lost or changed")
    expect(seen.params.get("temperature") == 0.5, "the parameter temperature was lost or changed")
    expect(any([unknown in message.parts for message in seen.messages]), "an unknown part of a message was lost")
    lost = {name: value for name, value in request.tags.items() if seen.tags.get(name) != value}
    expect(not lost, f"tags were lost or changed: {lost} became {dict(seen.tags)}")
    kept = any([message.extra == {"x": 1} and message.name == "ada" for message in seen.messages])
    expect(kept, "the name or a further field of a message was lost")
    expect(seen.headers.get("x-kit") == "1", "a header was lost")
    expect(seen.cache == request.cache, "what the request says to caches was lost")
    expect(seen.call is not None, "the call was lost on the way down: make copies with `request.evolve(...)`")


@_clause("response-comes-back", "every field of the response comes back, known or not", "3.1", "3.3", "3.4")
async def _response_comes_back(bench: Bench) -> None:
    parts = (
        Reasoning("hm", raw={"chat": {"signature": "s"}}),
        Text("hello"),
        ToolCall("c1", "look", "{}"),
        UnknownPart({"x": 1}),
    )
    said: dict[str, Any] = {"id": "r1", "model": "model", "request_id": "q1", "raw_finish_reason": "tool_use"}
    extra = {"a_new_field": {"deep": [1]}}
    given = Response(
        Message("assistant", parts),
        Usage(3, 4),
        "tool_calls",
        extra=copy.deepcopy(extra),
        rate_limit={"left": 1},
        **said,
    )
    stack, _ = bench.stack(given, repeat=True)

    for again in (False, True):
        response = await stack(bench.request)

        expect(isinstance(response, Response), f"a {type(response).__name__} came back instead of a Response")
        expect(response.usage == given.usage, f"usage {given.usage!r} became {response.usage!r}")
        kept = [part for part in response.message.parts if type(part) is not Text]  # a layer may rewrite text
        expect(kept == [part for part in parts if type(part) is not Text], "a part of the message was lost or changed")
        expect(response.finish_reason == "tool_calls", f"the finish reason became {response.finish_reason!r}")
        passed_on = {name: response.extra.get(name) for name in extra}  # a layer may add fields of its own
        expect(passed_on == extra, f"an unknown field of the answer was lost or changed: {extra} became {passed_on}")
        expect(given.extra == extra, "the answer of the provider was written into; make a copy with `evolve`")
        lost = [name for name, value in said.items() if getattr(response, name) != value]
        expect(again or response.rate_limit == {"left": 1}, "what the answer says of rate limits was lost")
        expect(not lost, f"fields of the answer were lost: {lost}; make copies with `response.evolve(...)`")
        expect(bool(response.call.id), "the response has no call")


@_clause("request-is-a-value", "a request is never changed, only copied; it can be sent many times", "2.1", "2.2")
async def _request_is_a_value(bench: Bench) -> None:
    noted = Message("user", (Text("noted"),), None, {"list": [1]})
    request = bench.request.evolve(messages=(*bench.request.messages, noted))
    request = request.with_params(nested={"list": [1, 2]}, stop=["a"])

    def state() -> Any:
        return copy.deepcopy((request.model, request.messages, dict(request.params), dict(request.tags)))

    before = state()
    for _ in range(2):
        stack, _fake = bench.stack("hello")
        await stack(request)
        await read_all(stack, request.with_params(streamed=True))
    expect(before == state(), f"the caller's request was changed: {before} became {state()}")
    expect(request.call is None and request.sink is None, "a call or a sink was left on the caller's request")


@_clause(
    "answers-are-copies", "two callers never share one answer: what one does to his, the other does not see", "3.2"
)
async def _answers_are_copies(bench: Bench) -> None:
    def fresh(_: Request) -> Any:
        return [1.0, Response(Message("assistant", (Text("hello"),)), Usage(3, 4), "stop", extra={"list": [1]})]

    stack, _ = bench.stack(fresh)
    first, beside = await asyncio.gather(stack(bench.request), stack(bench.request))
    _scribble(first)
    shown = beside.extra.get("list")
    expect(shown == [1], f"a caller who asked at the same time got what another wrote into his answer: {shown}")
    _scribble(beside)
    for _ in range(2):
        later = await stack(bench.request)
        shown = later.extra.get("list")
        expect(shown == [1], f"a caller who asked later got what another wrote into his answer: {shown}")
        _scribble(later)
    expect(first.call is not beside.call and first.call is not later.call, "two answers carry the record of one call")


def _scribble(response: Response) -> None:
    with contextlib.suppress(TypeError, AttributeError):  # what cannot be written into is as good as a copy
        response.extra["list"].append("scribble")


@_clause(
    "embeddings-pass", "a request for vectors gets them unharmed, or is refused before the provider is asked", "3.5"
)
async def _embeddings_pass(bench: Bench) -> None:
    wanted = ((0.1, 0.2), (0.3, 0.4))
    stack, fake = bench.stack(vectors(*wanted, usage=Usage(2, 0)))
    request = Request.embed(bench.request.model, ["one", "two"], tags=bench.request.tags)
    for again in ("", " the second time"):
        try:
            response = await stack(request)
        except (LLMError, ConfigurationError) as error:
            asked = len(fake.requests[0].messages) if fake.requests else 2
            expect(asked == 2, f"{asked} texts were sent down in place of 2; leave requests of the kind 'embed' alone")
            expect(fake.calls == 0, f"it failed after the provider had answered: {error!r}")
            return
        expect(response.vectors == wanted, f"the vectors came back{again} as {response.vectors}")
    expect(fake.requests[0].kind == "embed", f"the kind of the request became {fake.requests[0].kind!r}")
    expect(len(fake.requests[0].messages) == 2, "the texts of the request were joined or lost")


@_clause(
    "deadline-never-grows",
    "a deadline that came from above is passed on or kept by the layer, never lengthened",
    "5.2",
)
async def _deadline_never_grows(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 1000
    stack, fake = bench.stack("hello")

    await stack(bench.request.evolve(deadline=deadline))

    seen = fake.requests[0].deadline
    if seen is not None:
        expect(seen <= deadline, f"a deadline in 1000 s became one in {seen - deadline + 1000:g} s")
        return
    stack, _ = bench.stack([[5000.0, "late"]])
    started = loop.time()
    with contextlib.suppress(LLMError):
        await stack(bench.request.evolve(deadline=started + 1000))
    expect(loop.time() - started < 1100, "the deadline was lost: nothing below sees it, and the layer does not keep it")
